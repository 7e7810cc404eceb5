//! Bulks: one text or template to many contacts, and how far it has come.
//!
//! The API gathers a bulk's recipients, `command` stores them in parts and then the bulk itself;
//! the runner (`crate::bulk`) claims recipients in their order, a batch at a time, and queues one
//! message for each; from there on they are messages like all others, and their statuses move the
//! bulk's counters.
//!
//! **Invariant:** the message to a bulk's recipient has one id, which follows from the bulk's id
//! and the recipient's number ([`message_id`]). Whoever claims a recipient again, on whichever
//! instance and after whichever crash, queues the same message, which the fold takes once.
//!
//! **Invariant:** `sent + failed + in_doubt + waiting = total`. Each is what a recount of the
//! bulk's messages gives ([`BulkCounts::of`]), so late and repeated statuses can't make them
//! wrong. Recipients who are left out are of no total any more.
//!
//! Personal data of recipients stands in [`RecipientPart`]s, which have streams of their own so
//! that erasing a person can put a part without that person in the place of each, and in the
//! conversations of those who were written to. A bulk's own stream has none.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    ids::{BulkId, ClientId, ConversationId, MessageId},
    message::{Message, MessageStatus, ProviderError},
    time::Timestamp,
};

pub mod content;

use content::BulkContent;

/// The most recipients of a bulk.
pub const RECIPIENTS_MAX: u32 = 100_000;
/// The fastest pace, in messages a second: a number's upgraded limit at WhatsApp.
pub const RATE_PER_SECOND_MAX: f64 = 1000.0;
/// The slowest pace: some three messages an hour.
pub const RATE_PER_SECOND_MIN: f64 = 0.001;
/// How much of the pace a runner that was late may make up for, in microseconds.
pub const BURST_US: i64 = 1_000_000;
/// The longest name of a bulk, in characters.
pub const BULK_NAME_CHARS_MAX: usize = 200;

/// Bits of an id that tell the recipient; a bulk's own id has none of them set.
const NUMBER_BITS: u32 = 20;
const NUMBER_MASK: u128 = (1 << NUMBER_BITS) - 1;
const _: () = assert!((RECIPIENTS_MAX as u128) < NUMBER_MASK);

/// A bulk's id from a fresh UUID. What is cleared leaves 54 random bits and the millisecond.
pub fn bulk_id(fresh: Uuid) -> BulkId {
    BulkId(Uuid::from_u128(fresh.as_u128() & !NUMBER_MASK))
}

/// The id of the message to the recipient with this number, from 0.
pub fn message_id(bulk: BulkId, number: u32) -> MessageId {
    MessageId(Uuid::from_u128(bulk.0.as_u128() | (u128::from(number) + 1)))
}

/// The number of the recipient to whom this message is; `None` when it is none of the bulk's.
pub fn recipient_number(bulk: BulkId, message: MessageId) -> Option<u32> {
    let id = message.0.as_u128();
    if id & !NUMBER_MASK != bulk.0.as_u128() {
        return None;
    }
    u32::try_from(id & NUMBER_MASK).ok()?.checked_sub(1)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BulkStatus {
    Scheduled,
    Running,
    Paused,
    Completed,
    Cancelled,
    /// The provider refused the number or the template. A person may resume it.
    Failed,
}

impl BulkStatus {
    /// Nothing more is claimed, unless somebody resumes a failed one.
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled | Self::Failed)
    }
}

/// What a bulk was asked to be; it does not change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BulkSpec {
    pub name: String,
    pub content: BulkContent,
    /// Names of the recipients' [`values`](Recipient::values), in their order.
    #[serde(default)]
    pub columns: Vec<String>,
    /// How many recipients its parts hold.
    pub recipients: u32,
    pub rate_per_second: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_at: Option<Timestamp>,
}

/// One recipient as the bulk was given them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Recipient {
    /// E.164 with `+`. Empty for one who was erased.
    #[serde(rename = "p")]
    pub phone: String,
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(rename = "v", default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

impl Recipient {
    /// Erased before the message was queued.
    pub fn is_erased(&self) -> bool {
        self.phone.is_empty()
    }
}

/// Consecutive recipients of a bulk: the event that stores them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecipientPart {
    pub bulk_id: BulkId,
    /// Which part, from 0; the upper half counts how often it was written anew
    /// ([`rewritten`](Self::rewritten)).
    pub part: u32,
    /// The number of its first recipient.
    pub first: u32,
    pub recipients: Vec<Recipient>,
}

impl RecipientPart {
    /// The same part for the stream that takes the place of this one's.
    pub fn rewritten(mut self, erase: impl Fn(&Recipient) -> bool) -> Self {
        self.part = self.part.wrapping_add(1 << 16);
        for recipient in self.recipients.iter_mut().filter(|recipient| erase(recipient)) {
            *recipient = Recipient::default();
        }
        self
    }
}

/// A batch of recipients, claimed. The queued messages stand beside it in the same append.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BulkBatch {
    pub bulk_id: BulkId,
    /// The number of its first recipient: all before are claimed already.
    pub first: u32,
    /// How many it claims, those left out included.
    pub count: u32,
    /// Who of them gets no message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// Up to when the bulk's pace is used up by it, in microseconds since the Unix epoch: what
    /// the next claim counts from, on whichever instance.
    pub paced_to_us: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    pub number: u32,
    pub reason: LeftOutReason,
}

/// Why a recipient gets no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftOutReason {
    /// The contact does not want such messages.
    OptedOut,
    /// The contact was erased meanwhile.
    Erased,
    /// What is stored makes no message: of another release, or damaged.
    Invalid,
}

/// How far the message to a recipient has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecipientResult {
    /// Not sent yet; of a bulk that has ended: was not sent.
    Waiting,
    /// Claimed for sending, outcome not known (yet).
    InDoubt,
    Sent,
    Delivered,
    Read,
    Failed,
    OptedOut,
    Erased,
    Invalid,
}

impl RecipientResult {
    pub fn of(message: &Message) -> Self {
        match message.status {
            MessageStatus::Received | MessageStatus::Queued if message.send_started => {
                Self::InDoubt
            }
            MessageStatus::Received | MessageStatus::Queued => Self::Waiting,
            MessageStatus::Sent => Self::Sent,
            MessageStatus::Delivered => Self::Delivered,
            MessageStatus::Read => Self::Read,
            MessageStatus::Failed => Self::Failed,
        }
    }
}

impl From<LeftOutReason> for RecipientResult {
    fn from(reason: LeftOutReason) -> Self {
        match reason {
            LeftOutReason::OptedOut => Self::OptedOut,
            LeftOutReason::Erased => Self::Erased,
            LeftOutReason::Invalid => Self::Invalid,
        }
    }
}

/// What is kept of a recipient once they are claimed. The message is found by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BulkRecipient {
    pub result: RecipientResult,
    /// Where the message stands; `None` for one who was left out.
    pub conversation_id: Option<ConversationId>,
}

/// How many of the bulk's messages stand where. `delivered` and `read` are parts of `sent`, and
/// `read` is one of `delivered`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BulkCounts {
    /// Queued, and not claimed for sending.
    pub queued: i64,
    pub in_doubt: i64,
    /// Taken by the provider and not failed.
    pub sent: i64,
    pub delivered: i64,
    pub read: i64,
    pub failed: i64,
}

impl BulkCounts {
    /// What one message counts, as it stands.
    pub fn of(result: RecipientResult) -> Self {
        let none = Self::default();
        match result {
            RecipientResult::Waiting => Self { queued: 1, ..none },
            RecipientResult::InDoubt => Self { in_doubt: 1, ..none },
            RecipientResult::Sent => Self { sent: 1, ..none },
            RecipientResult::Delivered => Self { sent: 1, delivered: 1, ..none },
            RecipientResult::Read => Self { sent: 1, delivered: 1, read: 1, ..none },
            RecipientResult::Failed => Self { failed: 1, ..none },
            RecipientResult::OptedOut | RecipientResult::Erased | RecipientResult::Invalid => none,
        }
    }

    pub fn add(&mut self, other: Self) {
        self.queued += other.queued;
        self.in_doubt += other.in_doubt;
        self.sent += other.sent;
        self.delivered += other.delivered;
        self.read += other.read;
        self.failed += other.failed;
    }

    pub fn subtract(&mut self, other: Self) {
        self.queued -= other.queued;
        self.in_doubt -= other.in_doubt;
        self.sent -= other.sent;
        self.delivered -= other.delivered;
        self.read -= other.read;
        self.failed -= other.failed;
    }
}

/// A bulk as it stands after the events so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Bulk {
    pub id: BulkId,
    pub client_id: ClientId,
    pub spec: Arc<BulkSpec>,
    pub progress: BulkProgress,
}

/// What of a bulk changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BulkProgress {
    pub status: BulkStatus,
    /// The number of the first recipient who is not claimed.
    pub next: u32,
    pub left_out: u32,
    pub counts: BulkCounts,
    /// Whose message was taken by the provider last.
    pub current: Option<ConversationId>,
    pub paced_to_us: i64,
    /// What the provider said when it refused the number or the template.
    pub refusal: Option<ProviderError>,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    /// When anything of this last changed.
    pub updated_at: Timestamp,
}

impl Bulk {
    pub fn created(id: BulkId, client_id: ClientId, spec: Arc<BulkSpec>, at: Timestamp) -> Self {
        let scheduled = spec.scheduled_at.is_some();
        let progress = BulkProgress {
            status: if scheduled { BulkStatus::Scheduled } else { BulkStatus::Running },
            next: 0,
            left_out: 0,
            counts: BulkCounts::default(),
            current: None,
            paced_to_us: at.0.saturating_mul(1000),
            refusal: None,
            created_at: at,
            started_at: (!scheduled).then_some(at),
            finished_at: None,
            updated_at: at,
        };
        Self { id, client_id, spec, progress }
    }

    /// Recipients who got the message or are to get it.
    pub fn total(&self) -> i64 {
        i64::from(self.spec.recipients) - i64::from(self.progress.left_out)
    }

    /// Recipients whose message is not with the provider, and surely not.
    pub fn waiting(&self) -> i64 {
        let BulkCounts { sent, failed, in_doubt, .. } = self.progress.counts;
        self.total() - sent - failed - in_doubt
    }

    /// All are claimed.
    pub fn is_claimed(&self) -> bool {
        self.progress.next >= self.spec.recipients
    }

    /// The runner may have something to do: claim, start, complete, fail, or withdraw what is
    /// still queued of a cancelled one.
    pub fn needs_runner(&self) -> bool {
        match self.progress.status {
            BulkStatus::Scheduled | BulkStatus::Running => true,
            BulkStatus::Cancelled => self.progress.counts.queued > 0,
            BulkStatus::Paused | BulkStatus::Completed | BulkStatus::Failed => false,
        }
    }
}

/// What a person may do to a bulk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BulkControl {
    Pause,
    Resume,
    Cancel,
}

/// Why a bulk can't be paused, resumed or cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    #[error("the bulk is completed")]
    Completed,
    #[error("the bulk is cancelled")]
    Cancelled,
    #[error("the bulk has failed: resume or cancel it")]
    Failed,
}

/// The status that the control leads to; `None` when it is so already.
pub fn decide_control(
    bulk: &Bulk,
    control: BulkControl,
    now: Timestamp,
) -> Result<Option<BulkStatus>, ControlError> {
    use BulkStatus::{Cancelled, Completed, Failed, Paused, Running, Scheduled};
    match (control, bulk.progress.status) {
        (_, Completed) => Err(ControlError::Completed),
        (BulkControl::Cancel, Cancelled) | (BulkControl::Pause, Paused) => Ok(None),
        (_, Cancelled) => Err(ControlError::Cancelled),
        (BulkControl::Cancel, _) => Ok(Some(Cancelled)),
        (BulkControl::Pause, Failed) => Err(ControlError::Failed),
        (BulkControl::Pause, Scheduled | Running) => Ok(Some(Paused)),
        (BulkControl::Resume, Scheduled | Running) => Ok(None),
        (BulkControl::Resume, Paused | Failed) => Ok(Some(resumed_status(bulk, now))),
    }
}

/// One that was paused before its time goes on waiting for it.
pub fn resumed_status(bulk: &Bulk, now: Timestamp) -> BulkStatus {
    let to_wait = bulk.progress.started_at.is_none()
        && bulk.spec.scheduled_at.is_some_and(|scheduled| scheduled > now);
    if to_wait { BulkStatus::Scheduled } else { BulkStatus::Running }
}

/// Whether the provider's error is about the sender or the template and not about one recipient:
/// what follows would be refused alike (WHATSAPP.md, "stop campaign/number").
///
/// Code 0 is left out: Meta gives it for a broken token, but we give it for errors of our own. A
/// broken token shows in the tenant's WhatsApp state too.
pub fn is_refusal(error: &ProviderError) -> bool {
    matches!(
        error.code,
        131_048 | 368 | 131_031 | 190 | 10 | 200..=299 | 131_042 | 131_064 | 132_015 | 132_016
    )
}

/// How many recipients the pace allows now.
///
/// A runner that was late catches up, but for no more than [`BURST_US`] of it: after a stop, a
/// bulk goes on at its pace instead of making up for the time.
pub fn due(bulk: &Bulk, now: Timestamp) -> u32 {
    let now_us = now.0.saturating_mul(1000);
    let waited = now_us.saturating_sub(paced_from(bulk, now_us)).max(0);
    let due = waited as f64 * bulk.spec.rate_per_second / 1e6;
    // Half a millionth for what the rounding of `paced_to` took away.
    (due + 5e-7).floor().min(f64::from(u32::MAX)) as u32
}

/// Up to when the pace is used up once `count` more are claimed.
pub fn paced_to(bulk: &Bulk, now: Timestamp, count: u32) -> i64 {
    let now_us = now.0.saturating_mul(1000);
    let used = f64::from(count) * 1e6 / bulk.spec.rate_per_second;
    paced_from(bulk, now_us).saturating_add(used.round() as i64)
}

fn paced_from(bulk: &Bulk, now_us: i64) -> i64 {
    // And one message: a slow bulk's takes longer than the burst.
    let burst_us = BURST_US.saturating_add((1e6 / bulk.spec.rate_per_second).ceil() as i64);
    bulk.progress.paced_to_us.max(now_us.saturating_sub(burst_us))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOON: Timestamp = Timestamp(1_795_521_600_000);

    fn bulk(rate_per_second: f64) -> Bulk {
        let spec = BulkSpec {
            name: "b".to_owned(),
            content: BulkContent::Text { text: "hola".to_owned() },
            columns: Vec::new(),
            recipients: RECIPIENTS_MAX,
            rate_per_second,
            scheduled_at: None,
        };
        let id = bulk_id(Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_dead_beef));
        Bulk::created(id, ClientId(1), spec.into(), NOON)
    }

    #[test]
    fn a_message_tells_its_recipient_and_no_other_bulks() {
        let id = bulk(1.0).id;
        for number in [0, 1, RECIPIENTS_MAX - 1] {
            assert_eq!(recipient_number(id, message_id(id, number)), Some(number));
        }
        assert_eq!(recipient_number(id, MessageId(id.0)), None);
        let other = bulk_id(Uuid::from_u128(0x0193_0000_0000_7000_8000_0001_dead_beef));
        assert_eq!(recipient_number(other, message_id(id, 7)), None);
    }

    proptest! {
        /// Claimed whenever something is due, at whatever moments, the pace is kept.
        #[test]
        fn the_pace_is_kept_however_often_the_runner_looks(
            rate in 0.5f64..1000.0,
            pauses in prop::collection::vec(1i64..900, 200..400),
        ) {
            let mut bulk = bulk(rate);
            let mut now = NOON;
            let mut claimed = 0u32;
            for pause in pauses {
                now = now.plus_ms(pause);
                let count = due(&bulk, now);
                if count > 0 {
                    bulk.progress.paced_to_us = paced_to(&bulk, now, count);
                    claimed += count;
                }
            }
            let allowed = now.since(NOON) as f64 / 1000.0 * rate;
            prop_assert!(f64::from(claimed) <= allowed + 1.0, "{claimed} of {allowed}");
            prop_assert!(f64::from(claimed) >= allowed * 0.99 - 2.0, "{claimed} of {allowed}");
        }
    }

    #[test]
    fn after_a_stop_only_the_burst_is_made_up_for() {
        let bulk = bulk(100.0);
        assert_eq!(due(&bulk, NOON.plus_ms(10)), 1);
        assert_eq!(due(&bulk, NOON.plus_ms(3_600_000)), 101);
        assert_eq!(due(&bulk, NOON.plus_ms(-5)), 0);
    }

    #[test]
    fn a_slow_bulk_is_due_in_the_end() {
        let bulk = bulk(RATE_PER_SECOND_MIN);
        assert_eq!(due(&bulk, NOON.plus_ms(999_999)), 0);
        assert_eq!(due(&bulk, NOON.plus_ms(1_000_001)), 1);
        assert_eq!(due(&bulk, NOON.plus_ms(9_000_001)), 1);
    }

    #[test]
    fn controls_lead_where_a_person_expects() {
        use BulkControl::{Cancel, Pause, Resume};
        use BulkStatus::{Cancelled, Completed, Failed, Paused, Running, Scheduled};
        for (status, control, expected) in [
            (Running, Pause, Ok(Some(Paused))),
            (Scheduled, Pause, Ok(Some(Paused))),
            (Paused, Pause, Ok(None)),
            (Paused, Resume, Ok(Some(Running))),
            (Failed, Resume, Ok(Some(Running))),
            (Failed, Pause, Err(ControlError::Failed)),
            (Running, Resume, Ok(None)),
            (Failed, Cancel, Ok(Some(Cancelled))),
            (Cancelled, Cancel, Ok(None)),
            (Cancelled, Resume, Err(ControlError::Cancelled)),
            (Completed, Cancel, Err(ControlError::Completed)),
        ] {
            let mut bulk = bulk(1.0);
            bulk.progress.status = status;
            assert_eq!(decide_control(&bulk, control, NOON), expected, "{status:?} {control:?}");
        }
        let mut waiting = bulk(1.0);
        let spec =
            BulkSpec { scheduled_at: Some(NOON.plus_ms(1)), ..BulkSpec::clone(&waiting.spec) };
        waiting.spec = spec.into();
        waiting.progress.started_at = None;
        waiting.progress.status = Paused;
        assert_eq!(decide_control(&waiting, Resume, NOON), Ok(Some(Scheduled)));
        assert_eq!(decide_control(&waiting, Resume, NOON.plus_ms(1)), Ok(Some(Running)));
    }
}
