//! What the tests and benchmarks share.

pub mod config;
pub mod follower;
pub mod provider;
pub mod server;

use std::path::PathBuf;

/// The server's binary of this build.
pub fn server_binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_condorito"))
}
