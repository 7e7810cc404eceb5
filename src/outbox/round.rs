//! From messages that may leave to messages that are claimed: read what is needed to send them,
//! look whether each is unclaimed, claim them together.
//!
//! **Invariant:** what comes out as [`Ready`] is claimed by an event of ours, durably, and by
//! nobody else. When the log does not say whether a claim was stored, the stream is read until it
//! does; what can't be read now is not sent now.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};

use super::{
    Shared,
    lane::Picked,
    stream::{Look, LookError, Standing, find},
};
use crate::{
    command::outbox::Claim,
    domain::{
        ids::{ClientId, ConversationId, EventId, Position},
        message::MessageStatus,
    },
    event_log::AppendError,
    gateway::outbound::Line,
    projection::outbox_rows::ToSend,
};

/// How long a tenant without a way to send waits before it is looked for again.
pub(super) const NO_LINE_PAUSE: Duration = Duration::from_secs(5);
/// How long a message waits that could not be read or claimed now.
const AGAIN_PAUSE: Duration = Duration::from_millis(500);
/// How long a round waits for the read model to have its messages.
const PROJECTED_MAX: Duration = Duration::from_secs(5);
/// How often a group is claimed anew after one of it was not as expected.
const CLAIM_ATTEMPTS_MAX: usize = 16;
/// Streams that are read at once.
const LOOKS_AT_ONCE: usize = 8;

/// A claimed message with all that is needed to send it.
pub(super) struct Ready {
    pub picked: Picked,
    /// In whose stream it was queued and claimed.
    pub stream: ConversationId,
    /// The event by which it was claimed.
    pub claim: EventId,
    pub to_send: ToSend,
    pub line: Line,
}

/// A line has one round of each kind under way at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RoundKind {
    /// Of single messages alone, which so wait for no bulk's claims.
    Singles,
    Mixed,
}

/// What came of a round.
pub(super) struct RoundEnd {
    pub client: ClientId,
    pub kind: RoundKind,
    pub ready: Vec<Ready>,
    /// Claimed or settled by another, or gone.
    pub dropped: Vec<ConversationId>,
    /// Not now.
    pub later: Vec<(ConversationId, Duration)>,
}

/// A message that may be claimed.
struct Candidate {
    picked: Picked,
    to_send: ToSend,
    look: Look,
    /// Claims of ours that may have been stored.
    events: Vec<EventId>,
    /// The one that was.
    claim: EventId,
}

struct Round<'a> {
    shared: &'a Shared,
    end: RoundEnd,
}

pub(super) async fn run(
    shared: &Shared,
    client: ClientId,
    kind: RoundKind,
    picked: Vec<Picked>,
) -> RoundEnd {
    let end = RoundEnd { client, kind, ready: Vec::new(), dropped: Vec::new(), later: Vec::new() };
    let mut round = Round { shared, end };
    let Some(line) = shared.lines.of(client) else {
        round.postpone(picked.iter(), NO_LINE_PAUSE);
        return round.end;
    };
    let candidates = round.candidates(picked).await;
    for candidate in round.claim(candidates).await {
        let Candidate { picked, to_send, look, claim, .. } = candidate;
        let (stream, line) = (look.conversation, line.clone());
        round.end.ready.push(Ready { picked, stream, claim, to_send, line });
    }
    round.end
}

impl Round<'_> {
    fn postpone<'p>(&mut self, picked: impl Iterator<Item = &'p Picked>, pause: Duration) {
        self.end.later.extend(picked.map(|picked| (picked.conversation, pause)));
    }

    /// Reads the messages, and lets go of those that are nobody's to send any more.
    async fn candidates(&mut self, picked: Vec<Picked>) -> Vec<Candidate> {
        let newest = picked.iter().map(|picked| picked.waiting.queued_at).max();
        if !self.is_projected(newest.unwrap_or(Position::START)).await {
            self.postpone(picked.iter(), AGAIN_PAUSE);
            return Vec::new();
        }
        let ids = picked.iter().map(|picked| picked.waiting.message).collect();
        let found = match self.shared.view.to_send(self.end.client, ids).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "the outbox can't read what is to be sent: tries again");
                self.postpone(picked.iter(), AGAIN_PAUSE);
                return Vec::new();
            }
        };
        let (shared, client) = (self.shared, self.end.client);
        let looks = stream::iter(picked.into_iter().zip(found)).map(|(picked, found)| async move {
            let waits = |found: &ToSend| {
                found.message.status == MessageStatus::Queued && !found.message.send_started
            };
            match found.filter(waits) {
                None => (picked, Ok(None)),
                Some(to_send) => {
                    let look = look(shared, client, &picked).await;
                    (picked, look.map(|look| Some((to_send, look))))
                }
            }
        });
        // In order, since the group is claimed in the order in which it was picked.
        let looks: Vec<_> = looks.buffered(LOOKS_AT_ONCE).collect().await;
        let mut candidates = Vec::with_capacity(looks.len());
        for (picked, look) in looks {
            match look {
                Ok(Some((to_send, look))) if look.standing == Standing::Unclaimed => {
                    let (events, claim) = (Vec::new(), EventId(uuid::Uuid::nil()));
                    candidates.push(Candidate { picked, to_send, look, events, claim });
                }
                Ok(_) => self.end.dropped.push(picked.conversation),
                Err(error) => {
                    tracing::warn!(%error, "the outbox can't read a conversation: tries again");
                    self.postpone([picked].iter(), AGAIN_PAUSE);
                }
            }
        }
        candidates
    }

    async fn is_projected(&self, position: Position) -> bool {
        let mut projected = self.shared.view.projected();
        let reached = projected.wait_for(|projected| *projected >= position);
        matches!(tokio::time::timeout(PROJECTED_MAX, reached).await, Ok(Ok(_)))
    }

    /// Claims the candidates, and answers those that are ours now.
    async fn claim(&mut self, mut candidates: Vec<Candidate>) -> Vec<Candidate> {
        let mut claimed = Vec::with_capacity(candidates.len());
        for _ in 0..CLAIM_ATTEMPTS_MAX {
            let claims = self.claims(&mut candidates);
            if claims.is_empty() {
                break;
            }
            let to_look_at = match self.shared.commands.claim(&claims).await {
                Ok(_) => {
                    claimed.append(&mut candidates);
                    break;
                }
                // Before the one that failed, some may be stored, on some backends.
                Err(AppendError::Conflict { index, .. }) => index + 1,
                Err(AppendError::Unknown { .. }) => candidates.len(),
                Err(error) => {
                    tracing::warn!(%error, "the outbox can't claim messages now: tries again");
                    break;
                }
            };
            candidates = self.look_again(candidates, to_look_at, &mut claimed).await;
        }
        let left: Vec<_> = candidates.iter().map(|candidate| candidate.picked).collect();
        self.postpone(left.iter(), AGAIN_PAUSE);
        claimed
    }

    fn claims(&self, candidates: &mut [Candidate]) -> Vec<Claim> {
        let claim = |candidate: &mut Candidate| {
            let event = EventId(self.shared.clock.new_id());
            candidate.events.push(event);
            candidate.claim = event;
            Some(Claim {
                client: self.end.client,
                conversation: candidate.look.conversation,
                message: candidate.picked.waiting.message,
                event,
                expected: candidate.look.revision?,
            })
        };
        candidates.iter_mut().filter_map(claim).collect()
    }

    /// Reads on in the streams of the first `count`, and answers those that may still be claimed.
    async fn look_again(
        &mut self,
        candidates: Vec<Candidate>,
        count: usize,
        claimed: &mut Vec<Candidate>,
    ) -> Vec<Candidate> {
        let mut left = Vec::with_capacity(candidates.len());
        for (index, mut candidate) in candidates.into_iter().enumerate() {
            if index >= count {
                left.push(candidate);
                continue;
            }
            let message = candidate.picked.waiting.message;
            let log = &*self.shared.log;
            let read = candidate.look.read_on(log, self.end.client, message).await;
            match (read, candidate.look.standing) {
                (Ok(()), Standing::Unclaimed) => left.push(candidate),
                (Ok(()), Standing::Claimed(event)) if candidate.events.contains(&event) => {
                    candidate.claim = event;
                    claimed.push(candidate);
                }
                (Ok(()), _) => self.end.dropped.push(candidate.picked.conversation),
                (Err(error), _) => {
                    tracing::warn!(%error, "the outbox can't read a conversation: tries again");
                    self.postpone([candidate.picked].iter(), AGAIN_PAUSE);
                }
            }
        }
        left
    }
}

/// Where the message stands, and whether it may be claimed there.
async fn look(shared: &Shared, client: ClientId, picked: &Picked) -> Result<Look, LookError> {
    match picked.revision {
        Some(revision) if picked.waiting.followed => {
            Ok(Look::unclaimed_at(picked.conversation, revision))
        }
        _ => {
            let view: &Arc<dyn super::view::View> = &shared.view;
            find(&*shared.log, view, client, picked.conversation, picked.waiting.message).await
        }
    }
}
