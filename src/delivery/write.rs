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
use tokio::{
    io::AsyncWrite,
    time::{Instant, timeout_at},
};

/// Slices handed to one system call; more wait for the next.
const SLICES_MAX: usize = 64;

/// Why writing ended.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("the client took no bytes for too long")]
    Stalled,
    #[error("the connection failed: {0}")]
    Broken(#[from] io::Error),
}

/// Writes all of `queue`. Standing still for longer than `stall` is an error, and so is taking
/// longer than `whole` altogether.
///
/// What was written is taken from `queue`, so a dropped write can be taken up again.
pub async fn write_all<S>(
    stream: &mut S,
    queue: &mut VecDeque<Bytes>,
    stall: Duration,
    whole: Duration,
) -> Result<(), WriteError>
where
    S: AsyncWrite + Unpin,
{
    let mut latest = None;
    while !queue.is_empty() {
        let mut write = pin!(poll_fn(|cx| poll_write(stream, cx, queue)));
        // Most writes are taken at once, and then no timer is needed.
        if let Poll::Ready(written) = futures_util::poll!(write.as_mut()) {
            written?;
            continue;
        }
        let now = Instant::now();
        let until = (now + stall).min(*latest.get_or_insert(now + whole));
        timeout_at(until, write).await.map_err(|_| WriteError::Stalled)??;
    }
    Ok(())
}

/// Writes once, as much of `queue` as the kernel takes, and takes that out of it. Answers how many
/// bytes that were.
pub fn poll_write<S>(
    stream: &mut S,
    cx: &mut Context<'_>,
    queue: &mut VecDeque<Bytes>,
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
            for (slice, bytes) in slices.iter_mut().zip(&*queue) {
                *slice = IoSlice::new(bytes);
            }
            stream.poll_write_vectored(cx, &slices[..count])
        }
    };
    written.map(|result| match result {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        Ok(written) => {
            advance(queue, written);
            Ok(written)
        }
        Err(error) => Err(error),
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
        let second = Duration::from_secs(1);
        write_all(&mut near, &mut queue, second, second).await.unwrap();
        drop(near);
        assert_eq!(read.await.unwrap().unwrap(), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_stands_still_is_noticed() {
        let (mut near, _far) = duplex(4);
        let mut queue = VecDeque::from([Bytes::from_static(b"123456")]);
        let (stall, whole) = (Duration::from_secs(30), Duration::from_secs(120));
        let result = write_all(&mut near, &mut queue, stall, whole).await;
        assert!(matches!(result, Err(WriteError::Stalled)));
        assert_eq!(queue, [Bytes::from_static(b"56")]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_a_little_now_and_then_is_noticed_too() {
        let (mut near, mut far) = duplex(4);
        let mut queue = VecDeque::from([Bytes::from(vec![0; 1_000])]);
        let reads = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(29)).await;
                if far.read_u8().await.is_err() {
                    return;
                }
            }
        });
        let start = Instant::now();
        let (stall, whole) = (Duration::from_secs(30), Duration::from_secs(120));
        let result = write_all(&mut near, &mut queue, stall, whole).await;
        assert!(matches!(result, Err(WriteError::Stalled)));
        assert_eq!(start.elapsed().as_secs(), 120);
        drop(near);
        reads.await.unwrap();
    }
}
