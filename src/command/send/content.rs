//! What a message to be sent holds, checked field by field against what WhatsApp takes.
//!
//! Pure: what the body names (an upload, a message that it answers) was looked up before. All
//! that is wrong is said at once, each with the JSON pointer of its field.

use serde_json::{Map, Value, json};
use url::Url;

use super::{Channel, Upload};
use crate::{
    domain::{
        media_type::essence,
        message::{CopyState, Media, MediaCopy, Message, MessageKind},
    },
    wire::{
        send::{SendLocation, SendMedia, SendMessage, SendReaction, SendTemplate},
        types::MessageType,
    },
};

/// The longest text, in characters.
pub(super) const TEXT_CHARS_MAX: usize = 4096;
/// The longest caption, in characters.
pub(super) const CAPTION_CHARS_MAX: usize = 1024;
/// The most that a template's components may be, in bytes of JSON. WhatsApp's own parameters are
/// far shorter.
pub(super) const COMPONENTS_BYTES_MAX: usize = 32_768;
/// The longest address of a medium, in bytes.
const LINK_BYTES_MAX: usize = 2000;
/// The longest emoji, in characters: families and flags are joined of up to a dozen.
const EMOJI_CHARS_MAX: usize = 16;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldProblem {
    /// JSON pointer into the body.
    pub pointer: String,
    pub detail: String,
}

/// What the body names, as far as it is there.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub upload: Option<Upload>,
    pub answered: Option<Message>,
    pub reacted: Option<Message>,
}

/// A message's content in the domain's shape.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Content {
    pub kind: MessageKind,
    pub text: Option<String>,
    pub media: Option<Media>,
    pub payload: Option<Map<String, Value>>,
    /// `dedupe_key` of the message that is answered or reacted to.
    pub reply_to: Option<String>,
}

impl Content {
    /// That of a message that was queued before.
    pub fn of(message: &Message) -> Self {
        Self {
            kind: message.kind,
            text: message.text.clone(),
            media: message.media.clone(),
            payload: message.payload.clone(),
            reply_to: message.reply_to.clone(),
        }
    }

    fn new(kind: MessageKind) -> Self {
        Self { kind, text: None, media: None, payload: None, reply_to: None }
    }

    /// Whether WhatsApp takes it only within 24 hours after the contact wrote.
    pub fn needs_window(&self) -> bool {
        self.kind != MessageKind::Template
    }
}

/// The content of a body, or all that is wrong with it.
pub(super) fn check(
    body: &SendMessage,
    channel: Channel,
    found: &Found,
) -> Result<Content, Vec<FieldProblem>> {
    let mut check = Check { problems: Vec::new(), channel };
    let content = check.content(body, found);
    match content {
        Some(content) if check.problems.is_empty() => Ok(content),
        _ => Err(check.problems),
    }
}

struct Check {
    problems: Vec<FieldProblem>,
    channel: Channel,
}

impl Check {
    fn problem(&mut self, pointer: &str, detail: impl Into<String>) {
        self.problems.push(FieldProblem { pointer: pointer.to_owned(), detail: detail.into() });
    }

    fn content(&mut self, body: &SendMessage, found: &Found) -> Option<Content> {
        self.one_thing(body)?;
        let mut content = if let Some(media) = &body.media {
            self.media(media, body, found)?
        } else if let Some(template) = &body.template {
            self.template(template)
        } else if let Some(reaction) = &body.reaction {
            self.reaction(reaction, found)?
        } else if let Some(location) = &body.location {
            self.location(location)
        } else {
            self.text(body.text.as_deref().unwrap_or_default())
        };
        self.kind_as_given(body, content.kind);
        self.client_ref(body.client_ref.as_deref());
        if body.reply_to.is_some() {
            content.reply_to = self.reply(content.kind, found);
        }
        Some(content)
    }

    fn one_thing(&mut self, body: &SendMessage) -> Option<()> {
        let SendMessage { text, media, template, reaction, location, .. } = body;
        let things = [media.is_some(), template.is_some(), reaction.is_some(), location.is_some()];
        let things = things.into_iter().filter(|given| *given).count();
        match (text, things) {
            (Some(_), 0) | (None, 1) => Some(()),
            (Some(_), 1) if media.is_some() => Some(()),
            (None, 0) => {
                let needs = "needs a `text`, `media`, `template`, `reaction` or `location`";
                self.problem("", needs);
                None
            }
            (Some(_), 1) => {
                self.problem("/text", "goes alone or with `media`");
                None
            }
            _ => {
                let detail = "has more than one of `media`, `template`, `reaction` and `location`";
                self.problem("", detail);
                None
            }
        }
    }

    fn text(&mut self, text: &str) -> Content {
        self.length("/text", text, TEXT_CHARS_MAX);
        if text.trim().is_empty() {
            self.problem("/text", "must not be blank");
        }
        Content { text: Some(text.to_owned()), ..Content::new(MessageKind::Text) }
    }

    fn media(&mut self, media: &SendMedia, body: &SendMessage, found: &Found) -> Option<Content> {
        let upload = found.upload.as_ref();
        match (&media.id, &media.link) {
            (Some(_), None) if upload.is_none() => {
                self.problem("/media/id", "is no upload, or is not kept any more");
            }
            (Some(_), None) => {}
            (None, Some(link)) if link.len() > LINK_BYTES_MAX || !is_public_link(link) => {
                self.problem("/media/link", "must be an `https` address without credentials");
            }
            (None, Some(_)) => {}
            _ => self.problem("/media", "needs either an `id` or a `link`"),
        }
        self.length("/media/filename", media.filename.as_deref().unwrap_or_default(), 240);
        self.length("/media/mime_type", media.mime_type.as_deref().unwrap_or_default(), 128);
        let mime_type = upload.map(|upload| &upload.mime_type).or(media.mime_type.as_ref());
        let told = mime_type.map(|mime_type| kind_of_mime(mime_type));
        let Some(kind) = body.kind.map_or(told, media_kind) else {
            match body.kind {
                Some(_) => {
                    let media = "image, audio, video, document or sticker";
                    self.problem("/type", format!("must be one of {media} with `media`"));
                }
                None => self.problem("/type", "is needed: `mime_type` does not tell it"),
            }
            return None;
        };
        if let Some(caption) = &body.text {
            self.length("/text", caption, CAPTION_CHARS_MAX);
            if matches!(kind, MessageKind::Audio | MessageKind::Sticker) {
                self.problem("/text", "audio and stickers have no caption");
            }
        }
        let voice = media.voice.unwrap_or(false);
        if voice && kind != MessageKind::Audio {
            self.problem("/media/voice", "only audio can be a voice note");
        }
        let filename = media.filename.as_ref().or(upload.and_then(|up| up.filename.as_ref()));
        Some(Content {
            text: body.text.clone(),
            media: Some(Media {
                // That is the provider's; ours is the copy's.
                id: None,
                mime_type: mime_type.cloned(),
                sha256: upload.and_then(|upload| upload.sha256.clone()),
                filename: filename.cloned(),
                url: media.link.clone(),
                voice,
                animated: false,
                copy: upload.map(|upload| MediaCopy {
                    id: upload.id,
                    state: CopyState::Stored,
                    size: Some(upload.size),
                }),
            }),
            ..Content::new(kind)
        })
    }

    fn template(&mut self, template: &SendTemplate) -> Content {
        if self.channel == Channel::Waha {
            self.problem("/template", "this number's provider (WAHA) has no templates");
        }
        let is_name = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if template.name.is_empty() || !is_name(&template.name) {
            self.problem("/template/name", "has letters, digits and underscores only");
        }
        self.length("/template/name", &template.name, 512);
        self.length("/template/language", &template.language, 16);
        if template.language.is_empty() || !is_name(&template.language) {
            self.problem("/template/language", "is written as `en` or `en_US`");
        }
        let components = template.components.as_deref().unwrap_or_default();
        for (index, component) in components.iter().enumerate() {
            if !component.get("type").is_some_and(Value::is_string) {
                let pointer = format!("/template/components/{index}");
                self.problem(&pointer, "must be an object with a `type`");
            }
        }
        let bytes = serde_json::to_vec(components).map_or(usize::MAX, |json| json.len());
        if bytes > COMPONENTS_BYTES_MAX {
            let detail = format!("must be at most {COMPONENTS_BYTES_MAX} bytes of JSON");
            self.problem("/template/components", detail);
        }
        let mut payload = Map::from_iter([
            ("name".to_owned(), json!(template.name)),
            ("language".to_owned(), json!(template.language)),
        ]);
        if !components.is_empty() {
            payload.insert("components".to_owned(), Value::Array(components.to_vec()));
        }
        Content { payload: Some(payload), ..Content::new(MessageKind::Template) }
    }

    fn reaction(&mut self, reaction: &SendReaction, found: &Found) -> Option<Content> {
        const POINTER: &str = "/reaction/message_id";
        let emoji = reaction.emoji.clone().filter(|emoji| !emoji.is_empty());
        if emoji.as_deref().is_some_and(|emoji| !is_emoji(emoji)) {
            self.problem("/reaction/emoji", "must be one emoji");
        }
        let target = self.known_to_whatsapp(POINTER, found.reacted.as_ref())?;
        let payload = Map::from_iter([
            ("message_id".to_owned(), json!(target.wa_message_id)),
            ("emoji".to_owned(), json!(emoji)),
        ]);
        Some(Content {
            text: emoji,
            payload: Some(payload),
            reply_to: target.dedupe_key.clone(),
            ..Content::new(MessageKind::Reaction)
        })
    }

    fn location(&mut self, location: &SendLocation) -> Content {
        for (name, value, most) in
            [("latitude", location.latitude, 90.0), ("longitude", location.longitude, 180.0)]
        {
            if !(-most..=most).contains(&value) {
                let detail = format!("must lie between -{most} and {most}");
                self.problem(&format!("/location/{name}"), detail);
            }
        }
        let mut payload = Map::from_iter([
            ("latitude".to_owned(), json!(location.latitude)),
            ("longitude".to_owned(), json!(location.longitude)),
        ]);
        for (name, value) in [("name", &location.name), ("address", &location.address)] {
            if let Some(value) = value {
                self.length(&format!("/location/{name}"), value, 1000);
                payload.insert(name.to_owned(), json!(value));
            }
        }
        Content { payload: Some(payload), ..Content::new(MessageKind::Location) }
    }

    fn kind_as_given(&mut self, body: &SendMessage, kind: MessageKind) {
        let is_media = body.media.is_some();
        if let Some(given) = body.kind
            && !is_media
            && !is_same(given, kind)
        {
            self.problem("/type", "is another type than what is given");
        }
    }

    fn client_ref(&mut self, client_ref: Option<&str>) {
        if client_ref.is_some_and(|mark| mark.is_empty() || mark.chars().count() > 128) {
            self.problem("/client_ref", "has 1 to 128 characters");
        }
    }

    fn reply(&mut self, kind: MessageKind, found: &Found) -> Option<String> {
        if matches!(kind, MessageKind::Reaction) {
            self.problem("/reply_to", "a reaction names its message by itself");
            return None;
        }
        self.known_to_whatsapp("/reply_to", found.answered.as_ref())?.dedupe_key.clone()
    }

    /// A message that WhatsApp knows by an id, so that it can be named to it.
    fn known_to_whatsapp<'a>(
        &mut self,
        pointer: &str,
        message: Option<&'a Message>,
    ) -> Option<&'a Message> {
        let Some(message) = message else {
            self.problem(pointer, "is no message of this conversation");
            return None;
        };
        if message.wa_message_id.is_none() {
            self.problem(pointer, "WhatsApp has not taken that message yet");
            return None;
        }
        Some(message)
    }

    fn length(&mut self, pointer: &str, text: &str, chars_max: usize) {
        if text.chars().count() > chars_max {
            self.problem(pointer, format!("must have at most {chars_max} characters"));
        }
    }
}

/// `https`, with a host, and nothing secret in it.
fn is_public_link(link: &str) -> bool {
    Url::parse(link).is_ok_and(|url| {
        url.scheme() == "https"
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
    })
}

/// How WhatsApp shows a file of this type. `image/webp` is what stickers are.
fn kind_of_mime(mime_type: &str) -> MessageKind {
    match essence(mime_type).split_once('/') {
        Some(("image", "webp")) => MessageKind::Sticker,
        Some(("image", "jpeg" | "png")) => MessageKind::Image,
        Some(("audio", _)) => MessageKind::Audio,
        Some(("video", "mp4" | "3gpp")) => MessageKind::Video,
        _ => MessageKind::Document,
    }
}

fn media_kind(kind: MessageType) -> Option<MessageKind> {
    match kind {
        MessageType::Image => Some(MessageKind::Image),
        MessageType::Audio => Some(MessageKind::Audio),
        MessageType::Video => Some(MessageKind::Video),
        MessageType::Document => Some(MessageKind::Document),
        MessageType::Sticker => Some(MessageKind::Sticker),
        _ => None,
    }
}

fn is_same(given: MessageType, kind: MessageKind) -> bool {
    matches!(
        (given, kind),
        (MessageType::Text, MessageKind::Text)
            | (MessageType::Template, MessageKind::Template)
            | (MessageType::Reaction, MessageKind::Reaction)
            | (MessageType::Location, MessageKind::Location)
    )
}

/// Short, and no letters or digits but for those of keycaps: WhatsApp has the last word.
fn is_emoji(text: &str) -> bool {
    text.chars().count() <= EMOJI_CHARS_MAX
        && !text.is_ascii()
        && !text.chars().any(|c| c.is_ascii_alphabetic() || c.is_control() || c.is_whitespace())
}

#[cfg(test)]
#[path = "content_tests.rs"]
mod tests;
