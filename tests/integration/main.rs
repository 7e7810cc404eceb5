//! Tests at the boundaries, in one binary: one link, one start.

mod access;
mod architecture;
mod autobahn;
mod bulk;
mod bulk_crash;
mod cli;
mod crash;
mod documents;
mod feed_properties;
mod hostile;
mod media;
mod peers;
mod prometheus;
mod rest;
mod schemathesis;
mod sending;
mod stop;
mod tenants;
mod waha_sending;
mod webhooks;

#[path = "../support/mod.rs"]
mod support;
