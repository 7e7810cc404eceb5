//! What a request brings to say who calls: `Authorization: Bearer`, `?access_token=`, `?ticket=`,
//! or the WebSocket subprotocol pair `condorito.v1, bearer.<JWT>`; and `X-Client-Id`.
//!
//! **Invariant:** a request with two of them is refused (RFC 6750 section 2): which of them
//! counts would otherwise depend on who reads it.

use std::fmt;

use http::{HeaderMap, header};

use super::AuthError;
use crate::domain::ids::ClientId;

/// By which an `admin` names the tenant that the call is for.
pub const TENANT_HEADER: &str = "x-client-id";
/// What comes before the JWT in the second of the WebSocket's subprotocols.
pub const SUBPROTOCOL_BEARER_PREFIX: &str = "bearer.";

/// What a request brought, not yet believed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// All tokens found, in no order that matters.
    found: Vec<Found>,
    named_tenant: Option<String>,
}

#[derive(Clone, PartialEq, Eq)]
enum Found {
    Jwt(String),
    Ticket(String),
}

/// The one token of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Token<'a> {
    Jwt(&'a str),
    Ticket(&'a str),
}

impl Credentials {
    pub fn of_request(request: &poem::Request) -> Self {
        Self::of(request.headers(), request.uri().query())
    }

    /// From a request's headers and its raw query.
    pub fn of(headers: &HeaderMap, query: Option<&str>) -> Self {
        let mut found: Vec<Found> =
            bearer_headers(headers).chain(bearer_subprotocols(headers)).map(Found::Jwt).collect();
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match name.as_ref() {
                "access_token" => found.push(Found::Jwt(value.into_owned())),
                "ticket" => found.push(Found::Ticket(value.into_owned())),
                _ => {}
            }
        }
        let named_tenant = headers
            .get(TENANT_HEADER)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned());
        Self { found, named_tenant }
    }

    /// A bare JWT, from wherever the caller got it.
    pub fn jwt(jwt: impl Into<String>) -> Self {
        Self { found: vec![Found::Jwt(jwt.into())], named_tenant: None }
    }

    /// The one token.
    pub fn token(&self) -> Result<Token<'_>, AuthError> {
        match self.found.as_slice() {
            [] => Err(AuthError::Missing),
            [Found::Jwt(jwt)] => Ok(Token::Jwt(jwt)),
            [Found::Ticket(ticket)] => Ok(Token::Ticket(ticket)),
            _ => Err(AuthError::Invalid { reason: "the request brings more than one token" }),
        }
    }

    /// The tenant named with `X-Client-Id`. What can't be a tenant's id is no tenant.
    pub fn named_tenant(&self) -> Result<Option<ClientId>, AuthError> {
        self.named_tenant
            .as_deref()
            .map(|text| text.parse().map_err(|_| AuthError::NoSuchTenant))
            .transpose()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials(<{} redacted>)", self.found.len())
    }
}

/// Tokens of `Authorization` headers. Other schemes than Bearer are somebody else's business (a
/// proxy's, say).
fn bearer_headers(headers: &HeaderMap) -> impl Iterator<Item = String> {
    headers.get_all(header::AUTHORIZATION).iter().filter_map(|value| {
        let (scheme, token) = value.to_str().ok()?.trim().split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
    })
}

fn bearer_subprotocols(headers: &HeaderMap) -> impl Iterator<Item = String> {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|offer| offer.trim().strip_prefix(SUBPROTOCOL_BEARER_PREFIX))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    /// How each case's token is read.
    fn read(pairs: &[(&'static str, &str)], query: &str) -> String {
        let credentials = Credentials::of(&headers(pairs), Some(query));
        match credentials.token() {
            Ok(Token::Jwt(jwt)) => format!("jwt {jwt}"),
            Ok(Token::Ticket(ticket)) => format!("ticket {ticket}"),
            Err(AuthError::Missing) => "missing".to_owned(),
            Err(_) => "refused".to_owned(),
        }
    }

    #[test]
    fn finds_the_token_wherever_it_is() {
        let protocols = "sec-websocket-protocol";
        for (pairs, query, expected) in [
            (&[("authorization", "Bearer a.b.c")][..], "", "jwt a.b.c"),
            (&[("authorization", "bearer   a.b.c ")], "", "jwt a.b.c"),
            (&[("authorization", "Basic dTpw")], "", "missing"),
            (&[("authorization", "Bearer")], "", "missing"),
            (&[], "types=x&access_token=a.b.c", "jwt a.b.c"),
            (&[], "ticket=t%2D1", "ticket t-1"),
            (&[(protocols, "condorito.v1, bearer.a.b.c")], "", "jwt a.b.c"),
            (&[(protocols, "condorito.v1"), (protocols, "bearer.a.b.c")], "", "jwt a.b.c"),
            (&[(protocols, "condorito.v1")], "", "missing"),
            (&[], "", "missing"),
            (&[("authorization", "Basic dTpw")], "ticket=t", "ticket t"),
        ] {
            assert_eq!(read(pairs, query), expected, "{pairs:?} {query}");
        }
    }

    #[test]
    fn two_tokens_are_none() {
        let bearer = ("authorization", "Bearer a.b.c");
        for (pairs, query) in [
            (&[bearer, bearer][..], ""),
            (&[bearer], "ticket=t"),
            (&[], "access_token=a.b.c&ticket=t"),
            (&[], "ticket=t&ticket=u"),
            (&[bearer, ("sec-websocket-protocol", "bearer.a.b.c")], ""),
        ] {
            assert_eq!(read(pairs, query), "refused", "{pairs:?} {query}");
        }
    }

    #[test]
    fn a_named_tenant_is_a_number_or_does_not_exist() {
        let named = |value: &str| Credentials::of(&headers(&[("x-client-id", value)]), None);
        assert_eq!(named("7").named_tenant(), Ok(Some(ClientId(7))));
        for text in ["", "seven", "-1", "4294967296", "7,8"] {
            assert_eq!(named(text).named_tenant(), Err(AuthError::NoSuchTenant), "{text:?}");
        }
        assert_eq!(Credentials::default().named_tenant(), Ok(None));
    }

    #[test]
    fn shows_no_token_in_debug_output() {
        let credentials = Credentials::jwt("a.b.c");
        assert_eq!(format!("{credentials:?}"), "Credentials(<1 redacted>)");
    }
}
