//! What the read model outlives: kills, damage, other stores; and that a rebuild is no different.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

use super::{
    Bench, EPOCH, HEAD,
    equivalence::{differences, feed_rows, stored_state},
    logs::random_log,
    project_in,
};
use crate::{
    domain::{
        event::{Event, EventData},
        fold::fold,
        ids::Position,
        state::MemoryState,
    },
    event_log::{Append, EventLog, Expected, StoreIdentity, memory::MemoryLog},
    projection::{
        queries::{Queries, QueryError},
        read_model::{self, OpenError, ReadModel, backup, check, sibling},
        rebuild::{Progress, rebuild},
        settings::ProjectionSettings,
    },
};

const CHILD_PATH: &str = "CONDORITO_TEST_READ_MODEL";
const SEED: u64 = 42;
const EVENTS: usize = 20_000;

#[test]
fn state_feed_and_checkpoint_are_of_one_moment_after_kill_9() {
    if let Some(path) = std::env::var_os(CHILD_PATH) {
        return project_until_killed(ProjectionSettings {
            path: path.into(),
            ..ProjectionSettings::default()
        });
    }
    const ROUNDS: usize = 3;
    let bench = Bench::new();
    let log = random_log(SEED, EVENTS);
    let test = format!(
        "{}::state_feed_and_checkpoint_are_of_one_moment_after_kill_9",
        module_path!().split_once("::").unwrap().1
    );
    for round in 1..=ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([&test, "--exact", "--nocapture"])
            .env(CHILD_PATH, &bench.settings.path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut batches = 0;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            batches += usize::from(line.unwrap().starts_with("batch "));
            if batches == 40 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(batches >= 40, "round {round}: the child went on until it was killed");

        let checkpoint = bench.model().checkpoint();
        let projected = log.iter().take_while(|record| record.position <= checkpoint).count();
        assert!(projected > 0 && projected < EVENTS, "round {round}: {projected}");
        let mut expected = MemoryState::default();
        for record in &log[..projected] {
            fold(&mut expected, &record.event);
        }
        let stored = stored_state(&bench.connection());
        assert_eq!(differences(&stored, &expected), Vec::<String>::new());
    }
    // Whatever was cut off where: the rest makes the same feed.
    project_in(&mut bench.projector().0, &log, []);
    let undisturbed = Bench::new();
    project_in(&mut undisturbed.projector().0, &log, []);
    assert!(feed_rows(&bench.connection()) == feed_rows(&undisturbed.connection()));
}

#[expect(clippy::print_stdout, reason = "its parent counts the batches")]
fn project_until_killed(settings: ProjectionSettings) {
    let bench = Bench::new();
    let model = ReadModel::open(&settings, EPOCH, HEAD).unwrap();
    let checkpoint = model.checkpoint();
    let mut projector =
        crate::projection::projector::Projector::new(model, bench.clock.clone()).unwrap();
    let log = random_log(SEED, EVENTS);
    let done = log.iter().take_while(|record| record.position <= checkpoint).count();
    for batch in log[done..].chunks(7) {
        projector.project(batch.iter(), true).unwrap();
        println!("batch {}", projector.checkpoint());
    }
}

#[test]
fn a_read_model_that_cannot_go_on_is_made_anew() {
    let bench = Bench::new();
    let log = random_log(1, 50);
    let head = log.last().unwrap().position;
    project_in(&mut bench.projector().0, &log, []);
    let reopened = |epoch: &str, head| ReadModel::open(&bench.settings, epoch, head).unwrap();
    assert_eq!(reopened(EPOCH, head).checkpoint(), head);
    assert_eq!(reopened("other", head).checkpoint(), Position::START);

    project_in(&mut bench.projector().0, &log, []);
    assert_eq!(reopened(EPOCH, Position(head.0 - 1)).checkpoint(), Position::START);

    project_in(&mut bench.projector().0, &log, []);
    let connection = rusqlite::Connection::open(&bench.settings.path).unwrap();
    connection.execute("UPDATE meta SET fold_version = fold_version + 1", []).unwrap();
    drop(connection);
    assert!(check(&bench.settings.path).unwrap().is_stale());
    assert_eq!(reopened(EPOCH, head).checkpoint(), Position::START);
    assert!(!check(&bench.settings.path).unwrap().is_stale());
}

#[test]
fn a_damaged_file_is_put_aside_and_made_anew() {
    let bench = Bench::new();
    let log = random_log(1, 50);
    let path = &bench.settings.path;
    project_in(&mut bench.projector().0, &log, []);
    let whole = std::fs::read(path).unwrap();
    assert_eq!(check(path).unwrap().damage, Vec::<String>::new());

    let mut broken = whole.clone();
    broken[..100].fill(0x55);
    std::fs::write(path, &broken).unwrap();
    // It holds the header too, and would mend it.
    let _ = std::fs::remove_file(sibling(path, "-wal"));
    assert_eq!(bench.model().checkpoint(), Position::START);
    assert_eq!(std::fs::read(sibling(path, ".damaged")).unwrap(), broken);

    // Found out while it is in use: said then, and made anew at the next start.
    let mut broken = whole;
    let page = 4096;
    broken[page..].fill(0x55);
    std::fs::write(path, &broken).unwrap();
    read_model::mark_damaged(path, "found while projecting");
    assert_eq!(bench.model().checkpoint(), Position::START);
    assert!(!sibling(path, ".is-damaged").exists());
    project_in(&mut bench.projector().0, &log, []);
    assert_eq!(check(path).unwrap().damage, Vec::<String>::new());
}

#[test]
fn nothing_but_a_read_model_is_ever_replaced() {
    let bench = Bench::new();
    let path = &bench.settings.path;
    let other = rusqlite::Connection::open(path).unwrap();
    other.execute_batch("CREATE TABLE precious (x); INSERT INTO precious VALUES (1)").unwrap();
    drop(other);
    let before = std::fs::read(path).unwrap();
    let refused = ReadModel::open(&bench.settings, EPOCH, HEAD);
    assert!(matches!(refused, Err(OpenError::SomethingElse { .. })));
    assert!(matches!(check(path), Err(OpenError::SomethingElse { .. })));
    assert_eq!(std::fs::read(path).unwrap(), before);
}

#[test]
fn the_files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new();
    let path = bench.settings.path.clone();
    let folder = path.parent().unwrap();
    let open_files = |folder: &std::path::Path| -> Vec<String> {
        let files = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
        let databases = files.filter(|file| file.file_name().to_string_lossy().contains(".db"));
        databases
            .filter(|file| file.metadata().unwrap().permissions().mode() & 0o077 != 0)
            .map(|file| file.file_name().to_string_lossy().into_owned())
            .filter(|name| !name.ends_with(".lock"))
            .collect()
    };
    {
        let (mut projector, _queries) = bench.projector();
        project_in(&mut projector, &random_log(1, 50), []);
        assert_eq!(open_files(folder), Vec::<String>::new());
        let copy = folder.join("copy.db");
        read_model::backup(&path, &copy, |_, _| {}).unwrap();
        assert_eq!(open_files(folder), Vec::<String>::new());
    }
    // As an earlier release made it.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    drop(bench.model());
    assert_eq!(open_files(folder), Vec::<String>::new());
}

#[test]
fn one_process_at_a_time_has_the_read_model() {
    let bench = Bench::new();
    let held = bench.model();
    let second = ReadModel::open(&bench.settings, EPOCH, HEAD);
    assert!(matches!(second, Err(OpenError::InUse { .. })));
    drop(held);
    drop(bench.model());
}

#[test]
fn a_failed_batch_leaves_nothing_and_can_be_tried_again() {
    let bench = Bench::new();
    let (mut projector, _) = bench.projector();
    let log = random_log(9, 200);
    let (first, second) = log.split_at(100);
    projector.project(first.iter(), true).unwrap();
    let before = stored_state(&bench.connection());
    // Another writer in the way, for longer than a writer waits.
    projector.set_lock_wait(std::time::Duration::from_millis(1));
    let other = rusqlite::Connection::open(&bench.settings.path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(projector.project(second.iter(), true).is_err());
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(differences(&stored_state(&bench.connection()), &before), Vec::<String>::new());
    // In the middle of the batch: a table is gone.
    other.execute_batch("ALTER TABLE hour RENAME TO gone").unwrap();
    assert!(projector.project(second.iter(), true).is_err());
    other.execute_batch("ALTER TABLE gone RENAME TO hour").unwrap();
    assert_eq!(differences(&stored_state(&bench.connection()), &before), Vec::<String>::new());

    projector.project(second.iter(), true).unwrap();
    let undisturbed = Bench::new();
    project_in(&mut undisturbed.projector().0, &log, []);
    assert!(feed_rows(&bench.connection()) == feed_rows(&undisturbed.connection()));
}

#[test]
fn a_backup_is_a_read_model_of_one_moment() {
    let bench = Bench::new();
    let (mut projector, _) = bench.projector();
    let log = random_log(2, 400);
    project_in(&mut projector, &log[..200], []);
    let to = sibling(&bench.settings.path, ".copy");
    let mut said = 0;
    backup(&bench.settings.path, &to, |done, all| {
        assert!(done <= all);
        said += 1;
    })
    .unwrap();
    project_in(&mut projector, &log[200..], []);
    let copy = check(&to).unwrap();
    assert_eq!((copy.damage.len(), copy.checkpoint), (0, log[199].position));
    // It goes on from there like the original.
    let settings = ProjectionSettings { path: to, ..bench.settings.clone() };
    let model = ReadModel::open(&settings, EPOCH, HEAD).unwrap();
    let mut copy =
        crate::projection::projector::Projector::new(model, bench.clock.clone()).unwrap();
    copy.project(log.iter(), false).unwrap();
    let copied = read_model::open_for_reading(&settings.path, 1024).unwrap();
    assert!(feed_rows(&copied) == feed_rows(&bench.connection()));
    let missing = backup(&sibling(&settings.path, ".none"), &settings.path, |_, _| ());
    assert!(matches!(missing, Err(OpenError::Missing { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_rebuild_gives_the_bytes_and_cursors_of_the_live_projection() {
    let bench = Bench::new();
    let identity = StoreIdentity { epoch: EPOCH.to_owned(), hash_key: [7; 32] };
    let log = Arc::new(MemoryLog::new(identity));
    for record in random_log(3, 3000) {
        if matches!(record.event.data, EventData::Unknown { .. }) {
            continue;
        }
        let events = vec![Event::clone(&record.event)];
        let append = Append { stream: record.stream, expected: Expected::Any, events };
        log.append(vec![append]).await.unwrap();
    }
    let all = log.read(Position::START, usize::MAX).await.unwrap();
    project_in(&mut bench.projector().0, &all, [1, 10, 100, 1000]);
    let live = feed_rows(&bench.connection());

    // Beside the damaged old one, and told how far it is.
    std::fs::write(sibling(&bench.settings.path, ".is-damaged"), "test").unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&heard);
    let settings = ProjectionSettings { catch_up_batch_events_max: 700, ..bench.settings.clone() };
    let done = rebuild(&settings, log.clone(), bench.clock.clone(), move |progress| {
        told.lock().unwrap().push(progress);
    })
    .await
    .unwrap();
    let head = log.head().await.unwrap();
    assert_eq!(done, Progress { events: all.len() as u64, position: head, head });
    assert_eq!(heard.lock().unwrap().last(), Some(&done));
    assert!(heard.lock().unwrap().len() > 1);

    let model = ReadModel::open(&bench.settings, EPOCH, head).unwrap();
    assert_eq!(model.checkpoint(), head);
    assert!(feed_rows(&bench.connection()) == live);
    assert_eq!(check(&bench.settings.path).unwrap().damage, Vec::<String>::new());
    // While a server has it, it is not rebuilt.
    let refused = rebuild(&settings, log, bench.clock.clone(), |_| ()).await;
    assert!(matches!(
        refused,
        Err(crate::projection::rebuild::RebuildError::Open(OpenError::InUse { .. }))
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_and_too_long_queries_are_turned_away() {
    let mut bench = Bench::new();
    bench.settings.readers = 1;
    bench.settings.query_wait_ms = 20;
    bench.settings.query_time_max_ms = 200;
    let model = bench.model();
    let queries = Queries::open(&model).unwrap();
    let for_commands = Queries::open_for_commands(&model).unwrap();
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                   SELECT count(*) FROM n";
    let long = tokio::spawn({
        let queries = queries.clone();
        async move {
            queries.read(move |db| db.query_row(endless, [], |row| row.get::<_, i64>(0))).await
        }
    });
    while queries.idle_readers() > 0 {
        tokio::task::yield_now().await;
    }
    let turned_away = queries.stats(crate::domain::ids::ClientId(1)).await;
    assert!(matches!(turned_away, Err(QueryError::Overloaded)));
    let command = for_commands.stats(crate::domain::ids::ClientId(1)).await;
    assert!(command.is_ok(), "no search of clients is in the way of what comes in");
    assert!(matches!(long.await.unwrap(), Err(QueryError::Overloaded)));
    queries.stats(crate::domain::ids::ClientId(1)).await.unwrap();
}
