//! A history import: what was written before the number joined the Cloud API.
//!
//! Chunks come in any order and with thousands of messages; each message stands for itself, so
//! the order doesn't matter. All of them are marked `imported`.

use serde_json::value::RawValue;

use super::{
    super::json::{Text, kept, read},
    message::{self, Way},
    payload::{HistoryChunk, Message, Thread, Value},
    translate::{People, Scope, same_number, unknown},
};
use crate::domain::{intake::Intake, message::Direction};

pub(super) fn take(scope: &Scope<'_>, value: &Value<'_>, take: &mut impl FnMut(Intake)) {
    let people = People::new(&value.contacts);
    for raw in &value.history.0 {
        let Some(chunk) = read::<HistoryChunk<'_>>(raw) else {
            take(unknown(scope, "history", raw));
            continue;
        };
        for raw in &chunk.threads.0 {
            match read::<Thread<'_>>(raw) {
                Some(thread) => take_thread(scope, &people, &thread, take),
                None => take(unknown(scope, "history", raw)),
            }
        }
        // How far the import is, or why there is none (the company didn't share its history).
        for raw in chunk.metadata.into_iter().chain(chunk.errors.0) {
            take(Intake::Unknown { kind: "history".to_owned(), raw: kept(raw.get()) });
        }
    }
    // Media follow on their own, as plain messages.
    for raw in &value.messages.0 {
        take_message(scope, &people, &Text::default(), raw, take);
    }
}

fn take_thread<'a>(
    scope: &Scope<'_>,
    people: &People<'a>,
    thread: &Thread<'a>,
    take: &mut impl FnMut(Intake),
) {
    for raw in &thread.messages.0 {
        take_message(scope, people, &thread.id, raw, take);
    }
}

fn take_message<'a>(
    scope: &Scope<'_>,
    people: &People<'a>,
    person: &Text<'a>,
    raw: &'a RawValue,
    take: &mut impl FnMut(Intake),
) {
    let Some(mut message) = read::<Message<'a>>(raw) else {
        return take(unknown(scope, "message", raw));
    };
    let direction = direction(scope, person, &message);
    let sender = match direction {
        Direction::Inbound => &mut message.from,
        Direction::Outbound => &mut message.to,
    };
    if person.filled().is_some() && sender.filled().is_none() {
        *sender = person.clone();
    }
    let way = Way { direction, imported: true };
    message::take_parsed(scope, people, usize::MAX, &message, raw, way, take);
}

/// In a thread with one person, what isn't from them is from us. Outside of one, what isn't from
/// our number is from a person.
fn direction(scope: &Scope<'_>, person: &Text<'_>, message: &Message<'_>) -> Direction {
    let Some(from) = message.from.filled() else { return Direction::Inbound };
    let from_us = match person.filled() {
        Some(person) => from != person,
        None => scope.business_number.is_some_and(|number| same_number(number, from)),
    };
    if from_us { Direction::Outbound } else { Direction::Inbound }
}
