//! What comes in.

use super::*;
use crate::domain::{
    conversation::Contact,
    intake::{Intake, IntakeAmendment, IntakeMessage, IntakeStatus},
    message::{Direction, MessageKind, MessageStatus},
    whatsapp::WhatsAppStatus,
};

pub fn person(number: u64) -> Contact {
    Contact {
        phone: Some(format!("+34600{number:06}")),
        wa_id: Some(format!("34600{number:06}")),
        ..Contact::default()
    }
}

pub fn message(contact: Contact, key: &str) -> Intake {
    Intake::Message {
        contact,
        message: IntakeMessage {
            direction: Direction::Inbound,
            wa_message_id: format!("wamid.{key}"),
            dedupe_key: key.to_owned(),
            kind: MessageKind::Text,
            text: Some("hola".to_owned()),
            media: None,
            payload: None,
            reply_to: None,
            sent_at: NOW,
            imported: false,
            status: None,
            by_api: false,
        },
    }
}

fn echo(contact: Contact, key: &str) -> Intake {
    let Intake::Message { contact, message } = message(contact, key) else { unreachable!() };
    Intake::Message {
        contact,
        message: IntakeMessage { direction: Direction::Outbound, ..message },
    }
}

fn status(contact: Contact, key: &str, status: MessageStatus) -> Intake {
    let (wa_message_id, dedupe_key) = (format!("wamid.{key}"), key.to_owned());
    let status =
        IntakeStatus { wa_message_id, dedupe_key, message_id: None, status, at: NOW, error: None };
    Intake::Status { contact, status }
}

fn stored(outcomes: &[IntakeOutcome]) -> Vec<bool> {
    outcomes.iter().map(|outcome| matches!(outcome, IntakeOutcome::Stored(_))).collect()
}

pub async fn take(commands: &Commands, items: Vec<Intake>) -> Vec<IntakeOutcome> {
    commands.take_in(CLIENT, &Actor("whatsapp_cloud".to_owned()), items).await.expect("takes in")
}

fn names(events: &[EventData]) -> Vec<&'static str> {
    events
        .iter()
        .map(|event| match event {
            EventData::ContactRegistered { .. } => "registered",
            EventData::IdentitiesLinked { .. } => "linked",
            EventData::ContactsMerged { .. } => "merged",
            EventData::ConversationOpened { .. } => "opened",
            EventData::ContactChanged { .. } => "contact",
            EventData::MessageReceived(_) => "received",
            EventData::MessageEchoed(_) => "echoed",
            EventData::MessageDelivered(_) => "delivered",
            EventData::MessageRead(_) => "read",
            EventData::MessageEdited(_) => "edited",
            EventData::MessageRevoked(_) => "revoked",
            EventData::WhatsappStateChanged { .. } => "whatsapp",
            EventData::UnknownChange { .. } => "unknown",
            EventData::UnknownContactChange { .. } => "unknown of contact",
            EventData::MarketingPreferenceChanged { .. } => "marketing",
            other => panic!("not expected here: {other:?}"),
        })
        .collect()
}

#[tokio::test]
async fn the_first_message_opens_the_conversation_in_the_same_append() {
    let world = World::new();
    let (commands, _view) = world.instance();
    let outcomes = take(&commands, vec![message(person(1), "a"), message(person(1), "b")]).await;
    assert_eq!(stored(&outcomes), [true, true]);
    let records = world.records().await;
    let events = world.events().await;
    assert_eq!(names(&events), ["registered", "opened", "received", "received"]);
    assert_eq!(outcomes[1], IntakeOutcome::Stored(records[3].position));
    let streams: Vec<String> = records.iter().map(|record| record.stream.to_string()).collect();
    let conversation = "conversation-1-1";
    assert_eq!(streams, ["directory-1", conversation, conversation, conversation]);
    assert!(records.iter().all(|record| record.event.actor == "whatsapp_cloud"));
}

#[tokio::test]
async fn a_known_contact_s_message_is_one_event_and_a_repeated_one_none() {
    let world = World::new();
    let (commands, _view) = world.instance();
    take(&commands, vec![message(person(1), "a")]).await;
    assert_eq!(stored(&take(&commands, vec![message(person(1), "b")]).await), [true]);
    let again = vec![message(person(1), "b"), message(person(1), "c"), message(person(1), "c")];
    assert_eq!(stored(&take(&commands, again).await), [false, true, false]);
    let events = world.events().await;
    assert_eq!(names(&events)[2..], ["received", "received", "received"]);
    // Another instance does not remember, and the fold finds it out.
    let (other, _other_view) = world.instance();
    take(&other, vec![message(person(1), "b")]).await;
    let state = world.folded().await;
    assert_eq!(state.messages.len(), 3);
    assert_eq!(state.conversations.len(), 1);
}

#[tokio::test]
async fn only_what_is_new_of_a_contact_is_an_event() {
    let world = World::new();
    let (commands, _view) = world.instance();
    let named = |name: &str| Contact { name: Some(name.to_owned()), ..person(1) };
    take(&commands, vec![message(named("Ana"), "a")]).await;
    take(&commands, vec![message(named("Ana"), "b")]).await;
    take(&commands, vec![message(person(1), "c")]).await;
    take(&commands, vec![message(named("Ana B"), "d"), message(named("Ana B"), "e")]).await;
    // What the company's phone tells only fills in.
    take(&commands, vec![echo(named("Annie"), "f")]).await;
    let events = world.events().await;
    assert_eq!(
        names(&events)[1..],
        ["opened", "received", "received", "received", "contact", "received", "received", "echoed"]
    );
    // A new instance looks into the read model.
    let (other, view) = world.instance();
    view.projected().wait_for(|at| at.0 == events.len() as u64).await.expect("projects");
    take(&other, vec![message(named("Ana B"), "g")]).await;
    assert_eq!(names(&world.events().await)[events.len()..], ["received"]);
}

#[tokio::test]
async fn a_status_is_its_message_s_conversation_s() {
    let world = World::new();
    let (commands, view) = world.instance();
    take(&commands, vec![echo(person(1), "a"), echo(person(2), "b")]).await;
    let nobody = Contact::default();
    let outcomes = take(
        &commands,
        vec![
            status(nobody.clone(), "b", MessageStatus::Delivered),
            status(person(2), "b", MessageStatus::Read),
            status(person(2), "b", MessageStatus::Read),
        ],
    )
    .await;
    assert_eq!(stored(&outcomes), [true, true, false]);
    // Forgotten here, found in the read model.
    let (other, other_view) = world.instance();
    let head = world.log.head().await.expect("head");
    for view in [&view, &other_view] {
        view.projected().wait_for(|at| *at >= head).await.expect("projects");
    }
    take(&other, vec![status(nobody.clone(), "a", MessageStatus::Read)]).await;
    // Its message is not here: the recipient says whose it is, or nobody does yet.
    take(&other, vec![status(person(3), "later", MessageStatus::Read)]).await;
    take(&other, vec![status(nobody, "much later", MessageStatus::Read)]).await;
    let of: Vec<_> = world.events().await.iter().filter_map(EventData::conversation_id).collect();
    assert_eq!(of[4..].iter().map(|id| id.0).collect::<Vec<_>>(), [2, 2, 1, 3, 3, 0]);
    take(&other, vec![echo(person(1), "much later")]).await;
    let state = world.folded().await;
    for (message, conversation) in [("a", 1), ("b", 2), ("much later", 1)] {
        let id = state.message_keys[&(CLIENT, message.to_owned())];
        let message = &state.messages[&(CLIENT, id)];
        assert_eq!(message.status, MessageStatus::Read);
        assert_eq!(message.conversation_id, ConversationId(conversation));
    }
}

#[tokio::test]
async fn amendments_and_what_is_not_understood_are_kept() {
    let world = World::new();
    let (commands, _view) = world.instance();
    let amendment = |key: &str, text: Option<&str>| IntakeAmendment {
        dedupe_key: key.to_owned(),
        target: "a".to_owned(),
        text: text.map(str::to_owned),
        direction: Direction::Inbound,
        at: NOW,
    };
    let raw = serde_json::json!({"x": 1});
    let items = vec![
        message(person(1), "a"),
        Intake::Amendment { contact: person(1), amendment: amendment("edit", Some("hola!")) },
        Intake::Amendment { contact: Contact::default(), amendment: amendment("undo", None) },
        Intake::Amendment { contact: person(1), amendment: amendment("edit", Some("hola!")) },
        Intake::MarketingPreference { contact: person(1), allowed: false, at: NOW },
        Intake::UnknownOfContact { contact: person(1), kind: "k".to_owned(), raw: raw.clone() },
        Intake::Unknown { kind: "k".to_owned(), raw },
        message(Contact { name: Some("?".to_owned()), ..Contact::default() }, "nobody's"),
    ];
    let outcomes = take(&commands, items).await;
    assert_eq!(stored(&outcomes), [true, true, true, false, true, true, true, true]);
    let events = world.events().await;
    let unknown = ["unknown of contact", "unknown", "unknown"];
    // The message of the second amendment is in the same batch, so not found: it is of nobody.
    assert_eq!(
        names(&events)[2..],
        [&["received", "edited", "unknown", "marketing"][..], &unknown].concat()
    );
    let EventData::UnknownChange { kind, raw, .. } = &events[8] else { panic!("{events:?}") };
    assert_eq!((kind.as_str(), raw["key"].as_str()), ("message_without_contact", Some("nobody's")));
}

#[tokio::test]
async fn a_contact_change_tells_of_known_contacts_only() {
    let world = World::new();
    let (commands, _view) = world.instance();
    let renamed = |number, name: &str| Intake::ContactChange {
        contact: Contact { name: Some(name.to_owned()), ..person(number) },
        previous: Contact::default(),
        at: NOW,
    };
    assert_eq!(stored(&take(&commands, vec![renamed(1, "Ana")]).await), [false]);
    assert!(world.events().await.is_empty());
    take(&commands, vec![message(person(1), "a")]).await;
    assert_eq!(stored(&take(&commands, vec![renamed(1, "Ana")]).await), [true]);
    assert_eq!(stored(&take(&commands, vec![renamed(1, "Ana")]).await), [false]);
    let moved = Intake::ContactChange { contact: person(2), previous: person(1), at: NOW };
    take(&commands, vec![moved]).await;
    take(&commands, vec![message(person(2), "b"), message(person(1), "c")]).await;
    let events = world.events().await;
    assert_eq!(names(&events)[3..5], ["contact", "linked"]);
    let state = world.folded().await;
    assert_eq!(state.conversations.len(), 1);
    assert_eq!(state.messages.len(), 3);
}

#[tokio::test]
async fn a_repetition_may_name_the_contact_by_one_more_identity() {
    let world = World::new();
    let (commands, _view) = world.instance();
    let lid = || Some("77001".to_owned());
    let both = || Contact { lid: lid(), ..person(1) };
    assert_eq!(stored(&take(&commands, vec![message(person(1), "a")]).await), [true]);
    assert_eq!(stored(&take(&commands, vec![message(person(1), "a")]).await), [false]);
    assert_eq!(stored(&take(&commands, vec![message(both(), "a")]).await), [true], "the lid");
    assert_eq!(stored(&take(&commands, vec![message(both(), "a")]).await), [false]);
    take(&commands, vec![echo(Contact { lid: lid(), ..Contact::default() }, "b")]).await;
    let state = world.folded().await;
    assert_eq!((state.conversations.len(), state.messages.len()), (1, 2));
}

#[tokio::test]
async fn a_whatsapp_state_is_told_once_and_keeps_what_is_not_told() {
    let world = World::new();
    let (commands, _view) = world.instance();
    let state = |status, number: Option<&str>, qr: Option<&str>| Intake::WhatsAppState {
        status,
        phone_number: number.map(str::to_owned),
        name: None,
        qr: qr.map(str::to_owned),
        quality: None,
        reason: None,
    };
    let items = vec![
        state(WhatsAppStatus::Qr, None, Some("2@one")),
        state(WhatsAppStatus::Qr, None, Some("2@one")),
        state(WhatsAppStatus::Connected, Some("+34600000001"), None),
    ];
    assert_eq!(stored(&take(&commands, items).await), [true, false, true]);
    let again = state(WhatsAppStatus::Connected, None, None);
    assert_eq!(stored(&take(&commands, vec![again]).await), [false]);
    let down = state(WhatsAppStatus::Disconnected, None, None);
    assert_eq!(stored(&take(&commands, vec![down]).await), [true]);
    let mut folded = world.folded().await;
    let whatsapp = folded.tenants.remove(&CLIENT).expect("a tenant").whatsapp;
    assert_eq!(whatsapp.phone_number.as_deref(), Some("+34600000001"));
    assert_eq!((whatsapp.status, whatsapp.qr), (WhatsAppStatus::Disconnected, None));
}

#[tokio::test]
async fn a_batch_has_a_bound_and_an_empty_one_no_append() {
    let world = World::new();
    let (commands, _view) = world.instance();
    assert!(take(&commands, Vec::new()).await.is_empty());
    let many = |count: usize| {
        (0..count).map(|number| message(person(number as u64), &number.to_string())).collect()
    };
    let actor = actor();
    let refused = commands.take_in(CLIENT, &actor, many(INTAKE_ITEMS_MAX + 1)).await;
    assert!(matches!(refused, Err(CommandError::Invalid { field: "items", .. })));
    let outcomes = commands.take_in(CLIENT, &actor, many(INTAKE_ITEMS_MAX)).await.expect("takes");
    assert!(stored(&outcomes).into_iter().all(|stored| stored));
    assert_eq!(world.folded().await.conversations.len(), INTAKE_ITEMS_MAX);
}
