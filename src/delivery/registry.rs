//! Who is connected: the limits in all and per tenant, and the metrics of each transport.
//!
//! **Invariant:** a [`Connection`] is counted from its admission until it is dropped, whatever
//! way it ends.

use std::{collections::HashMap, sync::Arc};

use metrics::{Counter, Gauge, Histogram};
use parking_lot::Mutex;

use crate::{
    domain::ids::ClientId,
    metrics::{
        CONNECTIONS, CONNECTIONS_CLOSED, CONNECTIONS_OPENED, CONNECTIONS_REJECTED, DELIVERED_BYTES,
        DELIVERIES, DELIVERY_LAG_SECONDS,
    },
    wire::problem::{Code, Problem},
};

/// How events reach a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    WebSocket,
    Sse,
    Polling,
}

impl Transport {
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::WebSocket => "websocket",
            Transport::Sse => "sse",
            Transport::Polling => "polling",
        }
    }
}

/// Why a connection ended, for the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The client left, or a long poll was answered.
    Client,
    /// The token ran out.
    TokenExpired,
    /// The instance stops.
    Draining,
    /// The client did not read, or did not answer pings.
    Timeout,
    /// The client broke the rules.
    Policy,
    /// The feed could not be read.
    Unavailable,
    /// The socket failed.
    Broken,
}

impl Ending {
    pub fn as_str(self) -> &'static str {
        match self {
            Ending::Client => "client",
            Ending::TokenExpired => "token_expired",
            Ending::Draining => "draining",
            Ending::Timeout => "timeout",
            Ending::Policy => "policy",
            Ending::Unavailable => "unavailable",
            Ending::Broken => "broken",
        }
    }
}

/// All connections of this instance.
pub struct Registry {
    limit_total: usize,
    limit_per_tenant: usize,
    counts: Mutex<Counts>,
    transports: [TransportMetrics; 3],
}

#[derive(Default)]
struct Counts {
    total: usize,
    by_tenant: HashMap<ClientId, usize>,
}

/// Handles looked up once.
pub struct TransportMetrics {
    open: Gauge,
    opened: Counter,
    pub deliveries: Counter,
    pub bytes: Counter,
    pub lag_seconds: Histogram,
}

/// When to try again after a limit turned a client away, in seconds.
const RETRY_AFTER_S: u64 = 5;

impl Registry {
    pub fn new(limit_total: usize, limit_per_tenant: usize) -> Arc<Self> {
        let transports = [Transport::WebSocket, Transport::Sse, Transport::Polling];
        Arc::new(Self {
            limit_total,
            limit_per_tenant,
            counts: Mutex::default(),
            transports: transports.map(TransportMetrics::new),
        })
    }

    /// Counts a connection in, unless that would be one too many.
    pub fn admit(
        self: &Arc<Self>,
        client: ClientId,
        transport: Transport,
    ) -> Result<Connection, Problem> {
        let mut counts = self.counts.lock();
        if counts.total >= self.limit_total {
            return Err(rejected("total", "this instance has as many connections as it takes"));
        }
        let of_tenant = counts.by_tenant.entry(client).or_default();
        if *of_tenant >= self.limit_per_tenant {
            return Err(rejected("tenant", "the tenant has as many connections as it may"));
        }
        *of_tenant += 1;
        counts.total += 1;
        drop(counts);
        let metrics = &self.transports[transport as usize];
        metrics.open.increment(1.0);
        metrics.opened.increment(1);
        Ok(Connection { registry: self.clone(), client, transport, ending: Ending::Client })
    }

    pub fn metrics(&self, transport: Transport) -> &TransportMetrics {
        &self.transports[transport as usize]
    }

    /// Connections now.
    pub fn connections(&self) -> usize {
        self.counts.lock().total
    }
}

fn rejected(limit: &'static str, detail: &str) -> Problem {
    metrics::counter!(CONNECTIONS_REJECTED, "reason" => limit).increment(1);
    Problem::new(Code::TooManyConnections).detail(detail).retry_after_s(RETRY_AFTER_S)
}

impl TransportMetrics {
    fn new(transport: Transport) -> Self {
        let name = transport.as_str();
        Self {
            open: metrics::gauge!(CONNECTIONS, "transport" => name),
            opened: metrics::counter!(CONNECTIONS_OPENED, "transport" => name),
            deliveries: metrics::counter!(DELIVERIES, "transport" => name),
            bytes: metrics::counter!(DELIVERED_BYTES, "transport" => name),
            lag_seconds: metrics::histogram!(DELIVERY_LAG_SECONDS, "transport" => name),
        }
    }
}

/// One admitted connection.
pub struct Connection {
    registry: Arc<Registry>,
    client: ClientId,
    transport: Transport,
    ending: Ending,
}

impl Connection {
    pub fn metrics(&self) -> &TransportMetrics {
        self.registry.metrics(self.transport)
    }

    /// Says why it is about to end; without a word it was the client.
    pub fn ends(&mut self, ending: Ending) {
        self.ending = ending;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut counts = self.registry.counts.lock();
        counts.total -= 1;
        if let Some(of_tenant) = counts.by_tenant.get_mut(&self.client) {
            *of_tenant -= 1;
            if *of_tenant == 0 {
                counts.by_tenant.remove(&self.client);
            }
        }
        drop(counts);
        self.metrics().open.decrement(1.0);
        metrics::counter!(
            CONNECTIONS_CLOSED,
            "transport" => self.transport.as_str(),
            "reason" => self.ending.as_str(),
        )
        .increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_turns_away_until_a_connection_ends() {
        let registry = Registry::new(3, 2);
        let admit = |client| registry.admit(ClientId(client), Transport::Sse);
        let first = admit(1).unwrap();
        let _second = admit(1).unwrap();
        assert_eq!(admit(1).map(|_| ()).unwrap_err().code(), Code::TooManyConnections);
        let _third = admit(2).unwrap();
        assert_eq!(admit(3).map(|_| ()).unwrap_err().code(), Code::TooManyConnections);
        drop(first);
        assert!(admit(3).is_ok());
        assert_eq!(registry.connections(), 2);
        assert!(!registry.counts.lock().by_tenant.contains_key(&ClientId(3)));
    }
}
