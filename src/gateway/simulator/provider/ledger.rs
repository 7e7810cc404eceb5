//! Every message that was taken: what tests compare with the server's state.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::domain::time::Timestamp;

/// The most messages that are kept. Those beyond it are taken and counted, and the count says so.
const ENTRIES_MAX: usize = 2_000_000;

/// How far a message came, as its webhooks tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// No webhook speaks of it.
    Untold,
    Sent,
    Delivered,
    Read,
    Failed,
}

impl Outcome {
    pub(super) fn name(self) -> &'static str {
        match self {
            Outcome::Untold => "untold",
            Outcome::Sent => "sent",
            Outcome::Delivered => "delivered",
            Outcome::Read => "read",
            Outcome::Failed => "failed",
        }
    }
}

/// A message that was taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// `whatsapp_cloud` or `waha`.
    pub provider: String,
    /// The number or session that sent it.
    pub sender: String,
    pub recipient: String,
    /// What stood in `biz_opaque_callback_data`; WAHA has none.
    pub message_id: Option<String>,
    /// The id that it was given, when it was first taken.
    pub wa_message_id: String,
    pub kind: String,
    pub text: Option<String>,
    /// When it was first taken.
    pub taken_at: Timestamp,
    /// How often it was taken: more than once is once too often.
    pub count: u32,
    /// What its webhooks say in the end.
    pub outcome: Outcome,
}

/// The ledger as it stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LedgerView {
    pub entries: Vec<Entry>,
    /// Messages taken, repetitions included.
    pub taken: u64,
    /// Calls that were refused, by code.
    pub refused: HashMap<i64, u64>,
    /// Calls whose connection was cut before anything was taken.
    pub cut: u64,
    pub reads: u64,
    pub typings: u64,
    /// Webhooks that are still to be told.
    pub webhooks_waiting: u64,
    /// Messages that are not in `entries`, since there are too many.
    pub left_out: u64,
}

impl LedgerView {
    /// The messages by our own ids.
    pub fn by_message_id(&self) -> HashMap<&str, &Entry> {
        let keyed = |entry: &'_ Entry| entry.message_id.is_some();
        let entries = self.entries.iter().filter(|entry| keyed(entry));
        entries.filter_map(|entry| Some((entry.message_id.as_deref()?, entry))).collect()
    }
}

#[derive(Default)]
pub(super) struct Ledger {
    view: LedgerView,
    /// Where an entry is, by its key.
    places: HashMap<String, usize>,
    /// How often a message was tried, taken or not.
    attempts: HashMap<String, u32>,
}

impl Ledger {
    /// The number of this attempt at the message, from 1.
    pub(super) fn attempt(&mut self, key: &str) -> u32 {
        if let Some(attempts) = self.attempts.get_mut(key) {
            *attempts += 1;
            return *attempts;
        }
        if self.attempts.len() < ENTRIES_MAX {
            self.attempts.insert(key.to_owned(), 1);
        }
        1
    }

    pub(super) fn take(&mut self, key: &str, entry: Entry) {
        self.view.taken += 1;
        if let Some(&place) = self.places.get(key) {
            self.view.entries[place].count += 1;
        } else if self.view.entries.len() < ENTRIES_MAX {
            self.places.insert(key.to_owned(), self.view.entries.len());
            self.view.entries.push(entry);
        } else {
            self.view.left_out += 1;
        }
    }

    pub(super) fn refused(&mut self, code: i64) {
        *self.view.refused.entry(code).or_default() += 1;
    }

    pub(super) fn was_cut(&mut self) {
        self.view.cut += 1;
    }

    pub(super) fn read(&mut self) {
        self.view.reads += 1;
    }

    pub(super) fn typing(&mut self) {
        self.view.typings += 1;
    }

    /// A number for the next id.
    pub(super) fn next_number(&self) -> u64 {
        self.view.taken + 1
    }

    pub(super) fn view(&self, webhooks_waiting: u64) -> LedgerView {
        LedgerView { webhooks_waiting, ..self.view.clone() }
    }
}
