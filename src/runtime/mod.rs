//! What every part needs of the world: time, randomness, stopping, waiting, secrets.
//!
//! **Invariant:** nothing outside this folder asks the system for the time or for randomness that
//! ends up in an event.

pub mod backoff;
pub mod clock;
pub mod keyring;
pub mod secret;
pub mod shutdown;
