use std::time::Duration;

use futures_util::{StreamExt, stream};
use proptest::prelude::*;

use super::*;
use crate::{
    domain::{ids::MessageId, message::MessageKind},
    gateway::{
        http::ProviderHttpSettings,
        outbound::{RetryScope, Stopped},
        peer_test::{Peer, Reply},
    },
};

const TOKEN: &str = "EAAG-a-token";

fn account() -> Account {
    Account::WhatsAppCloud {
        phone_number_id: "101".to_owned(),
        waba_id: Some("900".to_owned()),
        access_token: Secret::new(TOKEN.to_owned()),
    }
}

fn sender(url: &str) -> WhatsAppCloudSender {
    let settings =
        WhatsAppCloudSettings { graph_url: url.to_owned(), ..WhatsAppCloudSettings::default() };
    let http = ProviderHttpSettings { request_timeout_ms: 300, ..ProviderHttpSettings::default() };
    WhatsAppCloudSender::new(&settings, ProviderHttp::new(&http).unwrap())
}

fn ana() -> Recipient {
    Recipient {
        phone: Some("+573001112233".to_owned()),
        wa_id: Some("573001112233".to_owned()),
        user_id: Some("CO.77".to_owned()),
        lid: None,
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
    Reply::Json(200, json!({"messaging_product": "whatsapp", "messages": [{"id": "wamid.1"}]}))
}

fn refused(status: u16, code: i64) -> Reply {
    Reply::Json(
        status,
        json!({"error": {"message": format!("(#{code}) refused"), "type": "OAuthException",
                         "code": code, "error_data": {"details": "to 573001112233, no"}}}),
    )
}

async fn sent(reply: Reply) -> Result<Accepted, SendError> {
    let peer = Peer::start(vec![reply]).await;
    sender(&peer.url).send(&account(), &ana(), &text()).await
}

async fn body_of(to: Recipient, message: OutboundMessage) -> Value {
    let peer = Peer::start(vec![taken()]).await;
    sender(&peer.url).send(&account(), &to, &message).await.unwrap();
    let asked = peer.asked();
    assert_eq!(asked[0].line, "POST /v24.0/101/messages");
    assert_eq!(asked[0].header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    asked[0].json()
}

fn with(kind: MessageKind, change: impl FnOnce(&mut OutboundMessage)) -> OutboundMessage {
    let mut message = OutboundMessage { kind, text: None, ..text() };
    change(&mut message);
    message
}

fn payload(message: &mut OutboundMessage, value: Value) {
    message.payload = value.as_object().cloned();
}

#[tokio::test]
async fn a_text_goes_out_with_our_id_and_comes_back_with_metas() {
    let peer = Peer::start(vec![taken()]).await;
    let message = OutboundMessage { reply_to: Some("wamid.0".to_owned()), ..text() };
    let accepted = sender(&peer.url).send(&account(), &ana(), &message).await.unwrap();
    assert_eq!(
        (accepted.wa_message_id.as_str(), accepted.dedupe_key.as_str()),
        ("wamid.1", "wamid.1")
    );
    assert_eq!(
        peer.asked()[0].json(),
        json!({
            "messaging_product": "whatsapp", "recipient_type": "individual",
            "to": "+573001112233", "type": "text",
            "text": {"body": "Hola", "preview_url": false},
            "context": {"message_id": "wamid.0"},
            "biz_opaque_callback_data": "00000000-0000-0000-0000-000000000007",
        })
    );
}

#[tokio::test]
async fn every_kind_has_metas_form() {
    let link = || Some(MediaSource::Link("https://x/y".to_owned()));
    let id = || Some(MediaSource::Provider("44".to_owned()));
    let cases = [
        (
            with(MessageKind::Image, |m| {
                m.media = id();
                m.text = Some("Mira".to_owned());
            }),
            json!({"id": "44", "caption": "Mira"}),
        ),
        (with(MessageKind::Video, |m| m.media = link()), json!({"link": "https://x/y"})),
        (
            with(MessageKind::Audio, |m| {
                m.media = id();
                m.voice = true;
                m.text = Some("not with audio".to_owned());
            }),
            json!({"id": "44", "voice": true}),
        ),
        (
            with(MessageKind::Document, |m| {
                m.media = id();
                m.filename = Some("a.pdf".to_owned());
            }),
            json!({"id": "44", "filename": "a.pdf"}),
        ),
        (with(MessageKind::Sticker, |m| m.media = id()), json!({"id": "44"})),
        (
            with(MessageKind::Template, |m| {
                payload(
                    m,
                    json!({"name": "hi", "language": "es_CO", "components": [{"type": "body"}]}),
                );
            }),
            json!({"name": "hi", "language": {"code": "es_CO"}, "components": [{"type": "body"}]}),
        ),
        (
            with(MessageKind::Interactive, |m| payload(m, json!({"type": "button", "action": {}}))),
            json!({"type": "button", "action": {}}),
        ),
        (
            with(MessageKind::Location, |m| {
                payload(m, json!({"latitude": 4.6, "longitude": -74.0, "forwarded": true}));
            }),
            json!({"latitude": 4.6, "longitude": -74.0}),
        ),
        (
            with(MessageKind::Contacts, |m| {
                payload(m, json!({"contacts": [{"name": {"formatted_name": "A"}}]}));
            }),
            json!([{"name": {"formatted_name": "A"}}]),
        ),
        (
            with(MessageKind::Reaction, |m| {
                m.reply_to = Some("wamid.0".to_owned());
                payload(m, json!({"emoji": "👍"}));
            }),
            json!({"message_id": "wamid.0", "emoji": "👍"}),
        ),
    ];
    for (message, expected) in cases {
        let kind = serde_json::to_value(message.kind).unwrap();
        let body = body_of(ana(), message).await;
        assert_eq!(body["type"], kind);
        assert_eq!(body[kind.as_str().unwrap()], expected, "{kind}");
        assert_eq!(body.get("context"), None);
    }
}

#[tokio::test]
async fn who_has_no_number_is_addressed_by_the_user_id() {
    let to = Recipient { user_id: Some("CO.77".to_owned()), ..Recipient::default() };
    let body = body_of(to, text()).await;
    assert_eq!((body.get("to"), &body["recipient"]), (None, &json!("CO.77")));
    let to = Recipient { phone: Some("+5730".to_owned()), ..ana() };
    assert_eq!(body_of(to, text()).await["to"], "+573001112233", "WhatsApp's own id first");
}

#[tokio::test]
async fn what_cant_be_sent_is_refused_without_a_call() {
    let peer = Peer::start(vec![taken()]).await;
    let sender = sender(&peer.url);
    let incomplete = [
        with(MessageKind::Image, |_| {}),
        with(MessageKind::Template, |m| payload(m, json!({"name": "hi"}))),
        with(MessageKind::Reaction, |_| {}),
        with(MessageKind::Location, |_| {}),
        with(MessageKind::Order, |_| {}),
    ];
    for message in incomplete {
        let outcome = sender.send(&account(), &ana(), &message).await;
        assert!(matches!(outcome, Err(SendError::Final { .. })), "{outcome:?}");
    }
    let nobody = sender.send(&account(), &Recipient::default(), &text()).await;
    assert!(matches!(nobody, Err(SendError::Final { .. })));
    assert!(peer.asked().is_empty());
}

#[tokio::test]
async fn errors_are_classified_by_their_code() {
    let number = [130_429, 4, 80_007, 131_016, 2, 131_057];
    let recipient = [131_056, 131_000];
    let stopped = [131_048, 368, 131_031, 190, 0, 10, 200, 299, 131_042, 131_064, 133_010];
    let template = [132_015, 132_016];
    let refused_now = [
        131_026, 131_047, 131_049, 131_050, 130_472, 131_051, 131_021, 131_030, 131_062, 100,
        131_008, 131_009, 132_000, 132_001, 132_005, 132_007, 132_008, 132_012, 132_068, 132_069,
        131_052, 131_053, 133_016, 999_999,
    ];
    let kind = |outcome: Result<Accepted, SendError>| match outcome.unwrap_err() {
        SendError::Retry { scope: RetryScope::Number, .. } => "number",
        SendError::Retry { scope: RetryScope::Recipient, .. } => "recipient",
        SendError::Stopped { what: Stopped::Number, .. } => "stopped",
        SendError::Stopped { what: Stopped::Template, .. } => "template",
        SendError::Final { .. } => "final",
        SendError::InDoubt { .. } => "in doubt",
    };
    let classes = [
        (&number[..], "number"),
        (&recipient, "recipient"),
        (&stopped, "stopped"),
        (&template, "template"),
        (&refused_now, "final"),
    ];
    for (codes, expected) in classes {
        for code in codes {
            assert_eq!(kind(sent(refused(400, *code)).await), expected, "{code}");
        }
    }
    assert_eq!(kind(sent(refused(500, 131_000)).await), "recipient", "the code, not the status");
}

#[tokio::test]
async fn an_error_keeps_metas_words_and_names_nobody() {
    let SendError::Final { error } = sent(refused(400, 131_026)).await.unwrap_err() else {
        panic!("another class");
    };
    assert_eq!(error.code, 131_026);
    assert_eq!(error.title, "(#131026) refused");
    assert_eq!(error.detail, "to … no");
}

#[tokio::test]
async fn what_is_not_understood_is_in_doubt() {
    let unclear = [
        Reply::Silence,
        Reply::Cut,
        Reply::HalfAnswer,
        Reply::Raw(200, "", b"<html>".to_vec()),
        Reply::Json(200, json!({"messages": []})),
        Reply::Raw(502, "", b"bad gateway".to_vec()),
        Reply::Raw(503, "", Vec::new()),
        Reply::Raw(408, "", Vec::new()),
        refused(500, 999_999),
    ];
    for reply in unclear {
        let outcome = sent(reply.clone()).await;
        assert!(matches!(outcome, Err(SendError::InDoubt { .. })), "{reply:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_refused_connection_sent_nothing() {
    let outcome = sender("http://127.0.0.1:9").send(&account(), &ana(), &text()).await;
    assert!(
        matches!(outcome, Err(SendError::Retry { scope: RetryScope::Number, .. })),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_full_house_says_how_long_to_wait() {
    let reply = Reply::Raw(429, "retry-after: 7\r\n", Vec::new());
    let SendError::Retry { after, scope, .. } = sent(reply).await.unwrap_err() else {
        panic!("another class");
    };
    assert_eq!((after, scope), (Some(Duration::from_secs(7)), RetryScope::Number));
    let no_token = sent(Reply::Raw(401, "", Vec::new())).await;
    assert!(matches!(no_token, Err(SendError::Stopped { .. })));
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let peer = Peer::start(vec![taken()]).await;
    let sender = sender(&peer.url);
    for _ in 0..5 {
        sender.send(&account(), &ana(), &text()).await.unwrap();
    }
    assert_eq!((peer.asked().len(), peer.connections()), (5, 1));
}

#[tokio::test]
async fn reading_and_typing_are_one_call() {
    let peer = Peer::start(vec![Reply::Json(200, json!({"success": true}))]).await;
    let sender = sender(&peer.url);
    sender.mark_read(&account(), &ana(), "wamid.5", false).await.unwrap();
    sender.typing(&account(), &ana(), Some("wamid.6"), true).await.unwrap();
    sender.typing(&account(), &ana(), Some("wamid.6"), false).await.unwrap();
    sender.typing(&account(), &ana(), None, true).await.unwrap();
    let bodies: Vec<Value> = peer.asked().iter().map(|asked| asked.json()).collect();
    assert_eq!(
        bodies,
        [
            json!({"messaging_product": "whatsapp", "status": "read", "message_id": "wamid.5"}),
            json!({"messaging_product": "whatsapp", "status": "read", "message_id": "wamid.6",
                   "typing_indicator": {"type": "text"}}),
        ]
    );
}

#[tokio::test]
async fn templates_come_page_by_page() {
    let template = |name: &str| {
        json!({"name": name, "language": "es", "status": "APPROVED",
                                       "category": "UTILITY", "components": [{"type": "BODY"}]})
    };
    let peer = Peer::start(vec![
        Reply::Json(
            200,
            json!({"data": [template("a"), {"status": "APPROVED"}],
                   "paging": {"cursors": {"after": "QVFI"}, "next": "https://x"}}),
        ),
        Reply::Json(200, json!({"data": [template("b")], "paging": {"cursors": {"after": "x"}}})),
    ])
    .await;
    let templates = sender(&peer.url).templates(&account()).await.unwrap();
    let names: Vec<&str> = templates.iter().map(|template| template.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(templates[0].components, [json!({"type": "BODY"})]);
    let asked = peer.asked();
    assert!(asked[0].line.starts_with("GET /v24.0/900/message_templates?"), "{}", asked[0].line);
    assert!(asked[1].line.ends_with("&after=QVFI"), "{}", asked[1].line);
}

#[tokio::test]
async fn a_numbers_state_is_read() {
    let reply = json!({"display_phone_number": "+57 601 555 0100", "verified_name": "Tienda Sol",
                       "quality_rating": "GREEN", "status": "CONNECTED"});
    let peer = Peer::start(vec![Reply::Json(200, reply)]).await;
    let session = sender(&peer.url).session(&account()).await.unwrap();
    assert_eq!(session.status, WhatsAppStatus::Connected);
    assert_eq!(session.phone_number.as_deref(), Some("+576015550100"));
    assert_eq!(session.quality.as_deref(), Some("GREEN"));
}

#[tokio::test]
async fn media_come_by_their_id() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    drop(listener);
    let file = Reply::Raw(200, "content-type: image/png\r\n", b"bytes".to_vec());
    // The address that Meta names must be of the same server here.
    let peer = Peer::start(vec![Reply::Json(200, json!({"url": "http://other/x"})), file]).await;
    let media = RemoteMedia { id: Some("55".to_owned()), url: None };
    let foreign = sender(&peer.url).fetch_media(&account(), &media).await;
    assert!(matches!(foreign, Err(SendError::Final { .. })), "no token for strangers");
    let media = RemoteMedia { id: None, url: Some(format!("{}/x", peer.url)) };
    let download = sender(&peer.url).fetch_media(&account(), &media).await.unwrap();
    assert_eq!(download.mime_type.as_deref(), Some("image/png"));
    assert_eq!(download.length, Some(5));
    let bytes: Vec<_> = download.bytes.map(|chunk| chunk.unwrap()).collect().await;
    assert_eq!(bytes.concat(), b"bytes");
}

#[tokio::test]
async fn an_upload_is_a_form_with_one_file() {
    let peer = Peer::start(vec![Reply::Json(200, json!({"id": "66"}))]).await;
    let chunks = [Ok("by".into()), Ok("tes".into())];
    let media = MediaUpload {
        mime_type: "image/png".to_owned(),
        filename: Some("a\"b\r\n.png".to_owned()),
        length: 5,
        bytes: stream::iter(chunks).boxed(),
    };
    let source = sender(&peer.url).upload_media(&account(), media).await.unwrap();
    assert_eq!(source, MediaSource::Provider("66".to_owned()));
    let asked = &peer.asked()[0];
    assert_eq!(asked.line, "POST /v24.0/101/media");
    let body = String::from_utf8(asked.body.clone()).unwrap();
    assert!(
        body.contains("filename=\"ab.png\"\r\ncontent-type: image/png\r\n\r\nbytes\r\n--"),
        "{body}"
    );
    assert_eq!(asked.header("content-length"), Some(body.len().to_string().as_str()));
}

proptest! {
    /// No code of Meta's, and no status, makes a sure failure of what may have been sent, nor the
    /// other way round.
    #[test]
    fn a_server_error_without_a_known_code_is_in_doubt_and_a_clients_never(
        code in any::<i64>(),
        status in 400u16..600,
    ) {
        let answer = Answer {
            status: http::StatusCode::from_u16(status).unwrap(),
            retry_after: None,
            body: bytes::Bytes::new(),
        };
        let json = json!({"error": {"code": code}});
        let outcome = refusal(&answer, Some(&json), true);
        let in_doubt = matches!(outcome, SendError::InDoubt { .. });
        let unclear = status >= 500 || status == 408;
        prop_assert_eq!(in_doubt, unclear && error::class_of(code).is_none());
    }
}
