//! The fold: from the state and one event to the next state and what the public hears of it.

use super::{event::Event, public::PublicEvent, state::State};

/// Applies `event` to `state` and returns the public events that follow from it, in order.
///
/// **Invariant:** total and deterministic. It never panics on any logged event, and reads no
/// clock and no randomness, so every instance folds the same log to the same state and events.
///
/// **Invariant:** idempotent over meaning. A message whose key is known, a status that is no
/// advance, a repeated notice change nothing and publish nothing.
pub fn fold(state: &mut impl State, event: &Event) -> Vec<PublicEvent> {
    let _ = (state, event);
    todo!("domain helper")
}
