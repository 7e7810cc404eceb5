//! Rates: at most so many in a time, with some at once after a pause.
//!
//! The generic cell rate algorithm: of each stream only the moment is kept up to which its
//! allowance is used up, so a gate costs a few bytes and no timer. What was used before a restart
//! is forgotten; the provider's own limit is the last word then, and its answer is waited out.

use std::{collections::HashMap, hash::Hash, time::Duration};

use tokio::time::Instant;

/// A rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rate {
    pub interval: Duration,
    /// How many may pass at once; at least one.
    pub burst: u32,
}

impl Rate {
    pub fn per_second(count: f64, burst: u32) -> Self {
        let interval = Duration::from_secs_f64(1.0 / count.max(0.001));
        Self { interval, burst: burst.max(1) }
    }

    /// How far the allowance may be used up ahead of now for one more to pass.
    fn ahead_max(self) -> Duration {
        self.interval.saturating_mul(self.burst.saturating_sub(1))
    }
}

/// One stream's gate.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Gate {
    used_until: Option<Instant>,
}

impl Gate {
    /// When the next may pass: `now` or later.
    pub fn opens_at(&self, rate: Rate, now: Instant) -> Instant {
        let Some(used_until) = self.used_until else { return now };
        // Before the machine's start nothing was used.
        used_until.checked_sub(rate.ahead_max()).map_or(now, |opens| opens.max(now))
    }

    pub fn pass(&mut self, rate: Rate, now: Instant) {
        let from = self.used_until.map_or(now, |used_until| used_until.max(now));
        self.used_until = Some(from + rate.interval);
    }

    fn is_fresh(&self, now: Instant) -> bool {
        self.used_until.is_none_or(|used_until| used_until <= now)
    }
}

/// Gates of many streams; those that nothing was used of are forgotten.
#[derive(Debug)]
pub(super) struct Gates<K> {
    gates: HashMap<K, Gate>,
    /// Looked through for forgettable ones at this many.
    sweep_at: usize,
}

/// Gates that are kept at least before they are looked through.
const GATES_SWEEP_MIN: usize = 1024;

impl<K> Default for Gates<K> {
    fn default() -> Self {
        Self { gates: HashMap::new(), sweep_at: GATES_SWEEP_MIN }
    }
}

impl<K: Eq + Hash> Gates<K> {
    pub fn opens_at(&self, key: &K, rate: Rate, now: Instant) -> Instant {
        self.gates.get(key).map_or(now, |gate| gate.opens_at(rate, now))
    }

    /// Bounded by the number's own rate: a gate is kept for as long as its allowance is in use.
    pub fn pass(&mut self, key: K, rate: Rate, now: Instant) {
        self.gates.entry(key).or_default().pass(rate, now);
        if self.gates.len() >= self.sweep_at {
            self.gates.retain(|_, gate| !gate.is_fresh(now));
            self.sweep_at = (self.gates.len() * 2).max(GATES_SWEEP_MIN);
        }
    }

    /// Nothing of any allowance is in use.
    pub fn is_fresh(&self, now: Instant) -> bool {
        self.gates.values().all(|gate| gate.is_fresh(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many pass within `time`, when as many as may do so at each millisecond.
    fn passed(gate: &mut Gate, rate: Rate, from: Instant, time: Duration) -> u32 {
        let mut count = 0;
        for millisecond in 0..time.as_millis() as u64 {
            let now = from + Duration::from_millis(millisecond);
            while gate.opens_at(rate, now) <= now {
                gate.pass(rate, now);
                count += 1;
            }
        }
        count
    }

    #[test]
    fn a_burst_and_then_the_pace() {
        let rate = Rate { interval: Duration::from_secs(6), burst: 45 };
        let mut gate = Gate::default();
        let start = Instant::now();
        assert_eq!(passed(&mut gate, rate, start, Duration::from_secs(1)), 45);
        let minute = Duration::from_secs(60);
        assert_eq!(passed(&mut gate, rate, start + Duration::from_secs(1), minute), 10);
        // All of the burst is back after 45 intervals without any.
        let later = start + Duration::from_secs(61 + 45 * 6);
        assert_eq!(passed(&mut gate, rate, later, Duration::from_secs(1)), 45);
    }

    #[test]
    fn eighty_a_second_is_eighty_a_second() {
        let rate = Rate::per_second(80.0, 10);
        let mut gate = Gate::default();
        let start = Instant::now();
        assert_eq!(passed(&mut gate, rate, start, Duration::from_secs(1)), 89);
        let then = passed(&mut gate, rate, start + Duration::from_secs(1), Duration::from_secs(10));
        assert_eq!(then, 800);
    }

    #[test]
    fn what_is_not_in_use_is_forgotten() {
        let rate = Rate { interval: Duration::from_secs(6), burst: 45 };
        let mut gates = Gates::default();
        let start = Instant::now();
        for recipient in 0..20_000_u64 {
            gates.pass(recipient, rate, start + Duration::from_millis(recipient));
        }
        // At a thousand a second, each for six seconds.
        assert!(gates.gates.len() <= 16_384, "{}", gates.gates.len());
        assert!(!gates.is_fresh(start + Duration::from_secs(21)));
        assert!(gates.is_fresh(start + Duration::from_secs(27)));
    }
}
