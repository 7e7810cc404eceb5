//! Answers with a body, written as the feed writes it: by serde, explicit nulls included.

use std::marker::PhantomData;

use http::StatusCode;
use poem::{IntoResponse, Response};
use poem_openapi::{
    ApiResponse,
    payload::Payload,
    registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, MetaSchemaRef, Registry},
    types::Type,
};
use serde::Serialize;
use serde_json::Value;

use super::Deps;
use crate::{
    command::{self, Answered},
    domain::ids::Position,
    wire::{
        cursor::Cursor,
        problem::{Code, Problem},
    },
};

const JSON: &str = "application/json";

/// Tells that an answer is the first one under its idempotency key, again.
const REPLAYED: &str = "Idempotency-Replayed";

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

/// `202`: it is stored, and is done later. `T` as documented.
pub struct AcceptedAnswer<T>(pub WriteAnswer<T>);

impl<T: Send> IntoResponse for AcceptedAnswer<T> {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

impl<T: Type + Serialize> ApiResponse for AcceptedAnswer<T> {
    fn meta() -> MetaResponses {
        let mut meta = <WriteAnswer<T>>::meta();
        for response in &mut meta.responses {
            response.status = Some(202);
            response.description = "It is stored and will be done.";
        }
        meta
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

/// A header of an answer, for the documentation.
pub fn meta_header<T: Type>(name: &str, description: &str, required: bool) -> MetaHeader {
    MetaHeader {
        name: name.to_owned(),
        description: Some(description.to_owned()),
        required,
        deprecated: false,
        schema: T::schema_ref(),
    }
}

/// The cursor of the event at `position`, as a write answers it.
pub fn cursor_at(deps: &Deps, position: Position) -> String {
    let cursor = Cursor { position, ordinal: 0 };
    cursor.display(deps.queries.epoch()).to_string()
}

/// What a write is answered with, but for its cursor, which is known once it is stored. `body` is
/// the documented answer; its `cursor` is taken out.
pub fn unsent<T: Type + Serialize>(status: u16, body: &T) -> command::Answer {
    let mut body = serde_json::to_value(body).unwrap_or_default();
    if let Some(members) = body.as_object_mut() {
        members.remove("cursor");
    }
    command::Answer { status, body }
}

/// The answer of a write: `T` as documented, as it was first given under an idempotency key.
/// With `CREATES` also `201`.
pub struct WriteAnswer<T, const CREATES: bool = false> {
    status: StatusCode,
    body: Value,
    repeated: bool,
    shape: PhantomData<T>,
}

impl<T, const CREATES: bool> WriteAnswer<T, CREATES> {
    pub fn new(deps: &Deps, answered: Answered) -> Self {
        let Answered { answer, position, repeated } = answered;
        let mut body = answer.body;
        if let Some(members) = body.as_object_mut() {
            members.entry("cursor").or_insert_with(|| cursor_at(deps, position).into());
        }
        let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
        Self { status, body, repeated, shape: PhantomData }
    }
}

impl<T: Send, const CREATES: bool> IntoResponse for WriteAnswer<T, CREATES> {
    fn into_response(self) -> Response {
        let response = Response::builder().status(self.status).content_type(JSON);
        let response = match self.repeated {
            true => response.header(REPLAYED, "true"),
            false => response,
        };
        response.body(self.body.to_string())
    }
}

impl<T: Type + Serialize, const CREATES: bool> ApiResponse for WriteAnswer<T, CREATES> {
    fn meta() -> MetaResponses {
        let response = |status, description| MetaResponse {
            description,
            status: Some(status),
            status_range: None,
            content: vec![MetaMediaType { content_type: JSON, schema: T::schema_ref() }],
            headers: vec![meta_header::<bool>(
                REPLAYED,
                "`true` when this is the first answer under the Idempotency-Key, again.",
                false,
            )],
        };
        let mut responses = vec![response(200, "Done.")];
        if CREATES {
            responses.push(response(201, "Done, and something new is there."));
        }
        MetaResponses { responses }
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}
