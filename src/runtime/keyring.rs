//! Keys that seal what must be kept and not be read: XChaCha20-Poly1305, with a fresh nonce of 24
//! bytes for each sealing, which is long enough to be drawn at random.
//!
//! Several keys are for rotation: the first one seals, each of them opens what it sealed. A new
//! key is put first, everything is sealed anew, and the old one is taken out.
//!
//! **Invariant:** what was sealed in one context (a tenant) does not open in another, so that a
//! record moved to another tenant's stream is of no use there.

use base64::{Engine, prelude::BASE64_STANDARD};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305,
    aead::{Aead, Payload},
};
use hmac::{Hmac, Mac};
use rand::Rng;
use schemars::JsonSchema;
use serde::Deserialize;
use sha2::Sha256;

use super::secret::Secret;
use crate::domain::tenant::Sealed;

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
/// The longest name of a key, in characters.
const KEY_ID_CHARS_MAX: usize = 32;

/// Keys for the credentials that tenants hand over at run time.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CredentialsSettings {
    /// Keys that seal tenants' credentials, each as `name:` and 32 bytes in base64 (`openssl rand
    /// -base64 32`). The first one seals, all of them open: put a new one first, restart all
    /// instances, and take the old one out once `GET /v1/tenants/{client_id}` names it nowhere.
    /// Best given by the variable. Empty (the default): tenants can't hand over credentials.
    pub keys: Vec<Secret<String>>,
}

/// Why keys can't be used. Names no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    #[error(
        "key number {0} is not of the form name:base64 with 32 bytes behind the colon and a name \
         of letters, digits, - and _"
    )]
    Malformed(usize),
    #[error("two keys have the name {0}")]
    SameName(String),
}

/// Why something sealed can't be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("it was sealed with the key {key_id}, which is not configured")]
    NoSuchKey { key_id: String },
    #[error("it was sealed with another key of the name {key_id}, or was changed")]
    Broken { key_id: String },
}

/// The keys. There is at least one.
pub struct Keyring {
    keys: Vec<(String, XChaCha20Poly1305)>,
    /// For telling things apart without keeping them.
    marks: Hmac<Sha256>,
}

impl Keyring {
    /// `None`: there are no keys.
    pub fn new(settings: &CredentialsSettings) -> Result<Option<Self>, KeyringError> {
        let mut keys: Vec<(String, XChaCha20Poly1305)> = Vec::new();
        let mut marks = None;
        for (index, text) in settings.keys.iter().enumerate() {
            let malformed = || KeyringError::Malformed(index + 1);
            let (id, key) = text.expose().split_once(':').ok_or_else(malformed)?;
            let id = id.trim();
            let named = (1..=KEY_ID_CHARS_MAX).contains(&id.len())
                && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
            let key = BASE64_STANDARD.decode(key.trim()).map_err(|_| malformed())?;
            if !named || key.len() != KEY_BYTES {
                return Err(malformed());
            }
            if keys.iter().any(|(known, _)| known == id) {
                return Err(KeyringError::SameName(id.to_owned()));
            }
            let cipher = XChaCha20Poly1305::new_from_slice(&key).map_err(|_| malformed())?;
            marks.get_or_insert(Hmac::new_from_slice(&key).map_err(|_| malformed())?);
            keys.push((id.to_owned(), cipher));
        }
        Ok(marks.map(|marks| Self { keys, marks }))
    }

    /// The name of the key that seals.
    pub fn current(&self) -> &str {
        self.keys.first().map_or("", |(id, _)| id)
    }

    /// `None`: there is more than the cipher can take, which is 256 GiB.
    pub fn seal(&self, context: &str, plain: &[u8]) -> Option<Sealed> {
        let (id, cipher) = self.keys.first()?;
        let mut nonce = [0; NONCE_BYTES];
        rand::rng().fill_bytes(&mut nonce);
        let payload = Payload { msg: plain, aad: context.as_bytes() };
        let ciphertext = cipher.encrypt(&nonce.into(), payload).ok()?;
        Some(Sealed {
            key_id: id.clone(),
            nonce: BASE64_STANDARD.encode(nonce),
            ciphertext: BASE64_STANDARD.encode(ciphertext),
        })
    }

    pub fn open(&self, context: &str, sealed: &Sealed) -> Result<Vec<u8>, OpenError> {
        let key_id = || sealed.key_id.clone();
        let found = self.keys.iter().find(|(id, _)| *id == sealed.key_id);
        let (_, cipher) = found.ok_or_else(|| OpenError::NoSuchKey { key_id: key_id() })?;
        let broken = || OpenError::Broken { key_id: key_id() };
        let decode = |text: &str| BASE64_STANDARD.decode(text).map_err(|_| broken());
        let nonce: [u8; NONCE_BYTES] = decode(&sealed.nonce)?.try_into().map_err(|_| broken())?;
        let ciphertext = decode(&sealed.ciphertext)?;
        let payload = Payload { msg: &ciphertext, aad: context.as_bytes() };
        cipher.decrypt(&nonce.into(), payload).map_err(|_| broken())
    }

    /// The same for the same text, and tells nothing of it to who has no key.
    pub fn mark(&self, text: &[u8]) -> [u8; 32] {
        let mut mac = self.marks.clone();
        mac.update(text);
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(id: &str, byte: u8) -> Secret<String> {
        Secret::new(format!("{id}:{}", BASE64_STANDARD.encode([byte; KEY_BYTES])))
    }

    fn keyring(keys: &[Secret<String>]) -> Keyring {
        Keyring::new(&CredentialsSettings { keys: keys.to_vec() }).unwrap().unwrap()
    }

    #[test]
    fn old_keys_open_and_the_first_one_seals() {
        let old = keyring(&[key("2025", 1)]);
        let sealed = old.seal("tenant 1", b"a token").unwrap();
        let rotated = keyring(&[key("2026", 2), key("2025", 1)]);
        assert_eq!(rotated.open("tenant 1", &sealed).unwrap(), b"a token");
        assert_eq!(rotated.seal("tenant 1", b"a token").unwrap().key_id, "2026");
        let without = keyring(&[key("2026", 2)]);
        let error = without.open("tenant 1", &sealed).unwrap_err();
        assert_eq!(error, OpenError::NoSuchKey { key_id: "2025".to_owned() });
        let another = keyring(&[key("2025", 3)]);
        assert!(matches!(another.open("tenant 1", &sealed), Err(OpenError::Broken { .. })));
    }

    #[test]
    fn keys_that_cant_be_used_are_refused() {
        let refused = |keys: &[Secret<String>]| {
            Keyring::new(&CredentialsSettings { keys: keys.to_vec() }).err()
        };
        let secret = |text: &str| Secret::new(text.to_owned());
        for text in ["", "a", "a:", ":AAAA", "a:AAAA", "a b:AAAA"] {
            assert_eq!(refused(&[key("x", 1), secret(text)]), Some(KeyringError::Malformed(2)));
        }
        assert!(matches!(refused(&[key("x", 1), key("x", 2)]), Some(KeyringError::SameName(_))));
        assert!(Keyring::new(&CredentialsSettings::default()).unwrap().is_none());
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_whole_in_its_context_alone(plain: Vec<u8>, at in 0usize..64) {
            let keyring = keyring(&[key("x", 1)]);
            let sealed = keyring.seal("tenant 1", &plain).unwrap();
            prop_assert_eq!(keyring.open("tenant 1", &sealed), Ok(plain.clone()));
            prop_assert!(keyring.open("tenant 2", &sealed).is_err());
            let mut bytes = BASE64_STANDARD.decode(&sealed.ciphertext).unwrap();
            let at = at % bytes.len();
            bytes[at] ^= 1;
            let changed = Sealed { ciphertext: BASE64_STANDARD.encode(bytes), ..sealed.clone() };
            prop_assert!(keyring.open("tenant 1", &changed).is_err());
            prop_assert_ne!(keyring.seal("tenant 1", &plain).unwrap().nonce, sealed.nonce);
        }
    }
}
