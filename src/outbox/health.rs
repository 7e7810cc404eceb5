//! Whether a number, and what is sent through it, is taken by the provider: a circuit breaker.
//!
//! A provider that refuses the number (its token, a restriction, a payment) would refuse every
//! message, so that nothing more is claimed. After a pause one message is let through; when it is
//! refused as well the pause is twice as long. A provider that only asks for patience (too many
//! messages, not reachable) holds all back for as long as it says, or with a back-off. A bulk whose
//! template is refused is held back alone.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use crate::domain::ids::BulkId;

/// How often a pause is doubled.
const DOUBLINGS_MAX: u32 = 4;
/// The first wait after a provider that asked for patience without saying how long.
const PATIENCE_FIRST: Duration = Duration::from_millis(500);
/// Bulks that are held back at most; the one that is held the shortest is let go.
const HELD_BULKS_MAX: usize = 256;

/// What may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Permit {
    All,
    /// One message, to see whether the number is taken again.
    Probe,
    None,
}

/// How a number stands.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// The provider refuses the number: nothing leaves before.
    refused_until: Option<Instant>,
    /// Refusals in a row.
    refusals: u32,
    /// The provider asked for patience: nothing leaves before.
    patience_until: Option<Instant>,
    /// Requests for patience in a row.
    impatient: u32,
    /// One message was let through, and it is not known what came of it.
    probing: bool,
    held_bulks: HashMap<BulkId, (Instant, u32)>,
}

impl Health {
    pub fn is_well(&self) -> bool {
        self.refused_until.is_none() && self.patience_until.is_none() && self.held_bulks.is_empty()
    }

    pub fn permit(&self, now: Instant) -> Permit {
        match self.waits_until() {
            _ if self.probing => Permit::None,
            None => Permit::All,
            Some(until) if until <= now => Permit::Probe,
            Some(_) => Permit::None,
        }
    }

    /// When something may leave; `None`: when it is known what came of the probe.
    pub fn opens_at(&self, now: Instant) -> Option<Instant> {
        (!self.probing).then(|| self.waits_until().map_or(now, |until| until.max(now)))
    }

    fn waits_until(&self) -> Option<Instant> {
        self.refused_until.max(self.patience_until)
    }

    /// The one message is let through.
    pub fn probing(&mut self) {
        self.probing = true;
    }

    /// The one message did not come as far as the provider.
    pub fn not_probed(&mut self) {
        self.probing = false;
    }

    /// The provider took a message, or refused one for its own sake. `true`: the number was
    /// refused before.
    pub fn taken(&mut self, now: Instant) -> bool {
        if !self.probing && self.waits_until().is_some_and(|until| until > now) {
            // It was under way when the others were sent back.
            return false;
        }
        let was_refused = self.refused_until.is_some();
        self.mended();
        was_refused
    }

    /// The provider refuses the number. `true`: that is news.
    pub fn refused(&mut self, now: Instant, pause: Duration) -> bool {
        // Those that were under way when the first was refused say nothing new.
        if !self.probing && self.refused_until.is_some_and(|until| until > now) {
            return false;
        }
        let is_news = self.refused_until.is_none();
        self.refused_until = Some(now + doubled(pause, self.refusals));
        self.refusals = self.refusals.saturating_add(1);
        self.probing = false;
        is_news
    }

    /// The number is well again, or somebody says so.
    pub fn mended(&mut self) {
        self.refused_until = None;
        self.refusals = 0;
        self.patience_until = None;
        self.impatient = 0;
        self.probing = false;
    }

    /// The provider asks for patience.
    pub fn be_patient(&mut self, now: Instant, after: Option<Duration>) {
        let is_waiting = self.patience_until.is_some_and(|until| until > now);
        if !is_waiting {
            self.impatient = self.impatient.saturating_add(1);
        }
        let doublings = self.impatient.saturating_sub(1);
        let pause = after.unwrap_or_else(|| doubled(PATIENCE_FIRST, doublings));
        self.patience_until = self.patience_until.max(Some(now + pause));
        self.probing = false;
    }

    pub fn hold_bulk(&mut self, bulk: BulkId, now: Instant, pause: Duration) {
        let before = self.held_bulks.get(&bulk).copied();
        if before.is_some_and(|(until, _)| until > now) {
            return;
        }
        let times = before.map_or(0, |(_, times)| times);
        self.held_bulks.insert(bulk, (now + doubled(pause, times), times.saturating_add(1)));
        if self.held_bulks.len() > HELD_BULKS_MAX {
            let soonest = self.held_bulks.iter().min_by_key(|(_, (until, _))| *until);
            if let Some(bulk) = soonest.map(|(bulk, _)| *bulk) {
                self.held_bulks.remove(&bulk);
            }
        }
    }

    /// A message of the bulk was taken.
    pub fn bulk_taken(&mut self, bulk: BulkId) {
        self.held_bulks.remove(&bulk);
    }

    pub fn bulk_held_until(&self, bulk: BulkId, now: Instant) -> Option<Instant> {
        self.held_bulks.get(&bulk).map(|(until, _)| *until).filter(|until| *until > now)
    }
}

fn doubled(pause: Duration, times: u32) -> Duration {
    pause.saturating_mul(1 << times.min(DOUBLINGS_MAX))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const PAUSE: Duration = Duration::from_secs(30);

    #[test]
    fn a_refused_number_is_left_alone_and_then_tried_with_one_message() {
        let mut health = Health::default();
        let mut now = Instant::now();
        assert_eq!(health.permit(now), Permit::All);
        assert!(health.refused(now, PAUSE), "news");
        assert!(!health.refused(now, PAUSE), "those under way are no news");
        assert!(!health.taken(now), "nor do they mend it");
        for pause in [30, 60, 120, 240, 480, 480] {
            assert_eq!(health.permit(now + Duration::from_secs(pause - 1)), Permit::None);
            now += Duration::from_secs(pause);
            assert_eq!(health.permit(now), Permit::Probe);
            health.probing();
            assert_eq!((health.permit(now), health.opens_at(now)), (Permit::None, None));
            assert!(!health.refused(now, PAUSE));
        }
        health.probing();
        assert!(health.taken(now), "it was refused before");
        assert!(!health.taken(now));
        assert!(health.is_well());
    }

    #[test]
    fn a_person_mends_it_at_once() {
        let mut health = Health::default();
        let now = Instant::now();
        health.refused(now, PAUSE);
        health.mended();
        assert_eq!(health.permit(now), Permit::All);
        assert!(health.refused(now, PAUSE), "news again");
    }

    #[test]
    fn patience_is_as_long_as_the_provider_says_or_grows_and_ends_with_one_message() {
        let mut health = Health::default();
        let now = Instant::now();
        health.be_patient(now, Some(Duration::from_secs(5)));
        assert_eq!(health.opens_at(now), Some(now + Duration::from_secs(5)));
        health.taken(now);
        assert_eq!(health.permit(now + Duration::from_secs(4)), Permit::None);
        assert_eq!(health.permit(now + Duration::from_secs(5)), Permit::Probe);
        let later = now + Duration::from_secs(6);
        health.be_patient(later, None);
        health.be_patient(later, None);
        assert_eq!(health.opens_at(later), Some(later + PATIENCE_FIRST * 2));
        health.probing();
        assert!(!health.taken(later), "it was never refused");
        assert_eq!(health.permit(later), Permit::All);
    }

    #[test]
    fn a_bulk_is_held_alone() {
        let mut health = Health::default();
        let (one, other) = (BulkId(Uuid::from_u128(1)), BulkId(Uuid::from_u128(2)));
        let now = Instant::now();
        health.hold_bulk(one, now, PAUSE);
        assert_eq!(health.bulk_held_until(one, now), Some(now + PAUSE));
        assert_eq!(health.bulk_held_until(other, now), None);
        let later = now + PAUSE;
        assert_eq!(health.bulk_held_until(one, later), None);
        health.hold_bulk(one, later, PAUSE);
        assert_eq!(health.bulk_held_until(one, later), Some(later + PAUSE * 2));
        health.bulk_taken(one);
        assert!(health.is_well());
    }
}
