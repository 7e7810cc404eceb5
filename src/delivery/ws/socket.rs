//! A WebSocket on its bare stream: reading into a buffer that the thread's connections share,
//! writing what is ready with one system call, and the closing handshake.
//!
//! What is read is handed to the caller while it lies in the shared buffer, so the socket of an
//! idle connection holds no bytes. What is written is references to shared frames.
//!
//! **Invariant:** frames leave whole and in the order in which they were pushed.

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::engine::{Reader, Received, Violation};
use crate::delivery::{
    listener::{stream::Stream, takeover::Taken},
    write::poll_write,
};

/// Bytes read at once, by whichever connection of the thread has some.
const READ_BYTES: usize = 16_384;
/// Frames that an idle socket may keep room for.
const OUTBOX_KEPT: usize = 4;

thread_local! {
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// Why there is nothing more to read.
#[derive(Debug, thiserror::Error)]
pub enum ReadEnd {
    #[error("the client has left")]
    Left,
    #[error(transparent)]
    Broken(#[from] io::Error),
    #[error(transparent)]
    Violation(#[from] Violation),
}

/// One open WebSocket.
pub struct Socket {
    stream: Stream,
    reader: Reader,
    /// What came behind the handshake, read first.
    read_ahead: Bytes,
    outbox: VecDeque<Bytes>,
    outbox_bytes: usize,
}

impl Socket {
    pub fn new(taken: Taken, reader: Reader) -> Self {
        Self {
            stream: taken.stream,
            reader,
            read_ahead: taken.read_ahead,
            outbox: VecDeque::new(),
            outbox_bytes: 0,
        }
    }

    /// Queues a ready frame, or several in one.
    pub fn push(&mut self, frame: Bytes) {
        self.outbox_bytes += frame.len();
        self.outbox.push_back(frame);
    }

    /// Bytes that wait to be written.
    pub fn outbox_bytes(&self) -> usize {
        self.outbox_bytes
    }

    /// Writes what waits, as much at once as the kernel takes. Ready when nothing waits.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.outbox_bytes > 0 {
            self.outbox_bytes -= ready!(poll_write(&mut self.stream, cx, &mut self.outbox))?;
        }
        if self.outbox.capacity() > OUTBOX_KEPT {
            self.outbox = VecDeque::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once and hands on what came of it. Ready when something was read.
    pub fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(Received<'_>),
    ) -> Poll<Result<(), ReadEnd>> {
        if !self.read_ahead.is_empty() {
            let mut ahead = std::mem::take(&mut self.read_ahead).to_vec();
            return Poll::Ready(read_all(&mut self.reader, &mut ahead, &mut take));
        }
        READ_BUFFER.with_borrow_mut(|buffer| {
            let length = ready!(poll_read(&mut self.stream, cx, buffer))?;
            if length == 0 {
                return Poll::Ready(Err(ReadEnd::Left));
            }
            Poll::Ready(read_all(&mut self.reader, &mut buffer[..length], &mut take))
        })
    }

    /// Ends the connection in order: sends what waits and a close frame, awaits the client's and
    /// lets it have all before the stream ends. Cut off after `timeout`.
    pub async fn close(mut self, frame: Bytes, client_has_closed: bool, timeout: Duration) {
        self.push(frame);
        let farewell = async {
            poll_fn(|cx| self.poll_flush(cx)).await?;
            if !client_has_closed {
                self.await_close().await?;
            }
            poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)).await?;
            // Closing with unread bytes would reset the connection and could lose our frame.
            while poll_fn(|cx| self.poll_discard(cx)).await? > 0 {}
            Ok::<(), io::Error>(())
        };
        match tokio::time::timeout(timeout, farewell).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a WebSocket broke while it was closed"),
            // What it has not read in all that time is thrown away.
            Err(_) if self.outbox_bytes > 0 => self.abort(),
            Err(_) => {}
        }
    }

    /// Ends the connection at once, without a word: for a client that does not read.
    pub fn abort(self) {
        self.stream.abort();
    }

    async fn await_close(&mut self) -> io::Result<()> {
        let mut closed = false;
        while !closed {
            let received = poll_fn(|cx| {
                self.poll_receive(cx, |received| closed |= matches!(received, Received::Close(_)))
            });
            match received.await {
                Ok(()) => {}
                Err(ReadEnd::Broken(error)) => return Err(error),
                // It will not say more; what it breaks now does not matter.
                Err(ReadEnd::Left | ReadEnd::Violation(_)) => return Ok(()),
            }
        }
        Ok(())
    }

    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        READ_BUFFER.with_borrow_mut(|buffer| poll_read(&mut self.stream, cx, buffer))
    }
}

fn poll_read(
    stream: &mut Stream,
    cx: &mut Context<'_>,
    buffer: &mut [u8],
) -> Poll<io::Result<usize>> {
    let mut buffer = ReadBuf::new(buffer);
    ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
    Poll::Ready(Ok(buffer.filled().len()))
}

fn read_all(
    reader: &mut Reader,
    mut input: &mut [u8],
    take: &mut impl FnMut(Received<'_>),
) -> Result<(), ReadEnd> {
    loop {
        let rest = {
            let length = input.len();
            let mut cursor = &mut *input;
            match reader.next(&mut cursor)? {
                Some(received) => take(received),
                None => return Ok(()),
            }
            length - cursor.len()
        };
        input = &mut input[rest..];
    }
}
