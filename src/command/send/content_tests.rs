//! What WhatsApp takes, and what is said of the rest.

use super::super::tests::a_message;
use super::*;
use crate::domain::ids::MediaId;

fn problems(body: &SendMessage) -> Vec<String> {
    problems_with(body, Channel::WhatsAppCloud, &Found::default())
}

fn problems_with(body: &SendMessage, channel: Channel, found: &Found) -> Vec<String> {
    let problems = check(body, channel, found).expect_err("refused");
    problems.into_iter().map(|problem| problem.pointer).collect()
}

fn media(link: &str) -> SendMessage {
    let media = SendMedia { link: Some(link.to_owned()), ..SendMedia::default() };
    SendMessage { media: Some(media), ..SendMessage::default() }
}

fn text(text: &str) -> SendMessage {
    SendMessage { text: Some(text.to_owned()), ..SendMessage::default() }
}

fn template(name: &str) -> SendMessage {
    let template = SendTemplate {
        name: name.to_owned(),
        language: "es_CL".to_owned(),
        components: Some(vec![json!({"type": "body", "parameters": []})]),
    };
    SendMessage { template: Some(template), ..SendMessage::default() }
}

#[test]
fn one_thing_at_a_time() {
    assert_eq!(problems(&SendMessage::default()), [""]);
    assert_eq!(problems(&SendMessage { text: Some("a".into()), ..template("x") }), ["/text"]);
    let both = SendMessage { media: media("https://a.example/b").media, ..template("x") };
    assert_eq!(problems(&both), [""]);
    assert_eq!(problems(&text(" \n")), ["/text"]);
    assert_eq!(problems(&text(&"é".repeat(TEXT_CHARS_MAX + 1))), ["/text"]);
    let longest = text(&"é".repeat(TEXT_CHARS_MAX));
    assert!(check(&longest, Channel::Waha, &Found::default()).is_ok());
    let other = SendMessage { kind: Some(MessageType::Image), ..text("a") };
    assert_eq!(problems(&other), ["/type"]);
}

#[test]
fn a_medium_needs_a_type_and_a_place() {
    for link in ["http://a.example/b", "https://", "file:///etc/passwd", "https://u:p@a.b/c"] {
        let body = SendMessage { kind: Some(MessageType::Image), ..media(link) };
        assert_eq!(problems(&body), ["/media/link"], "{link}");
    }
    assert_eq!(problems(&media("https://a.example/b")), ["/type"]);
    let as_text = SendMessage { kind: Some(MessageType::Text), ..media("https://a.example/b") };
    assert_eq!(problems(&as_text), ["/type"]);
    let unknown = SendMedia { id: Some("m1".to_owned()), ..SendMedia::default() };
    let unknown = SendMessage {
        media: Some(unknown),
        kind: Some(MessageType::Image),
        ..SendMessage::default()
    };
    assert_eq!(problems(&unknown), ["/media/id"]);
    let id = MediaId(uuid::Uuid::from_u128(7));
    let upload = Upload {
        id,
        size: 9,
        mime_type: "application/pdf".to_owned(),
        filename: Some("factura.pdf".to_owned()),
        sha256: None,
    };
    let found = Found { upload: Some(upload), ..Found::default() };
    let body = SendMessage { kind: None, text: Some("la factura".to_owned()), ..unknown };
    let content = check(&body, Channel::WhatsAppCloud, &found).expect("is fine");
    assert_eq!(content.kind, MessageKind::Document);
    let media = content.media.expect("a medium");
    assert_eq!(media.filename.as_deref(), Some("factura.pdf"));
    assert_eq!((media.copy.map(|copy| copy.id), media.url), (Some(id), None));
}

#[test]
fn what_has_no_caption_is_sent_without() {
    let mut body = media("https://a.example/b");
    body.kind = Some(MessageType::Audio);
    body.text = Some("x".repeat(CAPTION_CHARS_MAX + 1));
    assert_eq!(problems(&body), ["/text", "/text"]);
    body.kind = Some(MessageType::Video);
    body.media.as_mut().expect("there").voice = Some(true);
    assert_eq!(problems(&body), ["/text", "/media/voice"]);
}

#[test]
fn a_template_is_named_and_is_for_the_cloud_alone() {
    let content =
        check(&template("pedido_listo"), Channel::WhatsAppCloud, &Found::default()).unwrap();
    assert!(!content.needs_window());
    assert_eq!(content.payload.expect("is there")["language"], "es_CL");
    let found = Found::default();
    assert_eq!(problems_with(&template("x"), Channel::Waha, &found), ["/template"]);
    assert_eq!(problems(&template("pedido listo")), ["/template/name"]);
    let mut odd = template("x");
    let components = odd.template.as_mut().expect("there");
    components.components = Some(vec![json!("body"), json!({"type": "b"}), json!({})]);
    assert_eq!(problems(&odd), ["/template/components/0", "/template/components/2"]);
    let large = json!({"type": "x".repeat(COMPONENTS_BYTES_MAX)});
    odd.template.as_mut().expect("there").components = Some(vec![large]);
    assert_eq!(problems(&odd), ["/template/components"]);
}

#[test]
fn a_reaction_and_an_answer_name_a_message_that_whatsapp_knows() {
    let mut waiting = a_message();
    waiting.wa_message_id = None;
    let known = a_message();
    let react = |emoji: &str| SendMessage {
        reaction: Some(SendReaction {
            message_id: known.id.to_string(),
            emoji: Some(emoji.to_owned()),
        }),
        ..SendMessage::default()
    };
    let reacted = |message: &Message| Found { reacted: Some(message.clone()), ..Found::default() };
    let content = check(&react("👍🏽"), Channel::Waha, &reacted(&known)).expect("is fine");
    assert_eq!(content.reply_to, known.dedupe_key);
    assert_eq!(content.payload.expect("there")["message_id"], "wamid.known");
    let taken_back = check(&react(""), Channel::Waha, &reacted(&known)).expect("is fine");
    assert_eq!(taken_back.text, None);
    let problems = |body: &SendMessage, found: &Found| problems_with(body, Channel::Waha, found);
    assert_eq!(problems(&react("👍"), &reacted(&waiting)), ["/reaction/message_id"]);
    assert_eq!(problems(&react("ok"), &reacted(&known)), ["/reaction/emoji"]);
    assert_eq!(problems(&react("👍"), &Found::default()), ["/reaction/message_id"]);

    let answer = SendMessage { reply_to: Some(known.id.to_string()), ..text("sí") };
    assert_eq!(problems(&answer, &Found::default()), ["/reply_to"]);
    let found = Found { answered: Some(known.clone()), ..Found::default() };
    let content = check(&answer, Channel::Waha, &found).expect("is fine");
    assert_eq!(content.reply_to, known.dedupe_key);
}

#[test]
fn a_place_lies_on_earth() {
    let at = |latitude, longitude| SendMessage {
        location: Some(SendLocation { latitude, longitude, ..SendLocation::default() }),
        ..SendMessage::default()
    };
    assert_eq!(problems(&at(91.0, -181.0)), ["/location/latitude", "/location/longitude"]);
    assert_eq!(problems(&at(f64::NAN, 0.0)), ["/location/latitude"]);
    let content = check(&at(-33.4, -70.6), Channel::WhatsAppCloud, &Found::default());
    assert_eq!(content.expect("is fine").payload.expect("there")["latitude"], -33.4);
}
