//! Which event goes where, and what becomes of those that nothing here reads.

use serde_json::value::RawValue;

use super::{
    super::{
        Inbound, identity,
        json::{Fields, Items, Text, json_key, kept, read, redacted},
    },
    chat::{Chat, MessageId},
    message,
    payload::{Envelope, Me},
    session,
};
use crate::domain::{conversation::Contact, ids::ClientId, intake::Intake, time::Timestamp};

/// What is known of an event before its payload is read.
pub(super) struct Scope<'a> {
    pub(super) me: Me<'a>,
    /// The event's id: the same when it is delivered again.
    pub(super) event_id: &'a str,
    /// When it happened, or came.
    pub(super) time: Timestamp,
}

impl Scope<'_> {
    /// What is the same when the event is delivered again; `None` when WAHA does not say.
    pub(super) fn key(&self) -> Option<String> {
        Some(self.event_id).filter(|id| !id.is_empty()).map(str::to_owned)
    }

    /// As [`Scope::key`], for telling it from another event of the same message: without an id
    /// by its JSON.
    pub(super) fn told(&self, raw: &RawValue) -> String {
        self.key().unwrap_or_else(|| json_key(raw))
    }
}

/// Why nothing was made of an event.
pub(super) enum NotTaken {
    /// Understood, and it has no place here.
    Ignored,
    /// Not understood.
    Unknown,
}

/// What was made of an event.
pub(super) type Outcome = Result<Intake, NotTaken>;

/// Puts what an event says into `inbound`.
pub(super) fn translate(
    client: ClientId,
    event: &str,
    envelope: &Envelope<'_>,
    now: Timestamp,
    inbound: &mut Inbound,
) {
    let scope = Scope {
        me: envelope.me(),
        event_id: envelope.id.filled().unwrap_or_default(),
        time: envelope.timestamp.as_time(now),
    };
    let outcome = match (event, envelope.payload) {
        ("session.status", _) => Ok(session::state(&scope, envelope)),
        ("presence.update" | "engine.event" | "message.ack.group", _) => Err(NotTaken::Ignored),
        (event, _) if event.starts_with("group.") => Err(NotTaken::Ignored),
        (_, None) => Err(NotTaken::Unknown),
        ("message" | "message.any", Some(raw)) => message::message(&scope, raw),
        ("message.ack", Some(raw)) => message::acknowledgement(&scope, raw),
        ("message.reaction", Some(raw)) => message::reaction(&scope, raw),
        ("message.edited", Some(raw)) => message::edit(&scope, raw),
        ("message.revoked", Some(raw)) => message::revocation(&scope, raw),
        _ => Err(NotTaken::Unknown),
    };
    match outcome {
        Ok(intake) => inbound.items.push((client, intake)),
        Err(NotTaken::Ignored) => inbound.ignored += 1,
        Err(NotTaken::Unknown) => match unknown(&scope, event, envelope.payload) {
            Some(intake) => inbound.items.push((client, intake)),
            None => inbound.ignored += 1,
        },
    }
}

/// Something that isn't understood: in full in a contact's stream when it is about one person,
/// redacted in the tenant's when it is about nobody, dropped when it is about a group.
fn unknown(scope: &Scope<'_>, event: &str, payload: Option<&RawValue>) -> Option<Intake> {
    let kind = event.chars().take(MAX_KIND_CHARS).collect::<String>();
    let mut finder = PersonFinder::default();
    if let Some(raw) = payload {
        finder.search(&scope.me, raw, 0);
    }
    let raw = payload.map(|raw| kept(raw.get())).unwrap_or_default();
    if finder.group {
        return None;
    }
    if finder.several || !identity::is_known(&finder.contact) {
        return Some(Intake::Unknown { kind, raw: redacted(raw), key: scope.key() });
    }
    Some(Intake::UnknownOfContact { contact: finder.contact, kind, raw, key: scope.key() })
}

/// An event's name is short; a longer one is cut.
const MAX_KIND_CHARS: usize = 64;
/// How deep a person is looked for: payload, its parts, a list in one of them.
const MAX_SEARCH_DEPTH: usize = 3;

/// Looks for the one person that a payload is about.
#[derive(Default)]
struct PersonFinder {
    contact: Contact,
    several: bool,
    group: bool,
}

impl PersonFinder {
    fn search(&mut self, me: &Me<'_>, raw: &RawValue, depth: usize) {
        if depth > MAX_SEARCH_DEPTH {
            return;
        }
        if let Some(fields) = read::<Fields<'_>>(raw) {
            // What the engine adds names all kinds of people.
            for (name, value) in fields.iter().filter(|(name, _)| *name != "_data") {
                let text = read::<Text<'_>>(value).unwrap_or_default();
                match text.filled() {
                    Some("true") if name == "isGroup" => self.group = true,
                    Some(id) => self.found(me, id),
                    None => self.search(me, value, depth + 1),
                }
            }
        } else if raw.get().starts_with('[') {
            for item in read::<Items<'_>>(raw).unwrap_or_default().0 {
                self.search(me, item, depth + 1);
            }
        }
    }

    fn found(&mut self, me: &Me<'_>, id: &str) {
        let id = MessageId::parse(id).chat.unwrap_or(id);
        if is_me(me, id) || id.contains(char::is_whitespace) {
            return;
        }
        let mut other = Contact::default();
        match Chat::parse(id) {
            Some(Chat::NotOnePerson) if is_group(id) => self.group = true,
            Some(chat) => chat.add_to(&mut other),
            None => return,
        }
        let differ = |known: &Option<String>, new: &Option<String>| {
            known.is_some() && new.is_some() && known != new
        };
        self.several |=
            differ(&self.contact.wa_id, &other.wa_id) || differ(&self.contact.lid, &other.lid);
        if let Some(chat) = Chat::parse(id) {
            chat.add_to(&mut self.contact);
        }
    }
}

fn is_group(id: &str) -> bool {
    ["@g.us", "@newsletter", "@broadcast"].iter().any(|server| id.ends_with(server))
}

/// Whether a chat's id is our own, whichever way it is written.
pub(super) fn is_me(me: &Me<'_>, id: &str) -> bool {
    let chat = Chat::parse(id);
    chat.is_some() && [&me.id, &me.lid].iter().any(|own| own.filled().and_then(Chat::parse) == chat)
}
