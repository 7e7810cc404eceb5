//! Tests at the boundaries, in one binary: one link, one start.

mod architecture;
mod autobahn;
mod crash;
mod documents;
mod feed_properties;
mod hostile;
mod peers;
mod prometheus;
mod rest;
mod stop;
mod webhooks;

#[path = "../support/mod.rs"]
mod support;
