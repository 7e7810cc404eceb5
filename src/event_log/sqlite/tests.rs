//! The contract on SQLite, and what only a file can suffer.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::{
    domain::ids::{ClientId, ConversationId},
    event_log::{
        Expected,
        contract::{Case, Store, event, numbers, run},
    },
};

/// Set for a test that was started again as a child process: the folder to work in.
const CHILD_FOLDER: &str = "CONDORITO_TEST_LOG_FOLDER";

struct FileStore {
    folder: TempDir,
    ring_records: usize,
}

#[async_trait]
impl Store for FileStore {
    async fn open(&self) -> Arc<dyn EventLog> {
        let path = log_path(self.folder.path());
        let log = SqliteLog::open_with_ring(&path, self.ring_records, RING_BYTES_MAX);
        Arc::new(log.expect("opens"))
    }
    fn is_durable(&self) -> bool {
        true
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn log_path(folder: &Path) -> PathBuf {
    folder.join("log.db")
}

fn append(stream: u32, numbers: &[u32]) -> Append {
    Append {
        stream: StreamName::Conversation(ClientId(1), ConversationId(stream)),
        expected: Expected::Any,
        events: numbers.iter().copied().map(event).collect(),
    }
}

async fn all(log: &SqliteLog) -> Vec<u32> {
    let mut records: Vec<Record> = Vec::new();
    loop {
        let after = records.last().map_or(Position::START, |record| record.position);
        let page = log.read(after, 1000).await.expect("reads");
        if page.is_empty() {
            return numbers(&records);
        }
        records.extend(page);
    }
}

/// A log with a few events, closed.
async fn stored(path: &Path) {
    let log = SqliteLog::open(path).expect("opens");
    for part in 0..20 {
        let numbers: Vec<u32> = (part * 10..part * 10 + 10).collect();
        log.append(vec![append(part, &numbers)]).await.expect("appends");
    }
    log.close().await;
}

fn refusal(path: &Path) -> String {
    match SqliteLog::open(path) {
        Err(LogError::Broken { reason }) => reason,
        Err(error) => panic!("another error: {error:?}"),
        Ok(_) => panic!("it opened"),
    }
}

/// This test binary, to run `test` once more, in `folder`.
fn again(test: &str, folder: &Path) -> Vec<(&'static str, String)> {
    vec![
        ("exe", std::env::current_exe().expect("a binary").display().to_string()),
        ("test", format!("{}::{test}", module_path!().split_once("::").expect("a path").1)),
        ("folder", folder.display().to_string()),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keeps_the_contract() {
    for case in Case::ALL {
        run(case, &FileStore { folder: folder(), ring_records: RING_RECORDS_MAX }).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keeps_the_contract_when_followers_fall_out_of_the_ring() {
    for case in Case::ALL {
        run(case, &FileStore { folder: folder(), ring_records: 3 }).await;
    }
}

#[tokio::test]
async fn commits_are_synced_and_deletions_overwrite() {
    let folder = folder();
    stored(&log_path(folder.path())).await;
    let opened = file::open(&log_path(folder.path())).expect("opens");
    let pragma = |name: &str| -> String {
        let text = format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}");
        opened.connection.query_row(&text, [], |row| row.get(0)).expect("a pragma")
    };
    assert_eq!(pragma("journal_mode"), "wal");
    assert_eq!(pragma("synchronous"), "2");
    assert_eq!(pragma("secure_delete"), "1");
}

#[tokio::test]
async fn what_was_deleted_is_in_no_file() {
    let folder = folder();
    let path = log_path(folder.path());
    let log = SqliteLog::open(&path).expect("opens");
    log.append(vec![append(1, &[123_456]), append(2, &[2])]).await.expect("appends");
    let holds = || {
        let files = std::fs::read_dir(folder.path()).expect("a folder");
        let mut bytes =
            files.map(|file| std::fs::read(file.expect("a file").path()).expect("reads"));
        bytes.any(|bytes| memchr::memmem::find(&bytes, b"message 123456").is_some())
    };
    assert!(holds());
    let erased = append(1, &[]).stream;
    log.delete_stream(&erased).await.expect("deletes");
    assert!(!holds());
    log.close().await;
}

#[tokio::test]
async fn a_reader_in_the_way_of_a_deletion_stops_nobody() {
    let folder = folder();
    let path = log_path(folder.path());
    let log = SqliteLog::open(&path).expect("opens");
    log.append(vec![append(1, &[123_456]), append(2, &[2])]).await.expect("appends");
    let wal = || std::fs::read(path.with_extension("db-wal")).unwrap_or_default();
    let holds = || memchr::memmem::find(&wal(), b"message 123456").is_some();
    let reader = Connection::open(&path).expect("opens");
    reader.execute_batch("BEGIN; SELECT count(*) FROM event").expect("reads");
    let started = Instant::now();
    log.delete_stream(&append(1, &[]).stream).await.expect("deletes");
    log.append(vec![append(2, &[3])]).await.expect("appends");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(holds(), "the reader may need it");
    reader.execute_batch("COMMIT").expect("ends");
    let mut number = 4;
    while holds() {
        assert!(started.elapsed() < Duration::from_secs(20), "it is emptied in the end");
        log.append(vec![append(2, &[number])]).await.expect("appends");
        number += 1;
    }
    log.close().await;
}

#[tokio::test]
async fn acknowledged_events_survive_kill_9() {
    if let Some(folder) = std::env::var_os(CHILD_FOLDER) {
        return append_until_killed(Path::new(&folder)).await;
    }
    const ROUNDS: u32 = 4;
    const ACKS_A_ROUND: usize = 400;
    let folder = folder();
    let mut acknowledged: BTreeMap<u32, usize> = BTreeMap::new();
    let mut epoch = None;
    for _ in 0..ROUNDS {
        let again = again("acknowledged_events_survive_kill_9", folder.path());
        let mut child = Command::new(&again[0].1)
            .args([&again[1].1, "--exact", "--nocapture"])
            .env(CHILD_FOLDER, &again[2].1)
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let mut acks = 0;
        while let Some(Ok(line)) = lines.next() {
            // Killed in the middle of its appends; what it wrote by then is still read.
            let Some(number) = line.strip_prefix("ack ") else { continue };
            *acknowledged.entry(number.parse().expect("a number")).or_default() += 1;
            acks += 1;
            if acks == ACKS_A_ROUND {
                child.kill().expect("kills");
            }
        }
        child.wait().expect("ends");
        assert!(acks >= ACKS_A_ROUND, "the child went on until it was killed");

        let log = SqliteLog::open(&log_path(folder.path())).expect("opens after a crash");
        let identity = log.identity().clone();
        assert_eq!(*epoch.get_or_insert(identity.clone()), identity);
        let mut stored: BTreeMap<u32, usize> = BTreeMap::new();
        for number in all(&log).await {
            *stored.entry(number).or_default() += 1;
        }
        log.close().await;
        for number in acknowledged.keys() {
            assert_eq!(stored.get(number), Some(&1), "{number} was acknowledged");
        }
        for number in stored.keys().filter(|number| **number < 1_000_000_000) {
            let other = stored.get(&(number + 1_000_000_000));
            assert_eq!(other, Some(&1), "an append is all or none");
        }
    }
}

/// The child: many tasks append and tell each acknowledgement, until the end.
async fn append_until_killed(folder: &Path) {
    const TASKS: u32 = 16;
    let log = Arc::new(SqliteLog::open(&log_path(folder)).expect("opens"));
    let first = u32::try_from(log.head().await.expect("head").0).expect("small");
    let tasks = (0..TASKS).map(|task| {
        let log = Arc::clone(&log);
        async move {
            let mut number = first * TASKS + task;
            loop {
                let batch = vec![append(task, &[number]), append(99, &[number + 1_000_000_000])];
                log.append(batch).await.expect("appends");
                let mut output = std::io::stdout().lock();
                writeln!(output, "ack {number}").and_then(|()| output.flush()).expect("is heard");
                number += TASKS;
            }
        }
    });
    futures_util::future::join_all(tasks).await;
}

#[tokio::test]
async fn a_full_disk_is_told_and_appends_work_again_when_there_is_room() {
    const TEST: &str = "a_full_disk_is_told_and_appends_work_again_when_there_is_room";
    if let Some(folder) = std::env::var_os(CHILD_FOLDER) {
        // The limit of this process, lifted by itself.
        let lift = || {
            run_command("prlimit", &["--pid", &std::process::id().to_string(), "--fsize=unlimited"])
        };
        return fill_up(Path::new(&folder), lift).await;
    }
    // A limit on the size of files, which needs no privilege.
    let folder = folder();
    let again = again(TEST, folder.path());
    let limited = "ulimit -S -f 2048; trap '' XFSZ; exec \"$0\" \"$1\" --exact --nocapture";
    let child = Command::new("sh")
        .args(["-c", limited, &again[0].1, &again[1].1])
        .env(CHILD_FOLDER, &again[2].1)
        .output()
        .expect("starts");
    let said = String::from_utf8_lossy(&child.stdout) + String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");

    // A small disk, where this user may mount one.
    let small = tempfile::tempdir().expect("a folder");
    let place = small.path().display().to_string();
    if run_command("mount", &["-t", "tmpfs", "-o", "size=4m", "tmpfs", &place]) {
        let grow = || run_command("mount", &["-o", "remount,size=64m", &place]);
        fill_up(small.path(), grow).await;
        assert!(run_command("umount", &[&place]));
    }
}

fn run_command(program: &str, arguments: &[&str]) -> bool {
    let done = Command::new(program).args(arguments).stderr(Stdio::null()).status();
    done.is_ok_and(|status| status.success())
}

async fn fill_up(folder: &Path, make_room: impl Fn() -> bool) {
    const EACH: usize = 3;
    let log = SqliteLog::open(&log_path(folder)).expect("opens");
    let mut next = 0;
    let mut large = |count: usize| {
        let mut entry = append(1, &[]);
        for _ in 0..count {
            let mut event = event(next);
            event.actor = "x".repeat(20_000);
            entry.events.push(event);
            next += 1;
        }
        vec![entry]
    };
    let mut acknowledged = 0;
    let error = loop {
        match log.append(large(EACH)).await {
            Ok(appended) => acknowledged += appended.len(),
            Err(error) => break error,
        }
        assert!(acknowledged < 10_000, "the disk is small");
    };
    let AppendError::Unavailable { reason } = error else { panic!("{error:?}") };
    assert!(reason.contains("disk"), "says what is wrong: {reason}");
    assert_eq!(all(&log).await.len() % EACH, 0, "nothing is half stored");
    assert_eq!(all(&log).await.len(), acknowledged);

    assert!(make_room(), "there is room");
    log.health().await.expect("well again");
    acknowledged += log.append(large(EACH)).await.expect("appends again").len();
    log.close().await;
    let log = SqliteLog::open(&log_path(folder)).expect("opens");
    assert_eq!(all(&log).await.len(), acknowledged);
    file::check(&log_path(folder)).expect("the file is sound");
    log.close().await;
}

#[tokio::test]
async fn the_write_ahead_log_stays_within_a_bound() {
    const WAL_BYTES_MAX: u64 = 100 << 20;
    let folder = folder();
    let path = log_path(folder.path());
    let log = SqliteLog::open(&path).expect("opens");
    for number in 0..80 {
        let mut entry = append(1, &(number * 100..(number + 1) * 100).collect::<Vec<_>>());
        for event in &mut entry.events {
            event.actor = "x".repeat(20_000);
        }
        log.append(vec![entry]).await.expect("appends");
    }
    let length = |name: &str| std::fs::metadata(folder.path().join(name)).expect("a file").len();
    assert!(length("log.db-wal") < WAL_BYTES_MAX, "{}", length("log.db-wal"));
    assert!(length("log.db") > WAL_BYTES_MAX / 2, "most of it is in the file");
    log.close().await;
    assert!(!folder.path().join("log.db-wal").exists(), "closing leaves one file");
}

#[tokio::test]
async fn a_second_process_is_kept_out_and_told_so() {
    let folder = folder();
    let path = log_path(folder.path());
    let log = SqliteLog::open(&path).expect("opens");
    assert!(refusal(&path).contains("open in another process"));
    log.close().await;
    SqliteLog::open(&path).expect("opens when the other has closed").close().await;
}

#[tokio::test]
async fn a_file_that_is_locked_from_outside_is_told_at_start() {
    let folder = folder();
    let path = log_path(folder.path());
    stored(&path).await;
    let outside = rusqlite::Connection::open(&path).expect("opens");
    outside.execute_batch("BEGIN IMMEDIATE").expect("locks");
    assert!(refusal(&path).contains("locked by another process"));
    outside.execute_batch("ROLLBACK").expect("unlocks");
    SqliteLog::open(&path).expect("opens").close().await;
}

#[tokio::test]
async fn what_is_no_log_or_a_damaged_one_is_told_at_start() {
    let folder = folder();
    let path = log_path(folder.path());
    stored(&path).await;
    let sound = std::fs::read(&path).expect("reads");

    let mut damaged = sound.clone();
    for page in damaged.chunks_mut(4096).skip(3) {
        page[..512].fill(0x5a);
    }
    std::fs::write(&path, &damaged).expect("writes");
    assert!(refusal(&path).contains("is damaged"));
    assert!(file::check(&path).is_err());

    std::fs::write(&path, &sound[..sound.len() / 2]).expect("writes");
    assert!(refusal(&path).contains("is damaged"));

    std::fs::write(&path, b"this is no database, whatever else it may be").expect("writes");
    assert!(refusal(&path).contains("is damaged"));

    std::fs::remove_file(&path).expect("removes");
    let foreign = rusqlite::Connection::open(&path).expect("opens");
    foreign.execute_batch("CREATE TABLE songs (title TEXT)").expect("creates");
    drop(foreign);
    assert!(refusal(&path).contains("another program"));

    std::fs::write(&path, &sound).expect("writes");
    let later = rusqlite::Connection::open(&path).expect("opens");
    later.execute_batch("PRAGMA user_version = 99").expect("sets");
    drop(later);
    assert!(refusal(&path).contains("later release"));

    std::fs::write(&path, &sound).expect("writes");
    let log = SqliteLog::open(&path).expect("a sound one opens");
    assert_eq!(all(&log).await.len(), 200);
    log.close().await;
}

#[tokio::test]
async fn a_damaged_row_is_an_unknown_event_and_hides_no_other() {
    let folder = folder();
    let path = log_path(folder.path());
    stored(&path).await;
    let outside = rusqlite::Connection::open(&path).expect("opens");
    outside
        .execute_batch("UPDATE event SET json = '{\"v\":' WHERE position = 7;")
        .expect("damages");
    drop(outside);
    let log = SqliteLog::open(&path).expect("opens");
    let records = log.read(Position::START, 1000).await.expect("reads");
    assert_eq!(records.len(), 200);
    let unknown = |record: &&Record| {
        matches!(record.event.data, crate::domain::event::EventData::Unknown { .. })
    };
    let unknown: Vec<_> = records.iter().filter(unknown).map(|record| record.position).collect();
    assert_eq!(unknown, [Position(7)]);
    log.close().await;
}

#[tokio::test]
async fn a_backup_while_events_come_in_is_a_whole_log() {
    let folder = folder();
    let path = log_path(folder.path());
    let copy = folder.path().join("copy.db");
    let log = Arc::new(SqliteLog::open(&path).expect("opens"));
    log.append(vec![append(1, &(0..500).collect::<Vec<_>>())]).await.expect("appends");
    let appending = tokio::spawn({
        let log = Arc::clone(&log);
        async move {
            for number in 500..600 {
                log.append(vec![append(1, &[number])]).await.expect("appends");
            }
        }
    });
    let made = tokio::task::spawn_blocking({
        let (path, copy) = (path.clone(), copy.clone());
        move || {
            let mut last = (0, 0);
            file::backup(&path, &copy, |done, all| last = (done, all)).expect("copies");
            let exists = file::backup(&path, &copy, |_, _| {});
            assert!(matches!(exists, Err(LogError::Broken { .. })), "overwrites nothing");
            last
        }
    });
    let (done, pages) = made.await.expect("ends");
    assert!(done == pages && pages > 0);
    appending.await.expect("ends");
    let restored = SqliteLog::open(&copy).expect("opens");
    assert_eq!(restored.identity(), log.identity());
    let numbers = all(&restored).await;
    assert!(numbers.len() >= 500);
    assert_eq!(numbers, (0..numbers.len() as u32).collect::<Vec<_>>(), "a prefix, whole");
    restored.close().await;
    log.close().await;
}
