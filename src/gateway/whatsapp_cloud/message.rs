//! One message, whichever way it went, from the newest type to the oldest form of it.

use serde_json::{Map, Value, json, value::RawValue};

use super::{
    super::{
        identity,
        json::{Text, json_key, kept, kept_object, read},
    },
    payload::{
        AmendmentBody, Context, HistoryContext, MediaBody, Message, ReactionBody, SystemBody,
        TextBody,
    },
    translate::{People, Scope, unknown},
};
use crate::domain::{
    conversation::Contact,
    intake::{Intake, IntakeAmendment, IntakeMessage},
    message::{Direction, Media, MessageKind, MessageStatus},
};

/// A message's JSON beyond this is not read as a message: WhatsApp's longest text has 64 KiB, and
/// an event must fit into what a log takes as one.
const MAX_MESSAGE_BYTES: usize = 256 * 1024;

/// What a message turns out to hold.
struct Content {
    kind: MessageKind,
    text: Option<String>,
    media: Option<Media>,
    payload: Map<String, Value>,
    reply_to: Option<String>,
}

impl Content {
    fn of(kind: MessageKind) -> Self {
        Self { kind, text: None, media: None, payload: Map::new(), reply_to: None }
    }

    fn unsupported(raw: &RawValue) -> Self {
        let mut content = Self::of(MessageKind::Unsupported);
        content.payload.insert("raw".to_owned(), kept(raw.get()));
        content
    }
}

/// Takes one element of `messages` or `message_echoes`.
pub(super) fn take(
    scope: &Scope<'_>,
    people: &People<'_>,
    index: usize,
    raw: &RawValue,
    direction: Direction,
    take: &mut impl FnMut(Intake),
) {
    match read::<Message<'_>>(raw) {
        Some(message) => {
            let way = Way { direction, imported: false };
            take_parsed(scope, people, index, &message, raw, way, take);
        }
        None => take(unknown(scope, "message", raw)),
    }
}

/// How a message came to us.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    pub(super) direction: Direction,
    pub(super) imported: bool,
}

/// Takes a message that was read. Nothing of what is wrong inside of it makes it fail.
pub(super) fn take_parsed(
    scope: &Scope<'_>,
    people: &People<'_>,
    index: usize,
    message: &Message<'_>,
    raw: &RawValue,
    way: Way,
    take: &mut impl FnMut(Intake),
) {
    let kind = kind_of(message);
    let ids = match way.direction {
        Direction::Inbound => [&message.from, &message.from_user_id, &message.from_parent_user_id],
        Direction::Outbound => [&message.to, &message.to_user_id, &message.to_parent_user_id],
    };
    let nameless = message.id.filled().is_none() && ids.iter().all(|id| id.filled().is_none());
    if nameless && kind != "system" {
        return take(unknown(scope, "message", raw));
    }
    let mut contact = people.contact(ids, index);
    if kind == "system" {
        take_new_identity(scope, message, &mut contact, take);
    }
    if !identity::is_known(&contact) {
        return take(unknown(scope, "message", raw));
    }
    if message.group_id.filled().is_some() {
        let (kind, key) = ("group_message".to_owned(), Some(scope.key(raw)));
        let raw = kept(raw.get());
        return take(Intake::UnknownOfContact { contact, kind, raw, key });
    }
    if let Some(amendment) = amendment(scope, kind, message, raw, way.direction) {
        return take(Intake::Amendment { contact, amendment });
    }
    let message = intake_message(scope, kind, message, raw, way);
    take(Intake::Message { contact, message });
}

fn intake_message(
    scope: &Scope<'_>,
    kind: &str,
    message: &Message<'_>,
    raw: &RawValue,
    way: Way,
) -> IntakeMessage {
    let mut content = match raw.get().len() {
        0..=MAX_MESSAGE_BYTES => content(kind, message),
        _ => None,
    }
    .unwrap_or_else(|| Content::unsupported(raw));
    add_surroundings(&mut content, message);
    // One without an id is known by its JSON.
    let wa_message_id = message.id.filled_owned().unwrap_or_else(|| json_key(raw));
    let dedupe_key = match kind {
        // The medium itself may follow under the same id.
        "media_placeholder" => format!("{wa_message_id}#placeholder"),
        _ => wa_message_id.clone(),
    };
    IntakeMessage {
        direction: way.direction,
        wa_message_id,
        dedupe_key,
        kind: content.kind,
        text: content.text,
        media: content.media,
        payload: (!content.payload.is_empty()).then_some(content.payload),
        reply_to: content.reply_to,
        sent_at: message.timestamp.as_time(scope.time),
        imported: way.imported,
        status: (way.direction == Direction::Outbound).then(|| how_far(message)),
        by_api: false,
    }
}

/// Its type; when it tells none, the name of a body that it has.
fn kind_of<'a>(message: &'a Message<'_>) -> &'a str {
    const BODIES: &[&str] = &[
        "text",
        "image",
        "audio",
        "video",
        "document",
        "sticker",
        "location",
        "contacts",
        "interactive",
        "button",
        "reaction",
        "order",
        "system",
        "edit",
        "revoke",
    ];
    match message.kind.filled() {
        Some(kind) => kind,
        None => BODIES.iter().find(|kind| message.body(kind).is_some()).unwrap_or(&""),
    }
}

/// What the message holds; `None` when its type is not known or its body is not of that type.
fn content(kind: &str, message: &Message<'_>) -> Option<Content> {
    let body = message.body(kind);
    match kind {
        "text" => text(body?),
        "image" => media(MessageKind::Image, body?),
        "audio" | "voice" => media(MessageKind::Audio, body?),
        "video" => media(MessageKind::Video, body?),
        "document" => media(MessageKind::Document, body?),
        "sticker" => media(MessageKind::Sticker, body?),
        "location" => object(MessageKind::Location, body?, &[]),
        "contacts" => contacts(body?),
        "interactive" => interactive(body?),
        "button" => object(MessageKind::Button, body?, &["text"]),
        "reaction" => reaction(body?),
        "order" => object(MessageKind::Order, body?, &["text"]),
        "system" => object(MessageKind::System, body?, &["body"]),
        "template" => object(MessageKind::Template, body?, &[]),
        _ => None,
    }
}

fn text(body: &RawValue) -> Option<Content> {
    let text = read::<TextBody<'_>>(body).and_then(|text| text.body.to_owned());
    // Seen in the wild: the text itself in place of the object around it.
    let text = text.or_else(|| read::<Text<'_>>(body)?.to_owned())?;
    Some(Content { text: Some(text), ..Content::of(MessageKind::Text) })
}

fn media(kind: MessageKind, body: &RawValue) -> Option<Content> {
    let media: MediaBody<'_> = read(body)?;
    media.id.filled().or(media.url.filled()).or(media.mime_type.filled())?;
    Some(Content {
        text: media.caption.filled_owned(),
        media: Some(Media {
            id: media.id.filled_owned(),
            mime_type: media.mime_type.filled_owned(),
            sha256: media.sha256.filled_owned(),
            filename: media.filename.filled_owned(),
            url: media.url.filled_owned(),
            voice: media.voice.is("true"),
            animated: media.animated.is("true"),
            copy: None,
        }),
        ..Content::of(kind)
    })
}

/// A body that is kept as it is; its text is at `text_at`, when it has one.
fn object(kind: MessageKind, body: &RawValue, text_at: &[&str]) -> Option<Content> {
    let payload = kept_object(body)?;
    let text = match text_at {
        [] => None,
        path => text_in(&payload, path),
    };
    Some(Content { text, payload, ..Content::of(kind) })
}

fn text_in(object: &Map<String, Value>, path: &[&str]) -> Option<String> {
    let (first, rest) = path.split_first()?;
    let found = rest.iter().try_fold(object.get(*first)?, |value, name| value.get(name))?;
    found.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn contacts(body: &RawValue) -> Option<Content> {
    let contacts = kept(body.get());
    contacts.is_array().then(|| Content {
        payload: Map::from_iter([("contacts".to_owned(), contacts)]),
        ..Content::of(MessageKind::Contacts)
    })
}

fn interactive(body: &RawValue) -> Option<Content> {
    let mut payload = kept_object(body)?;
    let text = text_in(&payload, &["button_reply", "title"])
        .or_else(|| text_in(&payload, &["list_reply", "title"]))
        .or_else(|| text_in(&payload, &["nfm_reply", "body"]));
    // A flow's answer is JSON within a string; beside it, the same as JSON, if it is any.
    if let Some(response) = text_in(&payload, &["nfm_reply", "response_json"])
        && let Ok(raw) = serde_json::from_str::<&RawValue>(&response)
    {
        payload.insert("response".to_owned(), kept(raw.get()));
    }
    Some(Content { text, payload, ..Content::of(MessageKind::Interactive) })
}

/// No emoji, or an empty one: the reaction was taken back.
fn reaction(body: &RawValue) -> Option<Content> {
    let reaction: ReactionBody<'_> = read(body)?;
    let target = reaction.message_id.filled_owned()?;
    let emoji = reaction.emoji.filled_owned();
    Some(Content {
        payload: Map::from_iter([
            ("message_id".to_owned(), json!(target)),
            ("emoji".to_owned(), json!(emoji)),
        ]),
        text: emoji,
        reply_to: Some(target),
        ..Content::of(MessageKind::Reaction)
    })
}

/// What stands beside the body: what it answers, whether it was forwarded, the advertisement
/// that led to it, errors.
fn add_surroundings(content: &mut Content, message: &Message<'_>) {
    let mut add = |name: &str, value: Value| _ = content.payload.insert(name.to_owned(), value);
    if let Some(context) = message.context.and_then(read::<Context<'_>>) {
        for (name, flag) in [
            ("forwarded", &context.forwarded),
            ("frequently_forwarded", &context.frequently_forwarded),
        ] {
            if flag.is("true") {
                add(name, Value::Bool(true));
            }
        }
        if let Some(product) = context.referred_product {
            add("referred_product", kept(product.get()));
        }
        if content.reply_to.is_none() {
            content.reply_to = context.id.filled_owned();
        }
    }
    for (name, raw) in [("referral", message.referral), ("errors", message.errors)] {
        if let Some(raw) = raw {
            content.payload.insert(name.to_owned(), kept(raw.get()));
        }
    }
}

/// How far a message of ours had come: as an import tells it, else it was sent.
fn how_far(message: &Message<'_>) -> MessageStatus {
    let context: HistoryContext<'_> = message.history_context.and_then(read).unwrap_or_default();
    match context.status.filled() {
        Some(status) if status.eq_ignore_ascii_case("delivered") => MessageStatus::Delivered,
        Some(status) if status.eq_ignore_ascii_case("read") => MessageStatus::Read,
        Some(status) if status.eq_ignore_ascii_case("played") => MessageStatus::Read,
        Some(status) if status.eq_ignore_ascii_case("error") => MessageStatus::Failed,
        _ => MessageStatus::Sent,
    }
}

/// An edit or a revocation; `None` when the message is neither, or doesn't tell of which one.
fn amendment(
    scope: &Scope<'_>,
    kind: &str,
    message: &Message<'_>,
    raw: &RawValue,
    direction: Direction,
) -> Option<IntakeAmendment> {
    if !matches!(kind, "edit" | "revoke") {
        return None;
    }
    let body: AmendmentBody<'_> = read(message.body(kind)?)?;
    let target = body.original_message_id.filled_owned()?;
    let text = match kind {
        "edit" => {
            let edited: Message<'_> = read(body.message?)?;
            Some(content(kind_of(&edited), &edited)?.text.unwrap_or_default())
        }
        _ => None,
    };
    // A message can be edited more than once.
    let dedupe_key =
        message.id.filled_owned().unwrap_or_else(|| format!("{target}#{kind}.{}", json_key(raw)));
    let at = message.timestamp.as_time(scope.time);
    Some(IntakeAmendment { dedupe_key, target, text, direction, at })
}

/// A system message may say that a person has another number or user id from now on. Then both
/// are theirs, and `contact`, whom the message is of, has the new ones too.
fn take_new_identity(
    scope: &Scope<'_>,
    message: &Message<'_>,
    contact: &mut Contact,
    take: &mut impl FnMut(Intake),
) {
    let system: SystemBody<'_> = message.body("system").and_then(read).unwrap_or_default();
    let mut new = Contact::default();
    for id in [&system.wa_id, &system.new_wa_id, &system.user_id, &system.parent_user_id] {
        identity::add(&mut new, id.filled());
    }
    if !identity::is_known(&new) {
        return;
    }
    let mut previous = Contact::default();
    for id in [&message.from, &system.previous_user_id, &system.previous_parent_user_id] {
        identity::add(&mut previous, id.filled());
    }
    if system.previous_user_id.filled().is_none() {
        identity::add(&mut previous, message.from_user_id.filled());
    }
    if identity::is_known(&previous) {
        let at = message.timestamp.as_time(scope.time);
        take(Intake::ContactChange { contact: new.clone(), previous, at: Some(at) });
    }
    new.name = contact.name.take();
    new.username = contact.username.take();
    *contact = new;
}
