//! Two conversations that turn out to be one person's.

use super::{events::*, *};
use crate::domain::{
    conversation::{Contact, ConversationStatus, MarketingPreference},
    event::ConversationChange,
    ids::IdentityHash,
};

fn received_in(conversation: u32, number: u128, seconds: i64) -> EventData {
    EventData::MessageReceived(incoming(conversation, number, NOON.plus_ms(seconds * 1000)))
}

fn changed(conversation: u32, change: ConversationChange) -> EventData {
    EventData::ConversationChanged { conversation_id: ConversationId(conversation), change }
}

fn status(conversation: u32, status: ConversationStatus) -> EventData {
    let change = ConversationChange { status: Some(status), ..ConversationChange::default() };
    changed(conversation, change)
}

fn labels(labels: &[&str]) -> Option<Vec<String>> {
    Some(labels.iter().map(|label| (*label).to_owned()).collect())
}

#[test]
fn everything_moves_to_the_one_that_lives_on() {
    let mut world = World::given([
        opened(1, "Ana"),
        received_in(1, 1, 10),
        opened(2, "Ana B."),
        received_in(2, 2, 20),
        received_in(2, 3, 30),
        changed(1, ConversationChange { labels: labels(&["vip", "new"]), ..Default::default() }),
        changed(
            2,
            ConversationChange {
                labels: labels(&["lead", "vip"]),
                assigned_to: Some(Some("eva".to_owned())),
                bot_enabled: Some(false),
                ..Default::default()
            },
        ),
    ]);
    assert_eq!(world.hears(merged(2, 1)), ["conversation 1", "conversation 2", "stats"]);

    let into = world.conversation(1);
    assert_eq!(into.contact.name.as_deref(), Some("Ana"), "what it knows itself stays");
    assert_eq!(into.unread_count, 3);
    assert_eq!(into.last_message.as_ref().map(|last| last.id), Some(message_id(3)));
    assert_eq!(into.labels, ["vip", "new", "lead"]);
    assert_eq!(into.assigned_to.as_deref(), Some("eva"));
    assert!(!into.bot_enabled);
    assert_eq!(into.window_expires_at, Some(NOON.plus_ms(30_000 + DAY_MS)));
    assert_eq!(into.awaiting_response_since, Some(NOON.plus_ms(10_000)));

    let from = world.conversation(2);
    assert_eq!(from.merged_into, Some(ConversationId(1)));
    assert_eq!(from.contact, Contact::default(), "nothing of the person stays behind");
    assert_eq!((from.unread_count, &from.last_message), (0, &None));
    assert_eq!(from.status, ConversationStatus::Closed);

    for number in 1..=3 {
        assert_eq!(world.message(number).conversation_id, ConversationId(1));
    }
    let counts = world.tenant().stats.conversations.clone();
    assert_eq!((counts.total, counts.open, counts.closed, counts.unread), (1, 1, 0, 1));
    assert_eq!(world.state.identities[&(TENANT, IdentityHash([9; 16]))], ConversationId(1));
    world.unmoved_by(merged(2, 1));
}

#[test]
fn the_more_open_status_wins() {
    use ConversationStatus::{Closed, Open, Pending};
    for (from, into, joined) in [
        (Open, Closed, Open),
        (Closed, Open, Open),
        (Pending, Closed, Pending),
        (Closed, Pending, Pending),
        (Pending, Open, Open),
        (Closed, Closed, Closed),
    ] {
        let given = [opened(1, "Ana"), opened(2, "Bea"), status(1, into), status(2, from)];
        let mut world = World::given(given);
        world.when(merged(2, 1));
        assert_eq!(world.conversation(1).status, joined, "{from:?} {into:?}");
    }
}

#[test]
fn a_refusal_of_marketing_outlives_the_merge() {
    let says =
        |conversation: u32, allowed: bool, seconds: i64| EventData::MarketingPreferenceChanged {
            conversation_id: ConversationId(conversation),
            allowed,
            at: NOON.plus_ms(seconds * 1000),
        };
    let given = [opened(1, "Ana"), opened(2, "Bea"), says(1, true, 10), says(2, false, 20)];
    let mut world = World::given(given);
    world.when(merged(2, 1));
    let stop = MarketingPreference { allowed: false, at: NOON.plus_ms(20_000) };
    assert_eq!(world.conversation(1).marketing, Some(stop));
}

#[test]
fn later_events_find_the_one_that_lives_on() {
    let mut world = World::given([opened(1, "Ana"), opened(2, "Bea"), merged(2, 1)]);
    assert_eq!(world.hears(received_in(2, 7, 5)), ["new_message 7 in 1", "stats"]);
    assert_eq!(world.message(7).conversation_id, ConversationId(1));
    assert_eq!(world.hears(status(2, ConversationStatus::Closed)), ["conversation 1", "stats"]);
    assert_eq!(
        world.hears(EventData::ConversationRead { conversation_id: ConversationId(2) }),
        ["conversation 1", "stats"]
    );
    world.when(EventData::MessageEchoed(incoming(2, 8, NOON)));
    let public = world.when(read(8, 9));
    let PublicEvent::MessageStatusUpdated { conversation_id, .. } = public[0] else {
        panic!("{public:?}");
    };
    assert_eq!(conversation_id, ConversationId(1));
    world.unmoved_by(opened(2, "Bea"));
}

#[test]
fn chains_and_circles_lead_to_one() {
    let people = (1..=4).map(|id| opened(id, "Ana"));
    let messages = (1..=4).map(|id| received_in(id, u128::from(id), i64::from(id)));
    let mut world = World::given(people.chain(messages));
    world.when(merged(1, 2));
    world.when(merged(2, 3));
    assert_eq!(world.conversation(3).unread_count, 3);
    assert_eq!(world.hears(received_in(1, 10, 10)), ["new_message 10 in 3", "stats"]);
    world.unmoved_by(merged(3, 1));
    world.unmoved_by(merged(1, 3));
    world.unmoved_by(merged(2, 2));
    world.when(merged(1, 4));
    assert_eq!(world.conversation(3).merged_into, Some(ConversationId(4)), "all are one person's");
    assert_eq!(world.conversation(4).unread_count, 5);
    assert!(world.state.messages.values().all(|message| message.conversation_id.0 == 4));
    let counts = world.tenant().stats.conversations.clone();
    assert_eq!((counts.total, counts.unread), (1, 1));
}

#[test]
fn what_was_never_opened_is_merged_too() {
    let mut world = World::given([opened(1, "Ana")]);
    assert_eq!(world.when(merged(2, 1)), [], "nobody has seen 2");
    assert_eq!(world.tenant().stats.conversations.total, 1);
    assert_eq!(world.hears(received_in(2, 7, 5)), ["new_message 7 in 1", "stats"]);

    let mut world = World::given([opened(2, "Bea"), received_in(2, 7, 5)]);
    assert_eq!(world.hears(merged(2, 1)), ["conversation 1", "conversation 2"]);
    assert_eq!(world.conversation(1).contact.name.as_deref(), Some("Bea"));
    assert_eq!(world.conversation(1).unread_count, 1);
    assert_eq!(world.tenant().stats.conversations.total, 1);

    let mut world = World::given([merged(2, 1)]);
    assert_eq!(world.hears(opened(2, "Bea")), ["conversation 1", "stats"]);
    assert_eq!(world.conversation(1).contact.name.as_deref(), Some("Bea"));
}
