//! What a fold of the log alone says that the feed and the read model must hold.

use std::collections::{BTreeMap, HashMap};

use condorito::{
    domain::{
        fold::fold,
        ids::{ClientId, ConversationId},
        public::PublicEvent,
        state::{MemoryState, State},
    },
    event_log::Record,
    projection::{
        encode::{self, Envelope},
        queries::Queries,
        to_wire,
    },
    wire::{cursor::Cursor, event_type::EventType, types::Snapshot},
};

use super::CLIENTS;

/// A public event as it must be wherever it is delivered.
#[derive(Debug)]
pub(super) struct Expected {
    pub event_type: EventType,
    /// What a later state event of this type supersedes.
    pub key: u128,
    pub conversation: Option<ConversationId>,
    pub json: Vec<u8>,
}

pub(super) type Feed = BTreeMap<Cursor, Expected>;

pub(super) struct Expectation {
    feeds: HashMap<ClientId, Feed>,
    state: MemoryState,
}

impl Expectation {
    pub(super) fn of(records: &[Record], epoch: &str) -> Self {
        let mut state = MemoryState::default();
        let mut feeds: HashMap<ClientId, Feed> =
            CLIENTS.into_iter().map(|client| (client, Feed::new())).collect();
        for record in records {
            let client = record.event.client_id;
            let public = fold(&mut state, &record.event);
            let feed = feeds.entry(client).or_default();
            for (ordinal, event) in (0..).zip(&public) {
                let cursor = Cursor { position: record.position, ordinal };
                let envelope = Envelope { epoch, cursor, time: record.event.time };
                feed.insert(cursor, expected(&mut state, client, envelope, event));
            }
        }
        Self { feeds, state }
    }

    pub(super) fn feed(&self, client: ClientId) -> &Feed {
        &self.feeds[&client]
    }

    /// The read model holds what the fold holds in memory.
    pub(super) async fn check_read_model(&self, queries: &Queries) {
        for client in CLIENTS {
            let tenant = self.state.tenants.get(&client).cloned().unwrap_or_default();
            assert_eq!(queries.stats(client).await.expect("stats"), tenant.stats);
            assert_eq!(queries.bot(client).await.expect("bot"), tenant.bot);
            assert_eq!(queries.whatsapp(client).await.expect("whatsapp"), tenant.whatsapp);
            assert_eq!(queries.day(client).await.expect("day"), tenant.day);
        }
        for ((client, id), conversation) in &self.state.conversations {
            let mut lives_on = conversation;
            while let Some(into) = lives_on.merged_into {
                match self.state.conversations.get(&(*client, into)) {
                    Some(next) => lives_on = next,
                    None => break,
                }
            }
            let found = queries.conversation(*client, *id).await.expect("a conversation");
            if lives_on.merged_into.is_none() {
                assert_eq!(found.as_ref(), Some(&**lives_on));
            }
        }
        for ((client, id), message) in &self.state.messages {
            let found = queries.message(*client, *id).await.expect("a message");
            assert_eq!(found.as_ref(), Some(&**message));
        }
        for ((client, id), bulk) in &self.state.bulks {
            let found = queries.bulk(*client, *id).await.expect("a bulk");
            assert_eq!(found.as_ref(), Some(&**bulk));
        }
    }
}

/// The snapshot holds what the log says up to its cursor, and nothing of later.
pub(super) fn check_snapshot(
    records: &[Record],
    epoch: &str,
    client: ClientId,
    snapshot: &Snapshot,
) {
    let cursor = Cursor::parse(&snapshot.cursor, epoch).expect("a cursor of this store");
    let upto = records.partition_point(|record| record.position <= cursor.position);
    let then = Expectation::of(&records[..upto], epoch);
    let last = then.feed(client).last_key_value().map(|(last, _)| *last);
    assert!(last.is_none_or(|last| last <= cursor), "{last:?} is in the snapshot of {cursor:?}");
    let tenant = then.state.tenants.get(&client).cloned().unwrap_or_default();
    assert_eq!(snapshot.stats, to_wire::stats(&tenant.stats));
    assert_eq!(snapshot.bot_status, to_wire::bot(&tenant.bot));
    assert_eq!(snapshot.whatsapp_state, to_wire::whatsapp(&tenant.whatsapp));
    let listed = then.state.conversations.values().filter(|conversation| {
        conversation.client_id == client && conversation.merged_into.is_none()
    });
    let mut listed: Vec<_> =
        listed.map(|conversation| to_wire::conversation(conversation)).collect();
    let mut shown = snapshot.conversations.clone();
    listed.sort_by_key(|conversation| conversation.id);
    shown.sort_by_key(|conversation| conversation.id);
    assert_eq!(shown, listed);
    let mut bulks: Vec<_> = then.state.bulks.values().collect();
    bulks.retain(|bulk| bulk.client_id == client);
    bulks.sort_by_key(|bulk| std::cmp::Reverse(bulk.id));
    let bulks: Vec<_> = bulks.into_iter().map(|bulk| to_wire::bulk(bulk)).collect();
    assert_eq!(snapshot.bulks, bulks);
}

fn expected(
    state: &mut MemoryState,
    client: ClientId,
    envelope: Envelope<'_>,
    event: &PublicEvent,
) -> Expected {
    let mut json = Vec::new();
    let tenant = state.tenant(client);
    let (event_type, conversation) = match event {
        PublicEvent::NewMessage { conversation, .. } => {
            encode::fact(&mut json, envelope, event);
            (EventType::NewMessage, Some(conversation.id))
        }
        PublicEvent::MessageStatusUpdated { conversation_id, .. } => {
            encode::fact(&mut json, envelope, event);
            (EventType::MessageStatusUpdated, Some(*conversation_id))
        }
        PublicEvent::ConversationUpdated { conversation } => {
            encode::conversation_updated(&mut json, envelope, conversation);
            (EventType::ConversationUpdated, Some(conversation.id))
        }
        PublicEvent::StatsUpdated => {
            encode::stats_updated(&mut json, envelope, &tenant.stats);
            (EventType::StatsUpdated, None)
        }
        PublicEvent::BotStatusChanged => {
            encode::bot_status_changed(&mut json, envelope, &tenant.bot);
            (EventType::BotStatusChanged, None)
        }
        PublicEvent::WhatsappStatusChanged => {
            encode::whatsapp_status_changed(&mut json, envelope, &tenant.whatsapp);
            (EventType::WhatsappStatusChanged, None)
        }
        PublicEvent::BulkMessageProgress { bulk_id, sent, total, current } => {
            let (bulk_id, sent) = (*bulk_id, *sent);
            let progress = encode::BulkProgress { bulk_id, sent, total: *total, current: *current };
            encode::bulk_message_progress(&mut json, envelope, &progress);
            let key = bulk_id.0.as_u128();
            let event_type = EventType::BulkMessageProgress;
            return Expected { event_type, key, conversation: None, json };
        }
        PublicEvent::BulkMessageCompleted { .. } => {
            encode::fact(&mut json, envelope, event);
            (EventType::BulkMessageCompleted, None)
        }
        PublicEvent::BulkMessageError { .. } => {
            encode::fact(&mut json, envelope, event);
            (EventType::BulkMessageError, None)
        }
    };
    let key = conversation.map_or(0, |id| id.0.into());
    Expected { event_type, key, conversation, json }
}
