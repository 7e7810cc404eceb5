//! Pages and documents that are the same for everybody: the OpenAPI and AsyncAPI documents, the
//! page that shows the former at `/docs`, and the table of problem codes at `/problems`.
//!
//! The page's script and style are Swagger UI's, as poem-openapi carries them in its own HTML;
//! they are cut out of it and served by us, so that nothing is loaded from elsewhere, which the
//! page's Content-Security-Policy makes sure of.

use std::{fmt::Write as _, io::Write as _, sync::Arc};

use bytes::Bytes;
use http::{Method, StatusCode, header};
use poem::{Endpoint, IntoResponse, PathPattern, Request, Response, Result, Route};
use poem_openapi::OpenApiService;
use sha2::{Digest, Sha256};

use super::document::Documents;
use crate::wire::problem::{Code, Problem, TABLE_PATH};

const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// Swagger UI sets styles in place and shows images as `data:`; all else is ours.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                      img-src 'self' data:; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

const DOCS_HTML: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Condorito Realtime: API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="ui"></div>
<script src="/docs/swagger-ui.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"#;

const START_SCRIPT: &str = "SwaggerUIBundle({\
    dom_id: '#ui', url: '/openapi.json', deepLinking: true, validatorUrl: null, \
    persistAuthorization: false, tryItOutEnabled: true});\n";

/// Adds the pages to `route`.
pub(super) fn routes(route: Route, documents: &Documents) -> Route {
    let (script, style) = swagger_ui();
    [
        ("/openapi.json", JSON, documents.openapi.clone()),
        ("/asyncapi.json", JSON, documents.asyncapi.clone()),
        ("/docs", HTML, DOCS_HTML.to_owned()),
        ("/docs/swagger-ui.js", SCRIPT, script),
        ("/docs/swagger-ui.css", STYLE, style),
        ("/docs/start.js", SCRIPT, START_SCRIPT.to_owned()),
        (TABLE_PATH, HTML, problem_table()),
    ]
    .into_iter()
    .fold(route, |route, (path, content_type, body)| {
        route.at(path, Page::new(path, content_type, body))
    })
}

/// Script and style of Swagger UI, out of the HTML in which poem-openapi has them.
fn swagger_ui() -> (String, String) {
    let html = OpenApiService::new((), "", "").swagger_ui_html();
    let between = |opening: &str, closing: &str| {
        let after = html.split_once(opening).map(|(_, after)| after);
        let inner = after.and_then(|after| after.split_once(closing)).map(|(inner, _)| inner);
        inner.unwrap_or_default().to_owned()
    };
    let script = between("<script charset=\"UTF-8\">", "</script>\n</head>");
    let style = between("<style charset=\"UTF-8\">", "</style>");
    (script, style)
}

/// What every `code` says and what to do about it, from the one table.
fn problem_table() -> String {
    let mut rows = String::new();
    for code in Code::ALL {
        let (status, title, help) = (code.status(), code.title(), code.help());
        let help = help.replace('<', "&lt;").replace('>', "&gt;");
        let _ = writeln!(
            rows,
            "<tr id=\"{code}\"><td><code>{code}</code></td><td>{status}</td><td>{title}</td>\
             <td>{help}</td></tr>"
        );
    }
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Condorito Realtime: problems</title>\n<link rel=\"icon\" href=\"data:,\">\n\
         <style>body{{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;\
         padding:0 1rem}}table{{border-collapse:collapse;width:100%}}td,th{{text-align:left;\
         vertical-align:top;padding:.4rem .6rem;border-bottom:1px solid #8884}}\
         tr:target{{background:#fd08}}</style>\n</head>\n<body>\n<h1>Problems</h1>\n\
         <p>Errors are <code>application/problem+json</code> (RFC 9457). <code>code</code> is \
         stable.</p>\n<table>\n<tr><th>code</th><th>status</th><th>what it says</th>\
         <th>what to do</th></tr>\n{rows}</table>\n</body>\n</html>\n"
    )
}

/// A body that never changes while the server runs.
struct Page {
    path: &'static str,
    content_type: &'static str,
    etag: String,
    plain: Bytes,
    gzipped: Bytes,
}

impl Page {
    fn new(path: &'static str, content_type: &'static str, body: String) -> Arc<Self> {
        let hash = Sha256::digest(body.as_bytes());
        Arc::new(Self {
            path,
            content_type,
            // Weak: the plain and the compressed form share it.
            etag: format!("W/\"{}\"", hex::encode(&hash[..12])),
            gzipped: gzip(body.as_bytes()),
            plain: Bytes::from(body),
        })
    }

    fn answer(&self, request: &Request) -> Response {
        let answer = Response::builder()
            .header(header::ETAG, &self.etag)
            .header(header::CACHE_CONTROL, "no-cache")
            .header(header::VARY, "accept-encoding")
            .header(header::CONTENT_SECURITY_POLICY, POLICY)
            .header(header::REFERRER_POLICY, "no-referrer");
        let known = request.header(header::IF_NONE_MATCH).unwrap_or_default();
        if known.split(',').any(|tag| tag.trim() == self.etag || tag.trim() == "*") {
            return answer.status(StatusCode::NOT_MODIFIED).finish();
        }
        let answer = answer.content_type(self.content_type);
        match accepts(request, "gzip") {
            true => answer.header(header::CONTENT_ENCODING, "gzip").body(self.gzipped.clone()),
            false => answer.body(self.plain.clone()),
        }
    }
}

impl Endpoint for Page {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let mut response = match *request.method() {
            Method::GET | Method::HEAD => self.answer(&request),
            _ => Problem::new(Code::MethodNotAllowed).allow("GET, HEAD").into_response(),
        };
        response.set_data(PathPattern(self.path.into()));
        Ok(response)
    }
}

/// Whether the client takes a content coding, and names it.
pub fn accepts(request: &Request, coding: &str) -> bool {
    let accepted = request.header(header::ACCEPT_ENCODING).unwrap_or_default();
    accepted.split(',').any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let is_named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(coding));
        let refused = parts.any(|weight| ["q=0", "q=0.0", "q=0.00", "q=0.000"].contains(&weight));
        is_named && !refused
    })
}

fn gzip(body: &[u8]) -> Bytes {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    // Writing to memory does not fail; an empty page would show it.
    let written = encoder.write_all(body).and_then(|()| encoder.finish());
    Bytes::from(written.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn page() -> Arc<Page> {
        Page::new("/x", JSON, "{\"a\":1}".to_owned())
    }

    fn get(name: header::HeaderName, value: &str) -> Request {
        Request::builder().header(name, value).finish()
    }

    #[test]
    fn swagger_ui_is_found_in_poems_html() {
        let (script, style) = swagger_ui();
        assert!(script.len() > 1_000_000 && script.contains("SwaggerUIBundle"));
        assert!(style.len() > 100_000 && style.contains(".swagger-ui"));
        assert!(!style.contains("@import") && !style.contains("url(http"));
    }

    #[test]
    fn the_table_has_every_code() {
        let table = problem_table();
        for code in Code::ALL {
            assert!(table.contains(&format!("<tr id=\"{code}\">")), "{code}");
        }
    }

    #[tokio::test]
    async fn is_compressed_for_those_who_accept_it() {
        let response = page().get_response(get(header::ACCEPT_ENCODING, "br, gzip;q=0.5")).await;
        assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
        let body = response.into_body().into_bytes().await.unwrap();
        let mut text = String::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, "{\"a\":1}");
        let response = page().get_response(get(header::ACCEPT_ENCODING, "gzip;q=0")).await;
        assert_eq!(response.into_body().into_string().await.unwrap(), "{\"a\":1}");
    }

    #[tokio::test]
    async fn is_not_sent_again_to_those_who_have_it() {
        let etag = page().etag.clone();
        let response = page().get_response(get(header::IF_NONE_MATCH, &etag)).await;
        assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
        let response = page().get_response(get(header::IF_NONE_MATCH, "W/\"other\"")).await;
        assert_eq!(response.status(), StatusCode::OK);
    }
}
