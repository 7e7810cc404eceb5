//! Answers with a body, written as the feed writes it: by serde, explicit nulls included.

use poem::{IntoResponse, Response};
use poem_openapi::{
    ApiResponse,
    payload::Payload,
    registry::{MetaMediaType, MetaResponse, MetaResponses, MetaSchemaRef, Registry},
    types::Type,
};
use serde::Serialize;

use super::Deps;
use crate::{
    domain::ids::Position,
    projection::queries::QueryError,
    wire::{
        cursor::Cursor,
        problem::{Code, Problem},
    },
};

const JSON: &str = "application/json";

/// `200` with a JSON body.
pub struct Answer<T>(pub T);

impl<T: Type + Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => Response::builder().content_type(JSON).body(body),
            Err(error) => {
                tracing::error!(%error, "an answer could not be written as JSON");
                Problem::new(Code::Internal).into_response()
            }
        }
    }
}

impl<T: Type + Serialize> Payload for Answer<T> {
    const CONTENT_TYPE: &'static str = JSON;

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: Type + Serialize> ApiResponse for Answer<T> {
    fn meta() -> MetaResponses {
        let content = vec![MetaMediaType { content_type: JSON, schema: T::schema_ref() }];
        MetaResponses {
            responses: vec![MetaResponse {
                description: "Done.",
                status: Some(200),
                status_range: None,
                content,
                headers: Vec::new(),
            }],
        }
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

/// The cursor of the event at `position`, as a write answers it.
pub fn cursor_at(deps: &Deps, position: Position) -> String {
    let cursor = Cursor { position, ordinal: 0 };
    cursor.display(deps.queries.epoch()).to_string()
}

/// Waits until this instance has projected a write at `position`, so that its answer can show
/// what became of it. `false`: it has not come that far in time; the write is durable all the
/// same.
pub async fn projected(deps: &Deps, position: Position) -> Result<bool, Problem> {
    let wait = std::time::Duration::from_millis(deps.settings.at_least_wait_ms);
    let cursor = Cursor { position, ordinal: 0 };
    match deps.queries.at_least(cursor, wait).await {
        Ok(()) => Ok(true),
        Err(QueryError::NotYet) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
