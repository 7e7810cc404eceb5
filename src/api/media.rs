//! Media: uploads in, copies out.
//!
//! What goes out was made by strangers. So nothing of it is ever run by a browser: `nosniff`
//! (from the edge), a policy that allows nothing and a sandbox around what is shown, and only
//! pictures, recordings and films are shown at all; the rest is saved.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt};
use http::{HeaderValue, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use poem::{
    Body, FromRequest, IntoResponse, Request, RequestBody, Response, Result, web::Multipart,
};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ApiResponse, ExtractParamOptions, OpenApi,
    param::{Header, Path, Query},
    registry::{
        MetaMediaType, MetaRequest, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef,
        Registry,
    },
    types::Type,
};
use tokio_util::io::ReaderStream;
use uuid::Uuid;

use super::{
    Deps,
    answer::{Answer, meta_header},
    extract::{Caller, MessagesRead, MessagesWrite},
    problem,
    shapes::{Chapter, UploadedMedia},
};
use crate::{
    domain::{ids::MediaId, media_type::essence},
    media::{About, FindError, Found, StoreError, kinds::NotTaken, upload::UploadError},
    metrics::MEDIA_UPLOADS,
    wire::problem::{Code, FieldError, Problem},
};

/// When to ask again for what is being fetched, or for a store that does not answer, in seconds.
const RETRY_AFTER_S: u64 = 2;
/// The part of a form that is taken: the first with a file's name, or with this name.
const FORM_PART: &str = "file";
/// Pieces that a form's part is handed on in, in bytes.
const PIECE_BYTES: usize = 64 << 10;
/// What of a file's name is written as `%XX` (RFC 8187).
const NOT_PLAIN: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Lets a browser show a picture or play a film, and do nothing else.
const POLICY: &str = "default-src 'none'; img-src 'self'; media-src 'self'; sandbox";

pub struct MediaApi(pub Arc<Deps>);

#[OpenApi(tag = "Chapter::Media")]
impl MediaApi {
    /// Upload a medium, to be sent later.
    ///
    /// The body is the file itself with its `Content-Type`, or a form (`multipart/form-data`) with
    /// one. What it is, is told from its content: `415` when WhatsApp does not take it, `413` when
    /// it is larger than WhatsApp takes.
    #[oai(path = "/v1/media", method = "post", operation_id = "upload_media")]
    async fn upload(
        &self,
        caller: Caller<MessagesWrite>,
        /// What the file is called, where the body does not say so.
        #[oai(validator(min_length = 1, max_length = 240))]
        filename: Query<Option<String>>,
        body: MediaBody,
    ) -> Result<Created> {
        let client = caller.identity.client_id;
        let media = &self.0.media;
        let name = filename.0.as_deref();
        let taken = match body {
            MediaBody::File { content_type, body } => {
                let parts = body.into_bytes_stream();
                media.upload(client, content_type.as_deref(), name, parts).await
            }
            MediaBody::Form(form) => {
                let part = FormPart::of(form).await?;
                let name = name.or(part.filename.as_deref());
                media.upload(client, part.content_type.as_deref(), name, part.bytes).await
            }
        };
        let outcome = taken.as_ref().map_or_else(outcome_of, |_| "stored");
        metrics::counter!(MEDIA_UPLOADS, "outcome" => outcome).increment(1);
        let (id, about) = taken.map_err(Problem::from)?;
        let About { mime_type, size, sha256, filename, .. } = about;
        Ok(Created(UploadedMedia { id: id.to_string(), mime_type, size, sha256, filename }))
    }

    /// A medium that a contact sent, or that was uploaded.
    ///
    /// One that is being fetched from the provider is waited for; then the answer is `503` with
    /// `media_pending`. `410` when it could not be fetched.
    #[oai(path = "/v1/media/:id", method = "get", operation_id = "get_media")]
    async fn get(
        &self,
        caller: Caller<MessagesRead>,
        /// `media.id` of a message, or the id of an upload.
        id: Path<Uuid>,
        /// Asks for a part: `bytes=0-499`.
        #[oai(name = "Range")]
        range: Header<Option<String>>,
        /// `ETag` of what the client has: then the answer may be `304`.
        #[oai(name = "If-None-Match")]
        if_none_match: Header<Option<String>>,
        /// `ETag` of what the client has a part of: `Range` counts only while it is the same.
        #[oai(name = "If-Range")]
        if_range: Header<Option<String>>,
    ) -> Result<Medium> {
        let client = caller.identity.client_id;
        let id = MediaId(id.0);
        let about = match self.0.media.find(client, id).await.map_err(Problem::from)? {
            Found::Here(about) => about,
            Found::Pending => {
                return Err(Problem::new(Code::MediaPending).retry_after_s(RETRY_AFTER_S).into());
            }
            Found::Failed => return Err(Problem::new(Code::MediaGone).into()),
            Found::None => return Err(no_such_medium().into()),
        };
        let etag = format!("\"{}\"", about.sha256);
        if if_none_match.0.is_some_and(|known| matches_etag(&known, &etag)) {
            return Ok(Medium(not_modified(&etag)));
        }
        let same = if_range.0.is_none_or(|known| known == etag);
        let asked = range.0.filter(|_| same).map(|range| read_range(&range, about.size));
        let part = match asked {
            None | Some(Asked::All) => None,
            Some(Asked::Part(part)) => Some(part),
            Some(Asked::Nothing) => return Ok(Medium(not_satisfiable(about.size))),
        };
        let bytes = part.clone().unwrap_or(0..about.size);
        let length = bytes.end - bytes.start;
        let bytes = self.0.media.read(client, id, bytes).await.map_err(|error| match error {
            StoreError::Gone => no_such_medium(),
            other => Problem::from(FindError::Store(other)),
        })?;
        Ok(Medium(shown(&about, &etag, part, length, Body::from_bytes_stream(bytes))))
    }
}

fn no_such_medium() -> Problem {
    Problem::new(Code::NotFound).detail("there is no such medium")
}

fn shown(about: &About, etag: &str, part: Option<Range<u64>>, length: u64, body: Body) -> Response {
    let mut response = Response::builder()
        .header(header::CONTENT_TYPE, &about.mime_type)
        .header(header::CONTENT_LENGTH, length)
        .header(header::CONTENT_DISPOSITION, disposition(about))
        .header(header::CONTENT_SECURITY_POLICY, POLICY)
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::ETAG, etag)
        .header(header::CACHE_CONTROL, "private, no-cache");
    if let Some(Range { start, end }) = part {
        let size = about.size;
        response = response
            .status(StatusCode::PARTIAL_CONTENT)
            .header(header::CONTENT_RANGE, format!("bytes {start}-{}/{size}", end - 1));
    }
    response.body(body)
}

fn not_modified(etag: &str) -> Response {
    Response::builder()
        .status(StatusCode::NOT_MODIFIED)
        .header(header::ETAG, etag)
        .header(header::CACHE_CONTROL, "private, no-cache")
        .finish()
}

fn not_satisfiable(size: u64) -> Response {
    let mut response = Problem::new(Code::RangeNotSatisfiable).into_response();
    if let Ok(range) = HeaderValue::try_from(format!("bytes */{size}")) {
        response.headers_mut().insert(header::CONTENT_RANGE, range);
    }
    response
}

/// What a `Range` asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// Everything: it is not understood, or of several parts, and may be left out (RFC 9110).
    All,
    /// Not empty, and within.
    Part(Range<u64>),
    /// Nothing that is there.
    Nothing,
}

fn read_range(text: &str, size: u64) -> Asked {
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-'))
    else {
        return Asked::All;
    };
    let digits = |text: &str| {
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // A number beyond all sizes is as the largest.
        plain.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let part = match (digits(first.trim()), last.trim()) {
        (Some(first), "") => first..size,
        (Some(first), last) => match digits(last) {
            Some(last) if last >= first => first..last.saturating_add(1).min(size),
            _ => return Asked::All,
        },
        (None, last) if first.trim().is_empty() => match digits(last) {
            Some(count) => size.saturating_sub(count)..size,
            None => return Asked::All,
        },
        (None, _) => return Asked::All,
    };
    if part.is_empty() { Asked::Nothing } else { Asked::Part(part) }
}

fn matches_etag(known: &str, etag: &str) -> bool {
    known
        .split(',')
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == etag)
}

/// Shown only where a browser shows it without running anything.
fn disposition(about: &About) -> String {
    let essence = essence(&about.mime_type);
    let plain = matches!(essence.as_str(), "image/jpeg" | "image/png" | "image/webp" | "image/gif")
        || essence.starts_with("audio/")
        || essence.starts_with("video/");
    let kind = if plain { "inline" } else { "attachment" };
    let Some(name) = &about.filename else { return kind.to_owned() };
    let simple: String = name
        .chars()
        .map(|c| if c.is_ascii_graphic() && !matches!(c, '"' | '\\') || c == ' ' { c } else { '_' })
        .collect();
    let exact = percent_encode(name.as_bytes(), &NOT_PLAIN);
    format!("{kind}; filename=\"{simple}\"; filename*=UTF-8''{exact}")
}

fn outcome_of(error: &UploadError) -> &'static str {
    match error {
        UploadError::NotTaken(_) => "not_taken",
        UploadError::TooLarge { .. } => "too_large",
        UploadError::QuotaUsedUp => "quota",
        UploadError::TooManyAtOnce => "too_many",
        UploadError::Stalled | UploadError::BrokenOff => "broken_off",
        UploadError::Store(_) => "failed",
    }
}

impl From<UploadError> for Problem {
    fn from(error: UploadError) -> Self {
        let detail = error.to_string();
        match error {
            UploadError::NotTaken(NotTaken::Unsupported { .. } | NotTaken::Unknown) => {
                Problem::new(Code::UnsupportedMediaType).detail(detail)
            }
            UploadError::NotTaken(_) => Problem::new(Code::ValidationFailed)
                .detail(detail.clone())
                .errors(vec![FieldError::at_pointer("", detail)]),
            UploadError::TooLarge { .. } => Problem::new(Code::BodyTooLarge).detail(detail),
            UploadError::QuotaUsedUp => Problem::new(Code::QuotaUsedUp),
            UploadError::TooManyAtOnce => {
                Problem::new(Code::RateLimited).detail(detail).retry_after_s(RETRY_AFTER_S)
            }
            UploadError::Stalled => Problem::new(Code::RequestTimeout),
            UploadError::BrokenOff => {
                Problem::new(Code::InvalidRequest).detail("the body did not arrive whole")
            }
            UploadError::Store(error) => FindError::Store(error).into(),
        }
    }
}

impl From<FindError> for Problem {
    fn from(error: FindError) -> Self {
        match error {
            FindError::Query(error) => error.into(),
            FindError::Store(error) => {
                tracing::error!(%error, "the media store could not answer a request");
                Problem::new(Code::MediaUnavailable).retry_after_s(RETRY_AFTER_S)
            }
        }
    }
}

/// A body that is a file, or a form with one.
enum MediaBody {
    File { content_type: Option<String>, body: Body },
    Form(Multipart),
}

impl<'a> ApiExtractor<'a> for MediaBody {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        let mut form = MetaSchema::new("object");
        form.properties.push((FORM_PART, binary()));
        form.required.push(FORM_PART);
        let content = vec![
            MetaMediaType { content_type: "*/*", schema: binary() },
            MetaMediaType {
                content_type: "multipart/form-data",
                schema: MetaSchemaRef::Inline(Box::new(form)),
            },
        ];
        Some(MetaRequest { description: None, content, required: true })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> Result<Self> {
        let content_type = request.content_type().map(str::to_owned);
        if content_type.as_deref().map(essence).as_deref() == Some("multipart/form-data") {
            let form = <Multipart as FromRequest>::from_request(request, body).await;
            return form.map(MediaBody::Form).map_err(|_| broken_form().into());
        }
        let body = body.take().map_err(|error| problem::of_body_error(&error))?;
        Ok(MediaBody::File { content_type, body })
    }
}

fn broken_form() -> Problem {
    Problem::new(Code::InvalidRequest).detail("the form can't be read")
}

fn binary() -> MetaSchemaRef {
    MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("string", "binary")))
}

/// The file of a form.
struct FormPart {
    content_type: Option<String>,
    filename: Option<String>,
    bytes: std::pin::Pin<Box<dyn Stream<Item = std::io::Result<Bytes>> + Send>>,
}

impl FormPart {
    async fn of(mut form: Multipart) -> Result<Self, Problem> {
        while let Some(field) = form.next_field().await.map_err(|_| broken_form())? {
            if field.file_name().is_none() && field.name() != Some(FORM_PART) {
                continue;
            }
            let content_type = field.content_type().map(str::to_owned);
            let filename = field.file_name().map(str::to_owned);
            let pieces = ReaderStream::with_capacity(field.into_async_read(), PIECE_BYTES);
            // The form lives as long as its part is read.
            let bytes = pieces.map_ok(Bytes::from).chain(futures_util::stream::once(async move {
                drop(form);
                Ok(Bytes::new())
            }));
            return Ok(Self { content_type, filename, bytes: Box::pin(bytes) });
        }
        let detail = format!("the form has no file: name its part `{FORM_PART}`");
        let errors = vec![FieldError::at_pointer(format!("/{FORM_PART}"), detail.clone())];
        Err(Problem::new(Code::ValidationFailed).detail(detail).errors(errors))
    }
}

/// `201` with what was taken in.
struct Created(UploadedMedia);

impl IntoResponse for Created {
    fn into_response(self) -> Response {
        let place = format!("/v1/media/{}", self.0.id);
        let answer = Answer(self.0).with_status(StatusCode::CREATED);
        answer.with_header(header::LOCATION, place).into_response()
    }
}

impl ApiResponse for Created {
    fn meta() -> MetaResponses {
        let mut meta = <Answer<UploadedMedia>>::meta();
        for response in &mut meta.responses {
            response.status = Some(201);
            response.description = "Taken in.";
            response.headers.push(meta_header::<String>("Location", "Where it is.", true));
        }
        meta
    }

    fn register(registry: &mut Registry) {
        UploadedMedia::register(registry);
    }
}

/// A medium's bytes, or that the client has them.
struct Medium(Response);

impl IntoResponse for Medium {
    fn into_response(self) -> Response {
        self.0
    }
}

impl ApiResponse for Medium {
    fn meta() -> MetaResponses {
        let response = |status, description, has_body: bool| MetaResponse {
            description,
            status: Some(status),
            status_range: None,
            content: match has_body {
                true => vec![MetaMediaType { content_type: "*/*", schema: binary() }],
                false => Vec::new(),
            },
            headers: vec![meta_header::<String>("ETag", "Names these bytes.", true)],
        };
        MetaResponses {
            responses: vec![
                response(200, "All of it.", true),
                response(206, "The part that `Range` asks for.", true),
                response(304, "What the client has is the same.", false),
            ],
        }
    }

    fn register(_registry: &mut Registry) {}
}

#[cfg(test)]
mod tests;
