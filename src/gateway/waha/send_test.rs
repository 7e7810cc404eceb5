use futures_util::{StreamExt, stream};

use super::*;
use crate::{
    domain::ids::MessageId,
    gateway::{
        http::ProviderHttpSettings,
        outbound::{RetryScope, Stopped},
        peer_test::{Peer, Reply},
    },
};

fn account(url: &str) -> Account {
    Account::Waha {
        base_url: format!("{url}/"),
        session: "shop".to_owned(),
        api_key: Some(Secret::new("a key".to_owned())),
    }
}

fn sender() -> WahaSender {
    let http = ProviderHttpSettings { request_timeout_ms: 300, ..ProviderHttpSettings::default() };
    WahaSender::new(ProviderHttp::new(&http).unwrap())
}

fn ana() -> Recipient {
    Recipient {
        phone: Some("+573001112233".to_owned()),
        lid: Some("99".to_owned()),
        ..Recipient::default()
    }
}

fn text() -> OutboundMessage {
    OutboundMessage {
        id: MessageId(uuid::Uuid::from_u128(7)),
        kind: MessageKind::Text,
        text: Some("Hola".to_owned()),
        media: None,
        filename: None,
        mime_type: None,
        voice: false,
        payload: None,
        reply_to: None,
    }
}

fn taken() -> Reply {
    Reply::Json(201, json!({"id": "true_573001112233@c.us_AAA"}))
}

async fn sent(reply: Reply) -> Result<Accepted, SendError> {
    let peer = Peer::start(vec![reply]).await;
    sender().send(&account(&peer.url), &ana(), &text()).await
}

#[tokio::test]
async fn a_text_goes_to_the_contacts_chat() {
    let peer = Peer::start(vec![taken()]).await;
    let message = OutboundMessage { reply_to: Some("false_5@c.us_B".to_owned()), ..text() };
    let accepted = sender().send(&account(&peer.url), &ana(), &message).await.unwrap();
    assert_eq!(accepted.wa_message_id, "true_573001112233@c.us_AAA");
    assert_eq!(accepted.dedupe_key, "out:AAA");
    let asked = &peer.asked()[0];
    assert_eq!(asked.line, "POST /api/sendText");
    assert_eq!(asked.header("x-api-key"), Some("a key"));
    assert_eq!(
        asked.json(),
        json!({"session": "shop", "chatId": "573001112233@c.us", "text": "Hola",
               "reply_to": "false_5@c.us_B"})
    );
}

#[tokio::test]
async fn every_kind_has_its_endpoint() {
    let link = Some(MediaSource::Link("https://x/y".to_owned()));
    let of = |kind, payload: Value, voice| OutboundMessage {
        kind,
        media: link.clone(),
        payload: payload.as_object().cloned(),
        mime_type: Some("x/y".to_owned()),
        voice,
        reply_to: (kind == MessageKind::Reaction).then(|| "false_5@c.us_B".to_owned()),
        text: None,
        ..text()
    };
    let file = json!({"url": "https://x/y", "mimetype": "x/y"});
    let place = json!({"latitude": 1.5, "longitude": 2.5, "name": "Casa"});
    let card =
        json!({"contacts": [{"name": {"formatted_name": "A"}, "phones": [{"phone": "+1"}]}]});
    let cases = [
        (of(MessageKind::Image, json!({}), false), "POST /api/sendImage", "file", file.clone()),
        (of(MessageKind::Video, json!({}), false), "POST /api/sendVideo", "file", file.clone()),
        (of(MessageKind::Audio, json!({}), true), "POST /api/sendVoice", "file", file.clone()),
        (of(MessageKind::Audio, json!({}), false), "POST /api/sendFile", "file", file.clone()),
        (of(MessageKind::Document, json!({}), false), "POST /api/sendFile", "file", file),
        (of(MessageKind::Location, place, false), "POST /api/sendLocation", "title", json!("Casa")),
        (
            of(MessageKind::Contacts, card, false),
            "POST /api/sendContactVcard",
            "contacts",
            json!([{"fullName": "A", "phoneNumber": "+1", "whatsappId": null, "organization": null}]),
        ),
        (
            of(MessageKind::Reaction, json!({"emoji": "👍"}), false),
            "PUT /api/reaction",
            "reaction",
            json!("👍"),
        ),
    ];
    for (message, line, field, expected) in cases {
        let peer = Peer::start(vec![taken()]).await;
        sender().send(&account(&peer.url), &ana(), &message).await.unwrap();
        let asked = &peer.asked()[0];
        assert_eq!(asked.line, line);
        assert_eq!(asked.json()[field], expected, "{line}");
        assert_eq!(asked.json()["session"], "shop");
    }
}

#[tokio::test]
async fn who_is_known_by_a_lid_alone_is_written_to_there() {
    let peer = Peer::start(vec![taken()]).await;
    let to = Recipient { lid: Some("99".to_owned()), ..Recipient::default() };
    sender().send(&account(&peer.url), &to, &text()).await.unwrap();
    assert_eq!(peer.asked()[0].json()["chatId"], "99@lid");
}

#[tokio::test]
async fn every_engine_names_the_message_in_its_own_way() {
    let answers = [
        json!({"id": {"fromMe": true, "id": "AAA", "_serialized": "true_5@c.us_AAA"}}),
        json!({"key": {"remoteJid": "5@s.whatsapp.net", "fromMe": true, "id": "AAA"}}),
        json!({"id": "true_99@lid_AAA", "_data": {}}),
        json!({"_data": {"id": {"_serialized": "true_5@c.us_AAA"}}}),
    ];
    for answer in answers {
        assert_eq!(
            sent(Reply::Json(201, answer.clone())).await.unwrap().dedupe_key,
            "out:AAA",
            "{answer}"
        );
    }
    let unnamed = sent(Reply::Json(201, json!({"ok": true}))).await;
    assert!(matches!(unnamed, Err(SendError::InDoubt { .. })), "{unnamed:?}");
}

#[tokio::test]
async fn a_reaction_may_have_no_name() {
    let peer = Peer::start(vec![Reply::Raw(200, "", Vec::new())]).await;
    let message = OutboundMessage {
        kind: MessageKind::Reaction,
        reply_to: Some("false_5@c.us_B".to_owned()),
        ..text()
    };
    let accepted = sender().send(&account(&peer.url), &ana(), &message).await.unwrap();
    assert!(accepted.wa_message_id.starts_with("reaction."));
}

#[tokio::test]
async fn errors_are_classified() {
    let error = |status: u16, more: Value| {
        let mut body = json!({"statusCode": status, "error": "Error", "message": "it is so"});
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        Reply::Json(status, body)
    };
    let is_retry = |outcome: &Result<Accepted, SendError>| {
        matches!(outcome, Err(SendError::Retry { scope: RetryScope::Number, .. }))
    };
    let is_stopped = |outcome: &Result<Accepted, SendError>| {
        matches!(outcome, Err(SendError::Stopped { what: Stopped::Number, .. }))
    };
    for (status, more) in [(429, json!({})), (422, json!({"status": "STARTING"}))] {
        assert!(is_retry(&sent(error(status, more)).await), "{status}");
    }
    let stopped = [
        (401, json!({})),
        (404, json!({})),
        (422, json!({"status": "SCAN_QR_CODE", "expected": ["WORKING"]})),
    ];
    for (status, more) in stopped {
        assert!(is_stopped(&sent(error(status, more)).await), "{status}");
    }
    let refused = [
        (400, json!({})),
        (422, json!({"message": "chatId is wrong"})),
        (500, json!({"message": "No LID for user"})),
    ];
    for (status, more) in refused {
        let outcome = sent(error(status, more)).await;
        assert!(matches!(outcome, Err(SendError::Final { .. })), "{status}: {outcome:?}");
    }
    for reply in [error(500, json!({})), error(504, json!({})), Reply::Silence, Reply::Cut] {
        let outcome = sent(reply).await;
        assert!(matches!(outcome, Err(SendError::InDoubt { .. })), "{outcome:?}");
    }
}

#[tokio::test]
async fn what_waha_cant_send_is_refused_without_a_call() {
    let peer = Peer::start(vec![taken()]).await;
    for kind in [MessageKind::Template, MessageKind::Interactive, MessageKind::Sticker] {
        let message = OutboundMessage { kind, ..text() };
        let outcome = sender().send(&account(&peer.url), &ana(), &message).await;
        assert!(matches!(outcome, Err(SendError::Final { .. })));
    }
    assert!(peer.asked().is_empty());
}

#[tokio::test]
async fn reading_and_typing_have_their_calls() {
    let peer = Peer::start(vec![Reply::Raw(201, "", Vec::new())]).await;
    let (sender, account) = (sender(), account(&peer.url));
    sender.mark_read(&account, &ana(), "false_5@c.us_B", true).await.unwrap();
    sender.typing(&account, &ana(), None, false).await.unwrap();
    let lines: Vec<String> = peer.asked().iter().map(|asked| asked.line.clone()).collect();
    assert_eq!(lines, ["POST /api/sendSeen", "POST /api/startTyping", "POST /api/stopTyping"]);
    assert_eq!(peer.asked()[0].json()["messageId"], "false_5@c.us_B");
}

#[tokio::test]
async fn a_session_that_waits_shows_its_code() {
    let peer = Peer::start(vec![
        Reply::Json(200, json!({"name": "shop", "status": "SCAN_QR_CODE", "me": null})),
        Reply::Json(200, json!({"value": "2@code"})),
    ])
    .await;
    let session = sender().session(&account(&peer.url)).await.unwrap();
    assert_eq!((session.status, session.qr.as_deref()), (WhatsAppStatus::Qr, Some("2@code")));
    let working = json!({"status": "WORKING", "me": {"id": "57601@c.us", "pushName": "Sol"}});
    let peer = Peer::start(vec![Reply::Json(200, working)]).await;
    let session = sender().session(&account(&peer.url)).await.unwrap();
    assert_eq!(session.status, WhatsAppStatus::Connected);
    assert_eq!(session.name.as_deref(), Some("Sol"));
}

#[tokio::test]
async fn what_is_handed_over_goes_out_inside_the_message() {
    let media = MediaUpload {
        mime_type: "image/png".to_owned(),
        filename: None,
        length: 5,
        bytes: stream::iter([Ok("bytes".into())]).boxed(),
    };
    let peer = Peer::start(vec![taken()]).await;
    let account = account(&peer.url);
    let source = sender().upload_media(&account, media).await.unwrap();
    let message =
        OutboundMessage { kind: MessageKind::Image, media: Some(source), text: None, ..text() };
    sender().send(&account, &ana(), &message).await.unwrap();
    let file = &peer.asked()[0].json()["file"];
    assert_eq!(file, &json!({"mimetype": "image/png", "data": "Ynl0ZXM="}));
}

#[tokio::test]
async fn wahas_own_files_are_asked_for_at_its_address_with_its_key() {
    let file = Reply::Raw(200, "content-type: image/png\r\n", b"bytes".to_vec());
    let peer = Peer::start(vec![file]).await;
    let account = account(&peer.url);
    let media = |url: String| RemoteMedia { id: None, url: Some(url) };
    let own = media("http://localhost:3000/api/files/shop/a.png".to_owned());
    let download = sender().fetch_media(&account, &own).await.unwrap();
    assert_eq!(download.length, Some(5));
    let foreign = media(format!("{}/elsewhere/a.png", peer.url));
    sender().fetch_media(&account, &foreign).await.unwrap();
    let asked = peer.asked();
    assert_eq!(asked[0].line, "GET /api/files/shop/a.png");
    assert_eq!(asked[0].header("x-api-key"), Some("a key"));
    assert_eq!(asked[1].header("x-api-key"), None);
}

#[tokio::test]
async fn a_webhook_can_not_have_the_server_ask_anybody_else() {
    let moved = |to: &str| Reply::Raw(302, format!("location: {to}\r\n").leak(), Vec::new());
    let file = || Reply::Raw(200, "content-type: image/png\r\n", b"bytes".to_vec());
    let elsewhere = Peer::start(vec![file()]).await;
    let waha =
        Peer::start(vec![moved(&format!("{}/b.png", elsewhere.url)), moved("/c.png"), file()])
            .await;
    let account = account(&waha.url);
    let media = |url: String| RemoteMedia { id: None, url: Some(url) };
    let there = media(format!("{}/a.png", elsewhere.url));
    let own = media(format!("{}/api/files/shop/a.png", waha.url));
    let refused = sender().fetch_media(&account, &there).await.map(drop);
    assert!(matches!(refused, Err(SendError::Final { .. })), "{refused:?}");
    // Nor by way of a redirect, which would take the key along. One at its own host is followed.
    sender().fetch_media(&account, &own).await.map(drop).expect_err("moved elsewhere");
    assert_eq!(sender().fetch_media(&account, &own).await.expect("moved here").length, Some(5));
    assert!(elsewhere.asked().is_empty());
    let http = ProviderHttpSettings {
        media_origins: vec![format!("{}/", elsewhere.url)],
        ..ProviderHttpSettings::default()
    };
    let sender = WahaSender::new(ProviderHttp::new(&http).unwrap());
    assert_eq!(sender.fetch_media(&account, &there).await.expect("allowed").length, Some(5));
    assert_eq!(elsewhere.asked()[0].header("x-api-key"), None);
}
