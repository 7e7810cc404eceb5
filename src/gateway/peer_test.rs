//! An HTTP peer in the test's process: it answers what it is told to, and shows what it was asked.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// What the peer does with a request.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    Json(u16, Value),
    /// A whole answer with these headers and this body.
    Raw(u16, &'static str, Vec<u8>),
    /// Takes the request and says nothing, for as long as the caller waits.
    Silence,
    /// Takes the request and ends the connection.
    Cut,
    /// Begins an answer and ends the connection.
    HalfAnswer,
}

/// What the peer was asked.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// As `POST /path`.
    pub(super) line: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

pub(super) struct Peer {
    pub(super) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    connections: Arc<Mutex<usize>>,
}

impl Peer {
    /// Gives these replies one after the other, the last one over and over.
    pub(super) async fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(Mutex::new(0));
        let (seen, counted) = (asked.clone(), connections.clone());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                *counted.lock() += 1;
                tokio::spawn(serve(socket, replies.clone(), seen.clone()));
            }
        });
        Self { url, asked, connections }
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().clone()
    }

    pub(super) fn connections(&self) -> usize {
        *self.connections.lock()
    }
}

async fn serve(mut socket: TcpStream, replies: Vec<Reply>, seen: Arc<Mutex<Vec<Asked>>>) {
    while let Some(asked) = read_request(&mut socket).await {
        let index = {
            let mut seen = seen.lock();
            seen.push(asked);
            seen.len() - 1
        };
        let bytes = match &replies[index.min(replies.len() - 1)] {
            Reply::Json(status, json) => {
                answer(*status, "content-type: application/json\r\n", json.to_string().as_bytes())
            }
            Reply::Raw(status, headers, body) => answer(*status, headers, body),
            Reply::Silence => {
                // Until the caller gives up.
                let _ = socket.read_u8().await;
                return;
            }
            Reply::Cut => return,
            Reply::HalfAnswer => {
                let head = b"HTTP/1.1 200 X\r\ncontent-length: 100\r\n\r\n{\"mess";
                let _ = socket.write_all(head).await;
                return;
            }
        };
        if socket.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

fn answer(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// `None` when the connection ends.
async fn read_request(socket: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let mut lines = head.lines();
    let line = lines.next()?.trim_end_matches(" HTTP/1.1").to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.map_or(0, |(_, value)| value.parse().unwrap());
    while bytes.len() < head_end + 4 + length {
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let body = bytes[head_end + 4..head_end + 4 + length].to_vec();
    Some(Asked { line, headers, body })
}
