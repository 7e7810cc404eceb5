//! Given events, when one more comes, then this holds.
//!
//! After every event that a test folds, [`World`] checks what must always hold: the counters
//! equal a recount, and what a client can see changed only together with a public event that
//! carries the new content.

mod amendment;
mod bulk;
mod conversation;
mod erasure;
mod events;
mod media;
mod merge;
mod message;
mod nonsense;
mod properties;
mod sending;
mod status;
mod tenant;

use std::{collections::HashMap, sync::Arc};

use uuid::Uuid;

use super::fold;
use crate::domain::{
    conversation::Conversation,
    event::{Event, EventData},
    ids::{ClientId, ConversationId, EventId, MessageId},
    message::Message,
    public::PublicEvent,
    state::{MemoryState, State, Tenant},
    stats::{ConversationCounts, Counts, Share},
    time::Timestamp,
};

const TENANT: ClientId = ClientId(1);
/// When the tests begin: a Tuesday's noon.
const NOON: Timestamp = Timestamp(1_795_521_600_000);
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// A state with the clock of who appends to its log.
struct World {
    state: MemoryState,
    now: Timestamp,
    actor: &'static str,
}

impl World {
    fn new() -> Self {
        Self { state: MemoryState::default(), now: NOON, actor: "ingest:bridge" }
    }

    /// The state after these events, a second apart.
    fn given(events: impl IntoIterator<Item = EventData>) -> Self {
        let mut world = Self::new();
        for data in events {
            world.when(data);
            world.now = world.now.plus_ms(1000);
        }
        world
    }

    /// Folds one more event, and says what the public hears of it.
    fn when(&mut self, data: EventData) -> Vec<PublicEvent> {
        let event = event_of(TENANT, self.now, self.actor, data);
        fold_checked(&mut self.state, &event)
    }

    /// As [`when`](Self::when), in words.
    fn hears(&mut self, data: EventData) -> Vec<String> {
        self.when(data).iter().map(words).collect()
    }

    /// Folds an event that must neither change nor publish anything.
    #[track_caller]
    fn unmoved_by(&mut self, data: EventData) {
        let before = snapshot(&self.state);
        assert_eq!(self.when(data), []);
        assert_eq!(self.state, before);
    }

    fn after_ms(&mut self, milliseconds: i64) -> &mut Self {
        self.now = self.now.plus_ms(milliseconds);
        self
    }

    #[track_caller]
    fn message(&self, number: u128) -> &Message {
        &self.state.messages[&(TENANT, message_id(number))]
    }

    #[track_caller]
    fn conversation(&self, id: u32) -> &Conversation {
        &self.state.conversations[&(TENANT, ConversationId(id))]
    }

    fn tenant(&mut self) -> &mut Tenant {
        self.state.tenant(TENANT)
    }

    /// `received, sent, delivered, read, failed`, all of the time.
    fn totals(&mut self) -> [i64; 5] {
        numbers(self.tenant().stats.totals)
    }

    fn today(&mut self) -> [i64; 5] {
        numbers(self.tenant().stats.today)
    }
}

fn event_of(client_id: ClientId, time: Timestamp, actor: &str, data: EventData) -> Event {
    Event {
        id: EventId(Uuid::nil()),
        client_id,
        time,
        actor: actor.to_owned(),
        causation: None,
        data,
    }
}

fn message_id(number: u128) -> MessageId {
    MessageId(Uuid::from_u128(number))
}

fn numbers(counts: Counts) -> [i64; 5] {
    [counts.received, counts.sent, counts.delivered, counts.read, counts.failed]
}

/// A public event in a few words.
fn words(event: &PublicEvent) -> String {
    match event {
        PublicEvent::NewMessage { message, conversation } => {
            format!("new_message {} in {}", message.id.0.as_u128(), conversation.id)
        }
        PublicEvent::MessageStatusUpdated { message_id, status, error, .. } => {
            let error = error.as_ref().map(|error| format!(" {}", error.code)).unwrap_or_default();
            format!("status {} {status:?}{error}", message_id.0.as_u128())
        }
        PublicEvent::ConversationUpdated { conversation } => {
            format!("conversation {}", conversation.id)
        }
        PublicEvent::StatsUpdated => "stats".to_owned(),
        PublicEvent::BotStatusChanged => "bot".to_owned(),
        PublicEvent::WhatsappStatusChanged => "whatsapp".to_owned(),
        PublicEvent::BulkMessageProgress { sent, total, current, .. } => {
            let current = current.map(|id| format!(" {id}")).unwrap_or_default();
            format!("progress {sent}/{total}{current}")
        }
        PublicEvent::BulkMessageCompleted { success_count, error_count, .. } => {
            format!("completed {success_count}+{error_count}")
        }
        PublicEvent::BulkMessageError { error, .. } => format!("error {error}"),
    }
}

fn snapshot(state: &MemoryState) -> MemoryState {
    MemoryState {
        tenants: state.tenants.clone(),
        setups: state.setups.clone(),
        conversations: state.conversations.clone(),
        messages: state.messages.clone(),
        message_keys: state.message_keys.clone(),
        waiting: state.waiting.clone(),
        hours: state.hours.clone(),
        identities: state.identities.clone(),
        answers: state.answers.clone(),
        bulks: state.bulks.clone(),
        bulk_parts: state.bulk_parts.clone(),
        bulk_recipients: state.bulk_recipients.clone(),
        erased: state.erased.clone(),
        erased_identities: state.erased_identities.clone(),
        erasing: state.erasing.clone(),
    }
}

/// Folds and checks what must hold after any event.
#[track_caller]
fn fold_checked(state: &mut MemoryState, event: &Event) -> Vec<PublicEvent> {
    let before = snapshot(state);
    let public = fold(state, event);
    check_recount(state);
    bulk::check_bulks(state);
    check_keys(state);
    check_published(&before, state, event.client_id, &public);
    public
}

/// The counters are what a recount of everything gives.
#[track_caller]
fn check_recount(state: &MemoryState) {
    let mut shares: HashMap<ClientId, Share> = HashMap::new();
    for message in state.messages.values() {
        let total = shares.entry(message.client_id).or_default();
        let share = Share::of(message);
        total.messages += share.messages;
        total.queued += share.queued;
        total.counts.add(share.counts);
    }
    let mut conversations: HashMap<ClientId, ConversationCounts> = HashMap::new();
    for conversation in state.conversations.values() {
        let counts = conversations.entry(conversation.client_id).or_default();
        counts.add(&ConversationCounts::of(conversation));
    }
    let mut hours: HashMap<ClientId, Counts> = HashMap::new();
    for ((client, _), counts) in &state.hours {
        hours.entry(*client).or_default().add(*counts);
    }
    for (client, tenant) in &state.tenants {
        let share = shares.remove(client).unwrap_or_default();
        assert_eq!(tenant.stats.total_messages, share.messages);
        assert_eq!(tenant.stats.queued, share.queued);
        assert_eq!(tenant.stats.totals, share.counts);
        assert_eq!(hours.remove(client).unwrap_or_default(), share.counts);
        let conversations = conversations.remove(client).unwrap_or_default();
        assert_eq!(tenant.stats.conversations, conversations);
    }
    assert!(shares.into_values().all(|share| share == Share::default()));
}

/// A key leads to the one message that has it.
#[track_caller]
fn check_keys(state: &MemoryState) {
    let with_key: HashMap<_, _> = state
        .messages
        .values()
        .filter_map(|message| {
            let key = message.dedupe_key.clone()?;
            Some(((message.client_id, key), message.id))
        })
        .collect();
    assert_eq!(with_key, state.message_keys);
    let keyed = state.messages.values().filter(|message| message.dedupe_key.is_some()).count();
    assert_eq!(keyed, state.message_keys.len(), "two messages have one key");
}

/// What a client can see changed if and only if it was told, and to what it was told. (An import
/// publishes its conversation in any case; the publication then is the change of `updated_at`.)
#[track_caller]
fn check_published(
    before: &MemoryState,
    after: &MemoryState,
    client: ClientId,
    public: &[PublicEvent],
) {
    let mut told: HashMap<ConversationId, &Arc<Conversation>> = HashMap::new();
    for event in public {
        let (PublicEvent::NewMessage { conversation, .. }
        | PublicEvent::ConversationUpdated { conversation }) = event
        else {
            continue;
        };
        told.insert(conversation.id, conversation);
    }
    for ((owner, id), now) in &after.conversations {
        let was = before.conversations.get(&(*owner, *id));
        let was_seen = was.map(|was| visible(was));
        let signpost = was.is_none() && now.merged_into.is_some();
        if was_seen != Some(visible(now)) && !signpost {
            assert!(told.contains_key(id) && *owner == client, "{id} changed untold");
        }
        if let Some(told) = told.get(id).filter(|_| *owner == client) {
            assert_eq!(*told, now);
        }
    }
    let was = before.tenants.get(&client).cloned().unwrap_or_default();
    let now = after.tenants.get(&client).cloned().unwrap_or_default();
    let heard = |what: &PublicEvent| public.iter().filter(|event| *event == what).count();
    assert_eq!(heard(&PublicEvent::StatsUpdated), usize::from(was.stats != now.stats));
    assert_eq!(heard(&PublicEvent::BotStatusChanged), usize::from(was.bot != now.bot));
    assert_eq!(
        heard(&PublicEvent::WhatsappStatusChanged),
        usize::from(!was.whatsapp.is_as(&now.whatsapp))
    );
    let stats_last = public.iter().position(|event| *event == PublicEvent::StatsUpdated);
    assert!(stats_last.is_none_or(|place| place == public.len() - 1), "{public:?}");
}

/// A conversation without what no client sees.
fn visible(conversation: &Conversation) -> Conversation {
    Conversation {
        contact_told_at: None,
        marketing: None,
        awaiting_response_since: None,
        person_answered_at: None,
        claimed: Vec::new(),
        merged_into: None,
        ..conversation.clone()
    }
}
