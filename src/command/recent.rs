//! What was stored lately: so that a webhook that is delivered twice is answered without another
//! append, and a status finds its message's conversation without a query.
//!
//! **Invariant:** only what is durable is remembered here, for "known already" is an
//! acknowledgement. What was forgotten is appended again, and the fold finds it to be known.

use quick_cache::sync::Cache;

use crate::domain::ids::{ClientId, ConversationId};

/// Keys that are remembered; the least useful are forgotten.
const RECENT_KEYS_MAX: usize = 65_536;

pub(super) type Key = (ClientId, [u8; 16]);

pub(super) struct Recent {
    stored: Cache<Key, ConversationId>,
}

impl Recent {
    pub(super) fn new() -> Self {
        Self { stored: Cache::new(RECENT_KEYS_MAX) }
    }

    /// The conversation in which this was stored.
    pub(super) fn get(&self, key: &Key) -> Option<ConversationId> {
        self.stored.get(key)
    }

    pub(super) fn remember(&self, key: Key, id: ConversationId) {
        self.stored.insert(key, id);
    }
}
