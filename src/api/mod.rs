//! The REST interface: requests in, commands and queries behind them, problem details where
//! something is wrong.
//!
//! A request passes [`edge`] (id, bounds, problems, metrics), its route in [`mount`], the
//! extractors of its operation ([`extract`]: who calls, how far the read model must be, the
//! body), and the operation itself: one struct per resource, one method per operation. The
//! document ([`document`]) is made from the same structs, so what it says is what runs.
//!
//! **Invariant:** an operation reads through `Queries` and writes through `Commands`, always with
//! the caller's tenant first; what belongs to another tenant is answered as what does not exist.

use std::sync::Arc;

use crate::{
    auth::Auth, command::Commands, gateway::tenancy::Tenancy, ingest::Ingest, media::Media,
    projection::queries::Queries, runtime::clock::Clock,
};

mod answer;
mod body;
mod bot;
mod bulk;
mod conversations;
pub mod document;
pub mod edge;
mod extract;
mod ingest;
mod media;
mod messages;
mod moment;
pub mod mount;
mod page_mark;
mod personal_data;
pub mod problem;
pub mod settings;
mod shapes;
mod snapshot;
mod static_pages;
mod stats;
mod templates;
mod tenants;
mod tickets;
mod validate;
mod webhooks;
mod whatsapp;

pub use self::{
    body::BodyRoom,
    document::{asyncapi_json, openapi_json},
    edge::Edge,
    mount::{only_get, routes},
    settings::ApiSettings,
    static_pages::accepts,
};

/// What the operations work with. Shared by all requests.
pub struct Deps {
    pub auth: Arc<Auth>,
    pub commands: Arc<Commands>,
    pub queries: Queries,
    pub ingest: Ingest,
    pub media: Arc<Media>,
    /// Who reads providers' webhooks, and every tenant's way out to its provider.
    pub tenancy: Arc<Tenancy>,
    pub clock: Arc<dyn Clock>,
    pub settings: ApiSettings,
    pub body_room: BodyRoom,
}
