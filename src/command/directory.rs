//! Which conversation a contact has.
//!
//! A contact is known by several identities; the directory stream of the tenant says which
//! conversation each belongs to. Known contacts are answered from a cache, or the read model, and
//! written to without any lock. Whoever brings something new (an unknown contact, a further
//! identity, an identity that ties two conversations together) goes through the tenant's [`lane`].

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use quick_cache::sync::Cache;

use super::{CommandError, Core, MERGES_FOLLOWED_MAX, conversation_stream, identity::Identities};
use crate::{
    domain::{
        conversation::{Contact, Conversation, decide_contact_change},
        event::EventData,
        ids::{ClientId, ConversationId, IdentityHash, Position},
        time::Timestamp,
    },
    event_log::{Append, AppendError, Appended, Expected},
};

mod lane;

use lane::{Lanes, Unknown};

/// Identities of which the conversation is remembered; the least useful are looked up again.
const IDENTITIES_CACHED_MAX: usize = 65_536;
/// Contacts that are remembered, to see whether something told of them is new.
const CONTACTS_CACHED_MAX: usize = 16_384;
/// Merges that are remembered until the read model has them everywhere.
const MERGES_CACHED_MAX: usize = 4096;
/// How long what is remembered of a contact is believed. What two commands tell of one contact at
/// the same moment, and what other instances tell, may be missing from it.
const CONTACT_TRUSTED_MS: i64 = 10 * 60 * 1000;

/// How something was told of a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Telling {
    /// By the contact's own doing, at this time: it replaces what was told before that. An unknown
    /// contact is taken up.
    News(Timestamp),
    /// From the past, or by somebody else: it fills in what is not known. An unknown contact is
    /// taken up.
    Filling,
    /// As filling, but an unknown contact only gets an id, under which something can be kept: its
    /// conversation is not opened, so that nobody sees people who never wrote.
    Unopened,
    /// As news, but an unknown contact stays unknown.
    NewsOfKnown(Timestamp),
    /// As filling, but an unknown contact stays unknown.
    OfKnown,
}

impl Telling {
    /// Whether an unknown contact gets an id.
    fn takes_up(self) -> bool {
        !matches!(self, Self::NewsOfKnown(_) | Self::OfKnown)
    }

    fn opens(self) -> bool {
        matches!(self, Self::News(_) | Self::Filling)
    }

    fn news_at(self) -> Option<Timestamp> {
        match self {
            Self::News(at) | Self::NewsOfKnown(at) => Some(at),
            Self::Filling | Self::Unopened | Self::OfKnown => None,
        }
    }
}

/// A contact as a command names it. Has at least one identity.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub contact: Contact,
    pub identities: Identities,
    pub telling: Telling,
}

/// Where a contact was placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placed {
    /// `None` for an unknown contact that was told of as one that is known.
    pub id: Option<ConversationId>,
    /// The conversation is opened by this very append.
    pub opened: bool,
}

/// Makes the appends that go with contacts once they are placed. They stand directly behind as
/// many events as it is told, which open conversations and change contacts.
pub(super) type Finish = Box<dyn Fn(&[Placed], usize) -> Vec<Append> + Send + Sync>;

/// Contacts to be placed, and what is to be appended once they are. Called once for each attempt.
pub(super) struct Placing {
    pub client: ClientId,
    pub actor: String,
    pub contacts: Vec<Told>,
    pub finish: Finish,
}

/// What was stored.
#[derive(Debug)]
pub(super) struct Settled {
    pub placed: Vec<Placed>,
    /// Of each contact, where its opening or change stands, if there was one.
    pub told_at: Vec<Option<Position>>,
    /// Where the events that `finish` gave stand, in order.
    pub finished: Vec<Appended>,
}

impl Settled {
    /// Of which conversations something was told of the contact, and where that stands.
    fn told(&self) -> impl Iterator<Item = (ConversationId, Position)> {
        self.placed.iter().zip(&self.told_at).filter_map(|(placed, at)| Some((placed.id?, (*at)?)))
    }

    /// Where the first of the events stands that clients may hear of.
    pub(super) fn first(&self) -> Option<Position> {
        let finished = self.finished.iter().map(|appended| appended.position);
        self.told_at.iter().flatten().copied().chain(finished).min()
    }
}

#[derive(Debug)]
pub(super) enum PlaceError {
    /// An entry that `finish` gave was not met in its expectation. Nothing was stored.
    Conflict,
    Failed(CommandError),
}

impl<E: Into<CommandError>> From<E> for PlaceError {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

pub(super) struct Directory {
    inner: Arc<Inner>,
    lanes: Lanes,
}

/// What the fast way and the lanes share.
struct Inner {
    core: Arc<Core>,
    caches: ArcSwap<Caches>,
}

/// What is remembered. A command takes hold of them before it reads anything, and writes what it
/// finds to those: they are replaced when somebody is erased, and what was read before that does
/// not come into the new ones.
struct Caches {
    /// Tells them from those before.
    generation: u64,
    identities: Cache<(ClientId, IdentityHash), ConversationId>,
    contacts: Cache<(ClientId, ConversationId), Arc<KnownContact>>,
    /// Held while what was read or told of a contact is compared with what is remembered.
    remembering: Mutex<()>,
    merges: Cache<(ClientId, ConversationId), ConversationId>,
}

/// What is remembered now, to be told what is read from here on.
pub(super) struct Held(Arc<Caches>);

impl Held {
    /// Remembers what was read of these conversations' contacts, where nothing is remembered yet:
    /// what is remembered may be newer than the read model.
    pub(super) fn prime(&self, conversations: &[Conversation], read_at: Timestamp) {
        for conversation in conversations {
            let key = (conversation.client_id, conversation.id);
            let contact = KnownContact {
                contact: conversation.contact.clone(),
                told_at: conversation.contact_told_at,
                seen: Position::START,
                read_at,
            };
            let _turn = self.0.remembering.lock();
            if self.0.contacts.peek(&key).is_none() {
                self.0.contacts.insert(key, Arc::new(contact));
            }
        }
    }
}

impl Caches {
    fn new(generation: u64) -> Self {
        Self {
            generation,
            identities: Cache::new(IDENTITIES_CACHED_MAX),
            contacts: Cache::new(CONTACTS_CACHED_MAX),
            remembering: Mutex::new(()),
            merges: Cache::new(MERGES_CACHED_MAX),
        }
    }

    fn follow_merges(&self, client: ClientId, id: ConversationId) -> ConversationId {
        if self.merges.is_empty() {
            return id;
        }
        let mut id = id;
        for _ in 0..MERGES_FOLLOWED_MAX {
            match self.merges.get(&(client, id)) {
                Some(into) => id = into,
                None => break,
            }
        }
        id
    }

    /// `told` has where what was told of contacts came to stand.
    fn remember(
        &self,
        client: ClientId,
        mut known: Known,
        told: impl Iterator<Item = (ConversationId, Position)>,
    ) {
        for (id, position) in told {
            if let Some(contact) = known.get_mut(&id) {
                let contact = Arc::make_mut(contact);
                contact.seen = contact.seen.max(position);
            }
        }
        for (id, contact) in known {
            // What is unchanged is not written again, so that reading stays what this mostly is.
            let same = |had: &Arc<KnownContact>| Arc::ptr_eq(had, &contact);
            if self.contacts.peek(&(client, id)).as_ref().is_some_and(same) {
                continue;
            }
            let _turn = self.remembering.lock();
            match self.contacts.peek(&(client, id)) {
                Some(had) if had.seen > contact.seen => {}
                _ => self.contacts.insert((client, id), contact),
            }
        }
    }
}

/// Which conversation identities belong to, as far as one was found.
type Found = HashMap<IdentityHash, ConversationId>;

impl Directory {
    pub(super) fn new(core: Arc<Core>) -> Self {
        let inner = Arc::new(Inner { core, caches: ArcSwap::from_pointee(Caches::new(0)) });
        Self { inner, lanes: Lanes::new() }
    }

    /// Places the contacts and appends what follows, all of it in one append.
    pub(super) async fn place(&self, placing: Placing) -> Result<Settled, PlaceError> {
        match self.inner.place_known(&placing).await? {
            Ok(placed) => self.inner.settle(&placing, placed).await,
            Err(unknown) => {
                self.lanes.place(&self.inner, Arc::new(placing), Arc::new(unknown)).await
            }
        }
    }

    pub(super) fn held(&self) -> Held {
        Held(self.inner.caches.load_full())
    }

    /// Somebody was erased, and the view is free of them: what is remembered is looked up anew.
    pub(super) fn forget(&self) {
        self.inner.caches.rcu(|caches| Caches::new(caches.generation + 1));
    }

    /// The conversation that this contact has now, `None` when there is none or several.
    pub(super) async fn find(
        &self,
        client: ClientId,
        identities: &[IdentityHash],
    ) -> Result<Option<ConversationId>, CommandError> {
        let found = self.inner.find(client, identities.iter().copied()).await?;
        let mut ids = identities.iter().filter_map(|hash| found.get(hash));
        let first = ids.next().copied();
        Ok(first.filter(|first| ids.all(|id| id == first)))
    }
}

impl Inner {
    fn caches(&self) -> Arc<Caches> {
        self.caches.load_full()
    }

    /// Where all contacts are, when nothing about them is new to the directory; else which of
    /// their identities are.
    async fn place_known(
        &self,
        placing: &Placing,
    ) -> Result<Result<Vec<Placed>, Unknown>, CommandError> {
        if placing.contacts.is_empty() {
            return Ok(Ok(Vec::new()));
        }
        let hashes = || placing.contacts.iter().flat_map(|told| told.identities.iter().copied());
        // Before it is read: what is read is at least of this place.
        let as_of = *self.core.view.projected().borrow();
        let found = self.find(placing.client, hashes()).await?;
        let placed = placing.contacts.iter().map(|told| placed_if_known(told, &found));
        Ok(placed.collect::<Option<_>>().ok_or_else(|| {
            let hashes = hashes().filter(|hash| !found.contains_key(hash)).collect();
            Unknown { hashes, as_of }
        }))
    }

    /// Looks identities up, in memory first.
    async fn find(
        &self,
        client: ClientId,
        hashes: impl Iterator<Item = IdentityHash>,
    ) -> Result<Found, CommandError> {
        let caches = self.caches();
        let mut found = Found::new();
        let mut missing = Vec::new();
        for hash in hashes {
            match caches.identities.get(&(client, hash)) {
                Some(id) => _ = found.insert(hash, caches.follow_merges(client, id)),
                None => missing.push(hash),
            }
        }
        if !missing.is_empty() {
            missing.sort_unstable();
            missing.dedup();
            self.look_up(&caches, client, missing, &mut found).await?;
        }
        Ok(found)
    }

    /// Looks identities up in the read model.
    async fn look_up(
        &self,
        caches: &Caches,
        client: ClientId,
        hashes: Vec<IdentityHash>,
        found: &mut Found,
    ) -> Result<(), CommandError> {
        let ids = self.core.view.identities(client, hashes.clone()).await?;
        for (hash, id) in hashes.into_iter().zip(ids) {
            if let Some(id) = id {
                let id = caches.follow_merges(client, id);
                caches.identities.insert((client, hash), id);
                found.insert(hash, id);
            }
        }
        Ok(())
    }

    /// Appends for contacts that the directory knows.
    async fn settle(&self, placing: &Placing, placed: Vec<Placed>) -> Result<Settled, PlaceError> {
        let caches = self.caches();
        let ids = placed.iter().filter_map(|placed| placed.id);
        let mut known = self.known_contacts(&caches, placing.client, ids).await?;
        let (mut batch, told) = self.tell(placing, &placed, &mut known);
        let told_entries = batch.len();
        batch.extend((placing.finish)(&placed, told_entries));
        match self.core.log.append(batch).await {
            Ok(appended) => {
                let (told_places, finished) = appended.split_at(told_entries);
                let told_at = places(&told, told_places);
                let settled = Settled { placed, told_at, finished: finished.into() };
                caches.remember(placing.client, known, settled.told());
                Ok(settled)
            }
            Err(AppendError::Conflict { .. }) => Err(PlaceError::Conflict),
            Err(error) => Err(error.into()),
        }
    }

    /// What is known of these conversations' contacts. Those that the read model does not have
    /// yet are left out.
    async fn known_contacts(
        &self,
        caches: &Caches,
        client: ClientId,
        ids: impl Iterator<Item = ConversationId>,
    ) -> Result<Known, CommandError> {
        let now = self.core.clock.now();
        let mut known = Known::new();
        let mut missing = Vec::new();
        for id in ids {
            match caches.contacts.get(&(client, id)) {
                Some(contact) if now.since(contact.read_at) < CONTACT_TRUSTED_MS => {
                    known.insert(id, contact);
                }
                _ => missing.push(id),
            }
        }
        if missing.is_empty() {
            return Ok(known);
        }
        missing.sort_unstable();
        missing.dedup();
        // Before it is read: what is read is at least of this place.
        let seen = *self.core.view.projected().borrow();
        for conversation in self.core.view.conversations(client, missing).await? {
            let contact = KnownContact {
                contact: conversation.contact,
                told_at: conversation.contact_told_at,
                seen,
                read_at: now,
            };
            known.insert(conversation.id, Arc::new(contact));
        }
        Ok(known)
    }

    /// The entries that open conversations and change contacts, one event each, and for each
    /// contact which of them is its. Brings `known` up to what they tell.
    fn tell(
        &self,
        placing: &Placing,
        placed: &[Placed],
        known: &mut Known,
    ) -> (Vec<Append>, Vec<Option<usize>>) {
        let now = self.core.clock.now();
        let mut entries = Vec::new();
        let mut whose = Vec::with_capacity(placed.len());
        for (told, placed) in placing.contacts.iter().zip(placed) {
            let entry = placed.id.and_then(|id| tell_one(told, id, placed.opened, now, known));
            whose.push(entry.as_ref().map(|_| entries.len()));
            if let Some((id, expected, data)) = entry {
                let events = vec![self.core.event(placing.client, &placing.actor, data)];
                let stream = conversation_stream(placing.client, id);
                entries.push(Append { stream, expected, events });
            }
        }
        (entries, whose)
    }
}

/// What is known of a contact, and how well.
#[derive(Debug, Clone)]
struct KnownContact {
    contact: Contact,
    /// As [`Conversation::contact_told_at`](crate::domain::conversation::Conversation).
    told_at: Option<Timestamp>,
    /// All that was told up to this place in the log is in here, unless another command or
    /// another instance told something at the same time.
    seen: Position,
    /// When the read model was last asked.
    read_at: Timestamp,
}

type Known = HashMap<ConversationId, Arc<KnownContact>>;

/// Where `told` is, when all of its identities are known and of one conversation.
fn placed_if_known(told: &Told, found: &Found) -> Option<Placed> {
    let mut ids = told.identities.iter().map(|hash| found.get(hash));
    let first = ids.next()?;
    if !ids.all(|id| id == first) {
        return None;
    }
    match first {
        Some(id) => Some(Placed { id: Some(*id), opened: false }),
        None if told.telling.takes_up() => None,
        None => Some(Placed { id: None, opened: false }),
    }
}

/// The event by which the conversation learns what is new in `told`, `None` when nothing is.
fn tell_one(
    told: &Told,
    id: ConversationId,
    opened: bool,
    now: Timestamp,
    known: &mut Known,
) -> Option<(ConversationId, Expected, EventData)> {
    // As the fold: a clock that runs ahead must not make all that follows old.
    let news_at = told.telling.news_at().map(|at| at.min(now));
    let Some(known) = known.get_mut(&id) else {
        if !told.telling.opens() {
            return None;
        }
        // Opened here, or not in the read model yet: there the fold finds an opening that is
        // repeated to tell nothing but what is newer.
        let contact = told.contact.clone();
        let seen = Position::START;
        let told = KnownContact { contact, told_at: news_at, seen, read_at: now };
        known.insert(id, Arc::new(told.clone()));
        let expected = if opened { Expected::NoStream } else { Expected::Any };
        let contact = told.contact;
        let data = EventData::ConversationOpened { conversation_id: id, contact, at: news_at };
        return Some((id, expected, data));
    };
    let news_at = news_at.filter(|at| known.told_at.is_none_or(|told_at| told_at <= *at));
    let contact = match news_at {
        Some(_) => decide_contact_change(&known.contact, &told.contact)?,
        None => {
            let mut filled = known.contact.clone();
            filled.fill_from(&told.contact);
            decide_contact_change(&known.contact, &filled)?
        }
    };
    let known = Arc::make_mut(known);
    known.contact.replace_with(&contact);
    known.told_at = known.told_at.max(news_at);
    let data = EventData::ContactChanged { conversation_id: id, contact, at: news_at };
    Some((id, Expected::Any, data))
}

fn places(whose: &[Option<usize>], appended: &[Appended]) -> Vec<Option<Position>> {
    whose.iter().map(|entry| entry.map(|entry| appended[entry].position)).collect()
}
