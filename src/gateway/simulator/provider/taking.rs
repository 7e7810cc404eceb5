//! The way of a message into the provider, the same for both kinds of it.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Entry, Outcome, Shared, customers,
    plan::{Answering, Plan, Told, plan},
};
use crate::domain::time::Timestamp;

/// Recipients that begin so are refused with the code that follows.
const REFUSED_PREFIX: &str = "999";

/// A message that a caller hands over.
pub(super) struct Handed {
    pub(super) provider: &'static str,
    /// The number or session.
    pub(super) sender: String,
    /// Digits, or another id.
    pub(super) recipient: String,
    pub(super) message_id: Option<String>,
    pub(super) kind: String,
    pub(super) text: Option<String>,
}

/// What becomes of it.
pub(super) enum Taken {
    Refused(i64),
    Cut,
    Yes { wa_message_id: String, answering: Answering, statuses: Vec<Told> },
}

impl Shared {
    /// `make_id` makes the provider's id from the number of the message.
    pub(super) fn take(&self, handed: &Handed, make_id: impl Fn(u64) -> String) -> Taken {
        let key = handed.key();
        let mut ledger = self.ledger.lock();
        let attempt = ledger.attempt(&key);
        let always = handed.recipient.strip_prefix(REFUSED_PREFIX);
        let always = always.and_then(|code| code.parse::<i64>().ok());
        let exceeded = || {
            let mut limits = self.limits.lock();
            limits.exceeded(&handed.sender, &handed.recipient, Instant::now())
        };
        if let Some(code) = always.or_else(exceeded) {
            ledger.refused(code);
            return Taken::Refused(code);
        }
        let delay = Duration::from_millis(self.settings.status_delay_ms);
        let planned = plan(&self.faults.load(), self.settings.seed, &key, attempt, delay);
        let (answering, statuses, outcome) = match planned {
            Plan::Refuse(code) => {
                ledger.refused(code);
                return Taken::Refused(code);
            }
            Plan::Cut => {
                ledger.was_cut();
                return Taken::Cut;
            }
            Plan::Take { answering, statuses, outcome } => (answering, statuses, outcome),
        };
        let wa_message_id = make_id(ledger.next_number());
        let entry = handed.entry(&wa_message_id, self.clock.now(), outcome);
        let place = handed.message_id.as_ref().unwrap_or(&wa_message_id);
        ledger.take(place, entry);
        Taken::Yes { wa_message_id, answering, statuses }
    }

    /// What a customer does about a message that reached them.
    pub(super) fn let_customer_answer(self: &Arc<Self>, handed: &Handed, wa_message_id: &str) {
        if self.settings.customers_answer {
            customers::answer(self, handed, wa_message_id);
        }
    }
}

impl Handed {
    /// By what the message is the same when it is handed over again.
    fn key(&self) -> String {
        match &self.message_id {
            Some(id) => id.clone(),
            None => {
                let text = self.text.as_deref().unwrap_or_default();
                format!("{} {} {text}", self.recipient, self.kind)
            }
        }
    }

    fn entry(&self, wa_message_id: &str, taken_at: Timestamp, outcome: Outcome) -> Entry {
        Entry {
            provider: self.provider.to_owned(),
            sender: self.sender.clone(),
            recipient: self.recipient.clone(),
            message_id: self.message_id.clone(),
            wa_message_id: wa_message_id.to_owned(),
            kind: self.kind.clone(),
            text: self.text.clone(),
            taken_at,
            count: 1,
            outcome,
        }
    }
}
