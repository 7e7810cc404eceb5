//! Condorito Realtime: WhatsApp events in, one exact feed out.
//!
//! The modules in the order in which an event passes them:
//!
//! | stage | module |
//! | --- | --- |
//! | comes in | [`gateway`], [`ingest`], [`command`], [`event_log`] |
//! | is understood | [`domain`] (pure) |
//! | its attachments, its end | [`media`], [`erasure`] |
//! | goes out | [`projection`], [`feed`], [`delivery`], [`api`] |
//! | is sent | [`bulk`], [`outbox`] |
//! | around it | [`auth`], [`wire`], [`runtime`], [`metrics`] |
//!
//! Who may import whom stands in `docs/architecture.md` and is held by a test.

pub mod domain;
pub mod runtime;
pub mod wire;

pub mod gateway;
pub mod ingest;

pub mod command;
pub mod event_log;

pub mod projection;

pub mod feed;

pub mod bulk;

pub mod delivery;

pub mod erasure;
pub mod media;
pub mod outbox;

pub mod api;
pub mod app;
pub mod auth;
pub mod cli;
pub mod config;
pub mod console;
pub mod metrics;
