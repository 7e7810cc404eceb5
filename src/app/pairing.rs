//! Fetches the code that pairs a phone with a tenant's session.
//!
//! WAHA's webhook says that there is a new QR code and not which (the code is at
//! `GET /api/{session}/auth/qr`). `ingest` has recorded by then that one is asked for, which voids
//! the code before it; here the new one is fetched and recorded as told at the webhook's time, so
//! that nothing newer is overwritten. A code lives 20 to 60 seconds: what can't be fetched is left
//! alone, since the next webhook brings the next.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use tokio::{sync::mpsc, time::sleep};
use tokio_stream::wrappers::ReceiverStream;
use tracing::warn;

use crate::{
    command::{Actor, Commands},
    domain::{
        intake::Intake,
        whatsapp::{WhatsAppStatus, WhatsAppTold},
    },
    gateway::outbound::Lines,
    ingest::PairingAsked,
    runtime::shutdown::Shutdown,
};

/// Sessions asked for their code at once; the others wait.
const AT_ONCE: usize = 8;
/// How often a code is asked for.
const ATTEMPTS: u32 = 3;
const ATTEMPTS_PAUSE: Duration = Duration::from_secs(1);

/// Fetches what is asked for until the instance stops.
pub fn start(
    asked: mpsc::Receiver<PairingAsked>,
    lines: Arc<dyn Lines>,
    commands: Arc<Commands>,
    shutdown: &Shutdown,
) {
    let stopping = shutdown.draining.clone();
    shutdown.spawn(async move {
        let fetched = ReceiverStream::new(asked)
            .for_each_concurrent(AT_ONCE, |asked| fetch(asked, lines.clone(), commands.clone()));
        stopping.run_until_cancelled(fetched).await;
    });
}

async fn fetch(asked: PairingAsked, lines: Arc<dyn Lines>, commands: Arc<Commands>) {
    let PairingAsked { client, provider, at } = asked;
    // Who has no way out has a session that is nobody's to ask.
    let Some(line) = lines.of(client) else { return };
    for attempt in 1..=ATTEMPTS {
        match line.provider.session(&line.account).await {
            Ok(session) if session.status == WhatsAppStatus::Qr && session.qr.is_some() => {
                let told = WhatsAppTold {
                    status: Some(WhatsAppStatus::Qr),
                    qr: session.qr,
                    ..WhatsAppTold::default()
                };
                let state = Intake::WhatsAppState { told, at, key: None };
                let actor = Actor(provider.to_owned());
                if let Err(error) = commands.take_in(client, &actor, vec![state]).await {
                    warn!(%client, %error, "a pairing code can't be recorded");
                }
                return;
            }
            // Scanned in between: the next webhook says so.
            Ok(session) if session.status != WhatsAppStatus::Qr => return,
            Ok(_) if attempt == ATTEMPTS => {
                warn!(%client, "the session asks for a scan and gives no code");
            }
            Err(error) if attempt == ATTEMPTS => {
                warn!(%client, %error, "the session's pairing code can't be fetched");
            }
            Ok(_) | Err(_) => sleep(ATTEMPTS_PAUSE).await,
        }
    }
}
