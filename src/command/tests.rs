//! Commands, given what was stored before.

use std::sync::Arc;

use super::{
    testing::{CLIENT, NOW, World, actor},
    *,
};

mod directory;
mod intake;
mod known;
mod sending;
mod write;
