//! What a conversation's stream tells of one message: whether it may be claimed, and at which
//! revision.

use std::sync::Arc;

use super::view::View;
use crate::{
    domain::{
        event::EventData,
        ids::{ClientId, ConversationId, EventId, MessageId},
    },
    event_log::{EventLog, LogError, Record, Revision, StreamName},
    projection::queries::QueryError,
};

/// Events of a conversation that are read at once.
const STREAM_PAGE: usize = 512;

/// Why a stream could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Query(#[from] QueryError),
}

/// How a message stands in its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Not queued in this stream, as far as it was read.
    Absent,
    Unclaimed,
    /// Claimed by the event with this id.
    Claimed(EventId),
    /// Claimed, and in doubt.
    Doubted,
    /// Its outcome is known: whatever else is said does not count any more.
    Settled,
}

/// A message in its stream, as far as it was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub conversation: ConversationId,
    pub standing: Standing,
    /// Of the last event that was read.
    pub revision: Option<Revision>,
}

impl Look {
    /// A message that is known to be unclaimed up to here.
    pub fn unclaimed_at(conversation: ConversationId, revision: Revision) -> Self {
        Self { conversation, standing: Standing::Unclaimed, revision: Some(revision) }
    }

    fn begin(conversation: ConversationId) -> Self {
        Self { conversation, standing: Standing::Absent, revision: None }
    }

    /// Reads on to the stream's end.
    pub async fn read_on(
        &mut self,
        log: &dyn EventLog,
        client: ClientId,
        message: MessageId,
    ) -> Result<(), LogError> {
        let stream = StreamName::Conversation(client, self.conversation);
        loop {
            let page = log.read_stream(&stream, self.revision, STREAM_PAGE).await?;
            for record in &page {
                self.note(record, message);
            }
            if page.len() < STREAM_PAGE {
                return Ok(());
            }
        }
    }

    fn note(&mut self, record: &Record, message: MessageId) {
        self.revision = Some(record.revision);
        let event = &record.event;
        if self.standing == Standing::Settled {
            return;
        }
        match &event.data {
            EventData::MessageQueued(queued) if queued.message_id == message => {
                // Repeated, it says nothing new.
                if self.standing == Standing::Absent {
                    self.standing = Standing::Unclaimed;
                }
            }
            EventData::SendStarted { message_id, .. } if *message_id == message => {
                // The first claim is the one that counts.
                if matches!(self.standing, Standing::Unclaimed | Standing::Absent) {
                    self.standing = Standing::Claimed(event.id);
                }
            }
            EventData::SendReleased { message_id, claim, .. } if *message_id == message => {
                if self.gives_back(*claim) {
                    self.standing = Standing::Unclaimed;
                }
            }
            EventData::SendDoubted { message_id, .. } if *message_id == message => {
                self.standing = Standing::Doubted;
            }
            EventData::MessageSent(change)
            | EventData::MessageDelivered(change)
            | EventData::MessageRead(change)
            | EventData::MessageFailed(change)
                if change.message_id == Some(message) =>
            {
                self.standing = Standing::Settled;
            }
            _ => {}
        }
    }
}

impl Look {
    /// Whether the release of this claim is of the one that stands.
    pub(super) fn gives_back(&self, claim: Option<EventId>) -> bool {
        match (claim, self.standing) {
            (None, _) => true,
            (Some(claim), Standing::Claimed(standing)) => claim == standing,
            (Some(_), _) => false,
        }
    }
}

/// Finds the stream in which a message was queued and reads it whole: that of the conversation in
/// which it is now, or of one that was merged into it, near or far.
pub(super) async fn find(
    log: &dyn EventLog,
    view: &Arc<dyn View>,
    client: ClientId,
    conversation: ConversationId,
    message: MessageId,
) -> Result<Look, LookError> {
    /// Conversations of one person that are looked through.
    const LOOKS_MAX: usize = 64;
    let mut ahead = vec![conversation];
    let mut looked = 0;
    while let Some(conversation) = ahead.pop()
        && looked < LOOKS_MAX
    {
        looked += 1;
        let mut look = Look::begin(conversation);
        look.read_on(log, client, message).await?;
        if look.standing != Standing::Absent {
            return Ok(look);
        }
        ahead.extend(view.merged_into(client, conversation).await?);
    }
    Ok(Look::begin(conversation))
}
