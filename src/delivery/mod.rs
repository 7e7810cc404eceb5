//! See DESIGN.md.

pub mod listener;
