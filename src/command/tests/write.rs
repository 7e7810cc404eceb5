//! What people and programs ask for, once and under keys.

use serde_json::{Value, json};

use super::{
    intake::{message, person, take},
    *,
};
use crate::domain::{
    bot::BotMode,
    conversation::{Contact, ConversationStatus},
    event::ConversationChange,
};

fn answer(done: &Done) -> Answer {
    let body = match done {
        Done::Opened { conversation, created } => json!({"id": conversation.id, "new": created}),
        Done::Changed { conversation } => json!({"labels": conversation.labels}),
        Done::Read { conversation } => json!({"unread": conversation.unread_count}),
        Done::Bot(bot) => json!({"status": bot.status, "by": bot.changed_by}),
        Done::WhatsApp(whatsapp) => json!({"status": whatsapp.status}),
        Done::Queued { message } => json!({"message": message.id}),
    };
    Answer { status: 200, body }
}

fn request(key: &str, body: &str) -> Request {
    Request::new(key, "POST", "/v1/x", body.as_bytes())
}

fn pause() -> Write {
    Write::SetBotStatus { status: BotMode::Paused, reason: None }
}

async fn count(world: &World) -> usize {
    world.records().await.len()
}

#[tokio::test]
async fn a_conversation_is_opened_once() {
    let world = World::new();
    let (commands, _view) = world.instance();
    let open = |contact| commands.open_conversation(CLIENT, &ACTOR, contact);
    let (id, created, position) = open(person(1)).await.expect("opens");
    assert_eq!((id, created), (ConversationId(1), true));
    let records = world.records().await;
    assert_eq!(position, records.last().expect("events").position);
    let (id, created, again) = open(person(1)).await.expect("finds");
    assert_eq!((id, created, again), (ConversationId(1), false, position));
    assert_eq!(count(&world).await, 2);
    // What is told of a known contact only fills in.
    let named = |name: &str| Contact { name: Some(name.to_owned()), ..person(1) };
    open(named("Ana")).await.expect("finds");
    open(named("Eva")).await.expect("finds");
    let state = world.folded().await;
    let contact = &state.conversations[&(CLIENT, ConversationId(1))].contact;
    assert_eq!(contact.name.as_deref(), Some("Ana"));
    let refused = open(Contact { name: Some("Ana".to_owned()), ..Contact::default() }).await;
    assert!(matches!(refused, Err(CommandError::Invalid { field: "phone", .. })));
}

static ACTOR: std::sync::LazyLock<Actor> = std::sync::LazyLock::new(actor);

#[tokio::test]
async fn what_changes_nothing_is_no_event() {
    let world = World::new();
    let (commands, _view) = world.instance();
    take(&commands, vec![message(person(1), "a")]).await;
    let id = ConversationId(1);
    let close = || ConversationChange {
        status: Some(ConversationStatus::Closed),
        ..ConversationChange::default()
    };
    let before = count(&world).await;
    for events in [1, 0] {
        commands.change_conversation(CLIENT, &ACTOR, id, close()).await.expect("changes");
        commands.mark_read(CLIENT, &ACTOR, id).await.expect("reads");
        commands.set_bot_status(CLIENT, &ACTOR, BotMode::Paused, None).await.expect("sets");
        let day = commands.start_day(CLIENT, "2026-11-24".to_owned(), "UTC".to_owned());
        day.await.expect("starts");
        assert_eq!(count(&world).await, before + 4, "{events}");
    }
    // There and back again is two changes, also when they follow each other at once.
    for status in [BotMode::Active, BotMode::Paused] {
        commands.set_bot_status(CLIENT, &ACTOR, status, None).await.expect("sets");
    }
    assert_eq!(count(&world).await, before + 6);
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_its_field() {
    let world = World::new();
    let (commands, _view) = world.instance();
    let missing = commands.mark_read(CLIENT, &ACTOR, ConversationId(1)).await;
    assert_eq!(missing, Err(CommandError::NotFound));
    take(&commands, vec![message(person(1), "a")]).await;
    let foreign = commands.mark_read(ClientId(2), &ACTOR, ConversationId(1)).await;
    assert_eq!(foreign, Err(CommandError::NotFound));
    let change =
        ConversationChange { labels: Some(vec![String::new()]), ..ConversationChange::default() };
    let refused = commands.change_conversation(CLIENT, &ACTOR, ConversationId(1), change).await;
    assert!(matches!(refused, Err(CommandError::Invalid { field: "labels", .. })));
    let reason = Some("x".repeat(crate::command::write::REASON_CHARS_MAX + 1));
    let refused = commands.set_bot_status(CLIENT, &ACTOR, BotMode::Paused, reason).await;
    assert!(matches!(refused, Err(CommandError::Invalid { field: "reason", .. })));
}

#[tokio::test]
async fn a_keyed_write_is_done_once_and_answered_alike_on_every_instance() {
    let world = World::new();
    let (one, _one_view) = world.instance();
    let (two, _two_view) = world.instance();
    let asked = request("k", "{}");
    let first = one.write(CLIENT, &ACTOR, Some(&asked), pause(), answer).await.expect("writes");
    assert_eq!(first.answer.body, json!({"status": "paused", "by": "ann"}));
    assert!(!first.repeated);
    let records = world.records().await;
    assert_eq!(records.len(), 2, "the event and the answer");
    assert_eq!(first.position, records[1].position);
    for commands in [&one, &two] {
        // The state has moved on; the answer has not.
        commands.set_bot_status(CLIENT, &ACTOR, BotMode::Active, None).await.expect("sets");
        let again = commands.write(CLIENT, &ACTOR, Some(&asked), pause(), answer).await;
        assert_eq!(again, Ok(Answered { repeated: true, ..first.clone() }));
        let other = request("k", "{ }");
        let reused = commands.write(CLIENT, &ACTOR, Some(&other), pause(), answer).await;
        assert_eq!(reused, Err(CommandError::KeyReused));
    }
    // Another tenant's key is another key.
    let foreign = one.write(ClientId(2), &ACTOR, Some(&asked), pause(), answer).await;
    assert!(!foreign.expect("writes").repeated);
}

#[tokio::test]
async fn a_keyed_opening_is_done_once() {
    let world = World::new();
    let (one, _one_view) = world.instance();
    let (two, _two_view) = world.instance();
    let asked = request("k", "{}");
    let open = || Write::OpenConversation { contact: person(1) };
    let first = one.write(CLIENT, &ACTOR, Some(&asked), open(), answer).await.expect("opens");
    assert_eq!(first.answer.body, json!({"id": 1, "new": true}));
    assert_eq!(count(&world).await, 3);
    for commands in [&one, &two] {
        let again = commands.write(CLIENT, &ACTOR, Some(&asked), open(), answer).await;
        assert_eq!(again, Ok(Answered { repeated: true, ..first.clone() }));
    }
    let found = two.write(CLIENT, &ACTOR, Some(&request("l", "{}")), open(), answer).await;
    assert_eq!(found.expect("finds").answer.body, json!({"id": 1, "new": false}));
    assert_eq!(count(&world).await, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_with_one_key_at_once_are_one_write() {
    let world = World::new();
    let instances: Vec<_> = (0..3).map(|_| world.instance()).collect();
    for (round, write) in
        [pause(), Write::OpenConversation { contact: person(5) }].into_iter().enumerate()
    {
        let tasks = (0..30).map(|task: usize| {
            let commands = Arc::clone(&instances[task % instances.len()].0);
            let (asked, write) = (request(&format!("k{round}"), "{}"), write.clone());
            tokio::spawn(async move {
                commands.write(CLIENT, &ACTOR, Some(&asked), write, answer).await.expect("writes")
            })
        });
        let answers = futures_util::future::join_all(tasks).await;
        let answers: Vec<Answered> =
            answers.into_iter().map(|answered| answered.expect("ends")).collect();
        assert_eq!(answers.iter().filter(|answered| !answered.repeated).count(), 1);
        assert!(answers.iter().all(|answered| answered.position == answers[0].position));
        assert!(answers.iter().all(|answered| answered.answer == answers[0].answer));
    }
    // One event and one answer; an opening has two events.
    assert_eq!(count(&world).await, 5);
}

#[tokio::test]
async fn what_fails_is_not_kept_and_an_old_answer_is_forgotten() {
    let world = World::new();
    let (commands, _view) = world.instance();
    let asked = request("k", "{}");
    let read = || Write::MarkRead { id: ConversationId(1) };
    let failed = commands.write(CLIENT, &ACTOR, Some(&asked), read(), answer).await;
    assert_eq!(failed, Err(CommandError::NotFound));
    take(&commands, vec![message(person(1), "a")]).await;
    let first = commands.write(CLIENT, &ACTOR, Some(&asked), read(), answer).await.expect("reads");
    assert_eq!(first.answer.body, json!({"unread": 0}));
    world.clock.advance_ms(25 * 60 * 60 * 1000);
    let other = request("k", "other");
    let anew = commands.write(CLIENT, &ACTOR, Some(&other), pause(), answer).await.expect("writes");
    assert!(!anew.repeated);
    assert_ne!(anew.answer.body, Value::Null);
}

#[tokio::test]
async fn a_keyed_batch_is_taken_in_once() {
    let world = World::new();
    let (one, _one_view) = world.instance();
    let (two, _two_view) = world.instance();
    let asked = request("k", "{}");
    let count_stored = |outcomes: Vec<IntakeOutcome>| {
        let stored = |outcome: &&IntakeOutcome| matches!(outcome, IntakeOutcome::Stored(_));
        Answer { status: 200, body: json!(outcomes.iter().filter(stored).count()) }
    };
    let items = || vec![message(person(1), "a"), message(person(1), "b")];
    let first = one.take_in_once(CLIENT, &ACTOR, &asked, items(), count_stored).await;
    let first = first.expect("takes in");
    assert_eq!(first.answer.body, json!(2));
    let before = count(&world).await;
    for commands in [&one, &two] {
        let again = commands.take_in_once(CLIENT, &ACTOR, &asked, items(), count_stored).await;
        assert_eq!(again, Ok(Answered { repeated: true, ..first.clone() }));
    }
    assert_eq!(count(&world).await, before);
    let other = request("k", "other");
    let reused = one.take_in_once(CLIENT, &ACTOR, &other, items(), count_stored).await;
    assert_eq!(reused, Err(CommandError::KeyReused));
}
