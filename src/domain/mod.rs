//! The pure core: identifiers, events, and what they mean.
//!
//! **Invariant:** no I/O, no clock, no randomness in here; time and ids are arguments.

pub mod bot;
pub mod bulk;
pub mod contact;
pub mod conversation;
pub mod day;
pub mod event;
pub mod fold;
pub mod ids;
pub mod intake;
pub mod media_type;
pub mod message;
pub mod public;
pub mod state;
pub mod stats;
pub mod tenant;
pub mod time;
pub mod whatsapp;
