//! What a number and a recipient may take: token buckets, as Meta describes them.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::settings::ProviderSimulatorSettings;

/// One message to a recipient in so long,
const PAIR_INTERVAL: Duration = Duration::from_secs(6);
/// and so many at once.
const PAIR_BURST: f64 = 45.0;
/// The most recipients that are kept in mind; then those that may be sent everything are forgotten.
const PAIRS_MAX: usize = 200_000;

/// A bucket that fills with time.
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn full(size: f64, now: Instant) -> Self {
        Self { tokens: size, at: now }
    }

    fn fill(&mut self, per_second: f64, size: f64, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * per_second).min(size);
        self.at = now;
    }

    fn take(&mut self) -> bool {
        let has = self.tokens >= 1.0;
        if has {
            self.tokens -= 1.0;
        }
        has
    }
}

pub(super) struct Limits {
    number_rate: f64,
    pairs_limited: bool,
    numbers: HashMap<String, Bucket>,
    pairs: HashMap<(String, String), Bucket>,
}

impl Limits {
    pub(super) fn new(settings: &ProviderSimulatorSettings) -> Self {
        Self {
            number_rate: f64::from(settings.number_rate_per_second),
            pairs_limited: settings.pair_limit,
            numbers: HashMap::new(),
            pairs: HashMap::new(),
        }
    }

    /// The code of the limit that this message is beyond.
    pub(super) fn exceeded(&mut self, number: &str, recipient: &str, now: Instant) -> Option<i64> {
        if self.number_rate > 0.0 {
            let size = self.number_rate;
            let bucket =
                self.numbers.entry(number.to_owned()).or_insert_with(|| Bucket::full(size, now));
            bucket.fill(self.number_rate, size, now);
            if !bucket.take() {
                return Some(130_429);
            }
        }
        if !self.pairs_limited {
            return None;
        }
        let per_second = 1.0 / PAIR_INTERVAL.as_secs_f64();
        if self.pairs.len() >= PAIRS_MAX {
            self.pairs.retain(|_, bucket| {
                bucket.fill(per_second, PAIR_BURST, now);
                bucket.tokens < PAIR_BURST
            });
        }
        let pair = (number.to_owned(), recipient.to_owned());
        let bucket = self.pairs.entry(pair).or_insert_with(|| Bucket::full(PAIR_BURST, now));
        bucket.fill(per_second, PAIR_BURST, now);
        if bucket.take() { None } else { Some(131_056) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_a_pair_have_their_limits() {
        let settings = ProviderSimulatorSettings {
            number_rate_per_second: 100,
            ..ProviderSimulatorSettings::default()
        };
        let mut limits = Limits::new(&settings);
        let start = Instant::now();
        let burst: Vec<_> = (0..46).map(|_| limits.exceeded("1", "ana", start)).collect();
        assert_eq!(burst[..45], [None; 45]);
        assert_eq!(burst[45], Some(131_056));
        assert_eq!(limits.exceeded("1", "ana", start + PAIR_INTERVAL), None);
        let later = start + Duration::from_secs(60);
        let many: Vec<_> =
            (0..101).map(|number| limits.exceeded("1", &number.to_string(), later)).collect();
        assert_eq!(many[..100], vec![None; 100][..]);
        assert_eq!(many[100], Some(130_429));
        assert_eq!(limits.exceeded("2", "100", later), None, "another number");
    }
}
