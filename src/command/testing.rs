//! For tests of commands: the log in memory, and a view that folds it as the projector does.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{view::View, *};
use crate::{
    domain::{
        bot::Bot,
        bulk::Bulk,
        conversation::Conversation,
        event::EventData,
        fold::fold,
        ids::{BulkId, IdentityHash, MessageId},
        message::Message,
        state::{MemoryState, NotedAnswer, State},
        time::Timestamp,
        whatsapp::WhatsApp,
    },
    event_log::{Record, Tail, memory::MemoryLog},
    projection::queries::{MessageName, OldAnswers},
    runtime::clock::ManualClock,
};

pub const CLIENT: ClientId = ClientId(1);
pub const NOW: Timestamp = Timestamp(1_795_515_330_000);

/// A view that folds a log into memory, and can be made to stand still.
pub struct FoldView {
    state: Mutex<MemoryState>,
    projected: watch::Sender<Position>,
    held: watch::Sender<bool>,
    erasures: watch::Sender<u64>,
}

impl FoldView {
    pub fn follow(log: Arc<dyn EventLog>) -> Arc<Self> {
        let view = Arc::new(Self {
            state: Mutex::default(),
            projected: watch::channel(Position::START).0,
            held: watch::channel(false).0,
            erasures: watch::channel(0).0,
        });
        tokio::spawn({
            let view = Arc::clone(&view);
            async move {
                let mut tail = log.tail(Position::START);
                while let Some(Ok(tail)) = tail.next().await {
                    view.held.subscribe().wait_for(|held| !held).await.expect("the view lives");
                    let Tail::Records(records) = tail else { continue };
                    for record in records.iter() {
                        fold(&mut *view.state.lock(), &record.event);
                    }
                    let erased = records.iter().filter(|record| {
                        matches!(record.event.data, EventData::PersonalDataErased(_))
                    });
                    view.erasures.send_modify(|told| *told += erased.count() as u64);
                    let last = records.last().expect("at least one").position;
                    view.projected.send_replace(last);
                }
            }
        });
        view
    }

    /// From now on what is appended stays out of the view, until it is let go.
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    pub fn state(&self) -> parking_lot::MutexGuard<'_, MemoryState> {
        self.state.lock()
    }
}

fn alive(state: &mut MemoryState, client: ClientId, id: ConversationId) -> ConversationId {
    let mut id = id;
    while let Some(into) = state.conversation(client, id).and_then(|found| found.merged_into) {
        id = into;
    }
    id
}

#[async_trait]
impl View for FoldView {
    fn projected(&self) -> watch::Receiver<Position> {
        self.projected.subscribe()
    }

    async fn identities(
        &self,
        client: ClientId,
        hashes: Vec<IdentityHash>,
    ) -> Result<Vec<Option<ConversationId>>, QueryError> {
        let mut state = self.state.lock();
        let mut of = |hash| {
            let id = state.identities.get(&(client, hash)).copied()?;
            Some(alive(&mut state, client, id))
        };
        Ok(hashes.into_iter().map(&mut of).collect())
    }

    async fn highest_conversation(
        &self,
        client: ClientId,
    ) -> Result<Option<ConversationId>, QueryError> {
        let state = self.state.lock();
        let known = state.conversations.keys().chain(&state.erased);
        let own = known.filter(|(owner, _)| *owner == client);
        Ok(own.map(|(_, id)| *id).max())
    }

    async fn conversation(
        &self,
        client: ClientId,
        id: ConversationId,
    ) -> Result<Option<Conversation>, QueryError> {
        let mut state = self.state.lock();
        let id = alive(&mut state, client, id);
        Ok(state.conversation(client, id).map(|found| Conversation::clone(&found)))
    }

    async fn message(
        &self,
        client: ClientId,
        id: MessageId,
    ) -> Result<Option<Message>, QueryError> {
        Ok(self.state.lock().message(client, id).map(|message| Message::clone(&message)))
    }

    async fn conversations(
        &self,
        client: ClientId,
        ids: Vec<ConversationId>,
    ) -> Result<Vec<Conversation>, QueryError> {
        let mut state = self.state.lock();
        let mut of = |id| {
            let id = alive(&mut state, client, id);
            state.conversation(client, id).map(|found| Conversation::clone(&found))
        };
        Ok(ids.into_iter().filter_map(&mut of).collect())
    }

    async fn conversations_of(
        &self,
        client: ClientId,
        messages: Vec<MessageName>,
    ) -> Result<Vec<Option<ConversationId>>, QueryError> {
        let mut state = self.state.lock();
        let mut of = |name: MessageName| {
            let by_id = name.id.and_then(|id| state.message(client, id));
            let found = by_id.or_else(|| state.message_by_key(client, &name.dedupe_key));
            found.map(|message| message.conversation_id)
        };
        Ok(messages.into_iter().map(&mut of).collect())
    }

    async fn old_answers(
        &self,
        before: Timestamp,
        _: usize,
    ) -> Result<Vec<OldAnswers>, QueryError> {
        let state = self.state.lock();
        let mut all: HashMap<ClientId, Vec<String>> = HashMap::new();
        for ((client, key), _) in state.answers.iter().filter(|(_, noted)| noted.at < before) {
            all.entry(*client).or_default().push(key.clone());
        }
        Ok(all.into_iter().map(|(client, keys)| OldAnswers { client, keys, before }).collect())
    }

    async fn answers_of(
        &self,
        client: ClientId,
        conversations: Vec<ConversationId>,
    ) -> Result<Vec<String>, QueryError> {
        let state = self.state.lock();
        let speaks_of_them = |(owner, _): &(ClientId, String), noted: &NotedAnswer| {
            *owner == client && noted.conversation.is_some_and(|id| conversations.contains(&id))
        };
        let found = state.answers.iter().filter(|(key, noted)| speaks_of_them(key, noted));
        Ok(found.map(|((_, key), _)| key.clone()).collect())
    }

    fn erasures(&self) -> watch::Receiver<u64> {
        self.erasures.subscribe()
    }

    async fn is_erased(&self, client: ClientId, id: ConversationId) -> Result<bool, QueryError> {
        Ok(self.state.lock().is_erased(client, id))
    }

    async fn erased_identities(
        &self,
        limit: usize,
    ) -> Result<Vec<(ClientId, IdentityHash, Timestamp)>, QueryError> {
        let state = self.state.lock();
        let all = state.erased_identities.iter().map(|((client, hash), at)| (*client, *hash, *at));
        Ok(all.take(limit).collect())
    }

    async fn with_merged(
        &self,
        client: ClientId,
        id: ConversationId,
    ) -> Result<Vec<ConversationId>, QueryError> {
        let mut state = self.state.lock();
        let ids: Vec<_> =
            state.conversations.keys().filter(|(owner, _)| *owner == client).collect();
        let ids: Vec<ConversationId> = ids.into_iter().map(|(_, id)| *id).collect();
        let others = ids.into_iter().filter(|other| *other != id);
        let others: Vec<_> =
            others.filter(|other| alive(&mut state, client, *other) == id).collect();
        Ok(std::iter::once(id).chain(others).collect())
    }

    async fn identities_of(
        &self,
        client: ClientId,
        ids: Vec<ConversationId>,
    ) -> Result<Vec<IdentityHash>, QueryError> {
        let state = self.state.lock();
        let own =
            state.identities.iter().filter(|((owner, _), id)| *owner == client && ids.contains(id));
        Ok(own.map(|((_, hash), _)| *hash).collect())
    }

    async fn bot(&self, client: ClientId) -> Result<Bot, QueryError> {
        Ok(self.state.lock().tenant(client).bot.clone())
    }

    async fn whatsapp(&self, client: ClientId) -> Result<WhatsApp, QueryError> {
        Ok(self.state.lock().tenant(client).whatsapp.clone())
    }

    async fn day(&self, client: ClientId) -> Result<Option<(String, String)>, QueryError> {
        Ok(self.state.lock().tenant(client).day.clone())
    }

    async fn bulk(&self, client: ClientId, id: BulkId) -> Result<Option<Bulk>, QueryError> {
        Ok(self.state.lock().bulk(client, id).map(|bulk| Bulk::clone(&bulk)))
    }

    async fn conversations_of_contacts(
        &self,
        client: ClientId,
        hashes: Vec<IdentityHash>,
    ) -> Result<Vec<Option<Conversation>>, QueryError> {
        let ids = View::identities(self, client, hashes).await?;
        let mut state = self.state.lock();
        let mut of = |id: Option<ConversationId>| {
            state.conversation(client, id?).map(|found| Conversation::clone(&found))
        };
        Ok(ids.into_iter().map(&mut of).collect())
    }
}

/// A log, and any number of instances over it.
pub struct World {
    pub log: Arc<dyn EventLog>,
    pub clock: Arc<ManualClock>,
}

impl Default for World {
    fn default() -> Self {
        Self { log: Arc::new(MemoryLog::default()), clock: Arc::new(ManualClock::at(NOW)) }
    }
}

impl World {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn instance(&self) -> (Arc<Commands>, Arc<FoldView>) {
        let view = FoldView::follow(Arc::clone(&self.log));
        let commands = Commands::over(
            Arc::clone(&self.log),
            Arc::clone(&view) as Arc<dyn View>,
            Arc::clone(&self.clock) as Arc<dyn Clock>,
        );
        (Arc::new(commands), view)
    }

    pub async fn records(&self) -> Vec<Record> {
        self.log.read(Position::START, usize::MAX).await.expect("reads")
    }

    pub async fn events(&self) -> Vec<EventData> {
        self.records().await.iter().map(|record| record.event.data.clone()).collect()
    }

    /// The state that the log folds to.
    pub async fn folded(&self) -> MemoryState {
        let mut state = MemoryState::default();
        for record in self.records().await {
            fold(&mut state, &record.event);
        }
        state
    }
}

pub fn actor() -> Actor {
    Actor("user:ann".to_owned())
}
