//! Which conversation a contact has.
//!
//! A contact is known by several identities; the directory stream of the tenant says which
//! conversation each belongs to. Known contacts are answered from a cache, or the read model, and
//! written to without any lock. Whoever brings something new (an unknown contact, a further
//! identity, an identity that ties two conversations together) goes through the tenant's [`lane`].

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use quick_cache::sync::Cache;

use super::{CommandError, Core, MERGES_FOLLOWED_MAX, conversation_stream, identity::Identities};
use crate::{
    domain::{
        conversation::{Contact, Conversation, decide_contact_change},
        event::EventData,
        ids::{ClientId, ConversationId, IdentityHash, Position},
    },
    event_log::{Append, AppendError, Appended, Expected},
};

mod lane;

use lane::Lanes;

/// Identities of which the conversation is remembered; the least useful are looked up again.
const IDENTITIES_CACHED_MAX: usize = 65_536;
/// Contacts that are remembered, to see whether something told of them is new.
const CONTACTS_CACHED_MAX: usize = 16_384;
/// Merges that are remembered until the read model has them everywhere.
const MERGES_CACHED_MAX: usize = 4096;
/// Contacts looked up in the read model at once, for one command.
const LOOKUPS_AT_ONCE: usize = 4;

/// How something was told of a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Telling {
    /// By the contact's own doing: it replaces what was known. An unknown contact is taken up.
    News,
    /// From the past, or by somebody else: it fills in what is not known. An unknown contact is
    /// taken up.
    Filling,
    /// As news, but an unknown contact stays unknown.
    OfKnown,
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
    /// `None` for an unknown contact that was told of with [`Telling::OfKnown`].
    pub id: Option<ConversationId>,
    /// The conversation is opened by this very append.
    pub opened: bool,
}

/// Makes the appends that go with contacts once they are placed.
pub(super) type Finish = Box<dyn Fn(&[Placed]) -> Vec<Append> + Send + Sync>;

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
    identities: Cache<(ClientId, IdentityHash), ConversationId>,
    contacts: Cache<(ClientId, ConversationId), Arc<Contact>>,
    merges: Cache<(ClientId, ConversationId), ConversationId>,
}

/// What is remembered now, to be told what is read from here on.
pub(super) struct Held(Arc<Caches>);

impl Held {
    /// Remembers what was read of these conversations' contacts, where nothing is remembered yet:
    /// what is remembered may be newer than the read model.
    pub(super) fn prime(&self, conversations: &[Conversation]) {
        for Conversation { client_id, id, contact, .. } in conversations {
            let key = (*client_id, *id);
            if self.0.contacts.peek(&key).is_none() {
                self.0.contacts.insert(key, Arc::new(contact.clone()));
            }
        }
    }
}

impl Caches {
    fn new() -> Self {
        Self {
            identities: Cache::new(IDENTITIES_CACHED_MAX),
            contacts: Cache::new(CONTACTS_CACHED_MAX),
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

    fn remember(&self, client: ClientId, known: &Known) {
        for (id, contact) in known {
            // What is unchanged is not written again, so that reading stays what this mostly is.
            let same = |had: &Arc<Contact>| Arc::ptr_eq(had, contact);
            if !self.contacts.peek(&(client, *id)).as_ref().is_some_and(same) {
                self.contacts.insert((client, *id), Arc::clone(contact));
            }
        }
    }
}

/// Which conversation identities belong to, as far as one was found.
type Found = HashMap<IdentityHash, ConversationId>;

impl Directory {
    pub(super) fn new(core: Arc<Core>) -> Self {
        let inner = Arc::new(Inner { core, caches: ArcSwap::from_pointee(Caches::new()) });
        Self { inner, lanes: Lanes::new() }
    }

    /// Places the contacts and appends what follows, all of it in one append.
    pub(super) async fn place(&self, placing: Placing) -> Result<Settled, PlaceError> {
        match self.inner.place_known(&placing).await? {
            Some(placed) => self.inner.settle(&placing, placed).await,
            None => self.lanes.place(&self.inner, Arc::new(placing)).await,
        }
    }

    pub(super) fn held(&self) -> Held {
        Held(self.inner.caches.load_full())
    }

    /// Somebody was erased, and the view is free of them: what is remembered is looked up anew.
    pub(super) fn forget(&self) {
        self.inner.caches.store(Arc::new(Caches::new()));
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

    /// Where all contacts are, when nothing about them is new to the directory.
    async fn place_known(&self, placing: &Placing) -> Result<Option<Vec<Placed>>, CommandError> {
        if placing.contacts.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let hashes = placing.contacts.iter().flat_map(|told| told.identities.iter().copied());
        let found = self.find(placing.client, hashes).await?;
        Ok(placing.contacts.iter().map(|told| placed_if_known(told, &found)).collect())
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
        batch.extend((placing.finish)(&placed));
        match self.core.log.append(batch).await {
            Ok(appended) => {
                caches.remember(placing.client, &known);
                let (told_places, finished) = appended.split_at(told_entries);
                Ok(Settled {
                    placed,
                    told_at: places(&told, told_places),
                    finished: finished.into(),
                })
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
        use futures_util::{StreamExt, TryStreamExt};
        let mut known = Known::new();
        let mut missing = Vec::new();
        for id in ids {
            match caches.contacts.get(&(client, id)) {
                Some(contact) => _ = known.insert(id, contact),
                None => missing.push(id),
            }
        }
        missing.sort_unstable();
        missing.dedup();
        let found: Vec<_> = futures_util::stream::iter(missing)
            .map(|id| async move { self.core.view.conversation(client, id).await })
            .buffer_unordered(LOOKUPS_AT_ONCE)
            .try_collect()
            .await?;
        for conversation in found.into_iter().flatten() {
            known.insert(conversation.id, Arc::new(conversation.contact));
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
        let mut entries = Vec::new();
        let mut whose = Vec::with_capacity(placed.len());
        for (told, placed) in placing.contacts.iter().zip(placed) {
            let entry = placed.id.and_then(|id| tell_one(told, id, placed.opened, known));
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

type Known = HashMap<ConversationId, Arc<Contact>>;

/// Where `told` is, when all of its identities are known and of one conversation.
fn placed_if_known(told: &Told, found: &Found) -> Option<Placed> {
    let mut ids = told.identities.iter().map(|hash| found.get(hash));
    let first = ids.next()?;
    if !ids.all(|id| id == first) {
        return None;
    }
    match first {
        Some(id) => Some(Placed { id: Some(*id), opened: false }),
        None if told.telling == Telling::OfKnown => Some(Placed { id: None, opened: false }),
        None => None,
    }
}

/// The event by which the conversation learns what is new in `told`, `None` when nothing is.
fn tell_one(
    told: &Told,
    id: ConversationId,
    opened: bool,
    known: &mut Known,
) -> Option<(ConversationId, Expected, EventData)> {
    let Some(known) = known.get_mut(&id) else {
        // Opened here, or not in the read model yet: there the fold finds an opening that is
        // repeated to tell nothing new.
        known.insert(id, Arc::new(told.contact.clone()));
        let expected = if opened { Expected::NoStream } else { Expected::Any };
        let contact = told.contact.clone();
        return Some((
            id,
            expected,
            EventData::ConversationOpened { conversation_id: id, contact },
        ));
    };
    let contact = match told.telling {
        Telling::News | Telling::OfKnown => decide_contact_change(known, &told.contact)?,
        Telling::Filling => {
            let mut filled = Contact::clone(known);
            filled.fill_from(&told.contact);
            decide_contact_change(known, &filled)?
        }
    };
    Arc::make_mut(known).replace_with(&contact);
    Some((id, Expected::Any, EventData::ContactChanged { conversation_id: id, contact }))
}

fn places(whose: &[Option<usize>], appended: &[Appended]) -> Vec<Option<Position>> {
    whose.iter().map(|entry| entry.map(|entry| appended[entry].position)).collect()
}
