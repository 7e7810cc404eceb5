//! Words by which a contact forbids marketing messages, or allows them again: `STOP`, `BAJA`.
//!
//! Such a message is stored like any other, and beside it what it means, as the event by which
//! WhatsApp's own preference is told (`marketing_preference_changed`). So what holds is in the
//! log: another word in the settings changes nothing of the past, and every instance folds alike.
//!
//! The whole message must be the word: "no quiero darme de baja" forbids nothing.

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Commands, recent::Recent};
use crate::domain::{
    ids::ClientId,
    intake::Intake,
    message::{Direction, MessageKind},
};

/// What contacts write to be left out of bulks, and to be in again.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConsentSettings {
    /// Messages by which a contact forbids bulk messages, as whole messages in any letter case
    /// (`["BAJA", "STOP"]`). Empty: only WhatsApp's own preference counts.
    pub opt_out_words: Vec<String>,
    /// Messages by which a contact allows them again (`["ALTA", "START"]`).
    pub opt_in_words: Vec<String>,
}

impl Default for ConsentSettings {
    fn default() -> Self {
        let words = |words: [&str; 2]| words.map(str::to_owned).to_vec();
        Self { opt_out_words: words(["BAJA", "STOP"]), opt_in_words: words(["ALTA", "START"]) }
    }
}

/// The words as they are compared.
pub(super) struct Words {
    forbidding: HashSet<String>,
    allowing: HashSet<String>,
    longest_bytes: usize,
}

impl Default for Words {
    fn default() -> Self {
        Self::new(&ConsentSettings::default())
    }
}

impl Words {
    pub(super) fn new(settings: &ConsentSettings) -> Self {
        let set = |words: &[String]| -> HashSet<String> {
            words.iter().map(|word| plain(word)).filter(|word| !word.is_empty()).collect()
        };
        let (forbidding, allowing) = (set(&settings.opt_out_words), set(&settings.opt_in_words));
        let longest_bytes = forbidding.iter().chain(&allowing).map(String::len).max().unwrap_or(0);
        Self { forbidding, allowing, longest_bytes }
    }

    /// What a message that says `text` tells; `None` when it is any other message. A word that
    /// stands in both lists forbids.
    fn told_by(&self, text: &str) -> Option<bool> {
        /// Spaces and punctuation around a word.
        const AROUND_BYTES_MAX: usize = 16;
        if text.len() > self.longest_bytes + AROUND_BYTES_MAX {
            return None;
        }
        let word = plain(text);
        if self.forbidding.contains(&word) {
            Some(false)
        } else {
            self.allowing.contains(&word).then_some(true)
        }
    }
}

/// Without what people put around a word.
fn plain(text: &str) -> String {
    text.trim_matches(|character: char| !character.is_alphanumeric()).to_lowercase()
}

impl Commands {
    /// The items, with what a message means behind it; and which of them are such additions.
    pub(super) fn with_preferences(
        &self,
        client: ClientId,
        recent: &Recent,
        items: Vec<Intake>,
    ) -> (Vec<Intake>, Vec<bool>) {
        let mut all = Vec::with_capacity(items.len());
        let mut added = Vec::with_capacity(items.len());
        for item in items {
            let preference = self.preference_told(client, recent, &item);
            all.push(item);
            added.push(false);
            if let Some(preference) = preference {
                all.push(preference);
                added.push(true);
            }
        }
        (all, added)
    }

    fn preference_told(&self, client: ClientId, recent: &Recent, item: &Intake) -> Option<Intake> {
        let Intake::Message { contact, message } = item else { return None };
        let says = matches!(message.kind, MessageKind::Text | MessageKind::Button)
            && message.direction == Direction::Inbound
            && !message.imported;
        let allowed = self.consent.told_by(message.text.as_deref().filter(|_| says)?)?;
        if self.is_recent(client, recent, item) {
            return None;
        }
        let contact = contact.clone();
        Some(Intake::MarketingPreference { contact, allowed, at: message.sent_at, key: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_known_however_it_is_written_and_only_alone() {
        let words = Words::default();
        for text in ["BAJA", "baja", " Baja.", "¡STOP!", "stop\n"] {
            assert_eq!(words.told_by(text), Some(false), "{text}");
        }
        assert_eq!(words.told_by("Alta"), Some(true));
        for text in ["", "bajar", "no quiero la baja", "stop it", "...", &"STOP ".repeat(50)] {
            assert_eq!(words.told_by(text), None, "{text}");
        }
        let none =
            ConsentSettings { opt_out_words: Vec::new(), opt_in_words: vec![" ".to_owned()] };
        assert_eq!(Words::new(&none).told_by(""), None);
        assert_eq!(Words::new(&none).told_by("STOP"), None);
    }
}
