//! Media from end to end: a log, a read model and a store in a folder, and a provider in memory.

mod erasing;
mod fetching;
mod sending;
mod uploading;

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::sync::watch;

use super::*;
use crate::{
    command::{Actor, Commands},
    domain::{
        conversation::Contact,
        ids::{ConversationId, Position},
        intake::{Intake, IntakeMessage},
        message::{Direction, Media as MessageMedia, Message, MessageKind, ProviderError},
        time::Timestamp,
    },
    erasure::{Eraser, Holder},
    event_log::{EventLog, sqlite::SqliteLog},
    gateway::outbound::{
        Accepted, Account, Line, Lines, MediaDownload, MediaSource, MediaUpload, Outbound,
        OutboundMessage, Recipient, RemoteMedia, RetryScope, SendError, Session, Template,
    },
    projection::{
        CommittedBatch, FeedSink, follow, queries::MessageName, read_model::ReadModel,
        settings::ProjectionSettings,
    },
    runtime::{clock::ManualClock, secret::Secret, shutdown::Shutdown},
};

const CLIENT: ClientId = ClientId(1);
const OTHER: ClientId = ClientId(2);
const NOW: Timestamp = Timestamp(1_795_515_330_000);
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Media type, file name and content.
type Uploaded = (String, Option<String>, Vec<u8>);

/// A provider that has what tests put into it, and remembers what it was asked.
struct FakeProvider {
    media: Mutex<HashMap<String, Vec<u8>>>,
    /// Media are handed out while it is open.
    open: watch::Sender<bool>,
    /// Errors for the next calls, before anything else.
    errors: Mutex<Vec<SendError>>,
    fetched: AtomicUsize,
    uploaded: Mutex<Vec<Uploaded>>,
}

impl Default for FakeProvider {
    fn default() -> Self {
        Self {
            media: Mutex::default(),
            open: watch::Sender::new(true),
            errors: Mutex::default(),
            fetched: AtomicUsize::new(0),
            uploaded: Mutex::default(),
        }
    }
}

impl FakeProvider {
    fn put(&self, id: &str, bytes: &[u8]) {
        self.media.lock().insert(id.to_owned(), bytes.to_vec());
    }
}

fn provider_error(code: i64) -> ProviderError {
    ProviderError { code, title: "no".to_owned(), detail: String::new() }
}

#[async_trait]
impl Outbound for FakeProvider {
    async fn send(
        &self,
        _account: &Account,
        _to: &Recipient,
        _message: &OutboundMessage,
    ) -> Result<Accepted, SendError> {
        Err(SendError::Final { error: provider_error(1) })
    }

    async fn mark_read(
        &self,
        _account: &Account,
        _from: &Recipient,
        _wa_message_id: &str,
        _typing: bool,
    ) -> Result<(), SendError> {
        Ok(())
    }

    async fn typing(
        &self,
        _account: &Account,
        _to: &Recipient,
        _newest: Option<&str>,
        _typing: bool,
    ) -> Result<(), SendError> {
        Ok(())
    }

    async fn fetch_media(
        &self,
        _account: &Account,
        media: &RemoteMedia,
    ) -> Result<MediaDownload, SendError> {
        self.fetched.fetch_add(1, Ordering::SeqCst);
        if let Some(error) = self.errors.lock().pop() {
            return Err(error);
        }
        let _ = self.open.subscribe().wait_for(|open| *open).await;
        let id = media.id.clone().unwrap_or_default();
        let found = self.media.lock().get(&id).cloned();
        let bytes = found.ok_or(SendError::Final { error: provider_error(404) })?;
        let parts: Vec<_> =
            bytes.chunks(1000).map(|part| Ok(Bytes::copy_from_slice(part))).collect();
        Ok(MediaDownload {
            mime_type: None,
            length: Some(bytes.len() as u64),
            bytes: futures_util::stream::iter(parts).boxed(),
        })
    }

    async fn upload_media(
        &self,
        _account: &Account,
        mut media: MediaUpload,
    ) -> Result<MediaSource, SendError> {
        if let Some(error) = self.errors.lock().pop() {
            return Err(error);
        }
        let mut bytes = Vec::new();
        while let Some(part) = media.bytes.next().await {
            bytes.extend_from_slice(&part.expect("readable"));
        }
        assert_eq!(bytes.len() as u64, media.length);
        let mut uploaded = self.uploaded.lock();
        uploaded.push((media.mime_type, media.filename, bytes));
        Ok(MediaSource::Provider(format!("provider-{}", uploaded.len())))
    }

    async fn templates(&self, _account: &Account) -> Result<Vec<Template>, SendError> {
        Ok(Vec::new())
    }

    async fn session(&self, _account: &Account) -> Result<Session, SendError> {
        Err(SendError::Final { error: provider_error(1) })
    }
}

/// Everybody's line, but for tenants from the hundredth on.
struct FakeLines(Arc<FakeProvider>);

impl Lines for FakeLines {
    fn of(&self, client: ClientId) -> Option<Line> {
        (client.0 < 100).then(|| line(&self.0))
    }
}

fn line(provider: &Arc<FakeProvider>) -> Line {
    Line {
        account: Account::WhatsAppCloud {
            phone_number_id: "1".to_owned(),
            waba_id: None,
            access_token: Secret::new("token".to_owned()),
        },
        provider: Arc::clone(provider) as Arc<dyn Outbound>,
    }
}

/// Keeps what was published.
#[derive(Default)]
struct Sink(Mutex<Vec<serde_json::Value>>);

impl FeedSink for Sink {
    fn committed(&self, batch: &CommittedBatch) {
        let events = batch
            .frames
            .iter()
            .map(|frame| serde_json::from_slice::<serde_json::Value>(&frame.json).expect("JSON"));
        self.0.lock().extend(events);
    }
}

/// An instance over a folder.
struct Instance {
    log: Arc<dyn EventLog>,
    queries: Queries,
    commands: Arc<Commands>,
    store: Arc<MediaStore>,
    media: Arc<Media>,
    provider: Arc<FakeProvider>,
    clock: Arc<ManualClock>,
    published: Arc<Sink>,
    settings: MediaSettings,
    shutdown: Shutdown,
    projector: follow::Following,
}

fn projection_settings(folder: &Path) -> ProjectionSettings {
    ProjectionSettings { path: folder.join("read-model.db"), ..ProjectionSettings::default() }
}

impl Instance {
    async fn start(folder: &Path, provider: &Arc<FakeProvider>) -> Self {
        Self::with(folder, provider, |_| {}).await
    }

    async fn with(
        folder: &Path,
        provider: &Arc<FakeProvider>,
        change: impl FnOnce(&mut MediaSettings),
    ) -> Self {
        let mut settings = MediaSettings {
            directory: folder.join("media"),
            fetch_attempts_max: 2,
            ..MediaSettings::default()
        };
        change(&mut settings);
        let log: Arc<dyn EventLog> =
            Arc::new(SqliteLog::open(&folder.join("log.db")).expect("a log"));
        let clock = Arc::new(ManualClock::at(NOW));
        let shutdown = Shutdown::new();
        let head = log.head().await.expect("a head");
        let model = ReadModel::open(&projection_settings(folder), &log.identity().epoch, head)
            .expect("a read model");
        let queries = Queries::open(&model).expect("queries");
        let published = Arc::new(Sink::default());
        let projector =
            follow::follow(model, log.clone(), published.clone(), clock.clone(), &shutdown)
                .expect("a projector");
        let commands = Arc::new(Commands::new(log.clone(), queries.clone(), clock.clone()));
        let store = Arc::new(MediaStore::open(&settings).expect("a store"));
        let media = Media::new(store.clone(), queries.clone(), clock.clone(), settings.clone());
        Self {
            log,
            queries,
            commands,
            store,
            media: Arc::new(media),
            provider: Arc::clone(provider),
            clock,
            published,
            settings,
            shutdown,
            projector,
        }
    }

    fn fetches(self) -> Self {
        let fetcher = Fetcher {
            store: self.store.clone(),
            queries: self.queries.clone(),
            commands: self.commands.clone(),
            lines: Arc::new(FakeLines(self.provider.clone())),
            clock: self.clock.clone(),
            settings: self.settings.clone(),
        };
        fetcher.start(&self.shutdown);
        self
    }

    fn erases(self) -> Self {
        self.erases_with(Vec::new())
    }

    fn erases_with(self, holders: Vec<Arc<dyn Holder>>) -> Self {
        let eraser = Eraser {
            queries: self.queries.clone(),
            commands: self.commands.clone(),
            media: self.store.clone(),
            holders,
        };
        eraser.start(&self.shutdown);
        self
    }

    /// Ends in order, as a process does.
    async fn stop(self) {
        self.shutdown.stopping.cancel();
        self.shutdown.tasks.close();
        self.shutdown.tasks.wait().await;
        self.projector.ended().await.expect("the projector ends");
        self.log.close().await;
    }

    async fn take_in(&self, client: ClientId, items: Vec<Intake>) -> Position {
        self.commands.take_in(client, &actor(), items).await.expect("taken in");
        self.come_up().await
    }

    async fn come_up(&self) -> Position {
        let head = self.log.head().await.expect("a head");
        let mut projected = self.queries.projected();
        let reached = projected.wait_for(|at| *at >= head);
        tokio::time::timeout(PATIENCE, reached).await.expect("in time").expect("projected");
        head
    }

    async fn message(&self, client: ClientId, key: &str) -> Option<Message> {
        let name = MessageName { id: None, dedupe_key: key.to_owned() };
        let found = self.queries.conversations_of(client, vec![name]).await.expect("read");
        let history = self.queries.messages(client, found[0]?, None, 200).await.expect("read");
        history.items.into_iter().find(|message| message.dedupe_key.as_deref() == Some(key))
    }

    /// Waits until the message is as wanted.
    async fn until(
        &self,
        client: ClientId,
        key: &str,
        wanted: impl Fn(&Message) -> bool,
    ) -> Message {
        let mut projected = self.queries.projected();
        let waiting = async {
            loop {
                projected.mark_unchanged();
                if let Some(message) = self.message(client, key).await.filter(&wanted) {
                    return message;
                }
                projected.changed().await.expect("projected");
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("in time")
    }

    async fn settled(&self, client: ClientId, key: &str) -> Message {
        self.until(client, key, |message| {
            message.media.as_ref().is_some_and(|media| !media.is_pending())
        })
        .await
    }

    async fn bytes_of(&self, client: ClientId, id: MediaId) -> Vec<u8> {
        let about = self.store.about(client, id).await.expect("read").expect("there");
        collect(self.store.read(client, id, 0..about.size).await.expect("read")).await
    }
}

async fn collect(mut stream: ByteStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(part) = stream.next().await {
        bytes.extend_from_slice(&part.expect("readable"));
    }
    bytes
}

fn actor() -> Actor {
    Actor("user:ann".to_owned())
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn person(phone: &str, name: &str) -> Contact {
    Contact { phone: Some(phone.to_owned()), name: Some(name.to_owned()), ..Contact::default() }
}

fn text(contact: &Contact, key: &str, text: &str) -> Intake {
    Intake::Message {
        contact: contact.clone(),
        message: IntakeMessage {
            direction: Direction::Inbound,
            wa_message_id: key.to_owned(),
            dedupe_key: key.to_owned(),
            kind: MessageKind::Text,
            text: Some(text.to_owned()),
            media: None,
            payload: None,
            reply_to: None,
            sent_at: NOW.plus_ms(-1000),
            imported: false,
            by_api: false,
            status: None,
        },
    }
}

fn picture(contact: &Contact, key: &str, id: &str, sha256: Option<String>) -> Intake {
    let Intake::Message { contact, message } = text(contact, key, "look") else {
        unreachable!("a message")
    };
    let media = MessageMedia {
        id: Some(id.to_owned()),
        mime_type: Some("image/png".to_owned()),
        sha256,
        filename: Some("photo of me.png".to_owned()),
        ..MessageMedia::default()
    };
    let message = IntakeMessage { kind: MessageKind::Image, media: Some(media), ..message };
    Intake::Message { contact, message }
}

/// Files below a folder that hold these bytes.
fn files_with(folder: &Path, needle: &[u8]) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            found.extend(files_with(&path, needle));
        } else if memchr::memmem::find(&std::fs::read(&path).expect("readable"), needle).is_some() {
            found.push(path);
        }
    }
    found
}
