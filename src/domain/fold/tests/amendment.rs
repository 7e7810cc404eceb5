//! Edits and revocations.

use serde_json::{Value, json};

use super::{events::*, *};
use crate::domain::{
    message::{Direction, Media, MessageKind, MessageStatus, Sender},
    state::Waiting,
};

fn published(public: &[PublicEvent]) -> &Message {
    match public {
        [PublicEvent::NewMessage { message, .. }] => message,
        other => panic!("{other:?}"),
    }
}

fn payload(message: &Message) -> Value {
    Value::Object(message.payload.clone().expect("a payload"))
}

#[test]
fn an_edit_changes_the_message_and_a_notice_tells_of_it() {
    let mut world = World::given([received(1, 0)]);
    let totals = world.tenant().stats.clone();
    let public = world.when(edited(9, 1, "better", 30));
    let notice = published(&public);
    assert_eq!((notice.kind, notice.sender), (MessageKind::System, Sender::System));
    assert_eq!(notice.text.as_deref(), Some("better"));
    assert_eq!(notice.reply_to.as_deref(), Some("wamid.1"));
    let at = NOON.plus_ms(30_000).to_string();
    let told = json!({ "event": "edited", "message_id": message_id(1).to_string(), "at": at });
    assert_eq!(payload(notice), told);

    assert_eq!(world.message(1).text.as_deref(), Some("better"));
    assert_eq!(payload(world.message(1)), json!({ "edited_at": at }));
    let stored = world.message(9);
    assert_eq!(stored.text, None, "the text stands in the message alone");
    assert_eq!(payload(stored), told);
    let conversation = world.conversation(1);
    let last = conversation.last_message.clone().expect("a last message");
    assert_eq!((last.id, last.text.as_deref()), (message_id(1), Some("better")));
    assert_eq!(conversation.unread_count, 1);
    assert_eq!(world.tenant().stats, totals, "a notice counts nowhere");
    world.unmoved_by(edited(9, 1, "better", 30));
}

#[test]
fn a_revocation_leaves_nothing_of_the_message_but_that_it_was() {
    let with_all = but(received(1, 0), |message| {
        message.kind = MessageKind::Image;
        message.media = Some(Media { id: Some("m".to_owned()), ..Media::default() });
        message.payload = json!({ "forwarded": true }).as_object().cloned();
    });
    let mut world = World::given([with_all, edited(8, 1, "secret", 10)]);
    let public = world.when(revoked(9, 1, 30));
    let notice = published(&public);
    assert_eq!(notice.text, None);
    assert_eq!(payload(notice)["event"], "revoked");
    let message = world.message(1);
    assert_eq!((message.text.as_deref(), &message.media), (None, &None));
    let at = NOON.plus_ms(30_000).to_string();
    assert_eq!(payload(message), json!({ "revoked_at": at }));
    assert_eq!(message.kind, MessageKind::Image);
    let last = world.conversation(1).last_message.clone().expect("a last message");
    assert_eq!((last.id, last.text), (message_id(1), None));
    assert_eq!(world.totals(), [1, 0, 0, 0, 0], "it was received all the same");
    let secret = |message: &Message| message.text.as_deref() == Some("secret");
    assert!(!world.state.messages.values().any(|message| secret(message)));
    world.unmoved_by(revoked(9, 1, 30));
    world.unmoved_by(edited(10, 1, "again", 60));
    world.unmoved_by(revoked(11, 1, 60));
}

#[test]
fn an_amendment_of_an_older_message_leaves_its_conversation_alone() {
    let mut world = World::given([received(1, 0), received(2, 5)]);
    let before = world.conversation(1).clone();
    assert_eq!(world.hears(edited(9, 1, "better", 30)), ["new_message 9 in 1"]);
    assert_eq!(*world.conversation(1), before);
    assert_eq!(world.message(1).text.as_deref(), Some("better"));
}

#[test]
fn the_latest_edit_holds_in_whatever_order_they_come() {
    let mut world = World::given([received(1, 0), edited(9, 1, "third", 30)]);
    world.unmoved_by(edited(8, 1, "second", 20));
    assert_eq!(world.message(1).text.as_deref(), Some("third"));
    world.when(edited(10, 1, "fourth", 40));
    assert_eq!(world.message(1).text.as_deref(), Some("fourth"));
    world.unmoved_by(edited(11, 1, "fourth", 40));
}

#[test]
fn the_company_edits_its_own_messages_too() {
    let mut world = World::given([echoed(1, 0), read(1, 1)]);
    let mut by_us = amendment(9, 1, Some("better"), 30);
    by_us.outbound = true;
    let public = world.when(EventData::MessageEdited(by_us));
    assert_eq!(published(&public).direction, Direction::Outbound);
    assert_eq!(published(&public).status, MessageStatus::Sent);
    assert_eq!(world.message(1).status, MessageStatus::Read);
    assert_eq!(world.message(1).text.as_deref(), Some("better"));
    world.unmoved_by(read(9, 31));
}

#[test]
fn an_edit_of_an_unknown_message_is_told_and_waits_for_it() {
    let mut world = World::given([opened(1, "Ana")]);
    let public = world.when(edited(9, 1, "better", 30));
    assert_eq!(payload(published(&public))["message_id"], Value::Null);
    assert_eq!(published(&public).text.as_deref(), Some("better"));
    assert_eq!(world.message(9).text.as_deref(), Some("better"), "the only place that has it");
    world.unmoved_by(edited(9, 1, "better", 30));

    assert_eq!(world.hears(received(1, 0)), ["new_message 1 in 1", "stats"]);
    assert_eq!(world.message(1).text.as_deref(), Some("better"));
    let last = world.conversation(1).last_message.clone().expect("a last message");
    assert_eq!(last.text.as_deref(), Some("better"));
    assert_eq!(world.message(9).text, None);
    assert_eq!(payload(world.message(9))["message_id"], message_id(1).to_string());
    assert!(world.state.waiting.is_empty());
}

#[test]
fn of_the_amendments_that_wait_the_latest_holds_and_a_revocation_for_good() {
    let mut world = World::given([edited(8, 1, "second", 20), edited(9, 1, "third", 30)]);
    world.unmoved_by(edited(7, 1, "first", 10));
    assert_eq!(world.message(8).text, None, "superseded");
    world.when(revoked(10, 1, 5));
    assert_eq!(world.message(9).text, None);
    world.unmoved_by(edited(11, 1, "after all", 60));
    world.when(received(1, 0));
    assert_eq!(world.message(1).text, None);
    assert!(payload(world.message(1)).get("revoked_at").is_some());
}

#[test]
fn status_and_amendment_wait_together() {
    let mut world = World::given([edited(9, 1, "better", 30), read(1, 40)]);
    let waiting: Vec<&Waiting> = world.state.waiting.values().collect();
    assert!(matches!(&waiting[..], [Waiting { status: Some(_), amendment: Some(_), .. }]));
    world.when(echoed(1, 0));
    assert_eq!(world.message(1).status, MessageStatus::Read);
    assert_eq!(world.message(1).text.as_deref(), Some("better"));
}

#[test]
fn an_edit_in_a_conversation_that_nobody_opened_opens_it() {
    let mut world = World::new();
    assert_eq!(world.hears(edited(9, 1, "better", 30)), ["new_message 9 in 1", "stats"]);
    assert_eq!(world.conversation(1).unread_count, 0);
    assert_eq!(world.conversation(1).last_message, None);
}

#[test]
fn an_edit_may_reach_a_message_that_we_sent_before_its_id_does() {
    let mut world =
        World::given([queued(1, Sender::Agent), edited(9, 1, "better", 30), accepted(1, 1)]);
    assert_eq!(world.message(1).text.as_deref(), Some("better"));
    let last = world.conversation(1).last_message.clone().expect("a last message");
    assert_eq!(last.text.as_deref(), Some("better"));
    world.unmoved_by(edited(9, 1, "better", 30));
}

#[test]
fn a_payload_that_looks_like_ours_does_no_harm() {
    for odd in
        [json!({ "edited_at": "soon" }), json!({ "edited_at": 7 }), json!({ "revoked_at": {} })]
    {
        let mut world = World::given([but(received(1, 0), |message| {
            message.payload = odd.as_object().cloned();
        })]);
        world.when(edited(9, 1, "better", 30));
        assert_eq!(world.message(1).text.as_deref(), Some("better"));
    }
}

#[test]
fn marks_that_a_provider_puts_into_a_payload_are_none() {
    let payload = serde_json::json!({"revoked_at": "2026-11-25T10:00:00.000Z", "edited_at": "9999-01-01T00:00:00.000Z", "x": 1});
    let marked = but(received(1, 0), |message| message.payload = payload.as_object().cloned());
    let mut world = World::given([marked]);
    assert_eq!(world.message(1).payload, serde_json::json!({"x": 1}).as_object().cloned());
    world.when(edited(8, 1, "better", 5));
    assert_eq!(world.message(1).text.as_deref(), Some("better"));
    world.when(revoked(9, 1, 6));
    assert_eq!(world.message(1).text, None);
}
