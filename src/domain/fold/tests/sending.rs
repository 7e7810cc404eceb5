//! Messages that we send: queued, claimed, accepted, and then told of by the provider.

use proptest::{prelude::*, sample::Index};

use super::{events::*, *};
use crate::domain::{
    conversation::CLAIMED_MAX,
    event::{QueuedMessage, StatusChange},
    message::{Direction, IN_DOUBT_CODE, MessageKind, MessageStatus, Sender},
};

fn refused(number: u128, seconds: i64) -> EventData {
    EventData::MessageFailed(StatusChange {
        message_id: Some(message_id(number)),
        dedupe_key: None,
        wa_message_id: None,
        error: Some(error(131_047)),
        ..told(number, seconds)
    })
}

/// A status with our own id in it (`biz_opaque_callback_data`) and the provider's.
fn with_our_id(number: u128, seconds: i64) -> StatusChange {
    StatusChange { message_id: Some(message_id(number)), ..told(number, seconds) }
}

#[test]
fn a_message_is_queued_claimed_sent_and_delivered() {
    let mut world = World::given([received(1, 0)]);
    assert_eq!(world.hears(queued(7, Sender::Agent)), ["new_message 7 in 1", "stats"]);
    let message = world.message(7);
    assert_eq!(message.direction, Direction::Outbound);
    assert_eq!(message.timestamp, world.now);
    assert_eq!(message.dedupe_key, None);
    assert_eq!(world.conversation(1).last_message.as_ref().map(|last| last.id), Some(message.id));
    assert_eq!(world.tenant().stats.queued, 1);
    assert_eq!(world.totals(), [1, 0, 0, 0, 0]);
    world.unmoved_by(queued(7, Sender::Agent));

    assert_eq!(world.when(send_started(7)), []);
    assert!(world.message(7).send_started);
    world.unmoved_by(send_started(7));

    assert_eq!(world.hears(accepted(7, 5)), ["status 7 Sent", "conversation 1", "stats"]);
    let message = world.message(7);
    assert!(!message.send_started);
    assert_eq!(message.wa_message_id.as_deref(), Some("wamid.7"));
    assert_eq!(message.dedupe_key.as_deref(), Some("wamid.7"));
    assert_eq!(world.tenant().stats.queued, 0);
    assert_eq!(world.totals(), [1, 1, 0, 0, 0]);
    world.unmoved_by(accepted(7, 5));
    world.unmoved_by(sent(7, 5));
    world.unmoved_by(send_started(7));

    assert_eq!(world.hears(read(7, 9)), ["status 7 Read", "conversation 1", "stats"]);
    assert_eq!(world.totals(), [1, 1, 1, 1, 0]);
}

#[test]
fn a_webhook_may_be_faster_than_the_answer_to_our_request() {
    let mut world = World::given([queued(7, Sender::Agent), send_started(7)]);
    assert_eq!(world.when(delivered(7, 2)), [], "nobody knows yet whose it is");
    let heard = world.hears(accepted(7, 1));
    assert_eq!(heard, ["status 7 Delivered", "conversation 1", "stats"]);
    assert_eq!(world.message(7).status_at, NOON.plus_ms(2000));
    assert!(world.state.waiting.is_empty());
    assert_eq!(world.totals(), [0, 1, 1, 0, 0]);
    assert_eq!(world.tenant().stats.queued, 0);
}

#[test]
fn our_id_in_a_webhook_settles_the_doubt() {
    let mut world = World::given([queued(7, Sender::Agent), send_started(7)]);
    let heard = world.hears(EventData::MessageDelivered(with_our_id(7, 2)));
    assert_eq!(heard, ["status 7 Delivered", "conversation 1", "stats"]);
    assert!(!world.message(7).send_started);
    assert_eq!(world.message(7).dedupe_key.as_deref(), Some("wamid.7"));
    world.unmoved_by(accepted(7, 1));
    assert_eq!(world.hears(read(7, 3))[0], "status 7 Read", "by the provider's id from now on");
}

#[test]
fn our_id_before_the_message_itself_is_of_no_use_and_the_providers_is() {
    let mut world = World::given([EventData::MessageRead(with_our_id(7, 2))]);
    world.when(queued(7, Sender::Agent));
    assert_eq!(world.hears(accepted(7, 1))[0], "status 7 Read");
}

#[test]
fn a_message_that_is_refused_at_once_was_not_sent() {
    let mut world = World::given([queued(7, Sender::Agent), send_started(7)]);
    assert_eq!(world.hears(refused(7, 1)), ["status 7 Failed 131047", "conversation 1", "stats"]);
    assert_eq!(world.totals(), [0, 0, 0, 0, 1]);
    assert_eq!(world.tenant().stats.queued, 0);
    world.unmoved_by(refused(7, 1));
    world.unmoved_by(send_started(7));
}

#[test]
fn a_message_that_fails_after_it_was_accepted_counts_as_sent_and_failed_in_any_order() {
    let in_order = [accepted(7, 1), failed(7, 2)];
    let late = [EventData::MessageFailed(with_our_id(7, 2)), accepted(7, 1)];
    let waiting = [failed(7, 2), accepted(7, 1)];
    let refused_and_told = [refused(7, 1), EventData::MessageFailed(with_our_id(7, 2))];
    for statuses in [in_order, late, waiting, refused_and_told] {
        let mut world = World::given([queued(7, Sender::Agent)].into_iter().chain(statuses));
        assert_eq!(world.message(7).status, MessageStatus::Failed);
        assert_eq!(world.totals(), [0, 1, 0, 0, 1]);
        assert_eq!(world.tenant().stats.queued, 0);
    }
}

#[test]
fn an_echo_of_our_own_message_is_known_by_its_key() {
    let mut world = World::given([queued(7, Sender::Agent), accepted(7, 1)]);
    world.unmoved_by(but(echoed(7, 1), |message| message.message_id = message_id(70)));
}

/// What the gateway's own interface sent, perhaps for us: `like` is the message whose text it has.
fn echo_by_api(number: u128, like: u128, seconds: i64) -> EventData {
    but(echoed(like, seconds), |message| {
        message.message_id = message_id(number * 10);
        message.dedupe_key = key(number);
        message.wa_message_id = key(number);
        message.text = Some(format!(" text {like}\n"));
        message.by_api = true;
    })
}

#[test]
fn an_echo_before_the_answer_to_our_request_is_our_message() {
    let mut world = World::given([queued(7, Sender::Agent), send_started(7)]);
    let heard = world.hears(echo_by_api(7, 7, 1));
    assert_eq!(heard, ["status 7 Sent", "conversation 1", "stats"], "and no new message");
    assert_eq!(world.message(7).dedupe_key, Some(key(7)));
    assert!(!world.message(7).send_started);
    world.unmoved_by(accepted(7, 1));
    world.unmoved_by(echo_by_api(7, 7, 1));
    assert_eq!(world.state.messages.len(), 1);
    assert_eq!(world.hears(read(7, 3))[0], "status 7 Read");
}

#[test]
fn an_echo_settles_the_doubt_of_a_gateway_that_gives_nothing_back() {
    let mut world = World::given([queued(7, Sender::Agent), send_started(7), send_doubted(7)]);
    assert_eq!(world.hears(echo_by_api(7, 7, 1))[0], "status 7 Sent");
    assert_eq!(world.message(7).error, None);
}

#[test]
fn of_two_claimed_messages_alike_the_newest_is_echoed() {
    let same = |number| match queued(number, Sender::Agent) {
        EventData::MessageQueued(message) => {
            EventData::MessageQueued(QueuedMessage { text: Some("text 7".to_owned()), ..message })
        }
        other => other,
    };
    let doubt = [same(7), send_started(7), send_doubted(7)];
    let mut world = World::given(doubt.into_iter().chain([same(8), send_started(8)]));
    assert_eq!(world.hears(echo_by_api(8, 7, 1))[0], "status 8 Sent");
    assert_eq!(world.message(7).status, MessageStatus::Queued, "still in doubt");
    assert_eq!(world.hears(echo_by_api(9, 7, 2))[0], "status 7 Sent", "then the older one");
    assert_eq!(world.hears(echo_by_api(10, 7, 3))[0], "new_message 100 in 1", "then nobody's");
}

#[test]
fn an_echo_of_something_else_is_a_message_of_its_own() {
    let mut world = World::given([queued(7, Sender::Agent)]);
    assert_eq!(world.hears(echo_by_api(1, 7, 1))[0], "new_message 10 in 1", "not claimed yet");
    world.when(send_started(7));
    assert_eq!(world.hears(echo_by_api(2, 6, 1))[0], "new_message 20 in 1", "other words");
    let from_phone = but(echo_by_api(3, 7, 1), |message| message.by_api = false);
    assert_eq!(world.hears(from_phone)[0], "new_message 30 in 1", "typed on the phone");
    let earlier = but(echo_by_api(4, 7, 1), |message| {
        message.sent_at = NOON.plus_ms(-HOUR_MS);
    });
    assert_eq!(world.hears(earlier)[0], "new_message 40 in 1", "from before it was written");
    let picture = but(echo_by_api(5, 7, 1), |message| message.kind = MessageKind::Image);
    assert_eq!(world.hears(picture)[0], "new_message 50 in 1", "of another kind");
    assert_eq!(world.message(7).status, MessageStatus::Queued);
}

#[test]
fn claims_beyond_the_bound_are_forgotten_oldest_first() {
    let mut world = World::new();
    let many = CLAIMED_MAX as u128 + 1;
    for number in 1..=many {
        world.when(queued(number, Sender::Agent));
        world.when(send_started(number));
    }
    let expected: Vec<_> = (2..=many).map(message_id).collect();
    assert_eq!(world.conversation(1).claimed, expected);
    world.when(accepted(many, 1));
    world.when(queued(50, Sender::Agent));
    world.when(send_started(50));
    assert!(!world.conversation(1).claimed.contains(&message_id(many)), "it has an outcome");
}

#[test]
fn an_echo_in_other_words_hands_its_key_over() {
    let echo = but(echoed(7, 1), |message| message.message_id = message_id(70));
    let mut world = World::given([queued(7, Sender::Agent), echo.clone(), delivered(7, 2)]);
    assert_eq!(world.message(70).status, MessageStatus::Delivered);
    assert_eq!(world.hears(accepted(7, 1))[0], "status 7 Delivered", "with what the echo knew");
    assert_eq!(world.message(7).dedupe_key.as_deref(), Some("wamid.7"));
    assert_eq!(world.message(70).dedupe_key, None);
    assert_eq!(world.hears(read(7, 3))[0], "status 7 Read");
    assert_eq!(world.message(70).status, MessageStatus::Delivered);
    world.unmoved_by(echo);
}

#[test]
fn a_key_of_something_else_is_not_taken() {
    let mut world = World::given([queued(7, Sender::Agent), received(8, 0)]);
    let confused = StatusChange { message_id: Some(message_id(7)), ..told(8, 1) };
    assert_eq!(world.hears(EventData::MessageSent(confused))[0], "status 7 Sent");
    assert_eq!(world.message(7).dedupe_key, None);
    assert_eq!(world.message(8).dedupe_key.as_deref(), Some("wamid.8"));
}

#[test]
fn a_claim_of_nothing_is_none() {
    let mut world = World::given([received(7, 0), echoed(8, 0)]);
    for number in 7..=9 {
        world.unmoved_by(send_started(number));
    }
}

#[test]
fn a_doubt_is_shown_until_a_status_or_a_person_settles_it() {
    let mut world = World::given([queued(7, Sender::Agent), send_started(7)]);
    assert_eq!(world.hears(send_doubted(7)), ["status 7 Queued -1"]);
    assert_eq!(world.message(7).error.as_ref().map(|error| error.code), Some(IN_DOUBT_CODE));
    world.unmoved_by(send_doubted(7));
    let mut released = World { state: snapshot(&world.state), ..World::new() };
    assert_eq!(released.hears(send_released(7)), ["status 7 Queued"]);
    assert!(!released.message(7).send_started);
    assert_eq!(released.message(7).error, None);
    released.unmoved_by(send_released(7));
    assert_eq!(released.when(send_started(7)), [], "it may be claimed again");

    let heard = world.hears(EventData::MessageDelivered(with_our_id(7, 2)));
    assert_eq!(heard, ["status 7 Delivered", "conversation 1", "stats"]);
    assert_eq!(world.message(7).error, None);
    for settled in [send_released(7), send_doubted(7), send_started(7)] {
        world.unmoved_by(settled);
    }
}

#[test]
fn what_is_not_claimed_is_neither_released_nor_in_doubt() {
    let mut world = World::given([queued(7, Sender::Agent), received(8, 0)]);
    for number in 7..=9 {
        world.unmoved_by(send_released(number));
        world.unmoved_by(send_doubted(number));
    }
}

#[test]
fn a_persons_answer_is_noted_and_no_one_elses() {
    let mut world = World::given([received(1, 0)]);
    for (number, sender) in [(2, Sender::Bot), (3, Sender::Bulk), (4, Sender::System)] {
        world.when(queued(number, sender));
        assert_eq!(world.conversation(1).person_answered_at, None, "{sender:?}");
    }
    world.when(queued(5, Sender::Agent));
    assert_eq!(world.conversation(1).person_answered_at, Some(world.now));
    // From the phone, later.
    world.when(echoed(6, 3600));
    assert_eq!(world.conversation(1).person_answered_at, Some(NOON.plus_ms(HOUR_MS)));
    world.actor = "waha";
    world.when(echoed(7, 7200));
    assert_eq!(world.conversation(1).person_answered_at, Some(NOON.plus_ms(HOUR_MS)));
}

/// How an outbox may go about one message: its claims, and how the last one ended.
fn attempts() -> impl Strategy<Value = Vec<EventData>> {
    let claim = prop_oneof![
        // Sent back, and tried again.
        Just(vec![send_started(7), send_released(7)]),
        // In doubt, and sent again by a person.
        Just(vec![send_started(7), send_doubted(7), send_released(7)]),
    ];
    let end = prop_oneof![
        Just(vec![send_started(7), accepted(7, 10)]),
        Just(vec![send_started(7), refused(7, 10)]),
        Just(vec![send_started(7), send_doubted(7)]),
        Just(vec![send_started(7)]),
        Just(vec![]),
    ];
    (proptest::collection::vec(claim, 0..3), end)
        .prop_map(|(claims, end)| claims.into_iter().flatten().chain(end).collect())
}

/// What the provider tells meanwhile: by our id or by its own.
fn told_meanwhile() -> impl Strategy<Value = Vec<(EventData, Index)>> {
    let status = prop_oneof![
        Just(EventData::MessageSent as fn(StatusChange) -> EventData),
        Just(EventData::MessageDelivered as fn(StatusChange) -> EventData),
        Just(EventData::MessageRead as fn(StatusChange) -> EventData),
        Just(EventData::MessageFailed as fn(StatusChange) -> EventData),
    ];
    let told = (status, any::<bool>(), any::<Index>()).prop_map(|(status, by_our_id, place)| {
        let change = if by_our_id { with_our_id(7, 20) } else { told(7, 20) };
        let event = match status(change) {
            EventData::MessageFailed(change) => {
                EventData::MessageFailed(StatusChange { error: Some(error(131_026)), ..change })
            }
            other => other,
        };
        (event, place)
    });
    proptest::collection::vec(told, 0..6)
}

fn rank(status: MessageStatus) -> usize {
    use MessageStatus::{Delivered, Failed, Queued, Read, Received, Sent};
    let order = [Received, Queued, Sent, Failed, Delivered, Read];
    order.iter().position(|one| *one == status).expect("one of them")
}

proptest! {
    /// Through all attempts to send it and all that is told of it, a message only comes further,
    /// and ends as the furthest that was told of it.
    #[test]
    fn a_status_only_comes_further_through_sending(
        attempts in attempts(),
        meanwhile in told_meanwhile(),
    ) {
        let mut log = attempts;
        for (event, place) in meanwhile {
            log.insert(place.index(log.len() + 1), event);
        }
        let mut world = World::given([queued(7, Sender::Agent)]);
        let mut furthest = MessageStatus::Queued;
        for event in log {
            let before = world.message(7).clone();
            let public = world.when(event);
            let after = world.message(7);
            prop_assert!(rank(after.status) >= rank(before.status), "{before:?} {after:?}");
            prop_assert!(!after.send_started || after.status == MessageStatus::Queued);
            let is_failed = after.status == MessageStatus::Failed;
            let in_doubt = after.error.as_ref().is_some_and(|error| error.code == IN_DOUBT_CODE);
            prop_assert_eq!(after.error.is_some(), is_failed || in_doubt);
            prop_assert!(!in_doubt || after.send_started);
            for told in public {
                if let PublicEvent::MessageStatusUpdated { status, error, .. } = told {
                    prop_assert_eq!((status, &error), (after.status, &after.error));
                    prop_assert!(after.status != before.status || after.error != before.error);
                }
            }
            furthest = after.status;
        }
        prop_assert_eq!(world.message(7).status, furthest);
        let stats = world.tenant().stats.clone();
        prop_assert_eq!(stats.queued, i64::from(furthest == MessageStatus::Queued));
        prop_assert_eq!(stats.totals.failed, i64::from(furthest == MessageStatus::Failed));
        let is_read = furthest == MessageStatus::Read;
        prop_assert_eq!(stats.totals.read, i64::from(is_read));
        let is_delivered = is_read || furthest == MessageStatus::Delivered;
        prop_assert_eq!(stats.totals.delivered, i64::from(is_delivered));
    }
}
