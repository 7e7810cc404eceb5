//! `X-Hub-Signature-256: sha256=<hex>`: HMAC-SHA256 over the raw body with the app's secret.

use hmac::Hmac;
use sha2::Sha256;

use super::super::keyed_mac::{KeyedMac, read_tag};

/// What the header's value begins with.
const SCHEME: &str = "sha256=";

/// A Meta app's secret.
pub(super) type AppSecret = KeyedMac<Hmac<Sha256>>;

/// The header's value for `body`.
pub(super) fn header(secret: &AppSecret, body: &[u8]) -> String {
    format!("{SCHEME}{}", secret.hex_tag(body))
}

/// The tag in a header's value; `None` when it is of another form.
pub(super) fn tag(header: &str) -> Option<[u8; 32]> {
    read_tag(header.trim().strip_prefix(SCHEME)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_rfc_4231_case_2() {
        let secret = AppSecret::new("Jefe");
        let body = b"what do ya want for nothing?";
        let expected = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(header(&secret, body), expected);
        assert!(secret.made(&tag(expected).unwrap(), body));
        assert!(!secret.made(&tag(expected).unwrap(), b"what do ya want for nothing!"));
        assert!(!AppSecret::new("jefe").made(&tag(expected).unwrap(), body));
    }

    #[test]
    fn reads_only_whole_headers() {
        let hex = "ab".repeat(32);
        assert!(tag(&format!("sha256={hex}")).is_some());
        assert!(tag(&format!("sha256={}", hex.to_uppercase())).is_some());
        for wrong in ["", "sha256=", &hex, "sha1=ab", &format!("sha256={hex}ab"), "sha256=zz"] {
            assert!(tag(wrong).is_none(), "{wrong}");
        }
    }
}
