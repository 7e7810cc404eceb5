//! The JSON that clients see: PROTOCOL.md as types. Shapes only, no behaviour.

pub mod cursor;
pub mod event_type;
pub mod problem;
pub mod send;
pub mod types;
