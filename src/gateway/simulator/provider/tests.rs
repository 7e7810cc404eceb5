//! The provider, called by the senders that call the real ones, and its webhooks read by the
//! receivers that read theirs.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use uuid::Uuid;

use super::*;
use crate::{
    domain::{
        ids::{ClientId, MessageId},
        intake::{Intake, IntakeStatus},
        message::{MessageKind, MessageStatus},
        time::Timestamp,
    },
    gateway::{
        http::{ProviderHttp, ProviderHttpSettings},
        outbound::{
            Account, MediaSource, MediaUpload, Outbound, OutboundMessage, Recipient, RemoteMedia,
            SendError,
        },
        peer_test::{Asked, Peer, Reply},
        routes::{Routes, TenantRoutes, TenantRouting, WahaSession},
        waha::{Waha, WahaSender, WahaSettings},
        whatsapp_cloud::{WhatsAppCloud, WhatsAppCloudSender, WhatsAppCloudSettings},
    },
    runtime::{clock::SystemClock, secret::Secret},
};

const NOW: Timestamp = Timestamp(1_795_515_330_000);
const NUMBER: &str = "101";

/// A provider and where its webhooks go.
struct World {
    provider: ProviderSimulator,
    inbox: Peer,
    cloud: WhatsAppCloudSender,
    waha: WahaSender,
}

impl World {
    async fn with(settings: ProviderSimulatorSettings) -> Self {
        Self::answering(settings, vec![Reply::Raw(200, "", Vec::new())]).await
    }

    /// The inbox gives these answers to webhooks.
    async fn answering(settings: ProviderSimulatorSettings, replies: Vec<Reply>) -> Self {
        let provider = ProviderSimulator::start(settings, Arc::new(SystemClock)).await.unwrap();
        let inbox = Peer::start(replies).await;
        provider.send_webhooks_to(&inbox.url);
        let http = ProviderHttp::new(&ProviderHttpSettings {
            request_timeout_ms: 400,
            ..ProviderHttpSettings::default()
        })
        .unwrap();
        let cloud =
            WhatsAppCloudSettings { graph_url: provider.url(), ..WhatsAppCloudSettings::default() };
        let cloud = WhatsAppCloudSender::new(&cloud, http.clone());
        Self { provider, inbox, cloud, waha: WahaSender::new(http) }
    }

    async fn faulty(faults: Faults) -> Self {
        Self::with(ProviderSimulatorSettings { faults, ..ProviderSimulatorSettings::for_tests() })
            .await
    }

    /// All webhooks, once none is waiting.
    async fn webhooks(&self) -> Vec<Asked> {
        let done = async {
            while self.provider.ledger().webhooks_waiting > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), done).await.expect("webhooks are told");
        self.inbox.asked()
    }

    /// What the receivers understand of all webhooks, in the order in which they came.
    async fn intakes(&self) -> Vec<Intake> {
        let (cloud, waha) = receivers();
        let mut intakes = Vec::new();
        for asked in self.webhooks().await {
            let inbound = if asked.line == "POST /webhooks/whatsapp" {
                cloud.receive(asked.header("x-hub-signature-256"), &asked.body, NOW)
            } else {
                waha.receive(asked.header("x-webhook-hmac"), &asked.body, NOW)
            };
            intakes.extend(inbound.unwrap().items.into_iter().map(|(_, intake)| intake));
        }
        intakes
    }

    async fn statuses(&self) -> Vec<IntakeStatus> {
        let statuses = self.intakes().await.into_iter().filter_map(|intake| match intake {
            Intake::Status { status, .. } => Some(status),
            _ => None,
        });
        statuses.collect()
    }
}

fn receivers() -> (WhatsAppCloud, Waha) {
    let settings = ProviderSimulatorSettings::default();
    let session = WahaSession {
        name: "shop".to_owned(),
        hmac_key: Some(settings.waha_hmac_key),
        ..WahaSession::default()
    };
    let routes = TenantRoutes {
        phone_number_ids: vec![NUMBER.to_owned()],
        waha_sessions: vec![session],
        ..TenantRoutes::default()
    };
    let routes = Routes::new(&[TenantRouting { client: ClientId(1), routes }]);
    let routes = Arc::new(routes.unwrap());
    let cloud = WhatsAppCloudSettings {
        app_secrets: vec![settings.app_secret],
        ..WhatsAppCloudSettings::default()
    };
    let waha = Waha::new(&WahaSettings::default(), &routes).unwrap();
    (WhatsAppCloud::new(&cloud, routes).unwrap(), waha)
}

fn number() -> Account {
    Account::WhatsAppCloud {
        phone_number_id: NUMBER.to_owned(),
        waba_id: Some("9".to_owned()),
        access_token: Secret::new("token".to_owned()),
    }
}

fn session(world: &World) -> Account {
    Account::Waha { base_url: world.provider.url(), session: "shop".to_owned(), api_key: None }
}

fn to(digits: &str) -> Recipient {
    Recipient { phone: Some(format!("+{digits}")), ..Recipient::default() }
}

fn text(number: u128) -> OutboundMessage {
    OutboundMessage {
        id: MessageId(Uuid::from_u128(number)),
        kind: MessageKind::Text,
        text: Some(format!("text {number}")),
        media: None,
        filename: None,
        mime_type: None,
        voice: false,
        payload: None,
        reply_to: None,
    }
}

fn all(permille: impl FnOnce(&mut Faults)) -> Faults {
    let mut faults = Faults::default();
    permille(&mut faults);
    faults
}

#[tokio::test]
async fn a_message_is_taken_once_and_told_of_with_our_id() {
    let world = World::faulty(Faults::default()).await;
    let accepted = world.cloud.send(&number(), &to("573001112233"), &text(7)).await.unwrap();
    let ledger = world.provider.ledger();
    let [entry] = ledger.entries.as_slice() else { panic!("{ledger:?}") };
    assert_eq!(entry.message_id, Some(text(7).id.to_string()));
    assert_eq!(entry.wa_message_id, accepted.wa_message_id);
    assert_eq!((entry.recipient.as_str(), entry.count), ("573001112233", 1));
    let statuses = world.statuses().await;
    assert!(statuses.len() >= 2, "{statuses:?}");
    for status in &statuses {
        assert_eq!(status.message_id, Some(text(7).id));
        assert_eq!(status.dedupe_key, accepted.dedupe_key);
    }
    let told: Vec<MessageStatus> = statuses.iter().map(|status| status.status).collect();
    assert!(told.contains(&MessageStatus::Sent) && told.contains(&MessageStatus::Delivered));
}

#[tokio::test]
async fn a_number_of_nines_and_a_code_is_always_refused_with_it() {
    let world = World::faulty(Faults::default()).await;
    for code in [131_026, 131_047, 131_056, 130_429, 190, 132_015] {
        let outcome = world.cloud.send(&number(), &to(&format!("999{code}")), &text(7)).await;
        let (SendError::Final { error }
        | SendError::Stopped { error, .. }
        | SendError::Retry { error, .. }) = outcome.unwrap_err()
        else {
            panic!("in doubt");
        };
        assert_eq!(error.code, code);
    }
    assert_eq!(world.provider.ledger().taken, 0);
}

#[tokio::test]
async fn what_is_taken_and_not_answered_is_in_doubt_and_settled_by_webhooks() {
    for faults in [all(|f| f.silence_permille = 1000), all(|f| f.cut_after_permille = 1000)] {
        let world = World::faulty(faults).await;
        let outcome = world.cloud.send(&number(), &to("573001112233"), &text(7)).await;
        assert!(matches!(outcome, Err(SendError::InDoubt { .. })), "{outcome:?}");
        assert_eq!(world.provider.ledger().entries[0].count, 1);
        assert_eq!(world.statuses().await[0].message_id, Some(text(7).id));
    }
}

#[tokio::test]
async fn what_is_cut_before_it_is_taken_is_in_doubt_too() {
    let world = World::faulty(all(|f| f.cut_permille = 1000)).await;
    let outcome = world.cloud.send(&number(), &to("573001112233"), &text(7)).await;
    assert!(matches!(outcome, Err(SendError::InDoubt { .. })), "{outcome:?}");
    let ledger = world.provider.ledger();
    assert_eq!((ledger.taken, ledger.cut), (0, 1));
}

#[tokio::test]
async fn a_webhook_can_outrun_the_answer() {
    let world = World::faulty(all(|f| f.webhook_first_permille = 1000)).await;
    let (account, recipient, message) = (number(), to("573001112233"), text(7));
    let sending = world.cloud.send(&account, &recipient, &message);
    tokio::pin!(sending);
    let told = async {
        while world.inbox.asked().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        outcome = &mut sending => panic!("answered first: {outcome:?}"),
        () = told => {}
    }
    sending.await.unwrap();
}

#[tokio::test]
async fn statuses_come_twice_reversed_and_without_delivered() {
    let world = World::faulty(all(|f| {
        f.twice_permille = 1000;
        f.reversed_permille = 1000;
        f.read_only_permille = 1000;
    }))
    .await;
    world.cloud.send(&number(), &to("573001112233"), &text(7)).await.unwrap();
    let told: Vec<MessageStatus> =
        world.statuses().await.iter().map(|status| status.status).collect();
    assert_eq!(told.len(), 4);
    assert_eq!(told[0], MessageStatus::Read);
    assert!(!told.contains(&MessageStatus::Delivered));
    assert_eq!(world.provider.ledger().entries[0].outcome, Outcome::Read);
}

#[tokio::test]
async fn a_webhook_is_told_until_it_is_taken() {
    let settings = ProviderSimulatorSettings::for_tests();
    let replies = vec![Reply::Raw(503, "", Vec::new()), Reply::Raw(200, "", Vec::new())];
    let world = World::answering(settings, replies).await;
    world.cloud.send(&number(), &to("573001112233"), &text(7)).await.unwrap();
    let bodies: Vec<Vec<u8>> = world.webhooks().await.into_iter().map(|asked| asked.body).collect();
    assert!(bodies[1..].contains(&bodies[0]), "the refused one came again");
}

#[tokio::test]
async fn waha_echoes_and_acknowledges_what_it_takes() {
    let world = World::faulty(Faults::default()).await;
    let account = session(&world);
    let accepted = world.waha.send(&account, &to("573001112233"), &text(7)).await.unwrap();
    let intakes = world.intakes().await;
    let echo = intakes.iter().find_map(|intake| match intake {
        Intake::Message { message, .. } => Some(message),
        _ => None,
    });
    let echo = echo.expect("an echo");
    assert!(echo.by_api);
    assert_eq!(echo.dedupe_key, accepted.dedupe_key);
    assert_eq!(echo.text.as_deref(), Some("text 7"));
    let statuses = world.statuses().await;
    assert!(statuses.iter().all(|status| status.dedupe_key == accepted.dedupe_key));
    assert!(statuses.iter().any(|status| status.status == MessageStatus::Delivered));
}

#[tokio::test]
async fn media_go_up_and_come_down_again() {
    let world = World::faulty(Faults::default()).await;
    let (_, picture) = media::sample(media::SAMPLE_IMAGE).unwrap();
    let upload = MediaUpload {
        mime_type: "image/png".to_owned(),
        filename: Some("sun.png".to_owned()),
        length: picture.len() as u64,
        bytes: stream::iter([Ok(picture.clone())]).boxed(),
    };
    let MediaSource::Provider(id) = world.cloud.upload_media(&number(), upload).await.unwrap()
    else {
        panic!("no id");
    };
    let remote = RemoteMedia { id: Some(id), url: None };
    let download = world.cloud.fetch_media(&number(), &remote).await.unwrap();
    assert_eq!(download.mime_type.as_deref(), Some("image/png"));
    let bytes: Vec<_> = download.bytes.map(|chunk| chunk.unwrap()).collect().await;
    assert_eq!(bytes.concat(), picture);
}

#[tokio::test]
async fn templates_sessions_and_receipts_are_there() {
    let world = World::faulty(Faults::default()).await;
    let templates = world.cloud.templates(&number()).await.unwrap();
    assert!(templates.iter().any(|template| template.status == "APPROVED"));
    let state = world.cloud.session(&number()).await.unwrap();
    assert_eq!(state.phone_number.as_deref(), Some("+576015550100"));
    assert!(world.waha.session(&session(&world)).await.is_ok());
    world.cloud.mark_read(&number(), &to("57300"), "wamid.1", true).await.unwrap();
    let ledger = world.provider.ledger();
    assert_eq!((ledger.reads, ledger.typings), (1, 1));
}

#[tokio::test]
async fn customers_answer_when_they_are_told_to() {
    let settings = ProviderSimulatorSettings {
        customers_answer: true,
        ..ProviderSimulatorSettings::for_tests()
    };
    let world = World::with(settings).await;
    for digit in 0..10 {
        let recipient = to(&format!("57300111223{digit}"));
        world.cloud.send(&number(), &recipient, &text(digit)).await.unwrap();
    }
    let intakes = world.intakes().await;
    let answers = intakes.iter().filter(|intake| matches!(intake, Intake::Message { .. })).count();
    assert!((3..=10).contains(&answers), "{answers}");
}

/// The promise that the outbox builds on: what is said to be surely not sent was not taken, and
/// what is said to be sent was taken once.
#[tokio::test]
async fn whatever_goes_wrong_the_senders_word_agrees_with_the_ledger() {
    let faults = Faults { error_permille: 200, cut_permille: 80, ..Faults::chaos() };
    let world = World::faulty(faults).await;
    let (account, waha) = (number(), session(&world));
    let outcomes: Vec<_> = stream::iter(0..400u128)
        .map(|number| {
            let (world, account, waha) = (&world, &account, &waha);
            async move {
                let recipient = to(&format!("57300{number:07}"));
                let message = text(number);
                let outcome = if number % 2 == 0 {
                    world.cloud.send(account, &recipient, &message).await
                } else {
                    world.waha.send(waha, &recipient, &message).await
                };
                (number, outcome)
            }
        })
        .buffer_unordered(32)
        .collect()
        .await;
    let ledger = world.provider.ledger();
    let mut in_doubt = 0;
    for (number, outcome) in outcomes {
        let recipient = format!("57300{number:07}");
        let entries: Vec<&Entry> =
            ledger.entries.iter().filter(|entry| entry.recipient == recipient).collect();
        match outcome {
            Ok(accepted) => {
                let [entry] = entries.as_slice() else { panic!("{number}: {entries:?}") };
                assert_eq!((entry.count, &entry.wa_message_id), (1, &accepted.wa_message_id));
            }
            Err(SendError::InDoubt { .. }) => {
                assert!(entries.len() <= 1);
                in_doubt += 1;
            }
            Err(sure) => assert!(entries.is_empty(), "{number}: {sure:?}, and it was taken"),
        }
    }
    assert!(in_doubt > 5, "{in_doubt}");
}
