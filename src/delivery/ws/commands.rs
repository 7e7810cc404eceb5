//! What clients say on a WebSocket (PROTOCOL.md): text in, a [`Command`] or an `error` frame out;
//! and the frames that answer.
//!
//! | `type` | `data` | answer |
//! | --- | --- | --- |
//! | `ping` | – | `pong` |
//! | `auth` | `{token}` | `ack` with `token_expires_at` |
//! | `subscribe` | `{types?, conversation_id?}` | `ack` |
//! | `mark_read` | `{conversation_id}` | `ack` with `cursor`, once it is durable |
//! | `typing` | `{conversation_id, typing}` | `ack`; the contact is shown it, best effort |
//! | `send_message` | `{conversation_id}` and what `POST …/messages` takes | `ack` with `message` and `cursor`, once it is durable |
//!
//! `ref` is the client's own mark, a string or a number, and stands in the answer; `null` when
//! there was none.
//!
//! **Invariant:** a message that can't be understood is answered and changes nothing.

use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::{Map, Value, value::RawValue};

use crate::{
    delivery::request::parse_types,
    domain::{ids::ConversationId, time::Timestamp},
    feed::filter::{Filter, Types},
    runtime::secret::Secret,
    wire::{
        problem::{FieldError, Problem},
        send::SendMessage,
    },
};

/// The longest `ref`, in bytes of JSON.
const REF_BYTES_MAX: usize = 128;

/// The mark by which a client knows the answer to a command, as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ref(Option<Box<str>>);

impl Ref {
    pub const NONE: Ref = Ref(None);
}

impl Serialize for Ref {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw = self.0.as_deref().and_then(|json| serde_json::from_str::<&RawValue>(json).ok());
        raw.serialize(serializer)
    }
}

/// What a client wants.
#[derive(Debug, PartialEq)]
pub enum Command {
    Ping,
    Auth { mark: Ref, token: Secret<String> },
    Subscribe { mark: Ref, filter: Filter },
    MarkRead { mark: Ref, conversation: ConversationId },
    Typing { mark: Ref, conversation: ConversationId, typing: bool },
    Send { mark: Ref, conversation: ConversationId, body: Box<SendMessage> },
}

/// Why a message is no command, or can't be done: an `error` frame.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    pub mark: Ref,
    pub code: &'static str,
    pub message: String,
    pub errors: Vec<FieldError>,
}

impl Refused {
    pub fn new(mark: Ref, code: &'static str, message: impl Into<String>) -> Self {
        Self { mark, code, message: message.into(), errors: Vec::new() }
    }

    pub fn of_problem(mark: Ref, problem: &Problem) -> Self {
        let errors = problem.body().errors.unwrap_or_default();
        Self { errors, ..Self::new(mark, problem.code().as_str(), problem.to_string()) }
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(rename = "ref", borrow)]
    mark: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// Reads one message.
pub fn parse(text: &str) -> Result<Command, Refused> {
    let envelope: Envelope<'_> = match serde_json::from_str(text) {
        Ok(envelope) => envelope,
        // Two errors with two codes: what is no JSON at all, and what is another shape.
        Err(_) if serde_json::from_str::<IgnoredAny>(text).is_err() => {
            return Err(Refused::new(Ref::NONE, "invalid_json", "the message is not JSON"));
        }
        Err(_) => {
            let message = "the message must be an object with a string `type`";
            return Err(Refused::new(Ref::NONE, "invalid_request", message));
        }
    };
    let mark = parse_ref(envelope.mark)?;
    let data = envelope.data.map_or("{}", RawValue::get);
    match envelope.kind.as_str() {
        "ping" => Ok(Command::Ping),
        "auth" => {
            #[derive(Deserialize)]
            struct Auth {
                token: Secret<String>,
            }
            let (mark, Auth { token }) = parse_data(mark, data, "needs a `token`")?;
            Ok(Command::Auth { mark, token })
        }
        "subscribe" => subscribe(mark, data),
        "mark_read" => {
            #[derive(Deserialize)]
            struct MarkRead {
                conversation_id: ConversationId,
            }
            let (mark, data) = parse_data(mark, data, "needs a `conversation_id`")?;
            let MarkRead { conversation_id } = data;
            Ok(Command::MarkRead { mark, conversation: conversation_id })
        }
        "typing" => {
            #[derive(Deserialize)]
            struct Typing {
                conversation_id: ConversationId,
                typing: bool,
            }
            let needs = "needs a `conversation_id` and `typing` (true or false)";
            let (mark, data) = parse_data(mark, data, needs)?;
            let Typing { conversation_id, typing } = data;
            Ok(Command::Typing { mark, conversation: conversation_id, typing })
        }
        "send_message" => send_message(mark, data),
        _ => Err(Refused::new(mark, "unknown_type", "there is no such command")),
    }
}

fn parse_ref(mark: Option<&RawValue>) -> Result<Ref, Refused> {
    let Some(json) = mark.map(RawValue::get).filter(|json| *json != "null") else {
        return Ok(Ref::NONE);
    };
    let is_scalar = json.starts_with(['"', '-']) || json.starts_with(|c: char| c.is_ascii_digit());
    if json.len() > REF_BYTES_MAX || !is_scalar {
        let message = "`ref` must be a short string or a number";
        return Err(Refused::new(Ref::NONE, "invalid_request", message));
    }
    Ok(Ref(Some(json.into())))
}

fn parse_data<'a, T: Deserialize<'a>>(
    mark: Ref,
    data: &'a str,
    needs: &str,
) -> Result<(Ref, T), Refused> {
    match serde_json::from_str(data) {
        Ok(data) => Ok((mark, data)),
        Err(_) => Err(Refused::new(mark, "invalid_request", format!("`data` {needs}"))),
    }
}

/// The conversation stands beside the members of the message, which are those of the REST
/// interface: one that is not known is refused, as there.
fn send_message(mark: Ref, data: &str) -> Result<Command, Refused> {
    let refused = |mark, message: String| Refused::new(mark, "invalid_request", message);
    let mut members: Map<String, Value> = match serde_json::from_str(data) {
        Ok(members) => members,
        Err(_) => return Err(refused(mark, "`data` must be an object".to_owned())),
    };
    let conversation = members.remove("conversation_id").and_then(|id| id.as_u64());
    let Some(conversation) = conversation.and_then(|id| u32::try_from(id).ok()) else {
        return Err(refused(mark, "`data` needs a `conversation_id`".to_owned()));
    };
    match serde_path_to_error::deserialize::<_, SendMessage>(Value::Object(members)) {
        Ok(body) => {
            let (conversation, body) = (ConversationId(conversation), Box::new(body));
            Ok(Command::Send { mark, conversation, body })
        }
        Err(error) => {
            let place = match error.path().to_string() {
                path if path == "." => "data".to_owned(),
                path => format!("data.{path}"),
            };
            Err(refused(mark, format!("`{place}`: {}", error.inner())))
        }
    }
}

fn subscribe(mark: Ref, data: &str) -> Result<Command, Refused> {
    #[derive(Deserialize)]
    struct Subscribe {
        #[serde(default)]
        types: Option<Vec<String>>,
        #[serde(default)]
        conversation_id: Option<ConversationId>,
    }
    let needs = "may have `types` (a list of names) and `conversation_id` (a number)";
    let (mark, data) = parse_data::<Subscribe>(mark, data, needs)?;
    let names = data.types.unwrap_or_default();
    let types = match parse_types(names.iter().map(String::as_str)) {
        Ok(types) if types.is_empty() => Types::ALL,
        Ok(types) => types,
        Err(detail) => {
            let message = format!("`types` {detail}");
            return Err(Refused::new(mark, "invalid_request", message));
        }
    };
    let filter = Filter { types, conversation: data.conversation_id };
    Ok(Command::Subscribe { mark, filter })
}

pub const PONG: &[u8] = br#"{"type":"pong","data":{}}"#;

#[derive(Serialize)]
struct Answer<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    data: AnswerData<'a>,
}

#[derive(Serialize)]
struct AnswerData<'a> {
    #[serde(rename = "ref")]
    mark: &'a Ref,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Said<'a>>,
    /// What is wrong, field by field.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_expires_at: Option<Timestamp>,
}

/// `message` of an error is a sentence, that of an acknowledged `send_message` the message.
#[derive(Serialize)]
#[serde(untagged)]
enum Said<'a> {
    Sentence(&'a str),
    Message(&'a Value),
}

/// Says that a command was done.
#[derive(Debug, PartialEq)]
pub struct Ack {
    pub mark: Ref,
    /// What was queued.
    pub message: Option<Value>,
    /// Where what was stored stands in the feed.
    pub cursor: Option<String>,
    pub token_expires_at: Option<Timestamp>,
}

impl Ack {
    pub fn of(mark: Ref) -> Self {
        Self { mark, message: None, cursor: None, token_expires_at: None }
    }

    pub fn to_json(&self) -> Vec<u8> {
        let Self { mark, message, cursor, token_expires_at } = self;
        answer(Answer {
            kind: "ack",
            data: AnswerData {
                mark,
                code: None,
                message: message.as_ref().map(Said::Message),
                errors: &[],
                cursor: cursor.as_deref(),
                token_expires_at: *token_expires_at,
            },
        })
    }
}

impl Refused {
    pub fn to_json(&self) -> Vec<u8> {
        answer(Answer {
            kind: "error",
            data: AnswerData {
                mark: &self.mark,
                code: Some(self.code),
                message: Some(Said::Sentence(&self.message)),
                errors: &self.errors,
                cursor: None,
                token_expires_at: None,
            },
        })
    }
}

fn answer(answer: Answer<'_>) -> Vec<u8> {
    // Strings and numbers: this does not fail.
    serde_json::to_vec(&answer).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::event_type::EventType;

    fn mark(json: &str) -> Ref {
        Ref(Some(json.into()))
    }

    #[test]
    fn every_command_of_the_contract() {
        let types = [EventType::NewMessage, EventType::StatsUpdated];
        for (text, command) in [
            (r#"{"type":"ping"}"#, Command::Ping),
            (
                r#"{"type":"auth","data":{"token":"a.b.c"}}"#,
                Command::Auth { mark: Ref::NONE, token: Secret::new("a.b.c".into()) },
            ),
            (
                r#"{"type":"subscribe","ref":"s1","data":{"types":["new_message","stats_updated"],"conversation_id":7}}"#,
                Command::Subscribe {
                    mark: mark(r#""s1""#),
                    filter: Filter {
                        types: types.into_iter().collect(),
                        conversation: Some(ConversationId(7)),
                    },
                },
            ),
            (
                r#"{"type":"subscribe","ref":2,"data":{"types":[]}}"#,
                Command::Subscribe { mark: mark("2"), filter: Filter::ALL },
            ),
            (
                r#"{"type":"subscribe","ref":null}"#,
                Command::Subscribe { mark: Ref::NONE, filter: Filter::ALL },
            ),
            (
                r#"{"type":"mark_read","ref":"r","data":{"conversation_id":3}}"#,
                Command::MarkRead { mark: mark(r#""r""#), conversation: ConversationId(3) },
            ),
            (
                r#"{"type":"typing","data":{"conversation_id":3,"typing":true}}"#,
                Command::Typing { mark: Ref::NONE, conversation: ConversationId(3), typing: true },
            ),
            (
                r#"{"type":"send_message","ref":"m","data":{"conversation_id":3,"text":"hola","client_ref":"c1"}}"#,
                Command::Send {
                    mark: mark(r#""m""#),
                    conversation: ConversationId(3),
                    body: Box::new(SendMessage {
                        text: Some("hola".to_owned()),
                        client_ref: Some("c1".to_owned()),
                        ..SendMessage::default()
                    }),
                },
            ),
        ] {
            assert_eq!(parse(text), Ok(command), "{text}");
        }
    }

    #[test]
    fn what_is_no_command_is_told_apart() {
        for (text, code) in [
            ("", "invalid_json"),
            ("{", "invalid_json"),
            ("[]", "invalid_request"),
            (r#"{"type":7}"#, "invalid_request"),
            (r#"{"data":{}}"#, "invalid_request"),
            (r#"{"type":"mark_read","data":{"conversation_id":"x"}}"#, "invalid_request"),
            (r#"{"type":"mark_read"}"#, "invalid_request"),
            (r#"{"type":"typing","data":{"conversation_id":1}}"#, "invalid_request"),
            (r#"{"type":"auth","data":{}}"#, "invalid_request"),
            (r#"{"type":"subscribe","data":{"types":["new_massage"]}}"#, "invalid_request"),
            (r#"{"type":"subscribe","ref":{"a":1}}"#, "invalid_request"),
            (r#"{"type":"send_message","ref":"m","data":{"text":"hi"}}"#, "invalid_request"),
            (
                r#"{"type":"send_message","data":{"conversation_id":1,"txt":"hi"}}"#,
                "invalid_request",
            ),
            (r#"{"type":"dance"}"#, "unknown_type"),
        ] {
            assert_eq!(parse(text).map_err(|refused| refused.code), Err(code), "{text}");
        }
        let long = format!(r#"{{"type":"ping","ref":"{}"}}"#, "x".repeat(200));
        assert!(parse(&long).is_err());
    }

    #[test]
    fn what_is_wrong_with_a_message_is_named() {
        let text = r#"{"type":"send_message","ref":4,"data":{"conversation_id":1,"location":{"latitude":"x","longitude":2}}}"#;
        let refused = parse(text).expect_err("refused");
        assert_eq!(refused.mark, mark("4"));
        assert!(refused.message.starts_with("`data.location.latitude`"), "{}", refused.message);
        let wrong = FieldError::at_pointer("/text", "is too long");
        let problem = Problem::new(crate::wire::problem::Code::ValidationFailed);
        let refused = Refused::of_problem(mark("4"), &problem.errors(vec![wrong]));
        let json: Value = serde_json::from_slice(&refused.to_json()).expect("JSON");
        assert_eq!(json["data"]["errors"][0]["pointer"], "/text");
    }

    #[test]
    fn answers_carry_the_ref_as_it_was_sent() {
        let refused = Refused::new(mark("7.5"), "unknown_type", "there is no such command");
        let expected = r#"{"type":"error","data":{"ref":7.5,"code":"unknown_type","message":"there is no such command"}}"#;
        assert_eq!(String::from_utf8(refused.to_json()).expect("text"), expected);
        let ack = Ack { cursor: Some("k3v9q-9-0".into()), ..Ack::of(mark(r#""ü""#)) };
        let expected = r#"{"type":"ack","data":{"ref":"ü","cursor":"k3v9q-9-0"}}"#;
        assert_eq!(String::from_utf8(ack.to_json()).expect("text"), expected);
        assert_eq!(Ack::of(Ref::NONE).to_json(), br#"{"type":"ack","data":{"ref":null}}"#);
        let queued = serde_json::json!({"id": "a", "status": "queued"});
        let ack = Ack { message: Some(queued), ..Ack::of(mark("1")) };
        let expected = r#"{"type":"ack","data":{"ref":1,"message":{"id":"a","status":"queued"}}}"#;
        assert_eq!(String::from_utf8(ack.to_json()).expect("text"), expected);
    }
}
