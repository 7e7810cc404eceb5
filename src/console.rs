//! The console at `/`: what `make web` made of `web/`, carried in the binary.
//!
//! `web/embed` holds the files as `npm run embed` put them there, each beside its compressed
//! forms. Without them the page at `/` says how to build them.
//!
//! Files named after their content are kept by browsers for good, the others for a day; the page
//! itself is never kept, and each answer of it has a nonce of its own, under which Angular may add
//! the styles of its components. Nothing else is let in: no script but these files, nothing from
//! elsewhere.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use poem::{
    Endpoint, PathPattern, Request, Response, Result, Route,
    http::header::{
        CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, REFERRER_POLICY, VARY,
    },
};
use rust_embed::RustEmbed;

use crate::api::{accepts, only_get};

#[derive(RustEmbed)]
#[folder = "web/embed"]
#[exclude = ".gitignore"]
struct Built;

const PAGE: &str = "index.html";
const UNBUILT: &str = include_str!("console/unbuilt.html");
/// Where the page has its nonce (`web/projects/console/src/index.html`).
const NONCE_MARK: &str = "__CSP_NONCE__";
const NONCE_BYTES: usize = 16;

/// `blob:` are pictures and sound that the page has fetched with its token.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-__CSP_NONCE__'; \
                      connect-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; \
                      font-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'self'; \
                      form-action 'none'; frame-ancestors 'none'";

const FOR_GOOD: &str = "public, max-age=31536000, immutable";
const FOR_A_DAY: &str = "public, max-age=86400";

/// The compressed forms, best first: how a file of it ends, and the coding's name.
const CODINGS: [(&str, &str); 2] = [(".br", "br"), (".gz", "gzip")];

/// Adds the page and its files.
pub fn mount(routes: Route) -> Route {
    let mut files = assets();
    let page = files.remove(PAGE).and_then(|page| String::from_utf8(page.plain.into()).ok());
    let page = Page { html: page.map_or(Cow::Borrowed(UNBUILT), Cow::Owned) };
    files.into_iter().fold(routes.at("/", only_get(page)), |routes, (path, asset)| {
        routes.at(format!("/{path}"), only_get(Arc::new(asset)))
    })
}

/// By path; compressed forms with their file.
fn assets() -> BTreeMap<String, Asset> {
    let form = |path: &str| {
        Built::get(path).map(|file| match file.data {
            Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            Cow::Owned(bytes) => Bytes::from(bytes),
        })
    };
    let is_form = |path: &str| CODINGS.iter().any(|(ending, _)| path.ends_with(ending));
    let plain = Built::iter().filter(|path| !is_form(path));
    plain
        .filter_map(|path| {
            let asset = Asset {
                content_type: content_type(&path),
                kept: if is_named_after_content(&path) { FOR_GOOD } else { FOR_A_DAY },
                plain: form(&path)?,
                compressed: CODINGS.map(|(ending, _)| form(&format!("{path}{ending}"))),
            };
            Some((path.into_owned(), asset))
        })
        .collect()
}

/// As Angular's builder does it: `main-DBAV6XTL.js`.
fn is_named_after_content(path: &str) -> bool {
    let stem = path.rsplit_once('.').map_or(path, |(stem, _)| stem);
    let hash = stem.rsplit_once('-').map_or("", |(_, hash)| hash);
    hash.len() == 8 && hash.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "json" => "application/json",
        "txt" => "text/plain; charset=utf-8",
        "webmanifest" => "application/manifest+json",
        _ => "application/octet-stream",
    }
}

struct Page {
    html: Cow<'static, str>,
}

impl Endpoint for Page {
    type Output = Response;

    async fn call(&self, _request: Request) -> Result<Response> {
        let nonce = BASE64_STANDARD.encode(rand::random::<[u8; NONCE_BYTES]>());
        Ok(Response::builder()
            .content_type("text/html; charset=utf-8")
            .header(CONTENT_SECURITY_POLICY, POLICY.replace(NONCE_MARK, &nonce))
            .header(CACHE_CONTROL, "no-store")
            .header(REFERRER_POLICY, "no-referrer")
            .body(self.html.replace(NONCE_MARK, &nonce)))
    }
}

struct Asset {
    content_type: &'static str,
    /// For `Cache-Control`.
    kept: &'static str,
    plain: Bytes,
    /// In the order of [`CODINGS`].
    compressed: [Option<Bytes>; 2],
}

impl Endpoint for Asset {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let forms = CODINGS.iter().zip(&self.compressed);
        let best = forms
            .filter(|((_, coding), _)| accepts(&request, coding))
            .find_map(|((_, coding), form)| Some((*coding, form.as_ref()?)));
        let answer = Response::builder()
            .content_type(self.content_type)
            .header(CACHE_CONTROL, self.kept)
            .header(VARY, "accept-encoding");
        let mut response = match best {
            Some((coding, form)) => answer.header(CONTENT_ENCODING, coding).body(form.clone()),
            None => answer.body(self.plain.clone()),
        };
        // One route in the metrics, whatever the files are called.
        response.set_data(PathPattern("/{console_file}".into()));
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use poem::http::header::ACCEPT_ENCODING;

    use super::*;

    fn asset() -> Asset {
        Asset {
            content_type: content_type("main-1.js"),
            kept: FOR_GOOD,
            plain: Bytes::from_static(b"plain"),
            compressed: [b"brotli" as &[u8], b"gzipped"].map(|form| Some(Bytes::from_static(form))),
        }
    }

    #[tokio::test]
    async fn files_come_in_the_best_form_that_the_browser_takes_and_are_kept() {
        for (accepted, coding, body) in [
            ("gzip, deflate, br, zstd", Some("br"), "brotli"),
            ("gzip;q=1.0, br;q=0", Some("gzip"), "gzipped"),
            ("identity", None, "plain"),
            ("", None, "plain"),
        ] {
            let request = Request::builder().header(ACCEPT_ENCODING, accepted).finish();
            let response = asset().call(request).await.unwrap();
            let found = response.headers().get(CONTENT_ENCODING);
            assert_eq!(found.map(|value| value.to_str().unwrap()), coding, "{accepted}");
            let kept = response.headers()[CACHE_CONTROL].to_str().unwrap();
            assert!(kept.contains("immutable"), "{kept}");
            assert_eq!(response.content_type(), Some("text/javascript; charset=utf-8"));
            assert_eq!(response.into_body().into_string().await.unwrap(), body);
        }
    }

    #[test]
    fn only_names_that_follow_their_content_are_for_good() {
        assert!(is_named_after_content("main-DBAV6XTL.js"));
        assert!(is_named_after_content("media/font-0123ABCD.woff2"));
        for path in ["favicon.svg", "main.js", "read-me.txt", "3rdpartylicenses.txt"] {
            assert!(!is_named_after_content(path), "{path}");
        }
    }

    #[tokio::test]
    async fn each_page_has_a_nonce_of_its_own_and_lets_nothing_else_in() {
        let page = Page { html: Cow::Borrowed(UNBUILT) };
        let mut nonces = Vec::new();
        for _ in 0..2 {
            let response = page.call(Request::builder().finish()).await.unwrap();
            let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
            assert!(
                policy.contains("default-src 'none'") && !policy.contains("unsafe"),
                "{policy}"
            );
            let nonce = policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap();
            let html = response.into_body().into_string().await.unwrap();
            assert!(html.contains(&format!("nonce=\"{nonce}\"")) && !html.contains(NONCE_MARK));
            nonces.push(nonce.to_owned());
        }
        assert_ne!(nonces[0], nonces[1]);
    }
}
