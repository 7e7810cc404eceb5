//! The body of `POST /v1/bulk` in its three forms: JSON with the recipients in it, CSV with all
//! else in the query, and a form with both, as a browser sends a file.
//!
//! **Invariant:** the request's bytes are held once. Recipients are read where they lie in them.

use bytes::Bytes;
use poem::{FromRequest, Request, RequestBody, Result, web::Multipart};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef, Registry},
    types::{ParseFromJSON, Type},
};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tokio_util::io::ReaderStream;

use super::{
    super::{
        Deps,
        body::{self, ReadBody, Room, too_large},
        extract::{deps, is_json, read_body},
        problem, validate,
    },
    shapes::NewBulk,
    source::{Csv, RECIPIENTS, Source, split_body},
};
use crate::{
    domain::media_type::essence,
    wire::problem::{Code, FieldError, Problem},
};

/// The parts of the form.
const BULK_PART: &str = "bulk";
/// The largest part of a form that is no file, in bytes.
const BULK_PART_BYTES_MAX: usize = 64 * 1024;

/// A body, its recipients not read yet.
pub struct BulkBody {
    /// All but the recipients. Of CSV: nothing.
    members: Map<String, Value>,
    source: Source,
    /// SHA-256 of all of it.
    digest: [u8; 32],
    /// Of what is still in memory.
    _room: Room,
}

impl BulkBody {
    /// The bulk that is asked for, by its schema, with the members that stand in the query for
    /// CSV. Its `recipients` are not those of the request.
    pub fn read(mut self, query: Map<String, Value>) -> Result<(NewBulk, Source, [u8; 32])> {
        if let Source::Csv(_) = self.source {
            for (name, value) in query {
                self.members.entry(name).or_insert(value);
            }
        }
        let head = Value::Object(self.members.clone()).to_string();
        let digest = Sha256::new().chain_update(self.digest).chain_update(head).finalize();
        // Stands for those of the request, which are judged one by one.
        self.members.insert(RECIPIENTS.to_owned(), json!([{"phone": "0"}]));
        let value = Value::Object(self.members);
        let errors = validate::check(&NewBulk::schema_ref(), &value);
        if !errors.is_empty() {
            return Err(problem::invalid_body(errors).into());
        }
        let bulk = NewBulk::parse_from_json(Some(value)).map_err(|_| {
            Problem::new(Code::ValidationFailed).detail("the body is not of the documented form")
        })?;
        Ok((bulk, self.source, digest.into()))
    }
}

impl<'a> ApiExtractor<'a> for BulkBody {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        NewBulk::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let text = || MetaSchemaRef::Inline(Box::new(MetaSchema::new("string")));
        let file = MetaSchema { format: Some("binary"), ..MetaSchema::new("string") };
        let form = MetaSchema {
            description: Some(
                "`bulk` is the JSON body without its recipients, `recipients` a CSV file.",
            ),
            required: vec![BULK_PART, RECIPIENTS],
            properties: vec![
                (BULK_PART, text()),
                (RECIPIENTS, MetaSchemaRef::Inline(Box::new(file))),
            ],
            ..MetaSchema::new("object")
        };
        let content = |content_type, schema| MetaMediaType { content_type, schema };
        Some(MetaRequest {
            description: None,
            content: vec![
                content("application/json", NewBulk::schema_ref()),
                content("text/csv", text()),
                content("multipart/form-data", MetaSchemaRef::Inline(Box::new(form))),
            ],
            required: true,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> Result<Self> {
        let deps = deps(request)?;
        let bytes_max = deps.settings.bulk_body_max_bytes;
        let content_type = request.content_type().unwrap_or_default();
        if is_json(content_type) {
            let read = read_body(request, body, deps, bytes_max).await?;
            return Ok(BulkBody { _room: read.room, ..of_json(&read.bytes)? });
        }
        match essence(content_type).as_str() {
            "text/csv" => {
                let read = read_body(request, body, deps, bytes_max).await?;
                Ok(BulkBody { _room: read.room, ..of_csv(Map::new(), read.bytes)? })
            }
            "multipart/form-data" => of_form(request, body, deps).await,
            _ => Err(Problem::new(Code::UnsupportedMediaType)
                .detail("send application/json, text/csv or multipart/form-data")
                .into()),
        }
    }
}

fn of_json(bytes: &Bytes) -> Result<BulkBody, Problem> {
    let (members, array) = split_body(bytes).map_err(|error| invalid_json(&error))?;
    let Some(array) = array else {
        let missing = FieldError::at_pointer(format!("/{RECIPIENTS}"), "is required");
        return Err(problem::invalid_body(vec![missing]));
    };
    let digest = Sha256::digest(&array).into();
    Ok(BulkBody { members, source: Source::Json { array }, digest, _room: Room::default() })
}

fn of_csv(members: Map<String, Value>, bytes: Bytes) -> Result<BulkBody, Problem> {
    let digest = Sha256::digest(&bytes).into();
    let csv = Csv::open(bytes).map_err(|error| {
        let error = FieldError::at_pointer(format!("/{RECIPIENTS}"), error.to_string());
        problem::invalid_body(vec![error])
    })?;
    Ok(BulkBody { members, source: Source::Csv(csv), digest, _room: Room::default() })
}

/// Reads a form part by part, each within its bound.
async fn of_form(request: &Request, body: &mut RequestBody, deps: &Deps) -> Result<BulkBody> {
    let limit = std::time::Duration::from_millis(deps.settings.body_timeout_ms);
    let read = tokio::time::timeout(limit, read_form(request, body, deps)).await;
    let FormParts { bulk, recipients } = read.map_err(|_| Problem::new(Code::RequestTimeout))??;
    let missing = |name: &str| {
        problem::invalid_body(vec![FieldError::at_pointer(format!("/{name}"), "is required")])
    };
    let bulk = bulk.ok_or_else(|| missing(BULK_PART))?;
    let members = match serde_json::from_slice(&bulk.bytes).map_err(|error| invalid_json(&error))? {
        Value::Object(members) => members,
        _ => return Err(Problem::new(Code::InvalidJson).detail("`bulk` is no object").into()),
    };
    let recipients = recipients.ok_or_else(|| missing(RECIPIENTS))?;
    Ok(BulkBody { _room: recipients.room, ..of_csv(members, recipients.bytes)? })
}

#[derive(Default)]
struct FormParts {
    bulk: Option<ReadBody>,
    recipients: Option<ReadBody>,
}

async fn read_form(request: &Request, body: &mut RequestBody, deps: &Deps) -> Result<FormParts> {
    let bytes_max = deps.settings.bulk_body_max_bytes;
    let announced = body::announced(request);
    if announced.is_some_and(|length| length > bytes_max as u64) {
        return Err(too_large(bytes_max).into());
    }
    // Within `bytes_max`, which is a usize.
    let announced = announced.map_or(bytes_max, |length| length as usize);
    let unreadable = || Problem::new(Code::InvalidRequest).detail("the form can't be read");
    let form = <Multipart as FromRequest>::from_request(request, body).await;
    let mut form = form.map_err(|_| unreadable())?;
    let mut parts = FormParts::default();
    while let Some(field) = form.next_field().await.map_err(|_| unreadable())? {
        let (slot, most) = match field.name() {
            Some(BULK_PART) => (&mut parts.bulk, BULK_PART_BYTES_MAX),
            Some(RECIPIENTS) => (&mut parts.recipients, bytes_max),
            // What a form has beside is of no use to us; it is read past.
            _ => continue,
        };
        let chunks = ReaderStream::new(field.into_async_read());
        *slot = Some(deps.body_room.collect(chunks, announced.min(most), most).await?);
    }
    Ok(parts)
}

fn invalid_json(error: &serde_json::Error) -> Problem {
    let place = format!("line {}, column {}", error.line(), error.column());
    Problem::new(Code::InvalidJson).detail(format!("the body is not JSON from {place} on"))
}
