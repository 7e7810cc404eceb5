//! The HTTP accept loop: sockets come in here, requests go to a poem endpoint.
//!
//! poem's own server lacks what a server for strangers must have (CRATES.md), so this one drives
//! hyper's HTTP/1 connection itself and adds: `TCP_NODELAY`, a cap on connections in all and per
//! address, time-outs for request heads, idle keep-alive connections, whole requests and writes
//! that make no progress, limits on a head's size, an accept loop that does not spin when the
//! process has no file descriptors left, and a drain that waits for every connection.
//!
//! A handler can take its connection away from HTTP ([`takeover`]): WebSocket and Server-Sent
//! Events write shared, ready bytes straight to the socket, and the HTTP machinery with its
//! buffers is freed. A handler that has to wait long for its answer can lay HTTP aside meanwhile
//! ([`later`]), as long polls do.
//!
//! **Invariant:** a connection is counted from its accept until its last task has ended, taken
//! over or not, and each runs in [`Shutdown::tasks`].

mod accept;
mod admission;
mod connection;
mod http_io;
pub mod later;
pub mod stream;
pub mod takeover;
#[cfg(test)]
mod tests;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use poem::{EndpointExt, IntoEndpoint};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::net::TcpSocket;

use self::admission::Admission;
use crate::runtime::shutdown::Shutdown;

/// Connections that the kernel keeps for us until they are accepted.
const ACCEPT_BACKLOG: u32 = 4_096;

/// Settings of the HTTP listener.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ListenerSettings {
    /// Address and port to listen on; port 0 takes a free one. Default 127.0.0.1:8080.
    pub address: SocketAddr,
    /// Open connections in all, default 65,536. A further one gets `503` and is closed.
    pub connections_max: usize,
    /// Open connections of one address, default 1,024. A further one gets `503` and is closed.
    pub connections_per_address_max: usize,
    /// Addresses without a limit of their own, as those of reverse proxies, which bring the
    /// connections of many. Default: this machine's own (127.0.0.1, ::1).
    pub unlimited_addresses: Vec<IpAddr>,
    /// Milliseconds that the head of a request may take from its first byte, or from the accept
    /// for the first one. Default 10,000; then the connection is closed.
    pub header_read_timeout_ms: u64,
    /// Milliseconds that a connection may wait for its next request, default 75,000, which is
    /// longer than the usual proxies keep theirs. Then it is closed.
    pub keep_alive_idle_timeout_ms: u64,
    /// Milliseconds from a request's head to the head of its response, its body included.
    /// Default 120,000 (long polling takes 60,000); then the answer is `503`.
    pub request_timeout_ms: u64,
    /// Milliseconds that writing a response may stand still because the client does not read.
    /// Default 30,000; then the connection is closed.
    pub write_stall_timeout_ms: u64,
    /// Milliseconds after which the kernel gives up a connection whose peer acknowledges
    /// nothing (half-open sockets). Default 60,000.
    pub unacknowledged_timeout_ms: u32,
    /// Header fields of one request, default 100. More get `431`.
    pub header_count_max: usize,
    /// Bytes of a request's head, default 16,384. More get `431`.
    pub header_bytes_max: usize,
    /// Milliseconds that requests under way may take to finish while the server drains.
    /// Default 10,000; then they are cut off.
    pub drain_timeout_ms: u64,
}

impl Default for ListenerSettings {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            connections_max: 65_536,
            connections_per_address_max: 1_024,
            unlimited_addresses: vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            header_read_timeout_ms: 10_000,
            keep_alive_idle_timeout_ms: 75_000,
            request_timeout_ms: 120_000,
            write_stall_timeout_ms: 30_000,
            unacknowledged_timeout_ms: 60_000,
            header_count_max: 100,
            header_bytes_max: 16_384,
            drain_timeout_ms: 10_000,
        }
    }
}

impl ListenerSettings {
    fn header_read_timeout(&self) -> Duration {
        Duration::from_millis(self.header_read_timeout_ms)
    }

    fn keep_alive_idle_timeout(&self) -> Duration {
        Duration::from_millis(self.keep_alive_idle_timeout_ms)
    }

    fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    fn write_stall_timeout(&self) -> Duration {
        Duration::from_millis(self.write_stall_timeout_ms)
    }

    fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.drain_timeout_ms)
    }
}

/// Why the server can't listen.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {address}: {source}")]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

/// A bound socket, not accepting yet.
#[derive(Debug)]
pub struct Listener {
    socket: tokio::net::TcpListener,
    local_address: SocketAddr,
    settings: Arc<ListenerSettings>,
}

impl Listener {
    /// Takes the address. Connections queue up in the kernel until [`serve`](Self::serve).
    pub fn bind(settings: ListenerSettings) -> Result<Self, BindError> {
        let address = settings.address;
        let listen = || {
            let socket = match address {
                SocketAddr::V4(_) => TcpSocket::new_v4()?,
                SocketAddr::V6(_) => TcpSocket::new_v6()?,
            };
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            let socket = socket.listen(ACCEPT_BACKLOG)?;
            let local_address = socket.local_addr()?;
            Ok((socket, local_address))
        };
        let (socket, local_address) = listen().map_err(|source| BindError { address, source })?;
        Ok(Self { socket, local_address, settings: Arc::new(settings) })
    }

    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// Accepts and serves until `shutdown.draining`, then closes the socket and returns; the
    /// connections go on in `shutdown.tasks`: idle ones close at once, requests under way finish
    /// within `drain_timeout_ms`, connections taken over watch `draining` themselves, and all of
    /// them end at `shutdown.stopping`.
    pub async fn serve<E>(self, endpoint: E, shutdown: Shutdown)
    where
        E: IntoEndpoint,
        E::Endpoint: 'static,
    {
        let admission = Admission::new(&self.settings);
        let server = connection::Server::new(
            endpoint.map_to_response().boxed(),
            self.local_address,
            self.settings,
            shutdown,
        );
        accept::run(self.socket, &admission, &server).await;
    }
}
