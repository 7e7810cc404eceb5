//! What a contact is shown beside messages: that theirs were read, and that somebody writes.
//! Best effort: a signal that is late is worth nothing, so one that finds no room is left out, and
//! none is tried again.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
};

use super::{Shared, call::recipient};
use crate::{
    command::send::ContactSignals,
    domain::ids::{ClientId, ConversationId},
    gateway::outbound::SendError,
    metrics as names,
    projection::outbox_rows::NewestInbound,
    runtime::shutdown::Shutdown,
};

/// Signals that wait at most; further ones are left out.
const WAITING_MAX: usize = 1024;
/// Signals under way at once.
const AT_ONCE_MAX: usize = 16;
/// How long the provider may take for one.
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Typing(bool),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Signal {
    client: ClientId,
    conversation: ConversationId,
    kind: Kind,
}

/// Takes signals; never waits.
#[derive(Clone)]
pub struct Signals(mpsc::Sender<Signal>);

impl Signals {
    pub(super) fn channel() -> (Self, mpsc::Receiver<Signal>) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (Self(sender), receiver)
    }

    pub(super) fn read(&self, client: ClientId, conversation: ConversationId) {
        self.give(Signal { client, conversation, kind: Kind::Read });
    }

    fn give(&self, signal: Signal) {
        if self.0.try_send(signal).is_err() {
            count("left_out");
        }
    }
}

impl ContactSignals for Signals {
    fn typing(&self, client: ClientId, conversation: ConversationId, typing: bool) {
        self.give(Signal { client, conversation, kind: Kind::Typing(typing) });
    }
}

fn count(outcome: &'static str) {
    metrics::counter!(names::CONTACT_SIGNALS, "outcome" => outcome).increment(1);
}

/// Runs until the server drains.
pub(super) async fn run(
    shared: Arc<Shared>,
    mut waiting: mpsc::Receiver<Signal>,
    shutdown: Shutdown,
) {
    let room = Arc::new(Semaphore::new(AT_ONCE_MAX));
    let mut under_way = JoinSet::new();
    loop {
        let signal = tokio::select! {
            () = shutdown.draining.cancelled() => return,
            Some(_) = under_way.join_next() => continue,
            signal = waiting.recv() => signal,
        };
        let Some(signal) = signal else { return };
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let shared = Arc::clone(&shared);
        under_way.spawn(async move {
            let done = tokio::time::timeout(TIMEOUT, pass_on(&shared, signal)).await;
            count(match done {
                Ok(Ok(true)) => "passed_on",
                Ok(Ok(false)) => "nobody",
                Ok(Err(_)) | Err(_) => "failed",
            });
            drop(permit);
        });
    }
}

/// `false`: there is nobody to be told, or nothing to tell of.
async fn pass_on(shared: &Shared, signal: Signal) -> Result<bool, SendError> {
    let Signal { client, conversation, kind } = signal;
    let Some(line) = shared.lines.of(client) else { return Ok(false) };
    let found = match shared.view.newest_inbound(client, conversation).await {
        Ok(found) => found,
        Err(error) => {
            tracing::debug!(%error, "a signal to a contact is left out");
            return Ok(false);
        }
    };
    let Some(NewestInbound { contact, wa_message_id }) = found else { return Ok(false) };
    let Some(to) = recipient(&contact) else { return Ok(false) };
    let provider = &line.provider;
    match (kind, wa_message_id.as_deref()) {
        (Kind::Read, Some(newest)) => {
            provider.mark_read(&line.account, &to, newest, false).await?;
        }
        (Kind::Read, None) => return Ok(false),
        (Kind::Typing(typing), newest) => {
            provider.typing(&line.account, &to, newest, typing).await?;
        }
    }
    Ok(true)
}
