//! The projector: folds a batch of the log into the read model, in one transaction.
//!
//! It knows no thread and no log; [`super::follow`] and [`super::rebuild`] give it what to fold.
//!
//! **Invariant:** what is committed is the state, the feed and the checkpoint after the same
//! event. After an error nothing of the batch is there, and the same batch may be tried again.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::params;
use tokio::sync::watch;

use super::{
    CommittedBatch, erasing,
    feed_table::{FeedBatch, Source},
    read_model::{self, ReadModel},
    retention,
    settings::ProjectionSettings,
    state::FoldState,
    stored::POSITION_MAX,
};
use crate::{
    domain::{event::EventData, fold::fold, ids::Position, time::Timestamp},
    event_log::{
        Record,
        sqlite::checkpoint::{self, Checkpoints},
    },
    metrics as names,
    runtime::clock::Clock,
};

/// Why a batch was not projected.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// May pass (a full disk, a locked file): the same batch can be tried again.
    #[error("the read model can't be written: {0}")]
    Write(#[source] rusqlite::Error),
    /// Does not pass. The next start makes the read model anew.
    #[error("the read model is damaged: {0}")]
    Damaged(#[source] rusqlite::Error),
    /// Does not pass.
    #[error("the log's position {0} is larger than a feed row can hold")]
    PositionTooLarge(Position),
}

pub(super) struct Projector {
    state: FoldState,
    /// `None` where there is no write-ahead log.
    checkpoints: Option<Checkpoints>,
    settings: ProjectionSettings,
    epoch: Arc<str>,
    checkpoint: Position,
    feed_rows: i64,
    clock: Arc<dyn Clock>,
    projected: watch::Sender<Position>,
    complete: watch::Sender<bool>,
    /// How many persons this process has erased, and what others were told of it.
    erased: u64,
    erasures: watch::Sender<u64>,
    words: Words,
    _lock: File,
}

/// Whether the full-text index holds words of erased persons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Words {
    Clean,
    Due { first: bool },
}

impl Projector {
    pub fn new(model: ReadModel, clock: Arc<dyn Clock>) -> Result<Self, ProjectError> {
        let ReadModel {
            connection,
            settings,
            epoch,
            checkpoint,
            projected,
            complete,
            erasures,
            lock,
        } = model;
        let feed_rows = connection
            .query_row("SELECT feed_rows FROM meta", [], |row| row.get(0))
            .map_err(classify)?;
        let words_are_due = erasing::are_words_due(&connection).map_err(classify)?;
        let words = if words_are_due { Words::Due { first: true } } else { Words::Clean };
        let state = FoldState::new(connection, &settings).map_err(classify)?;
        Ok(Self {
            state,
            checkpoints: None,
            settings,
            epoch,
            checkpoint,
            feed_rows,
            clock,
            projected,
            complete,
            erased: 0,
            erasures,
            words,
            _lock: lock,
        })
    }

    /// Has the write-ahead log moved into the file by a thread of its own.
    pub fn move_pages_beside(&mut self) -> Result<(), checkpoint::StartError> {
        let connection = &mut self.state.connection;
        let path = connection.path().map(PathBuf::from).unwrap_or_default();
        self.checkpoints = Some(Checkpoints::start("read-model-move", &path, connection)?);
        Ok(())
    }

    pub fn settings(&self) -> &ProjectionSettings {
        &self.settings
    }

    pub fn checkpoint(&self) -> Position {
        self.checkpoint
    }

    /// Folds what lies behind the checkpoint, in order, and commits it. The frames are made when
    /// somebody follows the feed.
    pub fn project<'a>(
        &mut self,
        records: impl Iterator<Item = &'a Record>,
        with_frames: bool,
    ) -> Result<CommittedBatch, ProjectError> {
        let started_at = std::time::Instant::now();
        let checkpoint = self.checkpoint;
        let records = records.filter(move |record| record.position > checkpoint);
        let outcome = self.project_in_transaction(records, with_frames);
        let (batch, folded) = outcome.inspect_err(|error| self.roll_back(error))?;
        self.checkpoint = batch.position;
        self.erased += batch.erased.len() as u64;
        if !batch.erased.is_empty() {
            self.words = Words::Due { first: true };
        }
        if let Some(checkpoints) = &mut self.checkpoints {
            checkpoints.after_commit(&self.state.connection);
        }
        metrics::histogram!(names::PROJECTION_BATCH_SECONDS)
            .record(started_at.elapsed().as_secs_f64());
        self.record_progress(&folded);
        Ok(batch)
    }

    /// Says that what was committed may be read and waited for.
    pub fn announce(&self) {
        self.erasures.send_if_modified(|told| std::mem::replace(told, self.erased) != self.erased);
        self.projected.send_replace(self.checkpoint);
    }

    /// Says that the read model lacks nothing that was in the log when it was opened.
    pub fn announce_complete(&self) {
        self.complete.send_if_modified(|was| !std::mem::replace(was, true));
    }

    /// After an erasure: merges the full-text index, step by step, then empties the write-ahead
    /// log and removes a damaged read model that was put aside, for all of them hold what was
    /// erased. `true` when there is more to do.
    pub fn purge(&mut self) -> Result<bool, ProjectError> {
        let connection = &self.state.connection;
        let Words::Due { first } = self.words else {
            if let Some(checkpoints) = &mut self.checkpoints {
                checkpoints.empty_if_due(connection);
            }
            return Ok(false);
        };
        if first && let Some(path) = connection.path().map(Path::new) {
            read_model::remove_set_aside(path);
        }
        let merged = erasing::merge_words(connection, first).map_err(classify)?;
        self.words = if merged { Words::Clean } else { Words::Due { first: false } };
        if merged && let Some(checkpoints) = &mut self.checkpoints {
            checkpoints.empty(connection);
        }
        Ok(true)
    }

    fn project_in_transaction<'a>(
        &mut self,
        records: impl Iterator<Item = &'a Record>,
        with_frames: bool,
    ) -> Result<(CommittedBatch, Folded), ProjectError> {
        self.execute("BEGIN IMMEDIATE")?;
        let keep_since = retention::keep_since(&self.settings, self.clock.now());
        let mut feed = FeedBatch::new(Arc::clone(&self.epoch), keep_since, with_frames);
        let mut position = self.checkpoint;
        let mut folded = Folded::default();
        let mut erased = Vec::new();
        for record in records {
            if record.position.0 > POSITION_MAX {
                return Err(ProjectError::PositionTooLarge(record.position));
            }
            let event = &*record.event;
            let public = fold(&mut self.state, event);
            for (client, erasure) in std::mem::take(&mut self.state.erased_now) {
                feed.erase(&self.state.connection, client, &erasure).map_err(classify)?;
                erased.push((client, erasure.conversations));
            }
            let source =
                Source { client: event.client_id, position: record.position, time: event.time };
            feed.publish(&mut self.state, source, public).map_err(classify)?;
            position = record.position;
            folded.note(&event.data, event.time);
        }
        self.state.take_error().map_err(classify)?;
        let published = feed.finish(&mut self.state).map_err(classify)?;
        self.state.flush().map_err(classify)?;
        // Reading may also have failed on the way through the feed.
        self.state.take_error().map_err(classify)?;
        let feed_rows = self.feed_rows + published.rows_added;
        self.state
            .connection
            .prepare_cached("UPDATE meta SET checkpoint = ?1, feed_rows = ?2")
            .and_then(|mut update| update.execute(params![position.0 as i64, feed_rows]))
            .map_err(classify)?;
        self.execute("COMMIT")?;
        self.feed_rows = feed_rows;
        Ok((CommittedBatch { frames: published.frames, position, erased }, folded))
    }

    /// Takes a bounded number of expired facts out of the feed; `true` when there may be more.
    pub fn retain(&mut self) -> Result<bool, ProjectError> {
        let keep_since = retention::keep_since(&self.settings, self.clock.now());
        if !retention::is_due(&self.state.connection, keep_since).map_err(classify)? {
            return Ok(false);
        }
        let outcome = self.execute("BEGIN IMMEDIATE").and_then(|()| {
            let removed = retention::step(&mut self.state, keep_since).map_err(classify)?;
            self.state.flush().map_err(classify)?;
            self.state.take_error().map_err(classify)?;
            let feed_rows = self.feed_rows - removed;
            self.state
                .connection
                .execute("UPDATE meta SET feed_rows = ?1", [feed_rows])
                .map_err(classify)?;
            self.execute("COMMIT")?;
            self.feed_rows = feed_rows;
            Ok(removed >= retention::STEP_ROWS)
        });
        outcome.inspect_err(|error| self.roll_back(error))
    }

    fn execute(&self, sql: &str) -> Result<(), ProjectError> {
        let mut statement = self.state.connection.prepare_cached(sql).map_err(classify)?;
        statement.execute([]).map(drop).map_err(classify)
    }

    fn roll_back(&mut self, error: &ProjectError) {
        if !self.state.connection.is_autocommit() {
            // When even this fails the connection closes the transaction with itself.
            let _ = self.state.connection.execute_batch("ROLLBACK");
        }
        if let Err(reset) = self.state.reset(&self.settings) {
            tracing::warn!(%reset, "the read model can't be read after a failed batch");
        }
        if let (ProjectError::Damaged(source), Some(path)) = (error, self.state.connection.path()) {
            read_model::mark_damaged(Path::new(path), &source.to_string());
        }
    }

    fn record_progress(&self, folded: &Folded) {
        metrics::counter!(names::PROJECTED_EVENTS).increment(folded.events);
        metrics::counter!(names::SKIPPED_EVENTS).increment(folded.skipped);
        metrics::gauge!(names::PROJECTED).set(self.checkpoint.0 as f64);
        metrics::gauge!(names::FEED_ROWS).set(self.feed_rows as f64);
        let lag_ms = folded.newest.map_or(0, |newest| self.clock.now().since(newest).max(0));
        metrics::gauge!(names::PROJECTION_LAG_SECONDS).set(lag_ms as f64 / 1000.0);
    }

    #[cfg(test)]
    pub fn set_lock_wait(&self, wait: std::time::Duration) {
        self.state.connection.busy_timeout(wait).unwrap();
    }

    /// For the end of a rebuild: the connection, to be closed in order.
    pub fn into_connection(self) -> (rusqlite::Connection, File) {
        (self.state.connection, self._lock)
    }
}

#[derive(Default)]
struct Folded {
    events: u64,
    skipped: u64,
    newest: Option<Timestamp>,
}

impl Folded {
    fn note(&mut self, data: &EventData, time: Timestamp) {
        self.events += 1;
        self.skipped += u64::from(matches!(data, EventData::Unknown { .. }));
        self.newest = Some(time);
    }
}

fn classify(error: rusqlite::Error) -> ProjectError {
    if read_model::is_damage(&error) {
        ProjectError::Damaged(error)
    } else {
        ProjectError::Write(error)
    }
}
