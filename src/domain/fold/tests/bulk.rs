//! Bulks: what their own events do, and what their messages do to their counters.

use proptest::{collection::vec, prelude::*, sample::Index};

use super::{events::*, *};
use crate::domain::{
    bulk::{
        self, Bulk, BulkBatch, BulkCounts, BulkRecipient, BulkSpec, BulkStatus, LeftOut,
        LeftOutReason, Recipient, RecipientPart, RecipientResult, content::BulkContent,
    },
    event::{QueuedMessage, StatusChange},
    ids::BulkId,
    message::{MessageKind, ProviderError, Sender},
};

const BULK: BulkId = BulkId(Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0010_0000));

fn created(recipients: u32, scheduled_at: Option<Timestamp>) -> EventData {
    EventData::BulkCreated {
        bulk_id: BULK,
        spec: BulkSpec {
            name: "sale".to_owned(),
            content: BulkContent::Text { text: "hi".to_owned() },
            columns: Vec::new(),
            recipients,
            rate_per_second: 10.0,
            scheduled_at,
        },
    }
}

fn claimed(first: u32, count: u32, left_out: &[u32]) -> EventData {
    let reason = LeftOutReason::OptedOut;
    EventData::BulkBatchStarted(BulkBatch {
        bulk_id: BULK,
        first,
        count,
        left_out: left_out.iter().map(|&number| LeftOut { number, reason }).collect(),
        paced_to_us: 7,
    })
}

/// To recipient `number`, in conversation `number + 1`.
fn queued_to(number: u32) -> EventData {
    EventData::MessageQueued(QueuedMessage {
        conversation_id: ConversationId(number + 1),
        message_id: bulk::message_id(BULK, number),
        sender: Sender::Bulk,
        kind: MessageKind::Text,
        text: Some("hi".to_owned()),
        media: None,
        payload: None,
        reply_to: None,
        client_ref: None,
        bulk_id: Some(BULK),
    })
}

fn started_to(number: u32) -> EventData {
    EventData::SendStarted {
        conversation_id: ConversationId(number + 1),
        message_id: bulk::message_id(BULK, number),
    }
}

fn status_of(number: u32, code: Option<i64>) -> StatusChange {
    StatusChange {
        conversation_id: ConversationId(number + 1),
        message_id: Some(bulk::message_id(BULK, number)),
        dedupe_key: Some(format!("wamid.bulk.{number}")),
        wa_message_id: None,
        at: NOON,
        error: code.map(error),
    }
}

fn sent_to(number: u32) -> EventData {
    EventData::MessageSent(status_of(number, None))
}

fn of_bulk(make: impl FnOnce(BulkId) -> EventData) -> EventData {
    make(BULK)
}

fn paused() -> EventData {
    of_bulk(|bulk_id| EventData::BulkPaused { bulk_id })
}

fn resumed() -> EventData {
    of_bulk(|bulk_id| EventData::BulkResumed { bulk_id })
}

fn cancelled() -> EventData {
    of_bulk(|bulk_id| EventData::BulkCancelled { bulk_id })
}

fn completed() -> EventData {
    of_bulk(|bulk_id| EventData::BulkCompleted { bulk_id })
}

fn refused() -> EventData {
    of_bulk(|bulk_id| EventData::BulkFailed {
        bulk_id,
        error: ProviderError {
            code: 132_015,
            title: "Template is paused".to_owned(),
            detail: String::new(),
        },
    })
}

impl World {
    #[track_caller]
    fn bulk(&self) -> &Bulk {
        &self.state.bulks[&(TENANT, BULK)]
    }

    /// `waiting, in doubt, sent, delivered, read, failed, left out`.
    fn numbers_of_bulk(&self) -> [i64; 7] {
        let bulk = self.bulk();
        let BulkCounts { in_doubt, sent, delivered, read, failed, .. } = bulk.progress.counts;
        [bulk.waiting(), in_doubt, sent, delivered, read, failed, bulk.progress.left_out.into()]
    }

    fn result_of(&self, number: u32) -> Option<RecipientResult> {
        self.state.bulk_recipients.get(&(TENANT, BULK, number)).map(|recipient| recipient.result)
    }
}

/// Each bulk's counters, and what is kept of its recipients, are what its messages say.
#[track_caller]
pub(super) fn check_bulks(state: &MemoryState) {
    for ((client, id), bulk) in &state.bulks {
        let mut counts = BulkCounts::default();
        for message in state.messages.values() {
            if message.client_id != *client || message.bulk_id != Some(*id) {
                continue;
            }
            let number = bulk::recipient_number(*id, message.id);
            let Some(number) = number.filter(|number| *number < bulk.spec.recipients) else {
                continue;
            };
            let result = RecipientResult::of(message);
            counts.add(BulkCounts::of(result));
            let kept = state.bulk_recipients[&(*client, *id, number)];
            // A recipient who was left out although there is a message is of a nonsensical log.
            if kept.conversation_id.is_some() {
                assert_eq!(kept.result, result);
            }
        }
        assert_eq!(bulk.progress.counts, counts);
        let BulkCounts { sent, delivered, read, failed, in_doubt, .. } = counts;
        assert_eq!(sent + failed + in_doubt + bulk.waiting(), bulk.total());
        assert!(read <= delivered && delivered <= sent);
        assert!(bulk.progress.next <= bulk.spec.recipients);
    }
}

pub(super) fn nonsense_of_bulk() -> impl Strategy<Value = EventData> {
    let number = || 0..4_u32;
    prop_oneof![
        2 => (1..4_u32, any::<bool>())
            .prop_map(|(count, later)| created(count, later.then_some(NOON.plus_ms(HOUR_MS)))),
        2 => (number(), 0..4_u32, vec(number(), 0..2))
            .prop_map(|(first, count, left_out)| claimed(first, count, &left_out)),
        3 => number().prop_map(queued_to),
        2 => number().prop_map(started_to),
        4 => (number(), 0..4_u8).prop_map(|(number, which)| match which {
            0 => sent_to(number),
            1 => EventData::MessageDelivered(status_of(number, None)),
            2 => EventData::MessageRead(status_of(number, None)),
            _ => EventData::MessageFailed(status_of(number, Some(131_048))),
        }),
        1 => Just(paused()),
        1 => Just(resumed()),
        1 => Just(cancelled()),
        1 => Just(completed()),
        1 => Just(refused()),
        1 => Just(EventData::BulkStarted { bulk_id: BULK }),
        1 => Just(EventData::BulkRecipientsDiscarded { bulk_id: BULK }),
    ]
}

#[test]
fn a_bulk_is_claimed_sent_and_completed() {
    let mut world = World::new();
    assert_eq!(world.hears(created(3, None)), ["progress 0/3"]);
    assert_eq!(world.bulk().progress.status, BulkStatus::Running);
    world.unmoved_by(created(5, None));

    assert_eq!(world.when(queued_to(0)).len(), 2, "the message and the statistics");
    world.unmoved_by(queued_to(0));
    world.when(queued_to(1));
    assert_eq!(world.when(claimed(0, 2, &[])), []);
    assert_eq!(world.bulk().progress.paced_to_us, 7);
    assert_eq!(world.numbers_of_bulk(), [3, 0, 0, 0, 0, 0, 0]);
    assert_eq!(world.bulk().progress.counts.queued, 2);

    assert_eq!(world.when(started_to(0)), []);
    assert_eq!(world.numbers_of_bulk(), [2, 1, 0, 0, 0, 0, 0]);
    assert_eq!(world.hears(sent_to(0))[1..], ["conversation 1", "progress 1/3 1", "stats"]);
    world.unmoved_by(sent_to(0));
    let read = EventData::MessageRead(status_of(0, None));
    assert!(!world.hears(read).iter().any(|heard| heard.starts_with("progress")));
    assert_eq!(world.numbers_of_bulk(), [2, 0, 1, 1, 1, 0, 0]);
    let failed = EventData::MessageFailed(status_of(1, Some(131_026)));
    assert!(world.hears(failed).contains(&"progress 1/3 1".to_owned()));

    for event in [queued_to(2), claimed(2, 1, &[]), started_to(2), sent_to(2)] {
        world.when(event);
    }
    assert_eq!(world.numbers_of_bulk(), [0, 0, 2, 1, 1, 1, 0]);
    assert_eq!(world.hears(completed()), ["completed 2+1"]);
    world.unmoved_by(completed());
    assert!(!world.bulk().needs_runner());
}

#[test]
fn who_is_left_out_is_of_no_total() {
    let mut world = World::given([created(3, None)]);
    assert_eq!(world.hears(claimed(0, 2, &[1])), ["progress 0/2"]);
    world.unmoved_by(claimed(0, 2, &[1]));
    assert_eq!(world.numbers_of_bulk(), [2, 0, 0, 0, 0, 0, 1]);
    assert_eq!(world.result_of(1), Some(RecipientResult::OptedOut));
    assert_eq!(world.bulk().progress.next, 2);
    // A claim that reaches over what is claimed counts for the rest alone.
    world.when(claimed(1, 2, &[1, 2]));
    assert_eq!(world.numbers_of_bulk(), [1, 0, 0, 0, 0, 0, 2]);
    assert!(world.bulk().is_claimed());
}

#[test]
fn a_scheduled_bulk_waits_for_its_start() {
    let mut world = World::given([created(1, Some(NOON.plus_ms(HOUR_MS)))]);
    assert_eq!(world.bulk().progress.status, BulkStatus::Scheduled);
    assert_eq!(world.bulk().progress.started_at, None);
    let start = EventData::BulkStarted { bulk_id: BULK };
    assert_eq!(world.hears(start.clone()), ["progress 0/1"]);
    assert_eq!(world.bulk().progress.started_at, Some(world.now));
    world.unmoved_by(start);
}

#[test]
fn a_bulk_is_paused_resumed_and_cancelled() {
    let mut world = World::given([created(2, None), queued_to(0), claimed(0, 1, &[])]);
    assert_eq!(world.hears(paused()), ["progress 0/2"]);
    world.unmoved_by(paused());
    assert_eq!(world.hears(sent_to(0))[1..], ["conversation 1", "progress 1/2 1", "stats"]);
    assert_eq!(world.after_ms(1000).hears(resumed()), ["progress 1/2 1"]);
    assert_eq!(world.bulk().progress.paced_to_us, world.now.0 * 1000, "at its pace from now on");
    world.unmoved_by(resumed());
    assert_eq!(world.hears(cancelled()), ["completed 1+0"]);
    assert_eq!(world.bulk().progress.finished_at, Some(world.now));
    for event in [cancelled(), paused(), resumed(), completed(), refused()] {
        world.unmoved_by(event);
    }
    let read = EventData::MessageRead(status_of(0, None));
    assert!(!world.hears(read).iter().any(|heard| heard.starts_with("progress")));
    assert_eq!(world.numbers_of_bulk(), [1, 0, 1, 1, 1, 0, 0]);
}

#[test]
fn what_the_provider_refuses_for_all_is_kept_until_a_person_resumes() {
    let mut world = World::given([created(2, None), queued_to(0), queued_to(1)]);
    world.when(EventData::MessageFailed(status_of(0, Some(131_026))));
    assert_eq!(world.bulk().progress.refusal, None, "that was one recipient's");
    world.when(EventData::MessageFailed(status_of(1, Some(132_015))));
    let refusal = world.bulk().progress.refusal.clone();
    assert_eq!(refusal.map(|error| error.code), Some(132_015));
    assert_eq!(world.hears(refused()), ["error Template is paused (132015)"]);
    assert_eq!(world.bulk().progress.status, BulkStatus::Failed);
    world.unmoved_by(paused());
    assert_eq!(world.hears(resumed()), ["progress 0/2"]);
    assert_eq!(world.bulk().progress.status, BulkStatus::Running);
    assert_eq!((&world.bulk().progress.refusal, world.bulk().progress.finished_at), (&None, None));
}

#[test]
fn parts_are_kept_and_replaced_and_dropped_only_without_their_bulk() {
    let part = |part: u32, phone: &str| {
        let recipient = Recipient { phone: phone.to_owned(), ..Recipient::default() };
        RecipientPart { bulk_id: BULK, part, first: 0, recipients: vec![recipient] }
    };
    let discarded = EventData::BulkRecipientsDiscarded { bulk_id: BULK };
    let mut world = World::given([EventData::BulkRecipientsAdded(part(0, "+34600000001"))]);
    world.when(discarded.clone());
    assert!(world.state.bulk_parts.is_empty());

    let first = part(0, "+34600000001");
    world.when(EventData::BulkRecipientsAdded(first.clone()));
    world.when(created(1, None));
    world.unmoved_by(discarded);
    let erased = first.rewritten(|recipient| recipient.phone == "+34600000001");
    assert_eq!((erased.part, erased.recipients[0].is_erased()), (1 << 16, true));
    world.when(EventData::BulkRecipientsAdded(erased.clone()));
    assert_eq!(world.state.bulk_parts[&(TENANT, BULK, 0)], erased);
}

#[test]
fn a_bulk_keeps_its_numbers_when_a_recipient_is_erased() {
    let erased = EventData::BulkRecipientsErased {
        bulk_id: BULK,
        recipients: vec![(0, RecipientResult::Read), (7, RecipientResult::Sent)],
    };
    let read = EventData::MessageRead(status_of(0, None));
    let common = [created(2, None), claimed(0, 1, &[])];
    let mut live = World::given(common.clone().into_iter().chain([queued_to(0), read]));
    live.unmoved_by(erased.clone());
    // The messages are gone from the log.
    let mut state = World::given(common).state;
    fold(&mut state, &event_of(TENANT, NOON, "system", erased.clone()));
    fold(&mut state, &event_of(TENANT, NOON, "system", erased));
    let rebuilt = &state.bulks[&(TENANT, BULK)];
    assert_eq!(rebuilt.progress.counts, live.bulk().progress.counts);
    assert_eq!(rebuilt.waiting(), 1);
}

#[test]
fn a_message_of_a_bulk_that_nobody_knows_is_of_none() {
    let mut world = World::given([queued_to(0), created(1, None)]);
    assert_eq!(world.state.messages[&(TENANT, bulk::message_id(BULK, 0))].bulk_id, None);
    world.when(sent_to(0));
    assert_eq!(world.numbers_of_bulk(), [1, 0, 0, 0, 0, 0, 0]);
}

/// How one recipient's message really went.
#[derive(Debug, Clone, Copy)]
struct Course {
    left_out: bool,
    /// Of sent, delivered, read, failed.
    statuses: [bool; 4],
}

fn a_course() -> impl Strategy<Value = Course> {
    (prop::bool::weighted(0.1), any::<[bool; 4]>())
        .prop_map(|(left_out, statuses)| Course { left_out, statuses })
}

/// What a recount by hand makes of a course.
fn expected(course: Course) -> Option<RecipientResult> {
    let [sent, delivered, read, failed] = course.statuses;
    Some(match course {
        Course { left_out: true, .. } => RecipientResult::OptedOut,
        _ if read => RecipientResult::Read,
        _ if delivered => RecipientResult::Delivered,
        _ if failed => RecipientResult::Failed,
        _ if sent => RecipientResult::Sent,
        _ => RecipientResult::InDoubt,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Statuses in any order, repeated, by our id or only by the provider's, over batches of any
    /// size that are claimed twice: the counters end as the courses say, and add up on the way
    /// (which `fold_checked` sees to after every event).
    #[test]
    fn counters_are_what_really_happened(
        courses in vec(a_course(), 1..12),
        batch in 1u32..5,
        order in vec(any::<Index>(), 0..80),
        repeated in vec(any::<Index>(), 0..20),
        reverse: bool,
    ) {
        let total = courses.len() as u32;
        let mut world = World::given([created(total, None)]);
        for first in (0..total).step_by(batch as usize) {
            let count = batch.min(total - first);
            let numbers = first..first + count;
            let left_out: Vec<u32> =
                numbers.clone().filter(|&number| courses[number as usize].left_out).collect();
            for number in numbers.filter(|number| !left_out.contains(number)) {
                world.when(queued_to(number));
            }
            world.when(claimed(first, count, &left_out));
            // A claim that is repeated, as after an append whose answer was lost.
            world.when(claimed(first, count, &left_out));
        }
        let mut told = Vec::new();
        for (number, course) in (0u32..).zip(&courses).filter(|(_, course)| !course.left_out) {
            world.when(started_to(number));
            let makers: [fn(StatusChange) -> EventData; 4] = [
                EventData::MessageSent,
                EventData::MessageDelivered,
                EventData::MessageRead,
                EventData::MessageFailed,
            ];
            for (index, make) in makers.into_iter().enumerate() {
                if course.statuses[index] {
                    told.push(make(status_of(number, (index == 3).then_some(131_026))));
                }
            }
        }
        if reverse {
            told.reverse();
        }
        if !told.is_empty() {
            for (place, index) in order.iter().enumerate().take(told.len()) {
                let other = index.index(told.len());
                told.swap(place, other);
            }
            for index in repeated {
                told.push(told[index.index(told.len())].clone());
            }
        }
        for event in told {
            world.when(event);
        }
        let mut counts = BulkCounts::default();
        let mut left_out = 0;
        for (number, course) in (0u32..).zip(&courses) {
            let result = expected(*course);
            prop_assert_eq!(world.result_of(number), result);
            counts.add(result.map(BulkCounts::of).unwrap_or_default());
            left_out += i64::from(course.left_out);
        }
        prop_assert_eq!(world.bulk().progress.counts, counts);
        prop_assert_eq!(world.bulk().total(), i64::from(total) - left_out);
        prop_assert_eq!(world.bulk().waiting(), 0);
        prop_assert!(world.bulk().is_claimed());
    }
}

#[test]
fn a_merged_contacts_message_still_counts() {
    let events = [opened(1, "Ana"), opened(2, "Ana"), created(1, None), queued_to(0)];
    let mut world = World::given(events);
    world.when(merged(1, 2));
    world.when(sent_to(0));
    assert_eq!(world.numbers_of_bulk(), [0, 0, 1, 0, 0, 0, 0]);
    let kept = world.state.bulk_recipients[&(TENANT, BULK, 0)];
    assert_eq!(
        kept,
        BulkRecipient { result: RecipientResult::Sent, conversation_id: Some(ConversationId(2)) }
    );
}
