//! Reading bodies: each within its own bound and in time, and all together within one more.
//!
//! Who sends a body need not have shown a token (webhooks are signed over the body itself), so
//! what is being read is bounded for the whole instance: room is taken as bytes arrive, not when
//! they are announced, and given back when the request has been answered. Nobody waits for room:
//! where there is none the answer is `503` with `Retry-After`, and providers come again.
//!
//! **Invariant:** the bytes of all bodies in memory stay within `api.bodies_in_flight_max_bytes`.

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use poem::{Body, Request};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Deps, settings::ApiSettings};
use crate::wire::problem::{Code, Problem};

/// A body up to this size may take the last quarter of the room, which larger ones leave: they
/// can't keep the usual ones out.
const SMALL_BYTES: usize = 64 << 10;

/// The least room that a body takes.
const ROOM_BYTES_MIN: usize = 4 << 10;

/// The room for bodies. One per instance.
pub struct BodyRoom {
    free: Arc<Semaphore>,
    /// What bodies beyond [`SMALL_BYTES`] leave free.
    reserve: usize,
}

/// A whole body.
pub struct ReadBody {
    pub bytes: Bytes,
    pub room: Room,
}

/// The room that one body has taken, until this is dropped.
#[derive(Default)]
pub struct Room {
    bytes: usize,
    taken: Option<OwnedSemaphorePermit>,
}

/// What bounds one body.
#[derive(Debug, Clone, Copy)]
pub struct BodyBounds {
    pub bytes_max: usize,
    pub time_max: Duration,
}

impl BodyRoom {
    pub fn new(settings: &ApiSettings) -> Self {
        let bytes = settings.bodies_in_flight_max_bytes.min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(bytes)), reserve: bytes / 4 }
    }

    /// Reads `body`, of which `announced` bytes were promised.
    pub async fn read(
        &self,
        body: Body,
        announced: Option<u64>,
        bounds: BodyBounds,
    ) -> Result<ReadBody, Problem> {
        if announced.is_some_and(|length| length > bounds.bytes_max as u64) {
            return Err(too_large(bounds.bytes_max));
        }
        // Within `bytes_max`, which is a usize.
        let announced = announced.map_or(bounds.bytes_max, |length| length as usize);
        let collected = self.collect(body.into_bytes_stream(), announced, bounds.bytes_max);
        let collected = tokio::time::timeout(bounds.time_max, collected).await;
        collected.unwrap_or_else(|_| Err(Problem::new(Code::RequestTimeout)))
    }

    /// All of `chunks`, of which `announced` bytes are expected and `bytes_max` allowed.
    pub async fn collect<E>(
        &self,
        chunks: impl Stream<Item = Result<Bytes, E>>,
        announced: usize,
        bytes_max: usize,
    ) -> Result<ReadBody, Problem> {
        let mut chunks = pin!(chunks);
        let mut room = Room::default();
        let mut bytes = Vec::new();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| {
                Problem::new(Code::InvalidRequest).detail("the body did not arrive whole")
            })?;
            let needed = bytes.len() + chunk.len();
            if needed > bytes_max {
                return Err(too_large(bytes_max));
            }
            if needed > room.bytes {
                // Twice as much as so far, so that a long body is not moved with each chunk.
                let wanted = (2 * room.bytes).max(ROOM_BYTES_MIN).min(announced).max(needed);
                self.widen(&mut room, wanted)?;
                bytes.reserve_exact(wanted - bytes.len());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(ReadBody { bytes: Bytes::from(bytes), room })
    }

    fn widen(&self, room: &mut Room, bytes: usize) -> Result<(), Problem> {
        let full = || {
            let detail = "more is being sent at once than this instance holds";
            Problem::new(Code::Overloaded).detail(detail).retry_after_s(1)
        };
        let more = bytes - room.bytes;
        if bytes > SMALL_BYTES && self.free.available_permits() < more + self.reserve {
            return Err(full());
        }
        let more = u32::try_from(more).map_err(|_| full())?;
        let taken = self.free.clone().try_acquire_many_owned(more).map_err(|_| full())?;
        match &mut room.taken {
            Some(before) => before.merge(taken),
            empty => *empty = Some(taken),
        }
        room.bytes = bytes;
        Ok(())
    }
}

pub(super) fn too_large(bytes_max: usize) -> Problem {
    Problem::new(Code::BodyTooLarge).detail(format!("the body may have {bytes_max} bytes at most"))
}

/// The length that a request says its body has.
pub fn announced(request: &Request) -> Option<u64> {
    request.header("content-length").and_then(|text| text.parse().ok())
}

impl Deps {
    /// The bounds of a body of at most `bytes_max`.
    pub fn body_bounds(&self, bytes_max: usize) -> BodyBounds {
        BodyBounds { bytes_max, time_max: Duration::from_millis(self.settings.body_timeout_ms) }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, future::join_all, stream};

    use super::*;

    const MIB: usize = 1 << 20;

    fn room(bytes: usize) -> BodyRoom {
        let bodies_in_flight_max_bytes = bytes;
        BodyRoom::new(&ApiSettings { bodies_in_flight_max_bytes, ..ApiSettings::default() })
    }

    fn bounds() -> BodyBounds {
        BodyBounds { bytes_max: 3 * MIB, time_max: Duration::from_secs(30) }
    }

    /// All but the last byte of what is announced, and then nothing.
    fn stuck(bytes: usize) -> Body {
        let chunk = Bytes::from(vec![b'x'; 32 << 10]);
        let chunks = (bytes - 1) / chunk.len();
        let sent = stream::iter((0..chunks).map(move |_| Ok::<_, std::io::Error>(chunk.clone())));
        Body::from_bytes_stream(sent.chain(stream::pending()))
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_that_never_end_leave_room_for_small_ones_and_give_theirs_back() {
        let room = room(16 * MIB);
        let reads = (0..100).map(|_| room.read(stuck(3 * MIB), Some(3 * MIB as u64), bounds()));
        let mut stuck_ones = join_all(reads);
        // Those that found no room were answered, the others are being read.
        assert!((&mut stuck_ones).now_or_never().is_none());
        let taken = 16 * MIB - room.free.available_permits();
        assert!(taken > 8 * MIB && taken <= 12 * MIB, "{taken}");
        let small = room.read(Body::from("{}"), Some(2), bounds()).await.unwrap();
        assert_eq!(small.bytes, "{}");
        drop(small);
        let answers = stuck_ones.await;
        let count = |code| {
            let codes = answers.iter().filter_map(|answer| answer.as_ref().err());
            codes.filter(|problem| problem.code() == code).count()
        };
        assert_eq!(count(Code::Overloaded) + count(Code::RequestTimeout), 100);
        assert!(count(Code::RequestTimeout) >= 4);
        assert_eq!(room.free.available_permits(), 16 * MIB);
    }

    #[tokio::test]
    async fn a_body_arrives_whole_or_is_turned_away() {
        let room = room(16 * MIB);
        let long = vec![b'x'; 3 * MIB];
        let whole = room.read(Body::from(long.clone()), Some(3 * MIB as u64), bounds()).await;
        assert_eq!(whole.unwrap().bytes, long);
        // Not announced, in chunks.
        let chunks: Vec<_> = long.chunks(10_000).map(Bytes::copy_from_slice).collect();
        let chunks = stream::iter(chunks.into_iter().map(Ok::<_, std::io::Error>));
        let whole = room.read(Body::from_bytes_stream(chunks), None, bounds()).await.unwrap();
        assert_eq!(whole.bytes, long);
        assert_eq!(room.free.available_permits(), 13 * MIB);
        drop(whole);
        let longer = [long.as_slice(), b"x"].concat();
        for announced in [Some(longer.len() as u64), None] {
            let turned_away = room.read(Body::from(longer.clone()), announced, bounds()).await;
            assert_eq!(turned_away.err().unwrap().code(), Code::BodyTooLarge);
        }
        assert_eq!(room.free.available_permits(), 16 * MIB);
    }
}
