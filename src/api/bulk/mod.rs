//! Bulks: send one text or template to many, see what becomes of it, stop it.
//!
//! [`body`] takes the request apart, [`source`] reads its recipients one by one, [`mod@gather`]
//! decides on each; `command` stores them and the runner (`crate::bulk`) sends. Taking in a
//! hundred thousand recipients holds the request's bytes and a few parts of a thousand.

use std::{ops::ControlFlow, sync::Arc};

use poem::Result;
use poem_openapi::{
    OpenApi,
    param::{Header, Path, Query},
};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use uuid::Uuid;

use self::{
    answer::{CSV, RecipientsAnswer, shown},
    body::BulkBody,
    gather::{GatherError, Gathered, gather},
    shapes::{
        BulkAccepted, BulkPage, BulkRecipientPage, BulkResult, BulkWritten, NewBulk,
        NewBulkTemplate, RejectedRow,
    },
    source::Source,
};
use super::{
    Deps,
    answer::{AcceptedAnswer, Answer, WriteAnswer, unsent},
    extract::{AtLeast, BulkWrite, Caller, IdempotencyKey, MessagesRead},
    page_mark,
    problem::invalid_body,
    shapes::Chapter,
};
use crate::{
    command::{
        self, Answered, CommandError, Done, Request, Write,
        bulk::{Begun, BulkDraft},
    },
    domain::{
        bulk::{Bulk, BulkControl, BulkSpec, Recipient, content::BulkContent},
        ids::{BulkId, ClientId},
        time::Timestamp,
    },
    projection::{queries::BulkRecipientFilter, to_wire},
    wire::{
        problem::{Code, FieldError, Problem},
        types as wire,
    },
};

mod answer;
mod body;
mod gather;
pub mod shapes;
mod source;

/// Parts of recipients that wait to be stored; when they wait, reading waits.
const PARTS_AHEAD: usize = 4;
/// Parts stored in one append.
const PARTS_AT_ONCE: usize = 4;
/// How far ahead a bulk may be scheduled, in milliseconds: a year.
const SCHEDULE_MAX_MS: i64 = 366 * 24 * 60 * 60 * 1000;

pub struct BulkApi(pub Arc<Deps>);

#[OpenApi(tag = "Chapter::Bulk")]
impl BulkApi {
    /// Send a text or a template to many.
    ///
    /// Recipients are in the body, or in a CSV with a column `phone`, maybe `name`, and one for
    /// each parameter. Numbers that can't be written to are told by their row and keep the others
    /// from nothing; the same person gets one message. Contacts who opted out are left out when
    /// their turn comes.
    #[oai(path = "/v1/bulk", method = "post", operation_id = "create_bulk")]
    #[expect(clippy::too_many_arguments, reason = "the operation's parameters")]
    async fn create(
        &self,
        caller: Caller<BulkWrite>,
        /// Makes repeating the request harmless for 24 hours.
        #[oai(name = "Idempotency-Key")]
        key: IdempotencyKey,
        /// With `text/csv`: what to call it.
        #[oai(validator(max_length = 200))]
        name: Query<Option<String>>,
        /// With `text/csv`: a text for all, with placeholders.
        #[oai(validator(max_length = 4096))]
        text: Query<Option<String>>,
        /// With `text/csv`: the template's name.
        #[oai(validator(max_length = 512))]
        template: Query<Option<String>>,
        /// With `text/csv`: the template's language.
        #[oai(validator(max_length = 20))]
        language: Query<Option<String>>,
        /// With `text/csv`: messages a second.
        rate_per_second: Query<Option<f64>>,
        /// With `text/csv`: when to begin.
        #[oai(validator(max_length = 40))]
        scheduled_at: Query<Option<String>>,
        body: BulkBody,
    ) -> Result<AcceptedAnswer<BulkAccepted>> {
        let mut members = Map::new();
        let mut set = |name: &str, value: Option<Value>| {
            members.extend(value.map(|value| (name.to_owned(), value)));
        };
        set("name", name.0.map(Value::from));
        set("text", text.0.map(Value::from));
        if template.0.is_some() || language.0.is_some() {
            let named = json!({"name": template.0, "language": language.0});
            set("template", Some(named));
        }
        set("rate_per_second", rate_per_second.0.map(Value::from));
        set("scheduled_at", scheduled_at.0.map(Value::from));
        let (wanted, source, digest) = body.read(members)?;
        let order = self.order(wanted)?;
        let request = key.request(&digest);
        let answered = self.take_in(&caller, request, order, source).await?;
        Ok(AcceptedAnswer(WriteAnswer::new(&self.0, answered)))
    }

    /// List bulks.
    ///
    /// Newest first, a page at a time.
    #[oai(path = "/v1/bulk", method = "get", operation_id = "list_bulks")]
    async fn list(
        &self,
        caller: Caller<MessagesRead>,
        /// `next` of the page before.
        #[oai(validator(min_length = 1, max_length = 128))]
        after: Query<Option<String>>,
        /// The most bulks on the page; 50 when absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "200")))]
        limit: Query<Option<u32>>,
        /// Wait until the answer includes what is up to this cursor.
        #[oai(name = "at_least")]
        _at_least: AtLeast,
    ) -> Result<Answer<BulkPage>> {
        let client = caller.identity.client_id;
        let before = page_mark::parameter(client, "after", after.0)?;
        let limit = limit.0.unwrap_or(50) as usize;
        let page = self.0.queries.bulks(client, before, limit).await;
        let page = page.map_err(Problem::from)?;
        Ok(Answer(BulkPage {
            bulks: page.items.iter().map(to_wire::bulk).collect(),
            next: page.next.map(|place| page_mark::write(client, &place)),
        }))
    }

    /// One bulk.
    #[oai(path = "/v1/bulk/:id", method = "get", operation_id = "get_bulk")]
    async fn get(
        &self,
        caller: Caller<MessagesRead>,
        /// The bulk's id.
        id: Path<Uuid>,
        /// Wait until the answer includes what is up to this cursor.
        #[oai(name = "at_least")]
        _at_least: AtLeast,
    ) -> Result<Answer<wire::Bulk>> {
        let found = self.0.queries.bulk(caller.identity.client_id, BulkId(id.0)).await;
        let found = found.map_err(Problem::from)?.ok_or_else(no_such_bulk)?;
        Ok(Answer(to_wire::bulk(&found)))
    }

    /// A bulk's recipients with what became of them.
    ///
    /// In the order in which they were given, a page at a time; with `Accept: text/csv` all of
    /// them at once, as a file.
    #[oai(path = "/v1/bulk/:id/recipients", method = "get", operation_id = "list_bulk_recipients")]
    #[expect(clippy::too_many_arguments, reason = "the operation's parameters")]
    async fn recipients(
        &self,
        caller: Caller<MessagesRead>,
        /// The bulk's id.
        id: Path<Uuid>,
        /// Only those with this result.
        result: Query<Option<BulkResult>>,
        /// `next` of the page before. Not for CSV.
        #[oai(validator(min_length = 1, max_length = 128))]
        after: Query<Option<String>>,
        /// The most recipients on the page; 100 when absent. Not for CSV.
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<Option<u32>>,
        /// `text/csv` for a file with all of them.
        #[oai(name = "Accept")]
        accept: Header<Option<String>>,
        /// Wait until the answer includes what is up to this cursor.
        #[oai(name = "at_least")]
        _at_least: AtLeast,
    ) -> Result<RecipientsAnswer> {
        let (client, id) = (caller.identity.client_id, BulkId(id.0));
        let queries = &self.0.queries;
        let result = result.0.map(Into::into);
        if accept.0.as_deref().is_some_and(prefers_csv) {
            let found = queries.bulk(client, id).await.map_err(Problem::from)?;
            found.ok_or_else(no_such_bulk)?;
            return Ok(RecipientsAnswer::export(queries.clone(), client, id, result));
        }
        let after = page_mark::parameter(client, "after", after.0)?;
        let limit = limit.0.unwrap_or(100) as usize;
        let filter = BulkRecipientFilter { result, after, limit };
        let page = queries.bulk_recipients(client, id, filter).await.map_err(Problem::from)?;
        let page = page.ok_or_else(no_such_bulk)?;
        Ok(RecipientsAnswer::Page(BulkRecipientPage {
            recipients: page.items.iter().map(shown).collect(),
            next: page.next.map(|place| page_mark::write(client, &place)),
        }))
    }

    /// Pause a bulk.
    ///
    /// Nothing more of it is queued; what is queued already, some two seconds of its pace, still
    /// leaves.
    #[oai(path = "/v1/bulk/:id/pause", method = "post", operation_id = "pause_bulk")]
    async fn pause(
        &self,
        caller: Caller<BulkWrite>,
        /// The bulk's id.
        id: Path<Uuid>,
        /// Makes repeating the request harmless for 24 hours.
        #[oai(name = "Idempotency-Key")]
        key: IdempotencyKey,
    ) -> Result<WriteAnswer<BulkWritten>> {
        self.control(&caller, key, id.0, BulkControl::Pause).await
    }

    /// Go on with a bulk that was paused, or that stopped by itself.
    #[oai(path = "/v1/bulk/:id/resume", method = "post", operation_id = "resume_bulk")]
    async fn resume(
        &self,
        caller: Caller<BulkWrite>,
        /// The bulk's id.
        id: Path<Uuid>,
        /// Makes repeating the request harmless for 24 hours.
        #[oai(name = "Idempotency-Key")]
        key: IdempotencyKey,
    ) -> Result<WriteAnswer<BulkWritten>> {
        self.control(&caller, key, id.0, BulkControl::Resume).await
    }

    /// Cancel a bulk.
    ///
    /// For good. What is queued and not on its way to WhatsApp is taken back and shows as failed.
    #[oai(path = "/v1/bulk/:id/cancel", method = "post", operation_id = "cancel_bulk")]
    async fn cancel(
        &self,
        caller: Caller<BulkWrite>,
        /// The bulk's id.
        id: Path<Uuid>,
        /// Makes repeating the request harmless for 24 hours.
        #[oai(name = "Idempotency-Key")]
        key: IdempotencyKey,
    ) -> Result<WriteAnswer<BulkWritten>> {
        self.control(&caller, key, id.0, BulkControl::Cancel).await
    }
}

/// What a request asks for, but for its recipients.
struct Order {
    name: String,
    content: BulkContent,
    rate_per_second: f64,
    scheduled_at: Option<Timestamp>,
}

impl BulkApi {
    fn order(&self, wanted: NewBulk) -> Result<Order, Problem> {
        let wrong =
            |place: &str, detail: &str| invalid_body(vec![FieldError::at_pointer(place, detail)]);
        let name = wanted.name.trim().to_owned();
        if name.is_empty() {
            return Err(wrong("/name", "is required"));
        }
        let content = match (wanted.text, wanted.template) {
            (Some(text), None) => BulkContent::Text { text },
            (None, Some(template)) => template_content(template)?,
            (Some(_), Some(_)) => {
                return Err(wrong("/template", "a bulk has a text or a template"));
            }
            (None, None) => return Err(wrong("/text", "a bulk has a text or a template")),
        };
        let now = self.0.clock.now();
        let scheduled_at = wanted.scheduled_at.map(|moment| moment.0).filter(|at| *at > now);
        if scheduled_at.is_some_and(|at| at.since(now) > SCHEDULE_MAX_MS) {
            return Err(wrong("/scheduled_at", "is more than a year ahead"));
        }
        let default = self.0.settings.bulk_rate_per_second_default;
        let rate_per_second = wanted.rate_per_second.unwrap_or_else(|| default.into());
        Ok(Order { name, content, rate_per_second, scheduled_at })
    }

    async fn take_in(
        &self,
        caller: &Caller<BulkWrite>,
        request: Option<Request>,
        order: Order,
        source: Source,
    ) -> Result<Answered> {
        let client = caller.identity.client_id;
        let commands = &self.0.commands;
        let begun = commands.begin_bulk(client, &caller.actor(), request.as_ref()).await;
        let mut draft = match begun.map_err(Problem::from)? {
            Begun::Repeated(first) => return Ok(first),
            Begun::Draft(draft) => draft,
        };
        let (source, content) = (Arc::new(source), Arc::new(order.content));
        let gathered = {
            let (source, content) = (Arc::clone(&source), Arc::clone(&content));
            off_the_async_threads(move || gather(&source, &content)).await?
        };
        let gathered = Arc::new(gathered.map_err(|error| refused(&error))?);
        if gathered.accepted == 0 {
            return Err(nobody(&gathered).into());
        }
        if let Err(error) = self.store(&mut draft, source, Arc::clone(&gathered)).await {
            // What can't be taken back now is, by the runner's sweep.
            let _ = commands.discard_draft(&draft).await;
            return Err(error);
        }
        let spec = BulkSpec {
            name: order.name,
            content: BulkContent::clone(&content),
            columns: gathered.columns.clone(),
            recipients: gathered.accepted,
            rate_per_second: order.rate_per_second,
            scheduled_at: order.scheduled_at,
        };
        let answered = commands.create_bulk(&draft, spec, |bulk| accepted(bulk, &gathered)).await;
        Ok(answered.map_err(Problem::from)?)
    }

    /// Stores the accepted recipients while they are read for the second time.
    async fn store(
        &self,
        draft: &mut BulkDraft,
        source: Arc<Source>,
        gathered: Arc<Gathered>,
    ) -> Result<()> {
        let (sender, mut parts) = mpsc::channel::<Vec<Recipient>>(PARTS_AHEAD);
        let reading = off_the_async_threads(move || {
            gathered.parts(&source, &mut |part| match sender.blocking_send(part) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            })
        });
        // Owns `parts`: when storing fails they go with it, which ends the reading.
        let storing = async move {
            let mut waiting = Vec::with_capacity(PARTS_AT_ONCE);
            while parts.recv_many(&mut waiting, PARTS_AT_ONCE).await > 0 {
                self.0.commands.add_recipients(draft, std::mem::take(&mut waiting)).await?;
            }
            Ok::<_, CommandError>(())
        };
        let (read, stored) = tokio::join!(reading, storing);
        stored.map_err(Problem::from)?;
        read?.map_err(|error| refused(&GatherError::Source(error)))?;
        Ok(())
    }

    async fn control(
        &self,
        caller: &Caller<BulkWrite>,
        key: IdempotencyKey,
        id: Uuid,
        control: BulkControl,
    ) -> Result<WriteAnswer<BulkWritten>> {
        let client: ClientId = caller.identity.client_id;
        let write = Write::ControlBulk { id: BulkId(id), control };
        let request = key.request(&[]);
        let commands = &self.0.commands;
        let answered =
            commands.write(client, &caller.actor(), request.as_ref(), write, written).await;
        let answered = answered.map_err(|error| match error {
            CommandError::NotFound => no_such_bulk(),
            error => error.into(),
        })?;
        Ok(WriteAnswer::new(&self.0, answered))
    }
}

/// What a control is answered with.
fn written(done: &Done) -> command::Answer {
    match done {
        Done::Bulk(bulk) => {
            let bulk = to_wire::bulk(bulk);
            unsent(200, &BulkWritten { bulk, cursor: String::new() })
        }
        _ => command::Answer { status: 200, body: json!({}) },
    }
}

fn accepted(bulk: &Bulk, gathered: &Gathered) -> command::Answer {
    let rejected =
        gathered.told.iter().map(|(row, detail)| RejectedRow { row: *row, detail: detail.clone() });
    let body = BulkAccepted {
        bulk: to_wire::bulk(bulk),
        duplicates: gathered.duplicates,
        rejected_count: gathered.rejected,
        rejected: rejected.collect(),
        cursor: String::new(),
    };
    unsent(202, &body)
}

fn template_content(template: NewBulkTemplate) -> Result<BulkContent, Problem> {
    let NewBulkTemplate { name, language, parameters, components } = template;
    let wrong =
        |detail: &str| invalid_body(vec![FieldError::at_pointer("/template/parameters", detail)]);
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    };
    let body = match parameters {
        None => return Ok(BulkContent::Template { name, language, components }),
        Some(_) if components.is_some() => return Err(wrong("are instead of `components`")),
        Some(Value::Array(items)) => {
            let texts: Option<Vec<String>> = items.iter().map(text).collect();
            let texts = texts.ok_or_else(|| wrong("are texts"))?;
            texts.iter().map(|text| json!({"type": "text", "text": text})).collect::<Vec<_>>()
        }
        Some(Value::Object(members)) => members
            .iter()
            .map(|(name, value)| {
                let text = text(value).ok_or_else(|| wrong("are texts"))?;
                Ok(json!({"type": "text", "parameter_name": name, "text": text}))
            })
            .collect::<Result<Vec<_>, Problem>>()?,
        Some(_) => return Err(wrong("are a list or an object")),
    };
    let components = Some(vec![json!({"type": "body", "parameters": body})]);
    Ok(BulkContent::Template { name, language, components })
}

/// Reading a hundred thousand rows would hold up what else the thread does.
async fn off_the_async_threads<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "recipients could not be read");
        Problem::new(Code::Internal)
    })
}

fn refused(error: &GatherError) -> Problem {
    let place = match error {
        GatherError::Content(_) => "/text",
        _ => "/recipients",
    };
    invalid_body(vec![FieldError::at_pointer(place, error.to_string())])
}

/// Nobody is left to write to: told with the rows' own faults.
fn nobody(gathered: &Gathered) -> Problem {
    const TOLD_MAX: usize = 50;
    let mut errors = vec![FieldError::at_pointer("/recipients", "nobody can be written to")];
    errors.extend(gathered.told.iter().take(TOLD_MAX).map(|(row, detail)| {
        FieldError::at_pointer("/recipients", format!("row {row}: {detail}"))
    }));
    invalid_body(errors)
}

fn no_such_bulk() -> Problem {
    Problem::new(Code::NotFound).detail("there is no such bulk")
}

/// CSV is asked for by name, before JSON or without it.
fn prefers_csv(accept: &str) -> bool {
    let place = |kind: &str| {
        accept.split(',').position(|range| {
            range.split(';').next().is_some_and(|range| range.trim().eq_ignore_ascii_case(kind))
        })
    };
    match (place(CSV), place("application/json")) {
        (Some(csv), Some(json)) => csv < json,
        (csv, _) => csv.is_some(),
    }
}
