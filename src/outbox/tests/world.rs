//! Outboxes over one log in memory, which may be told to fail, and a view that folds it. Time is
//! the runtime's, which tests pause.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::{sync::watch, task::AbortHandle, time::Instant};
use uuid::Uuid;

use super::{
    super::{
        Deps, MediaAtProvider, OutboxSettings, Signals,
        membership::{InstanceId, Membership},
        view::View,
    },
    provider::Provider,
};
use crate::{
    command::{
        Commands,
        testing::{CLIENT, FoldView, NOW},
    },
    domain::{
        conversation::Contact,
        event::{Event, EventData, QueuedMessage},
        fold::fold,
        ids::{BulkId, ClientId, ConversationId, EventId, MessageId, Position},
        message::{Direction, Media, Message, MessageKind, MessageStatus, Sender},
        state::{MemoryState, State},
        time::Timestamp,
    },
    event_log::{
        Append, AppendError, Appended, EventLog, Expected, LogError, Record, Revision,
        StoreIdentity, StreamName, Tail, memory::MemoryLog,
    },
    gateway::outbound::{Account, Line, Lines, MediaSource, SendError},
    projection::{
        outbox_rows::{NewestInbound, QueuedRow, ToSend},
        queries::QueryError,
    },
    runtime::{clock::Clock, secret::Secret, shutdown::Shutdown},
};

/// The runtime's time, from a day in 2026 on.
pub struct RuntimeClock(Instant);

impl Clock for RuntimeClock {
    fn now(&self) -> Timestamp {
        NOW.plus_ms(self.0.elapsed().as_millis() as i64)
    }
}

/// A log that is late, unsure or unavailable now and then.
pub struct FaultyLog {
    inner: MemoryLog,
    random: Mutex<SmallRng>,
    /// Of a hundred appends, how many meet a fault.
    pub faults: Mutex<u32>,
}

impl FaultyLog {
    fn new(seed: u64) -> Self {
        let random = Mutex::new(SmallRng::seed_from_u64(seed));
        Self { inner: MemoryLog::default(), random, faults: Mutex::new(0) }
    }

    fn draw(&self, below: u32) -> u32 {
        self.random.lock().random_range(0..below)
    }
}

#[async_trait]
impl EventLog for FaultyLog {
    fn identity(&self) -> &StoreIdentity {
        self.inner.identity()
    }

    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Appended>, AppendError> {
        tokio::time::sleep(Duration::from_millis(u64::from(self.draw(5)))).await;
        let faults = *self.faults.lock();
        if self.draw(100) >= faults {
            let appended = self.inner.append(batch).await;
            tokio::time::sleep(Duration::from_millis(u64::from(self.draw(5)))).await;
            return appended;
        }
        let unknown = || AppendError::Unknown { reason: "the test's log is slow".to_owned() };
        match self.draw(4) {
            0 => Err(AppendError::Unavailable { reason: "the test's log is full".to_owned() }),
            1 => Err(unknown()),
            2 => {
                self.inner.append(batch).await?;
                Err(unknown())
            }
            // A backend without transactions: a part of it is stored.
            _ => {
                for (index, entry) in batch.into_iter().enumerate() {
                    if self.draw(3) == 0 {
                        return Err(match self.draw(2) {
                            0 => unknown(),
                            _ => AppendError::Conflict { index, actual: None },
                        });
                    }
                    self.inner.append(vec![entry]).await.map_err(|error| match error {
                        AppendError::Conflict { actual, .. } => {
                            AppendError::Conflict { index, actual }
                        }
                        other => other,
                    })?;
                }
                Err(unknown())
            }
        }
    }

    async fn read(&self, after: Position, limit: usize) -> Result<Vec<Record>, LogError> {
        self.inner.read(after, limit).await
    }

    fn tail(&self, after: Position) -> BoxStream<'static, Result<Tail, LogError>> {
        self.inner.tail(after)
    }

    async fn read_stream(
        &self,
        stream: &StreamName,
        after: Option<Revision>,
        limit: usize,
    ) -> Result<Vec<Record>, LogError> {
        if self.draw(400) < *self.faults.lock() {
            return Err(LogError::Unavailable { reason: "the test's log is away".to_owned() });
        }
        self.inner.read_stream(stream, after, limit).await
    }

    async fn delete_stream(&self, stream: &StreamName) -> Result<(), LogError> {
        self.inner.delete_stream(stream).await
    }

    async fn head(&self) -> Result<Position, LogError> {
        self.inner.head().await
    }

    async fn health(&self) -> Result<(), LogError> {
        self.inner.health().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

/// Every tenant has the same provider.
struct OneProvider(Arc<Provider>);

impl Lines for OneProvider {
    fn of(&self, _: ClientId) -> Option<Line> {
        let account = Account::WhatsAppCloud {
            phone_number_id: "1".to_owned(),
            waba_id: None,
            access_token: Secret::new("token".to_owned()),
        };
        Some(Line { account, provider: self.0.clone() })
    }
}

struct NoMedia;

#[async_trait]
impl MediaAtProvider for NoMedia {
    async fn at_provider(
        &self,
        _: ClientId,
        _: &Line,
        _: &Media,
    ) -> Result<MediaSource, SendError> {
        Err(SendError::InDoubt { reason: "the test keeps no media".to_owned() })
    }
}

/// An instance that holds itself to be the one that sends, whatever others do.
struct Stubborn {
    me: InstanceId,
    live: watch::Sender<Arc<[InstanceId]>>,
    alone: bool,
}

impl Membership for Stubborn {
    fn me(&self) -> InstanceId {
        self.me
    }
    fn live(&self) -> watch::Receiver<Arc<[InstanceId]>> {
        self.live.subscribe()
    }
    fn alone(&self) -> bool {
        self.alone
    }
}

#[async_trait]
impl View for FoldView {
    fn projected(&self) -> watch::Receiver<Position> {
        crate::command::view::View::projected(self)
    }

    async fn tenants_with_queued(&self) -> Result<Vec<ClientId>, QueryError> {
        let state = self.state();
        let queued = |message: &&Arc<Message>| message.status == MessageStatus::Queued;
        let mut clients: Vec<_> =
            state.messages.values().filter(queued).map(|message| message.client_id).collect();
        clients.sort_unstable();
        clients.dedup();
        Ok(clients)
    }

    async fn queued(
        &self,
        client: ClientId,
        after: i64,
        limit: usize,
    ) -> Result<Vec<QueuedRow>, QueryError> {
        let state = self.state();
        let mut all: Vec<_> =
            state.messages.values().filter(|message| message.client_id == client).collect();
        all.sort_unstable_by_key(|message| (message.created_at, message.id));
        let rows = (1..).zip(all).filter(|(_, message)| message.status == MessageStatus::Queued);
        let row = |(row, message): (i64, &Arc<Message>)| QueuedRow {
            row,
            message: message.id,
            conversation: message.conversation_id,
            bulk_id: message.bulk_id,
            send_started: message.send_started,
            in_doubt: message.error.is_some(),
        };
        Ok(rows.filter(|(row, _)| *row > after).take(limit).map(row).collect())
    }

    async fn to_send(
        &self,
        client: ClientId,
        messages: Vec<MessageId>,
    ) -> Result<Vec<Option<ToSend>>, QueryError> {
        let mut state = self.state();
        let find = |id: MessageId| {
            let message = Message::clone(&*state.message(client, id)?);
            let conversation = state.conversation(client, message.conversation_id)?;
            let contact = conversation.contact.clone();
            Some(ToSend { reply_to: message.reply_to.clone(), message, contact })
        };
        Ok(messages.into_iter().map(find).collect())
    }

    async fn merged_into(
        &self,
        client: ClientId,
        into: ConversationId,
    ) -> Result<Vec<ConversationId>, QueryError> {
        let state = self.state();
        let merged = state.conversations.values().filter(|conversation| {
            conversation.client_id == client && conversation.merged_into == Some(into)
        });
        Ok(merged.map(|conversation| conversation.id).collect())
    }

    async fn newest_inbound(
        &self,
        client: ClientId,
        conversation: ConversationId,
    ) -> Result<Option<NewestInbound>, QueryError> {
        let mut state = self.state();
        let Some(found) = state.conversation(client, conversation) else { return Ok(None) };
        let inbound = state.messages.values().filter(|message| {
            message.conversation_id == conversation && message.direction == Direction::Inbound
        });
        let newest = inbound.max_by_key(|message| message.timestamp);
        let wa_message_id = newest.and_then(|message| message.wa_message_id.clone());
        Ok(Some(NewestInbound { contact: found.contact.clone(), wa_message_id }))
    }
}

/// One log, and whoever works on it.
pub struct World {
    pub log: Arc<FaultyLog>,
    pub clock: Arc<RuntimeClock>,
    pub settings: OutboxSettings,
    next: Mutex<u128>,
}

/// A running outbox.
pub struct Running {
    pub signals: Signals,
    pub shutdown: Shutdown,
    tasks: Vec<AbortHandle>,
}

impl Running {
    /// As a process that is killed: whatever was under way ends where it is.
    pub fn crash(self) {
        for task in self.tasks {
            task.abort();
        }
    }

    /// As a process that is told to end.
    pub async fn stop(self) {
        self.shutdown.draining.cancel();
        self.shutdown.tasks.close();
        self.shutdown.tasks.wait().await;
    }
}

impl World {
    pub fn new(seed: u64) -> Self {
        let settings = OutboxSettings {
            messages_per_second: 1000,
            messages_burst: 1000,
            call_timeout_ms: 2000,
            doubt_after_ms: 10_000,
            retry_for_s: 100_000,
            attempts_max: 1000,
            refused_pause_s: 1,
            ..OutboxSettings::default()
        };
        Self {
            log: Arc::new(FaultyLog::new(seed)),
            clock: Arc::new(RuntimeClock(Instant::now())),
            settings,
            next: Mutex::new(1),
        }
    }

    pub fn start(&self, provider: &Arc<Provider>, alone: bool) -> Running {
        let log: Arc<dyn EventLog> = self.log.clone();
        let view = FoldView::follow(log.clone());
        let clock: Arc<dyn Clock> = self.clock.clone();
        let commands = Arc::new(Commands::over(log.clone(), view.clone(), clock.clone()));
        let me = InstanceId(Uuid::now_v7());
        let live = watch::Sender::new(Arc::from([me]));
        let deps = Deps {
            log,
            commands,
            view,
            lines: Arc::new(OneProvider(provider.clone())),
            media: Arc::new(NoMedia),
            membership: Arc::new(Stubborn { me, live, alone }),
            clock,
            rates: Arc::new(|_| None),
            settings: self.settings.clone(),
        };
        let shutdown = Shutdown::new();
        let (signals, tasks) = super::super::spawn(deps, &shutdown);
        let tasks = tasks.iter().map(tokio::task::JoinHandle::abort_handle).collect();
        Running { signals, shutdown, tasks }
    }

    /// Appends as others do, who are not troubled by the log.
    pub async fn append(&self, stream: StreamName, data: EventData) {
        let event = Event {
            id: EventId(Uuid::now_v7()),
            client_id: stream.client_id().expect("a tenant's"),
            time: self.clock.now(),
            actor: "test".to_owned(),
            causation: None,
            data,
        };
        let entry = Append { stream, expected: Expected::Any, events: vec![event] };
        self.log.inner.append(vec![entry]).await.expect("appends");
    }

    pub async fn open(&self, conversation: u32) {
        let conversation_id = ConversationId(conversation);
        let contact = Contact { phone: Some(format!("+34{conversation}")), ..Contact::default() };
        let data = EventData::ConversationOpened { conversation_id, contact };
        self.append(StreamName::Conversation(CLIENT, conversation_id), data).await;
    }

    /// Queues a message; its text is its number, counted up.
    pub async fn queue(&self, conversation: u32, bulk: Option<u128>) -> MessageId {
        let number = {
            let mut next = self.next.lock();
            *next += 1;
            *next
        };
        let message_id = MessageId(Uuid::from_u128(number));
        let conversation_id = ConversationId(conversation);
        let data = EventData::MessageQueued(QueuedMessage {
            conversation_id,
            message_id,
            sender: if bulk.is_some() { Sender::Bulk } else { Sender::Agent },
            kind: MessageKind::Text,
            text: Some(format!("{number:09}")),
            media: None,
            payload: None,
            reply_to: None,
            client_ref: None,
            bulk_id: bulk.map(|id| BulkId(Uuid::from_u128(id))),
        });
        self.append(StreamName::Conversation(CLIENT, conversation_id), data).await;
        message_id
    }

    pub async fn records(&self) -> Vec<Record> {
        self.log.inner.read(Position::START, usize::MAX).await.expect("reads")
    }

    pub async fn state(&self) -> MemoryState {
        let mut state = MemoryState::default();
        for record in self.records().await {
            fold(&mut state, &record.event);
        }
        state
    }

    pub async fn message(&self, id: MessageId) -> Message {
        let found = self.state().await.message(CLIENT, id);
        Message::clone(&found.expect("the message is there"))
    }

    /// Waits until no message is waiting or under way: each has an outcome or is in doubt.
    pub async fn until_quiet(&self) -> HashMap<MessageId, Message> {
        for _ in 0..100_000 {
            tokio::time::sleep(Duration::from_millis(250)).await;
            let state = self.state().await;
            let open = state
                .messages
                .values()
                .any(|message| message.status == MessageStatus::Queued && message.error.is_none());
            if !open {
                let messages = state.messages.values();
                return messages.map(|it| (it.id, Message::clone(it))).collect();
            }
        }
        panic!("something waits for ever");
    }
}
