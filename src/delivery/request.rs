//! What a client asks of a stream of events, whatever the transport: the query of
//! `/v1/ws`, `/v1/events/stream` and `/v1/events`, read and checked in one place.

use url::form_urlencoded;

use crate::{
    domain::{ids::ConversationId, time::Timestamp},
    feed::filter::{Filter, Types},
    wire::{
        cursor::CURSOR_LENGTH_MAX,
        event_type::EventType,
        problem::{Code, FieldError, Problem},
    },
};

/// A subscription as it was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamRequest {
    /// Start after it. Of a cursor's alphabet, otherwise unchecked: whether it is one of this
    /// store is found out when the session opens. Empty counts as absent.
    pub cursor: Option<String>,
    /// Answer once this instance has come as far as this cursor, unchecked as above.
    pub at_least: Option<String>,
    /// Start at this time; a cursor, being more exact, wins over it.
    pub from: Option<Timestamp>,
    pub filter: Filter,
    pub snapshot: bool,
    /// Say heartbeats as `ping` frames instead of what the transport has for it.
    pub ping: bool,
}

impl StreamRequest {
    /// Reads a query string. Parameters of others (`access_token`, `limit`, ...) are passed over.
    pub fn parse(query: &str) -> Result<Self, Problem> {
        let mut request = Self::default();
        let mut types = Types::NONE;
        let mut errors = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "cursor" => request.cursor = checked_cursor(&value)?,
                "at_least" => request.at_least = checked_cursor(&value)?,
                "from" => match Timestamp::parse(&value) {
                    Some(time) => request.from = Some(time),
                    None => errors.push(wrong(&name, "is not an RFC 3339 time")),
                },
                "types" => match parse_types(value.split(',')) {
                    Ok(more) => types = types.union(more),
                    Err(detail) => errors.push(wrong(&name, detail)),
                },
                "conversation_id" => match value.parse() {
                    Ok(id) => request.filter.conversation = Some(ConversationId(id)),
                    Err(_) => errors.push(wrong(&name, "is not a conversation's number")),
                },
                "snapshot" => match parse_bool(&value) {
                    Some(wanted) => request.snapshot = wanted,
                    None => errors.push(wrong(&name, "is neither true nor false")),
                },
                "ping" => match parse_bool(&value) {
                    Some(wanted) => request.ping = wanted,
                    None => errors.push(wrong(&name, "is neither true nor false")),
                },
                _ => {}
            }
        }
        if !errors.is_empty() {
            return Err(Problem::new(Code::InvalidParameter).errors(errors));
        }
        if !types.is_empty() {
            request.filter.types = types;
        }
        Ok(request)
    }

    /// Starts after `cursor` instead, as `Last-Event-ID` has it. An empty one changes nothing.
    pub fn resume_after(&mut self, cursor: &str) -> Result<(), Problem> {
        if let Some(cursor) = checked_cursor(cursor)? {
            self.cursor = Some(cursor);
        }
        Ok(())
    }
}

/// Reads event types by name; empty names are passed over, so that no name at all means all.
pub fn parse_types<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Types, &'static str> {
    let names = names.into_iter().map(str::trim).filter(|name| !name.is_empty());
    names.map(EventType::parse).collect::<Option<Types>>().ok_or("names an unknown event type")
}

/// Cursors are opaque to clients: what could be one of some store is let through (and found to
/// be unknown later), what could be none is a mistake of the client.
fn checked_cursor(text: &str) -> Result<Option<String>, Problem> {
    let alphabet = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if text.len() > CURSOR_LENGTH_MAX || !text.bytes().all(alphabet) {
        return Err(Problem::new(Code::InvalidCursor));
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

fn parse_bool(value: &str) -> Option<bool> {
    match value {
        "true" | "1" | "" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

fn wrong(name: &str, detail: &str) -> FieldError {
    FieldError::of_parameter(name, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_contract_names_and_passes_over_the_rest() {
        let request = StreamRequest::parse(
            "cursor=k3v9q-7-1&types=new_message,stats_updated&types=bulk_message_error\
             &at_least=k3v9q-9-0&conversation_id=12&snapshot=true&access_token=x.y.z&ping",
        )
        .unwrap();
        let types = [EventType::NewMessage, EventType::StatsUpdated, EventType::BulkMessageError];
        assert_eq!(
            request,
            StreamRequest {
                cursor: Some("k3v9q-7-1".to_owned()),
                from: None,
                at_least: Some("k3v9q-9-0".to_owned()),
                filter: Filter {
                    types: types.into_iter().collect(),
                    conversation: Some(ConversationId(12)),
                    ..Filter::ALL
                },
                snapshot: true,
                ping: true,
            }
        );
        let plain = StreamRequest::parse("cursor=&types=&snapshot=0").unwrap();
        assert_eq!(plain, StreamRequest::default());
    }

    #[test]
    fn names_every_parameter_that_is_wrong() {
        let problem = StreamRequest::parse(
            "types=new_massage&conversation_id=-1&snapshot=maybe&ping=2&from=yesterday",
        )
        .unwrap_err();
        assert_eq!(problem.code(), Code::InvalidParameter);
        let errors = problem.body().errors.unwrap();
        let names: Vec<_> = errors.iter().filter_map(|error| error.parameter.as_deref()).collect();
        assert_eq!(names, ["types", "conversation_id", "snapshot", "ping", "from"]);
    }

    #[test]
    fn a_cursor_outside_the_alphabet_is_a_mistake() {
        let long = "a".repeat(65);
        for cursor in ["a%20b", "k3v9q_7_1", "%C3%A9", long.as_str()] {
            let problem = StreamRequest::parse(&format!("cursor={cursor}")).unwrap_err();
            assert_eq!(problem.code(), Code::InvalidCursor, "{cursor}");
        }
        assert!(StreamRequest::parse("cursor=nonsense").is_ok());
    }

    #[test]
    fn last_event_id_wins_over_the_cursor() {
        let mut request = StreamRequest::parse("cursor=k3v9q-7-1").unwrap();
        request.resume_after("").unwrap();
        assert_eq!(request.cursor.as_deref(), Some("k3v9q-7-1"));
        request.resume_after("k3v9q-9-0").unwrap();
        assert_eq!(request.cursor.as_deref(), Some("k3v9q-9-0"));
    }
}
