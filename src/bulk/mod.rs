//! The bulk runner: works bulks off at their pace.
//!
//! It looks at the bulks of the read model that something is to be done for and does the next
//! thing for each: starts one whose time has come, claims the next batch of recipients, completes
//! one of which nothing waits, fails one whose number or template the provider refuses, takes
//! back what is still queued of a cancelled one. What it does is an append at the version of the
//! bulk's stream that it decided on, through `command`; the messages leave through the outbox.
//!
//! It is a reconciler: woken by the projection and by the clock, acting on the state and not on
//! the signal. It keeps nothing that can't be read again but each bulk's newest revision, so a
//! restart, a second instance and a change of hands need no care: the pace itself stands in the
//! bulk (`paced_to_us`), and who loses a race reads again.
//!
//! **Invariant:** of a bulk no more is queued ahead than its pace sends in
//! [`queued_ahead_ms`](BulkSettings::queued_ahead_ms), so that a pause stops it within about that
//! time and single messages never stand behind all of a bulk in memory.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::StreamExt;

use crate::{
    command::{
        CommandError, Commands,
        bulk::{Advanced, BATCH_RECIPIENTS_MAX, Finding},
    },
    domain::{
        bulk::{self, Bulk, BulkStatus},
        ids::{BulkId, ClientId, Position},
        message::{NOT_SENDABLE_CODE, ProviderError},
        time::Timestamp,
        whatsapp::WhatsAppStatus,
    },
    event_log::{Expected, Revision},
    metrics as names,
    projection::queries::{Queries, QueryError},
    runtime::{clock::Clock, shutdown::Shutdown},
};

pub mod settings;

pub use settings::BulkSettings;

/// Bulks that are worked on; others begin when one of these ends.
const ACTIVE_MAX: usize = 1000;
/// Bulks that are worked on at once: while one waits for the log, others go on.
const AT_ONCE: usize = 8;
/// The shortest time between two batches of a bulk: what comes due within it is one append.
const BATCH_SPACING: Duration = Duration::from_millis(50);
/// The shortest time between two looks, however much is projected.
const LOOK_SPACING: Duration = Duration::from_millis(10);
/// The longest time between two looks.
const LOOK_MAX: Duration = Duration::from_secs(1);
/// Messages of a cancelled bulk taken back between two looks.
const WITHDRAWN_AT_ONCE: usize = 100;
/// How long a bulk may be on its way in; what is stored of one that takes longer is discarded.
const TAKING_IN_MAX_MS: i64 = 60 * 60 * 1000;
/// How often that is looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(10 * 60);
/// Unfinished bulks discarded in one sweep.
const SWEPT_AT_ONCE: usize = 100;

/// Whether this instance works for a tenant. All may: it only saves lost races.
pub type Owns = Arc<dyn Fn(ClientId) -> bool + Send + Sync>;

/// Works bulks off until the instance stops.
pub struct Runner {
    commands: Arc<Commands>,
    queries: Queries,
    clock: Arc<dyn Clock>,
    settings: BulkSettings,
    owns: Owns,
}

/// What is known of a bulk's stream.
#[derive(Debug, Clone, Copy)]
struct Known {
    revision: Option<Revision>,
    /// Where our own last event of it stands: until that is projected the bulk that is read is
    /// an old one.
    until: Position,
    /// Somebody else wrote to the stream since.
    stale: bool,
}

type Key = (ClientId, BulkId);

/// What became of a look at one bulk.
struct Step {
    key: Key,
    known: Option<Known>,
    /// When to look again, if nothing is projected before.
    again_in: Duration,
}

#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Query(#[from] QueryError),
}

impl Runner {
    pub fn new(
        commands: Arc<Commands>,
        queries: Queries,
        clock: Arc<dyn Clock>,
        settings: BulkSettings,
        owns: Owns,
    ) -> Self {
        Self { commands, queries, clock, settings, owns }
    }

    /// Starts it; `draining` ends it, after the batches that are under way.
    pub fn start(self, shutdown: &Shutdown) {
        let draining = shutdown.draining.clone();
        shutdown.spawn(async move {
            let mut known = HashMap::new();
            let mut swept_at = None::<tokio::time::Instant>;
            while !draining.is_cancelled() {
                if swept_at.is_none_or(|swept_at| swept_at.elapsed() >= SWEEP_EVERY) {
                    self.sweep().await;
                    swept_at = Some(tokio::time::Instant::now());
                }
                let mut projected = self.queries.projected();
                projected.mark_unchanged();
                let again_in = self.look(&mut known).await;
                let rest = async {
                    tokio::time::sleep(LOOK_SPACING).await;
                    tokio::select! {
                        () = tokio::time::sleep(again_in.saturating_sub(LOOK_SPACING)) => {}
                        changed = projected.changed() => {
                            if changed.is_err() {
                                // The projector has ended: so does the process.
                                std::future::pending::<()>().await;
                            }
                        }
                    }
                };
                draining.run_until_cancelled(rest).await;
            }
        });
    }

    /// Does the next thing for each bulk; answers when to look again at the latest.
    async fn look(&self, known: &mut HashMap<Key, Known>) -> Duration {
        let mut bulks = match self.queries.active_bulks(ACTIVE_MAX).await {
            Ok(bulks) => bulks,
            Err(error) => {
                tracing::warn!(%error, "the bulk runner can't read the bulks: tries again");
                return LOOK_MAX;
            }
        };
        bulks.retain(|bulk| (self.owns)(bulk.client_id));
        known.retain(|key, _| bulks.iter().any(|bulk| (bulk.client_id, bulk.id) == *key));
        let looks = bulks.into_iter().map(|bulk| {
            let known = known.get(&(bulk.client_id, bulk.id)).copied();
            self.look_at(bulk, known)
        });
        let steps: Vec<Step> =
            futures_util::stream::iter(looks).buffer_unordered(AT_ONCE).collect().await;
        let mut again_in = LOOK_MAX;
        for Step { key, known: now_known, again_in: soon } in steps {
            again_in = again_in.min(soon);
            match now_known {
                Some(now_known) => _ = known.insert(key, now_known),
                None => _ = known.remove(&key),
            }
        }
        again_in
    }

    async fn look_at(&self, bulk: Bulk, known: Option<Known>) -> Step {
        let (key, id) = ((bulk.client_id, bulk.id), bulk.id);
        match self.step(bulk, known).await {
            Ok(step) => step,
            Err(error) => {
                tracing::warn!(bulk_id = %id, %error, "a bulk could not go on: tries again");
                Step { key, known: None, again_in: LOOK_MAX }
            }
        }
    }

    async fn step(&self, bulk: Bulk, known: Option<Known>) -> Result<Step, StepError> {
        let key = (bulk.client_id, bulk.id);
        if let Some(known) = known
            && !known.stale
        {
            if known.until > *self.queries.projected().borrow() {
                return Ok(Step { key, known: Some(known), again_in: LOOK_MAX });
            }
            return self.act(&bulk, known).await;
        }
        let from = known.and_then(|known| known.revision);
        let revision = self.commands.bulk_revision(key.0, key.1, from).await?;
        let known = Known { revision, until: Position::START, stale: false };
        // What was read may be older than the revision.
        match self.queries.bulk(key.0, key.1).await? {
            Some(bulk) if bulk.needs_runner() => self.act(&bulk, known).await,
            _ => Ok(Step { key, known: None, again_in: LOOK_MAX }),
        }
    }

    /// Does the next thing for a bulk that is as the revision says.
    async fn act(&self, bulk: &Bulk, known: Known) -> Result<Step, StepError> {
        let key = (bulk.client_id, bulk.id);
        let now = self.clock.now();
        let rest = |again_in| Ok(Step { key, known: Some(known), again_in });
        match bulk.progress.status {
            BulkStatus::Scheduled => {
                let wait = bulk.spec.scheduled_at.map_or(0, |scheduled| scheduled.since(now));
                if wait > 0 {
                    return rest(duration_ms(wait));
                }
                self.advance(bulk, known, Finding::ItsTimeHasCome).await
            }
            BulkStatus::Running => {
                if let Some(error) = self.refusal(bulk).await? {
                    return self.advance(bulk, known, Finding::Refused(error)).await;
                }
                if bulk.is_claimed() {
                    return match self.completes_in(bulk, now) {
                        Some(Duration::ZERO) => {
                            self.advance(bulk, known, Finding::NothingWaits).await
                        }
                        wait => rest(wait.unwrap_or(LOOK_MAX)),
                    };
                }
                self.claim(bulk, known, now).await
            }
            BulkStatus::Cancelled => {
                let queries = &self.queries;
                let queued =
                    queries.bulk_recipients_queued(key.0, key.1, WITHDRAWN_AT_ONCE).await?;
                self.commands.withdraw(bulk, &queued).await?;
                rest(LOOK_MAX)
            }
            BulkStatus::Paused | BulkStatus::Completed | BulkStatus::Failed => rest(LOOK_MAX),
        }
    }

    /// What the provider said when it refused: of one of the bulk's messages, or of the number.
    async fn refusal(&self, bulk: &Bulk) -> Result<Option<ProviderError>, StepError> {
        if bulk.progress.refusal.is_some() {
            return Ok(bulk.progress.refusal.clone());
        }
        let whatsapp = self.queries.whatsapp(bulk.client_id).await?;
        Ok((whatsapp.status == WhatsAppStatus::Error).then(|| ProviderError {
            code: NOT_SENDABLE_CODE,
            title: "The number is refused".to_owned(),
            detail: whatsapp.reason.unwrap_or_default(),
        }))
    }

    /// When a bulk that is claimed wholly is complete; `None` while something waits.
    fn completes_in(&self, bulk: &Bulk, now: Timestamp) -> Option<Duration> {
        if bulk.waiting() > 0 {
            return None;
        }
        if bulk.progress.counts.in_doubt <= 0 {
            return Some(Duration::ZERO);
        }
        let wait_ms = i64::try_from(self.settings.in_doubt_wait_ms).unwrap_or(i64::MAX);
        let ends_at = bulk.progress.updated_at.plus_ms(wait_ms);
        Some(duration_ms(ends_at.since(now)))
    }

    async fn claim(&self, bulk: &Bulk, known: Known, now: Timestamp) -> Result<Step, StepError> {
        let key = (bulk.client_id, bulk.id);
        let rest = |again_in| Ok(Step { key, known: Some(known), again_in });
        let wait = self.due_in(bulk, now);
        if !wait.is_zero() {
            return rest(wait);
        }
        let room = self.queued_ahead_max(bulk) - bulk.progress.counts.queued;
        let unclaimed = bulk.spec.recipients - bulk.progress.next;
        let count = bulk::due(bulk, now).min(unclaimed).min(BATCH_RECIPIENTS_MAX as u32);
        let count = i64::from(count).min(room);
        if count <= 0 {
            // What leaves is projected, which wakes us.
            return rest(LOOK_MAX);
        }
        let count = u32::try_from(count).unwrap_or(1);
        let (client, id, first) = (key.0, key.1, bulk.progress.next);
        let recipients = self.queries.bulk_recipients_given(client, id, first, count).await?;
        if recipients.is_empty() {
            tracing::error!(bulk_id = %id, first, "recipients of a bulk are missing");
            let title = "Recipients are missing".to_owned();
            let detail = "a part of the recipients can't be read".to_owned();
            let error = ProviderError { code: NOT_SENDABLE_CODE, title, detail };
            return self.advance(bulk, known, Finding::Refused(error)).await;
        }
        let claimed = recipients.len() as u64;
        let advanced = self.commands.claim_batch(bulk, expected(known), recipients).await?;
        if let Advanced::Done(_) = advanced {
            metrics::counter!(names::BULK_CLAIMED).increment(claimed);
        }
        Ok(self.advanced(bulk, known, advanced))
    }

    /// How long until the pace allows a batch that is worth an append.
    fn due_in(&self, bulk: &Bulk, now: Timestamp) -> Duration {
        let rate = bulk.spec.rate_per_second;
        let unclaimed = f64::from(bulk.spec.recipients - bulk.progress.next);
        let worth = (rate * BATCH_SPACING.as_secs_f64()).floor().clamp(1.0, unclaimed.max(1.0));
        let due = f64::from(bulk::due(bulk, now));
        if due >= worth {
            return Duration::ZERO;
        }
        let used_to_ms = bulk.progress.paced_to_us / 1000;
        let at_ms = used_to_ms.saturating_add((worth * 1000.0 / rate).ceil() as i64);
        duration_ms(at_ms.saturating_sub(now.0).max(1))
    }

    fn queued_ahead_max(&self, bulk: &Bulk) -> i64 {
        let seconds = Duration::from_millis(self.settings.queued_ahead_ms).as_secs_f64();
        (bulk.spec.rate_per_second * seconds).ceil().max(1.0) as i64
    }

    async fn advance(
        &self,
        bulk: &Bulk,
        known: Known,
        finding: Finding,
    ) -> Result<Step, StepError> {
        let advanced = self.commands.advance_bulk(bulk, expected(known), finding).await?;
        Ok(self.advanced(bulk, known, advanced))
    }

    fn advanced(&self, bulk: &Bulk, known: Known, advanced: Advanced) -> Step {
        let key = (bulk.client_id, bulk.id);
        let (known, again_in) = match advanced {
            Advanced::Done(appended) => {
                let revision = Some(appended.revision);
                (Known { revision, until: appended.position, stale: false }, BATCH_SPACING)
            }
            Advanced::Lost => (Known { stale: true, ..known }, Duration::ZERO),
        };
        Step { key, known: Some(known), again_in }
    }

    /// Discards what is stored of bulks that were never created: their request was cut off, or
    /// the process ended in the middle of it.
    async fn sweep(&self) {
        if let Err(error) = self.try_sweep().await {
            tracing::warn!(%error, "unfinished bulks could not be discarded: tries later");
        }
    }

    async fn try_sweep(&self) -> Result<(), StepError> {
        let now = self.clock.now();
        for (client, id) in self.queries.unfinished_bulks(SWEPT_AT_ONCE).await? {
            let begun_ms = i64::try_from(id.0.as_u128() >> 80).unwrap_or(i64::MAX);
            if now.since(Timestamp(begun_ms)) < TAKING_IN_MAX_MS || !(self.owns)(client) {
                continue;
            }
            let parts = self.queries.bulk_parts(client, id).await?;
            self.commands.discard_bulk(client, id, parts).await?;
            tracing::info!(bulk_id = %id, "discarded a bulk that was never created");
        }
        Ok(())
    }
}

fn expected(known: Known) -> Expected {
    known.revision.map_or(Expected::NoStream, Expected::Revision)
}

fn duration_ms(milliseconds: i64) -> Duration {
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0))
}

#[cfg(test)]
mod tests;
