//! From a change to intakes: which list of which field goes where.

use std::collections::HashMap;

use serde_json::value::RawValue;

use super::{
    super::{
        Inbound, identity,
        json::{Fields, Items, Text, json_key, kept, read, redacted, without_numbers},
    },
    account, history, message,
    payload::{Person, Profile, StateSync, Value},
    status,
};
use crate::domain::{
    conversation::Contact, ids::ClientId, intake::Intake, message::Direction, time::Timestamp,
};

/// What holds for all of a change.
pub(super) struct Scope<'a> {
    pub(super) client: ClientId,
    /// Our own number as people dial it.
    pub(super) business_number: Option<&'a str>,
    /// When the change happened, as far as its entry tells; else when the request came.
    pub(super) time: Timestamp,
    /// When the change happened, as its entry tells it.
    pub(super) told_at: Option<Timestamp>,
}

impl Scope<'_> {
    /// What tells a part of the change from others: the same when it is delivered again.
    pub(super) fn key(&self, raw: &RawValue) -> String {
        match self.told_at {
            Some(told_at) => format!("{}.{}", told_at.0, json_key(raw)),
            None => json_key(raw),
        }
    }
}

/// Puts what a change says into `inbound`.
pub(super) fn translate(
    scope: &Scope<'_>,
    field: &str,
    value: &Value<'_>,
    raw: &RawValue,
    inbound: &mut Inbound,
) {
    let before = (inbound.items.len(), inbound.ignored);
    let mut take = |intake: Intake| inbound.items.push((scope.client, intake));
    let mut dropped = 0;
    match field {
        "messages" => {
            let people = People::new(&value.contacts);
            for (index, raw) in value.messages.0.iter().enumerate() {
                message::take(scope, &people, index, raw, Direction::Inbound, &mut take);
            }
            for raw in &value.statuses.0 {
                dropped += usize::from(!status::take(scope, &people, raw, &mut take));
            }
        }
        "smb_message_echoes" => {
            let people = People::new(&value.contacts);
            for (index, raw) in value.message_echoes.0.iter().enumerate() {
                message::take(scope, &people, index, raw, Direction::Outbound, &mut take);
            }
        }
        "history" => history::take(scope, value, &mut take),
        "user_preferences" => {
            let people = People::new(&value.contacts);
            for raw in &value.user_preferences.0 {
                account::take_preference(scope, &people, raw, &mut take);
            }
        }
        "smb_app_state_sync" => {
            for raw in &value.state_sync.0 {
                dropped += usize::from(!take_address(scope, raw, &mut take));
            }
        }
        "calls" => {
            for raw in value.calls.0.iter().chain(&value.statuses.0) {
                take(unknown(scope, field, raw));
            }
        }
        _ if account::is_account_field(field) => account::take(scope, field, raw, &mut take),
        _ => take(unknown(scope, field, raw)),
    }
    inbound.ignored += dropped;
    // Errors of the number as a whole.
    for raw in &value.errors.0 {
        inbound.items.push((scope.client, of_account(scope, "errors", raw)));
    }
    if before == (inbound.items.len(), inbound.ignored) {
        // A field that we know, and nothing in it that we know.
        inbound.items.push((scope.client, unknown(scope, field, raw)));
    }
}

/// A part that is not even an object of the right kind: kept, redacted.
pub(super) fn translate_unreadable(
    scope: &Scope<'_>,
    kind: &str,
    raw: &RawValue,
    inbound: &mut Inbound,
) {
    let (key, raw) = (Some(scope.key(raw)), redacted(kept(raw.get())));
    inbound.items.push((scope.client, Intake::Unknown { kind: kind.to_owned(), raw, key }));
}

/// Something of the account, in Meta's own words, but for what may be somebody's number.
pub(super) fn of_account(scope: &Scope<'_>, kind: &str, raw: &RawValue) -> Intake {
    let (key, raw) = (Some(scope.key(raw)), without_numbers(kept(raw.get())));
    Intake::Unknown { kind: kind.to_owned(), raw, key }
}

/// A field's name is short; a longer one is cut.
const MAX_KIND_CHARS: usize = 64;

/// Something that isn't understood: in full in a contact's stream when it is about one person,
/// redacted in the tenant's when it is about none or several.
pub(super) fn unknown(scope: &Scope<'_>, kind: &str, raw: &RawValue) -> Intake {
    let kind = if kind.is_empty() { "unnamed" } else { kind };
    let kind: String = kind.chars().take(MAX_KIND_CHARS).collect();
    let mut finder = PersonFinder::default();
    finder.search(scope, raw, 0);
    let key = Some(scope.key(raw));
    let value = kept(raw.get());
    if finder.several || !identity::is_known(&finder.contact) {
        return Intake::Unknown { kind, raw: redacted(value), key };
    }
    Intake::UnknownOfContact { contact: finder.contact, kind, raw: value, key }
}

/// Looks for the one person that raw JSON is about.
#[derive(Default)]
struct PersonFinder {
    contact: Contact,
    several: bool,
}

/// Fields that hold an id of a person.
const IDENTITY_FIELDS: &[&str] = &[
    "wa_id",
    "from",
    "to",
    "recipient_id",
    "phone_number",
    "user_id",
    "from_user_id",
    "to_user_id",
    "recipient_user_id",
    "parent_user_id",
    "from_parent_user_id",
    "to_parent_user_id",
    "recipient_parent_user_id",
];
/// How deep a person is looked for: value, list, element, a part of it.
const MAX_SEARCH_DEPTH: usize = 4;

impl PersonFinder {
    fn search(&mut self, scope: &Scope<'_>, raw: &RawValue, depth: usize) {
        if depth > MAX_SEARCH_DEPTH {
            return;
        }
        if let Some(fields) = read::<Fields<'_>>(raw) {
            for (name, value) in fields.iter() {
                let text = read::<Text<'_>>(value).unwrap_or_default();
                match text.filled() {
                    Some(id) if IDENTITY_FIELDS.contains(&name) => self.found(scope, id),
                    Some(_) => {}
                    None => self.search(scope, value, depth + 1),
                }
            }
        } else if raw.get().starts_with('[') {
            for item in read::<Items<'_>>(raw).unwrap_or_default().0 {
                self.search(scope, item, depth + 1);
            }
        }
    }

    fn found(&mut self, scope: &Scope<'_>, id: &str) {
        let ours = |number: &str| same_number(number, id);
        if scope.business_number.is_some_and(ours) {
            return;
        }
        let mut other = Contact::default();
        identity::add(&mut other, Some(id));
        let differ = |known: &Option<String>, new: &Option<String>| {
            known.is_some() && new.is_some() && known != new
        };
        self.several |= differ(&self.contact.wa_id, &other.wa_id)
            || differ(&self.contact.user_id, &other.user_id)
            || differ(&self.contact.parent_user_id, &other.parent_user_id);
        identity::add(&mut self.contact, Some(id));
    }
}

/// Whether two ways of writing a number (`+57 300 123 4567`) mean the same.
pub(super) fn same_number(left: &str, right: &str) -> bool {
    let digits = |text: &str| text.bytes().filter(u8::is_ascii_digit).collect::<Vec<_>>();
    let left = digits(left);
    !left.is_empty() && left == digits(right)
}

/// The `contacts` of a value: who the ids are.
pub(super) struct People<'a> {
    people: Vec<Person<'a>>,
    /// By id, when there are too many to look at each.
    by_id: HashMap<String, usize>,
}

/// Up to so many people are looked through one by one.
const FEW_PEOPLE: usize = 8;

impl<'a> People<'a> {
    pub(super) fn new(contacts: &Items<'a>) -> Self {
        let people: Vec<Person<'a>> =
            contacts.0.iter().map(|raw| read(raw).unwrap_or_default()).collect();
        let mut by_id = HashMap::new();
        if people.len() > FEW_PEOPLE {
            for (index, person) in people.iter().enumerate() {
                for id in [&person.wa_id, &person.user_id].into_iter().filter_map(Text::filled) {
                    by_id.entry(id.to_owned()).or_insert(index);
                }
            }
        }
        Self { people, by_id }
    }

    /// The contact with these ids, and what `contacts` tells of them. `index` is the place of
    /// the message among the messages: Meta puts the sender at the same place, most often.
    pub(super) fn contact(&self, ids: [&Text<'a>; 3], index: usize) -> Contact {
        let mut contact = Contact::default();
        for id in ids {
            identity::add(&mut contact, id.filled());
        }
        let person = match self.people.get(index).filter(|person| is_of(person, &ids)) {
            Some(person) => Some(person),
            None => self.find(&ids),
        };
        // A message whose sender is left out is of the one person there is.
        let person = person.or_else(|| match self.people.as_slice() {
            [only] if !identity::is_known(&contact) => Some(only),
            _ => None,
        });
        if let Some(person) = person {
            describe(&mut contact, person);
        }
        contact
    }

    fn find(&self, ids: &[&Text<'a>; 3]) -> Option<&Person<'a>> {
        if self.by_id.is_empty() {
            return self.people.iter().find(|person| is_of(person, ids));
        }
        let index = ids.iter().filter_map(|id| id.filled()).find_map(|id| self.by_id.get(id))?;
        self.people.get(*index)
    }
}

fn is_of(person: &Person<'_>, ids: &[&Text<'_>; 3]) -> bool {
    let among = |known: &Text<'_>| {
        known.filled().is_some_and(|known| ids.iter().any(|id| id.filled() == Some(known)))
    };
    among(&person.wa_id) || among(&person.user_id)
}

fn describe(contact: &mut Contact, person: &Person<'_>) {
    for id in [&person.wa_id, &person.user_id, &person.parent_user_id] {
        identity::add(contact, id.filled());
    }
    let Profile { name, username } = person.profile();
    contact.name = name.name();
    contact.username = username.name();
}

/// The address book's name for a person: it fills in until the contact tells one. Removing an
/// entry takes no name away, and one without a name tells nothing: of both nothing is taken
/// (`false`), since the phone tells its whole address book, of whom most never wrote.
fn take_address(scope: &Scope<'_>, raw: &RawValue, take: &mut impl FnMut(Intake)) -> bool {
    let sync = read::<StateSync<'_>>(raw).unwrap_or_default();
    let entry = sync.contact();
    let mut contact = Contact::default();
    identity::add(&mut contact, entry.phone_number.filled());
    contact.name = entry.full_name.name().or_else(|| entry.first_name.name());
    if !identity::is_known(&contact) {
        take(unknown(scope, "smb_app_state_sync", raw));
        return true;
    }
    if sync.action.is("remove") || contact.name.is_none() {
        return false;
    }
    let previous = Contact { name: None, ..contact.clone() };
    take(Intake::ContactChange { contact, previous, at: None });
    true
}
