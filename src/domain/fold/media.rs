//! Our copies of media: fetched after the message is here, told when they are.
//!
//! A message that brings a medium names our copy from the start (`MediaCopy::id`), so that a
//! screen can ask for it at once and wait. That it is here, or never will be, is told by a notice
//! as those of edits (`new_message`, kind and sender `system`, payload `{"event", "message_id",
//! "at"}`) with the medium as it stands now: no public event changes a message. Unlike those of
//! edits it is told and not kept: the history shows the message itself, completed.

use std::sync::Arc;

use serde_json::Value;

use super::{Folding, notice::Notice};
use crate::domain::{
    ids::MessageId,
    message::{CopyState, Media, MediaFailure, Message, StoredMedia},
    public::PublicEvent,
    state::State,
};

impl<S: State> Folding<'_, S> {
    /// The first that is stored stays: another instance may have fetched it too. One that was
    /// given up may be stored after all.
    pub(super) fn media_stored(&mut self, message_id: MessageId, stored: &StoredMedia) {
        let Some((message, mut media)) = self.message_with_copy(message_id) else { return };
        let Some(copy) = media.copy.as_mut() else { return };
        if copy.state == CopyState::Stored {
            return;
        }
        copy.state = CopyState::Stored;
        copy.size = Some(stored.size);
        media.mime_type = Some(stored.mime_type.clone());
        media.sha256 = Some(stored.sha256.clone());
        // It is of no use any more.
        media.url = None;
        self.put_media(message, media, "media_stored", None);
    }

    pub(super) fn media_failed(&mut self, message_id: MessageId, reason: MediaFailure) {
        let Some((message, mut media)) = self.message_with_copy(message_id) else { return };
        if !media.is_pending() {
            return;
        }
        if let Some(copy) = media.copy.as_mut() {
            copy.state = CopyState::Failed;
        }
        self.put_media(message, media, "media_failed", Some(reason));
    }

    fn message_with_copy(&mut self, id: MessageId) -> Option<(Arc<Message>, Media)> {
        let message = self.state.message(self.event.client_id, id)?;
        let media = message.media.clone().filter(|media| media.copy.is_some())?;
        Some((message, media))
    }

    fn put_media(
        &mut self,
        mut message: Arc<Message>,
        media: Media,
        event: &str,
        reason: Option<MediaFailure>,
    ) {
        Arc::make_mut(&mut message).media = Some(media);
        self.state.put_message(Arc::clone(&message));
        let (_, Some(conversation)) = self.resolve(message.conversation_id) else { return };
        let notice = self.media_notice(&message, event, reason);
        self.public.push(PublicEvent::NewMessage { message: Arc::new(notice), conversation });
    }

    fn media_notice(&self, of: &Message, event: &str, reason: Option<MediaFailure>) -> Message {
        let notice = Notice {
            id: MessageId(self.event.id.0),
            conversation_id: of.conversation_id,
            direction: of.direction,
            event,
            target: Some(of.id),
            reply_to: of.dedupe_key.clone(),
            dedupe_key: None,
            text: None,
            media: of.media.clone(),
            at: self.event.time,
        };
        let mut notice = notice.into_message(self.event);
        if let (Some(reason), Some(payload)) = (reason, &mut notice.payload) {
            payload.insert("reason".to_owned(), Value::String(reason.as_str().to_owned()));
        }
        notice
    }
}
