//! What operations take from a request: who calls, how far the read model must be, the
//! idempotency key, the body. Each turns a fault into its problem by itself.
//!
//! Shared parts come to them as data of the request, put there by [`mount`](super::mount).

use std::{marker::PhantomData, sync::Arc, time::Duration};

use bytes::Bytes;
use poem::{Body, Request, RequestBody, Result};
use poem_openapi::{
    __private::UrlQuery,
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{
        MetaMediaType, MetaParamIn, MetaRequest, MetaSchema, MetaSchemaRef, MetaSecurityScheme,
        Registry,
    },
    types::{ParseFromJSON, Type},
};

use super::{
    Deps,
    body::{self, ReadBody, Room},
    problem, validate,
};
use crate::{
    auth::{AuthError, Identity, Scopes},
    command::{self, Actor},
    domain::media_type::essence,
    wire::{
        cursor::{CURSOR_LENGTH_MAX, Cursor, CursorError},
        problem::{Code, Problem},
    },
};

/// The shared parts of the request that is being answered.
pub fn deps(request: &Request) -> Result<&Deps, Problem> {
    request.data::<Arc<Deps>>().map(Arc::as_ref).ok_or_else(|| {
        tracing::error!("an operation is mounted without its parts");
        Problem::new(Code::Internal)
    })
}

/// A scope as a type, so that an operation's signature says what it needs.
pub trait Needs: Send + Sync + 'static {
    const SCOPES: Scopes;
    /// Security scheme and scope as the document's post-processing reads them.
    const NAME: &'static str;

    /// Refuses a caller who may not.
    fn allow(identity: &Identity) -> Result<(), AuthError> {
        identity.require(Self::SCOPES)
    }
}

macro_rules! needs {
    ($($(#[$doc:meta])* $name:ident $constant:ident $scope:literal;)*) => {$(
        $(#[$doc])*
        pub struct $name;
        impl Needs for $name {
            const SCOPES: Scopes = Scopes::$constant;
            const NAME: &'static str = concat!("bearer ", $scope);
        }
    )*};
}

needs! {
    /// Read conversations, messages and statistics.
    MessagesRead MESSAGES_READ "messages:read";
    /// Change conversations and send messages.
    MessagesWrite MESSAGES_WRITE "messages:write";
    /// Send bulks and stop them.
    BulkWrite BULK_WRITE "bulk:write";
    /// Switch the bot.
    BotWrite BOT_WRITE "bot:write";
    /// Bring in messages and statuses.
    IngestWrite INGEST_WRITE "ingest:write";
    /// Change the tenant and its connection to WhatsApp.
    TenantWrite TENANT_WRITE "tenant:write";
}

/// Send messages: people with `messages:write`, the bot with `bot:write`.
pub struct MessagesSend;

impl Needs for MessagesSend {
    const SCOPES: Scopes = Scopes::MESSAGES_WRITE;
    const NAME: &'static str = MessagesWrite::NAME;

    fn allow(identity: &Identity) -> Result<(), AuthError> {
        match identity.sends_as() {
            Some(_) => Ok(()),
            None => identity.require(Self::SCOPES),
        }
    }
}

/// Any token that holds will do.
pub struct AnyToken;

impl Needs for AnyToken {
    const SCOPES: Scopes = Scopes(0);
    const NAME: &'static str = "bearer ";
}

/// A caller who may do what the operation does.
pub struct Caller<N> {
    pub identity: Identity,
    needs: PhantomData<N>,
}

impl<N> Caller<N> {
    /// As whom events are recorded.
    pub fn actor(&self) -> Actor {
        Actor::user(&self.identity.subject)
    }
}

impl<'a, N: Needs> ApiExtractor<'a> for Caller<N> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        for (name, scheme) in security_schemes() {
            registry.create_security_scheme(name, scheme);
        }
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![N::NAME]
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> Result<Self> {
        let auth = &deps(request)?.auth;
        let identity = auth.identify_request(request).await.map_err(Problem::from)?;
        N::allow(&identity).map_err(Problem::from)?;
        Ok(Self { identity, needs: PhantomData })
    }
}

/// The three ways of showing a token.
fn security_schemes() -> [(&'static str, MetaSecurityScheme); 3] {
    let scheme = |ty, description| MetaSecurityScheme {
        ty,
        description: Some(description),
        name: None,
        key_in: None,
        scheme: None,
        bearer_format: None,
        flows: None,
        openid_connect_url: None,
    };
    let in_query = |name, description| MetaSecurityScheme {
        name: Some(name),
        key_in: Some("query"),
        ..scheme("apiKey", description)
    };
    let bearer = MetaSecurityScheme {
        scheme: Some("bearer"),
        bearer_format: Some("JWT"),
        ..scheme(
            "http",
            "A JWT with `sub`, `client_id` (the tenant), `scope` (space separated) and `exp`. \
             `admin` alone may name another tenant with `X-Client-Id`.",
        )
    };
    [
        ("bearer", bearer),
        ("access_token", in_query("access_token", "The same JWT, where no header can be set.")),
        ("ticket", in_query("ticket", "A one-time ticket of `POST /v1/tickets`, for 30 seconds.")),
    ]
}

/// `at_least`: the operation runs once this instance has projected up to that cursor.
pub struct AtLeast;

impl<'a> ApiExtractor<'a> for AtLeast {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];
    type ParamType = String;
    type ParamRawType = String;

    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Query)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        Some(cursor_schema())
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        options: ExtractParamOptions<String>,
    ) -> Result<Self> {
        let Some(text) = query_value(request, options.name)? else { return Ok(Self) };
        let deps = deps(request)?;
        let cursor = read_cursor(deps, text).map_err(|error| match error {
            CursorError::Malformed => problem::invalid_parameter(options.name, error.to_string()),
            CursorError::OtherEpoch => Problem::from(error).cursor(head(deps)),
        })?;
        let wait = Duration::from_millis(deps.settings.at_least_wait_ms);
        deps.queries.at_least(cursor, wait).await.map_err(Problem::from)?;
        Ok(Self)
    }
}

/// A cursor as a parameter.
pub fn cursor_schema() -> MetaSchemaRef {
    MetaSchemaRef::Inline(Box::new(MetaSchema {
        min_length: Some(1),
        max_length: Some(CURSOR_LENGTH_MAX),
        pattern: Some("^[A-Za-z0-9-]+$".to_owned()),
        ..MetaSchema::new("string")
    }))
}

fn read_cursor(deps: &Deps, text: &str) -> Result<Cursor, CursorError> {
    Cursor::parse(text, deps.queries.epoch())
}

/// Where this instance stands.
fn head(deps: &Deps) -> String {
    let position = *deps.queries.projected().borrow();
    Cursor::end_of(position).display(deps.queries.epoch()).to_string()
}

/// The one value of a query parameter; several are a fault.
fn query_value<'a>(request: &'a Request, name: &str) -> Result<Option<&'a str>, Problem> {
    let Some(query) = request.data::<UrlQuery>() else { return Ok(None) };
    let mut values = query.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value);
    let first = values.next();
    if values.next().is_some() {
        return Err(problem::invalid_parameter(name, "is there more than once"));
    }
    Ok(first.map(String::as_str))
}

/// The longest `Idempotency-Key`, in characters.
pub const IDEMPOTENCY_KEY_LENGTH_MAX: usize = 255;

/// `Idempotency-Key`, where the client sent one, and the request that it names.
pub struct IdempotencyKey {
    key: Option<String>,
    method: String,
    path: String,
}

impl IdempotencyKey {
    /// The request with this body, `None` without a key. The query is left out: it holds
    /// credentials, and no write takes anything else from it.
    pub fn request(&self, body: &[u8]) -> Option<command::Request> {
        let key = self.key.as_deref()?;
        Some(command::Request::new(key, &self.method, &self.path, body))
    }
}

impl<'a> ApiExtractor<'a> for IdempotencyKey {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];
    type ParamType = String;
    type ParamRawType = String;

    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Header)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        Some(MetaSchemaRef::Inline(Box::new(MetaSchema {
            min_length: Some(1),
            max_length: Some(IDEMPOTENCY_KEY_LENGTH_MAX),
            pattern: Some("^[!-~]+$".to_owned()),
            ..MetaSchema::new("string")
        })))
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        options: ExtractParamOptions<String>,
    ) -> Result<Self> {
        let mut values = request.headers().get_all(options.name).iter();
        let named = |key| Self {
            key,
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
        };
        let Some(value) = values.next() else { return Ok(named(None)) };
        let wrong = |detail| Err(problem::invalid_parameter(options.name, detail).into());
        if values.next().is_some() {
            return wrong("is there more than once");
        }
        let visible = value.as_bytes().iter().all(u8::is_ascii_graphic);
        match value.to_str() {
            Ok(text) if visible && (1..=IDEMPOTENCY_KEY_LENGTH_MAX).contains(&text.len()) => {
                Ok(named(Some(text.to_owned())))
            }
            _ => wrong("must be 1 to 255 visible ASCII characters"),
        }
    }
}

/// Which bound a body has.
pub trait Bound: Send + Sync + 'static {
    fn bytes_max(deps: &Deps) -> usize;
}

/// The bound of most bodies.
pub struct Small;

impl Bound for Small {
    fn bytes_max(deps: &Deps) -> usize {
        deps.settings.body_max_bytes
    }
}

/// The bound of ingest batches.
pub struct Batch;

impl Bound for Batch {
    fn bytes_max(deps: &Deps) -> usize {
        deps.settings.ingest_body_max_bytes
    }
}

/// A JSON body that is valid by its schema, with the bytes that it was read from.
pub struct JsonBody<T, B = Small> {
    pub value: T,
    pub bytes: Bytes,
    /// Taken until the request has been answered.
    _room: Room,
    bound: PhantomData<B>,
}

impl<'a, T, B> ApiExtractor<'a> for JsonBody<T, B>
where
    T: Type + ParseFromJSON,
    B: Bound,
{
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(json_request(T::schema_ref()))
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> Result<Self> {
        if !request.content_type().is_some_and(is_json) {
            return Err(Problem::new(Code::UnsupportedMediaType).into());
        }
        let deps = deps(request)?;
        let bounds = deps.body_bounds(B::bytes_max(deps));
        let body = body.take().map_err(|error| problem::of_body_error(&error))?;
        let ReadBody { bytes, room } =
            deps.body_room.read(body, body::announced(request), bounds).await?;
        let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            Problem::new(Code::InvalidJson).detail(format!("the body is not JSON from {place} on"))
        })?;
        let errors = validate::check(&T::schema_ref(), &value);
        if !errors.is_empty() {
            return Err(problem::invalid_body(errors).into());
        }
        let value = T::parse_from_json(Some(value)).map_err(|_| {
            // The schema allows what the type does not; what that is stays unsaid.
            Problem::new(Code::ValidationFailed).detail("the body is not of the documented form")
        })?;
        Ok(Self { value, bytes, _room: room, bound: PhantomData })
    }
}

/// A webhook's body, not read yet: only when its signature is there is it worth that.
pub struct RawBody {
    body: Body,
    announced: Option<u64>,
}

impl RawBody {
    /// The body as it came, for its signature.
    pub async fn read(self, deps: &Deps) -> Result<ReadBody, Problem> {
        let bounds = deps.body_bounds(deps.settings.webhook_body_max_bytes);
        deps.body_room.read(self.body, self.announced, bounds).await
    }
}

impl<'a> ApiExtractor<'a> for RawBody {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        Some(json_request(MetaSchemaRef::Inline(Box::new(MetaSchema::new("object")))))
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> Result<Self> {
        let body = body.take().map_err(|error| problem::of_body_error(&error))?;
        Ok(Self { body, announced: body::announced(request) })
    }
}

/// The query as it came, for those who read it themselves.
pub struct RawQuery(pub String);

impl<'a> poem::FromRequest<'a> for RawQuery {
    async fn from_request(request: &'a Request, _body: &mut RequestBody) -> Result<Self> {
        Ok(Self(request.uri().query().unwrap_or_default().to_owned()))
    }
}

fn json_request(schema: MetaSchemaRef) -> MetaRequest {
    let content = vec![MetaMediaType { content_type: "application/json", schema }];
    MetaRequest { description: None, content, required: true }
}

/// `application/json`, or a type that says `+json`; in UTF-8.
pub(super) fn is_json(content_type: &str) -> bool {
    let essence = essence(content_type);
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// The whole body, if it stays within `bytes_max`, arrives in time and there is room for it.
pub(super) async fn read_body(
    request: &Request,
    body: &mut RequestBody,
    deps: &Deps,
    bytes_max: usize,
) -> Result<ReadBody, Problem> {
    let body = body.take().map_err(|error| problem::of_body_error(&error))?;
    deps.body_room.read(body, body::announced(request), deps.body_bounds(bytes_max)).await
}
