//! A lively day for a demo tenant: customers write, the company answers from its phone, statuses
//! come, the bot switches, WhatsApp reconnects.
//!
//! `story` is pure: a seed and the time make the next thing that happens. `runner` does it, by
//! posting signed webhooks and REST calls to the server's own HTTP address, so that the demo
//! takes the same way as the real thing. `payloads` builds the bodies, for others as well.
//! `provider` is the other side: a server that takes what is sent.

mod cast;
pub mod payloads;
pub mod provider;
mod runner;
mod story;

pub use runner::{
    MAX_EVENTS_PER_MINUTE, MintToken, SimulatorError, SimulatorSettings, Target, run,
};
pub use story::{Names, Step, Story};
