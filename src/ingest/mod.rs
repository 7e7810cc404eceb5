//! From what a gateway understood to commands: tenant by tenant, in parts that a command takes.
//!
//! A webhook may hold several tenants' things, and more than one command takes at once (a history
//! import has thousands). It is answered as done only when all of it is durable. When a part
//! fails, the whole webhook is answered as failed and comes again; what was stored of it is then
//! known.
//!
//! A session that asks to be paired is handed on ([`PairingAsked`]) once that is recorded, whether
//! or not it was known: the code may be another.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::future::try_join_all;
use tokio::sync::mpsc::{self, error::TrySendError};

use crate::{
    command::{Actor, CommandError, Commands, INTAKE_ITEMS_MAX, IntakeOutcome},
    domain::{ids::ClientId, intake::Intake, time::Timestamp, whatsapp::WhatsAppStatus},
    gateway::Inbound,
    metrics::INTAKE_ITEMS,
};

/// Takes in what gateways bring. One per process, shared.
pub struct Ingest {
    commands: Arc<Commands>,
    pairings: mpsc::Sender<PairingAsked>,
}

/// A tenant's session waits to be paired, and its code is to be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairingAsked {
    pub client: ClientId,
    /// The gateway that told it.
    pub provider: &'static str,
    pub at: Timestamp,
}

/// What became of a webhook request, all of it durable.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Taken {
    /// One per item, in order.
    pub outcomes: Vec<IntakeOutcome>,
    pub stored: usize,
    pub duplicates: usize,
    pub unrouted: usize,
    pub ignored: usize,
}

impl Ingest {
    /// `pairings` takes what is asked for without waiting: one that is full loses it, and the
    /// provider asks again with its next code.
    pub fn new(commands: Arc<Commands>, pairings: mpsc::Sender<PairingAsked>) -> Self {
        Self { commands, pairings }
    }

    /// Stores all of a webhook request. `provider` is the gateway's name: the actor of the events
    /// and a metric's label.
    pub async fn take(
        &self,
        provider: &'static str,
        inbound: Inbound,
    ) -> Result<Taken, CommandError> {
        let Inbound { items, unrouted, ignored } = inbound;
        count(provider, "unrouted", unrouted);
        count(provider, "ignored", ignored);
        let total = items.len();
        let pairings = pairings_asked(provider, &items);
        let tenants = by_tenant(items);
        let actor = Actor(provider.to_owned());
        // Tenants don't wait for each other: their appends share a commit.
        let taken = try_join_all(
            tenants.into_iter().map(|(client, part)| self.take_tenant(client, &actor, part)),
        );
        let taken = taken.await.inspect_err(|_| count(provider, "failed", total))?;
        let taken = Taken { unrouted, ignored, ..in_order(taken.into_iter().flatten(), total) };
        count(provider, "stored", taken.stored);
        count(provider, "duplicate", taken.duplicates);
        for asked in pairings {
            if let Err(TrySendError::Full(asked)) = self.pairings.try_send(asked) {
                let client_id = asked.client.0;
                tracing::warn!(client_id, "too many sessions ask to be paired; one is left out");
            }
        }
        Ok(taken)
    }

    /// One tenant's things, in order: a later part may speak of a message in an earlier one.
    async fn take_tenant(
        &self,
        client: ClientId,
        actor: &Actor,
        part: Part,
    ) -> Result<Vec<(usize, IntakeOutcome)>, CommandError> {
        let Part { places, items } = part;
        let mut outcomes = Vec::with_capacity(places.len());
        let mut items = items.into_iter();
        loop {
            let chunk: Vec<Intake> = items.by_ref().take(INTAKE_ITEMS_MAX).collect();
            if chunk.is_empty() {
                return Ok(places.into_iter().zip(outcomes).collect());
            }
            outcomes.extend(self.commands.take_in(client, actor, chunk).await?);
        }
    }
}

/// The sessions that ask to be paired and don't say with which code.
fn pairings_asked(provider: &'static str, items: &[(ClientId, Intake)]) -> Vec<PairingAsked> {
    let asked = items.iter().filter_map(|(client, item)| match item {
        Intake::WhatsAppState { told, at, .. }
            if told.status == Some(WhatsAppStatus::Qr) && told.qr.is_none() =>
        {
            Some(PairingAsked { client: *client, provider, at: *at })
        }
        _ => None,
    });
    asked.collect()
}

/// What of a request is one tenant's, with the place of each thing in the request.
#[derive(Default)]
struct Part {
    places: Vec<usize>,
    items: Vec<Intake>,
}

fn by_tenant(items: Vec<(ClientId, Intake)>) -> BTreeMap<ClientId, Part> {
    let mut tenants: BTreeMap<ClientId, Part> = BTreeMap::new();
    for (place, (client, item)) in items.into_iter().enumerate() {
        let part = tenants.entry(client).or_default();
        part.places.push(place);
        part.items.push(item);
    }
    tenants
}

fn in_order(outcomes: impl Iterator<Item = (usize, IntakeOutcome)>, total: usize) -> Taken {
    let mut taken = Taken { outcomes: vec![IntakeOutcome::Duplicate; total], ..Taken::default() };
    for (place, outcome) in outcomes {
        taken.outcomes[place] = outcome;
        match outcome {
            IntakeOutcome::Stored(_) => taken.stored += 1,
            IntakeOutcome::Duplicate => taken.duplicates += 1,
        }
    }
    taken
}

fn count(provider: &'static str, outcome: &'static str, number: usize) {
    if number > 0 {
        metrics::counter!(INTAKE_ITEMS, "provider" => provider, "outcome" => outcome)
            .increment(number as u64);
    }
}

#[cfg(test)]
mod tests;
