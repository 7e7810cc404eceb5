//! The baseline: a bare epoll loop that keeps nothing and writes ready bytes.
//!
//! A publisher sends frames of a known size, each behind the two bytes of its group, and is
//! answered with one byte. A frame goes to every subscriber of its group: (a) one event a write,
//! or (b) all that has come in one write.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Read, Write},
    net::SocketAddr,
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Writes {
    OneEventEach,
    AllThatWaits,
}

struct Peer {
    socket: TcpStream,
    publisher: bool,
    unread: Vec<u8>,
    unwritten: Vec<u8>,
}

const LISTENER: Token = Token(usize::MAX);

/// Serves until killed. The first byte of a connection says what it is: `P`, or `S` with the two
/// bytes of its group.
pub fn serve(frame_bytes: usize, writes: Writes, ready: impl FnOnce(SocketAddr)) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind("127.0.0.1:0".parse().expect("an address"))?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    ready(listener.local_addr()?);
    let mut peers: Vec<Option<Peer>> = Vec::new();
    let mut groups: HashMap<[u8; 2], Vec<usize>> = HashMap::new();
    let mut events = Events::with_capacity(4096);
    let mut buffer = vec![0; 1 << 18];
    let mut waiting: BTreeMap<[u8; 2], Vec<u8>> = BTreeMap::new();
    let message_bytes = frame_bytes + 2;
    let mut to_answer: Vec<usize> = Vec::new();
    loop {
        poll.poll(&mut events, None)?;
        waiting.clear();
        to_answer.clear();
        for event in events.iter() {
            if event.token() == LISTENER {
                while let Ok((mut socket, _)) = listener.accept() {
                    socket.set_nodelay(true)?;
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    poll.registry().register(&mut socket, Token(peers.len()), interest)?;
                    peers.push(Some(Peer {
                        socket,
                        publisher: false,
                        unread: Vec::new(),
                        unwritten: Vec::new(),
                    }));
                }
                continue;
            }
            let index = event.token().0;
            let Some(peer) = peers[index].as_mut() else { continue };
            if event.is_writable() && !flush(peer) {
                peers[index] = None;
                continue;
            }
            let Some(peer) = peers[index].as_mut() else { continue };
            if !event.is_readable() {
                continue;
            }
            match read_all(peer, &mut buffer) {
                Ok(true) => {}
                _ => {
                    peers[index] = None;
                    continue;
                }
            }
            if let (false, [b'S', first, second]) = (peer.publisher, peer.unread.as_slice()) {
                groups.entry([*first, *second]).or_default().push(index);
                peer.unread.clear();
            }
            if !peer.publisher && peer.unread.first() == Some(&b'P') {
                peer.publisher = true;
                peer.unread.remove(0);
            }
            if peer.publisher && peer.unread.len() >= message_bytes {
                let whole = peer.unread.len() / message_bytes * message_bytes;
                for message in peer.unread[..whole].chunks(message_bytes) {
                    let group = [message[0], message[1]];
                    waiting.entry(group).or_default().extend_from_slice(&message[2..]);
                }
                peer.unread.drain(..whole);
                to_answer.push(index);
            }
        }
        for (group, bytes) in &waiting {
            let Some(subscribers) = groups.get(group) else { continue };
            let write_bytes = match writes {
                Writes::OneEventEach => frame_bytes,
                Writes::AllThatWaits => bytes.len(),
            };
            for part in bytes.chunks(write_bytes) {
                fan_out(&mut peers, subscribers, part);
            }
        }
        for index in &to_answer {
            if let Some(peer) = peers[*index].as_mut() {
                let _ = peer.socket.write(b".");
            }
        }
    }
}

fn read_all(peer: &mut Peer, buffer: &mut [u8]) -> io::Result<bool> {
    loop {
        match peer.socket.read(buffer) {
            Ok(0) => return Ok(false),
            Ok(length) => peer.unread.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        }
    }
}

fn flush(peer: &mut Peer) -> bool {
    while !peer.unwritten.is_empty() {
        match peer.socket.write(&peer.unwritten) {
            Ok(written) => {
                peer.unwritten.drain(..written);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
            Err(_) => return false,
        }
    }
    true
}

fn fan_out(peers: &mut [Option<Peer>], subscribers: &[usize], bytes: &[u8]) {
    for index in subscribers {
        let Some(peer) = peers[*index].as_mut() else { continue };
        if !peer.unwritten.is_empty() {
            peer.unwritten.extend_from_slice(bytes);
            continue;
        }
        match peer.socket.write(bytes) {
            Ok(written) if written == bytes.len() => {}
            Ok(written) => peer.unwritten.extend_from_slice(&bytes[written..]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                peer.unwritten.extend_from_slice(bytes);
            }
            Err(_) => peers[*index] = None,
        }
    }
}
