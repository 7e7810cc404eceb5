//! One call to a provider, and what its answer means: for the message, and for the number.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;

use super::{Shared, lane::Waiting, round::Ready};
use crate::{
    command::outbox::{Outcome, Settled},
    domain::{
        conversation::Contact,
        ids::{ClientId, ConversationId},
        message::{Message, MessageKind, NOT_SENDABLE_CODE, ProviderError},
    },
    gateway::outbound::{
        Accepted, Line, MediaSource, OutboundMessage, Recipient, RetryScope, SendError, Stopped,
    },
    metrics as names,
};

/// What the answer says of the number, and of who waits behind the message.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// It takes messages: it took this one, or refused it for its own sake.
    Taken,
    /// This message alone is to be tried again.
    Later {
        after: Option<Duration>,
    },
    /// All messages of the number have to wait.
    Patience {
        after: Option<Duration>,
    },
    Refused {
        error: ProviderError,
    },
    TemplateRefused,
    /// It did not answer.
    Silent,
}

/// A call that has ended.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    pub client: ClientId,
    /// In whose line it stood.
    pub conversation: ConversationId,
    pub waiting: Waiting,
    pub verdict: Verdict,
    /// It is tried again, after this.
    pub again_after: Option<Duration>,
}

/// Sends a claimed message. However it ends, there is an outcome.
pub(super) async fn run(shared: &Shared, client: ClientId, ready: Ready) -> (Ended, Settled) {
    let started = tokio::time::Instant::now();
    let sending = AssertUnwindSafe(send(shared, client, &ready)).catch_unwind();
    let answer = match tokio::time::timeout(shared.settings.call_timeout(), sending).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_panic)) => Err(in_doubt("the call ended unexpectedly")),
        Err(_elapsed) => Err(in_doubt("no answer in time")),
    };
    metrics::histogram!(names::PROVIDER_SECONDS).record(started.elapsed().as_secs_f64());
    let patience = Patience::left(shared, &ready);
    let (outcome, verdict) = judge(answer, &ready, patience);
    metrics::counter!(names::OUTBOX_MESSAGES, "outcome" => label(&outcome)).increment(1);
    let again_after = match (&outcome, &verdict) {
        (Outcome::Released { .. }, Verdict::Later { after }) => {
            Some(after.unwrap_or_else(|| recipient_pause(ready.picked.waiting.attempts)))
        }
        (Outcome::Released { .. }, _) => Some(Duration::ZERO),
        _ => None,
    };
    let message = ready.picked.waiting.message;
    let settled = Settled { client, conversation: ready.stream, message, outcome };
    let (conversation, waiting) = (ready.picked.conversation, ready.picked.waiting);
    (Ended { client, conversation, waiting, verdict, again_after }, settled)
}

/// WhatsApp's own advice for its pair limit: 4 to the power of the attempts, in seconds.
fn recipient_pause(attempts: u32) -> Duration {
    Duration::from_secs(4_u64.saturating_pow(attempts.min(5)))
}

fn in_doubt(reason: &str) -> SendError {
    SendError::InDoubt { reason: reason.to_owned() }
}

/// How much a message is still tried.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// It is not too old.
    time: bool,
    /// For the recipient's sake it was not tried too often.
    attempts: bool,
}

impl Patience {
    fn left(shared: &Shared, ready: &Ready) -> Self {
        let age_ms = shared.clock.now().since(ready.to_send.message.created_at);
        let max_ms = i64::try_from(shared.settings.retry_for_s.saturating_mul(1000));
        let attempts = ready.picked.waiting.attempts + 1 < shared.settings.attempts_max;
        Self { time: age_ms < max_ms.unwrap_or(i64::MAX), attempts }
    }
}

async fn send(shared: &Shared, client: ClientId, ready: &Ready) -> Result<Accepted, SendError> {
    let Ready { to_send, line, .. } = ready;
    let to = recipient(&to_send.contact)
        .ok_or_else(|| not_sendable("No address", "nothing tells how to reach this contact"))?;
    let media = media_of(shared, client, line, &to_send.message).await?;
    let message = outbound(&to_send.message, media, to_send.reply_to.clone());
    line.provider.send(&line.account, &to, &message).await
}

fn not_sendable(title: &str, detail: &str) -> SendError {
    let (title, detail) = (title.to_owned(), detail.to_owned());
    SendError::Final { error: ProviderError { code: NOT_SENDABLE_CODE, title, detail } }
}

/// Where the provider finds the medium. While it is handed over, nothing of the message was sent.
async fn media_of(
    shared: &Shared,
    client: ClientId,
    line: &Line,
    message: &Message,
) -> Result<Option<MediaSource>, SendError> {
    let Some(media) = &message.media else { return Ok(None) };
    if let Some(link) = &media.url {
        return Ok(Some(MediaSource::Link(link.clone())));
    }
    match shared.media.at_provider(client, line, media).await {
        Ok(source) => Ok(Some(source)),
        Err(SendError::InDoubt { reason }) => Err(SendError::Retry {
            error: ProviderError {
                code: NOT_SENDABLE_CODE,
                title: "The medium could not be handed over".to_owned(),
                detail: reason,
            },
            after: None,
            scope: RetryScope::Recipient,
        }),
        Err(error) => Err(error),
    }
}

/// How to reach a contact; `None` when nothing tells.
pub(super) fn recipient(contact: &Contact) -> Option<Recipient> {
    let Contact { phone, wa_id, user_id, lid, .. } = contact.clone();
    let to = Recipient { phone, wa_id, user_id, lid };
    (to != Recipient::default()).then_some(to)
}

fn outbound(
    message: &Message,
    media: Option<MediaSource>,
    reply_to: Option<String>,
) -> OutboundMessage {
    let described = message.media.as_ref();
    OutboundMessage {
        id: message.id,
        kind: message.kind,
        // A reaction's emoji stands in its payload.
        text: message.text.clone().filter(|_| message.kind != MessageKind::Reaction),
        media,
        filename: described.and_then(|media| media.filename.clone()),
        mime_type: described.and_then(|media| media.mime_type.clone()),
        voice: described.is_some_and(|media| media.voice),
        payload: message.payload.clone(),
        reply_to,
    }
}

/// What the answer means. A message that meets a refused number or template fails with the
/// provider's words, so that a person sees why; those behind it wait.
fn judge(
    answer: Result<Accepted, SendError>,
    ready: &Ready,
    patience: Patience,
) -> (Outcome, Verdict) {
    let again = |error: ProviderError, is_left: bool| match is_left {
        true => {
            Outcome::Released { bulk_id: ready.picked.waiting.class.bulk_id(), claim: ready.claim }
        }
        false => Outcome::Failed { error },
    };
    match answer {
        Ok(Accepted { wa_message_id, dedupe_key }) => {
            (Outcome::Sent { wa_message_id, dedupe_key }, Verdict::Taken)
        }
        Err(SendError::Retry { error, after, scope: RetryScope::Recipient }) => {
            (again(error, patience.time && patience.attempts), Verdict::Later { after })
        }
        Err(SendError::Retry { error, after, scope: RetryScope::Number }) => {
            (again(error, patience.time), Verdict::Patience { after })
        }
        Err(SendError::Final { error }) => (Outcome::Failed { error }, Verdict::Taken),
        Err(SendError::Stopped { error, what: Stopped::Number }) => {
            (Outcome::Failed { error: error.clone() }, Verdict::Refused { error })
        }
        Err(SendError::Stopped { error, what: Stopped::Template }) => {
            (Outcome::Failed { error }, Verdict::TemplateRefused)
        }
        Err(SendError::InDoubt { reason }) => {
            tracing::warn!(reason, "it is not known whether a message was sent");
            (Outcome::Doubted, Verdict::Silent)
        }
    }
}

fn label(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Sent { .. } => "sent",
        Outcome::Failed { .. } => "failed",
        Outcome::Released { .. } => "again",
        Outcome::Doubted => "in_doubt",
    }
}
