//! Messages that come in, and what they do to their conversation.

use super::{events::*, *};
use crate::domain::{
    conversation::{ConversationStatus, LastMessage},
    event::ConversationChange,
    message::{Direction, MessageKind, MessageStatus, Sender},
    whatsapp::WhatsAppStatus,
};

fn closed(status: ConversationStatus) -> EventData {
    let change = ConversationChange { status: Some(status), ..ConversationChange::default() };
    EventData::ConversationChanged { conversation_id: ConversationId(1), change }
}

#[test]
fn a_message_is_published_with_its_conversation() {
    let mut world = World::given([opened(1, "Ana")]);
    let public = world.when(received(7, -1));
    let [PublicEvent::NewMessage { message, conversation }, PublicEvent::StatsUpdated] =
        &public[..]
    else {
        panic!("{public:?}");
    };
    assert_eq!(message.direction, Direction::Inbound);
    assert_eq!(message.sender, Sender::Contact);
    assert_eq!(message.status, MessageStatus::Received);
    assert_eq!(message.timestamp, NOON.plus_ms(-1000));
    assert_eq!(message.created_at, world.now);
    assert_eq!(message.wa_message_id.as_deref(), Some("wamid.7"));
    assert_eq!(conversation.unread_count, 1);
    assert_eq!(conversation.last_message, Some(LastMessage::of(message)));
    assert_eq!(conversation.updated_at, world.now);
    assert_eq!(world.tenant().stats.total_messages, 1);
    assert_eq!(world.totals(), [1, 0, 0, 0, 0]);
    assert_eq!(world.tenant().stats.conversations.unread, 1);
    let now = world.now;
    assert_eq!(world.tenant().stats.updated_at, now);
}

#[test]
fn a_message_without_an_opened_conversation_opens_it() {
    let mut world = World::new();
    assert_eq!(world.hears(received(7, 0)), ["new_message 7 in 1", "stats"]);
    assert_eq!(world.conversation(1).created_at, world.now);
    assert_eq!(world.hears(opened(1, "Ana")), ["conversation 1"]);
    assert_eq!(world.conversation(1).contact.name.as_deref(), Some("Ana"));
    assert_eq!(world.conversation(1).unread_count, 1);
}

#[test]
fn a_second_delivery_of_a_message_is_none() {
    let mut world = World::given([received(7, 0), echoed(8, 1)]);
    world.unmoved_by(received(7, 0));
    world.unmoved_by(echoed(8, 1));
    let redelivered = but(received(7, 5), |message| message.message_id = message_id(70));
    world.unmoved_by(redelivered);
    let under_another_id = but(received(7, 5), |message| {
        message.message_id = message_id(70);
        message.wa_message_id = "false_1@lid_7".to_owned();
    });
    world.unmoved_by(under_another_id);
    world.unmoved_by(echoed(7, 0));
}

#[test]
fn two_messages_with_the_same_text_are_two() {
    let mut world = World::given([received(7, 0)]);
    let same_text = but(received(8, 0), |message| message.text = Some("text 7".to_owned()));
    assert_eq!(world.hears(same_text), ["new_message 8 in 1", "stats"]);
    assert_eq!(world.conversation(1).unread_count, 2);
}

#[test]
fn a_late_message_is_unread_and_not_the_last() {
    let mut world = World::given([received(7, 60)]);
    world.when(received(8, 30));
    let conversation = world.conversation(1);
    assert_eq!(conversation.unread_count, 2);
    assert_eq!(conversation.last_message.as_ref().map(|last| last.id), Some(message_id(7)));
    world.when(received(9, 60));
    let last = world.conversation(1).last_message.as_ref().map(|last| last.id);
    assert_eq!(last, Some(message_id(9)), "in the same second the later drawn id is the last");
}

#[test]
fn an_absurd_time_is_replaced_by_that_of_the_intake() {
    let mut world = World::given([received(7, 0)]);
    world.when(received(8, 100 * 365 * 24 * 3600));
    assert_eq!(world.message(8).timestamp, world.now);
    let ahead = DAY_MS / 1000;
    world.when(received(9, ahead));
    assert_eq!(world.message(9).timestamp, NOON.plus_ms(DAY_MS));
    world.when(received(10, i64::MIN / 1000));
    assert!(world.message(10).timestamp < NOON);
}

#[test]
fn an_echo_is_a_sent_message_of_an_agent_that_calls_nobody() {
    let mut world = World::given([opened(1, "Ana"), closed(ConversationStatus::Closed)]);
    assert_eq!(world.hears(echoed(7, 0)), ["new_message 7 in 1", "stats"]);
    let message = world.message(7);
    assert_eq!(message.direction, Direction::Outbound);
    assert_eq!(message.sender, Sender::Agent);
    assert_eq!(message.status, MessageStatus::Sent);
    let conversation = world.conversation(1);
    assert_eq!(conversation.unread_count, 0);
    assert_eq!(conversation.window_expires_at, None);
    assert_eq!(conversation.status, ConversationStatus::Closed);
    assert_eq!(conversation.last_message.as_ref().map(|last| last.id), Some(message_id(7)));
    assert_eq!(world.totals(), [0, 1, 0, 0, 0]);
}

#[test]
fn an_echo_may_have_come_further_already_and_was_sent_at_least() {
    for (told, status, totals) in [
        (MessageStatus::Received, MessageStatus::Sent, [0, 1, 0, 0, 0]),
        (MessageStatus::Queued, MessageStatus::Sent, [0, 1, 0, 0, 0]),
        (MessageStatus::Sent, MessageStatus::Sent, [0, 1, 0, 0, 0]),
        (MessageStatus::Delivered, MessageStatus::Delivered, [0, 1, 1, 0, 0]),
        (MessageStatus::Read, MessageStatus::Read, [0, 1, 1, 1, 0]),
        (MessageStatus::Failed, MessageStatus::Failed, [0, 1, 0, 0, 1]),
    ] {
        let mut world = World::given([but(echoed(7, 0), |message| message.status = Some(told))]);
        assert_eq!(world.message(7).status, status);
        assert_eq!(world.totals(), totals);
    }
    let odd = but(received(7, 0), |message| message.status = Some(MessageStatus::Read));
    let world = World::given([odd]);
    assert_eq!(world.message(7).status, MessageStatus::Received);
}

#[test]
fn the_window_is_24_hours_from_the_contacts_newest_message() {
    let expires_at = |world: &World| world.conversation(1).window_expires_at;
    let mut world = World::given([opened(1, "Ana")]);
    assert_eq!(expires_at(&world), None);
    world.when(received(1, 100));
    assert_eq!(expires_at(&world), Some(NOON.plus_ms(100_000 + DAY_MS)));
    world.when(received(2, 50));
    assert_eq!(expires_at(&world), Some(NOON.plus_ms(100_000 + DAY_MS)), "a late one");
    world.when(echoed(3, 200));
    world.when(queued(4, Sender::Agent));
    world.when(imported(received(5, 300)));
    assert_eq!(expires_at(&world), Some(NOON.plus_ms(100_000 + DAY_MS)));
    world.when(reaction(received(6, 400)));
    assert_eq!(expires_at(&world), Some(NOON.plus_ms(400_000 + DAY_MS)), "a reaction opens it");
    world.when(but(received(7, 500), |message| message.kind = MessageKind::System));
    assert_eq!(expires_at(&world), Some(NOON.plus_ms(400_000 + DAY_MS)), "a notice does not");
}

#[test]
fn a_closed_conversation_reopens_when_the_contact_writes_and_a_pending_one_waits_on() {
    for (before, event, after) in [
        (ConversationStatus::Closed, received(7, 0), ConversationStatus::Open),
        (ConversationStatus::Pending, received(7, 0), ConversationStatus::Pending),
        (ConversationStatus::Open, received(7, 0), ConversationStatus::Open),
        (ConversationStatus::Closed, echoed(7, 0), ConversationStatus::Closed),
        (ConversationStatus::Closed, queued(7, Sender::Agent), ConversationStatus::Closed),
        (ConversationStatus::Closed, reaction(received(7, 0)), ConversationStatus::Closed),
        (ConversationStatus::Closed, imported(received(7, 0)), ConversationStatus::Closed),
    ] {
        let mut world = World::given([opened(1, "Ana"), closed(before)]);
        world.when(event);
        assert_eq!(world.conversation(1).status, after, "{before:?}");
    }
}

#[test]
fn a_reaction_is_a_message_that_neither_calls_nor_stands_as_the_last() {
    let mut world = World::given([received(1, 0), read_by_agent()]);
    assert_eq!(world.hears(reaction(received(2, 10))), ["new_message 2 in 1", "stats"]);
    let conversation = world.conversation(1);
    assert_eq!(conversation.unread_count, 0);
    assert_eq!(conversation.last_message.as_ref().map(|last| last.id), Some(message_id(1)));
    assert_eq!(world.message(2).reply_to.as_deref(), Some("wamid.1"));
    assert_eq!(world.totals(), [2, 0, 0, 0, 0]);

    let before = world.conversation(1).clone();
    assert_eq!(world.hears(reaction(echoed(3, 20))), ["new_message 3 in 1", "stats"]);
    assert_eq!(*world.conversation(1), before);
}

#[test]
fn what_can_not_be_shown_asks_for_attention_all_the_same() {
    let mut world = World::new();
    world.when(but(received(1, 0), |message| message.kind = MessageKind::Unsupported));
    assert_eq!(world.conversation(1).unread_count, 1);
    world.when(but(received(2, 0), |message| message.kind = MessageKind::System));
    assert_eq!(world.conversation(1).unread_count, 1, "nobody wrote a system message");
}

#[test]
fn an_import_fills_the_history_and_calls_nobody() {
    let mut world = World::given([received(1, 0), read_by_agent()]);
    let before = world.conversation(1).clone();
    let old = -48 * 3600;
    assert_eq!(world.hears(imported(received(2, old))), ["conversation 1", "stats"]);
    let conversation = world.conversation(1);
    assert_eq!(conversation.unread_count, 0);
    assert_eq!(conversation.last_message, before.last_message);
    assert_eq!(conversation.window_expires_at, before.window_expires_at);
    assert_eq!(conversation.awaiting_response_since, before.awaiting_response_since);
    assert!(world.message(2).imported);
    world.unmoved_by(imported(received(2, old)));
    world.unmoved_by(received(2, old));
}

#[test]
fn an_import_can_hold_the_newest_message_and_open_a_conversation() {
    let mut world = World::new();
    assert_eq!(world.hears(imported(received(1, -60))), ["conversation 1", "stats"]);
    world.when(but(imported(echoed(2, -30)), |message| message.status = Some(MessageStatus::Read)));
    let conversation = world.conversation(1);
    assert_eq!(conversation.last_message.as_ref().map(|last| last.id), Some(message_id(2)));
    assert_eq!(conversation.window_expires_at, None);
    assert_eq!(world.tenant().stats.conversations.total, 1);
    assert_eq!(world.tenant().stats.conversations.unread, 0);
}

#[test]
fn imported_messages_count_in_the_totals_and_their_own_hour_and_not_today() {
    let mut world = World::new();
    let two_days_ago = -48 * 3600;
    world.when(imported(received(1, two_days_ago)));
    world.when(but(imported(echoed(2, two_days_ago)), |message| {
        message.status = Some(MessageStatus::Delivered);
    }));
    assert_eq!(world.totals(), [1, 1, 1, 0, 0]);
    assert_eq!(world.today(), [0, 0, 0, 0, 0]);
    let hour = NOON.plus_ms(-2 * DAY_MS).floor_to_hour();
    assert_eq!(numbers(world.state.hours[&(TENANT, hour)]), [1, 1, 1, 0, 0]);

    world.when(read(2, 5));
    assert_eq!(world.totals(), [1, 1, 1, 1, 0]);
    assert_eq!(world.today(), [0, 0, 0, 1, 0], "that it was read is today's news");
    assert_eq!(numbers(world.state.hours[&(TENANT, NOON)]), [0, 0, 0, 1, 0]);
}

#[test]
fn an_answer_ends_the_contacts_waiting_and_is_measured_once() {
    let measured = |world: &mut World| {
        let stats = &world.tenant().stats;
        (stats.first_responses, stats.first_response_sum_ms)
    };
    let mut world = World::given([received(1, 0), received(2, 60)]);
    assert_eq!(world.conversation(1).awaiting_response_since, Some(NOON), "from the first on");
    world.when(echoed(3, 90));
    assert_eq!(measured(&mut world), (1, 90_000));
    assert_eq!(world.conversation(1).awaiting_response_since, None);
    world.when(echoed(4, 95));
    assert_eq!(measured(&mut world), (1, 90_000));

    world.when(received(5, 100));
    world.now = NOON.plus_ms(110_000);
    world.when(queued(6, Sender::Bot));
    assert_eq!(measured(&mut world), (2, 100_000), "a bot answers too");
}

#[test]
fn what_is_no_answer_leaves_the_contact_waiting() {
    for no_answer in [
        queued(2, Sender::Bulk),
        queued(2, Sender::System),
        reaction(echoed(2, 10)),
        imported(echoed(2, 10)),
        received(2, 10),
    ] {
        let mut world = World::given([received(1, 0)]);
        world.when(no_answer.clone());
        assert_eq!(world.tenant().stats.first_responses, 0, "{no_answer:?}");
        assert_eq!(world.conversation(1).awaiting_response_since, Some(NOON), "{no_answer:?}");
    }
}

#[test]
fn who_only_reacts_or_was_answered_already_does_not_wait() {
    let world = World::given([reaction(received(1, 0))]);
    assert_eq!(world.conversation(1).awaiting_response_since, None);
    let world = World::given([imported(received(1, 0))]);
    assert_eq!(world.conversation(1).awaiting_response_since, None);
    let world = World::given([echoed(1, 60), received(2, 30)]);
    assert_eq!(world.conversation(1).awaiting_response_since, None, "the answer overtook it");
}

#[test]
fn what_was_written_before_the_question_answers_nothing_whichever_comes_first() {
    for log in [
        [received(1, 60), echoed(2, 30), echoed(3, 180)],
        [echoed(2, 30), received(1, 60), echoed(3, 180)],
    ] {
        let mut world = World::given(log);
        let stats = &world.tenant().stats;
        assert_eq!((stats.first_responses, stats.first_response_sum_ms), (1, 120_000));
        assert_eq!(world.conversation(1).awaiting_response_since, None);
    }
    let mut world = World::given([received(1, 60), echoed(2, 30)]);
    assert_eq!(world.tenant().stats.first_responses, 0);
    assert!(world.conversation(1).awaiting_response_since.is_some());
}

#[test]
fn a_message_through_meta_says_that_the_number_is_connected_when_nobody_said_anything() {
    let mut world = World::new();
    world.actor = "whatsapp_cloud";
    world.when(imported(received(1, 0)));
    world.when(echoed(2, 1));
    assert!(world.tenant().whatsapp.is_untold());
    assert_eq!(world.hears(received(3, 2)), ["new_message 3 in 1", "whatsapp", "stats"]);
    assert_eq!(world.tenant().whatsapp.status, WhatsAppStatus::Connected);
    let down = EventData::WhatsappStateChanged {
        status: WhatsAppStatus::Disconnected,
        phone_number: None,
        name: None,
        qr: None,
        quality: None,
        reason: None,
        at: None,
    };
    assert_eq!(world.hears(down), ["whatsapp"]);
    assert_eq!(world.hears(received(4, 3)), ["new_message 4 in 1", "stats"]);
    assert_eq!(world.tenant().whatsapp.status, WhatsAppStatus::Disconnected);
}

#[test]
fn tenants_with_the_same_ids_know_nothing_of_each_other() {
    let mut world = World::given([received(1, 0)]);
    let before = snapshot(&world.state);
    let other = event_of(ClientId(2), world.now, "waha", received(1, 5));
    assert_eq!(fold_checked(&mut world.state, &other).len(), 2);
    let mine = |state: &MemoryState| {
        let messages: Vec<_> = state
            .messages
            .iter()
            .filter(|((owner, _), _)| *owner == TENANT)
            .map(|(_, m)| m.clone())
            .collect();
        (messages, state.tenants[&TENANT].clone())
    };
    assert_eq!(mine(&world.state), mine(&before));
    assert_eq!(world.state.messages.len(), 2);
}

#[test]
fn an_import_may_tell_more_of_a_message_than_its_echo_did() {
    let read_by_then = || {
        but(imported(echoed(1, 0)), |message| {
            message.message_id = message_id(10);
            message.status = Some(MessageStatus::Read);
        })
    };
    let mut world = World::given([echoed(1, 0)]);
    assert_eq!(world.hears(read_by_then()), ["status 1 Read", "conversation 1", "stats"]);
    world.unmoved_by(read_by_then());
    let mut other = World::given([read_by_then()]);
    other.unmoved_by(echoed(1, 0));
    assert_eq!(other.message(10).status, world.message(1).status);
    assert_eq!(other.totals(), world.totals());
}
