//! How far messages come: the lattice, row by row, on messages that the company wrote elsewhere.

use super::{events::*, *};
use crate::domain::{
    event::StatusChange,
    message::{MessageStatus, Sender},
};

type Told = fn(u128, i64) -> EventData;

const SENT: Told = sent;
const DELIVERED: Told = delivered;
const READ: Told = read;
const FAILED: Told = failed;

/// What holds, what is told, what becomes of it if it is news, and the counters then (`received,
/// sent, delivered, read, failed`).
type Row = (&'static [Told], Told, Option<MessageStatus>, [i64; 5]);

#[test]
fn every_row_of_the_lattice() {
    let rows: [Row; 16] = [
        (&[], SENT, None, [0, 1, 0, 0, 0]),
        (&[], DELIVERED, Some(MessageStatus::Delivered), [0, 1, 1, 0, 0]),
        (&[], READ, Some(MessageStatus::Read), [0, 1, 1, 1, 0]),
        (&[], FAILED, Some(MessageStatus::Failed), [0, 1, 0, 0, 1]),
        (&[DELIVERED], SENT, None, [0, 1, 1, 0, 0]),
        (&[DELIVERED], DELIVERED, None, [0, 1, 1, 0, 0]),
        (&[DELIVERED], READ, Some(MessageStatus::Read), [0, 1, 1, 1, 0]),
        (&[DELIVERED], FAILED, None, [0, 1, 1, 0, 0]),
        (&[READ], SENT, None, [0, 1, 1, 1, 0]),
        (&[READ], DELIVERED, None, [0, 1, 1, 1, 0]),
        (&[READ], READ, None, [0, 1, 1, 1, 0]),
        (&[READ], FAILED, None, [0, 1, 1, 1, 0]),
        (&[FAILED], SENT, None, [0, 1, 0, 0, 1]),
        (&[FAILED], FAILED, None, [0, 1, 0, 0, 1]),
        (&[FAILED], DELIVERED, Some(MessageStatus::Delivered), [0, 1, 1, 0, 0]),
        (&[FAILED], READ, Some(MessageStatus::Read), [0, 1, 1, 1, 0]),
    ];
    for (number, (held, news, becomes, totals)) in rows.into_iter().enumerate() {
        let given = held.iter().map(|told| told(7, 1));
        let mut world = World::given([echoed(7, 0)].into_iter().chain(given));
        let before = world.message(7).status;
        match becomes {
            None => world.unmoved_by(news(7, 2)),
            Some(status) => {
                let public = world.hears(news(7, 2));
                assert_eq!(public[1..], ["conversation 1", "stats"], "row {number}");
                assert!(public[0].starts_with(&format!("status 7 {status:?}")), "row {number}");
                assert_eq!(world.message(7).status_at, NOON.plus_ms(2000));
            }
        }
        assert_eq!(world.message(7).status, becomes.unwrap_or(before), "row {number}");
        assert_eq!(world.totals(), totals, "row {number}");
        assert_eq!(world.today(), totals, "row {number}");
    }
}

#[test]
fn any_order_of_statuses_ends_the_same() {
    let all: [Told; 4] = [SENT, DELIVERED, READ, FAILED];
    for subset in 1..16_usize {
        let chosen: Vec<Told> =
            (0..4).filter(|place| subset & (1 << place) != 0).map(|place| all[place]).collect();
        let mut ends = Vec::new();
        for rotation in 0..chosen.len() {
            for reversed in [false, true] {
                let mut order = chosen.clone();
                order.rotate_left(rotation);
                if reversed {
                    order.reverse();
                }
                let statuses = order.iter().map(|told| told(7, 1));
                let mut world = World::given([echoed(7, 0)].into_iter().chain(statuses));
                let message = world.message(7).clone();
                ends.push((message.status, message.error, world.totals()));
            }
        }
        assert!(ends.windows(2).all(|pair| pair[0] == pair[1]), "{ends:?}");
    }
}

#[test]
fn an_error_stays_with_a_failure_and_goes_when_the_message_arrives() {
    let mut world = World::given([echoed(7, 0)]);
    assert_eq!(world.hears(failed(7, 1))[0], "status 7 Failed 131026");
    assert_eq!(world.message(7).error, Some(error(131_026)));
    let other = EventData::MessageFailed(StatusChange { error: Some(error(1)), ..told(7, 2) });
    world.unmoved_by(other);
    assert_eq!(world.message(7).error, Some(error(131_026)));
    assert_eq!(world.hears(delivered(7, 3))[0], "status 7 Delivered");
    assert_eq!(world.message(7).error, None);
}

#[test]
fn only_the_last_messages_status_changes_its_conversation() {
    let mut world = World::given([echoed(7, 0), echoed(8, 1)]);
    let before = world.conversation(1).clone();
    assert_eq!(world.hears(delivered(7, 2)), ["status 7 Delivered", "stats"]);
    assert_eq!(*world.conversation(1), before);
    assert_eq!(world.hears(delivered(8, 2)), ["status 8 Delivered", "conversation 1", "stats"]);
    let last = world.conversation(1).last_message.clone();
    assert_eq!(last.map(|last| last.status), Some(MessageStatus::Delivered));
}

#[test]
fn a_status_before_its_message_waits_and_comes_with_it() {
    let mut world = World::given([opened(1, "Ana")]);
    assert_eq!(world.when(delivered(7, 2)), []);
    assert_eq!(world.when(sent(7, 1)), []);
    assert_eq!(world.totals(), [0; 5]);
    let public = world.when(echoed(7, 0));
    let [PublicEvent::NewMessage { message, conversation }, PublicEvent::StatsUpdated] =
        &public[..]
    else {
        panic!("{public:?}");
    };
    assert_eq!(message.status, MessageStatus::Delivered);
    assert_eq!(message.status_at, NOON.plus_ms(2000));
    let last = conversation.last_message.as_ref().map(|last| last.status);
    assert_eq!(last, Some(MessageStatus::Delivered));
    assert_eq!(world.totals(), [0, 1, 1, 0, 0]);
    assert!(world.state.waiting.is_empty());
    world.unmoved_by(delivered(7, 2));
}

#[test]
fn what_waits_is_joined_like_what_is_known() {
    let given = [failed(7, 1), sent(7, 2), read(8, 1), failed(8, 2), failed(9, 1), read(9, 2)];
    let mut world = World::given(given);
    world.unmoved_by(failed(7, 5));
    for number in 7..=9 {
        world.when(echoed(number, 0));
    }
    assert_eq!(world.message(7).status, MessageStatus::Failed);
    assert_eq!(world.message(7).error, Some(error(131_026)));
    for number in 8..=9 {
        assert_eq!(world.message(number).status, MessageStatus::Read);
        assert_eq!(world.message(number).error, None);
    }
    assert_eq!(world.totals(), [0, 3, 2, 2, 1]);
}

#[test]
fn a_status_of_what_the_contact_wrote_means_nothing() {
    let mut world = World::given([received(7, 0)]);
    for told in [SENT, DELIVERED, READ, FAILED] {
        world.unmoved_by(told(7, 1));
    }
    let mut world = World::given([read(8, 1)]);
    world.when(received(8, 0));
    assert_eq!(world.message(8).status, MessageStatus::Received);
    assert!(world.state.waiting.is_empty());
}

#[test]
fn a_status_that_names_no_message_is_passed_over() {
    let mut world = World::given([echoed(7, 0)]);
    let nothing = StatusChange { dedupe_key: None, wa_message_id: None, ..told(7, 1) };
    world.unmoved_by(EventData::MessageRead(nothing.clone()));
    let unknown = StatusChange { message_id: Some(message_id(99)), ..nothing };
    world.unmoved_by(EventData::MessageRead(unknown));
}

#[test]
fn a_status_may_name_its_message_by_the_providers_id_alone() {
    let mut world = World::given([echoed(7, 0)]);
    let change = StatusChange { dedupe_key: None, ..told(7, 1) };
    assert_eq!(world.hears(EventData::MessageRead(change))[0], "status 7 Read");
}

#[test]
fn the_counters_move_in_the_hour_in_which_we_hear_of_it() {
    let mut world = World::given([echoed(7, 0)]);
    world.after_ms(HOUR_MS).when(delivered(7, 1));
    assert_eq!(numbers(world.state.hours[&(TENANT, NOON)]), [0, 1, 0, 0, 0]);
    let next = NOON.plus_ms(HOUR_MS);
    assert_eq!(numbers(world.state.hours[&(TENANT, next)]), [0, 0, 1, 0, 0]);
    world.after_ms(HOUR_MS).when(queued(8, Sender::Agent));
    assert_eq!(world.state.hours.len(), 2, "what is only queued is in no hour");
}
