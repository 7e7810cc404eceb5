//! What the provider is told to be like.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::runtime::secret::Secret;

/// The simulated provider.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProviderSimulatorSettings {
    /// Address and port to listen on (default `127.0.0.1:8090`; port 0 takes a free one).
    pub address: String,
    /// Draws what becomes of each message (default 1).
    pub seed: u64,
    /// The server that webhooks go to: `http://127.0.0.1:8080`. Absent: they wait.
    pub webhook_url: Option<String>,
    /// Signs the Cloud API's webhooks.
    pub app_secret: Secret<String>,
    /// Signs WAHA's webhooks.
    pub waha_hmac_key: Secret<String>,
    /// Messages a second that a number may send (default 80), as much at once; 0: without limit.
    pub number_rate_per_second: u32,
    /// Whether one recipient gets at most 1 message in 6 s, and 45 at once (default true).
    pub pair_limit: bool,
    /// How long after a message its statuses come, on average (default 400).
    pub status_delay_ms: u64,
    /// How many statuses may go into one webhook (default 50, at most 1000, as Meta's).
    pub webhook_batch_max: usize,
    /// Whether customers answer what they are sent (default false).
    pub customers_answer: bool,
    /// What goes wrong. Nothing by default.
    pub faults: Faults,
}

impl Default for ProviderSimulatorSettings {
    fn default() -> Self {
        Self {
            address: "127.0.0.1:8090".to_owned(),
            seed: 1,
            webhook_url: None,
            app_secret: Secret::new("simulator app secret".to_owned()),
            waha_hmac_key: Secret::new("simulator hmac key".to_owned()),
            number_rate_per_second: 80,
            pair_limit: true,
            status_delay_ms: 400,
            webhook_batch_max: 50,
            customers_answer: false,
            faults: Faults::default(),
        }
    }
}

impl ProviderSimulatorSettings {
    /// For tests: a free port, no limits, quick statuses.
    pub fn for_tests() -> Self {
        Self {
            address: "127.0.0.1:0".to_owned(),
            number_rate_per_second: 0,
            pair_limit: false,
            status_delay_ms: 20,
            ..Self::default()
        }
    }
}

/// How often something goes wrong, in thousandths of the messages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    /// Refused with one of `error_codes`.
    pub error_permille: u16,
    /// The codes to draw from. Empty (the default): those that pass or that mean one recipient.
    pub error_codes: Vec<i64>,
    /// The connection is cut and the message not taken.
    pub cut_permille: u16,
    /// The message is taken and the connection cut.
    pub cut_after_permille: u16,
    /// The message is taken and no answer ever comes.
    pub silence_permille: u16,
    /// The message is taken, and the first webhook of it comes before the answer.
    pub webhook_first_permille: u16,
    /// The message is taken, and fails afterwards (status `failed`).
    pub fail_later_permille: u16,
    /// No status ever comes.
    pub lost_statuses_permille: u16,
    /// A status comes ten times as late.
    pub late_permille: u16,
    /// Every status comes twice.
    pub twice_permille: u16,
    /// Statuses come in reverse.
    pub reversed_permille: u16,
    /// `read` comes without `delivered`.
    pub read_only_permille: u16,
}

impl Faults {
    /// Everything that may go wrong without stopping the number, each now and then.
    pub fn chaos() -> Self {
        Self {
            error_permille: 60,
            error_codes: Vec::new(),
            cut_permille: 20,
            cut_after_permille: 20,
            silence_permille: 10,
            webhook_first_permille: 80,
            fail_later_permille: 40,
            lost_statuses_permille: 20,
            late_permille: 60,
            twice_permille: 100,
            reversed_permille: 100,
            read_only_permille: 100,
        }
    }
}
