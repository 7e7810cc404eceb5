//! Tokens that hold and tokens that must not.

use super::{forge::*, *};

/// What `Auth` says of each token: `"ok"` or the error's code and text.
async fn verdict(auth: &Auth, token: &str) -> String {
    match auth.verify(token).await {
        Ok(found) => {
            assert_eq!(found, identity());
            "ok".to_owned()
        }
        Err(error) => error.to_string(),
    }
}

fn pem_file(pem: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pem).unwrap();
    file
}

fn with_pems(files: &[&tempfile::NamedTempFile]) -> AuthSettings {
    AuthSettings {
        public_key_files: files.iter().map(|file| file.path().to_owned()).collect(),
        leeway_s: 0,
        ..AuthSettings::default()
    }
}

fn header(alg: &str) -> Value {
    json!({ "alg": alg, "typ": "JWT" })
}

#[tokio::test]
async fn each_algorithm_holds_with_its_key() {
    let (rsa, ec, ed) = (RSA.public_key(), EC.public_key(), ED.public_key());
    let files = [pem_file(&public_pem(rsa)), pem_file(&public_pem(ec)), pem_file(&public_pem(ed))];
    let settings = AuthSettings {
        secret: with_secret().secret,
        ..with_pems(&[&files[0], &files[1], &files[2]])
    };
    let (auth, _) = auth_with(settings).await;
    for token in [
        token(&header("HS256"), &claims(), hs256(SECRET)),
        token(&header("RS256"), &claims(), rs256),
        token(&header("ES256"), &claims(), es256),
        token(&header("EdDSA"), &claims(), eddsa),
        token(&header("Ed25519"), &claims(), eddsa),
        // A secret has no key id, so a token may bear any.
        token(&json!({ "alg": "HS256", "kid": "2026" }), &claims(), hs256(SECRET)),
    ] {
        assert_eq!(verdict(&auth, &token).await, "ok", "{token}");
        assert_eq!(verdict(&auth, &token).await, "ok", "from the cache");
    }
}

#[tokio::test]
async fn forged_tokens_are_refused() {
    let rsa_pem = public_pem(RSA.public_key());
    let file = pem_file(&rsa_pem);
    let (auth, _) = auth_with(with_pems(&[&file])).await;
    let good = token(&header("RS256"), &claims(), rs256);
    assert_eq!(verdict(&auth, &good).await, "ok");
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let other_payload = base64url(claims_with("client_id", json!(8)).to_string());
    let header_part = signed.split_once('.').unwrap().0;
    let embedded = json!({ "alg": "ES256", "jwk": ec_jwk("mine"), "jku": "https://evil.example" });
    let wrong_algorithm = "the token is not valid: its algorithm is not the key's";
    let wrong_signature = "the token is not valid: its signature is wrong";
    let no_jwt = "the token is not valid: it is not a JWT";
    for (token, expected) in [
        (token(&header("none"), &claims(), unsigned), wrong_algorithm),
        (token(&header("None"), &claims(), unsigned), wrong_algorithm),
        (token(&header("nOnE"), &claims(), rs256), wrong_algorithm),
        (token(&header(""), &claims(), rs256), wrong_algorithm),
        // The public key as an HMAC secret: the classic confusion, with the PEM and the DER.
        (token(&header("HS256"), &claims(), hs256(&rsa_pem)), wrong_algorithm),
        (token(&header("HS256"), &claims(), hs256(rsa_pem.trim())), wrong_algorithm),
        (token(&header("HS256"), &claims(), hs256(RSA.public_key())), wrong_algorithm),
        (token(&header("RS256"), &claims(), hs256(&rsa_pem)), wrong_signature),
        // Other algorithms of the same kind of key.
        (token(&header("RS512"), &claims(), rs256), wrong_algorithm),
        (token(&header("PS256"), &claims(), rs256), wrong_algorithm),
        (token(&header("rs256"), &claims(), rs256), wrong_algorithm),
        // Another's key, also one that the token brings along.
        (token(&header("ES256"), &claims(), es256), wrong_algorithm),
        (token(&embedded, &claims(), es256), wrong_algorithm),
        (token(&header("RS256"), &claims(), es256), wrong_signature),
        (token(&header("RS256"), &claims(), unsigned), wrong_signature),
        // Tampered with.
        (format!("{header_part}.{other_payload}.{signature}"), wrong_signature),
        (format!("{signed}.{signature}AA"), wrong_signature),
        (format!("{good}="), wrong_signature),
        (format!("{good}.x"), no_jwt),
        (format!("{signed}."), wrong_signature),
        (signed.to_owned(), no_jwt),
        ("..".to_owned(), no_jwt),
        (String::new(), no_jwt),
        ("\u{1f511}.\u{1f511}.\u{1f511}".to_owned(), no_jwt),
        (token(&json!("RS256"), &claims(), rs256), no_jwt),
        (token(&json!({ "typ": "JWT" }), &claims(), rs256), no_jwt),
        (token(&json!({ "alg": ["RS256"] }), &claims(), rs256), no_jwt),
        (
            token(&json!({ "alg": "RS256", "crit": ["b64"], "b64": false }), &claims(), rs256),
            "the token is not valid: it has critical header extensions",
        ),
    ] {
        assert_eq!(verdict(&auth, &token).await, expected, "{token}");
    }
}

#[tokio::test]
async fn claims_must_be_there_and_of_their_type() {
    let (auth, _) = auth_with(with_secret()).await;
    let sign = |claims: &Value| token(&header("HS256"), claims, hs256(SECRET));
    let wrong_type = "the token is not valid: a claim is missing or of the wrong type";
    for (name, value, expected) in [
        ("exp", json!(null), "the token is not valid: it has no exp claim"),
        ("exp", json!("1795518930"), wrong_type),
        ("exp", json!(-1), "the token is not valid: its exp claim is not a time"),
        ("exp", json!(NOW_S), "the token has expired"),
        ("exp", json!(NOW_S - 1), "the token has expired"),
        ("exp", json!(0), "the token has expired"),
        ("nbf", json!(NOW_S + 1), "the token is not valid: it is not valid yet"),
        ("nbf", json!("soon"), wrong_type),
        ("nbf", json!(NOW_S), "ok"),
        ("client_id", json!(null), "the token is not valid: it has no client_id claim"),
        ("client_id", json!("7"), wrong_type),
        ("client_id", json!(7.5), wrong_type),
        ("client_id", json!(-7), wrong_type),
        ("client_id", json!(4_294_967_296_i64), wrong_type),
        ("client_id", json!([7]), wrong_type),
        ("sub", json!(null), "the token is not valid: it has no sub claim"),
        ("sub", json!(""), "the token is not valid: it has no sub claim"),
        ("sub", json!("x".repeat(257)), "the token is not valid: its sub claim is too long"),
        ("scope", json!(["admin"]), wrong_type),
        ("scope", json!("openid events:read  messages:read unknown:read"), "ok"),
        // Not configured, so not looked at.
        ("iss", json!("https://issuer.example"), "ok"),
        ("aud", json!(["other"]), "ok"),
        ("extra", json!({ "deep": [1, 2, 3] }), "ok"),
    ] {
        let token = sign(&claims_with(name, value.clone()));
        assert_eq!(verdict(&auth, &token).await, expected, "{name}: {value}");
    }
    let twice = format!("{{\"client_id\":8,{}", &claims().to_string()[1..]);
    let parts = format!("{}.{}", base64url(header("HS256").to_string()), base64url(twice));
    let signature = base64url(hs256(SECRET)(parts.as_bytes()));
    assert_eq!(verdict(&auth, &format!("{parts}.{signature}")).await, wrong_type);
    let payload_is_no_object = sign(&json!([1]));
    assert_eq!(verdict(&auth, &payload_is_no_object).await, wrong_type);
}

#[tokio::test]
async fn huge_tokens_are_refused_unread() {
    let (auth, _) = auth_with(with_secret()).await;
    let sign = |padding: usize| {
        let claims = claims_with("padding", json!("x".repeat(padding)));
        token(&header("HS256"), &claims, hs256(SECRET))
    };
    assert_eq!(verdict(&auth, &sign(5_000)).await, "ok");
    let huge = sign(10_000_000);
    assert_eq!(verdict(&auth, &huge).await, "the token is not valid: it is too long");
    let no_scope_claim = token(
        &header("HS256"),
        &json!({ "sub": "a", "client_id": 7, "exp": NOW_S + 1 }),
        hs256(SECRET),
    );
    assert_eq!(auth.verify(&no_scope_claim).await.unwrap().scopes, Scopes::NONE);
}

#[tokio::test]
async fn issuer_and_audience_are_checked_when_configured() {
    let settings = AuthSettings {
        issuers: vec!["https://issuer.example".to_owned()],
        audiences: vec!["condorito".to_owned(), "crm".to_owned()],
        ..with_secret()
    };
    let (auth, _) = auth_with(settings).await;
    for (iss, aud, holds) in [
        (json!("https://issuer.example"), json!("crm"), true),
        (json!("https://issuer.example"), json!(["other", "condorito"]), true),
        (json!("https://issuer.example"), json!(["other"]), false),
        (json!("https://issuer.example"), json!([]), false),
        (json!("https://issuer.example"), json!(null), false),
        (json!("https://issuer.example.evil"), json!("crm"), false),
        (json!(null), json!("crm"), false),
        (json!(7), json!("crm"), false),
    ] {
        let mut claims = claims();
        (claims["iss"], claims["aud"]) = (iss.clone(), aud.clone());
        let token = token(&header("HS256"), &claims, hs256(SECRET));
        assert_eq!(auth.verify(&token).await.is_ok(), holds, "{iss} {aud}");
    }
}

#[tokio::test]
async fn the_cache_forgets_at_the_expiry_and_the_leeway_counts() {
    let (auth, clock) = auth_with(AuthSettings { leeway_s: 5, ..with_secret() }).await;
    let token = token(&header("HS256"), &claims(), hs256(SECRET));
    let found = auth.verify(&token).await.unwrap();
    assert_eq!(found.expires_at, NOW.plus_ms(3_605_000));
    clock.advance_ms(3_604_999);
    assert_eq!(auth.verify(&token).await, Ok(found));
    clock.advance_ms(1);
    assert_eq!(auth.verify(&token).await, Err(AuthError::Expired), "remembered");
    assert_eq!(auth.verify(&token).await, Err(AuthError::Expired), "checked anew");
}

#[tokio::test]
async fn previous_secrets_are_accepted_and_others_are_not() {
    use crate::runtime::secret::Secret;
    let previous = "another secret of more than thirty-two bytes";
    let settings =
        AuthSettings { previous_secrets: vec![Secret::new(previous.to_owned())], ..with_secret() };
    let (auth, _) = auth_with(settings).await;
    let with = |secret: &str| token(&header("HS256"), &claims(), hs256(secret));
    assert_eq!(verdict(&auth, &with(SECRET)).await, "ok");
    assert_eq!(verdict(&auth, &with(previous)).await, "ok");
    let foreign = with("a third secret of more than thirty-two bytes");
    assert_eq!(verdict(&auth, &foreign).await, "the token is not valid: its signature is wrong");
}

#[tokio::test]
async fn only_admin_acts_for_another_tenant_and_others_learn_nothing() {
    let (auth, _) = auth_with(with_secret()).await;
    let with_scope =
        |scope: &str| token(&header("HS256"), &claims_with("scope", json!(scope)), hs256(SECRET));
    let ask = async |token: &str, named: Option<&'static str>| {
        let mut headers = http::HeaderMap::new();
        headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
        if let Some(named) = named {
            headers.insert("x-client-id", http::HeaderValue::from_static(named));
        }
        let identity = auth.identify(&Credentials::of(&headers, None)).await;
        identity.map(|identity| identity.client_id.0)
    };
    let all_but_admin = with_scope(&Scopes(Scopes::ADMIN.0 - 1).to_string());
    let admin = with_scope("admin");
    assert_eq!(ask(&all_but_admin, None).await, Ok(7));
    assert_eq!(ask(&all_but_admin, Some("7")).await, Ok(7));
    assert_eq!(ask(&all_but_admin, Some("8")).await, Err(AuthError::NoSuchTenant));
    assert_eq!(ask(&all_but_admin, Some("x")).await, Err(AuthError::NoSuchTenant));
    assert_eq!(ask(&admin, None).await, Ok(7));
    assert_eq!(ask(&admin, Some("8")).await, Ok(8));
    assert_eq!(ask(&admin, Some("x")).await, Err(AuthError::NoSuchTenant));
}

#[tokio::test]
async fn a_ticket_stands_for_its_identity_and_no_other_tenant() {
    let (auth, _) = auth_with(with_secret()).await;
    let admin = Identity { scopes: Scopes::ADMIN, ..identity() };
    let issue = || auth.issue_ticket(&admin).unwrap().ticket;
    let ask = async |ticket: String, named: Option<&'static str>| {
        let mut headers = http::HeaderMap::new();
        if let Some(named) = named {
            headers.insert("x-client-id", http::HeaderValue::from_static(named));
        }
        auth.identify(&Credentials::of(&headers, Some(&format!("ticket={ticket}")))).await
    };
    let ticket = issue();
    assert_eq!(ask(ticket.clone(), None).await, Ok(admin.clone()));
    let spent = ask(ticket, None).await;
    assert!(matches!(spent, Err(AuthError::Invalid { .. })));
    assert_eq!(ask(issue(), Some("7")).await, Ok(admin.clone()));
    assert_eq!(ask(issue(), Some("8")).await, Err(AuthError::NoSuchTenant));
}

#[tokio::test]
async fn minted_tokens_hold() {
    let settings = AuthSettings {
        issuers: vec!["https://issuer.example".to_owned()],
        audiences: vec!["condorito".to_owned()],
        ..with_secret()
    };
    let (auth, _) = auth_with(settings.clone()).await;
    let Identity { subject, client_id, scopes, .. } = identity();
    let order = mint::Mint { subject, client_id, scopes, ttl_s: 3600 };
    let token = mint::mint(&settings, &order, NOW).unwrap();
    assert_eq!(verdict(&auth, &token).await, "ok");
    let keyless = AuthSettings { secret: None, ..settings };
    assert!(matches!(mint::mint(&keyless, &order, NOW), Err(mint::MintError::NoSecret)));
}

#[tokio::test]
async fn settings_that_would_be_unsafe_are_refused() {
    use crate::runtime::secret::Secret;
    let start = async |settings: AuthSettings| {
        let clock = Arc::new(ManualClock::at(NOW));
        let started = Auth::start(&settings, clock, &Shutdown::new()).await;
        started.err().map(|error| error.to_string()).unwrap_or_default()
    };
    let secret = |text: &str| AuthSettings {
        secret: Some(Secret::new(text.to_owned())),
        ..AuthSettings::default()
    };
    let url =
        |url: &str| AuthSettings { jwks_url: Some(url.to_owned()), ..AuthSettings::default() };
    let rsa_pem = public_pem(RSA.public_key());
    let private = pem_file("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    let certificate = pem_file("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let p384 = pem_file(&public_pem(EC_P384.public_key()));
    let secret_file = pem_file(&rsa_pem);
    for (settings, says) in [
        (AuthSettings::default(), "no key to check tokens with"),
        (secret("short"), "auth.secret is too short"),
        (secret(&rsa_pem), "auth.secret holds a PEM key"),
        (
            AuthSettings {
                secret_file: Some(secret_file.path().to_owned()),
                ..AuthSettings::default()
            },
            "auth.secret_file holds a PEM key",
        ),
        (
            AuthSettings { secret_file: Some(secret_file.path().to_owned()), ..with_secret() },
            "auth.secret and auth.secret_file are both set",
        ),
        (with_pems(&[&private]), "it holds a private key"),
        (with_pems(&[&certificate]), "it holds a certificate"),
        (with_pems(&[&p384]), "its curve is not P-256"),
        (with_pems(&[&pem_file("hello")]), "it is not a PEM public key"),
        (
            AuthSettings { jwks_file: Some("/nowhere/jwks.json".into()), ..with_secret() },
            "auth.jwks_file: can't read /nowhere/jwks.json",
        ),
        (url("http://issuer.example/jwks"), "plain http"),
        (url("file:///etc/passwd"), "names no host"),
        (url("jwks.json"), "it is not a URL"),
        (AuthSettings { tickets_max: 0, ..with_secret() }, "auth.tickets_max must not be zero"),
    ] {
        let error = start(settings).await;
        assert!(error.contains(says), "{error:?} does not say {says:?}");
    }
}
