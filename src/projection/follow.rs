//! Keeps the read model up with the log: a task that reads ahead, and the projector's own thread.
//!
//! The task follows [`EventLog::tail`] and hands what it reads over a bounded channel; the
//! thread takes all that waits, folds it as one batch, and after the commit tells the feed and
//! everybody who waits for a position. A batch after a quiet moment begins at once; in a steady
//! stream batches begin [`BATCH_WINDOW`] apart, since a commit costs much the same for one event
//! as for ten. So load makes batches larger instead of the delay longer.
//! SQLite blocks, hence the thread.

use std::{sync::Arc, thread, time::Duration};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::MissedTickBehavior,
};
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;

use super::{
    FeedSink,
    projector::{ProjectError, Projector},
    read_model::ReadModel,
};
use crate::{
    domain::ids::Position,
    event_log::{
        EventLog, LogError, Record, Tail, sqlite::checkpoint::StartError as StartCheckpoints,
    },
    metrics as names,
    runtime::{backoff::Backoff, clock::Clock, shutdown::Shutdown},
};

/// Parts of the log read ahead, each of at most [`crate::event_log::TAIL_BATCH_MAX`] events.
/// When they wait the task stops reading.
const READ_AHEAD_PARTS: usize = 16;
/// From the beginning of a batch to that of the next, at least, while following live.
const BATCH_WINDOW: Duration = Duration::from_millis(2);
/// How often the thread looks for expired facts when nothing happens.
const TICK: Duration = Duration::from_secs(1);
/// Waits between attempts to read a log, or write a read model, that fails.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_CEILING: Duration = Duration::from_secs(5);
/// How soon a thread that waits to try again notices that it is to stop.
const STOP_NOTICED: Duration = Duration::from_millis(50);

/// Why the projector could not begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Project(#[from] ProjectError),
    #[error("the read model's write-ahead log can't be moved: {0}")]
    Checkpoint(#[from] StartCheckpoints),
    #[error("the projector's thread can't be started: {0}")]
    Thread(#[source] std::io::Error),
}

/// Why the projector ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    #[error(transparent)]
    Project(#[from] ProjectError),
    #[error("the projector panicked")]
    Panicked,
}

/// The running projector.
#[derive(Debug)]
pub struct Following {
    /// `true` while all that was in the log when it last looked is projected: instances that are
    /// not take no traffic.
    pub caught_up: watch::Receiver<bool>,
    ended: oneshot::Receiver<Result<(), ProjectError>>,
}

impl Following {
    /// Ends when the projector has: after `stopping`, or for a reason with which the process
    /// can't go on.
    pub async fn ended(self) -> Result<(), EndError> {
        self.ended.await.map_err(|_| EndError::Panicked)?.map_err(EndError::from)
    }
}

/// Starts to follow `log` from where `model` stands. `shutdown.stopping` ends it, after the batch
/// that it is at.
pub fn follow(
    model: ReadModel,
    log: Arc<dyn EventLog>,
    sink: Arc<dyn FeedSink>,
    clock: Arc<dyn Clock>,
    shutdown: &Shutdown,
) -> Result<Following, StartError> {
    let mut projector = Projector::new(model, clock)?;
    projector.move_pages_beside()?;
    let from = projector.checkpoint();
    let (to_thread, parts) = mpsc::channel(READ_AHEAD_PARTS);
    let (caught_up_sender, caught_up) = watch::channel(false);
    let (ended_sender, ended) = oneshot::channel();
    let stopping = shutdown.stopping.clone();
    let mut worker = Worker {
        projector,
        parts,
        sink,
        caught_up: caught_up_sender,
        stopping: stopping.clone(),
        next_batch: std::time::Instant::now(),
    };
    thread::Builder::new()
        .name("projector".to_owned())
        .spawn(move || {
            let outcome = worker.run();
            if let Err(error) = &outcome {
                tracing::error!(%error, "the projector ends");
            }
            drop(worker);
            // Nobody may be interested any more.
            let _ = ended_sender.send(outcome);
        })
        .map_err(StartError::Thread)?;
    shutdown.spawn(read_ahead(log, from, to_thread, stopping));
    Ok(Following { caught_up, ended })
}

/// What the reading task hands to the thread.
enum Part {
    Records(Arc<[Record]>),
    CaughtUp,
    /// The log can't be read for now.
    Lost,
    Tick,
}

/// Reads the log until it is to stop or the thread is gone.
async fn read_ahead(
    log: Arc<dyn EventLog>,
    from: Position,
    parts: mpsc::Sender<Part>,
    stopping: CancellationToken,
) {
    let reading = async {
        let mut seen = from;
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_CEILING);
        while let Some(error) = read_until_error(&*log, &mut seen, &parts, &mut backoff).await {
            let delay = backoff.next_delay();
            match error {
                LogError::Unavailable { reason } => {
                    tracing::warn!(reason, ?delay, "the log can't be read: tries again");
                }
                LogError::Broken { reason } => {
                    tracing::error!(reason, ?delay, "the log is broken: tries again");
                }
            }
            if parts.send(Part::Lost).await.is_err() {
                return;
            }
            tokio::time::sleep(delay).await;
        }
    };
    tokio::select! {
        () = stopping.cancelled() => {}
        () = reading => {}
    }
}

/// `None` when the thread is gone.
async fn read_until_error(
    log: &dyn EventLog,
    seen: &mut Position,
    parts: &mpsc::Sender<Part>,
    backoff: &mut Backoff,
) -> Option<LogError> {
    let mut tail = log.tail(*seen);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let part = tokio::select! {
            biased;
            next = tail.next() => match next {
                Some(Ok(Tail::Records(records))) => {
                    backoff.reset();
                    if let Some(last) = records.last() {
                        *seen = last.position;
                        metrics::gauge!(names::LOG_HEAD).set(last.position.0 as f64);
                    }
                    Part::Records(records)
                }
                Some(Ok(Tail::CaughtUp)) => Part::CaughtUp,
                Some(Err(error)) => return Some(error),
                None => {
                    let reason = "its tail has ended".to_owned();
                    return Some(LogError::Unavailable { reason });
                }
            },
            _ = tick.tick() => Part::Tick,
        };
        parts.send(part).await.ok()?;
    }
}

/// The projector's thread.
struct Worker {
    projector: Projector,
    parts: mpsc::Receiver<Part>,
    sink: Arc<dyn FeedSink>,
    caught_up: watch::Sender<bool>,
    stopping: CancellationToken,
    /// When the next batch may begin.
    next_batch: std::time::Instant,
}

impl Worker {
    fn run(&mut self) -> Result<(), ProjectError> {
        while let Some(first) = self.parts.blocking_recv() {
            let early = self.next_batch.saturating_duration_since(std::time::Instant::now());
            if *self.caught_up.borrow() && !early.is_zero() {
                thread::sleep(early);
            }
            let waiting = self.take_waiting(first);
            if !waiting.records.is_empty() {
                self.next_batch = std::time::Instant::now() + BATCH_WINDOW;
                if !self.project(&waiting.records)? {
                    return Ok(());
                }
            }
            if let Some(caught_up) = waiting.caught_up {
                self.say_caught_up(caught_up);
            }
            self.retain()?;
            self.purge()?;
        }
        Ok(())
    }

    /// All that waits, up to the bound of a batch.
    fn take_waiting(&mut self, first: Part) -> Waiting {
        let settings = self.projector.settings();
        let bound = if *self.caught_up.borrow() {
            settings.batch_events_max
        } else {
            settings.catch_up_batch_events_max
        };
        let mut waiting = Waiting::default();
        let mut next = Some(first);
        while let Some(part) = next {
            match part {
                Part::Records(records) => {
                    waiting.events += records.len();
                    waiting.records.push(records);
                }
                Part::CaughtUp => waiting.caught_up = Some(true),
                Part::Lost => waiting.caught_up = Some(false),
                Part::Tick => {}
            }
            next = if waiting.events < bound { self.parts.try_recv().ok() } else { None };
        }
        waiting
    }

    /// Projects until it is done; `false` when it was to stop before.
    fn project(&mut self, records: &[Arc<[Record]>]) -> Result<bool, ProjectError> {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_CEILING);
        let was_caught_up = *self.caught_up.borrow();
        loop {
            match self.projector.project(records.iter().flat_map(|part| part.iter()), true) {
                Ok(batch) => {
                    self.sink.committed(&batch);
                    self.projector.announce();
                    self.say_caught_up(was_caught_up);
                    return Ok(true);
                }
                Err(error @ ProjectError::Write(_)) => {
                    let delay = backoff.next_delay();
                    tracing::error!(%error, ?delay, "can't project: tries again");
                    self.say_caught_up(false);
                    if self.stops_within(delay) {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn say_caught_up(&self, now: bool) {
        self.caught_up.send_if_modified(|was| std::mem::replace(was, now) != now);
        if now {
            self.projector.announce_complete();
        }
    }

    fn stops_within(&self, delay: Duration) -> bool {
        let until = std::time::Instant::now() + delay;
        while std::time::Instant::now() < until && !self.stopping.is_cancelled() {
            thread::sleep(STOP_NOTICED.min(delay));
        }
        self.stopping.is_cancelled()
    }

    /// While nothing else waits: what comes in goes first, and a step follows each batch.
    fn purge(&mut self) -> Result<(), ProjectError> {
        loop {
            match self.projector.purge() {
                Ok(true) if self.parts.is_empty() && !self.stopping.is_cancelled() => {}
                Ok(_) => return Ok(()),
                Err(error @ ProjectError::Write(_)) => {
                    tracing::warn!(%error, "can't purge what was erased from the read model: tries later");
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// One step after each batch, so that under load it keeps up with what comes in.
    fn retain(&mut self) -> Result<(), ProjectError> {
        match self.projector.retain() {
            Ok(_) => Ok(()),
            Err(error @ ProjectError::Write(_)) => {
                tracing::warn!(%error, "can't take expired events out of the feed: tries later");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

#[derive(Default)]
struct Waiting {
    records: Vec<Arc<[Record]>>,
    events: usize,
    caught_up: Option<bool>,
}
