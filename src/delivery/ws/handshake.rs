//! The opening handshake (RFC 6455 section 4.2, RFC 7692 section 7.1): headers in, an answer out.
//!
//! | what is wrong | answer |
//! | --- | --- |
//! | not `GET`, no `Upgrade: websocket`, HTTP/1.0 | `426` with `Upgrade: websocket` |
//! | another version than 13 | `426` with `Sec-WebSocket-Version: 13` |
//! | no key, or not 16 bytes of Base64; no `Connection: upgrade` | `400` |
//! | an `Origin` that is not allowed | `403` |
//!
//! An extension or a subprotocol that we do not have is no error: it is not agreed to.
//!
//! **Invariant:** permessage-deflate is only agreed to without context takeover on both sides, so
//! that a deflated event can be shared by all and inflating needs no state of the connection.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version,
    header::{
        CONNECTION, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
        SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
    },
};
use poem::{IntoResponse, Response};
use sha1::{Digest, Sha1};

use crate::wire::problem::{Code, Problem};

/// The subprotocol that PROTOCOL.md describes.
pub const SUBPROTOCOL: &str = "condorito.v1";

const ACCEPT_GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const VERSION: &str = "13";
/// Offers of an extension that are looked at; more are not agreed to.
const OFFERS_MAX: usize = 8;

/// What was agreed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    accept: String,
    subprotocol: bool,
    deflate: Option<Deflate>,
}

/// permessage-deflate as agreed, always without context takeover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deflate {
    /// The client can't inflate more than this window, in bits. We share frames that were
    /// deflated with the full window, so a client with a smaller one is sent plain frames.
    server_max_window_bits: Option<u8>,
}

impl Agreed {
    /// Whether the client may deflate what it sends.
    pub fn reads_deflated(&self) -> bool {
        self.deflate.is_some()
    }

    /// Whether the client can read what we deflate.
    pub fn writes_deflated(&self) -> bool {
        self.deflate.is_some_and(|deflate| deflate.server_max_window_bits.unwrap_or(15) == 15)
    }

    /// `101`, to be taken over.
    pub fn response(&self) -> Response {
        let mut response = Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(UPGRADE, "websocket")
            .header(CONNECTION, "Upgrade")
            .header(SEC_WEBSOCKET_ACCEPT, &self.accept)
            .finish();
        if self.subprotocol {
            let value = HeaderValue::from_static(SUBPROTOCOL);
            response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, value);
        }
        if let Some(deflate) = self.deflate {
            response.headers_mut().insert(SEC_WEBSOCKET_EXTENSIONS, deflate.answer());
        }
        response
    }
}

/// Why there is no WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("this route speaks WebSocket")]
    NoUpgrade,
    #[error("the WebSocket version must be 13")]
    Version,
    #[error("Sec-WebSocket-Key must be 16 bytes in Base64, once")]
    Key,
    #[error("Connection must name upgrade")]
    Connection,
    #[error("this origin may not connect")]
    Origin,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (code, hint) = match self {
            Refusal::NoUpgrade => (Code::UpgradeRequired, Some((UPGRADE, "websocket"))),
            Refusal::Version => (Code::UpgradeRequired, Some((SEC_WEBSOCKET_VERSION, VERSION))),
            Refusal::Key | Refusal::Connection => (Code::InvalidRequest, None),
            Refusal::Origin => (Code::OriginForbidden, None),
        };
        let mut response = Problem::new(code).detail(self.to_string()).into_response();
        if let Some((name, value)) = hint {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// Checks a request for a WebSocket. `deflate`: whether we would agree to it. `may_connect`:
/// whether a page of this origin may; who sends none is no browser and may.
pub fn agree(
    method: &Method,
    version: Version,
    headers: &HeaderMap,
    deflate: bool,
    may_connect: impl Fn(&str) -> bool,
) -> Result<Agreed, Refusal> {
    let is_upgrade = tokens(headers, &UPGRADE).any(|token| token.eq_ignore_ascii_case("websocket"));
    if method != Method::GET || version < Version::HTTP_11 || !is_upgrade {
        return Err(Refusal::NoUpgrade);
    }
    if !tokens(headers, &CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade")) {
        return Err(Refusal::Connection);
    }
    if only(headers, &SEC_WEBSOCKET_VERSION) != Some(VERSION) {
        return Err(Refusal::Version);
    }
    let key = only(headers, &SEC_WEBSOCKET_KEY).ok_or(Refusal::Key)?;
    if !BASE64.decode(key).is_ok_and(|key| key.len() == 16) {
        return Err(Refusal::Key);
    }
    if headers.contains_key(ORIGIN) && !only(headers, &ORIGIN).is_some_and(may_connect) {
        return Err(Refusal::Origin);
    }
    let subprotocol = tokens(headers, &SEC_WEBSOCKET_PROTOCOL).any(|offer| offer == SUBPROTOCOL);
    let deflate = if deflate { accept_deflate(headers) } else { None };
    Ok(Agreed { accept: accept(key), subprotocol, deflate })
}

fn accept(key: &str) -> String {
    BASE64.encode(Sha1::new().chain_update(key).chain_update(ACCEPT_GUID).finalize())
}

/// The value of a header that stands once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok().map(str::trim),
        _ => None,
    }
}

/// The comma-separated members of a header, wherever they stand.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// The first offer of permessage-deflate that we can accept.
fn accept_deflate(headers: &HeaderMap) -> Option<Deflate> {
    tokens(headers, &SEC_WEBSOCKET_EXTENSIONS).take(OFFERS_MAX).find_map(Deflate::accept)
}

impl Deflate {
    /// Reads one offer; `None` when it is something else or has parameters that are not defined.
    fn accept(offer: &str) -> Option<Self> {
        let mut parts = offer.split(';').map(str::trim);
        if parts.next() != Some("permessage-deflate") {
            return None;
        }
        let mut seen = Vec::new();
        let mut server_max_window_bits = None;
        for part in parts {
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name.trim_end(), Some(unquoted(value.trim_start()))),
                None => (part, None),
            };
            if seen.contains(&name) {
                return None;
            }
            seen.push(name);
            match (name, value) {
                ("server_no_context_takeover" | "client_no_context_takeover", None)
                | ("client_max_window_bits", None) => {}
                // The client may use a smaller window; ours inflates that too.
                ("client_max_window_bits", Some(value)) => drop(window_bits(value)?),
                ("server_max_window_bits", Some(value)) => {
                    server_max_window_bits = Some(window_bits(value)?);
                }
                _ => return None,
            }
        }
        Some(Self { server_max_window_bits })
    }

    fn answer(self) -> HeaderValue {
        const PLAIN: &str =
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        self.server_max_window_bits
            .and_then(|bits| format!("{PLAIN}; server_max_window_bits={bits}").parse().ok())
            .unwrap_or(HeaderValue::from_static(PLAIN))
    }
}

fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value)
}

/// 8 to 15, without leading zeros.
fn window_bits(value: &str) -> Option<u8> {
    let bits = value.parse().ok().filter(|bits| (8..=15).contains(bits))?;
    (!value.starts_with(['0', '+'])).then_some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The handshake of RFC 6455 section 1.3, with changes: a `None` leaves the header out.
    fn with(changes: &[(&'static str, Option<&str>)]) -> Result<Agreed, Refusal> {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("upgrade", "websocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-version", "13"),
        ] {
            headers.insert(name, value.parse().expect("a value"));
        }
        for (name, value) in changes {
            headers.remove(*name);
            for value in value.iter().flat_map(|value| value.split('|')) {
                headers.append(*name, value.parse().expect("a value"));
            }
        }
        let may_connect = |origin: &str| origin == "https://crm.example";
        agree(&Method::GET, Version::HTTP_11, &headers, true, may_connect)
    }

    #[test]
    fn the_example_of_the_rfc() {
        let agreed = with(&[]).expect("agreed");
        let response = agreed.response();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(!response.headers().contains_key("sec-websocket-extensions"));
        assert!(!response.headers().contains_key("sec-websocket-protocol"));
    }

    #[test]
    fn what_is_no_handshake_is_refused_with_the_status_that_helps() {
        for (name, value, status, hint) in [
            ("upgrade", None, 426, Some(("upgrade", "websocket"))),
            ("upgrade", Some("h2c"), 426, Some(("upgrade", "websocket"))),
            ("connection", Some("keep-alive"), 400, None),
            ("sec-websocket-version", None, 426, Some(("sec-websocket-version", "13"))),
            ("sec-websocket-version", Some("8"), 426, Some(("sec-websocket-version", "13"))),
            ("sec-websocket-key", None, 400, None),
            ("sec-websocket-key", Some("dG9vIHNob3J0"), 400, None),
            ("sec-websocket-key", Some("not base64 at all !!!!=="), 400, None),
            (
                "sec-websocket-key",
                Some("dGhlIHNhbXBsZSBub25jZQ==|dGhlIHNhbXBsZSBub25jZQ=="),
                400,
                None,
            ),
            ("origin", Some("https://evil.example"), 403, None),
            ("origin", Some("null"), 403, None),
        ] {
            let refusal = with(&[(name, value)]).expect_err(name);
            let response = refusal.into_response();
            assert_eq!(response.status().as_u16(), status, "{name} {value:?}");
            if let Some((name, value)) = hint {
                assert_eq!(response.headers()[name], value);
            }
        }
        assert!(with(&[("origin", Some("https://crm.example"))]).is_ok());
        assert!(with(&[("upgrade", Some("h2c, WebSocket"))]).is_ok());
        let headers = HeaderMap::new();
        let old = agree(&Method::GET, Version::HTTP_10, &headers, true, |_| true);
        assert_eq!(old, Err(Refusal::NoUpgrade));
    }

    #[test]
    fn our_subprotocol_is_selected_and_a_token_never_echoed() {
        for (offer, selected) in [
            ("condorito.v1, bearer.a.b.c", true),
            ("bearer.a.b.c|condorito.v1", true),
            ("chat, superchat", false),
        ] {
            let response =
                with(&[("sec-websocket-protocol", Some(offer))]).expect(offer).response();
            let protocol = response.headers().get("sec-websocket-protocol");
            assert_eq!(
                protocol.map(HeaderValue::as_bytes),
                selected.then_some(&b"condorito.v1"[..])
            );
        }
    }

    #[test]
    fn deflate_is_agreed_without_context_takeover_or_not_at_all() {
        const ANSWER: &str =
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        let nine = format!("{ANSWER}; server_max_window_bits=9");
        let fifteen = format!("{ANSWER}; server_max_window_bits=15");
        for (offer, answer, writes) in [
            ("permessage-deflate", Some(ANSWER), true),
            ("permessage-deflate; client_max_window_bits", Some(ANSWER), true),
            ("permessage-deflate;client_max_window_bits=\"10\"", Some(ANSWER), true),
            ("permessage-deflate; server_max_window_bits=15", Some(&fifteen), true),
            ("permessage-deflate; server_max_window_bits=9", Some(&nine), false),
            ("x-webkit-deflate-frame, permessage-deflate", Some(ANSWER), true),
            ("permessage-deflate; surprise, permessage-deflate", Some(ANSWER), true),
            ("x-other|permessage-deflate", Some(ANSWER), true),
            ("permessage-deflate; server_max_window_bits", None, false),
            ("permessage-deflate; server_max_window_bits=16", None, false),
            ("permessage-deflate; server_max_window_bits=09", None, false),
            ("permessage-deflate; client_max_window_bits=7", None, false),
            ("permessage-deflate; server_no_context_takeover=1", None, false),
            ("permessage-deflate; client_max_window_bits; client_max_window_bits", None, false),
            ("permessage-bzip2", None, false),
        ] {
            let agreed = with(&[("sec-websocket-extensions", Some(offer))]).expect(offer);
            assert_eq!(agreed.reads_deflated(), answer.is_some(), "{offer}");
            assert_eq!(agreed.writes_deflated(), writes, "{offer}");
            let response = agreed.response();
            let header = response.headers().get("sec-websocket-extensions");
            assert_eq!(header.and_then(|value| value.to_str().ok()), answer, "{offer}");
        }
    }
}
