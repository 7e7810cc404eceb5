//! One tenant's newest events, and who waits for more.
//!
//! Events come in `open`; sealing makes a [`Segment`] of them and wakes all that wait. Only sealed
//! events are handed out, so that all who follow at speed get the same segments.
//!
//! **Invariant:** all events of the tenant's feed after `covers_after`, up to the hub's position,
//! are in the ring (superseded state events apart).

use std::{collections::VecDeque, mem, sync::Arc, task::Waker};

use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::{FeedSettings, frame::Frame, segment::Segment};
use crate::{domain::ids::ClientId, wire::cursor::Cursor};

/// A segment is sealed, without waking anybody, when it reaches this many bytes.
const SEGMENT_BYTES_MAX: usize = 256 << 10;
/// The newest segments keep their ready encodings, up to this many bytes of JSON in all: who is
/// further behind than that shares its place with few.
const ENCODED_BYTES_MAX: usize = 2 << 20;
/// From this many waiting segments on they may be handed out as one, with one conflation over
/// all. It is worth encoding them anew when most of their events are state events.
const MERGE_SEGMENTS_MIN: usize = 4;
/// Merged segments kept for others in the same place.
const MERGED_KEPT: usize = 4;

pub(super) struct Ring {
    pub(super) client: ClientId,
    state: Mutex<State>,
}

struct State {
    segments: VecDeque<Arc<Segment>>,
    /// Number of the front segment; they are counted through the ring's life.
    first_number: u64,
    open: Vec<Arc<Frame>>,
    open_bytes: usize,
    covers_after: Cursor,
    /// Number of the first segment that keeps its encodings, and JSON bytes from there on.
    encoded_from: u64,
    encoded_bytes: usize,
    /// JSON bytes and number of the events in `segments` and `open`.
    bytes: usize,
    events: usize,
    merged: VecDeque<(u64, u64, Arc<Segment>)>,
    /// When it was last sealed with an event in it, `None` before that.
    sealed_at: Option<Instant>,
    /// In the hub's queue to be sealed.
    queued: bool,
    waiters: Waiters,
    subscribers: usize,
    /// Since when there are no subscribers.
    idle_since: Instant,
}

/// Where a subscriber stands among the segments: the number of the next one to hand out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(u64);

impl Place {
    /// To be found by the cursor.
    pub(super) const UNKNOWN: Place = Place(u64::MAX);
}

/// A subscriber's seat in the waiting room; the default is none.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seat {
    generation: u64,
    index: u32,
}

/// What lies after a cursor.
pub(super) enum Taken {
    /// The next segments, at least one; the first may hold events at or before the cursor.
    /// `place` stands before them.
    Segments { segments: SmallVec<[Arc<Segment>; 4]>, place: Place, more: bool },
    /// Nothing; the waker is called when there is more. `all_sealed`: nothing waits to be sealed.
    Nothing { all_sealed: bool },
    /// The ring no longer holds all that lies after the cursor.
    Behind,
}

/// How the bytes that the ring holds have changed, and what sealing left out.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Change {
    pub(super) bytes: isize,
    pub(super) conflated: usize,
}

impl Ring {
    pub(super) fn new(client: ClientId, covers_after: Cursor, now: Instant) -> Self {
        Self {
            client,
            state: Mutex::new(State {
                segments: VecDeque::new(),
                first_number: 0,
                open: Vec::new(),
                open_bytes: 0,
                covers_after,
                encoded_from: 0,
                encoded_bytes: 0,
                bytes: 0,
                events: 0,
                merged: VecDeque::new(),
                sealed_at: None,
                queued: false,
                waiters: Waiters::default(),
                subscribers: 0,
                idle_since: now,
            }),
        }
    }

    pub(super) fn enter(&self) {
        self.state.lock().subscribers += 1;
    }

    pub(super) fn leave(&self, seat: Seat, now: Instant) {
        let mut state = self.state.lock();
        state.waiters.stand_up(seat);
        state.subscribers -= 1;
        if state.subscribers == 0 {
            state.idle_since = now;
        }
    }

    /// Since when the ring has no subscribers; `None` while it has some.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let state = self.state.lock();
        (state.subscribers == 0).then_some(state.idle_since)
    }

    /// When it was last sealed with an event in it; `None` before that.
    pub(super) fn sealed_at(&self) -> Option<Instant> {
        self.state.lock().sealed_at
    }

    /// Lets all but the newest segment go.
    pub(super) fn trim(&self) -> Change {
        let mut change = Change::default();
        self.state.lock().evict_while(|_| true, &mut change);
        change
    }

    /// Lets everything go, also what waits to be sealed: the hub has forgotten the ring.
    pub(super) fn empty(&self) -> Change {
        self.state.lock().let_all_go()
    }

    /// Takes in an event. Answers when it is to be sealed, if that is not settled already.
    pub(super) fn put(
        &self,
        frame: Arc<Frame>,
        now: Instant,
        settings: &FeedSettings,
        tight: bool,
    ) -> (Change, Option<Instant>) {
        let mut state = self.state.lock();
        let bytes = frame.event.json.len();
        state.open.push(frame);
        state.open_bytes += bytes;
        state.bytes += bytes;
        state.events += 1;
        let mut change = Change { bytes: bytes as isize, conflated: 0 };
        if state.open_bytes >= SEGMENT_BYTES_MAX {
            state.seal_open(&mut change);
            state.evict(settings, tight, &mut change);
        }
        if mem::replace(&mut state.queued, true) {
            return (change, None);
        }
        let window_end = state.sealed_at.map(|at| at + settings.batch_window());
        (change, Some(window_end.map_or(now, |end| end.max(now))))
    }

    /// Makes a segment of what has come in, and moves whoever waits into `wakers`.
    pub(super) fn seal(
        &self,
        now: Instant,
        settings: &FeedSettings,
        tight: bool,
        wakers: &mut Vec<Waker>,
    ) -> Change {
        let mut state = self.state.lock();
        let mut change = Change::default();
        state.queued = false;
        state.sealed_at = Some(now);
        state.seal_open(&mut change);
        state.evict(settings, tight, &mut change);
        state.waiters.all_rise(wakers);
        change
    }

    /// Lets go of all that it holds, ready encodings and what they were made of included: someone
    /// in it was erased. All of it, up to `position`, is in the table, where those who had not
    /// pulled it yet find what is left of it.
    pub(super) fn forget(&self, position: Cursor) -> Change {
        let mut state = self.state.lock();
        state.covers_after = state.covers_after.max(position);
        state.let_all_go()
    }

    /// Says that the table has nothing from `after` up to `scanned_to`, so that a place in there
    /// is the ring's to answer: a quiet tenant's polls need no table then.
    pub(super) fn cover_from(&self, after: Cursor, scanned_to: Cursor) {
        let mut state = self.state.lock();
        if after < state.covers_after && state.covers_after <= scanned_to {
            state.covers_after = after;
        }
    }

    /// What lies after `cursor`, about `bytes_max` of it; takes a seat when that is nothing.
    pub(super) fn take(
        &self,
        place: Place,
        cursor: Cursor,
        bytes_max: usize,
        seat: &mut Seat,
        waker: &Waker,
    ) -> Taken {
        let mut state = self.state.lock();
        if cursor < state.covers_after {
            return Taken::Behind;
        }
        let end = state.first_number + state.segments.len() as u64;
        let from = match place {
            Place(number) if (state.first_number..=end).contains(&number) => number,
            _ => {
                let passed = state.segments.partition_point(|segment| segment.last() <= cursor);
                state.first_number + passed as u64
            }
        };
        if from == end {
            let all_sealed = state.open.is_empty();
            state.waiters.sit(seat, waker);
            return Taken::Nothing { all_sealed };
        }
        let mut bytes = 0;
        let start = (from - state.first_number) as usize;
        let count = state
            .segments
            .range(start..)
            .take_while(|segment| {
                let fits = bytes == 0 || bytes + segment.bytes() <= bytes_max;
                bytes += segment.bytes();
                fits
            })
            .count();
        let segments = state.segments.range(start..start + count).cloned().collect();
        Taken::Segments { segments, place: Place(from), more: start + count < state.segments.len() }
    }

    /// Several segments in a row, beginning at `place`, as one; shared with others in that place.
    pub(super) fn merge(&self, place: Place, segments: &[Arc<Segment>]) -> Option<Arc<Segment>> {
        if segments.len() < MERGE_SEGMENTS_MIN {
            return None;
        }
        let states: usize = segments.iter().map(|segment| segment.states()).sum();
        let events: usize = segments.iter().map(|segment| segment.frames().len()).sum();
        if states * 2 <= events {
            return None;
        }
        let key = (place.0, segments.len() as u64);
        let find = |state: &State| {
            let known = state.merged.iter().find(|entry| (entry.0, entry.1) == key);
            known.map(|entry| entry.2.clone())
        };
        if let Some(merged) = find(&self.state.lock()) {
            return Some(merged);
        }
        // Outside the lock: it takes as long as there are events.
        let merged = Arc::new(Segment::merged(segments));
        let mut state = self.state.lock();
        if state.merged.len() == MERGED_KEPT {
            state.merged.pop_front();
        }
        state.merged.push_back((key.0, key.1, merged.clone()));
        Some(merged)
    }
}

impl Place {
    /// Behind the next `count` segments.
    pub(super) fn after(self, count: usize) -> Self {
        Self(self.0 + count as u64)
    }
}

impl State {
    fn seal_open(&mut self, change: &mut Change) {
        if self.open.is_empty() {
            return;
        }
        let count = self.open.len();
        let segment = Segment::new(mem::take(&mut self.open));
        let shrunk_by = mem::take(&mut self.open_bytes) - segment.bytes();
        self.bytes -= shrunk_by;
        self.events -= count - segment.frames().len();
        change.bytes -= shrunk_by as isize;
        change.conflated += segment.conflated();
        self.encoded_bytes += segment.bytes();
        self.segments.push_back(Arc::new(segment));
        self.forget_old_encodings();
        // They are for subscribers that lag a little; what has gathered now is another range.
        self.merged.clear();
    }

    /// Keeps the encodings of the newest segments within their bound; the newest one's stay.
    fn forget_old_encodings(&mut self) {
        let newest = self.first_number + self.segments.len() as u64 - 1;
        while self.encoded_bytes > ENCODED_BYTES_MAX && self.encoded_from < newest {
            let segment = &self.segments[(self.encoded_from - self.first_number) as usize];
            segment.forget_encodings();
            self.encoded_bytes -= segment.bytes();
            self.encoded_from += 1;
        }
    }

    /// Lets the oldest segments go while the ring is over its bounds; the newest one stays.
    fn evict(&mut self, settings: &FeedSettings, tight: bool, change: &mut Change) {
        let (bytes_max, events_max) = (settings.ring_bytes_max, settings.ring_events_max);
        self.evict_while(
            |state| tight || state.bytes > bytes_max || state.events > events_max,
            change,
        );
    }

    fn let_all_go(&mut self) -> Change {
        self.first_number += self.segments.len() as u64;
        self.segments.clear();
        self.merged.clear();
        self.open.clear();
        self.open_bytes = 0;
        self.events = 0;
        Change { bytes: -(mem::take(&mut self.bytes) as isize), conflated: 0 }
    }

    fn evict_while(&mut self, over: impl Fn(&Self) -> bool, change: &mut Change) {
        while self.segments.len() > 1 && over(self) {
            let Some(segment) = self.segments.pop_front() else { return };
            if self.encoded_from == self.first_number {
                self.encoded_bytes -= segment.bytes();
                self.encoded_from += 1;
            }
            self.first_number += 1;
            self.covers_after = segment.last();
            self.bytes -= segment.bytes();
            self.events -= segment.frames().len();
            change.bytes -= segment.bytes() as isize;
        }
    }
}

/// The wakers of those that wait. A subscriber has at most one seat; sealing empties the room.
#[derive(Default)]
struct Waiters {
    /// Counts how often the room was emptied; seats of earlier generations are void. From 1 on,
    /// so that the default [`Seat`] is void.
    emptied: u64,
    wakers: Vec<Waker>,
    /// Seats that were given up before the room was emptied.
    free: Vec<u32>,
}

impl Waiters {
    fn sit(&mut self, seat: &mut Seat, waker: &Waker) {
        let generation = self.emptied + 1;
        if seat.generation == generation {
            self.wakers[seat.index as usize].clone_from(waker);
            return;
        }
        let index = match self.free.pop() {
            Some(index) => {
                self.wakers[index as usize] = waker.clone();
                index
            }
            None => {
                self.wakers.push(waker.clone());
                (self.wakers.len() - 1) as u32
            }
        };
        *seat = Seat { generation, index };
    }

    fn stand_up(&mut self, seat: Seat) {
        if seat.generation == self.emptied + 1 {
            self.wakers[seat.index as usize] = Waker::noop().clone();
            self.free.push(seat.index);
        }
    }

    fn all_rise(&mut self, wakers: &mut Vec<Waker>) {
        self.emptied += 1;
        self.free.clear();
        wakers.append(&mut self.wakers);
    }
}
