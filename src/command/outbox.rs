//! What the outbox appends: claims before it calls a provider, outcomes afterwards, and that a
//! number is refused. Groups of messages share one append, and so one fsync.
//!
//! **Invariant:** a claim is appended at the revision of the conversation's stream at which the
//! message was seen to be unclaimed. So of all who race for it one wins, on any backend: a group
//! that failed may have stored entries before the one that failed, which whoever asked finds by
//! the ids of the events.

use super::{CommandError, Commands, conversation_stream, intake::state_changed};
use crate::{
    domain::{
        event::{Event, EventData, StatusChange},
        ids::{BulkId, ClientId, ConversationId, EventId, MessageId},
        message::ProviderError,
        whatsapp::{WhatsAppStatus, WhatsAppTold},
    },
    event_log::{Append, AppendError, Appended, Expected, Revision, StreamName},
};

/// As whom the outbox is recorded.
const ACTOR: &str = "system";

/// A message to be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    pub client: ClientId,
    /// In whose stream the message was queued.
    pub conversation: ConversationId,
    pub message: MessageId,
    /// The id that the claim's event gets, by which it is known as ours.
    pub event: EventId,
    pub expected: Revision,
}

/// What became of a claimed message.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The provider took it and calls it so.
    Sent {
        wa_message_id: String,
        dedupe_key: String,
    },
    Failed {
        error: ProviderError,
    },
    /// Surely not sent, and to be tried again.
    Released {
        bulk_id: Option<BulkId>,
        /// The claim that is given back.
        claim: EventId,
    },
    /// Nobody knows.
    Doubted,
}

/// A claimed message and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    pub client: ClientId,
    pub conversation: ConversationId,
    pub message: MessageId,
    pub outcome: Outcome,
}

impl Commands {
    /// Claims all of these messages in one append; answers the place of each claim.
    pub async fn claim(&self, claims: &[Claim]) -> Result<Vec<Appended>, AppendError> {
        let entry = |claim: &Claim| Append {
            stream: conversation_stream(claim.client, claim.conversation),
            expected: Expected::Revision(claim.expected),
            events: vec![Event {
                id: claim.event,
                ..self.core.event(
                    claim.client,
                    ACTOR,
                    EventData::SendStarted {
                        conversation_id: claim.conversation,
                        message_id: claim.message,
                    },
                )
            }],
        };
        self.core.log.append(claims.iter().map(entry).collect()).await
    }

    /// Stores what became of claimed messages; answers the place of each.
    pub async fn settle(&self, settled: &[Settled]) -> Result<Vec<Appended>, AppendError> {
        let entry = |settled: &Settled| Append {
            stream: conversation_stream(settled.client, settled.conversation),
            expected: Expected::Any,
            events: vec![self.core.event(settled.client, ACTOR, self.outcome_event(settled))],
        };
        let recent = self.recent.load_full();
        let appended = self.core.log.append(settled.iter().map(entry).collect()).await?;
        for settled in settled {
            if let Outcome::Sent { dedupe_key, .. } = &settled.outcome {
                // Its statuses find the conversation, and its echo is known, without a query.
                let key = self.message_key(settled.client, dedupe_key);
                recent.remember(key, settled.conversation);
            }
        }
        Ok(appended)
    }

    fn outcome_event(&self, settled: &Settled) -> EventData {
        let Settled { conversation: conversation_id, message: message_id, .. } = *settled;
        let change = StatusChange {
            conversation_id,
            message_id: Some(message_id),
            dedupe_key: None,
            wa_message_id: None,
            at: self.core.clock.now(),
            error: None,
        };
        match &settled.outcome {
            Outcome::Sent { wa_message_id, dedupe_key } => EventData::MessageSent(StatusChange {
                dedupe_key: Some(dedupe_key.clone()),
                wa_message_id: Some(wa_message_id.clone()),
                ..change
            }),
            Outcome::Failed { error } => {
                EventData::MessageFailed(StatusChange { error: Some(error.clone()), ..change })
            }
            Outcome::Released { bulk_id, claim } => EventData::SendReleased {
                conversation_id,
                message_id,
                bulk_id: *bulk_id,
                claim: Some(*claim),
            },
            Outcome::Doubted => EventData::SendDoubted { conversation_id, message_id },
        }
    }

    /// Says that the provider refuses the tenant's number, and why.
    pub async fn number_refused(
        &self,
        client: ClientId,
        error: &ProviderError,
    ) -> Result<(), CommandError> {
        let reason = match error.detail.as_str() {
            "" => format!("{} ({})", error.title, error.code),
            detail => format!("{}: {detail} ({})", error.title, error.code),
        };
        self.tell_number(client, WhatsAppStatus::Error, Some(reason)).await
    }

    /// Says that the number, which was refused, is taken again.
    pub async fn number_taken(&self, client: ClientId) -> Result<(), CommandError> {
        self.core.come_up().await?;
        let known = self.core.view.whatsapp(client).await?;
        if known.status == WhatsAppStatus::Error {
            self.tell_number(client, WhatsAppStatus::Connected, None).await?;
        }
        Ok(())
    }

    async fn tell_number(
        &self,
        client: ClientId,
        status: WhatsAppStatus,
        reason: Option<String>,
    ) -> Result<(), CommandError> {
        self.core.come_up().await?;
        let known = self.core.view.whatsapp(client).await?;
        let told = WhatsAppTold { status: Some(status), reason, ..WhatsAppTold::default() };
        let next = known.told_by_gateway(told, self.core.clock.now());
        if next.is_as(&known) {
            return Ok(());
        }
        let event = self.core.event(client, ACTOR, state_changed(next, None));
        let stream = StreamName::Tenant(client);
        let entry = Append { stream, expected: Expected::Any, events: vec![event] };
        self.core.log.append(vec![entry]).await?;
        Ok(())
    }
}
