//! Messages, and what is told of one afterwards: acknowledgement, reaction, edit, revocation.

use serde_json::{Map, Value, json, value::RawValue};

use super::{
    super::{
        identity,
        json::{Text, json_key, kept, kept_object, read},
    },
    chat::{Chat, MessageId},
    event::{NotTaken, Outcome, Scope, is_me},
    payload::{EngineData, Location, Message, Reaction, Revocation},
};
use crate::domain::{
    conversation::Contact,
    intake::{Intake, IntakeAmendment, IntakeMessage, IntakeStatus},
    message::{Direction, Media, MessageKind, MessageStatus, ProviderError},
};

/// A message's JSON beyond this is not read as one; see the Cloud API's bound.
const MAX_MESSAGE_BYTES: usize = 256 * 1024;
/// A message's id beyond this is none.
const MAX_ID_BYTES: usize = 512;

/// Whom a message is of, and which way it went.
struct Parties {
    contact: Contact,
    direction: Direction,
}

/// `None` when it is not of one person.
fn parties(scope: &Scope<'_>, message: &Message<'_>) -> Option<Parties> {
    let id = message.id.filled().map(MessageId::parse);
    let from_me = match message.from_me.filled() {
        Some(flag) => flag == "true",
        None => id.and_then(|id| id.from_me).unwrap_or(false),
    };
    // The chat in the id comes first: which of `from` and `to` is the other side depends on the
    // engine, for messages of our own.
    let others: &[&Text<'_>] =
        if from_me { &[&message.to, &message.from] } else { &[&message.from] };
    let named = id.and_then(|id| id.chat);
    let data = message.data();
    let aliases = data.other_ids(from_me);
    let ids = named
        .into_iter()
        .chain(others.iter().filter_map(|id| id.filled()))
        .chain(aliases.iter().filter_map(Text::filled));
    let mut contact = Contact::default();
    for id in ids.filter(|id| !is_me(&scope.me, id)) {
        match Chat::parse(id) {
            Some(Chat::NotOnePerson) => return None,
            Some(chat) => chat.add_to(&mut contact),
            None => {}
        }
    }
    if !from_me {
        contact.name = data.sender_name();
    }
    let direction = if from_me { Direction::Outbound } else { Direction::Inbound };
    identity::is_known(&contact).then_some(Parties { contact, direction })
}

/// Whether any of its ids is of a group, a channel or the like: then it has no place here.
fn is_of_many(message: &Message<'_>) -> bool {
    let named = message.id.filled().and_then(|id| MessageId::parse(id).chat);
    named
        .into_iter()
        .chain(message.from.filled())
        .chain(message.to.filled())
        .any(|id| Chat::parse(id) == Some(Chat::NotOnePerson))
}

/// Reads a payload as a message of one person.
fn read_message<'a>(
    scope: &Scope<'_>,
    raw: &'a RawValue,
) -> Result<(Message<'a>, Parties), NotTaken> {
    let message: Message<'a> = read(raw).ok_or(NotTaken::Unknown)?;
    if is_of_many(&message) {
        return Err(NotTaken::Ignored);
    }
    let parties = parties(scope, &message).ok_or(NotTaken::Unknown)?;
    Ok((message, parties))
}

/// `message` and `message.any`.
pub(super) fn message(scope: &Scope<'_>, raw: &RawValue) -> Outcome {
    let (message, Parties { contact, direction }) = read_message(scope, raw)?;
    let data = message.data();
    match data.kind.filled() {
        // The chat's own notices ("messages are encrypted"), nobody's message.
        Some("e2e_notification" | "notification" | "notification_template" | "protocol") => {
            return Err(NotTaken::Ignored);
        }
        // Comes again when it can be read.
        Some("ciphertext") => return Err(NotTaken::Unknown),
        _ => {}
    }
    let content = match raw.get().len() {
        0..=MAX_MESSAGE_BYTES => content(&message, &data),
        _ => None,
    };
    let mut content = content.unwrap_or_else(|| Content::unsupported(raw));
    if data.is_forwarded.is("true") {
        content.payload.insert("forwarded".to_owned(), Value::Bool(true));
    }
    let (wa_message_id, dedupe_key) = ids(&message, raw, direction);
    let status = match direction {
        Direction::Outbound => Some(acknowledged(&message).unwrap_or(MessageStatus::Sent)),
        Direction::Inbound => None,
    };
    let message = IntakeMessage {
        direction,
        wa_message_id,
        dedupe_key,
        kind: content.kind,
        text: content.text,
        media: content.media,
        payload: (!content.payload.is_empty()).then_some(content.payload),
        reply_to: answered(scope, &message, direction),
        sent_at: message.timestamp.as_time(scope.time),
        imported: false,
        status,
        by_api: direction == Direction::Outbound && message.source.filled() != Some("app"),
    };
    Ok(Intake::Message { contact, message })
}

/// The key of the message that this one answers. Its id may not say which way it went; then its
/// author does, and else it is the other side's, whom one mostly answers.
fn answered(scope: &Scope<'_>, message: &Message<'_>, direction: Direction) -> Option<String> {
    let answered = message.reply_to();
    let of = match answered.participant.filled() {
        Some(author) if is_me(&scope.me, author) => Direction::Outbound,
        Some(_) => Direction::Inbound,
        None => opposite(direction),
    };
    answered.id.filled().map(|id| MessageId::parse(id).key(of))
}

fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::Inbound => Direction::Outbound,
        Direction::Outbound => Direction::Inbound,
    }
}

/// A message's id and its key; without an id that one can work with, it is known by its JSON.
fn ids(message: &Message<'_>, raw: &RawValue, direction: Direction) -> (String, String) {
    match message.id.filled().filter(|id| id.len() <= MAX_ID_BYTES) {
        Some(id) => (id.to_owned(), MessageId::parse(id).key(direction)),
        None => {
            let id = json_key(raw);
            (id.clone(), id)
        }
    }
}

/// What a message turns out to hold.
struct Content {
    kind: MessageKind,
    text: Option<String>,
    media: Option<Media>,
    payload: Map<String, Value>,
}

impl Content {
    fn of(kind: MessageKind) -> Self {
        Self { kind, text: None, media: None, payload: Map::new() }
    }

    fn unsupported(raw: &RawValue) -> Self {
        let payload = Map::from_iter([("raw".to_owned(), kept(raw.get()))]);
        Self { payload, ..Self::of(MessageKind::Unsupported) }
    }
}

/// `None` when nothing in it is known: a poll, or something of a later day.
fn content(message: &Message<'_>, data: &EngineData<'_>) -> Option<Content> {
    if let Some(raw) = message.location
        && let Some(payload) = kept_object(raw)
    {
        // The body is a picture of the map.
        let text =
            read::<Location<'_>>(raw).and_then(|location| location.description.filled_owned());
        return Some(Content { text, payload, ..Content::of(MessageKind::Location) });
    }
    if !message.cards.0.is_empty() {
        let cards = message.cards.0.iter().map(|raw| kept(raw.get())).collect();
        let payload = Map::from_iter([("vcards".to_owned(), Value::Array(cards))]);
        return Some(Content { payload, ..Content::of(MessageKind::Contacts) });
    }
    let text = message.body.filled_owned();
    if message.has_media.is("true") || message.media().is_some() {
        let (kind, media) = medium(message, data);
        return Some(Content { text, media: Some(media), ..Content::of(kind) });
    }
    text.as_ref()?;
    Some(Content { text: message.body.to_owned(), ..Content::of(MessageKind::Text) })
}

/// The medium, even when WAHA tells only that there is one.
fn medium(message: &Message<'_>, data: &EngineData<'_>) -> (MessageKind, Media) {
    let media = message.media().unwrap_or_default();
    let mime_type = media.mimetype.filled().or(data.mimetype.filled());
    let engine_kind = data.kind.filled();
    let parts = data.parts();
    let part = |name: &str| parts.iter().any(|(part, _)| part == name);
    let voice = engine_kind == Some("ptt") || mime_type.is_some_and(|mime| mime.contains("opus"));
    let of_mime = |class: &str| mime_type.is_some_and(|mime| mime.starts_with(class));
    let kind = if engine_kind == Some("sticker") || part("stickerMessage") {
        MessageKind::Sticker
    } else if of_mime("image/") || engine_kind == Some("image") || part("imageMessage") {
        MessageKind::Image
    } else if of_mime("video/") || engine_kind == Some("video") || part("videoMessage") {
        MessageKind::Video
    } else if of_mime("audio/")
        || matches!(engine_kind, Some("audio" | "ptt"))
        || part("audioMessage")
    {
        MessageKind::Audio
    } else {
        MessageKind::Document
    };
    let media = Media {
        id: None,
        mime_type: mime_type.map(str::to_owned),
        sha256: None,
        filename: media.filename.filled_owned().or_else(|| data.filename.filled_owned()),
        url: media.url.filled_owned(),
        voice: voice && kind == MessageKind::Audio,
        animated: false,
        copy: None,
    };
    (kind, media)
}

/// WAHA's numbering, which is not that of Baileys; `None` for pending and for what isn't known.
fn acknowledged(message: &Message<'_>) -> Option<MessageStatus> {
    match message.ack.as_integer()? {
        -1 => Some(MessageStatus::Failed),
        1 => Some(MessageStatus::Sent),
        2 => Some(MessageStatus::Delivered),
        3 | 4 => Some(MessageStatus::Read),
        _ => None,
    }
}

/// `message.ack`.
pub(super) fn acknowledgement(scope: &Scope<'_>, raw: &RawValue) -> Outcome {
    let (message, Parties { contact, direction }) = read_message(scope, raw)?;
    let Some(id) = message.id.filled() else { return Err(NotTaken::Unknown) };
    if direction == Direction::Inbound || message.ack.as_integer() == Some(0) {
        return Err(NotTaken::Ignored);
    }
    let Some(status) = acknowledged(&message) else { return Err(NotTaken::Unknown) };
    let error = (status == MessageStatus::Failed).then(|| ProviderError {
        code: -1,
        title: "ERROR".to_owned(),
        detail: "WhatsApp Web did not send the message".to_owned(),
    });
    let status = IntakeStatus {
        wa_message_id: id.to_owned(),
        dedupe_key: MessageId::parse(id).key(direction),
        message_id: None,
        status,
        at: scope.time,
        error,
    };
    Ok(Intake::Status { contact, status })
}

/// `message.reaction`.
pub(super) fn reaction(scope: &Scope<'_>, raw: &RawValue) -> Outcome {
    let (message, Parties { contact, direction }) = read_message(scope, raw)?;
    let reaction: Reaction<'_> = message.reaction.and_then(read).unwrap_or_default();
    let Some(target) = reaction.message_id.filled().map(MessageId::parse) else {
        return Err(NotTaken::Unknown);
    };
    let emoji = reaction.text.filled_owned();
    let (wa_message_id, mut dedupe_key) = ids(&message, raw, direction);
    let same_id = message.id.filled().is_some_and(|id| MessageId::parse(id).drawn == target.drawn);
    let target = target.key(opposite(direction));
    if same_id {
        // Some engines give a reaction the id of its target.
        dedupe_key = format!("{target}#reaction.{}", scope.told(raw));
    }
    let payload = json!({"message_id": target, "emoji": emoji});
    let message = IntakeMessage {
        direction,
        wa_message_id,
        dedupe_key,
        kind: MessageKind::Reaction,
        text: emoji,
        media: None,
        payload: payload.as_object().cloned(),
        reply_to: Some(target),
        sent_at: message.timestamp.as_time(scope.time),
        imported: false,
        status: (direction == Direction::Outbound).then_some(MessageStatus::Sent),
        by_api: direction == Direction::Outbound && message.source.filled() != Some("app"),
    };
    Ok(Intake::Message { contact, message })
}

/// `message.edited`. Its id may be the edited message's, so a second edit would look like the
/// first one again: the event's id tells them apart.
pub(super) fn edit(scope: &Scope<'_>, raw: &RawValue) -> Outcome {
    let (message, Parties { contact, direction }) = read_message(scope, raw)?;
    let id = message.id.filled().map(|id| MessageId::parse(id).key(direction));
    let target = message.edited_message_id.filled().map(|id| MessageId::parse(id).key(direction));
    let target = target.or_else(|| id.clone());
    let (Some(target), Some(text)) = (target, message.body.to_owned()) else {
        return Err(NotTaken::Unknown);
    };
    let dedupe_key = match id {
        Some(id) if id != target => id,
        _ => format!("{target}#edited.{}", scope.told(raw)),
    };
    let amendment =
        IntakeAmendment { dedupe_key, target, text: Some(text), direction, at: scope.time };
    Ok(Intake::Amendment { contact, amendment })
}

/// `message.revoked`.
pub(super) fn revocation(scope: &Scope<'_>, raw: &RawValue) -> Outcome {
    let Some(revocation) = read::<Revocation<'_>>(raw) else { return Err(NotTaken::Unknown) };
    let (before, after) = (revocation.before(), revocation.after());
    if is_of_many(&before) || is_of_many(&after) {
        return Err(NotTaken::Ignored);
    }
    let parties = parties(scope, &after).or_else(|| parties(scope, &before));
    let named = [&revocation.revoked_message_id, &before.id, &after.id];
    let target = named.iter().find_map(|id| id.filled()).map(MessageId::parse);
    let (Some(Parties { contact, direction }), Some(target)) = (parties, target) else {
        return Err(NotTaken::Unknown);
    };
    let target = target.key(direction);
    let amendment = IntakeAmendment {
        dedupe_key: format!("{target}#revoked"),
        target,
        text: None,
        direction,
        at: scope.time,
    };
    Ok(Intake::Amendment { contact, amendment })
}
