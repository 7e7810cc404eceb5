//! `X-Hub-Signature-256: sha256=<hex>`: HMAC-SHA256 over the raw body with the app's secret.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What the header's value begins with.
const SCHEME: &str = "sha256=";

/// An app secret, its key schedule done.
#[derive(Clone)]
pub(super) struct AppSecret(Hmac<Sha256>);

impl AppSecret {
    pub(super) fn new(secret: &str) -> Self {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        Self(Hmac::new_from_slice(secret.as_bytes()).expect("any length is a key"))
    }

    /// Whether this secret made `tag` for `body`. Takes as long whatever differs.
    pub(super) fn made(&self, tag: &[u8; 32], body: &[u8]) -> bool {
        let mut mac = self.0.clone();
        mac.update(body);
        mac.verify_slice(tag).is_ok()
    }

    /// The header's value for `body`.
    pub(super) fn header(&self, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(body);
        format!("{SCHEME}{}", hex::encode(mac.finalize().into_bytes()))
    }
}

/// The tag in a header's value; `None` when it is of another form.
pub(super) fn tag(header: &str) -> Option<[u8; 32]> {
    let mut tag = [0; 32];
    hex::decode_to_slice(header.trim().strip_prefix(SCHEME)?, &mut tag).ok()?;
    Some(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_rfc_4231_case_2() {
        let secret = AppSecret::new("Jefe");
        let body = b"what do ya want for nothing?";
        let header = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(secret.header(body), header);
        assert!(secret.made(&tag(header).unwrap(), body));
        assert!(!secret.made(&tag(header).unwrap(), b"what do ya want for nothing!"));
        assert!(!AppSecret::new("jefe").made(&tag(header).unwrap(), body));
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
