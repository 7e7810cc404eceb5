//! A person is erased: with their streams or without, the same state and the same numbers.

use super::{events::incoming, *};
use crate::domain::{
    conversation::Contact,
    event::{Erasure, KeptNumbers},
    ids::IdentityHash,
};

const HASH: IdentityHash = IdentityHash([7; 16]);

fn erased(kept: KeptNumbers) -> EventData {
    EventData::PersonalDataErased(Erasure {
        conversations: vec![ConversationId(1), ConversationId(2)],
        kept,
        ..Erasure::default()
    })
}

fn directory() -> [EventData; 2] {
    [1, 2].map(|id| EventData::ContactRegistered {
        conversation_id: ConversationId(id),
        identities: vec![IdentityHash([id as u8 + 6; 16])],
    })
}

fn hers() -> Vec<EventData> {
    let opened = |id| EventData::ConversationOpened {
        conversation_id: ConversationId(id),
        contact: Contact { name: Some("Ana".to_owned()), ..Contact::default() },
        at: None,
    };
    let received = |id, number| EventData::MessageReceived(incoming(id, number, NOON));
    vec![opened(1), received(1, 1), received(1, 2), opened(2), received(2, 3)]
}

fn merged() -> EventData {
    EventData::ContactsMerged {
        from: ConversationId(2),
        into: ConversationId(1),
        identities: Vec::new(),
    }
}

fn kept() -> KeptNumbers {
    let three = Counts { received: 3, ..Counts::ZERO };
    KeptNumbers {
        messages: 3,
        totals: three,
        today: three,
        hours: vec![(NOON.floor_to_hour(), three)],
        ..KeptNumbers::default()
    }
}

fn fold_all(events: impl IntoIterator<Item = EventData>) -> World {
    let mut world = World::new();
    for data in events {
        fold(&mut world.state, &event_of(TENANT, NOON, "x", data));
    }
    world
}

#[test]
fn a_log_without_the_streams_folds_to_the_same() {
    let end = || [merged(), erased(kept())];
    let mut with = fold_all(directory().into_iter().chain(hers()).chain(end()));
    let mut without = fold_all(directory().into_iter().chain(end()));
    assert_eq!(with.totals(), [3, 0, 0, 0, 0]);
    assert_eq!(with.today(), [3, 0, 0, 0, 0]);
    assert_eq!(with.tenant().stats.total_messages, 3);
    assert_eq!(with.tenant().stats.conversations, ConversationCounts::default());
    assert_eq!(snapshot(&with.state), snapshot(&without.state));
    assert_eq!(without.totals(), [3, 0, 0, 0, 0]);
    assert!(with.state.conversations.is_empty() && with.state.messages.is_empty());
    assert!(with.state.identities.is_empty());
    assert_eq!(with.state.erased_identities.get(&(TENANT, HASH)), Some(&NOON));
    assert_eq!(with.state.erasing.len(), 1);
    fold(
        &mut with.state,
        &event_of(
            TENANT,
            NOON,
            "x",
            EventData::ErasureCompleted { conversation_id: ConversationId(1) },
        ),
    );
    assert!(with.state.erasing.is_empty());
}

#[test]
fn screens_see_the_conversation_empty_and_an_erased_number_stays_so() {
    let mut world = fold_all(directory().into_iter().chain(hers()));
    let event = event_of(TENANT, NOON, "x", erased(kept()));
    let public = fold(&mut world.state, &event);
    let told: Vec<_> = public.iter().map(words).collect();
    assert_eq!(told, ["conversation 1", "conversation 2", "stats"]);
    let PublicEvent::ConversationUpdated { conversation } = &public[0] else { panic!() };
    assert_eq!(conversation.contact, Contact::default());
    assert_eq!(conversation.last_message, None);
    // Again: nothing more is to be done.
    assert_eq!(fold(&mut world.state, &event), []);
    let before = world.state.tenants.clone();
    for late in hers() {
        assert_eq!(fold(&mut world.state, &event_of(TENANT, NOON, "x", late)), []);
    }
    let linked =
        EventData::IdentitiesLinked { conversation_id: ConversationId(1), identities: vec![HASH] };
    assert_eq!(fold(&mut world.state, &event_of(TENANT, NOON, "x", linked)), []);
    assert_eq!(world.state.tenants, before);
    assert!(world.state.conversations.is_empty() && world.state.identities.is_empty());
    // What came late is to be deleted too.
    assert!(world.state.erasing.contains_key(&(TENANT, ConversationId(2))));
}

#[test]
fn a_day_a_month_later_forgets_who_was_erased_but_not_the_number() {
    let mut world = fold_all(directory().into_iter().chain(hers()).chain([erased(kept())]));
    let day = EventData::DayStarted { date: "2027-01-01".to_owned(), time_zone: "UTC".to_owned() };
    let later = NOON.plus_ms(31 * DAY_MS);
    fold(&mut world.state, &event_of(TENANT, later, "x", day));
    assert!(world.state.erased_identities.is_empty());
    assert!(world.state.is_erased(TENANT, ConversationId(1)));
}
