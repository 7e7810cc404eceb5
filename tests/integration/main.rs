//! Tests at the boundaries, in one binary: one link, one start.

mod architecture;
