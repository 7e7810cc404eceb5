//! A provider in the same process, with a ledger: what it was asked to send, what it took, and
//! what it said. Its moods come from a seed.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::time::Instant;

use crate::{
    domain::{ids::MessageId, message::ProviderError, whatsapp::WhatsAppStatus},
    gateway::outbound::{
        Accepted, Account, MediaDownload, MediaSource, MediaUpload, Outbound, OutboundMessage,
        Recipient, RemoteMedia, RetryScope, SendError, Session, Stopped, Template,
    },
};

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Takes,
    /// Takes it, and its answer gets lost.
    TakesSilently,
    /// Takes it, and never answers.
    TakesForEver,
    /// Does not take it, and its answer gets lost.
    LosesIt,
    Later,
    Patience,
    Refuses,
    RefusesNumber,
    RefusesTemplate,
    Breaks,
}

/// One call.
#[derive(Debug, Clone)]
pub struct Call {
    pub message: MessageId,
    pub to: String,
    pub text: String,
    pub at: Instant,
    pub taken: bool,
}

type Decide = Box<dyn FnMut(&OutboundMessage) -> Mood + Send>;

pub struct Provider {
    pub calls: Mutex<Vec<Call>>,
    decide: Mutex<Decide>,
    random: Mutex<SmallRng>,
    slowest: Duration,
}

impl Provider {
    /// One that takes everything at once.
    pub fn willing() -> Arc<Self> {
        Self::deciding(Duration::ZERO, |_| Mood::Takes)
    }

    pub fn deciding(
        slowest: Duration,
        decide: impl FnMut(&OutboundMessage) -> Mood + Send + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            calls: Mutex::default(),
            decide: Mutex::new(Box::new(decide)),
            random: Mutex::new(SmallRng::seed_from_u64(1)),
            slowest,
        })
    }

    /// One of all moods.
    pub fn moody(seed: u64) -> Arc<Self> {
        let mut random = SmallRng::seed_from_u64(seed);
        Self::deciding(Duration::from_millis(300), move |_| match random.random_range(0..100) {
            0..60 => Mood::Takes,
            60..66 => Mood::TakesSilently,
            66..68 => Mood::TakesForEver,
            68..74 => Mood::LosesIt,
            74..84 => Mood::Later,
            84..88 => Mood::Patience,
            88..96 => Mood::Refuses,
            96..98 => Mood::RefusesNumber,
            98..99 => Mood::RefusesTemplate,
            _ => Mood::Breaks,
        })
    }

    /// How often each message was taken.
    pub fn taken(&self) -> HashMap<MessageId, usize> {
        let mut taken = HashMap::new();
        for call in self.calls.lock().iter().filter(|call| call.taken) {
            *taken.entry(call.message).or_default() += 1;
        }
        taken
    }

    /// The texts that were taken, by recipient, in order.
    pub fn taken_by_recipient(&self) -> HashMap<String, Vec<String>> {
        let mut taken: HashMap<String, Vec<String>> = HashMap::new();
        for call in self.calls.lock().iter().filter(|call| call.taken) {
            taken.entry(call.to.clone()).or_default().push(call.text.clone());
        }
        taken
    }
}

fn error(code: i64) -> ProviderError {
    ProviderError { code, title: format!("error {code}"), detail: "of the test".to_owned() }
}

#[async_trait]
impl Outbound for Provider {
    async fn send(
        &self,
        _: &Account,
        to: &Recipient,
        message: &OutboundMessage,
    ) -> Result<Accepted, SendError> {
        let mood = (self.decide.lock())(message);
        let (before, after) = {
            let mut random = self.random.lock();
            let most = self.slowest.as_millis() as u64;
            (random.random_range(0..=most), random.random_range(0..=most))
        };
        tokio::time::sleep(Duration::from_millis(before)).await;
        let takes = matches!(mood, Mood::Takes | Mood::TakesSilently | Mood::TakesForEver);
        self.calls.lock().push(Call {
            message: message.id,
            to: to.phone.clone().unwrap_or_default(),
            text: message.text.clone().unwrap_or_default(),
            at: Instant::now(),
            taken: takes,
        });
        tokio::time::sleep(Duration::from_millis(after)).await;
        match mood {
            Mood::Takes => {
                let id = format!("wamid.{}", message.id);
                Ok(Accepted { wa_message_id: id.clone(), dedupe_key: id })
            }
            Mood::TakesSilently | Mood::LosesIt => {
                Err(SendError::InDoubt { reason: "the test says nothing".to_owned() })
            }
            Mood::TakesForEver => std::future::pending().await,
            Mood::Later => Err(SendError::Retry {
                error: error(131_056),
                after: None,
                scope: RetryScope::Recipient,
            }),
            Mood::Patience => Err(SendError::Retry {
                error: error(130_429),
                after: Some(Duration::from_secs(2)),
                scope: RetryScope::Number,
            }),
            Mood::Refuses => Err(SendError::Final { error: error(131_026) }),
            Mood::RefusesNumber => {
                Err(SendError::Stopped { error: error(131_031), what: Stopped::Number })
            }
            Mood::RefusesTemplate => {
                Err(SendError::Stopped { error: error(132_015), what: Stopped::Template })
            }
            Mood::Breaks => panic!("the test's provider breaks"),
        }
    }

    async fn mark_read(
        &self,
        _: &Account,
        from: &Recipient,
        wa_message_id: &str,
        _: bool,
    ) -> Result<(), SendError> {
        self.note(from, format!("read {wa_message_id}"));
        Ok(())
    }

    async fn typing(
        &self,
        _: &Account,
        to: &Recipient,
        newest: Option<&str>,
        typing: bool,
    ) -> Result<(), SendError> {
        self.note(to, format!("typing {typing} {newest:?}"));
        Ok(())
    }

    async fn fetch_media(&self, _: &Account, _: &RemoteMedia) -> Result<MediaDownload, SendError> {
        Err(SendError::Final { error: error(0) })
    }

    async fn upload_media(&self, _: &Account, _: MediaUpload) -> Result<MediaSource, SendError> {
        Err(SendError::Final { error: error(0) })
    }

    async fn templates(&self, _: &Account) -> Result<Vec<Template>, SendError> {
        Ok(Vec::new())
    }

    async fn session(&self, _: &Account) -> Result<Session, SendError> {
        Ok(Session {
            status: WhatsAppStatus::Connected,
            phone_number: None,
            name: None,
            qr: None,
            quality: None,
            reason: None,
        })
    }
}

impl Provider {
    /// A call that sends nothing.
    fn note(&self, to: &Recipient, text: String) {
        self.calls.lock().push(Call {
            message: MessageId(uuid::Uuid::nil()),
            to: to.phone.clone().unwrap_or_default(),
            text,
            at: Instant::now(),
            taken: false,
        });
    }
}
