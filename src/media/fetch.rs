//! Fetches what contacts send: at once, in the background, until it is here or given up.
//!
//! The provider's address of a medium dies in minutes, its id in days. So each message that brings
//! one is marked in the read model as it is projected, and the [`Fetcher`] works off what is
//! marked: woken by every commit and by a timer, it reads on from the last message that it saw,
//! and begins again from the first now and then, so that nothing stays behind: what waits for a
//! tenant's credentials, what was under way when the process ended.
//!
//! ```text
//! read model: marked ─► queue ─► fetch_media ─► store, checked ─► media_stored ─► mark goes
//!                        ▲  later, again │                └─ given up ─► media_failed ─┘
//! ```
//!
//! A tenant without credentials has its media wait, for as long as a provider keeps them.
//!
//! Several instances over one log each fetch; the first to tell is believed, and both stored the
//! same bytes under the same name.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    io,
    sync::Arc,
    time::Duration,
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::{debug, warn};

use super::{
    settings::MediaSettings,
    store::{About, MediaStore, StoreError, Writing},
    upload::clean_filename,
};
use crate::{
    command::{CommandError, Commands, media::MediaOutcome},
    domain::{
        ids::{ClientId, MediaId, MessageId},
        message::{MediaFailure, Message},
        time::Timestamp,
    },
    gateway::outbound::{Line, Lines, MediaDownload, RemoteMedia, SendError},
    metrics::{MEDIA_FETCHES, MEDIA_WAITING},
    projection::queries::Queries,
    runtime::{backoff::Backoff, clock::Clock, shutdown::Shutdown},
};

/// Media that are in the queue or under way; further ones stay marked and are read later.
const QUEUE_MAX: usize = 1000;
/// Messages read at once.
const PAGE_MESSAGES: usize = 200;
/// How often all that is marked is looked through again.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// Commits that follow each other within this wake the fetcher once.
const GATHER: Duration = Duration::from_millis(10);
/// Pauses before further attempts: doubled each time, up to an hour.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_CEILING: Duration = Duration::from_secs(3600);
/// WhatsApp keeps a medium for 7 days; what is marked for longer is not to be had any more.
const PROVIDER_KEEPS_MS: i64 = 7 * 24 * 3600 * 1000;
/// What a medium is whose type nobody tells.
const UNKNOWN_TYPE: &str = "application/octet-stream";

/// Fetches media in the background. One per process.
pub struct Fetcher {
    pub store: Arc<MediaStore>,
    pub queries: Queries,
    pub commands: Arc<Commands>,
    pub lines: Arc<dyn Lines>,
    pub clock: Arc<dyn Clock>,
    pub settings: MediaSettings,
}

/// A medium that is to be fetched.
struct Job {
    client: ClientId,
    message_id: MessageId,
    remote: RemoteMedia,
    sha256: Option<[u8; 32]>,
    mime_type: Option<String>,
    filename: Option<String>,
    taken_in_at: Timestamp,
    attempts: u32,
    backoff: Backoff,
    not_before: Instant,
}

type JobKey = (ClientId, MessageId);

/// What came of an attempt.
enum Attempt {
    /// It is told, or its message is gone: nothing more is to be done.
    Done,
    /// The tenant has no way to fetch it now.
    NoLine,
    /// It did not work; why it would be given up, and when to try again at the earliest.
    Again { reason: MediaFailure, after: Option<Duration> },
}

/// The fetcher's state in memory: all of it can be read again.
struct Work {
    /// Place of the last message that was read.
    seen: i64,
    /// There may be more behind it.
    more: bool,
    queue: VecDeque<Job>,
    /// In the queue or under way.
    known: HashSet<JobKey>,
    under_way: HashMap<ClientId, usize>,
    running: JoinSet<(Job, Attempt)>,
}

impl Fetcher {
    /// Works until `shutdown.stopping`; what is under way then begins anew after the next start.
    pub fn start(self, shutdown: &Shutdown) {
        let stopping = shutdown.stopping.clone();
        let fetcher = Arc::new(self);
        shutdown.spawn(async move { stopping.run_until_cancelled(fetcher.run()).await });
    }

    async fn run(self: Arc<Self>) {
        let mut work = Work {
            seen: 0,
            more: true,
            queue: VecDeque::new(),
            known: HashSet::new(),
            under_way: HashMap::new(),
            running: JoinSet::new(),
        };
        let mut projected = self.queries.projected();
        let mut next_sweep = Instant::now() + SWEEP_INTERVAL;
        loop {
            if work.more {
                self.read_on(&mut work).await;
            }
            self.begin_what_is_due(&mut work);
            metrics::gauge!(MEDIA_WAITING).set(work.known.len() as f64);
            let next_due = work.queue.iter().map(|job| job.not_before).min();
            let has_room = work.running.len() < self.settings.fetches_at_once;
            let wake_at = match next_due.filter(|due| has_room && *due > Instant::now()) {
                Some(due) => due.min(next_sweep),
                None => next_sweep,
            };
            tokio::select! {
                changed = projected.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    sleep(GATHER).await;
                    work.more = true;
                }
                Some(ended) = work.running.join_next() => {
                    if let Ok((job, attempt)) = ended {
                        self.ended(&mut work, job, attempt).await;
                    }
                }
                () = sleep_until(wake_at) => {}
            }
            if Instant::now() >= next_sweep {
                work.seen = 0;
                work.more = true;
                next_sweep = Instant::now() + SWEEP_INTERVAL;
            }
        }
    }

    /// Reads the messages that are marked, as far as there is room for them.
    async fn read_on(&self, work: &mut Work) {
        while work.more && work.known.len() < QUEUE_MAX {
            let page = match self.queries.pending_media(work.seen, PAGE_MESSAGES).await {
                Ok(page) => page,
                Err(error) => {
                    warn!(%error, "can't read which media are to be fetched: tries later");
                    work.more = false;
                    return;
                }
            };
            work.more = page.len() == PAGE_MESSAGES;
            for (place, message) in page {
                work.seen = place;
                self.take(work, message).await;
            }
        }
    }

    async fn take(&self, work: &mut Work, message: Message) {
        let key = (message.client_id, message.id);
        if work.known.contains(&key) {
            return;
        }
        let Some(job) = Job::of(message) else { return };
        let too_old = self.clock.now().since(job.taken_in_at) > PROVIDER_KEEPS_MS;
        if too_old {
            self.settle(&job, MediaOutcome::Failed(MediaFailure::Gone)).await;
        } else if self.lines.of(job.client).is_some() {
            work.known.insert(key);
            work.queue.push_back(job);
        }
    }

    /// Begins jobs in the order of the queue, but for those of tenants that have enough of them.
    fn begin_what_is_due(self: &Arc<Self>, work: &mut Work) {
        let now = Instant::now();
        let mut at = 0;
        while at < work.queue.len() && work.running.len() < self.settings.fetches_at_once {
            let job = &work.queue[at];
            let of_tenant = work.under_way.get(&job.client).copied().unwrap_or(0);
            if job.not_before > now || of_tenant >= self.settings.fetches_at_once_per_tenant {
                at += 1;
                continue;
            }
            let Some(job) = work.queue.remove(at) else { return };
            *work.under_way.entry(job.client).or_default() += 1;
            let fetcher = Arc::clone(self);
            work.running.spawn(async move {
                let attempt = fetcher.attempt(&job).await;
                (job, attempt)
            });
        }
    }

    async fn ended(&self, work: &mut Work, mut job: Job, attempt: Attempt) {
        let key = (job.client, job.message_id);
        if let Some(count) = work.under_way.get_mut(&job.client) {
            *count -= 1;
            if *count == 0 {
                work.under_way.remove(&job.client);
            }
        }
        job.attempts += 1;
        match attempt {
            Attempt::Done | Attempt::NoLine => _ = work.known.remove(&key),
            Attempt::Again { reason, .. } if job.attempts >= self.settings.fetch_attempts_max => {
                self.settle(&job, MediaOutcome::Failed(reason)).await;
                work.known.remove(&key);
            }
            Attempt::Again { after, .. } => {
                let pause = job.backoff.next_delay().max(after.unwrap_or_default());
                job.not_before = Instant::now() + pause;
                work.queue.push_back(job);
            }
        }
    }

    async fn attempt(&self, job: &Job) -> Attempt {
        let Some(line) = self.lines.of(job.client) else { return Attempt::NoLine };
        let limit = Duration::from_secs(self.settings.fetch_timeout_s);
        let fetched = timeout(limit, self.fetch(job, &line)).await;
        let (outcome, label) = match fetched {
            Ok(Ok(about)) => (MediaOutcome::Stored(about.stored()), "stored"),
            Ok(Err(Trouble::Final(reason))) => (MediaOutcome::Failed(reason), reason.as_str()),
            Ok(Err(Trouble::MessageGone)) => return Attempt::Done,
            Ok(Err(Trouble::Passing { reason, after })) => {
                metrics::counter!(MEDIA_FETCHES, "outcome" => "retried").increment(1);
                return Attempt::Again { reason, after };
            }
            Err(_) => {
                metrics::counter!(MEDIA_FETCHES, "outcome" => "timed_out").increment(1);
                return Attempt::Again { reason: MediaFailure::Unreachable, after: None };
            }
        };
        metrics::counter!(MEDIA_FETCHES, "outcome" => label).increment(1);
        self.settle(job, outcome).await;
        Attempt::Done
    }

    async fn fetch(&self, job: &Job, line: &Line) -> Result<About, Trouble> {
        let opened = line.provider.fetch_media(&line.account, &job.remote).await;
        let download = opened.map_err(Trouble::of_provider)?;
        let bytes_max = self.settings.inbound_bytes_max;
        if download.length.is_some_and(|length| length > bytes_max) {
            return Err(Trouble::Final(MediaFailure::TooLarge));
        }
        let MediaDownload { mime_type, length, mut bytes } = download;
        let mut writing = self.store.begin(job.client, MediaId(job.message_id.0)).await?;
        let mut head = Bytes::new();
        while let Some(part) = bytes.next().await {
            let part = part.map_err(|error| Trouble::broken_off(&error))?;
            if head.is_empty() {
                head = part.clone();
            }
            writing.write(part).await?;
            if writing.size() > bytes_max {
                return Err(Trouble::Final(MediaFailure::TooLarge));
            }
        }
        check(job, length, &writing)?;
        if !self.has_message(job).await {
            return Err(Trouble::MessageGone);
        }
        let told = job.mime_type.clone().or(mime_type).filter(|told| is_media_type(told));
        let seen = || infer::get(&head).map(|kind| kind.mime_type().to_owned());
        let mime_type = told.or_else(seen).unwrap_or_else(|| UNKNOWN_TYPE.to_owned());
        let filename = job.filename.as_deref().and_then(clean_filename);
        Ok(writing.finish(mime_type, filename, self.clock.now(), true).await?)
    }

    /// Whether the message is there still and shows the medium: it may have been withdrawn, or its
    /// author erased. When that can't be told, telling the outcome will.
    async fn has_message(&self, job: &Job) -> bool {
        match self.queries.message(job.client, job.message_id).await {
            Ok(message) => message.is_some_and(|message| message.media.is_some()),
            Err(_) => true,
        }
    }

    /// Tells the outcome, however long the log can't take it. A copy of what is gone meanwhile is
    /// deleted.
    async fn settle(&self, job: &Job, outcome: MediaOutcome) {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_CEILING);
        let stored = matches!(outcome, MediaOutcome::Stored(_));
        loop {
            let told =
                self.commands.settle_media(job.client, job.message_id, outcome.clone()).await;
            match told {
                Ok(_) => return,
                Err(CommandError::NotFound) => {
                    let id = MediaId(job.message_id.0);
                    if stored && let Err(error) = self.store.delete(job.client, id).await {
                        warn!(%error, "a copy whose message is gone can't be deleted");
                    }
                    return;
                }
                Err(error) => {
                    debug!(%error, "what became of a medium can't be stored: tries again");
                    sleep(backoff.next_delay()).await;
                }
            }
        }
    }
}

impl Job {
    fn of(message: Message) -> Option<Self> {
        let media = message.media?;
        Some(Self {
            client: message.client_id,
            message_id: message.id,
            sha256: media.sha256.as_deref().and_then(read_sha256),
            remote: RemoteMedia { id: media.id, url: media.url },
            mime_type: media.mime_type,
            filename: media.filename,
            taken_in_at: message.created_at,
            attempts: 0,
            backoff: Backoff::new(RETRY_FIRST, RETRY_CEILING),
            not_before: Instant::now(),
        })
    }
}

/// Why a medium was not fetched.
#[derive(Debug)]
enum Trouble {
    Final(MediaFailure),
    Passing { reason: MediaFailure, after: Option<Duration> },
    MessageGone,
}

impl Trouble {
    fn of_provider(error: SendError) -> Self {
        match error {
            SendError::Final { .. } => Trouble::Final(MediaFailure::Gone),
            SendError::Retry { after, .. } => {
                Trouble::Passing { reason: MediaFailure::Unreachable, after }
            }
            // A person has to see to the number first; media are kept for days.
            SendError::Stopped { .. } | SendError::InDoubt { .. } => {
                Trouble::Passing { reason: MediaFailure::Unreachable, after: None }
            }
        }
    }

    fn broken_off(error: &io::Error) -> Self {
        debug!(%error, "fetching a medium broke off");
        Trouble::Passing { reason: MediaFailure::Unreachable, after: None }
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        warn!(%error, "a medium can't be stored: tries again");
        Trouble::Passing { reason: MediaFailure::Unreachable, after: None }
    }
}

/// Whether all of it came, and what was announced.
fn check(job: &Job, length: Option<u64>, writing: &Writing<'_>) -> Result<(), Trouble> {
    let whole = length.is_none_or(|length| length == writing.size());
    let as_announced = job.sha256.is_none_or(|sha256| sha256 == writing.sha256());
    if whole && as_announced {
        return Ok(());
    }
    Err(Trouble::Passing { reason: MediaFailure::Damaged, after: None })
}

/// 32 bytes as a provider writes them: base64 on the Cloud API, hexadecimal elsewhere. What is
/// neither can't be checked.
fn read_sha256(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if hex::decode_to_slice(text, &mut bytes).is_ok() {
        return Some(bytes);
    }
    let engines = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE_NO_PAD];
    engines.iter().find_map(|engine| engine.decode(text).ok()?.try_into().ok())
}

/// `type/subtype`, with parameters perhaps: nothing that breaks a header.
fn is_media_type(text: &str) -> bool {
    const LENGTH_MAX: usize = 200;
    let plain = text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    let essence = text.split(';').next().unwrap_or_default();
    plain
        && text.len() <= LENGTH_MAX
        && essence.split('/').filter(|part| !part.is_empty()).count() == 2
}
