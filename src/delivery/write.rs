//! Writing ready bytes to a socket: all that waits in one system call, and a bound on standing
//! still.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io::{self, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes};
use tokio::{io::AsyncWrite, time::timeout};

/// Slices handed to one system call; more wait for the next.
const SLICES_MAX: usize = 16;

/// Why writing ended.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("the client took no bytes for too long")]
    Stalled,
    #[error("the connection failed: {0}")]
    Broken(#[from] io::Error),
}

/// Writes all of `queue`. Standing still for longer than `stall` is an error.
///
/// What was written is taken from `queue`, so a dropped write can be taken up again.
pub async fn write_all<S>(
    stream: &mut S,
    queue: &mut VecDeque<Bytes>,
    stall: Duration,
) -> Result<(), WriteError>
where
    S: AsyncWrite + Unpin,
{
    while !queue.is_empty() {
        let mut write = pin!(poll_fn(|cx| poll_write(stream, cx, queue)));
        // Most writes are taken at once, and then no timer is needed.
        let written = match futures_util::poll!(write.as_mut()) {
            Poll::Ready(written) => written?,
            Poll::Pending => timeout(stall, write).await.map_err(|_| WriteError::Stalled)??,
        };
        advance(queue, written);
    }
    Ok(())
}

fn poll_write<S>(
    stream: &mut S,
    cx: &mut Context<'_>,
    queue: &VecDeque<Bytes>,
) -> Poll<io::Result<usize>>
where
    S: AsyncWrite + Unpin,
{
    let stream = Pin::new(stream);
    let written = match queue.len() {
        1 => stream.poll_write(cx, &queue[0]),
        _ => {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let count = queue.len().min(SLICES_MAX);
            for (slice, bytes) in slices.iter_mut().zip(queue) {
                *slice = IoSlice::new(bytes);
            }
            stream.poll_write_vectored(cx, &slices[..count])
        }
    };
    written.map(|result| match result {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        other => other,
    })
}

fn advance(queue: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(front) = queue.front_mut() {
        if written < front.len() {
            front.advance(written);
            return;
        }
        written -= front.len();
        queue.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, duplex};

    use super::*;

    #[tokio::test]
    async fn many_slices_arrive_in_order_through_a_narrow_pipe() {
        let (mut near, mut far) = duplex(7);
        let mut queue: VecDeque<_> =
            (0..50u8).map(|i| Bytes::from(vec![i; usize::from(i) + 1])).collect();
        let expected: Vec<u8> = queue.iter().flat_map(|bytes| bytes.to_vec()).collect();
        let read = tokio::spawn(async move {
            let mut all = Vec::new();
            far.read_to_end(&mut all).await.map(|_| all)
        });
        write_all(&mut near, &mut queue, Duration::from_secs(1)).await.unwrap();
        drop(near);
        assert_eq!(read.await.unwrap().unwrap(), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_stands_still_is_noticed() {
        let (mut near, _far) = duplex(4);
        let mut queue = VecDeque::from([Bytes::from_static(b"123456")]);
        let result = write_all(&mut near, &mut queue, Duration::from_secs(30)).await;
        assert!(matches!(result, Err(WriteError::Stalled)));
        assert_eq!(queue, [Bytes::from_static(b"56")]);
    }
}
