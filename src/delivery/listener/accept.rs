//! Accepting, and what to do when that fails.
//!
//! With no file descriptor left, `accept` fails at once and the connection stays in the queue, so
//! that a loop that only tries again spins. A descriptor held in reserve is given up for a
//! moment to accept that connection and turn it away; where even that fails, the loop waits.

use std::{fs::File, io, net::SocketAddr, time::Duration};

use tokio::net::{TcpListener, TcpStream};

use super::{
    admission::{Admission, Refusal},
    connection::Server,
    stream::Stream,
};
use crate::{metrics::CONNECTIONS_REJECTED, runtime::backoff::Backoff};

const FIRST_ACCEPT_DELAY: Duration = Duration::from_millis(5);
const LONGEST_ACCEPT_DELAY: Duration = Duration::from_secs(1);
/// Bytes that the kernel may hold of a connection beyond what the peer has room for. Without it a
/// peer that does not read costs up to `tcp_wmem`, some 4 MiB; with it, it waits in the ring.
const UNSENT_BYTES_MAX: u32 = 256 << 10;

/// What a connection gets that can't be served now. Sent without waiting: a peer that can't
/// take it at once is only closed.
const TURNED_AWAY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    content-type: application/problem+json\r\ncontent-length: 123\r\n\
    retry-after: 5\r\nconnection: close\r\n\r\n\
    {\"type\":\"/problems#overloaded\",\"title\":\"The server is busy\",\
    \"status\":503,\"detail\":\"The server is busy\",\"code\":\"overloaded\"}";

pub(super) async fn run(socket: TcpListener, admission: &Admission, server: &Server) {
    let mut reserve = Reserve::new();
    let mut backoff = Backoff::new(FIRST_ACCEPT_DELAY, LONGEST_ACCEPT_DELAY);
    let draining = server.shutdown().draining.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            () = draining.cancelled() => return,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, remote)) => {
                backoff.reset();
                admit(stream, remote, admission, server);
            }
            // The peer left before it was accepted, or the network failed for it alone.
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                let delay = backoff.next_delay();
                if reserve.turn_one_away(&socket) {
                    tracing::debug!(%error, "turned a connection away: no descriptor is left");
                    continue;
                }
                tracing::warn!(%error, ?delay, "can't accept connections; trying again");
                tokio::select! {
                    () = draining.cancelled() => return,
                    () = tokio::time::sleep(delay) => {}
                }
            }
        }
    }
}

fn admit(stream: TcpStream, remote: SocketAddr, admission: &Admission, server: &Server) {
    match admission.admit(remote.ip()) {
        Ok(admitted) => {
            if let Err(error) = prepare(&stream, server) {
                tracing::debug!(%error, "a connection ended before it was served");
                return;
            }
            server.spawn(Stream::Tcp(stream), remote, admitted);
        }
        Err(refusal) => {
            // Best effort: the socket's buffer is empty and takes it, unless the peer has left.
            let _ = stream.try_write(TURNED_AWAY);
            count(refusal);
        }
    }
}

/// Events leave when they are written, and a peer that is gone is noticed.
fn prepare(stream: &TcpStream, server: &Server) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let unacknowledged_ms = server.settings().unacknowledged_timeout_ms;
    let timeout = Duration::from_millis(u64::from(unacknowledged_ms));
    let socket = socket2::SockRef::from(stream);
    socket.set_tcp_user_timeout(Some(timeout))?;
    socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
    socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(timeout))
}

fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
    )
}

fn count(refusal: Refusal) {
    metrics::counter!(CONNECTIONS_REJECTED, "reason" => refusal.as_str()).increment(1);
}

/// A descriptor kept for the day when there is none.
struct Reserve(Option<File>);

impl Reserve {
    fn new() -> Self {
        Self(File::open("/dev/null").ok())
    }

    /// Accepts one waiting connection in the reserve's place and turns it away. `false` when
    /// that did not work either.
    fn turn_one_away(&mut self, socket: &TcpListener) -> bool {
        if self.0.take().is_none() {
            *self = Self::new();
            return false;
        }
        let accepted = socket2::SockRef::from(socket).accept();
        let turned_away = match accepted {
            Ok((stream, _)) => {
                let sent = stream.set_nonblocking(true).and_then(|()| stream.send(TURNED_AWAY));
                if sent.is_err() {
                    tracing::trace!("the connection turned away had left already");
                }
                count(Refusal::Descriptors);
                true
            }
            Err(_) => false,
        };
        *self = Self::new();
        turned_away
    }
}

#[cfg(test)]
mod tests {
    use super::TURNED_AWAY;
    use crate::wire::problem::{Code, Problem};

    #[test]
    fn the_answer_to_those_turned_away_has_the_length_that_it_says() {
        let text = std::str::from_utf8(TURNED_AWAY).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
        let problem = Problem::new(Code::Overloaded).to_json();
        assert_eq!(body.as_bytes(), problem, "as everywhere");
    }
}
