//! Media and erasure over HTTP, as strangers and attackers would use them.

use std::{path::Path, time::Duration};

use reqwest::{Method, Response, StatusCode, header};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    config::{TestConfig, mint_token, signature, status_body, webhook_body},
    server::ServerProcess,
    server_binary,
};

struct World {
    server: ServerProcess,
    http: reqwest::Client,
    token: String,
    folder: TempDir,
}

impl World {
    fn start(more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = TestConfig { more: more.to_owned(), ..TestConfig::default() };
        let server = ServerProcess::start(&server_binary(), &config.write(folder.path()), None);
        Self { server, http: reqwest::Client::new(), token: mint_token(1, None), folder }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.server.base())).bearer_auth(&self.token)
    }

    async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.expect("answered")
    }

    async fn json(&self, path: &str) -> Value {
        json_of(self.get(path).await).await
    }

    async fn upload(&self, content_type: &str, bytes: Vec<u8>) -> Response {
        let request = self.request(Method::POST, "/v1/media?filename=a.png");
        let request = request.header("content-type", content_type).body(bytes);
        request.send().await.expect("answered")
    }

    async fn webhook(&self, body: Vec<u8>) {
        let answer = self
            .http
            .post(format!("{}/webhooks/whatsapp", self.server.base()))
            .header("x-hub-signature-256", signature(&body))
            .body(body)
            .send()
            .await
            .expect("answered");
        assert_eq!(answer.status(), StatusCode::OK);
    }

    /// Where the feed ends, once all is projected that was taken in.
    async fn conversations(&self, count: usize) -> Vec<Value> {
        for _ in 0..400 {
            let listed = self.json("/v1/conversations?limit=100").await;
            let all = listed["conversations"].as_array().cloned().unwrap_or_default();
            if all.len() == count {
                return all;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("there are never {count} conversations");
    }
}

async fn json_of(response: Response) -> Value {
    serde_json::from_slice(&response.bytes().await.expect("a body")).unwrap_or_default()
}

fn header_of(response: &Response, name: header::HeaderName) -> String {
    response.headers().get(name).map_or("", |value| value.to_str().expect("text")).to_owned()
}

fn png(size: usize) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    bytes.extend((0..size - 8).map(|n| (n % 251) as u8));
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_is_given_back_whole_and_in_parts() {
    let world = World::start("");
    let bytes = png(300_000);
    let created = world.upload("image/png", bytes.clone()).await;
    assert_eq!(created.status(), StatusCode::CREATED);
    let location = header_of(&created, header::LOCATION);
    let about = json_of(created).await;
    let id = about["id"].as_str().expect("an id");
    assert_eq!(location, format!("/v1/media/{id}"));
    assert_eq!((&about["mime_type"], &about["size"]), (&json!("image/png"), &json!(300_000)));
    assert_eq!(about["filename"], "a.png");
    assert_eq!(about["sha256"].as_str().map(str::len), Some(64));

    let whole = world.get(&location).await;
    assert_eq!(whole.status(), StatusCode::OK);
    assert_eq!(header_of(&whole, header::CONTENT_TYPE), "image/png");
    assert_eq!(header_of(&whole, header::CONTENT_LENGTH), "300000");
    assert_eq!(header_of(&whole, header::X_CONTENT_TYPE_OPTIONS), "nosniff");
    assert_eq!(header_of(&whole, header::ACCEPT_RANGES), "bytes");
    assert!(header_of(&whole, header::CONTENT_SECURITY_POLICY).contains("sandbox"));
    assert!(header_of(&whole, header::CONTENT_DISPOSITION).starts_with("inline"));
    let etag = header_of(&whole, header::ETAG);
    assert!(whole.bytes().await.expect("a body") == bytes);

    for (range, place, part) in [
        ("bytes=0-9", "bytes 0-9/300000", &bytes[..10]),
        ("bytes=299990-", "bytes 299990-299999/300000", &bytes[299_990..]),
        ("bytes=-5", "bytes 299995-299999/300000", &bytes[299_995..]),
        ("bytes=65530-65550", "bytes 65530-65550/300000", &bytes[65_530..65_551]),
    ] {
        let answer =
            world.request(Method::GET, &location).header("range", range).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT, "{range}");
        assert_eq!(header_of(&answer, header::CONTENT_RANGE), place);
        assert!(answer.bytes().await.unwrap() == part, "{range}");
    }
    let beyond = world.request(Method::GET, &location).header("range", "bytes=300000-");
    let beyond = beyond.send().await.unwrap();
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(header_of(&beyond, header::CONTENT_RANGE), "bytes */300000");
    assert_eq!(json_of(beyond).await["code"], "range_not_satisfiable");

    let known = world.request(Method::GET, &location).header("if-none-match", &etag);
    assert_eq!(known.send().await.unwrap().status(), StatusCode::NOT_MODIFIED);
    let stale = world.request(Method::GET, &location).header("range", "bytes=0-9");
    let stale = stale.header("if-range", "\"other\"").send().await.unwrap();
    assert_eq!(stale.status(), StatusCode::OK);
    let head = world.request(Method::HEAD, &location).send().await.unwrap();
    assert_eq!(
        (head.status(), header_of(&head, header::CONTENT_LENGTH)),
        (StatusCode::OK, "300000".to_owned())
    );

    // Another tenant, nobody, and whoever may not read.
    let get = |token: Option<String>| {
        let request = world.http.get(format!("{}{location}", world.server.base()));
        token.map_or(request.try_clone().unwrap(), |token| request.bearer_auth(token)).send()
    };
    let other = get(Some(mint_token(2, None))).await.unwrap();
    assert_eq!(other.status(), StatusCode::NOT_FOUND);
    assert_eq!(get(None).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let other = get(Some(mint_token(1, Some("messages:write")))).await.unwrap();
    assert_eq!(other.status(), StatusCode::FORBIDDEN);
    for path in ["/v1/media/nonsense", "/v1/media/..%2f..%2flog.db"] {
        assert!(world.get(path).await.status().is_client_error(), "{path}");
    }
    let unknown = world.get("/v1/media/019ab4d2-7c3f-7d10-9f6e-3b1f7c2a9e55").await;
    assert_eq!(json_of(unknown).await["code"], "not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_are_judged_by_their_content() {
    let world = World::start("");
    for (content_type, bytes, status, code) in [
        ("application/pdf", b"MZ\x90\0 a program".to_vec(), 415, "unsupported_media_type"),
        ("image/svg+xml", b"<svg onload='alert(1)'/>".to_vec(), 422, "validation_failed"),
        ("image/jpeg", png(100), 422, "validation_failed"),
        ("image/gif", b"GIF89a and more".to_vec(), 415, "unsupported_media_type"),
        ("image/png", Vec::new(), 422, "validation_failed"),
        ("image/png", png((5 << 20) + 1), 413, "body_too_large"),
    ] {
        let answer = world.upload(content_type, bytes).await;
        assert_eq!(answer.status().as_u16(), status, "{content_type}");
        assert_eq!(json_of(answer).await["code"], code, "{content_type}");
    }
    // A page is a text, saved and never shown.
    let page = world.upload("text/html", b"<script>alert(document.domain)</script>".to_vec()).await;
    let about = json_of(page).await;
    let page = world.get(&format!("/v1/media/{}", about["id"].as_str().expect("an id"))).await;
    assert!(header_of(&page, header::CONTENT_DISPOSITION).starts_with("attachment"));
    assert_eq!(header_of(&page, header::CONTENT_TYPE), "text/plain");

    let form = |parts: &str| {
        let body = format!("--b\r\n{parts}\r\n--b--\r\n");
        let request = world.request(Method::POST, "/v1/media");
        request.header("content-type", "multipart/form-data; boundary=b").body(body).send()
    };
    let taken = form(
        "Content-Disposition: form-data; name=\"note\"\r\n\r\nhello\r\n--b\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"C:\\\\x\\\\notes.txt\"\r\n\
         Content-Type: text/plain\r\n\r\nwords in a form",
    );
    let taken = taken.await.unwrap();
    assert_eq!(taken.status(), StatusCode::CREATED);
    let about = json_of(taken).await;
    assert_eq!((&about["filename"], &about["size"]), (&json!("notes.txt"), &json!(15)));
    let id = about["id"].as_str().expect("an id");
    let given = world.get(&format!("/v1/media/{id}")).await.bytes().await.unwrap();
    assert_eq!(given, "words in a form");
    let empty = form("Content-Disposition: form-data; name=\"note\"\r\n\r\nhello").await.unwrap();
    assert_eq!(json_of(empty).await["code"], "validation_failed");
    let broken = world
        .request(Method::POST, "/v1/media")
        .header("content-type", "multipart/form-data; boundary=b")
        .body("--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nabc")
        .send()
        .await
        .unwrap();
    assert!(broken.status().is_client_error(), "{}", broken.status());
    // Without the right to write, nothing is even read.
    let reader = mint_token(1, Some("messages:read"));
    let refused = world
        .http
        .post(format!("{}/v1/media", world.server.base()))
        .bearer_auth(reader)
        .header("content-type", "image/png")
        .body(png(100))
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenants_room_has_an_end() {
    let world = World::start("[media]\ntenant_bytes_max = 1000000\n");
    assert_eq!(world.upload("image/png", png(700_000)).await.status(), StatusCode::CREATED);
    let refused = world.upload("image/png", png(700_000)).await;
    assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(json_of(refused).await["code"], "quota_used_up");
}

fn files_with(folder: &Path, needle: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            found.extend(files_with(&path, needle));
        } else if memchr::memmem::find(&std::fs::read(&path).expect("readable"), needle.as_bytes())
            .is_some()
        {
            found.push(path);
        }
    }
    found
}

/// All files that the server keeps; the configuration and its own log are the operator's.
fn kept_with(world: &World, needle: &str) -> Vec<std::path::PathBuf> {
    files_with(&world.folder.path().join("data"), needle)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contact_is_erased_while_the_server_runs() {
    let world = World::start("");
    let (hers, his) = (34_611_222_333, 34_600_000_002);
    for round in 0..20 {
        let words = format!("xylophonkatze {round}");
        world.webhook(webhook_body(1, hers, &format!("wamid.HERS{round}"), &words)).await;
        world.webhook(webhook_body(1, his, &format!("wamid.his{round}"), "hola")).await;
    }
    let all = world.conversations(2).await;
    let of = |phone: &str| {
        let ours = all.iter().find(|found| found["contact"]["phone"] == phone);
        ours.and_then(|found| found["id"].as_u64()).expect("the conversation")
    };
    let (her_id, his_id) = (of("+34611222333"), of("+34600000002"));
    let before = world.json("/v1/stats").await;
    let cursor = world.json("/v1/events").await["cursor"].as_str().expect("a cursor").to_owned();
    assert!(!kept_with(&world, "xylophonkatze").is_empty());

    let path = format!("/v1/conversations/{her_id}/personal-data");
    let weak = mint_token(1, Some("messages:read messages:write"));
    let url = format!("{}{path}", world.server.base());
    let refused = world.http.delete(&url).bearer_auth(weak).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let stranger = world.http.delete(&url).bearer_auth(mint_token(2, None)).send().await.unwrap();
    assert_eq!(stranger.status(), StatusCode::NOT_FOUND);
    let erased = world.request(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(erased.status(), StatusCode::OK);
    let at = json_of(erased).await["cursor"].as_str().expect("a cursor").to_owned();

    // From there on nothing is shown: not by its number, its words, nor in the feed's past.
    let gone = world.get(&format!("/v1/conversations/{her_id}?at_least={at}")).await;
    assert_eq!(gone.status(), StatusCode::NOT_FOUND);
    let history = world.get(&format!("/v1/conversations/{her_id}/messages")).await;
    assert_eq!(history.status(), StatusCode::NOT_FOUND);
    for words in ["xylophonkatze", "611222", "Ana"] {
        let found = world.json(&format!("/v1/conversations?q={words}")).await.to_string();
        assert!(!found.contains("34611222333"), "{words}: {found}");
    }
    let snapshot = world.json("/v1/snapshot").await.to_string();
    let past = world.json("/v1/events?from=2026-01-01T00:00:00Z&limit=1000").await;
    for text in [snapshot, past.to_string()] {
        assert!(!text.contains("xylophonkatze") && !text.contains("34611222333"));
    }
    // A follower goes on where it was, and sees the conversation empty.
    let next = world.json(&format!("/v1/events?cursor={cursor}&limit=1000")).await;
    let events = next["events"].as_array().expect("events");
    let emptied = events.iter().find(|event| event["data"]["conversation"]["id"] == her_id);
    let emptied = emptied.expect("the conversation is told to be empty");
    assert_eq!(emptied["type"], "conversation_updated");
    assert_eq!(emptied["data"]["conversation"]["contact"]["phone"], Value::Null);
    // The numbers, and the other, stay.
    let after = world.json("/v1/stats").await;
    assert_eq!(after["stats"]["received"], before["stats"]["received"]);
    assert_eq!(after["stats"]["conversations"]["total"], 1);
    let other = world.json(&format!("/v1/conversations/{his_id}/messages?limit=100")).await;
    assert_eq!(other["messages"].as_array().map(Vec::len), Some(20));

    // Soon nothing of it is stored, while all goes on.
    let mut left = Vec::new();
    for _ in 0..200 {
        left = ["xylophonkatze", "34611222333", "wamid.HERS"]
            .iter()
            .flat_map(|mark| kept_with(&world, mark))
            .collect();
        if left.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(left.is_empty(), "{left:?}");

    // What the provider repeats brings nothing back; who writes again is somebody new.
    world.webhook(status_body(1, hers, "wamid.HERS1", "read")).await;
    world.webhook(webhook_body(1, his, "wamid.last", "adios")).await;
    world.conversations(1).await;
    let again = world.request(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::OK);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    world.webhook(webhook_body(1, hers, "wamid.NEW", "hola de nuevo")).await;
    let all = world.conversations(2).await;
    let new = all.iter().find(|found| found["contact"]["phone"] == "+34611222333");
    assert!(new.is_some_and(|found| found["id"].as_u64() > Some(his_id)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_survives_kill_9_at_any_moment() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = TestConfig::default().write(folder.path());
    let mut server = ServerProcess::start(&server_binary(), &config, None);
    let token = mint_token(1, None);
    let http = reqwest::Client::new();
    for (round, wait_ms) in [0, 700, 1900, 2050, 2200].into_iter().enumerate() {
        let mark = format!("zirkumflexgans{round}");
        let customer = 34_700_000_000 + round as u64;
        let body = webhook_body(1, customer, &format!("wamid.K{round}"), &mark);
        let posted = http
            .post(format!("{}/webhooks/whatsapp", server.base()))
            .header("x-hub-signature-256", signature(&body))
            .body(body)
            .send()
            .await
            .expect("answered");
        assert_eq!(posted.status(), StatusCode::OK);
        // A number for each contact, in the order in which they wrote.
        let path = format!("/v1/conversations/{}/personal-data", round + 1);
        let erased = http.delete(format!("{}{path}", server.base())).bearer_auth(&token).send();
        let erased = erased.await.expect("answered");
        assert_eq!(erased.status(), StatusCode::OK, "{path}");
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        let (binary, config) = (server_binary(), config.clone());
        server = tokio::task::spawn_blocking(move || {
            server.kill();
            ServerProcess::start(&binary, &config, None)
        })
        .await
        .expect("started again");
    }
    let data = folder.path().join("data");
    let mut left = Vec::new();
    for _ in 0..200 {
        left = files_with(&data, "zirkumflexgans");
        if left.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(left.is_empty(), "{left:?}");
    assert!(server.terminate(Duration::from_secs(20)));
    assert_eq!(files_with(&data, "347000000"), Vec::<std::path::PathBuf>::new());
}
