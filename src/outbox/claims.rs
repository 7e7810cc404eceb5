//! Claims that are not this outbox's own and have no outcome yet: of an instance that crashed, or
//! of one that is at it. After a while they are in doubt.

use std::collections::HashMap;

use tokio::time::Instant;

use crate::domain::ids::{ConversationId, MessageId};

/// Claims of a tenant that are watched; beyond it the next start finds them.
const CLAIMS_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Claims {
    claims: HashMap<MessageId, (ConversationId, Instant)>,
}

impl Claims {
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }

    /// It is in doubt from `due` on.
    pub fn add(&mut self, conversation: ConversationId, message: MessageId, due: Instant) {
        if self.claims.len() < CLAIMS_MAX {
            self.claims.entry(message).or_insert((conversation, due));
        }
    }

    /// Its outcome is known.
    pub fn remove(&mut self, message: MessageId) {
        self.claims.remove(&message);
    }

    pub fn take_due(&mut self, now: Instant) -> Vec<(ConversationId, MessageId)> {
        let due = |_: &MessageId, (_, due): &mut (ConversationId, Instant)| *due <= now;
        self.claims
            .extract_if(due)
            .map(|(message, (conversation, _))| (conversation, message))
            .collect()
    }
}
