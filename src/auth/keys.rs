//! Keys that check tokens: each for exactly one algorithm.

use std::fmt;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm as JwtAlgorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Keys that a set may hold. Further ones of a JWKS are left out, with a warning.
pub const MAX_KEYS: usize = 64;
/// Bytes of the point of a P-256 key as PEM files and JWKs give it: `04`, x, y.
const P256_POINT_BYTES: usize = 65;

/// The algorithms that this server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Hs256,
    Rs256,
    Es256,
    EdDsa,
}

impl Algorithm {
    /// Whether a JOSE `alg` names this. `Ed25519` is the name of RFC 9864 for what everybody
    /// signs as `EdDSA`.
    pub fn is_named(self, alg: &str) -> bool {
        match self {
            Self::Hs256 => alg == "HS256",
            Self::Rs256 => alg == "RS256",
            Self::Es256 => alg == "ES256",
            Self::EdDsa => alg == "EdDSA" || alg == "Ed25519",
        }
    }

    fn jwt(self) -> JwtAlgorithm {
        match self {
            Self::Hs256 => JwtAlgorithm::HS256,
            Self::Rs256 => JwtAlgorithm::RS256,
            Self::Es256 => JwtAlgorithm::ES256,
            Self::EdDsa => JwtAlgorithm::EdDSA,
        }
    }
}

/// A key with the one algorithm that it is for.
#[derive(Clone)]
pub struct Key {
    pub algorithm: Algorithm,
    pub kid: Option<String>,
    key: DecodingKey,
    /// Tells whether a set has changed.
    digest: [u8; 32],
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("algorithm", &self.algorithm)
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

impl Key {
    fn new(algorithm: Algorithm, kid: Option<String>, key: DecodingKey, material: &[u8]) -> Self {
        let mut digest = Sha256::new();
        digest.update(kid.as_deref().unwrap_or_default());
        digest.update([0, algorithm as u8]);
        digest.update(material);
        Self { algorithm, kid, key, digest: digest.finalize().into() }
    }

    /// A shared secret. The caller has checked that it is one.
    pub fn from_secret(secret: &[u8]) -> Self {
        Self::new(Algorithm::Hs256, None, DecodingKey::from_secret(secret), secret)
    }

    /// A PEM public key; what it is decides the algorithm.
    pub fn from_public_pem(pem: &str) -> Result<Self, String> {
        if pem.contains("PRIVATE KEY-----") {
            return Err(
                "it holds a private key, which this server has no use for: give the public \
                        one (`openssl pkey -pubout`)"
                    .to_owned(),
            );
        }
        if pem.contains("-----BEGIN CERTIFICATE") {
            return Err(
                "it holds a certificate: give its public key (`openssl x509 -noout -pubkey`)"
                    .to_owned(),
            );
        }
        let bytes = pem.as_bytes();
        let (algorithm, key) = if let Ok(key) = DecodingKey::from_rsa_pem(bytes) {
            (Algorithm::Rs256, key)
        } else if let Ok(key) = DecodingKey::from_ec_pem(bytes) {
            match key.try_get_as_bytes().map(<[u8]>::len) {
                Ok(P256_POINT_BYTES) => (Algorithm::Es256, key),
                _ => return Err("its curve is not P-256, the only one that ES256 takes".to_owned()),
            }
        } else if let Ok(key) = DecodingKey::from_ed_pem(bytes) {
            (Algorithm::EdDsa, key)
        } else {
            return Err("it is not a PEM public key of RSA, EC P-256 or Ed25519".to_owned());
        };
        Ok(Self::new(algorithm, None, key, bytes))
    }

    /// Whether `signature` (base64url) over `signed` is this key's.
    pub fn verifies(&self, signed: &[u8], signature: &str) -> bool {
        jsonwebtoken::crypto::verify(signature, signed, &self.key, self.algorithm.jwt())
            .unwrap_or(false)
    }
}

/// The keys in force. Replaced as a whole.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    keys: Vec<Key>,
    generation: u64,
}

impl KeySet {
    pub fn new(keys: Vec<Key>, generation: u64) -> Self {
        Self { keys, generation }
    }

    /// Grows whenever the keys change.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub fn has_same_keys(&self, others: &[Key]) -> bool {
        self.keys.len() == others.len()
            && self.keys.iter().zip(others).all(|(a, b)| a.digest == b.digest)
    }

    /// Whether some key bears this id.
    pub fn knows(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.kid.as_deref() == Some(kid))
    }

    /// The keys that may have signed a token with this key id: those of the id, and those without
    /// one (a secret or PEM file has no name, and what issuers write into the header then
    /// differs). For a token without an id all.
    pub fn candidates<'a>(&'a self, kid: Option<&'a str>) -> impl Iterator<Item = &'a Key> {
        self.keys.iter().filter(move |key| match (kid, &key.kid) {
            (Some(wanted), Some(kid)) => wanted == kid,
            _ => true,
        })
    }
}

/// Whether a JWKS may hold shared secrets: a file may, what is fetched over the network may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedSecrets {
    Allowed,
    Refused,
}

/// Reads a JSON Web Key Set (RFC 7517). Keys that are of no use here (for encryption, of another
/// algorithm, malformed) are left out, as the RFC asks for.
pub fn parse_jwks(json: &[u8], secrets: SharedSecrets) -> Result<Vec<Key>, String> {
    #[derive(Deserialize)]
    struct Jwks {
        keys: Vec<Value>,
    }
    let jwks: Jwks = serde_json::from_slice(json)
        .map_err(|_| "it is not a JSON Web Key Set: {\"keys\":[...]}".to_owned())?;
    let total = jwks.keys.len();
    let keys: Vec<Key> = jwks
        .keys
        .into_iter()
        .filter_map(|value| serde_json::from_value(value).ok())
        .filter_map(|jwk: Jwk| jwk.into_key(secrets))
        .take(MAX_KEYS)
        .collect();
    if keys.is_empty() {
        return Err(format!("none of its {total} keys is for RS256, ES256 or EdDSA signatures"));
    }
    if keys.len() < total {
        tracing::debug!(used = keys.len(), total, "some keys of the JWKS are of no use here");
    }
    Ok(keys)
}

/// A JSON Web Key, as far as it matters here.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    k: Option<String>,
}

impl Jwk {
    fn into_key(self, secrets: SharedSecrets) -> Option<Key> {
        let for_signatures = self.usage.as_deref().is_none_or(|usage| usage == "sig")
            && self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !for_signatures {
            return None;
        }
        let (algorithm, key, material) = self.material(secrets)?;
        // An `alg` of the key narrows it; it never makes it another kind of key.
        if self.alg.as_deref().is_some_and(|alg| !algorithm.is_named(alg)) {
            return None;
        }
        Some(Key::new(algorithm, self.kid, key, material.as_bytes()))
    }

    fn material(&self, secrets: SharedSecrets) -> Option<(Algorithm, DecodingKey, String)> {
        match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => {
                let (n, e) = (self.n.as_ref()?, self.e.as_ref()?);
                let key = DecodingKey::from_rsa_components(n, e).ok()?;
                Some((Algorithm::Rs256, key, format!("{n}.{e}")))
            }
            ("EC", Some("P-256")) => {
                let (x, y) = (self.x.as_ref()?, self.y.as_ref()?);
                let key = DecodingKey::from_ec_components(x, y).ok()?;
                let fits =
                    key.try_get_as_bytes().is_ok_and(|point| point.len() == P256_POINT_BYTES);
                fits.then(|| (Algorithm::Es256, key, format!("{x}.{y}")))
            }
            ("OKP", Some("Ed25519")) => {
                let x = self.x.as_ref()?;
                let key = DecodingKey::from_ed_components(x).ok()?;
                Some((Algorithm::EdDsa, key, x.clone()))
            }
            ("oct", _) if secrets == SharedSecrets::Allowed => {
                let k = self.k.as_ref()?;
                let secret = BASE64_URL_SAFE_NO_PAD.decode(k).ok()?;
                let long_enough = secret.len() >= super::settings::MIN_SECRET_BYTES;
                long_enough
                    .then(|| (Algorithm::Hs256, DecodingKey::from_secret(&secret), k.clone()))
            }
            _ => None,
        }
    }
}
