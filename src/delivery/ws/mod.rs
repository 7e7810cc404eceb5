//! WebSocket.

pub mod engine;
