//! One tenant's line: what waits, in which order it leaves, and what holds it back. Pure: time is
//! an argument, nothing is read or sent here.
//!
//! Messages wait in one queue per conversation, of which one at a time is under way: so the order
//! within a conversation is kept, whatever becomes of each. Conversations whose first message may
//! leave stand in line: those with a single message first, then those of bulks, one bulk after
//! the other in turns. A conversation that has to wait (its pair rate, a message that is to be
//! tried again) stands aside until its time, and holds up nobody else.
//!
//! **Invariant:** a conversation stands in line at most once as what it is now (`listed`); an
//! entry that says otherwise is an old one and is skipped.
//!
//! **Invariant:** nothing here decides whether a message may be sent. A place in line that is
//! wrong costs a look at the stream; the claim decides.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use tokio::time::Instant;

use super::{
    gate::{Gate, Gates, Rate},
    health::{Health, Permit},
};
use crate::{
    domain::ids::{BulkId, ConversationId, MessageId, Position},
    event_log::Revision,
};

/// Which line a message stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Class {
    Single,
    Bulk(BulkId),
}

impl Class {
    pub fn of(bulk_id: Option<BulkId>) -> Self {
        bulk_id.map_or(Class::Single, Class::Bulk)
    }

    pub fn bulk_id(self) -> Option<BulkId> {
        match self {
            Class::Single => None,
            Class::Bulk(id) => Some(id),
        }
    }
}

/// A message that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiting {
    pub message: MessageId,
    pub class: Class,
    /// The stream was followed since it was queued, so that all that was said of its claim is
    /// known here. Otherwise its stream is read before it is claimed.
    pub followed: bool,
    /// It is in the read model from this position on.
    pub queued_at: Position,
    /// How often it was tried.
    pub attempts: u32,
    /// Those fetched anew from the read model stand before those of a later generation.
    pub generation: u32,
}

/// A message that is to be claimed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Picked {
    pub conversation: ConversationId,
    pub waiting: Waiting,
    /// The stream's revision, up to which the message is known to be unclaimed.
    pub revision: Option<Revision>,
}

/// The rates of a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rates {
    pub number: Rate,
    pub recipient: Rate,
    pub in_flight_max: usize,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// How many of `waiting` are single messages.
    singles: usize,
    busy: Option<Busy>,
    revision: Option<Revision>,
    listed: Option<Class>,
    /// Stands aside until then.
    aside_until: Option<Instant>,
}

/// Why a conversation's next message does not leave yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Busy {
    /// The first one is being claimed or sent.
    UnderWay,
    /// The one before it was settled at this position, which the log was not followed to yet.
    Settled(Position),
    /// The first one was given back at this position, as above.
    Released(Position),
}

/// What waits for one tenant.
#[derive(Debug, Default)]
pub(super) struct Lane {
    queues: HashMap<ConversationId, Queue>,
    /// Everything in `queues`, to know it again.
    known: HashSet<MessageId>,
    singles: VecDeque<ConversationId>,
    bulks: HashMap<BulkId, VecDeque<ConversationId>>,
    turns: VecDeque<BulkId>,
    aside: BTreeSet<(Instant, ConversationId)>,
    number: Gate,
    recipients: Gates<ConversationId>,
    pub health: Health,
    /// Picked and without an outcome that is stored.
    in_flight: usize,
    pub generation: u32,
    /// There are more in the read model than are kept here.
    pub overflowed: bool,
}

impl Lane {
    pub fn len(&self) -> usize {
        self.known.len()
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether a single message may be the next to leave.
    pub fn has_single_in_line(&self) -> bool {
        !self.singles.is_empty()
    }

    pub fn knows(&self, message: MessageId) -> bool {
        self.known.contains(&message)
    }

    /// Nothing here is worth keeping.
    pub fn is_idle(&self, now: Instant) -> bool {
        self.queues.is_empty()
            && self.in_flight == 0
            && !self.overflowed
            && self.health.is_well()
            && self.recipients.is_fresh(now)
    }

    /// Puts a message at its place in line; one that is here already stays where it is.
    pub fn add(&mut self, conversation: ConversationId, waiting: Waiting, now: Instant) {
        if !self.known.insert(waiting.message) {
            return;
        }
        let queue = self.queues.entry(conversation).or_default();
        let place = queue.waiting.iter().position(|other| other.generation > waiting.generation);
        let place = place.unwrap_or(queue.waiting.len());
        // The one that is under way stays the first.
        let place = if queue.busy.is_some() { place.max(1) } else { place };
        queue.singles += usize::from(waiting.class == Class::Single);
        queue.waiting.insert(place.min(queue.waiting.len()), waiting);
        self.list(conversation, now);
    }

    /// The stream of a conversation has come to this revision; all before was followed.
    pub fn followed(&mut self, conversation: ConversationId, revision: Revision) {
        if let Some(queue) = self.queues.get_mut(&conversation) {
            queue.revision = queue.revision.max(Some(revision));
        }
    }

    /// The log was followed up to here: conversations whose outcome stands there go on.
    pub fn goes_on(&mut self, conversation: ConversationId, position: Position, now: Instant) {
        let Some(queue) = self.queues.get_mut(&conversation) else { return };
        let until = match queue.busy {
            Some(Busy::Settled(until) | Busy::Released(until)) => until,
            Some(Busy::UnderWay) | None => return,
        };
        if until <= position {
            queue.busy = None;
            self.list(conversation, now);
        }
    }

    /// The log tells that the message was claimed or settled: by another, if it is not under way
    /// here. One that is may be told of by our own claim; its stream is read before it is claimed
    /// again.
    ///
    /// Answers whether it is under way here.
    pub fn told_of(
        &mut self,
        conversation: ConversationId,
        message: MessageId,
        now: Instant,
    ) -> bool {
        let Some(queue) = self.queues.get_mut(&conversation) else { return false };
        let found = queue.waiting.iter().position(|waiting| waiting.message == message);
        let is_ours = matches!(queue.busy, Some(Busy::UnderWay | Busy::Released(_)));
        match found {
            Some(0) if is_ours => {
                queue.waiting[0].followed = false;
                return true;
            }
            Some(place) => {
                self.remove(conversation, place);
                self.list(conversation, now);
            }
            None => {}
        }
        false
    }

    /// The messages that may leave now, single ones first, at most `groups_max`. They are under
    /// way from here on.
    pub fn pick(&mut self, rates: &Rates, groups_max: usize, now: Instant) -> Vec<Picked> {
        self.pick_of(rates, groups_max, now, true)
    }

    /// As [`pick`](Self::pick), single messages alone.
    pub fn pick_singles(&mut self, rates: &Rates, groups_max: usize, now: Instant) -> Vec<Picked> {
        self.pick_of(rates, groups_max, now, false)
    }

    /// With `bulks`, bulks' messages as well, as far as they leave room for single ones.
    fn pick_of(
        &mut self,
        rates: &Rates,
        groups_max: usize,
        now: Instant,
        bulks: bool,
    ) -> Vec<Picked> {
        let mut picked = Vec::new();
        self.come_back(now);
        while picked.len() < groups_max && self.in_flight < rates.in_flight_max {
            if self.number.opens_at(rates.number, now) > now {
                break;
            }
            let permit = self.health.permit(now);
            if permit == Permit::None {
                break;
            }
            let bulks_too = bulks && self.leaves_room_for_singles(rates);
            let Some(conversation) = self.next_in_line(bulks_too, now) else { break };
            let opens_at = self.recipients.opens_at(&conversation, rates.recipient, now);
            if opens_at > now {
                self.stand_aside(conversation, opens_at);
                continue;
            }
            let Some(queue) = self.queues.get_mut(&conversation) else { continue };
            let Some(waiting) = queue.waiting.front().copied() else { continue };
            queue.busy = Some(Busy::UnderWay);
            self.in_flight += 1;
            self.number.pass(rates.number, now);
            self.recipients.pass(conversation, rates.recipient, now);
            picked.push(Picked { conversation, waiting, revision: queue.revision });
            if permit == Permit::Probe {
                self.health.probing();
                break;
            }
        }
        picked
    }

    fn leaves_room_for_singles(&self, rates: &Rates) -> bool {
        self.in_flight < rates.in_flight_max - rates.in_flight_max / 4
    }

    /// When something may leave that may not now; `None`: not before something happens.
    pub fn next_at(&self, rates: &Rates, now: Instant) -> Option<Instant> {
        let aside = self.aside.first().map(|(until, _)| *until);
        let bulks_too = self.leaves_room_for_singles(rates);
        let in_line = !self.singles.is_empty() || (bulks_too && !self.turns.is_empty());
        let has_room = self.in_flight < rates.in_flight_max;
        let line = (in_line && has_room).then(|| {
            let held = self.turns.iter().filter_map(|bulk| self.health.bulk_held_until(*bulk, now));
            let only_held = self.singles.is_empty() && held.clone().count() == self.turns.len();
            let held = if only_held { held.min() } else { None };
            let opens = self.number.opens_at(rates.number, now);
            self.health.opens_at(now).map(|healthy| opens.max(healthy).max(held.unwrap_or(now)))
        });
        [aside, line.flatten()].into_iter().flatten().min()
    }

    /// It is not under way any more and is of no concern: claimed by another, or gone.
    pub fn drop_picked(&mut self, conversation: ConversationId, now: Instant) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(queue) = self.queues.get_mut(&conversation) {
            queue.busy = None;
            self.remove(conversation, 0);
        }
        self.list(conversation, now);
    }

    /// It was not claimed and waits on, at its place. Why is not known here, so its stream is read
    /// before it is claimed.
    pub fn put_back(&mut self, conversation: ConversationId, until: Instant) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(queue) = self.queues.get_mut(&conversation) {
            queue.busy = None;
            if let Some(first) = queue.waiting.front_mut() {
                first.followed = false;
            }
            self.stand_aside(conversation, until);
        }
    }

    /// What became of it is stored at `position`; the next one leaves when that was followed.
    pub fn settled(&mut self, conversation: ConversationId, position: Position) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.remove(conversation, 0);
        if let Some(queue) = self.queues.get_mut(&conversation) {
            queue.busy = Some(Busy::Settled(position));
        }
    }

    /// It was given back at `position` and is tried again, before all others of its conversation,
    /// not before `until`. `counts`: as one of the attempts that it has.
    pub fn released(
        &mut self,
        conversation: ConversationId,
        position: Position,
        until: Instant,
        counts: bool,
    ) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let Some(queue) = self.queues.get_mut(&conversation) else { return };
        queue.busy = Some(Busy::Released(position));
        queue.aside_until = Some(until);
        if let Some(first) = queue.waiting.front_mut() {
            first.attempts += u32::from(counts);
            first.queued_at = position;
        }
    }

    /// Forgets what waits of a generation; what is under way goes on.
    pub fn forget_generation(&mut self, generation: u32) {
        let conversations: Vec<_> = self.queues.keys().copied().collect();
        for conversation in conversations {
            while let Some(queue) = self.queues.get(&conversation) {
                let skipped = usize::from(queue.busy.is_some());
                let place = queue.waiting.iter().skip(skipped);
                let place = place.clone().position(|waiting| waiting.generation == generation);
                let Some(place) = place else { break };
                self.remove(conversation, place + skipped);
            }
        }
    }

    fn remove(&mut self, conversation: ConversationId, place: usize) {
        let Some(queue) = self.queues.get_mut(&conversation) else { return };
        if let Some(gone) = queue.waiting.remove(place) {
            self.known.remove(&gone.message);
            queue.singles -= usize::from(gone.class == Class::Single);
        }
        if queue.waiting.is_empty() {
            if let Some(until) = queue.aside_until {
                self.aside.remove(&(until, conversation));
            }
            self.queues.remove(&conversation);
        }
    }

    /// Puts a conversation in the line where it belongs, if it may stand in one.
    fn list(&mut self, conversation: ConversationId, now: Instant) {
        let Some(queue) = self.queues.get_mut(&conversation) else { return };
        let Some(first) = queue.waiting.front() else { return };
        if queue.busy.is_some() {
            return;
        }
        if let Some(until) = queue.aside_until {
            if until > now {
                self.aside.insert((until, conversation));
                return;
            }
            queue.aside_until = None;
        }
        // A single message behind one of a bulk takes that one along.
        let class = if queue.singles > 0 { Class::Single } else { first.class };
        if queue.listed == Some(class) {
            return;
        }
        queue.listed = Some(class);
        match class {
            Class::Single => self.singles.push_back(conversation),
            Class::Bulk(bulk) => {
                let line = self.bulks.entry(bulk).or_default();
                if line.is_empty() {
                    self.turns.push_back(bulk);
                }
                line.push_back(conversation);
            }
        }
    }

    /// Takes the first conversation out of the lines.
    fn next_in_line(&mut self, bulks_too: bool, now: Instant) -> Option<ConversationId> {
        while let Some(conversation) = self.singles.pop_front() {
            if self.take_listed(conversation, Class::Single) {
                return Some(conversation);
            }
        }
        if !bulks_too {
            return None;
        }
        for _ in 0..self.turns.len() {
            let bulk = self.turns.pop_front()?;
            if self.health.bulk_held_until(bulk, now).is_some() {
                self.turns.push_back(bulk);
                continue;
            }
            let found = self.next_of_bulk(bulk);
            if self.bulks.get(&bulk).is_some_and(|line| !line.is_empty()) {
                self.turns.push_back(bulk);
            } else {
                self.bulks.remove(&bulk);
            }
            if found.is_some() {
                return found;
            }
        }
        None
    }

    fn next_of_bulk(&mut self, bulk: BulkId) -> Option<ConversationId> {
        loop {
            let conversation = self.bulks.get_mut(&bulk)?.pop_front()?;
            if self.take_listed(conversation, Class::Bulk(bulk)) {
                return Some(conversation);
            }
        }
    }

    fn take_listed(&mut self, conversation: ConversationId, class: Class) -> bool {
        let Some(queue) = self.queues.get_mut(&conversation) else { return false };
        let is_listed = queue.listed == Some(class) && queue.busy.is_none();
        if is_listed {
            queue.listed = None;
        }
        is_listed
    }

    fn stand_aside(&mut self, conversation: ConversationId, until: Instant) {
        let Some(queue) = self.queues.get_mut(&conversation) else { return };
        if let Some(before) = queue.aside_until.replace(until) {
            self.aside.remove(&(before, conversation));
        }
        queue.listed = None;
        self.aside.insert((until, conversation));
    }

    /// Those whose time has come stand in line again.
    fn come_back(&mut self, now: Instant) {
        while let Some(&(until, conversation)) = self.aside.first()
            && until <= now
        {
            self.aside.remove(&(until, conversation));
            self.list(conversation, now);
        }
    }
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
