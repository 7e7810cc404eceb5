//! JSON Web Key Sets: mixed keys, rotation, servers that fail.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::{forge::*, *};

/// A server of one JWKS on this machine, which a test changes and counts.
struct JwksServer {
    url: String,
    answer: Arc<Mutex<String>>,
    fetches: Arc<AtomicUsize>,
}

impl JwksServer {
    async fn start(keys: &[Value]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let answer = Arc::new(Mutex::new(String::new()));
        let fetches = Arc::new(AtomicUsize::new(0));
        let server = Self { url, answer: answer.clone(), fetches: fetches.clone() };
        server.serve(keys);
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let _read = socket.read(&mut request).await;
                fetches.fetch_add(1, Ordering::Relaxed);
                let answer = answer.lock().clone();
                let _written = socket.write_all(answer.as_bytes()).await;
            }
        });
        server
    }

    fn serve(&self, keys: &[Value]) {
        self.answer_with("200 OK", &json!({ "keys": keys }).to_string());
    }

    fn answer_with(&self, status: &str, body: &str) {
        let length = body.len();
        *self.answer.lock() = format!(
            "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::Relaxed)
    }

    fn settings(&self) -> AuthSettings {
        AuthSettings { jwks_url: Some(self.url.clone()), leeway_s: 0, ..AuthSettings::default() }
    }
}

fn signed_by(kid: &str, alg: &str, sign: fn(&[u8]) -> Vec<u8>) -> String {
    token(&json!({ "alg": alg, "kid": kid }), &claims(), sign)
}

#[tokio::test]
async fn a_set_of_mixed_keys_checks_each_token_with_its_own() {
    let mut for_encryption = rsa_jwk("enc");
    for_encryption["use"] = json!("enc");
    let mut for_rs512 = rsa_jwk("rs512");
    for_rs512["alg"] = json!("RS512");
    let mut posing_as_hmac = rsa_jwk("hmac");
    posing_as_hmac["alg"] = json!("HS256");
    let shared = json!({ "kty": "oct", "kid": "oct", "k": base64url(SECRET) });
    let server = JwksServer::start(&[
        json!({ "kty": "LMS", "kid": "new" }),
        json!("not a key"),
        json!({ "kty": "RSA", "kid": "broken", "n": "?", "e": "AQAB" }),
        shared,
        for_encryption,
        for_rs512,
        posing_as_hmac,
        rsa_jwk("rsa"),
        ec_jwk("ec"),
        ed_jwk("ed"),
    ])
    .await;
    let (auth, _) = auth_with(server.settings()).await;
    for (kid, alg, sign, holds) in [
        ("rsa", "RS256", rs256 as fn(&[u8]) -> Vec<u8>, true),
        ("ec", "ES256", es256, true),
        ("ed", "EdDSA", eddsa, true),
        ("ec", "RS256", rs256, false),
        ("rsa", "ES256", es256, false),
        ("enc", "RS256", rs256, false),
        ("rs512", "RS512", rs256, false),
        ("hmac", "RS256", rs256, false),
        ("unknown", "RS256", rs256, false),
        ("oct", "HS256", |signed| hs256(SECRET)(signed), false),
        ("rsa", "HS256", |signed| hs256(public_pem(RSA.public_key()))(signed), false),
    ] {
        let found = auth.verify(&signed_by(kid, alg, sign)).await;
        assert_eq!(found.is_ok(), holds, "{kid} {alg}: {found:?}");
    }
    let nameless = token(&json!({ "alg": "ES256" }), &claims(), es256);
    assert!(auth.verify(&nameless).await.is_ok(), "without a key id all keys are tried");
}

#[tokio::test]
async fn a_file_may_hold_a_shared_secret() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let keys = json!({ "keys": [{ "kty": "oct", "kid": "s", "k": base64url(SECRET) }] });
    std::fs::write(file.path(), keys.to_string()).unwrap();
    let settings =
        AuthSettings { jwks_file: Some(file.path().to_owned()), ..AuthSettings::default() };
    let (auth, _) = auth_with(settings).await;
    assert!(auth.verify(&signed_by("s", "HS256", |signed| hs256(SECRET)(signed))).await.is_ok());
}

#[tokio::test]
async fn an_unknown_key_id_fetches_once_in_a_while() {
    let server = JwksServer::start(&[rsa_jwk("old")]).await;
    let settings = AuthSettings { jwks_refetch_min_interval_s: 3600, ..server.settings() };
    let (auth, _) = auth_with(settings).await;
    assert_eq!(server.fetches(), 1);
    server.serve(&[ec_jwk("new")]);
    for _ in 0..5 {
        let refused = auth.verify(&signed_by("new", "ES256", es256)).await;
        assert_eq!(
            refused.unwrap_err().to_string(),
            "the token is not valid: its key is not known"
        );
    }
    assert_eq!(server.fetches(), 1, "the least interval has not passed");
}

#[tokio::test]
async fn rotation_lets_the_new_key_in_and_the_old_one_out_of_the_cache() {
    let server = JwksServer::start(&[rsa_jwk("old")]).await;
    let settings = AuthSettings { jwks_refetch_min_interval_s: 1, ..server.settings() };
    let (auth, _) = auth_with(settings).await;
    let (old, new) = (signed_by("old", "RS256", rs256), signed_by("new", "ES256", es256));
    assert!(auth.verify(&old).await.is_ok());
    server.serve(&[ec_jwk("new")]);
    assert!(auth.verify(&old).await.is_ok(), "not yet fetched again");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(1)).await;
    tokio::time::resume();
    assert!(auth.verify(&new).await.is_ok());
    assert_eq!(server.fetches(), 2);
    assert!(auth.verify(&old).await.is_err(), "a cached verdict dies with its key");
}

#[tokio::test]
async fn keys_stay_when_their_server_fails() {
    let server = JwksServer::start(&[rsa_jwk("key")]).await;
    let settings = AuthSettings { cache_tokens_max: 1, ..server.settings() };
    let source = KeySource::load(&settings).await.unwrap();
    for (status, body) in [
        ("500 Internal Server Error", String::new()),
        ("302 Found", String::new()),
        ("200 OK", "<html>".to_owned()),
        ("200 OK", json!({ "keys": [] }).to_string()),
        ("200 OK", format!("{{\"keys\":[],\"padding\":\"{}\"}}", "x".repeat(300 * 1024))),
    ] {
        server.answer_with(status, &body);
        assert!(!source.refresh().await, "{status}");
        assert!(source.for_token(Some("key")).await.unwrap().knows("key"), "{status}");
        assert_eq!(source.generation(), 1);
    }
    server.serve(&[ec_jwk("key")]);
    assert!(source.refresh().await);
    assert_eq!(source.generation(), 2);
}

#[tokio::test]
async fn without_any_key_yet_tokens_can_not_be_checked() {
    let server = JwksServer::start(&[]).await;
    server.answer_with("503 Service Unavailable", "");
    let settings = AuthSettings { jwks_refetch_min_interval_s: 1, ..server.settings() };
    let (auth, _) = auth_with(settings).await;
    let token = signed_by("key", "ES256", es256);
    assert_eq!(auth.verify(&token).await, Err(AuthError::Unavailable));
    server.serve(&[ec_jwk("key")]);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(1)).await;
    tokio::time::resume();
    assert!(auth.verify(&token).await.is_ok());
}
