//! What is queued, what is refused and why, and who may send again.

use serde_json::json;

use super::{
    intake::{message, person, take},
    *,
};
use crate::{
    command::{
        outbox::{Claim, Outcome, Settled},
        send::{Again, BotSettings, Channel, Channels, NewMessage, Sending},
    },
    domain::{
        bot::BotMode,
        event::ConversationChange,
        ids::MessageId,
        message::{Message, MessageStatus, ProviderError, Sender},
        state::State,
    },
    event_log::{Expected, StreamName},
    wire::send::{SendMessage, SendTemplate},
};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const HERE: ConversationId = ConversationId(1);

/// Tenant 1 sends through the Cloud API, tenant 2 through WAHA, others not at all.
struct TwoTenants;

impl Channels for TwoTenants {
    fn of(&self, client: ClientId) -> Option<Channel> {
        match client {
            ClientId(1) => Some(Channel::WhatsAppCloud),
            ClientId(2) => Some(Channel::Waha),
            _ => None,
        }
    }
}

fn sending(commands: Arc<Commands>) -> Commands {
    let sending = Sending {
        channels: Arc::new(TwoTenants),
        bot: BotSettings { pause_after_person_s: 600 },
        ..Sending::default()
    };
    Arc::into_inner(commands).expect("the only one").with_sending(sending)
}

/// A tenant to whom a contact has written.
async fn talking(world: &World) -> Commands {
    let (commands, _) = world.instance();
    let commands = sending(commands);
    take(&commands, vec![message(person(1), "first")]).await;
    commands
}

fn text(sender: Sender) -> Write {
    let body = SendMessage { text: Some("hola".to_owned()), ..SendMessage::default() };
    Write::Send(Box::new(NewMessage { conversation: HERE, sender, body }))
}

fn template() -> Write {
    let template = SendTemplate {
        name: "recordatorio".to_owned(),
        language: "es".to_owned(),
        components: None,
    };
    let body = SendMessage { template: Some(template), ..SendMessage::default() };
    Write::Send(Box::new(NewMessage { conversation: HERE, sender: Sender::Agent, body }))
}

async fn write_for(
    commands: &Commands,
    client: ClientId,
    write: Write,
) -> Result<Answered, CommandError> {
    let answer = |done: &Done| match done {
        Done::Queued { message } => Answer { status: 202, body: json!({"id": message.id}) },
        other => panic!("{other:?} is no message"),
    };
    commands.write(client, &actor(), None, write, answer).await
}

async fn write(commands: &Commands, write: Write) -> Result<MessageId, CommandError> {
    let answered = write_for(commands, CLIENT, write).await?;
    Ok(serde_json::from_value(answered.answer.body["id"].clone()).expect("an id"))
}

async fn folded(world: &World, id: MessageId) -> Message {
    let found = world.folded().await.message(CLIENT, id);
    Message::clone(&found.expect("the message is there"))
}

#[tokio::test]
async fn a_message_is_queued_as_it_is_answered() {
    let world = World::new();
    let commands = talking(&world).await;
    let answered = std::sync::Mutex::new(None);
    let answered = Arc::new(answered);
    let body = SendMessage {
        text: Some("hola".to_owned()),
        client_ref: Some("c-1".to_owned()),
        ..SendMessage::default()
    };
    let new = NewMessage { conversation: HERE, sender: Sender::Agent, body };
    let answer = {
        let answered = Arc::clone(&answered);
        move |done: &Done| {
            if let Done::Queued { message } = done {
                *answered.lock().expect("whole") = Some(message.clone());
            }
            Answer { status: 202, body: json!(1) }
        }
    };
    let write = Write::Send(Box::new(new));
    let done = commands.write(CLIENT, &actor(), None, write, answer).await.expect("queues");
    let records = world.records().await;
    let last = records.last().expect("an event");
    assert_eq!(done.position, last.position);
    assert_eq!(last.stream, StreamName::Conversation(CLIENT, HERE));
    let answered = answered.lock().expect("whole").clone().expect("was answered");
    assert_eq!(folded(&world, answered.id).await, answered);
}

#[tokio::test]
async fn text_goes_only_while_the_window_is_open_and_templates_always() {
    let world = World::new();
    let commands = talking(&world).await;
    write(&commands, text(Sender::Agent)).await.expect("the contact has just written");
    world.clock.advance_ms(DAY_MS);
    let refused = write(&commands, text(Sender::Agent)).await;
    assert_eq!(refused, Err(CommandError::WindowClosed));
    assert!(refused.expect_err("refused").to_string().contains("template"));
    write(&commands, template()).await.expect("a template needs no window");
    // A person's message opens it, though the read model may not have it yet.
    let Intake::Message { contact, mut message } = message(person(1), "again") else {
        unreachable!()
    };
    message.sent_at = NOW.plus_ms(DAY_MS);
    take(&commands, vec![Intake::Message { contact, message }]).await;
    write(&commands, text(Sender::Agent)).await.expect("open again");
}

use crate::domain::intake::Intake;

#[tokio::test]
async fn waha_has_no_window_and_nobody_sends_without_a_way() {
    let world = World::new();
    let (commands, _) = world.instance();
    let commands = sending(commands);
    for client in [ClientId(2), ClientId(3)] {
        commands.open_conversation(client, &actor(), person(1)).await.expect("opens");
    }
    write_for(&commands, ClientId(2), text(Sender::Agent)).await.expect("queues");
    let refused = write_for(&commands, ClientId(2), template()).await;
    assert!(matches!(refused, Err(CommandError::InvalidFields(_))), "{refused:?}");
    let refused = write_for(&commands, ClientId(3), text(Sender::Agent)).await;
    assert_eq!(refused, Err(CommandError::NoChannel));
    // Another tenant's conversation is none.
    let refused = write_for(&commands, CLIENT, text(Sender::Agent)).await;
    assert_eq!(refused, Err(CommandError::NotFound));
}

#[tokio::test]
async fn the_bot_speaks_only_where_it_may() {
    let world = World::new();
    let commands = talking(&world).await;
    let refused = write(&commands, text(Sender::Bot)).await;
    assert_eq!(refused, Err(CommandError::BotNotActive), "it is off until somebody sets it");
    commands.set_bot_status(CLIENT, &actor(), BotMode::Active, None).await.expect("sets");
    write(&commands, text(Sender::Bot)).await.expect("it may");
    write(&commands, text(Sender::Bot)).await.expect("its own words do not hold it back");

    write(&commands, text(Sender::Agent)).await.expect("a person answers");
    let until = NOW.plus_ms(600_000);
    let refused = write(&commands, text(Sender::Bot)).await;
    assert_eq!(refused, Err(CommandError::BotPaused { until }));
    world.clock.advance_ms(600_000);
    write(&commands, text(Sender::Bot)).await.expect("the pause is over");

    let off = ConversationChange { bot_enabled: Some(false), ..ConversationChange::default() };
    commands.change_conversation(CLIENT, &actor(), HERE, off).await.expect("changes");
    assert_eq!(write(&commands, text(Sender::Bot)).await, Err(CommandError::BotDisabled));
    write(&commands, text(Sender::Agent)).await.expect("people always may");
}

#[tokio::test]
async fn the_same_key_is_one_message() {
    let world = World::new();
    let commands = talking(&world).await;
    let asked = Request::new("k", "POST", "/v1/x", b"{}");
    let answer = |done: &Done| match done {
        Done::Queued { message } => Answer { status: 202, body: json!(message.id) },
        _ => Answer { status: 500, body: json!(null) },
    };
    let before = world.records().await.len();
    let mut answers = Vec::new();
    for _ in 0..3 {
        let write = text(Sender::Agent);
        let done = commands.write(CLIENT, &actor(), Some(&asked), write, answer).await;
        answers.push(done.expect("queues"));
    }
    assert_eq!(world.records().await.len(), before + 2, "a message and its answer");
    assert!(answers.iter().all(|again| again.answer == answers[0].answer));
    assert!(!answers[0].repeated && answers[1].repeated);
}

/// Claims a queued message as the outbox does.
async fn claim(world: &World, commands: &Commands, message: MessageId) {
    let stream = StreamName::Conversation(CLIENT, HERE);
    let records = world.log.read_stream(&stream, None, 1000).await.expect("reads");
    let expected = records.last().expect("events").revision;
    let event = crate::domain::ids::EventId(world.clock.new_id());
    let claim = Claim { client: CLIENT, conversation: HERE, message, event, expected };
    commands.claim(&[claim]).await.expect("claims");
}

async fn settle(commands: &Commands, message: MessageId, outcome: Outcome) {
    let settled = Settled { client: CLIENT, conversation: HERE, message, outcome };
    commands.settle(&[settled]).await.expect("settles");
}

fn again(message: MessageId) -> Write {
    Write::SendAgain(Again { conversation: HERE, message })
}

#[tokio::test]
async fn only_a_doubt_and_a_failure_can_be_sent_again() {
    let world = World::new();
    let commands = talking(&world).await;
    let id = write(&commands, text(Sender::Agent)).await.expect("queues");
    let refuse = |id| write(&commands, again(id));
    assert_eq!(refuse(id).await, Err(CommandError::NotRetryable), "it waits");
    claim(&world, &commands, id).await;
    assert_eq!(refuse(id).await, Err(CommandError::NotRetryable), "it is under way");
    settle(&commands, id, Outcome::Doubted).await;
    assert_eq!(refuse(id).await, Ok(id), "it is the same message");
    let released = folded(&world, id).await;
    assert_eq!((released.send_started, released.error), (false, None));
    assert_eq!(refuse(id).await, Err(CommandError::NotRetryable), "once");

    claim(&world, &commands, id).await;
    let error = ProviderError { code: 131_026, title: "t".to_owned(), detail: String::new() };
    settle(&commands, id, Outcome::Failed { error: error.clone() }).await;
    let anew = refuse(id).await.expect("sends anew");
    assert_ne!(anew, id, "what failed stays failed");
    let failed = folded(&world, id).await;
    assert_eq!((failed.status, failed.error), (MessageStatus::Failed, Some(error)));
    let anew = folded(&world, anew).await;
    assert_eq!((anew.status, anew.text.as_deref()), (MessageStatus::Queued, Some("hola")));

    let nobodys = MessageId(uuid::Uuid::from_u128(77));
    assert_eq!(refuse(nobodys).await, Err(CommandError::NoSuchMessage));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_press_the_button_one_releases() {
    let world = World::new();
    let commands = Arc::new(talking(&world).await);
    for _ in 0..20 {
        let id = write(&commands, text(Sender::Agent)).await.expect("queues");
        claim(&world, &commands, id).await;
        settle(&commands, id, Outcome::Doubted).await;
        let tasks = (0..8).map(|_| {
            let commands = Arc::clone(&commands);
            tokio::spawn(async move { write(&commands, again(id)).await })
        });
        let answers = futures_util::future::join_all(tasks).await;
        let done = answers.iter().filter(|answer| matches!(answer, Ok(Ok(_)))).count();
        assert_eq!(done, 1);
        let released = world.events().await.into_iter().filter(|event| {
            matches!(event, EventData::SendReleased { message_id, .. } if *message_id == id)
        });
        assert_eq!(released.count(), 1);
    }
}

#[tokio::test]
async fn a_claim_on_an_old_revision_is_none() {
    let world = World::new();
    let commands = talking(&world).await;
    let id = write(&commands, text(Sender::Agent)).await.expect("queues");
    let records = world.records().await;
    let last = records.last().expect("an event");
    let expected = last.revision;
    let claim = |number: u128| Claim {
        client: CLIENT,
        conversation: HERE,
        message: id,
        event: EventId(uuid::Uuid::from_u128(number)),
        expected,
    };
    commands.claim(&[claim(1)]).await.expect("claims");
    let lost = commands.claim(&[claim(2)]).await;
    assert!(matches!(lost, Err(AppendError::Conflict { index: 0, .. })), "{lost:?}");
    assert_eq!(world.records().await.len(), records.len() + 1);
    assert_ne!(Expected::Revision(expected), Expected::Any);
}

#[tokio::test]
async fn a_refused_number_is_told_once_and_taken_back_only_from_there() {
    let world = World::new();
    let (commands, _) = world.instance();
    let error = ProviderError {
        code: 131_031,
        title: "Account locked".to_owned(),
        detail: "policy".to_owned(),
    };
    for _ in 0..2 {
        commands.number_refused(CLIENT, &error).await.expect("tells");
    }
    let mut state = world.folded().await;
    let whatsapp = state.tenant(CLIENT).whatsapp.clone();
    assert_eq!(whatsapp.reason.as_deref(), Some("Account locked: policy (131031)"));
    assert_eq!(world.records().await.len(), 1);
    for _ in 0..2 {
        commands.number_taken(CLIENT).await.expect("tells");
    }
    assert_eq!(world.records().await.len(), 2);
}
