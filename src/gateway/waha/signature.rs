//! `X-Webhook-Hmac: <hex>`: HMAC-SHA512 over the raw body with the session's key.

use hmac::Hmac;
use sha2::Sha512;

use super::super::keyed_mac::{KeyedMac, read_tag};

/// A session's key.
pub(super) type HmacKey = KeyedMac<Hmac<Sha512>>;

/// The header's value for `body`.
pub(super) fn header(key: &HmacKey, body: &[u8]) -> String {
    key.hex_tag(body)
}

/// The tag in a header's value; `None` when it is of another form.
pub(super) fn tag(header: &str) -> Option<[u8; 64]> {
    read_tag(header.trim())
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
        assert_eq!(header(&key, BODY), TAG);
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
