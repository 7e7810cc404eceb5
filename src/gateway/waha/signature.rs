//! `X-Webhook-Hmac: <hex>`: HMAC-SHA512 over the raw body with the session's key.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha512;

/// A session's key, its key schedule done.
#[derive(Clone)]
pub(super) struct HmacKey(Hmac<Sha512>);

impl HmacKey {
    pub(super) fn new(key: &str) -> Self {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        Self(Hmac::new_from_slice(key.as_bytes()).expect("any length is a key"))
    }

    /// Whether this key made `tag` for `body`. Takes as long whatever differs.
    pub(super) fn made(&self, tag: &[u8; 64], body: &[u8]) -> bool {
        let mut mac = self.0.clone();
        mac.update(body);
        mac.verify_slice(tag).is_ok()
    }

    /// The header's value for `body`.
    pub(super) fn header(&self, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(body);
        hex::encode(mac.finalize().into_bytes())
    }
}

/// The tag in a header's value; `None` when it is of another form.
pub(super) fn tag(header: &str) -> Option<[u8; 64]> {
    let mut tag = [0; 64];
    hex::decode_to_slice(header.trim(), &mut tag).ok()?;
    Some(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of WAHA's documentation, computed once more with Python's `hmac`.
    const KEY: &str = "my-secret-key";
    const BODY: &[u8] = br#"{"event":"message","session":"default","engine":"WEBJS"}"#;
    const TAG: &str = "208f8a55dde9e05519e898b10b89bf0d0b3b0fdf11fdbf09b6b90476301b98d8\
                       097c462b2b17a6ce93b6b47a136cf2e78a33a63f6752c2c1631777076153fa89";

    #[test]
    fn agrees_with_the_documented_example() {
        let key = HmacKey::new(KEY);
        assert_eq!(key.header(BODY), TAG);
        assert!(key.made(&tag(TAG).unwrap(), BODY));
        assert!(!key.made(&tag(TAG).unwrap(), b"{}"));
        assert!(!HmacKey::new("other").made(&tag(TAG).unwrap(), BODY));
    }

    #[test]
    fn reads_only_whole_headers() {
        for wrong in ["", "ab", &TAG[..126], "sha512=ab", &format!("{TAG}00")] {
            assert!(tag(wrong).is_none(), "{wrong}");
        }
    }
}
