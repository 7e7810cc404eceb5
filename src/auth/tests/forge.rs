//! Signs tokens with aws-lc itself, so that a test can also make what `mint` never would.

use std::sync::LazyLock;

pub use aws_lc_rs::signature::KeyPair;
use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};

/// Made once: RSA keys take their time.
pub static RSA: LazyLock<RsaKeyPair> =
    LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
pub static EC: LazyLock<EcdsaKeyPair> =
    LazyLock::new(|| EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap());
pub static EC_P384: LazyLock<EcdsaKeyPair> =
    LazyLock::new(|| EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap());
pub static ED: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::generate().unwrap());

pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// A token of this header and these claims, with whatever `sign` makes of them.
pub fn token(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string()));
    let signature = base64url(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

pub fn hs256(secret: impl AsRef<[u8]>) -> impl FnOnce(&[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_ref());
    move |signed| hmac::sign(&key, signed).as_ref().to_vec()
}

pub fn rs256(signed: &[u8]) -> Vec<u8> {
    let mut signature = vec![0; RSA.public_modulus_len()];
    RSA.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed, &mut signature).unwrap();
    signature
}

pub fn es256(signed: &[u8]) -> Vec<u8> {
    EC.sign(&SystemRandom::new(), signed).unwrap().as_ref().to_vec()
}

pub fn eddsa(signed: &[u8]) -> Vec<u8> {
    ED.sign(signed).as_ref().to_vec()
}

pub fn unsigned(_: &[u8]) -> Vec<u8> {
    Vec::new()
}

pub fn public_pem(key: &impl AsDer<PublicKeyX509Der<'static>>) -> String {
    let der = key.as_der().unwrap();
    format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        BASE64_STANDARD.encode(der.as_ref())
    )
}

pub fn rsa_jwk(kid: &str) -> Value {
    let public = RSA.public_key();
    let n = base64url(public.modulus().big_endian_without_leading_zero());
    let e = base64url(public.exponent().big_endian_without_leading_zero());
    json!({ "kty": "RSA", "kid": kid, "n": n, "e": e })
}

pub fn ec_jwk(kid: &str) -> Value {
    let (x, y) = EC.public_key().as_ref()[1..].split_at(32);
    json!({ "kty": "EC", "crv": "P-256", "kid": kid, "x": base64url(x), "y": base64url(y) })
}

pub fn ed_jwk(kid: &str) -> Value {
    let x = base64url(ED.public_key());
    json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x })
}
