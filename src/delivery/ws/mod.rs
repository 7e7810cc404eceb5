//! WebSocket.

pub mod engine;
pub mod frames;
pub mod handshake;
pub mod socket;
