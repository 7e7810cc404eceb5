//! Conversations: one per contact and tenant.

use serde::{Deserialize, Serialize};

use super::{
    event::ConversationChange,
    ids::{ClientId, ConversationId, MessageId},
    message::{Direction, Message, MessageKind, MessageStatus},
    time::Timestamp,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConversationStatus {
    Open,
    Pending,
    Closed,
}

/// What is known of a contact. Identities (`phone`, `wa_id`, `user_id`, `parent_user_id`, `lid`)
/// are aliases of one person; any of them may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Contact {
    /// E.164 digits with a leading `+`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// WhatsApp's own id: digits, mostly the phone number's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wa_id: Option<String>,
    /// Business-scoped user id (BSUID).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_user_id: Option<String>,
    /// WhatsApp's privacy id as WAHA tells it, without `@lid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
}

impl Contact {
    /// What is `Some` in `newer` replaces what was known.
    pub fn replace_with(&mut self, newer: &Contact) {
        self.each_with(newer, |known, newer| {
            if newer.is_some() {
                known.clone_from(newer);
            }
        });
    }

    /// What is known in `other` and not here is taken over.
    pub fn fill_from(&mut self, other: &Contact) {
        self.each_with(other, |known, other| {
            if known.is_none() {
                known.clone_from(other);
            }
        });
    }

    fn each_with(&mut self, other: &Contact, join: impl Fn(&mut Option<String>, &Option<String>)) {
        join(&mut self.phone, &other.phone);
        join(&mut self.name, &other.name);
        join(&mut self.wa_id, &other.wa_id);
        join(&mut self.user_id, &other.user_id);
        join(&mut self.parent_user_id, &other.parent_user_id);
        join(&mut self.lid, &other.lid);
        join(&mut self.username, &other.username);
    }
}

/// The newest message, for the list of conversations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastMessage {
    pub id: MessageId,
    pub text: Option<String>,
    pub kind: MessageKind,
    pub direction: Direction,
    pub status: MessageStatus,
    pub timestamp: Timestamp,
}

impl LastMessage {
    pub fn of(message: &Message) -> Self {
        Self {
            id: message.id,
            text: message.text.clone(),
            kind: message.kind,
            direction: message.direction,
            status: message.status,
            timestamp: message.timestamp,
        }
    }
}

/// Whether the contact lets us send marketing messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarketingPreference {
    pub allowed: bool,
    /// When the contact said so: an older one that arrives late does not replace it.
    pub at: Timestamp,
}

/// How many claimed messages a conversation keeps in mind. Messages of one conversation leave one
/// by one; more than this are only those in doubt, of which the oldest is forgotten: an echo of it
/// is a message of its own then.
pub const CLAIMED_MAX: usize = 8;

/// A conversation as it stands after the events so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Conversation {
    pub id: ConversationId,
    pub client_id: ClientId,
    pub contact: Contact,
    pub status: ConversationStatus,
    pub unread_count: u32,
    pub last_message: Option<LastMessage>,
    pub assigned_to: Option<String>,
    pub labels: Vec<String>,
    pub bot_enabled: bool,
    /// What the contact last said on marketing messages, if anything.
    pub marketing: Option<MarketingPreference>,
    /// End of the 24 h service window: 24 h after the contact last wrote.
    pub window_expires_at: Option<Timestamp>,
    /// When the contact wrote first since we last answered: start of the response time.
    pub awaiting_response_since: Option<Timestamp>,
    /// When a person of the company last wrote to the contact, here or on the phone: the bot keeps
    /// quiet for a while then.
    pub person_answered_at: Option<Timestamp>,
    /// The messages that are claimed for sending and have no outcome: an echo of one of them may be
    /// here before the answer to the request that sent it. Oldest first, at most [`CLAIMED_MAX`].
    pub claimed: Vec<MessageId>,
    /// The conversation in which this one lives on after a merge. This one is empty then, is
    /// not counted and not listed.
    pub merged_into: Option<ConversationId>,
    pub created_at: Timestamp,
    /// When anything of this last changed, a status of the last message included: no measure of
    /// activity, for which `last_message` has the time.
    pub updated_at: Timestamp,
}

impl Conversation {
    /// A conversation without messages, opened at `at`.
    pub fn opened(
        id: ConversationId,
        client_id: ClientId,
        contact: Contact,
        at: Timestamp,
    ) -> Self {
        Self {
            id,
            client_id,
            contact,
            status: ConversationStatus::Open,
            unread_count: 0,
            last_message: None,
            assigned_to: None,
            labels: Vec::new(),
            bot_enabled: true,
            marketing: None,
            window_expires_at: None,
            awaiting_response_since: None,
            person_answered_at: None,
            claimed: Vec::new(),
            merged_into: None,
            created_at: at,
            updated_at: at,
        }
    }
}

/// The most labels of a conversation; more are refused.
pub const LABELS_MAX: usize = 50;
/// The longest label, in characters.
pub const LABEL_CHARS_MAX: usize = 64;
/// The longest name of an assignee, in characters.
pub const ASSIGNEE_CHARS_MAX: usize = 128;

/// Why a conversation can't be changed like that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    #[error("a conversation has at most {LABELS_MAX} labels")]
    TooManyLabels,
    #[error("a label has 1 to {LABEL_CHARS_MAX} characters, none of them a control character")]
    BadLabel,
    #[error(
        "an assignee has 1 to {ASSIGNEE_CHARS_MAX} characters, none of them a control character"
    )]
    BadAssignee,
}

impl ChangeError {
    /// The field of the request that is wrong.
    pub fn field(self) -> &'static str {
        match self {
            ChangeError::TooManyLabels | ChangeError::BadLabel => "labels",
            ChangeError::BadAssignee => "assigned_to",
        }
    }
}

/// What of a wanted change is one: fields that are so already are left out, labels and assignee
/// are trimmed, and a label counts once. `None` when nothing would change.
pub fn decide_change(
    conversation: &Conversation,
    wanted: ConversationChange,
) -> Result<Option<ConversationChange>, ChangeError> {
    let assigned_to = wanted.assigned_to.map(clean_assignee).transpose()?;
    let labels = wanted.labels.map(clean_labels).transpose()?;
    let change = ConversationChange {
        status: wanted.status.filter(|status| *status != conversation.status),
        assigned_to: assigned_to.filter(|assigned_to| *assigned_to != conversation.assigned_to),
        labels: labels.filter(|labels| *labels != conversation.labels),
        bot_enabled: wanted.bot_enabled.filter(|enabled| *enabled != conversation.bot_enabled),
    };
    Ok(Some(change).filter(|change| *change != ConversationChange::default()))
}

/// What is new in what was told of a contact, `None` when all of it is known.
pub fn decide_contact_change(known: &Contact, told: &Contact) -> Option<Contact> {
    let mut change = told.clone();
    change.each_with(known, |told, known| {
        if told == known {
            *told = None;
        }
    });
    Some(change).filter(|change| *change != Contact::default())
}

fn clean_assignee(wanted: Option<String>) -> Result<Option<String>, ChangeError> {
    wanted.map(|name| clean(&name, ASSIGNEE_CHARS_MAX).ok_or(ChangeError::BadAssignee)).transpose()
}

fn clean_labels(wanted: Vec<String>) -> Result<Vec<String>, ChangeError> {
    let mut labels: Vec<String> = Vec::with_capacity(wanted.len().min(LABELS_MAX));
    for label in wanted {
        let label = clean(&label, LABEL_CHARS_MAX).ok_or(ChangeError::BadLabel)?;
        if labels.contains(&label) {
            continue;
        }
        if labels.len() == LABELS_MAX {
            return Err(ChangeError::TooManyLabels);
        }
        labels.push(label);
    }
    Ok(labels)
}

/// Trimmed; `None` when empty, too long or with control characters.
fn clean(text: &str, chars_max: usize) -> Option<String> {
    let text = text.trim();
    let good = !text.is_empty()
        && text.chars().count() <= chars_max
        && !text.chars().any(char::is_control);
    good.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation() -> Conversation {
        let mut conversation = Conversation::opened(
            ConversationId(1),
            ClientId(1),
            Contact::default(),
            Timestamp(1_795_521_600_000),
        );
        conversation.labels = vec!["vip".to_owned()];
        conversation.assigned_to = Some("ana".to_owned());
        conversation
    }

    #[test]
    fn only_what_differs_is_a_change() {
        let wanted = ConversationChange {
            status: Some(ConversationStatus::Open),
            assigned_to: Some(Some(" ana ".to_owned())),
            labels: Some(vec!["vip".to_owned(), " vip".to_owned()]),
            bot_enabled: Some(true),
        };
        assert_eq!(decide_change(&conversation(), wanted.clone()), Ok(None));

        let wanted = ConversationChange { status: Some(ConversationStatus::Closed), ..wanted };
        let change = ConversationChange {
            status: Some(ConversationStatus::Closed),
            ..ConversationChange::default()
        };
        assert_eq!(decide_change(&conversation(), wanted), Ok(Some(change)));
    }

    #[test]
    fn an_assignment_and_all_labels_can_be_taken_away() {
        let wanted = ConversationChange {
            assigned_to: Some(None),
            labels: Some(Vec::new()),
            ..ConversationChange::default()
        };
        assert_eq!(decide_change(&conversation(), wanted.clone()), Ok(Some(wanted)));
    }

    #[test]
    fn what_is_too_much_is_refused_with_its_field() {
        let labels = |labels: Vec<String>| ConversationChange {
            labels: Some(labels),
            ..ConversationChange::default()
        };
        let assignee = |name: &str| ConversationChange {
            assigned_to: Some(Some(name.to_owned())),
            ..ConversationChange::default()
        };
        let many = |count: usize| (0..count).map(|number| number.to_string()).collect();
        for (wanted, why, field) in [
            (labels(many(LABELS_MAX + 1)), ChangeError::TooManyLabels, "labels"),
            (labels(vec![" ".to_owned()]), ChangeError::BadLabel, "labels"),
            (labels(vec!["é".repeat(LABEL_CHARS_MAX + 1)]), ChangeError::BadLabel, "labels"),
            (labels(vec!["a\nb".to_owned()]), ChangeError::BadLabel, "labels"),
            (assignee(""), ChangeError::BadAssignee, "assigned_to"),
            (
                assignee(&"a".repeat(ASSIGNEE_CHARS_MAX + 1)),
                ChangeError::BadAssignee,
                "assigned_to",
            ),
        ] {
            assert_eq!(decide_change(&conversation(), wanted), Err(why));
            assert_eq!(why.field(), field);
        }
        assert!(decide_change(&conversation(), labels(many(LABELS_MAX))).is_ok());
        let longest = labels(vec!["é".repeat(LABEL_CHARS_MAX)]);
        assert!(decide_change(&conversation(), longest).is_ok());
    }

    #[test]
    fn of_a_contact_only_what_is_new_is_told() {
        let known = Contact {
            name: Some("Ana".to_owned()),
            wa_id: Some("34600000001".to_owned()),
            ..Contact::default()
        };
        assert_eq!(decide_contact_change(&known, &known), None);
        assert_eq!(decide_contact_change(&known, &Contact::default()), None);
        let told = Contact { name: Some("Ana B.".to_owned()), ..known.clone() };
        let change = Contact { name: Some("Ana B.".to_owned()), ..Contact::default() };
        assert_eq!(decide_contact_change(&known, &told), Some(change.clone()));
        let mut joined = known;
        joined.replace_with(&change);
        assert_eq!(joined, told);
    }
}
