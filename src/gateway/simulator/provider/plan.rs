//! What becomes of a message: pure, from the seed, the message's key and the number of the attempt.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{ledger::Outcome, settings::Faults};

/// One in three customers doesn't open what they get.
const UNREAD_PERMILLE: u16 = 330;
/// How much later a late status comes.
const LATE_FACTOR: u32 = 10;
/// How long after its webhook an answer comes that is outrun by it.
const OUTRUN: Duration = Duration::from_millis(120);
/// Errors that pass, or that mean this recipient alone: with their HTTP status.
const PASSING_ERRORS: &[i64] = &[
    130_429, 131_056, 131_000, 131_016, 80_007, 4, 2, 131_026, 131_047, 131_049, 131_050, 130_472,
];
/// Codes of messages that were taken and fail afterwards.
const LATER_ERRORS: &[i64] = &[131_026, 131_049, 131_053, 131_000];

/// What the caller sees of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answering {
    AtOnce,
    /// After its first webhook.
    Outrun(Duration),
    Never,
    Cut,
}

/// A status that is to be told, this long after the message was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) after: Duration,
    pub(super) status: Outcome,
    /// With `Failed`: why.
    pub(super) error: Option<i64>,
}

/// What becomes of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    Refuse(i64),
    /// The connection ends, and it was not taken.
    Cut,
    Take {
        answering: Answering,
        statuses: Vec<Told>,
        outcome: Outcome,
    },
}

pub(super) fn plan(
    faults: &Faults,
    seed: u64,
    key: &str,
    attempt: u32,
    status_delay: Duration,
) -> Plan {
    let mut rng = rng(seed, key, attempt);
    let mut falls = |permille: u16| rng.random_range(0..1000) < permille;
    let (refused, cut) = (falls(faults.error_permille), falls(faults.cut_permille));
    let (cut_after, silence) = (falls(faults.cut_after_permille), falls(faults.silence_permille));
    let first = falls(faults.webhook_first_permille);
    let (fails, lost) = (falls(faults.fail_later_permille), falls(faults.lost_statuses_permille));
    let (late, twice) = (falls(faults.late_permille), falls(faults.twice_permille));
    let (reversed, read_only) = (falls(faults.reversed_permille), falls(faults.read_only_permille));
    let unread = falls(UNREAD_PERMILLE) && !read_only;
    if refused {
        let codes = match faults.error_codes.as_slice() {
            [] => PASSING_ERRORS,
            codes => codes,
        };
        return Plan::Refuse(codes[rng.random_range(0..codes.len())]);
    }
    if cut {
        return Plan::Cut;
    }
    let answering = match (cut_after, silence, first && !lost) {
        (true, ..) => Answering::Cut,
        (_, true, _) => Answering::Never,
        (.., true) => Answering::Outrun(OUTRUN),
        _ => Answering::AtOnce,
    };
    if lost {
        return Plan::Take { answering, statuses: Vec::new(), outcome: Outcome::Untold };
    }
    let mut statuses = vec![Outcome::Sent];
    if fails {
        statuses.push(Outcome::Failed);
    } else {
        if !read_only {
            statuses.push(Outcome::Delivered);
        }
        if !unread {
            statuses.push(Outcome::Read);
        }
    }
    let outcome = statuses.last().copied().unwrap_or(Outcome::Untold);
    let error = LATER_ERRORS[rng.random_range(0..LATER_ERRORS.len())];
    let mut times: Vec<Duration> = (1..=statuses.len() as u32)
        .map(|step| status_delay.mul_f64(f64::from(step) * rng.random_range(0.3..1.2)))
        .collect();
    times.sort_unstable();
    if first {
        times[0] = Duration::ZERO;
    }
    if late {
        let index = rng.random_range(0..times.len());
        times[index] *= LATE_FACTOR;
    }
    if reversed {
        statuses.reverse();
    }
    let tell = |(status, after): (Outcome, Duration)| Told {
        after,
        status,
        error: (status == Outcome::Failed).then_some(error),
    };
    let mut told: Vec<Told> = statuses.into_iter().zip(times).map(tell).collect();
    if twice {
        let again: Vec<Told> = told
            .iter()
            .map(|told| Told { after: told.after + status_delay / 2, ..*told })
            .collect();
        told.extend(again);
    }
    Plan::Take { answering, statuses: told, outcome }
}

/// Random numbers that depend on these three alone. `DefaultHasher::new` has fixed keys.
pub(super) fn rng(seed: u64, key: &str, attempt: u32) -> StdRng {
    let mut hasher = DefaultHasher::new();
    (seed, key, attempt).hash(&mut hasher);
    StdRng::seed_from_u64(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_millis(100);

    fn plans(faults: &Faults, seed: u64) -> Vec<Plan> {
        (0..2000).map(|number| plan(faults, seed, &format!("m{number}"), 1, DELAY)).collect()
    }

    #[test]
    fn a_seed_makes_it_repeatable_and_another_one_different() {
        let chaos = Faults::chaos();
        assert_eq!(plans(&chaos, 1), plans(&chaos, 1));
        assert_ne!(plans(&chaos, 1), plans(&chaos, 2));
        let again = plan(&chaos, 1, "m1", 2, DELAY);
        assert_eq!(again, plan(&chaos, 1, "m1", 2, DELAY));
    }

    #[test]
    fn without_faults_everything_is_taken_and_told_in_order() {
        for plan in plans(&Faults::default(), 1) {
            let Plan::Take { answering, statuses, outcome } = plan else { panic!("{plan:?}") };
            assert_eq!(answering, Answering::AtOnce);
            assert!(statuses.is_sorted_by_key(|told| told.after));
            assert_eq!(statuses[0].status, Outcome::Sent);
            assert!(matches!(outcome, Outcome::Delivered | Outcome::Read));
        }
    }

    #[test]
    fn chaos_has_every_fault_and_most_messages_still_go_through() {
        let plans = plans(&Faults::chaos(), 7);
        let count = |is: &dyn Fn(&Plan) -> bool| plans.iter().filter(|plan| is(plan)).count();
        let answered = |wanted: Answering| {
            count(&|plan| matches!(plan, Plan::Take { answering, .. } if *answering == wanted))
        };
        assert!((60..200).contains(&count(&|plan| matches!(plan, Plan::Refuse(_)))));
        assert!(count(&|plan| matches!(plan, Plan::Cut)) > 10);
        assert!(answered(Answering::Cut) > 10);
        assert!(answered(Answering::Never) > 5);
        assert!(answered(Answering::Outrun(OUTRUN)) > 50);
        assert!(answered(Answering::AtOnce) > 1500);
        let untold = count(
            &|plan| matches!(plan, Plan::Take { outcome: Outcome::Untold, statuses, .. } if statuses.is_empty()),
        );
        assert!(untold > 10);
    }

    #[test]
    fn what_outruns_the_answer_is_told_at_once() {
        let faults = Faults { webhook_first_permille: 1000, ..Faults::default() };
        for plan in plans(&faults, 3) {
            let Plan::Take { statuses, .. } = plan else { panic!("{plan:?}") };
            assert_eq!(statuses[0].after, Duration::ZERO);
        }
    }
}
