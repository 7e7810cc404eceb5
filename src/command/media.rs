//! What became of the copies of media: told by `media`, which fetches them.

use super::{Actor, CommandError, Commands, conversation_stream};
use crate::{
    domain::{
        event::EventData,
        ids::{ClientId, MessageId, Position},
        message::{MediaFailure, StoredMedia},
    },
    event_log::{Append, Expected},
};

/// What became of one.
#[derive(Debug, Clone, PartialEq)]
pub enum MediaOutcome {
    Stored(StoredMedia),
    Failed(MediaFailure),
}

impl Commands {
    /// Records what became of the copy of a message's medium. [`CommandError::NotFound`] when
    /// there is no such message any more: the copy is nobody's then.
    pub async fn settle_media(
        &self,
        client: ClientId,
        message_id: MessageId,
        outcome: MediaOutcome,
    ) -> Result<Position, CommandError> {
        let message = self.core.view.message(client, message_id).await?;
        let conversation_id = message.ok_or(CommandError::NotFound)?.conversation_id;
        let data = match outcome {
            MediaOutcome::Stored(media) => {
                EventData::MediaStored { conversation_id, message_id, media }
            }
            MediaOutcome::Failed(reason) => {
                EventData::MediaFailed { conversation_id, message_id, reason }
            }
        };
        let entry = Append {
            stream: conversation_stream(client, conversation_id),
            expected: Expected::Any,
            events: vec![self.core.event(client, &Actor::system().0, data)],
        };
        let appended = self.core.log.append(vec![entry]).await?;
        Ok(appended.last().map_or(Position::START, |last| last.position))
    }
}
