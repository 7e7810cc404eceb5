//! A write under an `Idempotency-Key`: done once, answered alike each time, on every instance.
//!
//! The answer is appended in the same append as the write's own events, behind them, as the first
//! event of a stream that the key names. Whoever comes second, on whichever instance, fails that expectation
//! and reads the first answer from that stream. On one instance, requests with one key take turns,
//! so that the second need not fail.
//!
//! **Invariant:** a write is answered with the place of its first event as its cursor, with a key
//! or without one, the first time and every time after: the events of one append stand one behind
//! the other, so the answer knows it by how many of its own events stand before it. A write that
//! changes nothing is answered with the place of its answer.
//!
//! Answers are forgotten after 24 hours: [`Commands::forget_answers`] deletes their streams.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use super::{Actor, CommandError, Commands, Core};
use crate::{
    domain::{
        event::{EventData, RequestAnswer},
        fold::ANSWER_KEPT_MS,
        ids::{ClientId, ConversationId, Position},
        time::Timestamp,
    },
    event_log::{Append, Expected, Record, StreamName},
    projection::queries::OldAnswers,
};

/// Answers of a tenant that are forgotten in one go.
const FORGOTTEN_AT_ONCE: usize = 256;

/// A request as its `Idempotency-Key` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The key as the client chose it; it is kept as a keyed hash.
    pub key: String,
    /// What the same key must come with again.
    pub fingerprint: String,
}

impl Request {
    /// `path` with its query; `body` as it was sent.
    pub fn new(key: &str, method: &str, path: &str, body: &[u8]) -> Self {
        let mut digest = Sha256::new();
        for part in [method.as_bytes(), path.as_bytes(), body] {
            // Lengths keep the parts apart.
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        Self { key: key.to_owned(), fingerprint: hex::encode(digest.finalize()) }
    }
}

/// What a write is answered with.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub status: u16,
    /// The body, mostly without its `cursor`, which is known only when it is stored.
    pub body: Value,
}

/// A write that is done.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    pub answer: Answer,
    /// For the cursor, where the body has none.
    pub position: Position,
    /// It was done before, under the same key; nothing was done now.
    pub repeated: bool,
}

/// A request under way: its key's turn, and how its answer is kept.
pub(super) struct Keyed {
    hash: String,
    fingerprint: String,
    _turn: Turn,
}

impl Keyed {
    pub(super) async fn begin(
        core: &Core,
        turns: &KeyTurns,
        client: ClientId,
        request: &Request,
    ) -> Self {
        let hash = core.hasher.request_key(client, &request.key);
        let turn = turns.take((client, hash.clone())).await;
        Self { hash, fingerprint: request.fingerprint.clone(), _turn: turn }
    }

    fn stream(&self, client: ClientId) -> StreamName {
        StreamName::Request(client, self.hash.clone())
    }

    /// The answer that was given under this key, `None` when there is none or it is too old.
    pub(super) async fn first_answer(
        &self,
        core: &Core,
        client: ClientId,
    ) -> Result<Option<Answered>, CommandError> {
        let stream = self.stream(client);
        let records = core.log.read_stream(&stream, None, 1).await?;
        let Some(record) = records.into_iter().next() else { return Ok(None) };
        let EventData::RequestAnswered(first) = &record.event.data else {
            // Of a later release: what it answered can't be said here.
            return Err(CommandError::Unknown);
        };
        if core.is_forgotten(record.event.time) {
            core.log.delete_stream(&stream).await?;
            return Ok(None);
        }
        if first.fingerprint != self.fingerprint {
            return Err(CommandError::KeyReused);
        }
        let answer = Answer { status: first.status, body: first.body.clone() };
        let position = Position(record.position.0.saturating_sub(first.events_before.into()));
        Ok(Some(Answered { answer, position, repeated: true }))
    }

    /// The entry that keeps the answer; the one directly behind the write's own
    /// `events_before`.
    pub(super) fn entry(
        &self,
        core: &Core,
        client: ClientId,
        actor: &str,
        answer: &Answer,
        conversation_id: Option<ConversationId>,
        events_before: usize,
    ) -> Append {
        let data = EventData::RequestAnswered(RequestAnswer {
            key: self.hash.clone(),
            fingerprint: self.fingerprint.clone(),
            status: answer.status,
            body: answer.body.clone(),
            events_before: u32::try_from(events_before).unwrap_or(u32::MAX),
            conversation_id,
        });
        Append {
            stream: self.stream(client),
            expected: Expected::NoStream,
            events: vec![core.event(client, actor, data)],
        }
    }
}

impl Commands {
    /// Deletes the streams of answers that are older than 24 hours, and has the read models forget
    /// them: at most [`FORGOTTEN_AT_ONCE`] of each tenant, the oldest first. Says whether more are
    /// left. Repeating it does no harm, nor does another instance that does the same.
    pub async fn forget_answers(&self) -> Result<bool, CommandError> {
        let before = self.core.clock.now().plus_ms(-ANSWER_KEPT_MS);
        let mut more = false;
        for old in self.core.view.old_answers(before, FORGOTTEN_AT_ONCE).await? {
            let OldAnswers { client, keys, before } = old;
            more |= keys.len() >= FORGOTTEN_AT_ONCE;
            for key in keys {
                self.forget_answer(client, key).await?;
            }
            let data = EventData::AnswersForgotten { before };
            let event = self.core.event(client, &Actor::system().0, data);
            let stream = StreamName::Tenant(client);
            let entry = Append { stream, expected: Expected::Any, events: vec![event] };
            self.core.log.append(vec![entry]).await?;
        }
        Ok(more)
    }

    /// The key may have been used again since the read model last heard of it.
    async fn forget_answer(&self, client: ClientId, key: String) -> Result<(), CommandError> {
        let _turn = self.turns.take((client, key.clone())).await;
        let stream = StreamName::Request(client, key);
        let records = self.core.log.read_stream(&stream, None, 1).await?;
        let is_old = |record: &Record| self.core.is_forgotten(record.event.time);
        if records.first().is_some_and(is_old) {
            self.core.log.delete_stream(&stream).await?;
        }
        Ok(())
    }
}

impl Core {
    /// Whether an answer that was given at `time` is not given again.
    fn is_forgotten(&self, time: Timestamp) -> bool {
        self.clock.now().since(time) > ANSWER_KEPT_MS
    }
}

type Key = (ClientId, String);

/// Lets the requests with one key pass one at a time. Holds the keys of requests under way only.
#[derive(Clone, Default)]
pub(super) struct KeyTurns {
    keys: Arc<Mutex<HashMap<Key, Arc<AsyncMutex<()>>>>>,
}

impl KeyTurns {
    async fn take(&self, key: Key) -> Turn {
        let lock = Arc::clone(self.keys.lock().entry(key.clone()).or_default());
        // Made before waiting, so that a cancelled wait cleans up too.
        let mut turn = Turn { turns: self.clone(), key, guard: None };
        turn.guard = Some(lock.lock_owned().await);
        turn
    }
}

struct Turn {
    turns: KeyTurns,
    key: Key,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut keys = self.turns.keys.lock();
        drop(self.guard.take());
        if keys.get(&self.key).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            keys.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_keeps_its_parts_apart() {
        let of = |method, path, body: &str| Request::new("k", method, path, body.as_bytes());
        assert_eq!(of("POST", "/a", "b"), of("POST", "/a", "b"));
        assert_ne!(of("POST", "/a", "b"), of("POST", "/ab", ""));
        assert_ne!(of("POST", "/a", "b"), of("PUT", "/a", "b"));
    }

    #[tokio::test]
    async fn turns_of_a_key_follow_each_other_and_leave_nothing_behind() {
        let turns = KeyTurns::default();
        let key = (ClientId(1), "k".to_owned());
        let first = turns.take(key.clone()).await;
        let other = turns.take((ClientId(2), "k".to_owned())).await;
        let mut second = Box::pin(turns.take(key.clone()));
        assert!(futures_util::poll!(&mut second).is_pending());
        let cancelled = Box::pin(turns.take(key));
        drop(cancelled);
        drop(first);
        let second = second.await;
        drop((second, other));
        assert!(turns.keys.lock().is_empty());
    }
}
