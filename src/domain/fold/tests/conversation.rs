//! Conversations: opened, changed, read.

use super::{events::*, *};
use crate::domain::{
    conversation::{Contact, ConversationStatus, MarketingPreference},
    event::ConversationChange,
    ids::IdentityHash,
};

fn contact_changed(contact: Contact) -> EventData {
    EventData::ContactChanged { conversation_id: ConversationId(1), contact, at: None }
}

fn named(name: &str) -> Contact {
    Contact { name: Some(name.to_owned()), ..Contact::default() }
}

fn changed(change: ConversationChange) -> EventData {
    EventData::ConversationChanged { conversation_id: ConversationId(1), change }
}

#[test]
fn an_opened_conversation_is_told_and_counted_once() {
    let mut world = World::new();
    assert_eq!(world.hears(opened(1, "Ana")), ["conversation 1", "stats"]);
    let conversation = world.conversation(1);
    assert_eq!(conversation.status, ConversationStatus::Open);
    assert!(conversation.bot_enabled);
    assert_eq!(conversation.created_at, NOON);
    assert_eq!(world.tenant().stats.conversations.total, 1);
    assert_eq!(world.tenant().stats.conversations.open, 1);
    world.after_ms(1000);
    world.unmoved_by(opened(1, "Ana"));
    world.when(contact_changed(named("Ana B.")));
    world.unmoved_by(opened(1, "Ana"));
    assert_eq!(world.conversation(1).contact.name.as_deref(), Some("Ana B."));
}

#[test]
fn only_what_is_told_of_a_contact_replaces_what_is_known() {
    let mut world = World::given([opened(1, "Ana")]);
    let told = Contact { user_id: Some("US.1".to_owned()), ..Contact::default() };
    assert_eq!(world.hears(contact_changed(told.clone())), ["conversation 1"]);
    let contact = &world.conversation(1).contact;
    assert_eq!((contact.name.as_deref(), contact.user_id.as_deref()), (Some("Ana"), Some("US.1")));
    world.unmoved_by(contact_changed(told));
    assert_eq!(world.hears(contact_changed(named("Ana B."))), ["conversation 1"]);
    let contact = &world.conversation(1).contact;
    assert_eq!(contact.name.as_deref(), Some("Ana B."));
    assert_eq!(contact.user_id.as_deref(), Some("US.1"));
}

#[test]
fn old_news_of_a_contact_come_after_newer_ones_and_only_fill_in() {
    let at = |seconds: i64| Some(NOON.plus_ms(seconds * 1000));
    let changed = |name: &str, seconds| EventData::ContactChanged {
        conversation_id: ConversationId(1),
        contact: named(name),
        at: at(seconds),
    };
    let first = EventData::ConversationOpened {
        conversation_id: ConversationId(1),
        contact: named("Ana"),
        at: at(-30),
    };
    let mut world = World::given([first.clone()]);
    assert_eq!(world.hears(changed("Ana B.", -20)), ["conversation 1"]);
    world.unmoved_by(changed("Ana", -30));
    world.unmoved_by(first);
    let number = Contact { phone: Some("+34600000001".to_owned()), ..named("Ana") };
    let older = EventData::ContactChanged {
        conversation_id: ConversationId(1),
        contact: number,
        at: at(-40),
    };
    assert_eq!(world.hears(older), ["conversation 1"], "the number was not known");
    let contact = &world.conversation(1).contact;
    assert_eq!(contact.name.as_deref(), Some("Ana B."));
    assert_eq!(contact.phone.as_deref(), Some("+34600000001"));
    assert_eq!(world.when(changed("Ana B.", -10)), [], "nobody sees when it was told");
    world.unmoved_by(changed("Ana", -15));
    // A clock that runs ahead must not make all that follows old.
    assert_eq!(world.hears(changed("Ana C.", 3600)), ["conversation 1"]);
    assert_eq!(world.after_ms(1000).hears(changed("Ana D.", 10)), ["conversation 1"]);
}

#[test]
fn an_opening_with_a_time_tells_news_of_a_conversation_that_is_open() {
    let mut world = World::given([opened(1, "Ana")]);
    let again = |name: &str, seconds: i64| EventData::ConversationOpened {
        conversation_id: ConversationId(1),
        contact: named(name),
        at: Some(NOON.plus_ms(seconds * 1000)),
    };
    assert_eq!(world.hears(again("Ana B.", -5)), ["conversation 1"]);
    world.unmoved_by(again("Ana", -6));
}

#[test]
fn an_agents_change_is_told_and_counted() {
    let mut world = World::given([opened(1, "Ana"), opened(2, "Bea")]);
    let change = ConversationChange {
        status: Some(ConversationStatus::Closed),
        assigned_to: Some(Some("eva".to_owned())),
        labels: Some(vec!["vip".to_owned()]),
        bot_enabled: Some(false),
    };
    assert_eq!(world.hears(changed(change.clone())), ["conversation 1", "stats"]);
    let conversation = world.conversation(1);
    assert_eq!(conversation.status, ConversationStatus::Closed);
    assert_eq!(conversation.assigned_to.as_deref(), Some("eva"));
    assert_eq!(conversation.labels, ["vip"]);
    assert!(!conversation.bot_enabled);
    let counts = world.tenant().stats.conversations.clone();
    assert_eq!((counts.total, counts.open, counts.closed), (2, 1, 1));
    world.unmoved_by(changed(change));

    let unassign = ConversationChange { assigned_to: Some(None), ..ConversationChange::default() };
    assert_eq!(world.hears(changed(unassign)), ["conversation 1"]);
    assert_eq!(world.conversation(1).assigned_to, None);
    assert_eq!(world.conversation(1).labels, ["vip"]);

    let pend = Some(ConversationStatus::Pending);
    world.when(changed(ConversationChange { status: pend, ..ConversationChange::default() }));
    let counts = world.tenant().stats.conversations.clone();
    assert_eq!((counts.total, counts.open, counts.pending, counts.closed), (2, 1, 1, 0));
}

#[test]
fn reading_clears_the_count_once() {
    let mut world = World::given([received(1, 0), received(2, 1)]);
    assert_eq!(world.conversation(1).unread_count, 2);
    assert_eq!(world.tenant().stats.conversations.unread, 1);
    assert_eq!(world.hears(read_by_agent()), ["conversation 1", "stats"]);
    assert_eq!(world.conversation(1).unread_count, 0);
    assert_eq!(world.tenant().stats.conversations.unread, 0);
    world.unmoved_by(read_by_agent());
}

#[test]
fn what_was_never_opened_can_not_be_changed() {
    let mut world = World::new();
    world.unmoved_by(read_by_agent());
    world.unmoved_by(contact_changed(named("Ana")));
    world.unmoved_by(changed(ConversationChange {
        status: Some(ConversationStatus::Closed),
        ..ConversationChange::default()
    }));
    world.unmoved_by(EventData::MarketingPreferenceChanged {
        conversation_id: ConversationId(1),
        allowed: false,
        at: NOON,
    });
}

#[test]
fn the_last_word_on_marketing_holds_in_whatever_order_it_comes() {
    let says = |allowed: bool, seconds: i64| EventData::MarketingPreferenceChanged {
        conversation_id: ConversationId(1),
        allowed,
        at: NOON.plus_ms(seconds * 1000),
    };
    let mut world = World::given([opened(1, "Ana")]);
    assert_eq!(world.when(says(false, 20)), [], "no client sees it");
    let stop = MarketingPreference { allowed: false, at: NOON.plus_ms(20_000) };
    assert_eq!(world.conversation(1).marketing, Some(stop));
    world.unmoved_by(says(true, 10));
    world.unmoved_by(says(true, 20));
    world.when(says(true, 30));
    assert!(world.conversation(1).marketing.is_some_and(|preference| preference.allowed));
    world.when(says(false, 30));
    assert!(world.conversation(1).marketing.is_some_and(|preference| !preference.allowed));
}

#[test]
fn an_identity_is_of_the_conversation_that_the_log_last_gave_it() {
    let hash = IdentityHash([7; 16]);
    let registered = |id: u32| EventData::ContactRegistered {
        conversation_id: ConversationId(id),
        identities: vec![hash],
    };
    let mut world = World::new();
    assert_eq!(world.when(registered(1)), []);
    assert_eq!(world.state.identities[&(TENANT, hash)], ConversationId(1));
    let linked =
        EventData::IdentitiesLinked { conversation_id: ConversationId(2), identities: vec![hash] };
    assert_eq!(world.when(linked), []);
    assert_eq!(world.state.identities[&(TENANT, hash)], ConversationId(2));
    assert!(world.state.conversations.is_empty(), "registered is not opened");
}

#[test]
fn what_we_do_not_understand_changes_nothing() {
    let mut world = World::given([received(1, 0)]);
    world.unmoved_by(EventData::UnknownContactChange {
        conversation_id: ConversationId(1),
        provider: "waha".to_owned(),
        kind: "presence.update".to_owned(),
        raw: serde_json::json!({ "a": 1 }),
    });
    world.unmoved_by(EventData::UnknownChange {
        provider: "waha".to_owned(),
        kind: "call.received".to_owned(),
        raw: serde_json::Value::Null,
    });
    world.unmoved_by(EventData::Unknown { event_type: "moon_landed".to_owned() });
}
