//! From the log to the lanes: what is queued, claimed, settled and released, and how far each
//! conversation's stream has come.

use tokio::time::Instant;

use super::{
    engine::Engine,
    lane::{Class, Waiting},
};
use crate::{
    domain::{
        event::EventData,
        ids::{BulkId, ClientId, ConversationId, MessageId, Position},
        whatsapp::WhatsAppStatus,
    },
    event_log::{Record, StreamName, Tail},
};

impl Engine {
    pub(super) fn follow(&mut self, next: Tail) {
        let Tail::Records(records) = next else {
            if !self.live {
                self.live = true;
                tracing::info!(waiting = self.waiting, "the outbox has caught up and sends");
                self.begin();
            }
            return;
        };
        let mut touched: Vec<ClientId> = Vec::new();
        for record in records.iter() {
            self.seen = record.position;
            if let Some(client) = self.follow_one(record)
                && !touched.contains(&client)
            {
                touched.push(client);
            }
        }
        for client in touched {
            self.pump(client);
        }
    }

    /// Answers the tenant for whom something may have changed.
    fn follow_one(&mut self, record: &Record) -> Option<ClientId> {
        let (client, conversation) = match &record.stream {
            StreamName::Conversation(client, conversation) => (*client, *conversation),
            StreamName::Tenant(client) => return self.follow_tenant(*client, record),
            _ => return None,
        };
        match &record.event.data {
            EventData::MessageQueued(queued) => {
                let (message, bulk_id) = (queued.message_id, queued.bulk_id);
                self.queued(client, conversation, message, bulk_id, record.position);
            }
            EventData::SendStarted { message_id, .. } => {
                self.claimed(client, conversation, *message_id);
            }
            EventData::SendReleased { message_id, bulk_id, .. } => {
                self.released(client, conversation, *message_id, *bulk_id, record.position);
            }
            EventData::SendDoubted { message_id, .. } => {
                self.told_of(client, conversation, *message_id);
            }
            EventData::MessageSent(change)
            | EventData::MessageDelivered(change)
            | EventData::MessageRead(change)
            | EventData::MessageFailed(change) => {
                if let Some(message) = change.message_id {
                    self.told_of(client, conversation, message);
                }
            }
            EventData::ConversationRead { .. } if self.live && self.is_ours(client) => {
                self.shared.signals.read(client, conversation);
            }
            _ => {}
        }
        let line = self.lines.get_mut(&client)?;
        line.lane.followed(conversation, record.revision);
        self.goes_on(client, conversation);
        Some(client)
    }

    fn queued(
        &mut self,
        client: ClientId,
        conversation: ConversationId,
        message: MessageId,
        bulk_id: Option<BulkId>,
        position: Position,
    ) {
        let full = self.waiting >= self.shared.settings.waiting_max;
        let line = self.lines.entry(client).or_default();
        if full || line.lane.overflowed {
            // The read model has it; it is fetched when there is room.
            line.lane.overflowed = true;
            return;
        }
        let waiting = Waiting {
            message,
            class: Class::of(bulk_id),
            followed: true,
            queued_at: position,
            attempts: 0,
            generation: line.lane.generation,
        };
        line.lane.add(conversation, waiting, Instant::now());
        self.waiting += 1;
    }

    /// By us, which is known then, or by another, who has to come to an outcome.
    fn claimed(&mut self, client: ClientId, conversation: ConversationId, message: MessageId) {
        let now = Instant::now();
        let due = now + self.shared.settings.doubt_after();
        let line = self.lines.entry(client).or_default();
        if !line.lane.told_of(conversation, message, now) {
            line.claims.add(conversation, message, due);
        }
    }

    /// By a person, or by another instance that tries again later: whoever sends for the tenant
    /// may claim it. Its place is behind those that wait already.
    fn released(
        &mut self,
        client: ClientId,
        conversation: ConversationId,
        message: MessageId,
        bulk_id: Option<BulkId>,
        position: Position,
    ) {
        let line = self.lines.entry(client).or_default();
        line.claims.remove(message);
        let waiting = Waiting {
            message,
            class: Class::of(bulk_id),
            followed: false,
            queued_at: position,
            attempts: 0,
            generation: line.lane.generation,
        };
        line.lane.add(conversation, waiting, Instant::now());
    }

    fn told_of(&mut self, client: ClientId, conversation: ConversationId, message: MessageId) {
        let Some(line) = self.lines.get_mut(&client) else { return };
        line.claims.remove(message);
        line.lane.told_of(conversation, message, Instant::now());
    }

    /// Somebody says that the number is connected: it is tried at once.
    fn follow_tenant(&mut self, client: ClientId, record: &Record) -> Option<ClientId> {
        let EventData::WhatsappStateChanged { status: WhatsAppStatus::Connected, .. } =
            &record.event.data
        else {
            return None;
        };
        self.lines.get_mut(&client)?.lane.health.mended();
        Some(client)
    }
}
