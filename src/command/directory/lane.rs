//! The way for what is new to a tenant's directory: one append at a time, for all who wait.
//!
//! Conversation ids are taken by appending to the directory stream at the revision that is known.
//! Who loses the race against another instance learns the new revision, lets the read model come
//! up to it, and decides anew. Within an instance nobody races: the first of those who wait takes
//! all the others along into one append, so new contacts share an fsync too.
//!
//! **Invariant:** an id is decided on while every directory event up to the expected revision is
//! either in the read model or in the overlay. So no contact gets a second conversation.
//!
//! **Invariant:** a lane holds nothing that can't be learned again. A dropped one, and a turn that
//! is cancelled in the middle, cost a conflict.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;
use quick_cache::sync::Cache;
use tokio::sync::{Mutex as AsyncMutex, oneshot};

use super::{Caches, Found, Inner, PlaceError, Placed, Placing, Settled, Told, places};
use crate::{
    command::CommandError,
    domain::{
        event::{Event, EventData},
        ids::{ClientId, ConversationId, IdentityHash, Position},
    },
    event_log::{Append, AppendError, Appended, Expected, Revision, StreamName},
};

/// Tenants of which the lane is kept; others learn their directory's revision anew.
const LANES_MAX: usize = 4096;
/// Contacts after which a turn takes nobody further along.
const TURN_CONTACTS_MAX: usize = 256;
/// Identities that may be ahead of the read model; then a turn waits for it.
const OVERLAY_MAX: usize = 65_536;
/// How often a turn decides anew before it gives up. Every conflict but the first is another
/// instance's success.
const ATTEMPTS_MAX: usize = 16;
/// How far back the directory is read for the last id taken, beside asking the read model.
const DIRECTORY_TAIL_EVENTS: u64 = 64;

pub(super) struct Lanes {
    tenants: Cache<ClientId, Arc<Tenant>>,
}

#[derive(Default)]
struct Tenant {
    waiting: Mutex<VecDeque<Waiting>>,
    lane: AsyncMutex<Lane>,
}

struct Waiting {
    placing: Arc<Placing>,
    unknown: Arc<Unknown>,
    reply: oneshot::Sender<Result<Settled, PlaceError>>,
}

/// Identities that were looked up in vain before the lane's turn.
pub(super) struct Unknown {
    pub hashes: HashSet<IdentityHash>,
    /// The read model had all up to here when they were looked up.
    pub as_of: Position,
}

/// What is known of a tenant's directory.
#[derive(Default)]
struct Lane {
    /// `None` until learned: then a stream without events is expected.
    known: Option<Head>,
    /// Identities that the read model may not have yet, in two generations: the elder leaves as a
    /// whole when the read model has all of it.
    elder: Overlay,
    younger: Overlay,
    /// Of the caches when the overlay was last used: after an erasure it may name who is gone.
    generation: u64,
    /// Directory events behind this place are in the overlay; those up to it may not be.
    overlaid_after: Position,
}

#[derive(Clone, Copy)]
struct Head {
    revision: Option<Revision>,
    /// The next id to be taken.
    next: ConversationId,
}

#[derive(Default)]
struct Overlay {
    ids: Found,
    /// All of it is in the read model when that is projected up to here.
    until: Position,
}

impl Lanes {
    pub(super) fn new() -> Self {
        Self { tenants: Cache::new(LANES_MAX) }
    }

    pub(super) async fn place(
        &self,
        inner: &Inner,
        placing: Arc<Placing>,
        unknown: Arc<Unknown>,
    ) -> Result<Settled, PlaceError> {
        let client = placing.client;
        let tenant =
            self.tenants.get_or_insert_with(&client, || Ok::<_, PlaceError>(Arc::default()))?;
        loop {
            let (reply, mut answer) = oneshot::channel();
            let (placing, unknown) = (Arc::clone(&placing), Arc::clone(&unknown));
            tenant.waiting.lock().push_back(Waiting { placing, unknown, reply });
            let mut lane = tokio::select! {
                biased;
                answer = &mut answer => match answer {
                    Ok(result) => return result,
                    // Who took this along was cancelled: once more.
                    Err(_) => continue,
                },
                lane = tenant.lane.lock() => lane,
            };
            // The lane is free, so whoever is still in the queue is not on the way.
            while answer.is_empty() {
                let turn = tenant.next_turn();
                if turn.is_empty() {
                    break;
                }
                take_turn(inner, client, &mut lane, turn).await;
            }
            if let Ok(result) = answer.try_recv() {
                return result;
            }
        }
    }
}

impl Tenant {
    fn next_turn(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting.lock();
        let mut turn = Vec::new();
        let mut contacts = 0;
        while contacts < TURN_CONTACTS_MAX
            && let Some(next) = waiting.pop_front()
        {
            contacts += next.placing.contacts.len();
            turn.push(next);
        }
        turn
    }
}

/// Places all of the turn in one append, and answers each.
async fn take_turn(inner: &Inner, client: ClientId, lane: &mut Lane, mut turn: Vec<Waiting>) {
    for _ in 0..ATTEMPTS_MAX {
        turn.retain(|waiting| !waiting.reply.is_closed());
        if turn.is_empty() {
            return;
        }
        match attempt(inner, client, lane, &turn).await {
            Ok(settled) => {
                for (waiting, settled) in turn.into_iter().zip(settled) {
                    // Who was cancelled meanwhile needs no answer: it is stored.
                    let _ = waiting.reply.send(Ok(settled));
                }
                return;
            }
            Err(Setback::Again) => {}
            Err(Setback::Of(index)) => {
                let waiting = turn.swap_remove(index);
                let _ = waiting.reply.send(Err(PlaceError::Conflict));
            }
            Err(Setback::Failed(error)) if turn.len() == 1 || !error.is_of_one() => {
                for waiting in turn {
                    let _ = waiting.reply.send(Err(PlaceError::Failed(error.clone())));
                }
                return;
            }
            Err(Setback::Failed(_)) => {
                // One of them can't be stored: alone, the others can.
                for waiting in turn {
                    Box::pin(take_turn(inner, client, lane, vec![waiting])).await;
                }
                return;
            }
        }
    }
    tracing::warn!(client_id = client.0, "the directory kept moving on; a command gave up");
    for waiting in turn {
        let _ = waiting.reply.send(Err(PlaceError::Failed(CommandError::Unavailable)));
    }
}

/// Why an attempt stored nothing.
enum Setback {
    /// What was decided on was old; decide anew.
    Again,
    /// The one with this index can't be stored as it is.
    Of(usize),
    Failed(CommandError),
}

impl<E: Into<CommandError>> From<E> for Setback {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

async fn attempt(
    inner: &Inner,
    client: ClientId,
    lane: &mut Lane,
    turn: &[Waiting],
) -> Result<Vec<Settled>, Setback> {
    let caches = inner.caches();
    let found = lane.find(inner, &caches, client, turn).await?;
    let plan = Plan::make(lane, found, turn);
    let ids = plan.placed.iter().flatten().filter_map(|placed| placed.id);
    let ids: Vec<_> = ids.filter(|id| !plan.opened.contains(id)).collect();
    let mut known = inner.known_contacts(&caches, client, ids.into_iter()).await?;
    let mut draft = Draft::new(inner, client, turn, &plan, lane.known);
    for (index, waiting) in turn.iter().enumerate() {
        let (told, whose) = inner.tell(&waiting.placing, &plan.placed[index], &mut known);
        let finish = (waiting.placing.finish)(&plan.placed[index], told.len());
        draft.add(index, told, whose, finish);
    }
    let Draft { batch, owners, sizes, told } = draft;
    match inner.core.log.append(batch).await {
        Ok(appended) => {
            let parts = Parts::split(&owners, &sizes, &appended);
            lane.stored(&plan, &parts);
            let settled = parts.settled(plan.placed.clone(), told, turn.len());
            caches.remember(client, known, settled.iter().flat_map(Settled::told));
            remember(&caches, client, turn, &plan);
            Ok(settled)
        }
        Err(AppendError::Conflict { index, actual }) => match owners[index] {
            Owner::Directory => {
                lane.learn(inner, client, actual).await?;
                Err(Setback::Again)
            }
            Owner::Told(_) => {
                // An id that is in use: what is believed of the directory is wrong.
                lane.known = None;
                Err(Setback::Again)
            }
            Owner::Finish(of) => Err(Setback::Of(of)),
        },
        Err(error) => {
            // It may be stored: the revision is not certain any more.
            lane.known = None;
            Err(error.into())
        }
    }
}

impl Lane {
    /// Looks the turn's identities up: in the overlay first, then in the read model. In this
    /// order, since what leaves the overlay is in the read model by then. What was looked up
    /// in vain already is not there, unless it left the overlay since.
    async fn find(
        &mut self,
        inner: &Inner,
        caches: &Caches,
        client: ClientId,
        turn: &[Waiting],
    ) -> Result<Found, CommandError> {
        self.let_go(*inner.core.view.projected().borrow());
        let is_full = self.elder.ids.len() + self.younger.ids.len() > OVERLAY_MAX;
        if is_full || self.generation != caches.generation {
            if !inner.core.come_up().await? {
                return Err(CommandError::Unavailable);
            }
            self.forget_overlay(*inner.core.view.projected().borrow());
            self.generation = caches.generation;
        }
        let mut found = Found::new();
        let mut missing = Vec::new();
        for Waiting { placing, unknown, .. } in turn {
            let is_unknown =
                |hash| unknown.as_of >= self.overlaid_after && unknown.hashes.contains(hash);
            for hash in placing.contacts.iter().flat_map(|told| told.identities.iter()) {
                match self.younger.ids.get(hash).or_else(|| self.elder.ids.get(hash)) {
                    Some(id) => _ = found.insert(*hash, caches.follow_merges(client, *id)),
                    None if is_unknown(hash) => {}
                    None => missing.push(*hash),
                }
            }
        }
        missing.sort_unstable();
        missing.dedup();
        if !missing.is_empty() {
            inner.look_up(caches, client, missing, &mut found).await?;
        }
        Ok(found)
    }

    /// Drops the elder generation when the read model has it.
    fn let_go(&mut self, projected: Position) {
        for _ in 0..2 {
            if projected >= self.elder.until {
                self.overlaid_after = self.overlaid_after.max(self.elder.until);
                self.elder = std::mem::take(&mut self.younger);
            }
        }
    }

    /// The read model has all of the directory up to `projected`.
    fn forget_overlay(&mut self, projected: Position) {
        self.overlaid_after = self.overlaid_after.max(projected);
        self.elder = Overlay::default();
        self.younger = Overlay::default();
    }

    /// After a conflict: the directory stands at `actual`. All up to there is awaited in the read
    /// model; the last id taken is the highest there, or that of the directory's last events,
    /// where a conversation was erased since.
    async fn learn(
        &mut self,
        inner: &Inner,
        client: ClientId,
        actual: Option<Revision>,
    ) -> Result<(), CommandError> {
        self.known = None;
        if !inner.core.come_up().await? {
            return Err(CommandError::Unavailable);
        }
        let mut highest = inner.core.view.highest_conversation(client).await?;
        if let Some(Revision(actual)) = actual {
            let after = actual.checked_sub(DIRECTORY_TAIL_EVENTS).map(Revision);
            let directory = StreamName::Directory(client);
            let limit = DIRECTORY_TAIL_EVENTS as usize;
            for record in inner.core.log.read_stream(&directory, after, limit).await? {
                if let EventData::ContactRegistered { conversation_id, .. } = record.event.data {
                    highest = highest.max(Some(conversation_id));
                }
            }
        }
        let next = ConversationId(highest.map_or(0, |highest| highest.0).saturating_add(1));
        self.known = Some(Head { revision: actual, next });
        self.forget_overlay(*inner.core.view.projected().borrow());
        Ok(())
    }

    /// After a success.
    fn stored(&mut self, plan: &Plan, parts: &Parts) {
        let Some(last) = parts.directory.last() else { return };
        self.known = Some(Head { revision: Some(last.revision), next: plan.next });
        self.younger.until = last.position;
        self.younger.ids.extend(plan.linked.iter().map(|(hash, id)| (*hash, *id)));
    }
}

/// What the turn comes to: ids for its contacts, and what the directory must be told for that.
struct Plan {
    placed: Vec<Vec<Placed>>,
    /// With the index of the one whose contact it is.
    directory: Vec<(usize, EventData)>,
    opened: HashSet<ConversationId>,
    /// Identities that the directory is told of, with where they are then.
    linked: Found,
    merged: HashMap<ConversationId, ConversationId>,
    next: ConversationId,
}

impl Plan {
    fn make(lane: &Lane, mut found: Found, turn: &[Waiting]) -> Self {
        let next = lane.known.map_or(ConversationId(1), |known| known.next);
        let mut plan = Plan {
            placed: Vec::with_capacity(turn.len()),
            directory: Vec::new(),
            opened: HashSet::new(),
            linked: Found::new(),
            merged: HashMap::new(),
            next,
        };
        for (index, waiting) in turn.iter().enumerate() {
            let contacts = waiting.placing.contacts.iter();
            let placed = contacts.map(|told| plan.place(index, told, &mut found)).collect();
            plan.placed.push(placed);
        }
        // A merge later in the turn reaches back to those placed before it.
        for placed in plan.placed.iter_mut().flatten().filter(|placed| !placed.opened) {
            placed.id = placed.id.map(|id| *plan.merged.get(&id).unwrap_or(&id));
        }
        plan
    }

    fn place(&mut self, index: usize, told: &Told, found: &mut Found) -> Placed {
        let mut ids: Vec<ConversationId> =
            told.identities.iter().filter_map(|hash| found.get(hash).copied()).collect();
        ids.sort_unstable();
        ids.dedup();
        let Some((&into, others)) = ids.split_first() else {
            return self.place_unknown(index, told, found);
        };
        let unknown: Vec<IdentityHash> =
            told.identities.iter().filter(|hash| !found.contains_key(hash)).copied().collect();
        if !unknown.is_empty() {
            self.link(into, &unknown, found);
            let data = EventData::IdentitiesLinked { conversation_id: into, identities: unknown };
            self.directory.push((index, data));
        }
        for &from in others {
            for id in found.values_mut().chain(self.merged.values_mut()) {
                if *id == from {
                    *id = into;
                }
            }
            self.merged.insert(from, into);
            self.link(into, &told.identities, found);
            let identities = told.identities.to_vec();
            self.directory.push((index, EventData::ContactsMerged { from, into, identities }));
        }
        Placed { id: Some(into), opened: false }
    }

    fn place_unknown(&mut self, index: usize, told: &Told, found: &mut Found) -> Placed {
        if !told.telling.takes_up() {
            return Placed { id: None, opened: false };
        }
        let id = self.next;
        self.next = ConversationId(id.0.saturating_add(1));
        if told.telling.opens() {
            self.opened.insert(id);
        }
        self.link(id, &told.identities, found);
        let identities = told.identities.to_vec();
        let data = EventData::ContactRegistered { conversation_id: id, identities };
        self.directory.push((index, data));
        Placed { id: Some(id), opened: told.telling.opens() }
    }

    fn link(&mut self, id: ConversationId, identities: &[IdentityHash], found: &mut Found) {
        for hash in identities {
            found.insert(*hash, id);
            self.linked.insert(*hash, id);
        }
    }
}

/// Whose an entry of the append is.
#[derive(Clone, Copy)]
enum Owner {
    Directory,
    Told(usize),
    Finish(usize),
}

/// The append as it is put together.
struct Draft {
    batch: Vec<Append>,
    owners: Vec<Owner>,
    sizes: Vec<usize>,
    /// Of each of the turn, which of its `Told` entries is which contact's.
    told: Vec<Vec<Option<usize>>>,
}

impl Draft {
    fn new(
        inner: &Inner,
        client: ClientId,
        turn: &[Waiting],
        plan: &Plan,
        known: Option<Head>,
    ) -> Self {
        let mut draft =
            Draft { batch: Vec::new(), owners: Vec::new(), sizes: Vec::new(), told: Vec::new() };
        if !plan.directory.is_empty() {
            let event = |(index, data): &(usize, EventData)| -> Event {
                inner.core.event(client, &turn[*index].placing.actor, data.clone())
            };
            let expected = match known.and_then(|known| known.revision) {
                Some(revision) => Expected::Revision(revision),
                None => Expected::NoStream,
            };
            let events = plan.directory.iter().map(event).collect();
            let stream = StreamName::Directory(client);
            draft.push(Owner::Directory, Append { stream, expected, events });
        }
        draft
    }

    fn add(
        &mut self,
        index: usize,
        told: Vec<Append>,
        whose: Vec<Option<usize>>,
        finish: Vec<Append>,
    ) {
        for entry in told {
            self.push(Owner::Told(index), entry);
        }
        self.told.push(whose);
        for entry in finish {
            self.push(Owner::Finish(index), entry);
        }
    }

    fn push(&mut self, owner: Owner, entry: Append) {
        self.owners.push(owner);
        self.sizes.push(entry.events.len());
        self.batch.push(entry);
    }
}

/// The places of the append's events, by whose they are.
struct Parts {
    directory: Vec<Appended>,
    told: HashMap<usize, Vec<Appended>>,
    finished: HashMap<usize, Vec<Appended>>,
}

impl Parts {
    fn split(owners: &[Owner], sizes: &[usize], appended: &[Appended]) -> Self {
        let mut parts =
            Parts { directory: Vec::new(), told: HashMap::new(), finished: HashMap::new() };
        let mut rest = appended;
        for (owner, size) in owners.iter().zip(sizes) {
            let (places, behind) = rest.split_at(*size);
            rest = behind;
            let part = match owner {
                Owner::Directory => &mut parts.directory,
                Owner::Told(index) => parts.told.entry(*index).or_default(),
                Owner::Finish(index) => parts.finished.entry(*index).or_default(),
            };
            part.extend_from_slice(places);
        }
        parts
    }

    fn settled(
        mut self,
        placed: Vec<Vec<Placed>>,
        whose: Vec<Vec<Option<usize>>>,
        count: usize,
    ) -> Vec<Settled> {
        let mut told_at = Vec::with_capacity(count);
        for (index, whose) in whose.iter().enumerate() {
            told_at.push(places(whose, &self.told.remove(&index).unwrap_or_default()));
        }
        let placed_and_told = placed.into_iter().zip(told_at).enumerate();
        placed_and_told
            .map(|(index, (placed, told_at))| Settled {
                placed,
                told_at,
                finished: self.finished.remove(&index).unwrap_or_default(),
            })
            .collect()
    }
}

/// Puts what was stored into the caches that all commands share.
fn remember(caches: &Caches, client: ClientId, turn: &[Waiting], plan: &Plan) {
    for (from, into) in &plan.merged {
        caches.merges.insert((client, *from), *into);
        // The fold has joined the two contacts: ask it for what is known now.
        caches.contacts.remove(&(client, *from));
        caches.contacts.remove(&(client, *into));
    }
    for (waiting, placed) in turn.iter().zip(&plan.placed) {
        for (told, placed) in waiting.placing.contacts.iter().zip(placed) {
            let Some(id) = placed.id else { continue };
            for hash in &told.identities {
                caches.identities.insert((client, *hash), caches.follow_merges(client, id));
            }
        }
    }
}
