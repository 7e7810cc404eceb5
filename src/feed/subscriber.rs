//! A subscriber: a cursor with a filter that pulls what lies after it.
//!
//! From the ring while that holds its place; else page by page from the feed table until the ring
//! does; else it says `reset` and goes on live. It is polled by the connection's own task and owns
//! nothing but a place, so an idle one costs some 200 bytes and a slow one costs nobody else.
//!
//! **Invariant:** `at` only moves past events that were handed out or hidden by the filter. All
//! moves happen between awaits, so a dropped `next_batch` loses nothing.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::{
    catch_up::{self, Found},
    filter::Filter,
    frame::{Encoding, write_event},
    hub::Hub,
    ring::{Place, Ring, Seat, Taken},
    segment::{Encoded, Segment, Writer, conflate},
};
use crate::{
    domain::{
        ids::{ClientId, Position},
        time::Timestamp,
    },
    projection::queries::FeedPage,
    wire::cursor::Cursor,
};

/// A page of the feed table is handed out whole up to this many bytes: what is beyond them is
/// read again.
const PAGE_BYTES_MAX: usize = 1 << 20;

/// How much to pull at once.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// About this many bytes of JSON; what belongs together may go beyond it.
    pub bytes: usize,
    /// Never more events than this.
    pub events: u32,
}

impl Budget {
    pub fn bytes(bytes: usize) -> Self {
        Self { bytes, events: u32::MAX }
    }
}

/// Events ready to be written, in order, one slice after the other.
#[derive(Debug, Clone)]
pub struct Batch {
    pub bytes: SmallVec<[Bytes; 3]>,
    /// At least one.
    pub events: u32,
    /// Where the subscriber stands after them.
    pub cursor: Cursor,
    /// When the oldest of them was taken in, for the delivery lag.
    pub oldest_taken_in: Timestamp,
    /// More was there when these were pulled (and may be hidden by the filter).
    pub more: bool,
    /// The subscriber had caught up before them, so that their age is the delivery's lag and not
    /// the time for which a client was away.
    pub live: bool,
}

/// Why a subscriber can't go on from its cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetReason {
    /// Beyond the end of this log (or of another epoch, which the caller sees when it parses).
    UnknownCursor,
    /// Older than what the feed table keeps.
    ExpiredCursor,
    /// More lies after it than a subscriber is led through.
    TooFarBehind,
}

impl ResetReason {
    /// As it stands in a `reset` frame, and as a problem's `code`.
    pub fn as_str(self) -> &'static str {
        match self {
            ResetReason::UnknownCursor => "unknown_cursor",
            ResetReason::ExpiredCursor => "expired_cursor",
            ResetReason::TooFarBehind => "too_far_behind",
        }
    }
}

/// What comes next.
#[derive(Debug, Clone)]
pub enum Next {
    Batch(Batch),
    /// The subscriber can't go on from where it stood; it stands at `cursor` (the head) now.
    Reset {
        reason: ResetReason,
        cursor: Cursor,
    },
    /// The feed table or the log could not be read for a while; the subscriber stands where it
    /// stood and may be asked again.
    Unavailable,
    /// The place given to [`Subscriber::pause_at`] is reached.
    Paused,
}

/// Follows one tenant's feed.
pub struct Subscriber {
    hub: Arc<Hub>,
    ring: Arc<Ring>,
    filter: Filter,
    encoding: Encoding,
    /// Everything up to here was handed out, hidden, or does not exist.
    at: Cursor,
    /// The newest event that was handed out or hidden; the start before that.
    moved_to: Cursor,
    place: Place,
    seat: Seat,
    /// When the ring had nothing last, nothing waited to be sealed either.
    all_sealed: bool,
    /// `at` is known not to lie beyond the log.
    known: bool,
    /// `at` was checked against retention and backlog since the ring last held it.
    catching_up: bool,
    /// It has had all that there was since it started, and kept up with the ring.
    live: bool,
    /// Where to pause.
    barrier: Option<Cursor>,
    /// `lookup` waits for this instance to come as far as something before which there is nothing
    /// to hand out.
    is_ahead: bool,
    /// What is being looked up outside the ring.
    lookup: Option<Pin<Box<dyn Future<Output = Found> + Send>>>,
}

impl Subscriber {
    pub(super) fn new(
        hub: Arc<Hub>,
        ring: Arc<Ring>,
        at: Cursor,
        filter: Filter,
        encoding: Encoding,
    ) -> Self {
        Self {
            all_sealed: false,
            known: at <= hub.head(),
            hub,
            ring,
            filter,
            encoding,
            at,
            moved_to: at,
            place: Place::UNKNOWN,
            seat: Seat::default(),
            catching_up: false,
            live: false,
            barrier: None,
            is_ahead: false,
            lookup: None,
        }
    }

    pub fn client(&self) -> ClientId {
        self.ring.client
    }

    /// Where the subscriber stands: its start, or the last event that it got or that was hidden.
    pub fn cursor(&self) -> Cursor {
        self.moved_to
    }

    /// As [`Self::cursor`], but also past other tenants' events when there is nothing of this
    /// tenant before them: the best place to resume from, since it does not age while the tenant
    /// is quiet. Up to date after a poll that had nothing.
    pub fn resume_cursor(&self) -> Cursor {
        self.at
    }

    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    pub fn filter(&self) -> Filter {
        self.filter
    }

    /// Replaces the filter, from the next pull on.
    pub fn set_filter(&mut self, filter: Filter) {
        self.filter = filter;
    }

    /// Hands out what lies up to `cursor`, then says [`Next::Paused`] once before it goes on.
    pub fn pause_at(&mut self, cursor: Cursor) {
        self.barrier = Some(cursor);
    }

    /// Goes on from another place of this log, for instance a snapshot's cursor.
    pub fn seek(&mut self, cursor: Cursor) {
        self.at = cursor;
        self.moved_to = cursor;
        self.place = Place::UNKNOWN;
        self.known = true;
        self.catching_up = false;
        self.live = false;
        self.barrier = None;
        self.is_ahead = false;
        self.lookup = None;
    }

    /// Waits for what comes next. Cancel-safe.
    pub async fn next_batch(&mut self, budget: Budget) -> Next {
        poll_fn(|cx| self.poll_batch(cx, budget)).await
    }

    /// What is there already, waiting for nothing but the table and the end of the batch window;
    /// `None` when the subscriber has caught up, or has passed all up to `until`, however much
    /// comes in meanwhile. Cancel-safe.
    pub async fn ready_batch(&mut self, budget: Budget, until: Cursor) -> Option<Next> {
        poll_fn(|cx| match self.poll_batch(cx, budget) {
            Poll::Ready(next) => Poll::Ready(Some(next)),
            Poll::Pending if self.is_there(until) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    fn is_there(&self, until: Cursor) -> bool {
        match self.lookup {
            Some(_) => self.is_ahead,
            None => self.all_sealed || self.at >= until,
        }
    }

    /// What comes next, if it is there; else the task is woken when it may be.
    pub fn poll_batch(&mut self, cx: &mut Context<'_>, budget: Budget) -> Poll<Next> {
        loop {
            if let Some(lookup) = &mut self.lookup {
                let found = ready!(lookup.as_mut().poll(cx));
                self.lookup = None;
                self.is_ahead = false;
                if let Some(next) = self.take_found(found, budget) {
                    return Poll::Ready(next);
                }
                continue;
            }
            if self.barrier.is_some_and(|barrier| self.at >= barrier) {
                self.barrier = None;
                return Poll::Ready(Next::Paused);
            }
            // Read before the ring is: what the ring lacks then, does not exist up to here.
            let seen = self.hub.head();
            let bytes_max = budget.bytes.max(1);
            match self.ring.take(self.place, self.at, bytes_max, &mut self.seat, cx.waker()) {
                Taken::Segments { segments, place, more } => {
                    self.catching_up = false;
                    self.place = place;
                    if let Some(batch) = self.collect(&segments, more, budget) {
                        return Poll::Ready(Next::Batch(batch));
                    }
                }
                Taken::Nothing { all_sealed } => {
                    self.all_sealed = all_sealed;
                    self.catching_up = false;
                    self.live = true;
                    if all_sealed && seen > self.at {
                        self.at = seen;
                        if self.barrier.is_some_and(|barrier| self.at >= barrier) {
                            continue;
                        }
                    }
                    self.known |= self.at <= seen;
                    match self.ahead_of(seen) {
                        None => return Poll::Pending,
                        Some(position) if self.known => {
                            self.is_ahead = true;
                            let reached = catch_up::reached(self.hub.clone(), position);
                            self.lookup = Some(Box::pin(reached));
                        }
                        Some(_) => {
                            let known = catch_up::known(self.hub.clone(), self.at);
                            self.lookup = Some(Box::pin(known));
                        }
                    }
                }
                Taken::Behind => {
                    self.live = false;
                    let checked = std::mem::replace(&mut self.catching_up, true);
                    self.lookup = Some(Box::pin(catch_up::page(
                        self.hub.clone(),
                        self.ring.client,
                        self.at,
                        self.page_limit(budget),
                        checked,
                    )));
                }
            }
        }
    }

    /// What this instance, standing at `seen`, has yet to come to before there can be anything
    /// for the subscriber: its own place, or the one at which it is to pause. The ring wakes
    /// nobody for that, since it may come with other tenants' events.
    fn ahead_of(&self, seen: Cursor) -> Option<Position> {
        if self.at > seen {
            return Some(self.at.position);
        }
        self.barrier.filter(|barrier| *barrier > seen).map(|barrier| barrier.position)
    }

    /// Hands out as much of the segments as the budget allows.
    fn collect(&mut self, segments: &[Arc<Segment>], more: bool, budget: Budget) -> Option<Batch> {
        let first_is_whole = segments[0].first() > self.at;
        let unlimited = budget.events == u32::MAX;
        if first_is_whole
            && unlimited
            && self.barrier.is_none()
            && let Some(merged) = self.ring.merge(self.place, segments)
        {
            let batch = self.collect_each(std::slice::from_ref(&merged), more, budget);
            self.place = self.place.after(segments.len() - 1);
            return batch;
        }
        self.collect_each(segments, more, budget)
    }

    fn collect_each(
        &mut self,
        segments: &[Arc<Segment>],
        mut more: bool,
        budget: Budget,
    ) -> Option<Batch> {
        let mut bytes = SmallVec::new();
        let mut events = 0;
        let mut oldest_taken_in = Timestamp(i64::MAX);
        let mut add = |encoded: Encoded| {
            events += encoded.events;
            oldest_taken_in = oldest_taken_in.min(encoded.oldest_taken_in);
            bytes.push(encoded.bytes);
            budget.events - events
        };
        let mut events_left = budget.events;
        for (index, segment) in segments.iter().enumerate() {
            let is_whole = segment.first() > self.at
                && self.is_before_barrier(segment.last())
                && segment.frames().len() as u64 <= u64::from(events_left);
            let (encoded, upto) = if is_whole {
                let encoded = segment.encoded(self.filter, self.encoding, &self.hub.epoch);
                (encoded, segment.last())
            } else {
                self.part_of(segment, events_left)
            };
            self.move_to(upto);
            if let Some(encoded) = encoded {
                events_left = add(encoded);
            }
            if upto < segment.last() {
                more = true;
                break;
            }
            self.place = self.place.after(1);
            if events_left == 0 {
                more |= index + 1 < segments.len();
                break;
            }
        }
        let cursor = self.moved_to;
        let live = self.live;
        (events > 0).then_some(Batch { bytes, events, cursor, oldest_taken_in, more, live })
    }

    fn is_before_barrier(&self, cursor: Cursor) -> bool {
        self.barrier.is_none_or(|barrier| cursor <= barrier)
    }

    /// What the filter shows of a segment after the cursor, and how far that reaches. Not shared:
    /// it is needed where a cursor stands inside a segment, or the number of events is limited.
    fn part_of(&self, segment: &Segment, events_max: u32) -> (Option<Encoded>, Cursor) {
        let mut writer = Writer::with_capacity(0);
        let mut upto = self.at;
        for frame in segment.frames().iter().filter(|frame| frame.event.cursor > self.at) {
            if !self.is_before_barrier(frame.event.cursor) {
                return (self.some_events(writer), self.barrier.unwrap_or(upto));
            }
            if self.filter.shows(&frame.event) {
                if writer.events() == events_max {
                    return (self.some_events(writer), upto);
                }
                writer.put(&frame.event, |out| {
                    frame.write_to(out, self.encoding, &self.hub.epoch);
                });
            }
            upto = frame.event.cursor;
        }
        (self.some_events(writer), segment.last())
    }

    fn some_events(&self, writer: Writer) -> Option<Encoded> {
        (writer.events() > 0).then(|| writer.finish(self.encoding))
    }

    fn move_to(&mut self, cursor: Cursor) {
        // A cursor ahead of this instance waits in the ring while events before it pass.
        if cursor > self.at {
            self.at = cursor;
            self.moved_to = cursor;
        }
    }

    fn page_limit(&self, budget: Budget) -> usize {
        let page = self.hub.settings.page_events.max(1);
        match self.filter == Filter::ALL {
            true => page.min(budget.events.max(1) as usize),
            false => page,
        }
    }

    fn take_found(&mut self, found: Found, budget: Budget) -> Option<Next> {
        match found {
            Found::Known => {
                self.known = true;
                None
            }
            Found::Page(page) => self.take_page(page, budget).map(Next::Batch),
            Found::Reset(reason) => {
                self.hub.count_reset(reason);
                let cursor = self.hub.head();
                self.seek(cursor);
                Some(Next::Reset { reason, cursor })
            }
            Found::Unavailable => {
                self.catching_up = false;
                Some(Next::Unavailable)
            }
        }
    }

    fn take_page(&mut self, page: FeedPage, budget: Budget) -> Option<Batch> {
        let FeedPage { frames, scanned_to, at_head } = page;
        if frames.is_empty() {
            self.ring.cover_from(self.at, scanned_to);
        }
        let last = frames.last().map(|event| event.cursor);
        let frames = conflate(frames, |event| event);
        let room = frames.iter().map(|event| event.json.len() + 64).sum();
        let mut writer = Writer::with_capacity(room);
        let mut stopped = false;
        for event in frames.iter().filter(|event| event.cursor > self.at) {
            stopped = !self.is_before_barrier(event.cursor);
            if stopped {
                self.moved_to = self.barrier.unwrap_or(self.moved_to);
                break;
            }
            if self.filter.shows(event) {
                stopped = writer.events() == budget.events
                    || writer.len() >= budget.bytes.max(PAGE_BYTES_MAX);
                if stopped {
                    break;
                }
                writer.put(event, |out| {
                    write_event(out, event, self.encoding, &self.hub.epoch);
                });
            }
            self.moved_to = event.cursor;
        }
        if stopped {
            self.at = self.moved_to;
        } else {
            self.moved_to = last.map_or(self.moved_to, |last| last.max(self.moved_to));
            self.at = self.at.max(scanned_to).max(self.moved_to);
        }
        let encoded = self.some_events(writer)?;
        Some(Batch {
            bytes: SmallVec::from_iter([encoded.bytes]),
            events: encoded.events,
            cursor: self.moved_to,
            oldest_taken_in: encoded.oldest_taken_in,
            more: stopped || !at_head,
            live: false,
        })
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.ring.leave(self.seat, Instant::now());
    }
}
