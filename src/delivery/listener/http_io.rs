//! The socket as hyper sees it, with what hyper does not watch: whether a request has begun,
//! writes that stand still, and whether everything written has left.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use super::{connection::Exchange, stream::Stream, takeover::Taken};

pub(super) struct HttpIo {
    stream: Stream,
    /// What was read from the stream already.
    read_ahead: Bytes,
    exchange: Arc<Exchange>,
    write_stall_timeout: Duration,
    /// Runs while a write waits for the peer. Allocated only then.
    write_stall: Option<Pin<Box<Sleep>>>,
}

impl HttpIo {
    pub(super) fn new(
        taken: Taken,
        exchange: Arc<Exchange>,
        write_stall_timeout: Duration,
    ) -> Self {
        let Taken { stream, read_ahead } = taken;
        Self { stream, read_ahead, exchange, write_stall_timeout, write_stall: None }
    }

    /// The stream, with what was read and not handed on.
    pub(super) fn into_parts(self) -> (Stream, Bytes) {
        (self.stream, self.read_ahead)
    }

    fn watch(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.write_stall = None;
            return written;
        }
        let timeout = self.write_stall_timeout;
        let stall = self.write_stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        match stall.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for HttpIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.read_ahead.is_empty() {
            let length = this.read_ahead.len().min(buffer.remaining());
            buffer.put_slice(&this.read_ahead.split_to(length));
            this.exchange.count_read(length);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buffer);
        this.exchange.count_read(buffer.filled().len() - before);
        polled
    }
}

impl AsyncWrite for HttpIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.exchange.set_flushed(false);
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.watch(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.exchange.set_flushed(false);
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // hyper flushes the stream only when its own buffer is empty.
        this.exchange.set_flushed(true);
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
