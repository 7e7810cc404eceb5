//! The page at `/`: the live feed of one tenant, over any transport. Three small files in the
//! binary, nothing from outside, under a strict Content-Security-Policy.

use poem::{
    Response, Route, handler,
    http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE},
};

use crate::api::only_get;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// Adds the page and its files.
pub fn mount(routes: Route) -> Route {
    routes
        .at("/", only_get(index))
        .at("/console/live.css", only_get(style))
        .at("/console/live.js", only_get(script))
}

#[handler]
fn index() -> Response {
    file("text/html; charset=utf-8", include_str!("console/index.html"))
}

#[handler]
fn style() -> Response {
    file("text/css; charset=utf-8", include_str!("console/live.css"))
}

#[handler]
fn script() -> Response {
    file("text/javascript; charset=utf-8", include_str!("console/live.js"))
}

fn file(content_type: &'static str, body: &'static str) -> Response {
    Response::builder()
        .header(CONTENT_TYPE, content_type)
        .header(CONTENT_SECURITY_POLICY, POLICY)
        .header(CACHE_CONTROL, "no-cache")
        .header("X-Content-Type-Options", "nosniff")
        .header("Referrer-Policy", "no-referrer")
        .body(body)
}
