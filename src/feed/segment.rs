//! A run of events that is written at once, and its bytes in each encoding in use.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::{
    filter::{Filter, Types},
    frame::{Encoding, Frame, finish},
};
use crate::{domain::time::Timestamp, projection::PublicFrame, wire::cursor::Cursor};

/// Ready encodings that a segment keeps; one more filter than this is encoded each time anew.
const CACHED_ENCODINGS_MAX: usize = 16;

/// Room for what an encoding puts around an event's JSON.
const AROUND_EVENT_BYTES: usize = 64;

/// Events in feed order, superseded state events left out.
///
/// **Invariant:** not empty, and the last event of the run is in it: nothing supersedes that one.
pub(super) struct Segment {
    frames: Box<[Arc<Frame>]>,
    /// JSON bytes of the events.
    bytes: usize,
    /// Superseded events that were left out.
    conflated: usize,
    /// State events among the frames.
    states: usize,
    types: Types,
    cache: Mutex<Cache>,
}

struct Cache {
    /// Off once the segment is no longer among the newest: whoever still needs it is behind, and
    /// few share its place.
    keeps: bool,
    entries: SmallVec<[(Filter, Encoding, Encoded); 1]>,
}

/// Events as bytes ready to be written.
#[derive(Debug, Clone)]
pub(super) struct Encoded {
    pub bytes: Bytes,
    pub events: u32,
    /// When the oldest of the events was taken in.
    pub oldest_taken_in: Timestamp,
}

impl Segment {
    /// `frames` must not be empty.
    pub(super) fn new(frames: Vec<Arc<Frame>>) -> Self {
        let before = frames.len();
        let frames = conflate(frames, |frame| &frame.event);
        Self {
            bytes: frames.iter().map(|frame| frame.event.json.len()).sum(),
            conflated: before - frames.len(),
            states: frames.iter().filter(|frame| frame.event.event_type.is_state()).count(),
            types: frames.iter().map(|frame| frame.event.event_type).collect(),
            frames: frames.into_boxed_slice(),
            cache: Mutex::new(Cache { keeps: true, entries: SmallVec::new() }),
        }
    }

    /// Several segments as one, for a subscriber that has let them gather.
    pub(super) fn merged(segments: &[Arc<Segment>]) -> Self {
        Self::new(segments.iter().flat_map(|segment| segment.frames.iter().cloned()).collect())
    }

    pub(super) fn frames(&self) -> &[Arc<Frame>] {
        &self.frames
    }

    pub(super) fn first(&self) -> Cursor {
        self.frames.first().map(|frame| frame.event.cursor).unwrap_or(Cursor::START)
    }

    pub(super) fn last(&self) -> Cursor {
        self.frames.last().map(|frame| frame.event.cursor).unwrap_or(Cursor::START)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn conflated(&self) -> usize {
        self.conflated
    }

    /// How many of its events are state events.
    pub(super) fn states(&self) -> usize {
        self.states
    }

    /// Lets the ready encodings go.
    pub(super) fn forget_encodings(&self) {
        let mut cache = self.cache.lock();
        cache.keeps = false;
        cache.entries = SmallVec::new();
    }

    /// All of the segment that the filter shows; `None` when that is nothing.
    ///
    /// Who comes first encodes while the others wait for it: they need the very same bytes.
    pub(super) fn encoded(
        &self,
        filter: Filter,
        encoding: Encoding,
        epoch: &str,
    ) -> Option<Encoded> {
        if !self.types.intersects(filter.types) {
            return None;
        }
        let mut cache = self.cache.lock();
        let known = cache.entries.iter().find(|entry| entry.0 == filter && entry.1 == encoding);
        if let Some((_, _, encoded)) = known {
            return (encoded.events > 0).then(|| encoded.clone());
        }
        let encoded = self.encode(filter, encoding, epoch);
        if cache.keeps && cache.entries.len() < CACHED_ENCODINGS_MAX {
            cache.entries.push((filter, encoding, encoded.clone()));
        }
        (encoded.events > 0).then_some(encoded)
    }

    fn encode(&self, filter: Filter, encoding: Encoding, epoch: &str) -> Encoded {
        let shown = self.frames.iter().filter(|frame| filter.shows(&frame.event));
        let room = match filter.conversation {
            None => self.bytes + self.frames.len() * AROUND_EVENT_BYTES,
            Some(_) => 0,
        };
        let mut writer = Writer::with_capacity(room);
        for frame in shown {
            writer.put(&frame.event, |out| frame.write_to(out, encoding, epoch));
        }
        writer.finish(encoding)
    }
}

/// Gathers events as bytes.
pub(super) struct Writer {
    out: Vec<u8>,
    events: u32,
    oldest_taken_in: Timestamp,
}

impl Writer {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { out: Vec::with_capacity(bytes), events: 0, oldest_taken_in: Timestamp(i64::MAX) }
    }

    pub(super) fn put(&mut self, event: &PublicFrame, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.out);
        self.events += 1;
        self.oldest_taken_in = self.oldest_taken_in.min(event.taken_in_at);
    }

    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    pub(super) fn events(&self) -> u32 {
        self.events
    }

    pub(super) fn finish(self, encoding: Encoding) -> Encoded {
        Encoded {
            bytes: Bytes::from(finish(self.out, encoding)),
            events: self.events,
            oldest_taken_in: self.oldest_taken_in,
        }
    }
}

/// Leaves out state events that a later one in `items` supersedes. Keeps the order.
pub(super) fn conflate<T>(items: Vec<T>, event: impl Fn(&T) -> &PublicFrame) -> Vec<T> {
    if items.iter().filter(|item| event(item).event_type.is_state()).nth(1).is_none() {
        return items;
    }
    let mut seen = HashSet::new();
    let mut kept: Vec<T> = items
        .into_iter()
        .rev()
        .filter(|item| {
            let event = event(item);
            !event.event_type.is_state() || seen.insert((event.event_type, event.key))
        })
        .collect();
    kept.reverse();
    kept
}
