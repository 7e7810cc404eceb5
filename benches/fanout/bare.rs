//! The baseline: a bare epoll loop that keeps nothing and writes ready bytes.
//!
//! A publisher sends frames of a known size and is answered with one byte; every frame goes to
//! every subscriber, (a) one event a write, or (b) all that has come in one write.

use std::{
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

/// Serves until killed. The first byte of a connection says what it is: `P` or `S`.
pub fn serve(frame_bytes: usize, writes: Writes, ready: impl FnOnce(SocketAddr)) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind("127.0.0.1:0".parse().expect("an address"))?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    ready(listener.local_addr()?);
    let mut peers: Vec<Option<Peer>> = Vec::new();
    let mut subscribers: Vec<usize> = Vec::new();
    let mut events = Events::with_capacity(4096);
    let mut buffer = vec![0; 1 << 18];
    let mut waiting: Vec<u8> = Vec::new();
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
            if !peer.publisher && peer.unread.first() == Some(&b'S') {
                peer.unread.clear();
                subscribers.push(index);
            }
            if !peer.publisher && peer.unread.first() == Some(&b'P') {
                peer.publisher = true;
                peer.unread.remove(0);
            }
            if peer.publisher && peer.unread.len() >= frame_bytes {
                let whole = peer.unread.len() / frame_bytes * frame_bytes;
                waiting.extend_from_slice(&peer.unread[..whole]);
                peer.unread.drain(..whole);
                to_answer.push(index);
            }
        }
        match writes {
            Writes::OneEventEach => {
                for frame in waiting.chunks(frame_bytes) {
                    fan_out(&mut peers, &subscribers, frame);
                }
            }
            Writes::AllThatWaits if waiting.is_empty() => {}
            Writes::AllThatWaits => fan_out(&mut peers, &subscribers, &waiting),
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
