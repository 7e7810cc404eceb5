//! Sessions and transports over a feed in memory.

mod harness;
mod polling;
mod sessions;
mod streams;
