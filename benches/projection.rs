//! The projection's speed: `cargo bench --bench projection`.
//!
//! Rebuild (from the SQLite log, reading included), catching up through `Queries::feed`, and the
//! live mode, each beside a bare rusqlite loop that writes or reads the same rows in the same
//! run. `EVENTS=1000000` sets the length of the log; run it under `taskset -c 0` for the figures
//! of a single core.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use condorito::{
    domain::{
        conversation::Contact,
        event::{Event, EventData, IncomingMessage, QueuedMessage, StatusChange},
        ids::{ClientId, ConversationId, EventId, MessageId},
        message::{MessageKind, Sender},
        time::Timestamp,
    },
    event_log::{Append, EventLog, Expected, StreamName, memory::MemoryLog, sqlite::SqliteLog},
    projection::{
        CommittedBatch, FeedSink, follow::follow, queries::Queries, read_model::ReadModel,
        rebuild::rebuild, settings::ProjectionSettings,
    },
    runtime::{clock::ManualClock, shutdown::Shutdown},
    wire::cursor::Cursor,
};
use rusqlite::{Connection, params, types::Value};
use uuid::Uuid;

const START: Timestamp = Timestamp(1_795_521_600_000);
const CONVERSATIONS: u32 = 2000;
/// A minute of an agent's work in 200 bytes.
const TEXT: &str = "Buenas tardes, quería saber si el pedido que hice el martes ya salió del \
    depósito, porque necesito recibirlo antes del viernes por la mañana; si no, prefiero \
    cambiar la dirección de entrega. Gracias";

struct Nobody(AtomicU64);

impl FeedSink for Nobody {
    fn committed(&self, batch: &CommittedBatch) {
        self.0.fetch_add(batch.frames.len() as u64, Ordering::Relaxed);
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let count: u64 =
        std::env::var("EVENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(600_000);
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Arc::new(ManualClock::at(START));
    println!("{count} events: half messages of {} bytes, half statuses", TEXT.len());

    let mut rates = Vec::new();
    for (tenants, part) in [(1, count / 4), (1, count), (500, count)] {
        let log = Arc::new(stored_log(folder.path(), part, tenants).await);
        let settings = settings(folder.path(), &format!("rebuilt-{tenants}-{part}.db"));
        let started = Instant::now();
        let done = rebuild(&settings, log, clock.clone(), |_| ()).await.expect("rebuilds");
        let rate = rate(done.events, started.elapsed());
        rates.push(rate);
        let bytes = std::fs::metadata(&settings.path).expect("a file").len();
        println!(
            "rebuild, {tenants} tenants, {part} events: {rate:.0}/s, {} MB, peak RSS {} MB",
            bytes >> 20,
            peak_rss_mb()
        );
    }
    println!("  at four times the length: {:.2} of the rate", rates[1] / rates[0]);
    let rebuilt = settings(folder.path(), &format!("rebuilt-1-{count}.db"));
    let bare = bare_inserts(folder.path(), &rebuilt.path);
    let per_event = bare.as_secs_f64() / count as f64;
    println!(
        "  a bare loop inserting the same rows: {:.0} events/s; rebuild is {:.2} of it",
        1.0 / per_event,
        rates[1] * per_event
    );

    catch_up(&rebuilt).await;
    live(folder.path(), clock, count / 4).await;
}

fn settings(folder: &Path, name: &str) -> ProjectionSettings {
    ProjectionSettings { path: folder.join(name), ..ProjectionSettings::default() }
}

fn rate(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

fn peak_rss_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

async fn stored_log(folder: &Path, count: u64, tenants: u32) -> SqliteLog {
    let path = folder.join(format!("log-{tenants}-{count}.db"));
    let log = SqliteLog::open(&path).expect("opens");
    let events: Vec<u64> = (0..count).collect();
    for chunk in events.chunks(2000) {
        let entries = chunk.iter().map(|&n| entry(n, tenants)).collect();
        log.append(entries).await.expect("appends");
    }
    log
}

fn entry(n: u64, tenants: u32) -> Append {
    let event = event(n, tenants);
    let stream = StreamName::Conversation(
        event.client_id,
        event.data.conversation_id().expect("of a conversation"),
    );
    Append { stream, expected: Expected::Any, events: vec![event] }
}

/// Of six events: two received, one queued, and that one's sent, delivered and read, each some
/// hundred events behind, as it is in life.
fn event(n: u64, tenants: u32) -> Event {
    const BEHIND: u64 = 120;
    let (group, step) = (n / 6, n % 6);
    // The group that this event speaks of: statuses come later than their message.
    let about = match step {
        0..=2 => group,
        _ => group.saturating_sub(BEHIND * (step - 2)),
    };
    let client_id = ClientId(1 + (about % u64::from(tenants)) as u32);
    let conversation_id = ConversationId(1 + (about * 7919 % u64::from(CONVERSATIONS)) as u32);
    let id = |kind: u64, group: u64| {
        let unix_ms = (START.0 as u64 + group) << 16;
        MessageId(Uuid::from_u64_pair(unix_ms | 0x7000 | kind, group.wrapping_mul(0x9e37_79b9)))
    };
    let time = START.plus_ms(n as i64 / 10);
    let sent = id(2, about);
    let key = format!("wamid.HBgNNTQ5MTE1NTU1MDAwMBUCABIYFjNFQjA{:016x}", about * 3 + 2);
    let status = StatusChange {
        conversation_id,
        message_id: (step == 3).then_some(sent),
        dedupe_key: Some(key.clone()),
        wa_message_id: Some(key),
        at: time,
        error: None,
    };
    let data = match step {
        0 | 1 => {
            let key = format!("wamid.HBgNNTQ5MTE1NTU1MDAwMBUCABIYFjNFQjA{:016x}", about * 3 + step);
            EventData::MessageReceived(IncomingMessage {
                conversation_id,
                message_id: id(step, about),
                wa_message_id: key.clone(),
                dedupe_key: key,
                kind: MessageKind::Text,
                text: Some(format!("{TEXT} {about}")),
                media: None,
                payload: None,
                reply_to: None,
                sent_at: time,
                imported: false,
                status: None,
                by_api: false,
            })
        }
        2 if about < u64::from(CONVERSATIONS) => EventData::ConversationOpened {
            conversation_id,
            contact: Contact {
                phone: Some(format!("+54911{conversation_id:0>8}")),
                name: Some(format!("María José {conversation_id}")),
                ..Contact::default()
            },
        },
        2 => EventData::MessageQueued(QueuedMessage {
            conversation_id,
            message_id: sent,
            sender: Sender::Agent,
            kind: MessageKind::Text,
            text: Some(format!("{TEXT} {about}")),
            media: None,
            payload: None,
            reply_to: None,
            client_ref: None,
            bulk_id: None,
        }),
        3 => EventData::MessageSent(status),
        4 => EventData::MessageDelivered(status),
        _ => EventData::MessageRead(status),
    };
    let actor = "whatsapp_cloud".to_owned();
    let id = EventId(Uuid::from_u64_pair((START.0 as u64 + n) << 16 | 0x7000, n));
    Event { id, client_id, time, actor, causation: None, data }
}

/// The messages, feed rows and full-text entries of a read model, put into an empty one of the
/// same schema as fast as SQLite takes them, ready-made values, without a journal.
fn bare_inserts(folder: &Path, from: &Path) -> Duration {
    let source = Connection::open(from).expect("opens");
    let target = Connection::open(folder.join("bare.db")).expect("opens");
    target
        .execute_batch(
            "PRAGMA page_size = 8192; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; \
             PRAGMA cache_size = -65536;",
        )
        .expect("sets");
    target.execute_batch(include_str!("../src/projection/schema.sql")).expect("a schema");
    let mut took = Duration::ZERO;
    for table in ["message", "feed"] {
        let rows = all_rows(&source, table);
        let marks = vec!["?"; rows[0].len()].join(",");
        took += timed(&target, &format!("INSERT INTO {table} VALUES ({marks})"), &rows);
    }
    let texts = "message WHERE text IS NOT NULL";
    let rows: Vec<Vec<Value>> = all_rows(&source, texts)
        .into_iter()
        .map(|row| vec![row[0].clone(), row[15].clone()])
        .collect();
    took += timed(&target, "INSERT INTO message_words (rowid, words) VALUES (?, ?)", &rows);
    took
}

fn all_rows(source: &Connection, table: &str) -> Vec<Vec<Value>> {
    let mut select = source.prepare(&format!("SELECT * FROM {table}")).expect("prepares");
    let columns = select.column_count();
    let rows = select.query_map([], |row| (0..columns).map(|at| row.get(at)).collect());
    rows.expect("reads").map(|row| row.expect("a row")).collect()
}

fn timed(target: &Connection, sql: &str, rows: &[Vec<Value>]) -> Duration {
    let started = Instant::now();
    for chunk in rows.chunks(16_384) {
        let transaction = target.unchecked_transaction().expect("begins");
        let mut insert = transaction.prepare_cached(sql).expect("prepares");
        for row in chunk {
            insert.execute(rusqlite::params_from_iter(row)).expect("inserts");
        }
        drop(insert);
        transaction.commit().expect("commits");
    }
    started.elapsed()
}

async fn catch_up(settings: &ProjectionSettings) {
    let connection = Connection::open(&settings.path).expect("opens");
    let epoch: String =
        connection.query_row("SELECT epoch FROM meta", [], |row| row.get(0)).expect("an epoch");
    let started = Instant::now();
    let (mut after, mut bare) = (0i64, 0u64);
    loop {
        let mut page = connection
            .prepare_cached("SELECT row, json FROM feed WHERE row > ?1 ORDER BY row LIMIT 1000")
            .expect("prepares");
        let mut rows = page.query(params![after]).expect("reads");
        let before = bare;
        while let Some(row) = rows.next().expect("a row") {
            after = row.get(0).expect("a number");
            bare += u64::from(!row.get::<_, Vec<u8>>(1).expect("bytes").is_empty());
        }
        if bare == before {
            break;
        }
    }
    let bare_rate = rate(bare, started.elapsed());

    let model = ReadModel::open(settings, &epoch, condorito::domain::ids::Position(u64::MAX))
        .expect("opens");
    let queries = Queries::open(&model).expect("readers");
    let started = Instant::now();
    let (mut after, mut frames) = (Cursor::START, 0);
    loop {
        let page = queries.feed(ClientId(1), after, 1000).await.expect("a page");
        frames += page.frames.len() as u64;
        after = page.scanned_to;
        if page.at_head {
            break;
        }
    }
    let ours = rate(frames, started.elapsed());
    println!(
        "catch-up: {ours:.0} frames/s in pages of 1000; a bare loop {bare_rate:.0}/s, ratio {:.2}",
        ours / bare_rate
    );
}

/// A publisher that appends one message at a time, as fast as the projector, on the same cores.
async fn live(folder: &Path, clock: Arc<ManualClock>, count: u64) {
    let log = Arc::new(MemoryLog::default());
    let settings = settings(folder, "live.db");
    let model = ReadModel::open(&settings, &log.identity().epoch, log.head().await.expect("head"))
        .expect("opens");
    let queries = Queries::open(&model).expect("readers");
    let sink = Arc::new(Nobody(AtomicU64::new(0)));
    let shutdown = Shutdown::new();
    let mut following =
        follow(model, log.clone(), sink.clone(), clock, &shutdown).expect("follows");
    following.caught_up.wait_for(|caught_up| *caught_up).await.expect("catches up");
    let started = Instant::now();
    let mut last = condorito::domain::ids::Position::START;
    let mut messages = 0;
    for n in (0..count).filter(|n| n % 6 < 2) {
        last = log.append(vec![entry(n, 50)]).await.expect("appends")[0].position;
        messages += 1;
        // No more ahead than a gateway's requests would be.
        if messages % 64 == 0 {
            let behind = condorito::domain::ids::Position(last.0.saturating_sub(256));
            let cursor = Cursor { position: behind, ordinal: 0 };
            queries.at_least(cursor, Duration::from_secs(60)).await.expect("projects");
        }
    }
    let cursor = Cursor { position: last, ordinal: 0 };
    queries.at_least(cursor, Duration::from_secs(60)).await.expect("projects");
    let took = started.elapsed();
    println!(
        "live, at most 320 messages ahead: {:.0} messages/s, {} frames",
        rate(messages, took),
        sink.0.load(Ordering::Relaxed)
    );
    shutdown.stopping.cancel();
    following.ended().await.expect("ends in order");

    let bare = Connection::open(folder.join("bare-live.db")).expect("opens");
    bare.execute_batch(
        "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; \
         CREATE TABLE feed (row INTEGER PRIMARY KEY, json BLOB);",
    )
    .expect("a schema");
    let started = Instant::now();
    let json = vec![b'x'; 1400];
    for n in 0..messages {
        bare.prepare_cached("INSERT INTO feed VALUES (?1, ?2)")
            .and_then(|mut insert| insert.execute(params![n as i64, json]))
            .expect("inserts");
    }
    let bare_rate = rate(messages, started.elapsed());
    println!("  a bare insert of 1400 bytes per commit: {bare_rate:.0}/s");
}
