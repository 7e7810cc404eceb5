//! A history import: what was written before the number joined the Cloud API.
//!
//! Chunks come in any order and with thousands of messages; each message stands for itself, so
//! the order doesn't matter. All of them are marked `imported`.

use serde_json::value::RawValue;

use super::{
    super::{
        identity::{Id, classify},
        json::{Text, read},
    },
    message::{self, Way},
    payload::{HistoryChunk, Message, Thread, Value},
    translate::{People, Scope, of_account, same_number, unknown},
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
            take(of_account(scope, "history", raw));
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

/// What isn't from our number is from a person. Where our number isn't told, what isn't from the
/// thread's person is from us, if that can be told: a thread may be named by a user id while its
/// messages are from a number.
fn direction(scope: &Scope<'_>, person: &Text<'_>, message: &Message<'_>) -> Direction {
    let Some(from) = message.from.filled() else { return Direction::Inbound };
    let person = person.filled().and_then(classify);
    let from_us = match (scope.business_number, classify(from), person) {
        (Some(ours), Some(Id::Phone(from)), _) => same_number(ours, from),
        (_, Some(Id::Phone(from)), Some(Id::Phone(person))) => from != person,
        (_, Some(Id::User(from)), Some(Id::User(person))) => from != person,
        _ => message.to.filled().is_some(),
    };
    if from_us { Direction::Outbound } else { Direction::Inbound }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::domain::{ids::ClientId, time::Timestamp};

    fn direction_of(ours: Option<&str>, thread: &str, message: &Json) -> Direction {
        let scope =
            Scope { client: ClientId(1), business_number: ours, time: Timestamp(1), told_at: None };
        let message = message.to_string();
        let thread = json!(thread).to_string();
        direction(
            &scope,
            &serde_json::from_str(&thread).unwrap(),
            &serde_json::from_str(&message).unwrap(),
        )
    }

    #[test]
    fn a_thread_may_be_named_otherwise_than_its_messages_are_from() {
        let theirs = json!({"from": "573001112233"});
        let ours = json!({"from": "576015550100", "to": "573001112233"});
        for thread in ["573001112233", "+573001112233", "CO.1000", ""] {
            for number in [Some("+57 601 555 0100"), None] {
                let of = |message| direction_of(number, thread, message);
                assert_eq!(of(&theirs), Direction::Inbound, "{thread} {number:?}");
                assert_eq!(of(&ours), Direction::Outbound, "{thread} {number:?}");
            }
        }
        let by_id = json!({"from": "CO.1000"});
        assert_eq!(direction_of(Some("576015550100"), "CO.1000", &by_id), Direction::Inbound);
    }
}
