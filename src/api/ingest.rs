//! `POST /v1/ingest/…`: messages and statuses from any bridge, in batches.
//!
//! Items are judged one by one: a wrong one is told in its place and keeps no other from being
//! stored. What is stored of a batch is durable, and in one append, before it is answered.

use std::{collections::HashMap, sync::Arc};

use poem::Result;
use poem_openapi::{
    Object, OpenApi,
    registry::{MetaSchemaRef, Registry},
    types::{ParseFromJSON, ParseResult, ToJSON, Type},
};
use serde_json::Value;

use super::{
    Deps,
    answer::{WriteAnswer, cursor_at},
    extract::{Batch, Caller, IdempotencyKey, IngestWrite, JsonBody},
    shapes::{
        Chapter, IngestAnswer, IngestContact, IngestMessage, IngestStatus, IngestStatusValue,
        ItemOutcome, ItemResult,
    },
    validate,
};
use crate::{
    command::{self, Actor, Answered, IntakeOutcome, Request, TakenIn},
    domain::{
        contact::parse_phone,
        conversation::Contact,
        ids::Position,
        intake::{Intake, IntakeMessage, IntakeStatus},
        message::{Direction, Media, MessageKind, MessageStatus, ProviderError},
    },
    gateway::waha::dedupe_key,
    metrics::INTAKE_ITEMS,
    wire::{
        problem::{FieldError, Problem},
        types as wire,
    },
};

pub struct IngestApi(pub Arc<Deps>);

/// Up to 1,000 messages.
#[derive(Object)]
#[oai(deny_unknown_fields)]
struct IngestMessages {
    #[oai(validator(min_items = 1, max_items = 1000))]
    messages: Vec<Unchecked<IngestMessage>>,
}

/// Up to 1,000 statuses.
#[derive(Object)]
#[oai(deny_unknown_fields)]
struct IngestStatuses {
    #[oai(validator(min_items = 1, max_items = 1000))]
    statuses: Vec<Unchecked<IngestStatus>>,
}

#[OpenApi(tag = "Chapter::Ingest")]
impl IngestApi {
    /// Bring in messages.
    ///
    /// Up to 1,000 at once, each answered by itself: `stored`, `duplicate` (its `wa_message_id`
    /// is known) or `rejected` with what is wrong. Repeating a batch does no harm.
    #[oai(path = "/v1/ingest/messages", method = "post", operation_id = "ingest_messages")]
    async fn messages(
        &self,
        caller: Caller<IngestWrite>,
        /// Makes repeating the request harmless for 24 hours.
        #[oai(name = "Idempotency-Key")]
        key: IdempotencyKey,
        body: JsonBody<IngestMessages, Batch>,
    ) -> Result<WriteAnswer<IngestAnswer>> {
        let request = key.request(&body.bytes);
        let items = body.value.messages.into_iter().enumerate();
        let read = items
            .map(|(index, item)| item.check(&format!("/messages/{index}")).and_then(message))
            .collect();
        self.take_in(caller, request, read).await
    }

    /// Bring in statuses.
    ///
    /// Up to 1,000 at once, each answered by itself. A status may be here before its message,
    /// and one that tells nothing new changes nothing.
    #[oai(path = "/v1/ingest/statuses", method = "post", operation_id = "ingest_statuses")]
    async fn statuses(
        &self,
        caller: Caller<IngestWrite>,
        /// Makes repeating the request harmless for 24 hours.
        #[oai(name = "Idempotency-Key")]
        key: IdempotencyKey,
        body: JsonBody<IngestStatuses, Batch>,
    ) -> Result<WriteAnswer<IngestAnswer>> {
        let request = key.request(&body.bytes);
        let items = body.value.statuses.into_iter().enumerate();
        let read = items
            .map(|(index, item)| item.check(&format!("/statuses/{index}")).and_then(status))
            .collect();
        self.take_in(caller, request, read).await
    }
}

/// An item of a batch, or all that is wrong with it.
type Read<T> = Result<T, Vec<FieldError>>;

impl IngestApi {
    async fn take_in(
        &self,
        caller: Caller<IngestWrite>,
        request: Option<Request>,
        read: Vec<Read<Intake>>,
    ) -> Result<WriteAnswer<IngestAnswer>> {
        let actor = Actor(format!("ingest:{}", caller.identity.subject));
        let client = caller.identity.client_id;
        let mut accepted = Vec::with_capacity(read.len());
        let verdicts: Vec<Read<()>> =
            read.into_iter().map(|item| item.map(|intake| accepted.push(intake))).collect();
        let commands = &self.0.commands;
        let answered = match request {
            Some(request) => {
                let answer = |taken: &TakenIn| self.answer(verdicts, taken);
                commands.take_in_once(client, &actor, &request, accepted, answer).await
            }
            None => commands.take_in_all(client, &actor, accepted).await.map(|taken| Answered {
                answer: self.answer(verdicts, &taken),
                position: self.first_of(&taken),
                repeated: false,
            }),
        };
        Ok(WriteAnswer::new(&self.0, answered.map_err(Problem::from)?))
    }

    /// Where the first event stands, or else how far this instance has come.
    fn first_of(&self, taken: &TakenIn) -> Position {
        taken.first.unwrap_or_else(|| *self.0.queries.projected().borrow())
    }

    fn answer(&self, verdicts: Vec<Read<()>>, taken: &TakenIn) -> command::Answer {
        let mut outcomes = taken.outcomes.iter().copied();
        let results: Vec<ItemResult> = verdicts
            .into_iter()
            .map(|verdict| match verdict {
                Ok(()) => self.accepted(outcomes.next()),
                Err(errors) => ItemResult {
                    outcome: ItemOutcome::Rejected,
                    cursor: None,
                    errors: Some(errors),
                },
            })
            .collect();
        let count = |outcome: ItemOutcome| {
            let number = results.iter().filter(|result| result.outcome == outcome).count() as u32;
            metrics::counter!(INTAKE_ITEMS, "provider" => "ingest", "outcome" => label(outcome))
                .increment(number.into());
            number
        };
        let (stored, duplicates, rejected) = (
            count(ItemOutcome::Stored),
            count(ItemOutcome::Duplicate),
            count(ItemOutcome::Rejected),
        );
        let cursor = cursor_at(&self.0, self.first_of(taken));
        let answer = IngestAnswer { results, stored, duplicates, rejected, cursor };
        command::Answer { status: 200, body: serde_json::to_value(answer).unwrap_or_default() }
    }

    fn accepted(&self, outcome: Option<IntakeOutcome>) -> ItemResult {
        let stored = |position: Position| ItemResult {
            outcome: ItemOutcome::Stored,
            cursor: Some(cursor_at(&self.0, position)),
            errors: None,
        };
        match outcome {
            Some(IntakeOutcome::Stored(position)) => stored(position),
            Some(IntakeOutcome::Duplicate) | None => {
                ItemResult { outcome: ItemOutcome::Duplicate, cursor: None, errors: None }
            }
        }
    }
}

fn label(outcome: ItemOutcome) -> &'static str {
    match outcome {
        ItemOutcome::Stored => "stored",
        ItemOutcome::Duplicate => "duplicate",
        ItemOutcome::Rejected => "rejected",
    }
}

/// An item that is documented as `T` and checked by itself, so that the rest of the batch goes
/// on without it.
struct Unchecked<T> {
    value: Value,
    shape: std::marker::PhantomData<T>,
}

impl<T: Type + ParseFromJSON> Unchecked<T> {
    /// Reads the item; `pointer` is its place in the body, returned with it for later faults.
    fn check(self, pointer: &str) -> Read<(T, String)> {
        let mut errors = validate::check(&T::schema_ref(), &self.value);
        for error in &mut errors {
            let inner = error.pointer.take().unwrap_or_default();
            error.pointer = Some(format!("{pointer}{inner}"));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        match T::parse_from_json(Some(self.value)) {
            Ok(item) => Ok((item, pointer.to_owned())),
            Err(_) => Err(vec![FieldError::at_pointer(pointer, "is not of the documented form")]),
        }
    }
}

impl<T: Type> Type for Unchecked<T> {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> std::borrow::Cow<'static, str> {
        T::name()
    }

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl<T: Type> ParseFromJSON for Unchecked<T> {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        Ok(Self { value: value.unwrap_or_default(), shape: std::marker::PhantomData })
    }
}

impl<T: Type> ToJSON for Unchecked<T> {
    fn to_json(&self) -> Option<Value> {
        Some(self.value.clone())
    }
}

/// The longest `payload` of an item, as JSON: with it an event stays well below what a log takes
/// as one. As in the gateways.
const PAYLOAD_BYTES_MAX: usize = 128 * 1024;

fn check_payload(payload: Option<&HashMap<String, Value>>, pointer: &str) -> Read<()> {
    let size = payload.map_or(Ok(0), |payload| serde_json::to_vec(payload).map(|json| json.len()));
    match size {
        Ok(size) if size <= PAYLOAD_BYTES_MAX => Ok(()),
        _ => {
            let problem = format!("has more than {PAYLOAD_BYTES_MAX} bytes");
            Err(vec![FieldError::at_pointer(format!("{pointer}/payload"), problem)])
        }
    }
}

fn message((item, pointer): (IngestMessage, String)) -> Read<Intake> {
    check_payload(item.payload.as_ref(), &pointer)?;
    let contact = contact(item.contact, &pointer)?;
    let direction = match item.direction {
        Some(wire::Direction::Outbound) => Direction::Outbound,
        Some(wire::Direction::Inbound) | None => Direction::Inbound,
    };
    let status = match direction {
        Direction::Inbound if item.status.is_some() => {
            let place = format!("{pointer}/status");
            return Err(vec![FieldError::at_pointer(place, "is for outbound messages only")]);
        }
        Direction::Inbound => None,
        Direction::Outbound => item.status.map(status_of),
    };
    let media = item.media.map(|media| Media {
        id: media.id,
        mime_type: media.mime_type,
        sha256: media.sha256,
        filename: media.filename,
        url: None,
        voice: media.voice.unwrap_or_default(),
        animated: media.animated.unwrap_or_default(),
        copy: None,
    });
    let message = IntakeMessage {
        direction,
        dedupe_key: dedupe_key(&item.wa_message_id),
        wa_message_id: item.wa_message_id,
        kind: item.kind.map_or(MessageKind::Text, kind_of),
        text: item.text,
        media,
        payload: item.payload.map(|members| members.into_iter().collect()),
        reply_to: item.reply_to.as_deref().map(dedupe_key),
        sent_at: item.timestamp.0,
        imported: item.imported.unwrap_or_default(),
        status,
        by_api: false,
    };
    Ok(Intake::Message { contact, message })
}

fn status((item, pointer): (IngestStatus, String)) -> Read<Intake> {
    let contact = match item.contact {
        Some(given) => contact(given, &pointer)?,
        None => Contact::default(),
    };
    let error = item.error.map(|error| ProviderError {
        code: error.code,
        title: error.title,
        detail: error.detail.unwrap_or_default(),
    });
    let status = IntakeStatus {
        dedupe_key: dedupe_key(&item.wa_message_id),
        wa_message_id: item.wa_message_id,
        message_id: None,
        status: status_of(item.status),
        at: item.timestamp.0,
        error,
    };
    Ok(Intake::Status { contact, status })
}

/// The contact, known by something.
fn contact(given: IngestContact, pointer: &str) -> Read<Contact> {
    let phone = given.phone.as_deref().map(parse_phone).transpose().map_err(|error| {
        vec![FieldError::at_pointer(format!("{pointer}/contact/phone"), error.to_string())]
    })?;
    let contact = Contact {
        phone,
        name: given.name,
        wa_id: given.wa_id,
        user_id: given.user_id,
        parent_user_id: None,
        lid: given.lid,
        username: given.username,
    };
    let is_known = contact.phone.is_some()
        || contact.wa_id.is_some()
        || contact.user_id.is_some()
        || contact.lid.is_some();
    match is_known {
        true => Ok(contact),
        false => Err(vec![FieldError::at_pointer(
            format!("{pointer}/contact"),
            "needs one of phone, wa_id, user_id and lid",
        )]),
    }
}

fn status_of(value: IngestStatusValue) -> MessageStatus {
    match value {
        IngestStatusValue::Sent => MessageStatus::Sent,
        IngestStatusValue::Delivered => MessageStatus::Delivered,
        IngestStatusValue::Read => MessageStatus::Read,
        IngestStatusValue::Failed => MessageStatus::Failed,
    }
}

fn kind_of(kind: wire::MessageType) -> MessageKind {
    use wire::MessageType as Wire;
    match kind {
        Wire::Text => MessageKind::Text,
        Wire::Image => MessageKind::Image,
        Wire::Audio => MessageKind::Audio,
        Wire::Video => MessageKind::Video,
        Wire::Document => MessageKind::Document,
        Wire::Sticker => MessageKind::Sticker,
        Wire::Location => MessageKind::Location,
        Wire::Contacts => MessageKind::Contacts,
        Wire::Interactive => MessageKind::Interactive,
        Wire::Button => MessageKind::Button,
        Wire::Reaction => MessageKind::Reaction,
        Wire::Template => MessageKind::Template,
        Wire::Order => MessageKind::Order,
        Wire::System => MessageKind::System,
        Wire::Unsupported => MessageKind::Unsupported,
    }
}
