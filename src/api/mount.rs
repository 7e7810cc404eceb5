//! Puts the operations under their paths.
//!
//! poem-openapi could do this itself, but turns errors into text on the way and forgets `Allow`;
//! here they stay errors until [`edge`](super::edge) makes them problems.

use std::{collections::HashMap, sync::Arc};

use http::{HeaderValue, Method, StatusCode, header};
use poem::{
    Endpoint, EndpointExt, IntoEndpoint, IntoResponse, PathPattern, Request, Response, Result,
    Route, endpoint::BoxEndpoint,
};
use poem_openapi::{__private::UrlQuery, OpenApi, error::ParsePathError, registry::Registry};

use super::{
    Deps, bot::BotApi, bulk::BulkApi, conversations::ConversationsApi, document::Documents,
    ingest::IngestApi, media::MediaApi, messages::MessagesApi, personal_data::PersonalDataApi,
    problem, snapshot::SnapshotApi, static_pages, stats::StatsApi, templates::TemplatesApi,
    tenants::TenantsApi, tickets::TicketsApi, webhooks::WebhooksApi, whatsapp::WhatsAppApi,
};
use crate::{
    projection::queries::Queries,
    wire::problem::{Code, Problem},
};

/// All resources; the document is made of these too.
pub(super) type Resources = (
    SnapshotApi,
    ConversationsApi,
    PersonalDataApi,
    MessagesApi,
    MediaApi,
    TemplatesApi,
    StatsApi,
    BotApi,
    WhatsAppApi,
    TenantsApi,
    TicketsApi,
    IngestApi,
    WebhooksApi,
    BulkApi,
);

fn resources(deps: &Arc<Deps>) -> Resources {
    (
        SnapshotApi(deps.clone()),
        ConversationsApi(deps.clone()),
        PersonalDataApi(deps.clone()),
        MessagesApi(deps.clone()),
        MediaApi(deps.clone()),
        TemplatesApi::new(deps.clone()),
        StatsApi(deps.clone()),
        BotApi(deps.clone()),
        WhatsAppApi(deps.clone()),
        TenantsApi(deps.clone()),
        TicketsApi(deps.clone()),
        IngestApi(deps.clone()),
        WebhooksApi(deps.clone()),
        BulkApi(deps.clone()),
    )
}

/// The schemas of all bodies.
pub(super) fn register_schemas(registry: &mut Registry) {
    Resources::register(registry);
}

/// The routes of the REST interface, of the documents and of the page that shows them. `app` adds
/// those of `delivery` and puts [`Edge`](super::Edge) around all.
pub fn routes(deps: Arc<Deps>) -> Route {
    let documents = Documents::new(&deps.settings);
    let templates = templates();
    let mut table = HashMap::new();
    resources(&deps).add_routes(&mut table);
    let mut route = static_pages::routes(Route::new(), &documents);
    for (pattern, methods) in table {
        let template = templates.get(&pattern).unwrap_or(&pattern).as_str().into();
        let complete = works_on_state(&pattern).then(|| deps.queries.clone());
        let endpoint = Methods { methods, template: Some(PathPattern(template)), complete };
        route = route.at(pattern, endpoint.before(read_query).data(deps.clone()));
    }
    route
}

/// Whether what is below this pattern reads the read model, and would say what is not so while
/// that is being made. Providers and bridges are served meanwhile.
fn works_on_state(pattern: &str) -> bool {
    pattern.starts_with("/v1/") && !pattern.starts_with("/v1/ingest/") && pattern != "/v1/tickets"
}

/// poem's pattern (`/v1/conversations/:param0`) to the document's template
/// (`/v1/conversations/{id}`), which is what metrics and people know.
fn templates() -> HashMap<String, String> {
    let apis = Resources::meta();
    let paths = apis.iter().flat_map(|api| &api.paths).map(|path| &path.path);
    paths.map(|template| (pattern_of(template), template.clone())).collect()
}

fn pattern_of(template: &str) -> String {
    let mut parameters = 0;
    let segments = template.split('/').map(|segment| {
        if !segment.starts_with('{') {
            return segment.to_owned();
        }
        let named = format!(":param{parameters}");
        parameters += 1;
        named
    });
    segments.collect::<Vec<_>>().join("/")
}

/// Reads the query once for all extractors that look into it.
async fn read_query(mut request: Request) -> Result<Request> {
    let query = request.uri().query().unwrap_or_default();
    let pairs = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    request.extensions_mut().insert(UrlQuery(pairs));
    Ok(request)
}

/// An endpoint that is asked with `GET` only, for the routes that `app` adds.
pub fn only_get(endpoint: impl IntoEndpoint<Endpoint: 'static>) -> Methods {
    let endpoint = endpoint.map_to_response().boxed();
    Methods { methods: HashMap::from([(Method::GET, endpoint)]), template: None, complete: None }
}

/// One path's methods. Says `Allow` to others, answers `OPTIONS` and `HEAD` by itself.
pub struct Methods {
    methods: HashMap<Method, BoxEndpoint<'static>>,
    /// `None`: the pattern under which `app` put it is its template.
    template: Option<PathPattern>,
    /// What must be complete before these are answered.
    complete: Option<Queries>,
}

impl Methods {
    fn allow(&self) -> String {
        let mut names: Vec<&str> = self.methods.keys().map(Method::as_str).collect();
        if self.methods.contains_key(&Method::GET) {
            names.push("HEAD");
        }
        names.push("OPTIONS");
        names.sort_unstable();
        names.join(", ")
    }

    /// The problem for an operation's error. poem-openapi calls path parameters `param0` and so
    /// on; clients know them by their names in the template.
    fn problem(&self, error: &poem::Error) -> Problem {
        let path_error = error.downcast_ref::<ParsePathError>();
        let index = path_error.and_then(|error| error.name.strip_prefix("param")?.parse().ok());
        let template = self.template.as_ref().map_or("", |template| &template.0);
        let mut names = template.split('/').filter_map(|segment| {
            segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}'))
        });
        match index.and_then(|index: usize| names.nth(index)) {
            Some(name) => problem::invalid_parameter(name, "is not a valid value"),
            None => problem::of_poem_error(error),
        }
    }

    async fn answer(&self, endpoint: &BoxEndpoint<'static>, request: Request) -> Result<Response> {
        if let Some(queries) = &self.complete {
            queries.complete().await.map_err(Problem::from)?;
        }
        endpoint.call(request).await
    }

    fn options(&self) -> Response {
        let allow = HeaderValue::try_from(self.allow());
        let allow = allow.unwrap_or_else(|_| HeaderValue::from_static("OPTIONS"));
        Response::builder().status(StatusCode::NO_CONTENT).header(header::ALLOW, allow).finish()
    }
}

impl Endpoint for Methods {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let method = match request.method() {
            // The connection leaves out the body of an answer to HEAD.
            &Method::HEAD => Method::GET,
            other => other.clone(),
        };
        let result = match self.methods.get(&method) {
            Some(endpoint) => self.answer(endpoint, request).await,
            None if method == Method::OPTIONS => Ok(self.options()),
            None => Err(Problem::new(Code::MethodNotAllowed).allow(self.allow()).into()),
        };
        let mut response = result.unwrap_or_else(|error| match error.is_from_response() {
            true => error.into_response(),
            false => self.problem(&error).into_response(),
        });
        if let Some(template) = &self.template {
            response.set_data(template.clone());
        }
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::ids::Position,
        projection::{read_model::ReadModel, settings::ProjectionSettings},
    };

    #[tokio::test]
    async fn nothing_is_read_of_a_read_model_that_is_being_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("read-model.db");
        let settings = ProjectionSettings { path, ..ProjectionSettings::default() };
        let model = ReadModel::open(&settings, "k3v9q", Position::START).unwrap();
        let endpoint = poem::endpoint::make_sync(|_| "an answer").map_to_response().boxed();
        let methods = Methods {
            methods: HashMap::from([(Method::GET, endpoint)]),
            template: None,
            complete: Some(Queries::open(&model).unwrap()),
        };
        let response = methods.get_response(Request::default()).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.headers().contains_key(header::RETRY_AFTER));
        let options = Request::builder().method(Method::OPTIONS).finish();
        assert_eq!(methods.get_response(options).await.status(), StatusCode::NO_CONTENT);
    }

    #[test]
    fn all_but_what_comes_in_and_tickets_works_on_state() {
        let all = templates();
        let mut others: Vec<_> = all.keys().filter(|pattern| !works_on_state(pattern)).collect();
        others.sort_unstable();
        let expected = [
            "/v1/ingest/messages",
            "/v1/ingest/statuses",
            "/v1/tickets",
            "/webhooks/waha",
            "/webhooks/whatsapp",
        ];
        assert_eq!(others, expected);
    }

    #[test]
    fn templates_and_patterns_belong_together() {
        assert_eq!(
            pattern_of("/v1/conversations/{id}/x/{y}"),
            "/v1/conversations/:param0/x/:param1"
        );
        let mut table = HashMap::new();
        for (pattern, template) in templates() {
            assert!(!template.contains(':'), "{template}");
            table.insert(pattern, template);
        }
        assert_eq!(table["/v1/conversations/:param0"], "/v1/conversations/{id}");
    }
}
