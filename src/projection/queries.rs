//! Reading: the read model's answers, from a pool of read-only connections.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use rusqlite::Connection;

use super::{
    Erasing, PublicFrame, bulks, erasing, feed_pages, lookups, pool::Pool, read_model::ReadModel,
    state,
};
use crate::{
    domain::{
        bot::Bot,
        bulk::{Bulk, Recipient, RecipientPart, RecipientResult},
        conversation::{Conversation, ConversationStatus},
        ids::{BulkId, ClientId, ConversationId, IdentityHash, MediaId, MessageId, Position},
        message::Message,
        state::Tenant,
        stats::{Counts, Stats},
        tenant::StoredSetup,
        time::Timestamp,
        whatsapp::WhatsApp,
    },
    wire::{cursor::Cursor, types::Snapshot},
};

/// How long a request waits for a read model that is being made before it is turned away. At a
/// usual start the log has little that the read model lacks, and nobody is.
const COMPLETE_WAIT: Duration = Duration::from_secs(1);

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// All connections stayed busy for the time that a query may wait.
    #[error("too many queries at once")]
    Overloaded,
    #[error("the read model can't be read: {0}")]
    Broken(String),
    /// `at_least` was not reached in time.
    #[error("this instance has not projected that far yet")]
    NotYet,
    /// The read model is being made, or brought up to the log after a start.
    #[error("this instance is catching up with the event log")]
    Incomplete,
}

/// Which conversations to list, newest activity first.
#[derive(Debug, Clone, Default)]
pub struct ConversationFilter {
    /// Full-text search over contact and messages.
    pub search: Option<String>,
    pub status: Option<ConversationStatus>,
    /// What `Page::next` of the page before said.
    pub after: Option<String>,
    pub limit: usize,
}

/// How a status or an amendment names the message that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageName {
    /// Our own id, where it is known: it goes before the key.
    pub id: Option<MessageId>,
    pub dedupe_key: String,
}

/// A tenant's writes whose answers are old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldAnswers {
    pub client: ClientId,
    /// Hashes of their idempotency keys.
    pub keys: Vec<String>,
    /// All of the tenant's answers that were given before this are among them.
    pub before: Timestamp,
}

/// Part of a list; `next` goes on behind it and is `None` at the end.
#[derive(Debug, Clone)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<String>,
}

/// Which recipients of a bulk to list, in the order in which they were given.
#[derive(Debug, Clone, Copy, Default)]
pub struct BulkRecipientFilter {
    pub result: Option<RecipientResult>,
    /// The number behind which to begin.
    pub after: Option<u32>,
    pub limit: usize,
}

/// A recipient of a bulk with what became of them.
#[derive(Debug, Clone, PartialEq)]
pub struct BulkRecipientRow {
    /// From 0, in the order in which they were given.
    pub number: u32,
    /// `None` once the person was erased.
    pub recipient: Option<Recipient>,
    pub result: RecipientResult,
    pub conversation_id: Option<ConversationId>,
    pub message: Option<Message>,
}

/// A stored part of the feed.
#[derive(Debug, Clone)]
pub struct FeedPage {
    /// In feed order.
    pub frames: Vec<PublicFrame>,
    /// All that the feed has up to here was looked at; at most the projected position.
    pub scanned_to: Cursor,
    /// Nothing lies behind `scanned_to` yet.
    pub at_head: bool,
}

/// The read side. Cheap to clone.
#[derive(Clone)]
pub struct Queries {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool,
    epoch: Arc<str>,
    projected: watch::Receiver<Position>,
    complete: watch::Receiver<bool>,
    erasures: watch::Receiver<u64>,
}

impl Queries {
    /// Opens the readers of `model`. They stay of use after the projector has ended.
    pub fn open(model: &ReadModel) -> Result<Self, QueryError> {
        Self::open_some(model, model.settings.readers)
    }

    /// The same for commands, with readers of their own: however much clients search, what comes
    /// in does not wait for it.
    pub fn open_for_commands(model: &ReadModel) -> Result<Self, QueryError> {
        Self::open_some(model, model.settings.command_readers)
    }

    fn open_some(model: &ReadModel, readers: usize) -> Result<Self, QueryError> {
        let settings = &model.settings;
        let pool = Pool::open(&settings.path, readers, settings)
            .map_err(|error| QueryError::Broken(error.to_string()))?;
        let epoch = Arc::clone(&model.epoch);
        let projected = model.projected.subscribe();
        let complete = model.complete.subscribe();
        let erasures = model.erasures.subscribe();
        Ok(Self { inner: Arc::new(Inner { pool, epoch, projected, complete, erasures }) })
    }

    #[cfg(test)]
    pub(super) fn idle_readers(&self) -> usize {
        self.inner.pool.idle()
    }

    pub(super) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, QueryError> {
        self.inner.pool.read(query).await
    }

    /// The epoch of the store, for writing and reading cursors.
    pub fn epoch(&self) -> &str {
        &self.inner.epoch
    }

    /// How far this instance has projected; changes after each commit.
    pub fn projected(&self) -> watch::Receiver<Position> {
        self.inner.projected.clone()
    }

    /// Waits a moment until the read model lacks nothing that was in the log when it was opened,
    /// else [`QueryError::Incomplete`]: what it answers before that would look as if data were
    /// gone. Once it is complete it stays so, however far the log may be ahead.
    pub async fn complete(&self) -> Result<(), QueryError> {
        if *self.inner.complete.borrow() {
            return Ok(());
        }
        let mut complete = self.inner.complete.clone();
        match tokio::time::timeout(COMPLETE_WAIT, complete.wait_for(|complete| *complete)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(QueryError::Broken("the projector has ended".to_owned())),
            Err(_) => Err(QueryError::Incomplete),
        }
    }

    /// Waits until all up to `cursor` is projected, [`QueryError::NotYet`] after `wait`.
    pub async fn at_least(&self, cursor: Cursor, wait: Duration) -> Result<(), QueryError> {
        let mut projected = self.projected();
        let reached = projected.wait_for(|position| *position >= cursor.position);
        match tokio::time::timeout(wait, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(QueryError::Broken("the projector has ended".to_owned())),
            Err(_) => Err(QueryError::NotYet),
        }
    }

    /// State of a tenant, exact to its cursor: read in one transaction. `conversations` newest
    /// first, at most `limit`.
    pub async fn snapshot(&self, client: ClientId, limit: usize) -> Result<Snapshot, QueryError> {
        let epoch = Arc::clone(&self.inner.epoch);
        self.read(move |db| lookups::snapshot(db, &epoch, client, limit)).await
    }

    pub async fn conversations(
        &self,
        client: ClientId,
        filter: ConversationFilter,
    ) -> Result<Page<Conversation>, QueryError> {
        self.read(move |db| lookups::conversations(db, client, &filter)).await
    }

    /// `None` when there is none; one merged away answers as the one it lives on in.
    pub async fn conversation(
        &self,
        client: ClientId,
        id: ConversationId,
    ) -> Result<Option<Conversation>, QueryError> {
        self.read(move |db| lookups::conversation(db, client, id)).await
    }

    /// These conversations, as [`Queries::conversation`] answers each; those that there are.
    pub async fn conversations_by_id(
        &self,
        client: ClientId,
        ids: Vec<ConversationId>,
    ) -> Result<Vec<Conversation>, QueryError> {
        self.read(move |db| {
            let found = ids.into_iter().map(|id| lookups::conversation(db, client, id));
            found.filter_map(Result::transpose).collect()
        })
        .await
    }

    /// The conversation of each of these messages, in the order asked.
    pub async fn conversations_of(
        &self,
        client: ClientId,
        messages: Vec<MessageName>,
    ) -> Result<Vec<Option<ConversationId>>, QueryError> {
        self.read(move |db| {
            let of = |name| lookups::conversation_of(db, client, &name);
            messages.into_iter().map(of).collect()
        })
        .await
    }

    /// History, newest first, from before the message `before`.
    pub async fn messages(
        &self,
        client: ClientId,
        id: ConversationId,
        before: Option<MessageId>,
        limit: usize,
    ) -> Result<Page<Message>, QueryError> {
        self.read(move |db| lookups::messages(db, client, id, before, limit)).await
    }

    pub async fn message(
        &self,
        client: ClientId,
        id: MessageId,
    ) -> Result<Option<Message>, QueryError> {
        let found = self.read(move |db| state::find_message(db, (client, id))).await?;
        Ok(found.map(|found| Message::clone(&found.message)))
    }

    pub async fn stats(&self, client: ClientId) -> Result<Stats, QueryError> {
        Ok(self.tenant(client).await?.stats)
    }

    async fn tenant(&self, client: ClientId) -> Result<Tenant, QueryError> {
        self.read(move |db| lookups::tenant(db, client)).await
    }

    /// How all tenants that were set up at run time are set up.
    pub async fn setups(&self) -> Result<Vec<StoredSetup>, QueryError> {
        self.read(state::setups).await
    }

    /// Hour buckets from `from` (inclusive) to `to` (exclusive), empty hours left out.
    pub async fn hours(
        &self,
        client: ClientId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(Timestamp, Counts)>, QueryError> {
        self.read(move |db| lookups::hours(db, client, from, to)).await
    }

    pub async fn bot(&self, client: ClientId) -> Result<Bot, QueryError> {
        Ok(self.tenant(client).await?.bot)
    }

    pub async fn whatsapp(&self, client: ClientId) -> Result<WhatsApp, QueryError> {
        Ok(self.tenant(client).await?.whatsapp)
    }

    /// Date and time zone of the tenant's last `day_started`.
    pub async fn day(&self, client: ClientId) -> Result<Option<(String, String)>, QueryError> {
        Ok(self.tenant(client).await?.day)
    }

    /// Which conversation each identity belongs to (merges followed), in the order asked.
    pub async fn identities(
        &self,
        client: ClientId,
        hashes: Vec<IdentityHash>,
    ) -> Result<Vec<Option<ConversationId>>, QueryError> {
        self.read(move |db| lookups::identities(db, client, &hashes)).await
    }

    /// The highest conversation id that the tenant has used, `None` when none. Conversations that
    /// were merged away count; one look at the end of an index.
    pub async fn highest_conversation(
        &self,
        client: ClientId,
    ) -> Result<Option<ConversationId>, QueryError> {
        self.read(move |db| lookups::highest_conversation(db, client)).await
    }

    /// The oldest answers of each tenant that were given before `before`, at most `limit` of each
    /// (more when they were given within one millisecond).
    pub async fn old_answers(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<OldAnswers>, QueryError> {
        self.read(move |db| lookups::old_answers(db, before, limit)).await
    }

    /// Hashes of the idempotency keys whose answers speak of these conversations.
    pub async fn answers_of(
        &self,
        client: ClientId,
        conversations: Vec<ConversationId>,
    ) -> Result<Vec<String>, QueryError> {
        self.read(move |db| lookups::answers_of(db, client, &conversations)).await
    }

    pub async fn bulk(&self, client: ClientId, id: BulkId) -> Result<Option<Bulk>, QueryError> {
        let found = self.read(move |db| bulks::find(db, (client, id))).await?;
        Ok(found.map(|found| Bulk::clone(&found.bulk)))
    }

    /// The tenant's bulks, newest first, from before `before`.
    pub async fn bulks(
        &self,
        client: ClientId,
        before: Option<BulkId>,
        limit: usize,
    ) -> Result<Page<Bulk>, QueryError> {
        self.read(move |db| bulks::list(db, client, before, limit)).await
    }

    /// Bulks of all tenants that their runner has something to do for, at most `limit`.
    pub async fn active_bulks(&self, limit: usize) -> Result<Vec<Bulk>, QueryError> {
        self.read(move |db| bulks::active(db, limit)).await
    }

    /// Bulks whose recipients were stored and that were not created (yet), at most `limit`.
    pub async fn unfinished_bulks(
        &self,
        limit: usize,
    ) -> Result<Vec<(ClientId, BulkId)>, QueryError> {
        self.read(move |db| bulks::unfinished(db, limit)).await
    }

    /// The numbers of the parts that a bulk's recipients are in.
    pub async fn bulk_parts(&self, client: ClientId, id: BulkId) -> Result<Vec<u32>, QueryError> {
        self.read(move |db| bulks::part_numbers(db, (client, id))).await
    }

    /// The parts of the tenant's bulks in which somebody satisfies `wanted`. Looks at every
    /// recipient of every bulk.
    pub async fn bulk_parts_with(
        &self,
        client: ClientId,
        wanted: impl Fn(&Recipient) -> bool + Send + 'static,
    ) -> Result<Vec<RecipientPart>, QueryError> {
        self.read(move |db| bulks::parts_with(db, client, wanted)).await
    }

    /// How far these recipients have come, those who are not claimed left out.
    pub async fn bulk_results(
        &self,
        client: ClientId,
        id: BulkId,
        numbers: Vec<u32>,
    ) -> Result<Vec<(u32, RecipientResult)>, QueryError> {
        self.read(move |db| {
            let mut results = Vec::new();
            for number in numbers {
                let found = bulks::recipient(db, (client, id), number)?;
                results.extend(found.map(|found| (number, found.result)));
            }
            Ok(results)
        })
        .await
    }

    /// `count` recipients as they were given, from number `first` on; fewer when parts are
    /// missing.
    pub async fn bulk_recipients_given(
        &self,
        client: ClientId,
        id: BulkId,
        first: u32,
        count: u32,
    ) -> Result<Vec<Recipient>, QueryError> {
        self.read(move |db| bulks::given(db, (client, id), first, count)).await
    }

    /// Numbers of recipients whose message is queued and not claimed for sending.
    pub async fn bulk_recipients_queued(
        &self,
        client: ClientId,
        id: BulkId,
        limit: usize,
    ) -> Result<Vec<u32>, QueryError> {
        self.read(move |db| bulks::queued(db, (client, id), limit)).await
    }

    /// Recipients with what became of them; `None` when there is no such bulk. A page may have
    /// fewer than `limit` and go on.
    pub async fn bulk_recipients(
        &self,
        client: ClientId,
        id: BulkId,
        filter: BulkRecipientFilter,
    ) -> Result<Option<Page<BulkRecipientRow>>, QueryError> {
        self.read(move |db| bulks::recipients(db, (client, id), &filter)).await
    }

    /// The conversations of contacts known by these identities, in the order asked.
    pub async fn conversations_of_contacts(
        &self,
        client: ClientId,
        hashes: Vec<IdentityHash>,
    ) -> Result<Vec<Option<Conversation>>, QueryError> {
        self.read(move |db| bulks::conversations_of(db, client, &hashes)).await
    }

    /// How many persons were erased since the start; changes before `projected` does.
    pub fn erasures(&self) -> watch::Receiver<u64> {
        self.inner.erasures.clone()
    }

    pub async fn is_erased(
        &self,
        client: ClientId,
        id: ConversationId,
    ) -> Result<bool, QueryError> {
        self.read(move |db| erasing::is_erased(db, (client, id))).await
    }

    /// Persons of whom streams and media are still to be deleted, at most `limit`, from behind
    /// `after` on.
    pub async fn erasing(
        &self,
        after: Option<(ClientId, ConversationId)>,
        limit: usize,
    ) -> Result<Vec<Erasing>, QueryError> {
        self.read(move |db| erasing::erasing(db, after, limit)).await
    }

    /// Identities that are known to be erased, newest first, at most `limit`.
    pub async fn erased_identities(
        &self,
        limit: usize,
    ) -> Result<Vec<(ClientId, IdentityHash, Timestamp)>, QueryError> {
        self.read(move |db| erasing::erased_identities(db, limit)).await
    }

    /// The conversation and all that were merged into it, itself first.
    pub async fn with_merged(
        &self,
        client: ClientId,
        id: ConversationId,
    ) -> Result<Vec<ConversationId>, QueryError> {
        self.read(move |db| erasing::with_merged(db, (client, id))).await
    }

    /// The identities that lead to any of these conversations.
    pub async fn identities_of(
        &self,
        client: ClientId,
        ids: Vec<ConversationId>,
    ) -> Result<Vec<IdentityHash>, QueryError> {
        self.read(move |db| erasing::identities_of(db, client, &ids)).await
    }

    /// Whether this copy of a medium is to be deleted with an erased person.
    pub async fn is_media_erasing(
        &self,
        client: ClientId,
        id: MediaId,
    ) -> Result<bool, QueryError> {
        self.read(move |db| erasing::is_media_erasing(db, client, id)).await
    }

    /// Messages of all tenants whose medium is to be fetched, after `after` in the order in which
    /// they came, each with its place.
    pub async fn pending_media(
        &self,
        after: i64,
        limit: usize,
    ) -> Result<Vec<(i64, Message)>, QueryError> {
        self.read(move |db| erasing::pending_media(db, after, limit)).await
    }

    /// A message that shows this copy of a medium.
    pub async fn message_with_media(
        &self,
        client: ClientId,
        id: MediaId,
    ) -> Result<Option<MessageId>, QueryError> {
        self.read(move |db| erasing::message_with_media(db, client, id)).await
    }

    /// The tenant's public events after `after`, at most `limit`.
    pub async fn feed(
        &self,
        client: ClientId,
        after: Cursor,
        limit: usize,
    ) -> Result<FeedPage, QueryError> {
        self.read(move |db| feed_pages::page(db, client, after, limit)).await
    }

    /// The oldest cursor from which the tenant's feed is complete; earlier ones are expired.
    pub async fn feed_floor(&self, client: ClientId) -> Result<Cursor, QueryError> {
        self.read(move |db| feed_pages::floor(db, client)).await
    }

    /// How many of the tenant's stored public events lie after `after`, counted up to `at_most`
    /// and no further (an index scan of that many rows).
    pub async fn feed_backlog(
        &self,
        client: ClientId,
        after: Cursor,
        at_most: u64,
    ) -> Result<u64, QueryError> {
        self.read(move |db| feed_pages::backlog(db, client, after, at_most)).await
    }

    /// The cursor before the tenant's first public event taken in at or after `time`.
    pub async fn feed_at(&self, client: ClientId, time: Timestamp) -> Result<Cursor, QueryError> {
        self.read(move |db| feed_pages::at(db, client, time)).await
    }
}
