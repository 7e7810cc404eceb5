//! How events reach clients: the accept loop, sessions, and the transports.
//!
//! A transport opens a session ([`sessions::Sessions::open`]) and does what it says
//! ([`session::Session::next`]); polling follows the feed by itself.

pub mod coding;
pub mod control;
pub mod listener;
pub mod poll;
pub mod registry;
pub mod request;
pub mod session;
pub mod sessions;
pub mod settings;
pub mod sse;
#[cfg(test)]
mod tests;
mod write;
pub mod ws;
