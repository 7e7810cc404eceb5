//! How fast the embedded log stores and is read, against a bare group-committing SQLite writer in
//! the same process: same file system, same pragmas, same payloads, nothing but INSERT and COMMIT.
//!
//! `cargo bench --bench append`; seconds a cell in `APPEND_BENCH_SECONDS` (default 2).

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[path = "bare_writer/table.rs"]
mod table;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use condorito::{
    command::{Actor, Commands, view::View},
    domain::{
        bot::Bot,
        bulk::Bulk,
        conversation::{Contact, Conversation},
        ids::{BulkId, ClientId, ConversationId, IdentityHash, MessageId, Position},
        intake::{Intake, IntakeMessage},
        message::{Direction, Message, MessageKind},
        time::Timestamp,
        whatsapp::WhatsApp,
    },
    event_log::{
        Append, EventLog, Expected, StreamName, Tail, contract, memory::MemoryLog, record,
        sqlite::SqliteLog,
    },
    projection::queries::{MessageName, OldAnswers, QueryError},
    runtime::clock::{Clock, SystemClock},
};
use futures_util::StreamExt;
use tokio::sync::{mpsc, oneshot, watch};

const CONCURRENCIES: [usize; 4] = [1, 16, 64, 256];
const CONTACTS: u32 = 1000;
/// Bytes of text that make an event's envelope about 600 bytes long.
const TEXT_BYTES: usize = 230;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(measure());
}

async fn measure() {
    let seconds = std::env::var("APPEND_BENCH_SECONDS").ok().and_then(|text| text.parse().ok());
    let time = Duration::from_secs_f64(seconds.unwrap_or(2.0));
    println!(
        "{:>12} {:>12} {:>12} {:>12} {:>8} {:>8}",
        "concurrency", "bare/s", "log/s", "take_in/s", "log", "take_in"
    );
    for concurrency in CONCURRENCIES {
        let bare = bare(concurrency, time).await;
        let log = log(concurrency, time).await;
        let commands = commands(concurrency, time).await;
        println!(
            "{concurrency:>12} {bare:>12.0} {log:>12.0} {commands:>12.0} {:>8.2} {:>8.2}",
            log / bare,
            commands / bare
        );
    }
    println!(
        "take_in of one known contact's message, log in memory, one task: {:.0}/s",
        hot(time).await
    );
    println!("following the past from the file: {:.0} events/s", past().await);
}

fn folder() -> tempfile::TempDir {
    // Beside the target folder: /tmp may be a disk in memory.
    tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a folder")
}

/// Runs `work` in `concurrency` tasks for `time`; gives how often it was done a second.
async fn rate<W, F>(concurrency: usize, time: Duration, work: W) -> f64
where
    W: Fn(u32) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = ()> + Send,
{
    let started = Instant::now();
    let tasks = (0..concurrency).map(|task| {
        let work = work.clone();
        tokio::spawn(async move {
            let mut done = 0u32;
            while started.elapsed() < time {
                work(done * concurrency as u32 + task as u32).await;
                done += 1;
            }
            done
        })
    });
    let done = futures_util::future::join_all(tasks).await;
    let done: u32 = done.into_iter().map(|done| done.expect("ends")).sum();
    f64::from(done) / started.elapsed().as_secs_f64()
}

fn event(number: u32) -> condorito::domain::event::Event {
    let mut event = contract::event(number);
    event.actor = "x".repeat(TEXT_BYTES);
    event
}

type Row = (String, u32, String, oneshot::Sender<()>);

/// The baseline.
async fn bare(concurrency: usize, time: Duration) -> f64 {
    let folder = folder();
    let (rows, queue) = mpsc::channel::<Row>(4096);
    let path = folder.path().join("bare.db");
    let writer = std::thread::spawn(move || bare_writer(&path, queue));
    let rate = rate(concurrency, time, move |number| {
        let rows = rows.clone();
        async move {
            let (reply, done) = oneshot::channel();
            let stream = StreamName::Conversation(ClientId(1), ConversationId(number % CONTACTS));
            let json = record::encode(&stream, &event(number)).expect("encodes");
            rows.send((stream.to_string(), number, json, reply)).await.expect("is taken");
            done.await.expect("is stored");
        }
    })
    .await;
    writer.join().expect("ends");
    rate
}

fn bare_writer(path: &Path, mut queue: mpsc::Receiver<Row>) {
    const GROUP_MAX: usize = 256;
    let connection = table::open(path);
    while let Some(first) = queue.blocking_recv() {
        let mut replies = Vec::new();
        connection.execute_batch("BEGIN IMMEDIATE").expect("begins");
        let mut next = Some(first);
        while let Some((stream, revision, json, reply)) = next {
            let mut insert = connection.prepare_cached(table::INSERT).expect("prepares");
            insert.execute((stream, revision, json)).expect("inserts");
            replies.push(reply);
            next = if replies.len() < GROUP_MAX { queue.try_recv().ok() } else { None };
        }
        connection.execute_batch("COMMIT").expect("commits");
        for reply in replies {
            let _ = reply.send(());
        }
    }
}

fn append(number: u32) -> Append {
    Append {
        stream: StreamName::Conversation(ClientId(1), ConversationId(number % CONTACTS)),
        expected: Expected::Any,
        events: vec![event(number)],
    }
}

async fn log(concurrency: usize, time: Duration) -> f64 {
    let folder = folder();
    let log = Arc::new(SqliteLog::open(&folder.path().join("log.db")).expect("opens"));
    let appending = Arc::clone(&log);
    let rate = rate(concurrency, time, move |number| {
        let log = Arc::clone(&appending);
        async move {
            log.append(vec![append(number)]).await.expect("appends");
        }
    })
    .await;
    log.close().await;
    rate
}

async fn commands(concurrency: usize, time: Duration) -> f64 {
    let folder = folder();
    let log = Arc::new(SqliteLog::open(&folder.path().join("log.db")).expect("opens"));
    let commands = known_contacts(Arc::clone(&log) as Arc<dyn EventLog>).await;
    let rate = rate(concurrency, time, move |number| take_in(Arc::clone(&commands), number)).await;
    log.close().await;
    rate
}

async fn hot(time: Duration) -> f64 {
    let commands = known_contacts(Arc::new(MemoryLog::default())).await;
    rate(1, time, move |number| take_in(Arc::clone(&commands), number)).await
}

async fn known_contacts(log: Arc<dyn EventLog>) -> Arc<Commands> {
    let clock = Arc::new(SystemClock) as Arc<dyn Clock>;
    let commands = Commands::over(log, Arc::new(Nothing::default()), clock);
    let items = (0..CONTACTS).map(|number| message(number, "first")).collect();
    commands.take_in(ClientId(1), &Actor("bench".to_owned()), items).await.expect("takes in");
    Arc::new(commands)
}

async fn take_in(commands: Arc<Commands>, number: u32) {
    let actor = Actor("bench".to_owned());
    let items = vec![message(number, "next")];
    commands.take_in(ClientId(1), &actor, items).await.expect("takes in");
}

fn message(number: u32, which: &str) -> Intake {
    let contact = Contact {
        phone: Some(format!("+34600{:06}", number % CONTACTS)),
        wa_id: Some(format!("34600{:06}", number % CONTACTS)),
        name: Some("Ana".to_owned()),
        ..Contact::default()
    };
    let message = IntakeMessage {
        direction: Direction::Inbound,
        wa_message_id: format!("wamid.{which}.{number}"),
        dedupe_key: format!("wamid.{which}.{number}"),
        kind: MessageKind::Text,
        text: Some("x".repeat(TEXT_BYTES)),
        media: None,
        payload: None,
        reply_to: None,
        sent_at: Timestamp(1_795_515_330_000),
        imported: false,
        status: None,
        by_api: false,
    };
    Intake::Message { contact, message }
}

/// Reads a log of many events from its beginning, as a rebuild does.
async fn past() -> f64 {
    const EVENTS: u32 = 300_000;
    let folder = folder();
    let log = SqliteLog::open(&folder.path().join("log.db")).expect("opens");
    for part in 0..EVENTS / 1000 {
        let batch = (part * 1000..(part + 1) * 1000).map(append).collect();
        log.append(batch).await.expect("appends");
    }
    let started = Instant::now();
    let mut tail = log.tail(Position::START);
    let mut seen = 0;
    while let Some(Ok(Tail::Records(records))) = tail.next().await {
        seen += records.len();
    }
    assert_eq!(seen, EVENTS as usize);
    let rate = f64::from(EVENTS) / started.elapsed().as_secs_f64();
    log.close().await;
    rate
}

/// A read model without anything in it.
struct Nothing(watch::Sender<Position>);

impl Default for Nothing {
    fn default() -> Self {
        Self(watch::channel(Position::START).0)
    }
}

#[async_trait]
impl View for Nothing {
    fn projected(&self) -> watch::Receiver<Position> {
        self.0.subscribe()
    }
    async fn identities(
        &self,
        _: ClientId,
        hashes: Vec<IdentityHash>,
    ) -> Result<Vec<Option<ConversationId>>, QueryError> {
        Ok(vec![None; hashes.len()])
    }
    async fn highest_conversation(
        &self,
        _: ClientId,
    ) -> Result<Option<ConversationId>, QueryError> {
        Ok(None)
    }
    async fn conversation(
        &self,
        _: ClientId,
        _: ConversationId,
    ) -> Result<Option<Conversation>, QueryError> {
        Ok(None)
    }
    async fn message(&self, _: ClientId, _: MessageId) -> Result<Option<Message>, QueryError> {
        Ok(None)
    }
    async fn conversations(
        &self,
        _: ClientId,
        _: Vec<ConversationId>,
    ) -> Result<Vec<Conversation>, QueryError> {
        Ok(Vec::new())
    }
    async fn conversations_of(
        &self,
        _: ClientId,
        messages: Vec<MessageName>,
    ) -> Result<Vec<Option<ConversationId>>, QueryError> {
        Ok(vec![None; messages.len()])
    }
    async fn answers_of(
        &self,
        _: ClientId,
        _: Vec<ConversationId>,
    ) -> Result<Vec<String>, QueryError> {
        Ok(Vec::new())
    }
    async fn old_answers(&self, _: Timestamp, _: usize) -> Result<Vec<OldAnswers>, QueryError> {
        Ok(Vec::new())
    }
    fn erasures(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }
    async fn is_erased(&self, _: ClientId, _: ConversationId) -> Result<bool, QueryError> {
        Ok(false)
    }
    async fn erased_identities(
        &self,
        _: usize,
    ) -> Result<Vec<(ClientId, IdentityHash, Timestamp)>, QueryError> {
        Ok(Vec::new())
    }
    async fn with_merged(
        &self,
        _: ClientId,
        id: ConversationId,
    ) -> Result<Vec<ConversationId>, QueryError> {
        Ok(vec![id])
    }
    async fn identities_of(
        &self,
        _: ClientId,
        _: Vec<ConversationId>,
    ) -> Result<Vec<IdentityHash>, QueryError> {
        Ok(Vec::new())
    }
    async fn bot(&self, _: ClientId) -> Result<Bot, QueryError> {
        Ok(Bot::default())
    }
    async fn whatsapp(&self, _: ClientId) -> Result<WhatsApp, QueryError> {
        Ok(WhatsApp::default())
    }
    async fn day(&self, _: ClientId) -> Result<Option<(String, String)>, QueryError> {
        Ok(None)
    }
    async fn bulk(&self, _: ClientId, _: BulkId) -> Result<Option<Bulk>, QueryError> {
        Ok(None)
    }
    async fn conversations_of_contacts(
        &self,
        _: ClientId,
        hashes: Vec<IdentityHash>,
    ) -> Result<Vec<Option<Conversation>>, QueryError> {
        Ok(vec![None; hashes.len()])
    }
}
