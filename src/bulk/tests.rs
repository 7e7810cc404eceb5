//! The runner over a read model, with a sender that is not there, or does as it is told.

use std::collections::{HashMap, HashSet};

use tempfile::TempDir;

use super::*;
use crate::{
    command::{
        Actor, Answer,
        bulk::Begun,
        outbox::{Claim, Outcome, Settled},
    },
    domain::{
        bulk::{BulkSpec, Recipient, RecipientResult, content::BulkContent},
        event::EventData,
        ids::EventId,
    },
    event_log::{EventLog, Record, StreamName, Tail, memory::MemoryLog},
    projection::{
        CommittedBatch, FeedSink, follow, queries::BulkRecipientFilter, read_model::ReadModel,
        settings::ProjectionSettings,
    },
    runtime::clock::ManualClock,
};

const CLIENT: ClientId = ClientId(1);
const NOON: Timestamp = Timestamp(1_795_521_600_000);
const STUCK: Duration = Duration::from_secs(30);

struct NoFeed;

impl FeedSink for NoFeed {
    fn committed(&self, _: &CommittedBatch) {}
}

/// One instance over a log.
struct Instance {
    commands: Arc<Commands>,
    queries: Queries,
    shutdown: Shutdown,
    _folder: TempDir,
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.shutdown.draining.cancel();
        self.shutdown.stopping.cancel();
    }
}

impl Instance {
    async fn start(log: &Arc<dyn EventLog>, clock: &Arc<ManualClock>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("read-model.db");
        let settings = ProjectionSettings { path, readers: 2, ..ProjectionSettings::default() };
        let head = log.head().await.expect("a log in memory");
        let model = ReadModel::open(&settings, &log.identity().epoch, head).expect("a read model");
        let queries = Queries::open(&model).expect("connections");
        let shutdown = Shutdown::new();
        let clock = Arc::clone(clock) as Arc<dyn Clock>;
        let sink = Arc::new(NoFeed);
        follow::follow(model, Arc::clone(log), sink, Arc::clone(&clock), &shutdown)
            .expect("a projector");
        let commands = Arc::new(Commands::new(Arc::clone(log), queries.clone(), clock));
        Self { commands, queries, shutdown, _folder: folder }
    }

    fn run(&self, clock: &Arc<ManualClock>, settings: BulkSettings) {
        let clock = Arc::clone(clock) as Arc<dyn Clock>;
        let (commands, queries) = (Arc::clone(&self.commands), self.queries.clone());
        Runner::new(commands, queries, clock, settings, Arc::new(|_| true)).start(&self.shutdown);
    }

    async fn take_in(&self, count: u32, rate_per_second: f64, at: Option<Timestamp>) -> BulkId {
        let actor = Actor("user:ann".to_owned());
        let begun = self.commands.begin_bulk(CLIENT, &actor, None).await.expect("begins");
        let Begun::Draft(mut draft) = begun else { panic!("it was not done before") };
        let parts = vec![(0..count).map(recipient).collect()];
        self.commands.add_recipients(&mut draft, parts).await.expect("stored");
        let spec = BulkSpec {
            name: "sale".to_owned(),
            content: BulkContent::Text { text: "hola".to_owned() },
            columns: Vec::new(),
            recipients: count,
            rate_per_second,
            scheduled_at: at,
        };
        let answer = |_: &Bulk| Answer { status: 202, body: serde_json::Value::Null };
        self.commands.create_bulk(&draft, spec, answer).await.expect("created");
        draft.id
    }

    async fn bulk_until(&self, id: BulkId, wanted: impl Fn(&Bulk) -> bool) -> Bulk {
        let until = async {
            loop {
                let found = self.queries.bulk(CLIENT, id).await.expect("read");
                if let Some(bulk) = found.filter(|bulk| wanted(bulk)) {
                    return bulk;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(STUCK, until).await.expect("the bulk becomes as wanted")
    }

    /// Looks a few times more: nothing changes.
    async fn bulk_stays(&self, id: BulkId, clock: &ManualClock) -> Bulk {
        let before = self.queries.bulk(CLIENT, id).await.expect("read").expect("a bulk");
        for _ in 0..5 {
            clock.advance_ms(1);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let after = self.queries.bulk(CLIENT, id).await.expect("read").expect("a bulk");
        assert_eq!(before, after);
        after
    }

    /// Sends what is queued, as the outbox does: claims, then settles.
    fn send(&self, log: &Arc<dyn EventLog>, outcome: fn(u64) -> Outcome) {
        let (log, commands) = (Arc::clone(log), Arc::clone(&self.commands));
        let stopping = self.shutdown.stopping.clone();
        let sending = async move {
            let mut tail = log.tail(Position::START);
            let mut sent = 0;
            while let Some(Ok(next)) = tail.next().await {
                let Tail::Records(records) = next else { continue };
                for record in records.iter() {
                    if let EventData::MessageQueued(queued) = &record.event.data {
                        sent += 1;
                        let (conversation, message) = (queued.conversation_id, queued.message_id);
                        let stream = StreamName::Conversation(CLIENT, conversation);
                        let claimed = log.read_stream(&stream, None, 1000).await.expect("read");
                        let expected = claimed.last().expect("it is in there").revision;
                        let event = EventId(uuid::Uuid::now_v7());
                        let claim =
                            Claim { client: CLIENT, conversation, message, event, expected };
                        if commands.claim(&[claim]).await.is_err() {
                            continue;
                        }
                        let outcome = outcome(sent);
                        let settled = Settled { client: CLIENT, conversation, message, outcome };
                        commands.settle(&[settled]).await.expect("settled");
                    }
                }
            }
        };
        self.shutdown.spawn(async move { stopping.run_until_cancelled(sending).await });
    }
}

fn recipient(number: u32) -> Recipient {
    Recipient { phone: format!("+3460000{number:04}"), ..Recipient::default() }
}

fn sent(number: u64) -> Outcome {
    let id = format!("wamid.{number}");
    Outcome::Sent { wa_message_id: id.clone(), dedupe_key: id }
}

fn stage() -> (Arc<dyn EventLog>, Arc<ManualClock>) {
    (Arc::new(MemoryLog::default()), Arc::new(ManualClock::at(NOON)))
}

/// Lets the clock run, fast.
fn run_clock(clock: &Arc<ManualClock>, shutdown: &Shutdown) {
    let (clock, stopping) = (Arc::clone(clock), shutdown.stopping.clone());
    let running = async move {
        loop {
            clock.advance_ms(20);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    shutdown.spawn(async move { stopping.run_until_cancelled(running).await });
}

async fn records(log: &Arc<dyn EventLog>) -> Vec<Record> {
    log.read(Position::START, usize::MAX).await.expect("a log in memory")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_runners_over_one_log_queue_each_recipient_once_at_one_pace() {
    let (log, clock) = stage();
    let a = Instance::start(&log, &clock).await;
    let b = Instance::start(&log, &clock).await;
    let settings = BulkSettings { queued_ahead_ms: 60_000, ..BulkSettings::default() };
    let id = a.take_in(300, 100.0, None).await;
    a.run(&clock, settings.clone());
    b.run(&clock, settings);
    // A second of the pace, however many look.
    for _ in 0..50 {
        clock.advance_ms(20);
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
    let bulk = a.bulk_until(id, |bulk| bulk.progress.next >= 90).await;
    assert!(bulk.progress.next <= 101, "{} claimed within a second", bulk.progress.next);
    run_clock(&clock, &a.shutdown);
    a.bulk_until(id, Bulk::is_claimed).await;
    let mut queued = HashMap::new();
    for record in records(&log).await {
        if let EventData::MessageQueued(message) = &record.event.data {
            *queued.entry(message.message_id).or_insert(0) += 1;
        }
    }
    assert_eq!(queued.len(), 300);
    assert!(queued.values().all(|times| *times == 1), "a message was queued twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bulk_is_worked_off_and_completes_with_what_is_in_doubt() {
    let (log, clock) = stage();
    let instance = Instance::start(&log, &clock).await;
    instance.run(&clock, BulkSettings { in_doubt_wait_ms: 2_000, ..BulkSettings::default() });
    instance.send(&log, |number| if number == 7 { Outcome::Doubted } else { sent(number) });
    let id = instance.take_in(50, 200.0, Some(NOON.plus_ms(500))).await;
    let waiting = instance.bulk_until(id, |_| true).await;
    assert_eq!(waiting.progress.status, BulkStatus::Scheduled);
    run_clock(&clock, &instance.shutdown);
    let bulk = instance.bulk_until(id, |bulk| bulk.progress.status == BulkStatus::Completed).await;
    let counts = bulk.progress.counts;
    assert_eq!((counts.sent, counts.in_doubt, bulk.waiting()), (49, 1, 0));
    assert!(bulk.progress.started_at >= Some(NOON.plus_ms(500)));
    let completed = records(&log).await;
    let completed = completed
        .iter()
        .filter(|record| matches!(record.event.data, EventData::BulkCompleted { .. }));
    assert_eq!(completed.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_is_queued_ahead_than_the_bound() {
    let (log, clock) = stage();
    let instance = Instance::start(&log, &clock).await;
    instance.run(&clock, BulkSettings { queued_ahead_ms: 500, ..BulkSettings::default() });
    let id = instance.take_in(200, 100.0, None).await;
    for _ in 0..20 {
        clock.advance_ms(100);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    instance.bulk_until(id, |bulk| bulk.progress.counts.queued == 50).await;
    clock.advance_ms(10_000);
    let bulk = instance.bulk_stays(id, &clock).await;
    assert_eq!(bulk.progress.counts.queued, 50, "nobody sends, so nothing more is queued");
    instance.send(&log, sent);
    run_clock(&clock, &instance.shutdown);
    instance.bulk_until(id, |bulk| bulk.progress.status == BulkStatus::Completed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bulk_stops_when_the_number_is_refused() {
    let (log, clock) = stage();
    let instance = Instance::start(&log, &clock).await;
    instance.run(&clock, BulkSettings::default());
    let id = instance.take_in(200, 10.0, None).await;
    instance.bulk_until(id, |bulk| bulk.progress.status == BulkStatus::Running).await;
    let error = ProviderError {
        code: 190,
        title: "The token has expired".to_owned(),
        detail: String::new(),
    };
    instance.commands.number_refused(CLIENT, &error).await.expect("told");
    let bulk = instance.bulk_until(id, |bulk| bulk.progress.status == BulkStatus::Failed).await;
    let refusal = bulk.progress.refusal.expect("why");
    assert!(refusal.detail.contains("The token has expired (190)"), "{refusal:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stored_of_a_bulk_that_never_was_is_swept() {
    let (log, clock) = stage();
    let instance = Instance::start(&log, &clock).await;
    let actor = Actor("user:ann".to_owned());
    let begun = instance.commands.begin_bulk(CLIENT, &actor, None).await.expect("begins");
    let Begun::Draft(mut draft) = begun else { panic!("it was not done before") };
    let parts = vec![vec![recipient(0)], vec![recipient(1)]];
    instance.commands.add_recipients(&mut draft, parts).await.expect("stored");
    let unfinished = async |wanted: usize| {
        let until = async {
            while instance.queries.unfinished_bulks(9).await.expect("read").len() != wanted {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(STUCK, until).await.expect("in time");
    };
    unfinished(1).await;
    // The clock of ids is the machine's: what is young stays.
    let now = i64::try_from(draft.id.0.as_u128() >> 80).expect("a time");
    let young = Arc::new(ManualClock::at(Timestamp(now + TAKING_IN_MAX_MS / 2)));
    let old = Arc::new(ManualClock::at(Timestamp(now + TAKING_IN_MAX_MS * 2)));
    let runner = |clock: Arc<ManualClock>| {
        let (commands, queries) = (Arc::clone(&instance.commands), instance.queries.clone());
        Runner::new(commands, queries, clock, BulkSettings::default(), Arc::new(|_| true))
    };
    runner(young).sweep().await;
    unfinished(1).await;
    runner(old).sweep().await;
    unfinished(0).await;
    let left = records(&log).await;
    let left =
        left.iter().filter(|record| matches!(record.event.data, EventData::BulkRecipientsAdded(_)));
    assert_eq!(left.count(), 0, "no number of anybody is left in the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erased_person_is_in_no_bulk_any_more() {
    let (log, clock) = stage();
    let instance = Instance::start(&log, &clock).await;
    let id = instance.take_in(5, 100.0, Some(NOON.plus_ms(3_600_000))).await;
    instance.bulk_until(id, |_| true).await;
    let actor = Actor("user:ann".to_owned());
    let erase = async || {
        let (commands, queries) = (&instance.commands, &instance.queries);
        let they = commands.identities_of_phone(CLIENT, &recipient(2).phone);
        commands.erase_from_bulks(queries, CLIENT, &actor, &they).await.expect("erased")
    };
    assert_eq!(erase().await, 1);
    assert_eq!(erase().await, 0, "doing it again finds nobody");
    for record in records(&log).await {
        let text = serde_json::to_string(&record.event.data).expect("JSON");
        assert!(!text.contains(&recipient(2).phone), "{text}");
    }
    let rebuilt = Instance::start(&log, &clock).await;
    rebuilt.bulk_until(id, |_| true).await;
    for instance in [&instance, &rebuilt] {
        let filter = BulkRecipientFilter { limit: 100, ..BulkRecipientFilter::default() };
        let page = instance.queries.bulk_recipients(CLIENT, id, filter).await.expect("read");
        let rows = page.expect("a bulk").items;
        let known: HashSet<_> = rows.iter().filter(|row| row.recipient.is_some()).collect_numbers();
        assert_eq!(known, HashSet::from([0, 1, 3, 4]));
    }
    // When its time comes, they are left out.
    instance.run(&clock, BulkSettings::default());
    clock.advance_ms(3_600_000);
    run_clock(&clock, &instance.shutdown);
    let bulk = instance.bulk_until(id, Bulk::is_claimed).await;
    assert_eq!((bulk.total(), bulk.progress.left_out), (4, 1));
    let filter = BulkRecipientFilter {
        result: Some(RecipientResult::Erased),
        limit: 100,
        ..BulkRecipientFilter::default()
    };
    let page = instance.queries.bulk_recipients(CLIENT, id, filter).await.expect("read");
    assert_eq!(page.expect("a bulk").items.iter().collect_numbers(), HashSet::from([2]));
}

trait Numbers {
    fn collect_numbers(self) -> HashSet<u32>;
}

impl<'a, I: Iterator<Item = &'a crate::projection::queries::BulkRecipientRow>> Numbers for I {
    fn collect_numbers(self) -> HashSet<u32> {
        self.map(|row| row.number).collect()
    }
}
