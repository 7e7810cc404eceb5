//! Bulks through commands: taken in, claimed, controlled, taken back.

use std::collections::HashSet;

use super::*;
use crate::{
    command::{
        bulk::{Advanced, Begun, BulkDraft, Finding},
        outbox::Claim,
        testing::FoldView,
        write::{Done, Write},
    },
    domain::{
        bulk::{
            self, Bulk, BulkControl, BulkSpec, BulkStatus, LeftOutReason, Recipient,
            content::BulkContent,
        },
        event::EventData,
        ids::{BulkId, EventId},
        message::MessageStatus,
    },
    event_log::{Expected, Revision, StreamName},
};

fn recipient(number: u32) -> Recipient {
    Recipient { phone: format!("+3460000{number:04}"), name: None, values: vec!["x".to_owned()] }
}

fn spec() -> BulkSpec {
    BulkSpec {
        name: "sale".to_owned(),
        content: BulkContent::Text { text: "Hola {{a}}".to_owned() },
        columns: vec!["a".to_owned()],
        recipients: 0,
        rate_per_second: 100.0,
        scheduled_at: None,
    }
}

fn answer(bulk: &Bulk) -> Answer {
    Answer { status: 202, body: serde_json::json!({"id": bulk.id.to_string()}) }
}

async fn begin(commands: &Commands, request: Option<&Request>) -> BulkDraft {
    match commands.begin_bulk(CLIENT, &actor(), request).await.expect("begins") {
        Begun::Draft(draft) => draft,
        Begun::Repeated(_) => panic!("it was not done before"),
    }
}

/// Takes in a bulk of so many, in two parts.
async fn take_in(commands: &Commands, count: u32) -> BulkId {
    let mut draft = begin(commands, None).await;
    let parts = vec![(0..1).map(recipient).collect(), (1..count).map(recipient).collect()];
    commands.add_recipients(&mut draft, parts).await.expect("stored");
    commands.create_bulk(&draft, spec(), answer).await.expect("created");
    draft.id
}

async fn seen(commands: &Commands, view: &FoldView, id: BulkId) -> Bulk {
    commands.core.come_up().await.expect("comes up");
    Bulk::clone(&view.state().bulks[&(CLIENT, id)])
}

async fn revision(commands: &Commands, id: BulkId) -> Expected {
    let found = commands.bulk_revision(CLIENT, id, None).await.expect("read");
    Expected::Revision(found.expect("a bulk has events"))
}

async fn control(commands: &Commands, id: BulkId, control: BulkControl) -> Bulk {
    let write = Write::ControlBulk { id, control };
    let answer = |done: &Done| match done {
        Done::Bulk(bulk) => answer(bulk),
        _ => panic!("of a bulk"),
    };
    commands.write(CLIENT, &actor(), None, write, answer).await.expect("done");
    commands.core.come_up().await.expect("comes up");
    commands.core.view.bulk(CLIENT, id).await.expect("read").expect("a bulk")
}

#[tokio::test]
async fn a_bulk_is_whole_before_it_is_there() {
    let world = World::new();
    let (commands, view) = world.instance();
    let request = Request::new("key", "POST", "/v1/bulk", b"body");
    let mut draft = begin(&commands, Some(&request)).await;
    let id = draft.id;
    commands.add_recipients(&mut draft, vec![vec![recipient(0)]]).await.expect("stored");
    commands.core.come_up().await.expect("comes up");
    assert!(view.state().bulks.is_empty());
    let first = commands.create_bulk(&draft, spec(), answer).await.expect("created");
    assert!(!first.repeated);
    drop(draft);
    let bulk = seen(&commands, &view, id).await;
    assert_eq!((bulk.spec.recipients, bulk.progress.status), (1, BulkStatus::Running));

    let (other, _) = world.instance();
    let again = other.begin_bulk(CLIENT, &actor(), Some(&request)).await.expect("answered");
    let Begun::Repeated(again) = again else { panic!("it was done before") };
    assert_eq!((again.answer, again.position), (first.answer, first.position));
    let changed = Request::new("key", "POST", "/v1/bulk", b"another");
    let refused = other.begin_bulk(CLIENT, &actor(), Some(&changed)).await;
    assert_eq!(refused.err(), Some(CommandError::KeyReused));
}

#[tokio::test]
async fn of_two_instances_with_one_key_one_bulk_is_created_and_nothing_is_left_of_the_other() {
    let world = World::new();
    let (a, view) = world.instance();
    let (b, _) = world.instance();
    let request = Request::new("key", "POST", "/v1/bulk", b"body");
    let (mut first, mut second) =
        (begin(&a, Some(&request)).await, begin(&b, Some(&request)).await);
    a.add_recipients(&mut first, vec![vec![recipient(0)]]).await.expect("stored");
    b.add_recipients(&mut second, vec![vec![recipient(0)]]).await.expect("stored");
    let won = a.create_bulk(&first, spec(), answer).await.expect("created");
    let lost = b.create_bulk(&second, spec(), answer).await.expect("answered");
    assert!(lost.repeated);
    assert_eq!(lost.answer, won.answer);
    a.core.come_up().await.expect("comes up");
    {
        let state = view.state();
        assert_eq!(state.bulks.len(), 1);
        assert!(state.bulk_parts.keys().all(|(_, id, _)| *id == first.id), "the other's are gone");
    }
    let stream = StreamName::Recipients(CLIENT, second.id, 0);
    assert!(world.log.read_stream(&stream, None, 9).await.expect("read").is_empty());
}

#[tokio::test]
async fn a_claim_queues_a_message_for_each_and_is_won_once() {
    let world = World::new();
    let (a, view) = world.instance();
    let (b, _) = world.instance();
    let id = take_in(&a, 5).await;
    let bulk = seen(&a, &view, id).await;
    let expected = revision(&a, id).await;
    let batch: Vec<_> = (0..3).map(recipient).collect();
    let won = a.claim_batch(&bulk, expected, batch.clone()).await.expect("claimed");
    assert!(matches!(won, Advanced::Done(_)));
    let lost = b.claim_batch(&bulk, expected, batch).await.expect("answered");
    assert_eq!(lost, Advanced::Lost);

    let after = seen(&a, &view, id).await;
    assert_eq!((after.progress.next, after.progress.counts.queued), (3, 3));
    let queued: Vec<_> = world.events().await.into_iter().filter_map(queued_of).collect();
    assert_eq!(queued.len(), 3, "the other stored nothing");
    let conversations: HashSet<_> = queued.iter().map(|message| message.conversation_id).collect();
    assert_eq!(conversations.len(), 3);
    for (number, message) in (0..).zip(&queued) {
        assert_eq!(message.message_id, bulk::message_id(id, number));
        assert_eq!(message.text.as_deref(), Some("Hola x"));
    }
    // What was decided before somebody paused it comes too late.
    let expected = revision(&a, id).await;
    control(&b, id, BulkControl::Pause).await;
    let late = a.claim_batch(&after, expected, vec![recipient(3)]).await.expect("answered");
    assert_eq!(late, Advanced::Lost);
    let Advanced::Lost = a.advance_bulk(&after, expected, Finding::NothingWaits).await.expect("ok")
    else {
        panic!("it was paused meanwhile");
    };
}

fn queued_of(data: EventData) -> Option<crate::domain::event::QueuedMessage> {
    match data {
        EventData::MessageQueued(message) => Some(message),
        _ => None,
    }
}

#[tokio::test]
async fn who_opted_out_or_was_erased_gets_no_message() {
    let world = World::new();
    let (commands, view) = world.instance();
    let contact = crate::domain::conversation::Contact {
        phone: Some(recipient(1).phone),
        ..Default::default()
    };
    let word = intake::message(contact.clone(), "wamid.stop");
    let crate::domain::intake::Intake::Message { mut message, .. } = word else { panic!("one") };
    message.text = Some("Stop!".to_owned());
    let word = crate::domain::intake::Intake::Message { contact, message };
    let outcomes = commands.take_in(CLIENT, &actor(), vec![word.clone()]).await.expect("stored");
    assert_eq!(outcomes.len(), 1, "what the word means is no item of the caller's");
    let again = commands.take_in(CLIENT, &actor(), vec![word]).await.expect("stored");
    assert_eq!(again, [IntakeOutcome::Duplicate]);
    let told = world.events().await;
    let told = told.iter().filter(|data| {
        matches!(data, EventData::MarketingPreferenceChanged { allowed: false, .. })
    });
    assert_eq!(told.count(), 1);

    let id = take_in(&commands, 4).await;
    let bulk = seen(&commands, &view, id).await;
    let batch = vec![recipient(0), recipient(1), Recipient::default(), recipient(3)];
    let expected = revision(&commands, id).await;
    commands.claim_batch(&bulk, expected, batch).await.expect("claimed");
    let after = seen(&commands, &view, id).await;
    assert_eq!((after.total(), after.progress.counts.queued, after.progress.left_out), (2, 2, 2));
    let reasons: Vec<_> = world
        .events()
        .await
        .into_iter()
        .filter_map(|data| match data {
            EventData::BulkBatchStarted(batch) => Some(batch.left_out),
            _ => None,
        })
        .flatten()
        .map(|left| (left.number, left.reason))
        .collect();
    assert_eq!(reasons, [(1, LeftOutReason::OptedOut), (2, LeftOutReason::Erased)]);
}

#[tokio::test]
async fn what_is_queued_of_a_cancelled_bulk_is_taken_back_unless_it_is_under_way() {
    let world = World::new();
    let (commands, view) = world.instance();
    let id = take_in(&commands, 3).await;
    let bulk = seen(&commands, &view, id).await;
    let expected = revision(&commands, id).await;
    let batch = (0..3).map(recipient).collect();
    commands.claim_batch(&bulk, expected, batch).await.expect("claimed");
    commands.core.come_up().await.expect("comes up");
    // The outbox claims the second; the third it claims and gives back.
    for number in [1, 2] {
        let message = bulk::message_id(id, number);
        let conversation = view.state().messages[&(CLIENT, message)].conversation_id;
        let stream = StreamName::Conversation(CLIENT, conversation);
        let records = world.log.read_stream(&stream, None, 9).await.expect("read");
        let expected = records.last().map_or(Revision(0), |last| last.revision);
        let event = EventId(world.clock.new_id());
        let claim = Claim { client: CLIENT, conversation, message, event, expected };
        commands.claim(&[claim]).await.expect("claimed");
        if number == 2 {
            let outcome =
                crate::command::outbox::Outcome::Released { bulk_id: Some(id), claim: event };
            let settled =
                crate::command::outbox::Settled { client: CLIENT, conversation, message, outcome };
            commands.settle(&[settled]).await.expect("settled");
        }
    }
    let cancelled = control(&commands, id, BulkControl::Cancel).await;
    assert_eq!(cancelled.progress.status, BulkStatus::Cancelled);
    assert!(cancelled.needs_runner());
    let withdrawn = commands.withdraw(&cancelled, &[0, 1, 2]).await.expect("withdrawn");
    assert_eq!(withdrawn, 2);
    let after = seen(&commands, &view, id).await;
    let counts = after.progress.counts;
    assert_eq!((counts.failed, counts.in_doubt, counts.queued), (2, 1, 0));
    assert!(!after.needs_runner());
    let state = view.state();
    let status = |number| state.messages[&(CLIENT, bulk::message_id(id, number))].status;
    assert_eq!((status(0), status(1)), (MessageStatus::Failed, MessageStatus::Queued));
}

#[tokio::test]
async fn controls_are_decided_on_the_bulk_as_it_is() {
    let world = World::new();
    let (commands, _) = world.instance();
    let id = take_in(&commands, 2).await;
    assert_eq!(
        control(&commands, id, BulkControl::Pause).await.progress.status,
        BulkStatus::Paused
    );
    let before = world.records().await.len();
    control(&commands, id, BulkControl::Pause).await;
    assert_eq!(world.records().await.len(), before, "what is so already is no event");
    assert_eq!(
        control(&commands, id, BulkControl::Resume).await.progress.status,
        BulkStatus::Running
    );
    control(&commands, id, BulkControl::Cancel).await;
    let write = Write::ControlBulk { id, control: BulkControl::Resume };
    let refused = commands.write(CLIENT, &actor(), None, write, |_| answer_nothing()).await;
    assert!(matches!(refused, Err(CommandError::Conflict { .. })), "{refused:?}");
    let nobodys = BulkId(uuid::Uuid::from_u128(1 << 20));
    let write = Write::ControlBulk { id: nobodys, control: BulkControl::Pause };
    let refused = commands.write(CLIENT, &actor(), None, write, |_| answer_nothing()).await;
    assert_eq!(refused.err(), Some(CommandError::NotFound));
}

fn answer_nothing() -> Answer {
    Answer { status: 200, body: serde_json::Value::Null }
}
