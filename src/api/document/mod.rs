//! The documents that describe the server: OpenAPI for REST, AsyncAPI for what streams.
//!
//! Both are made from the types and operations that run: [`openapi`] takes what poem-openapi
//! knows of the resources and mends it in its one post-processing place, [`elsewhere`] adds the
//! operations that `delivery` and `app` serve, [`events`] the public events. [`asyncapi`] says
//! the same of `/v1/ws` and `/v1/events/stream`. The committed copies in `openapi/` are compared
//! with them by a test.

pub mod asyncapi;
mod elsewhere;
mod events;
mod examples;
pub mod openapi;

use serde_json::Value;

use super::settings::ApiSettings;

/// The OpenAPI document as it is committed.
pub fn openapi_json() -> String {
    pretty(&openapi::document(""))
}

/// The AsyncAPI document as it is committed.
pub fn asyncapi_json() -> String {
    pretty(&asyncapi::document())
}

fn pretty(document: &Value) -> String {
    let mut text = serde_json::to_string_pretty(document).unwrap_or_default();
    text.push('\n');
    text
}

/// The documents as this server gives them out.
pub(super) struct Documents {
    pub openapi: String,
    pub asyncapi: String,
}

impl Documents {
    pub fn new(settings: &ApiSettings) -> Self {
        let openapi = openapi::document(&settings.public_url);
        Self { openapi: openapi.to_string(), asyncapi: asyncapi::document().to_string() }
    }
}

#[cfg(test)]
mod tests;
