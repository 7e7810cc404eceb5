//! `next` of a page, as clients get it and give it back: opaque, and told apart from what no page
//! gave.
//!
//! The check is no secret: it catches what was mistyped, cut off, or taken from another tenant's
//! list, where the reader would otherwise silently be at the wrong place.

use std::str::FromStr;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use super::problem::invalid_parameter;
use crate::{domain::ids::ClientId, wire::problem::Problem};

/// Bytes of the check, in front of the place.
const CHECK_BYTES: usize = 6;

/// The mark of a place in a list of this tenant.
pub fn write(client: ClientId, place: &str) -> String {
    let mut mark = check(client, place.as_bytes()).to_vec();
    mark.extend_from_slice(place.as_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(mark)
}

/// The place, `None` when no page of this tenant's lists gave this mark.
pub fn read(client: ClientId, mark: &str) -> Option<String> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(mark).ok()?;
    let (given, place) = bytes.split_at_checked(CHECK_BYTES)?;
    let place = std::str::from_utf8(place).ok()?;
    (given == check(client, place.as_bytes())).then(|| place.to_owned())
}

/// The place that a page's parameter names; absent: none.
pub fn parameter<T: FromStr>(
    client: ClientId,
    name: &str,
    mark: Option<String>,
) -> Result<Option<T>, Problem> {
    let Some(mark) = mark else { return Ok(None) };
    match read(client, &mark).and_then(|place| place.parse().ok()) {
        Some(place) => Ok(Some(place)),
        None => Err(invalid_parameter(name, "is not `next` of a page")),
    }
}

fn check(client: ClientId, place: &[u8]) -> [u8; CHECK_BYTES] {
    let mut digest = Sha256::new();
    digest.update(client.0.to_be_bytes());
    digest.update(place);
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&digest.finalize()[..CHECK_BYTES]);
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_page_gave_is_read_and_nothing_else() {
        let mark = write(ClientId(7), "1795515330123.42");
        assert_eq!(read(ClientId(7), &mark).as_deref(), Some("1795515330123.42"));
        assert_eq!(read(ClientId(8), &mark), None);
        for wrong in ["", "x", "1795515330123.42", &mark[1..], &mark[..mark.len() - 1]] {
            assert_eq!(read(ClientId(7), wrong), None, "{wrong}");
        }
    }
}
