//! The outbox: sends what is queued, at the rate that the provider allows, each message once.
//!
//! It follows the log. What is queued stands in line ([`lane`]); a [`round`] claims what may
//! leave now (`send_started`, at the revision at which the message is unclaimed) and each claimed
//! message is [called](call) in; what came of it is [stored](settle), in groups. What waited
//! before the start is [loaded](load) from the read model.
//!
//! ```text
//! log tail ─► lanes ─► round: read, look, claim ─► call provider ─► settle ─► log
//! ```
//!
//! **Invariant:** no message is called in without a claim of ours that is durable and stands
//! alone. A claim without an outcome (a crash, a provider that did not answer) is never called in
//! again by itself: it is in doubt, and shown so (`send_doubted`). Later statuses settle it, or a
//! person releases it.
//!
//! **Invariant:** a message that was surely not sent gives its claim back (`send_released`) before
//! it waits for its next try, so that a crash meanwhile makes no doubt of it.
//!
//! **Invariant:** one conversation's messages leave one by one, in the order in which they were
//! queued; the next one when the outcome of the one before is stored and was followed. A message
//! in doubt or failed holds up none.
//!
//! What is bounded, and what happens then: waiting messages in memory (`waiting_max`; the rest
//! stays in the read model), messages under way per number (`in_flight_max`) and in all
//! ([`CALLS_MAX`]; the others wait), a call's time (`call_timeout_ms`; in doubt). A number or
//! provider that fails holds up its own tenant only.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    command::Commands,
    domain::{
        ids::{ClientId, Position},
        message::Media,
    },
    event_log::EventLog,
    gateway::outbound::{Line, Lines, MediaSource, SendError},
    runtime::{clock::Clock, shutdown::Shutdown},
};

mod call;
mod claims;
mod engine;
mod follow;
mod gate;
mod health;
mod lane;
mod load;
pub mod membership;
mod round;
mod settings;
mod settle;
mod signals;
mod stream;
pub mod view;

#[cfg(test)]
mod tests;

use self::{
    call::Ended, engine::Engine, load::Loaded, membership::Membership, round::RoundEnd, view::View,
};
pub use self::{settings::OutboxSettings, signals::Signals};

/// Calls under way at once, over all tenants; each is a connection and some memory.
pub const CALLS_MAX: usize = 2048;

/// Hands uploaded media to a provider. A port: who keeps media is unknown here.
#[async_trait]
pub trait MediaAtProvider: Send + Sync + 'static {
    /// How to name this medium to the provider, uploading it there when it has to be.
    async fn at_provider(
        &self,
        client: ClientId,
        line: &Line,
        media: &Media,
    ) -> Result<MediaSource, SendError>;
}

/// The messages a second of a tenant's number, where it has a figure of its own.
pub type TenantRate = Arc<dyn Fn(ClientId) -> Option<u32> + Send + Sync>;

/// What the outbox works with.
pub struct Deps {
    pub log: Arc<dyn EventLog>,
    pub commands: Arc<Commands>,
    pub view: Arc<dyn View>,
    pub lines: Arc<dyn Lines>,
    pub media: Arc<dyn MediaAtProvider>,
    pub membership: Arc<dyn Membership>,
    pub clock: Arc<dyn Clock>,
    pub rates: TenantRate,
    pub settings: OutboxSettings,
}

/// What all of its tasks share.
struct Shared {
    log: Arc<dyn EventLog>,
    commands: Arc<Commands>,
    view: Arc<dyn View>,
    lines: Arc<dyn Lines>,
    media: Arc<dyn MediaAtProvider>,
    membership: Arc<dyn Membership>,
    clock: Arc<dyn Clock>,
    rates: TenantRate,
    settings: OutboxSettings,
    signals: Signals,
}

/// What comes back to the engine.
enum Event {
    Round(RoundEnd),
    /// With the place of each outcome.
    Settled(Vec<(Ended, Position)>),
    Loaded(Loaded),
    /// Tenants of whom something waited before the start.
    Found(Vec<ClientId>),
}

/// Events that wait for the engine; who brings more waits.
const EVENTS_MAX: usize = 1024;

/// Starts sending. It ends when the server drains and what is under way has ended. Answers where
/// signals to contacts are given.
pub fn start(deps: Deps, shutdown: &Shutdown) -> Signals {
    spawn(deps, shutdown).0
}

/// As [`start`]; answers its tasks too, so that a test can end them as a crash does.
fn spawn(deps: Deps, shutdown: &Shutdown) -> (Signals, [JoinHandle<()>; 3]) {
    let (signals, signals_waiting) = Signals::channel();
    let Deps { log, commands, view, lines, media, membership, clock, rates, settings } = deps;
    let shared = Arc::new(Shared {
        log,
        commands,
        view,
        lines,
        media,
        membership,
        clock,
        rates,
        settings,
        signals: signals.clone(),
    });
    let (events, incoming) = mpsc::channel(EVENTS_MAX);
    let (to_settle, waiting) = mpsc::channel(settle::WAITING_MAX);
    let from = *shared.view.projected().borrow();
    let engine = Engine::new(Arc::clone(&shared), from, events.clone(), to_settle);
    let tasks = [
        shutdown.spawn(settle::run(Arc::clone(&shared), waiting, events)),
        shutdown.spawn(signals::run(shared, signals_waiting, shutdown.clone())),
        shutdown.spawn(engine.run(incoming, shutdown.clone())),
    ];
    (signals, tasks)
}
