//! What contacts send is fetched, checked, told, and fetched on after a restart.

use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

use super::*;
use crate::domain::message::CopyState;

const PICTURE: &[u8] = b"\x89PNG\r\n\x1a\n and so on";

fn sha256_of(bytes: &[u8]) -> Option<String> {
    Some(STANDARD.encode(Sha256::digest(bytes)))
}

fn state_of(message: &Message) -> Option<CopyState> {
    message.media.as_ref()?.copy.map(|copy| copy.state)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_medium_is_fetched_checked_and_told() {
    let folder = folder();
    let provider = Arc::new(FakeProvider::default());
    let large: Vec<u8> = (0..700_000u32).flat_map(u32::to_le_bytes).collect();
    provider.put("m1", PICTURE);
    provider.put("m2", &large);
    provider.open.send_replace(false);
    let here = Instance::start(folder.path(), &provider).await.fetches();
    let ana = person("+34600000001", "Ana");
    let items = vec![
        picture(&ana, "w1", "m1", sha256_of(PICTURE)),
        picture(&ana, "w2", "m2", Some(hex::encode(Sha256::digest(&large)))),
    ];
    here.take_in(CLIENT, items).await;
    let first = here.message(CLIENT, "w1").await.expect("there");
    assert_eq!(state_of(&first), Some(CopyState::Pending));
    let id = MediaId(first.id.0);

    // Who asks at once waits until it is here.
    let media = here.media.clone();
    let asked = tokio::spawn(async move { media.find(CLIENT, id).await.expect("answered") });
    provider.open.send_replace(true);
    let Found::Here(about) = asked.await.expect("ends") else { panic!("it was not waited for") };
    assert_eq!((about.mime_type.as_str(), about.size), ("image/png", PICTURE.len() as u64));
    assert_eq!(about.filename.as_deref(), Some("photo of me.png"));
    assert_eq!(here.bytes_of(CLIENT, id).await, PICTURE);

    let stored = here.settled(CLIENT, "w2").await;
    let media = stored.media.expect("media");
    assert_eq!(media.copy.and_then(|copy| copy.size), Some(large.len() as u64));
    assert_eq!(media.sha256, Some(hex::encode(Sha256::digest(&large))));
    assert!(here.bytes_of(CLIENT, MediaId(stored.id.0)).await == large);
    let middle = here.store.read(CLIENT, MediaId(stored.id.0), 999_990..1_000_010).await;
    assert_eq!(collect(middle.expect("read")).await, &large[999_990..1_000_010]);

    // Another tenant has no such medium.
    assert_eq!(here.media.find(OTHER, id).await.expect("answered"), Found::None);

    let told: Vec<_> = here
        .published
        .0
        .lock()
        .iter()
        .filter(|event| event["data"]["message"]["payload"]["event"] == "media_stored")
        .map(|event| event["data"]["message"].clone())
        .collect();
    assert_eq!(told.len(), 2);
    assert!(told.iter().any(|notice| {
        notice["payload"]["message_id"] == first.id.to_string()
            && notice["type"] == "system"
            && notice["media"]["status"] == "stored"
            && notice["media"]["id"] == id.to_string()
            && notice["media"]["size"] == PICTURE.len()
    }));
    let history = here.queries.messages(CLIENT, ConversationId(1), None, 10).await.expect("read");
    assert_eq!(history.items.len(), 2, "the notices are told and not kept");
    here.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_had_is_given_up_and_told() {
    let folder = folder();
    let provider = Arc::new(FakeProvider::default());
    provider.put("damaged", PICTURE);
    provider.put("large", &vec![7; 5000]);
    let here = Instance::with(folder.path(), &provider, |settings| {
        settings.inbound_bytes_max = 4000;
    });
    let here = here.await.fetches();
    let ana = person("+34600000001", "Ana");
    let items = vec![
        picture(&ana, "w1", "damaged", sha256_of(b"something else")),
        picture(&ana, "w2", "large", None),
        picture(&ana, "w3", "gone", None),
    ];
    here.take_in(CLIENT, items).await;
    for key in ["w1", "w2", "w3"] {
        let message = here.settled(CLIENT, key).await;
        assert_eq!(state_of(&message), Some(CopyState::Failed), "{key}");
        let id = MediaId(message.id.0);
        assert_eq!(here.media.find(CLIENT, id).await.expect("answered"), Found::Failed);
        assert_eq!(here.store.about(CLIENT, id).await, Ok(None));
    }
    let mut reasons: Vec<String> = here
        .published
        .0
        .lock()
        .iter()
        .filter_map(|event| {
            event["data"]["message"]["payload"]["reason"].as_str().map(str::to_owned)
        })
        .collect();
    reasons.sort();
    assert_eq!(reasons, ["damaged", "gone", "too_large"]);
    // Four calls: the damaged one was tried twice.
    assert_eq!(provider.fetched.load(Ordering::SeqCst), 4);
    assert_eq!(files_with(&here.settings.directory, PICTURE), Vec::<std::path::PathBuf>::new());
    here.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_passing_failure_is_tried_again() {
    let folder = folder();
    let provider = Arc::new(FakeProvider::default());
    provider.put("m1", PICTURE);
    let error = provider_error(131_016);
    provider.errors.lock().push(SendError::Retry { error, after: None, scope: RetryScope::Number });
    let here = Instance::start(folder.path(), &provider).await.fetches();
    here.take_in(CLIENT, vec![picture(&person("+34600000001", "Ana"), "w1", "m1", None)]).await;
    let message = here.settled(CLIENT, "w1").await;
    assert_eq!(state_of(&message), Some(CopyState::Stored));
    assert_eq!(provider.fetched.load(Ordering::SeqCst), 2);
    here.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_under_way_is_fetched_after_a_restart() {
    let folder = folder();
    let provider = Arc::new(FakeProvider::default());
    provider.put("m1", PICTURE);
    provider.open.send_replace(false);
    let here = Instance::start(folder.path(), &provider).await.fetches();
    here.take_in(CLIENT, vec![picture(&person("+34600000001", "Ana"), "w1", "m1", None)]).await;
    here.stop().await;
    provider.open.send_replace(true);
    let again = Instance::start(folder.path(), &provider).await.fetches();
    let message = again.settled(CLIENT, "w1").await;
    assert_eq!(state_of(&message), Some(CopyState::Stored));
    assert_eq!(again.bytes_of(CLIENT, MediaId(message.id.0)).await, PICTURE);
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_tenant_delays_no_other_and_one_without_a_line_waits() {
    let folder = folder();
    let provider = Arc::new(FakeProvider::default());
    provider.put("m1", PICTURE);
    let here = Instance::start(folder.path(), &provider).await;
    let ana = person("+34600000001", "Ana");
    let unreachable = ClientId(100);
    here.take_in(unreachable, vec![picture(&ana, "x", "m1", None)]).await;
    let many = (0..50).map(|n| picture(&ana, &format!("a{n}"), "slow", None)).collect();
    here.take_in(CLIENT, many).await;
    here.take_in(OTHER, vec![picture(&ana, "w1", "m1", None)]).await;
    // The first tenant's do not come; the other's does.
    struct Slow(Arc<FakeProvider>);
    #[async_trait]
    impl Outbound for Slow {
        async fn send(
            &self,
            account: &Account,
            to: &Recipient,
            message: &OutboundMessage,
        ) -> Result<Accepted, SendError> {
            self.0.send(account, to, message).await
        }
        async fn mark_read(
            &self,
            account: &Account,
            from: &Recipient,
            wa_message_id: &str,
            typing: bool,
        ) -> Result<(), SendError> {
            self.0.mark_read(account, from, wa_message_id, typing).await
        }
        async fn typing(
            &self,
            account: &Account,
            to: &Recipient,
            newest: Option<&str>,
            typing: bool,
        ) -> Result<(), SendError> {
            self.0.typing(account, to, newest, typing).await
        }
        async fn fetch_media(
            &self,
            account: &Account,
            media: &RemoteMedia,
        ) -> Result<MediaDownload, SendError> {
            if media.id.as_deref() == Some("slow") {
                std::future::pending::<()>().await;
            }
            self.0.fetch_media(account, media).await
        }
        async fn upload_media(
            &self,
            account: &Account,
            media: MediaUpload,
        ) -> Result<MediaSource, SendError> {
            self.0.upload_media(account, media).await
        }
        async fn templates(&self, account: &Account) -> Result<Vec<Template>, SendError> {
            self.0.templates(account).await
        }
        async fn session(&self, account: &Account) -> Result<Session, SendError> {
            self.0.session(account).await
        }
    }
    struct SlowLines(Arc<Slow>);
    impl Lines for SlowLines {
        fn of(&self, client: ClientId) -> Option<Line> {
            let line = FakeLines(self.0.0.clone()).of(client)?;
            Some(Line { provider: self.0.clone(), ..line })
        }
    }
    let fetcher = Fetcher {
        store: here.store.clone(),
        queries: here.queries.clone(),
        commands: here.commands.clone(),
        lines: Arc::new(SlowLines(Arc::new(Slow(provider.clone())))),
        clock: here.clock.clone(),
        settings: here.settings.clone(),
    };
    fetcher.start(&here.shutdown);
    let message = here.settled(OTHER, "w1").await;
    assert_eq!(state_of(&message), Some(CopyState::Stored));
    let waits = here.message(unreachable, "x").await.expect("there");
    assert_eq!(state_of(&waits), Some(CopyState::Pending));
    here.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_week_a_medium_is_not_asked_for_any_more() {
    let folder = folder();
    let provider = Arc::new(FakeProvider::default());
    let here = Instance::start(folder.path(), &provider).await;
    let unreachable = ClientId(100);
    let ana = person("+34600000001", "Ana");
    here.take_in(unreachable, vec![picture(&ana, "x", "m1", None)]).await;
    here.clock.advance_ms(8 * 24 * 3600 * 1000);
    let here = here.fetches();
    let message = here.settled(unreachable, "x").await;
    assert_eq!(state_of(&message), Some(CopyState::Failed));
    assert_eq!(provider.fetched.load(Ordering::SeqCst), 0);
    here.stop().await;
}
