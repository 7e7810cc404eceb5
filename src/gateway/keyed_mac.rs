//! The code by which a webhook's sender proves to know a secret: HMAC over the raw body.

use hmac::{KeyInit, Mac};

/// A secret, its key schedule done.
#[derive(Clone)]
pub(super) struct KeyedMac<M>(M);

impl<M: Mac + KeyInit + Clone> KeyedMac<M> {
    pub(super) fn new(secret: &str) -> Self {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        Self(<M as KeyInit>::new_from_slice(secret.as_bytes()).expect("any length is a key"))
    }

    /// Whether this secret made `tag` for `body`. Takes as long whatever differs.
    pub(super) fn made(&self, tag: &[u8], body: &[u8]) -> bool {
        let mut mac = self.0.clone();
        mac.update(body);
        mac.verify_slice(tag).is_ok()
    }

    /// The tag for `body`, hexadecimal.
    pub(super) fn hex_tag(&self, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(body);
        hex::encode(mac.finalize().into_bytes())
    }
}

/// A tag of `N` bytes that is written hexadecimal; `None` when it is of another form.
pub(super) fn read_tag<const N: usize>(hex: &str) -> Option<[u8; N]> {
    let mut tag = [0; N];
    hex::decode_to_slice(hex, &mut tag).ok()?;
    Some(tag)
}
