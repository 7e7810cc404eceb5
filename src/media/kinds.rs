//! What WhatsApp takes, by what a file's content is and not by what it is called.
//!
//! The table is Meta's ("Supported media types" of the Cloud API), with its limits. A client's
//! `Content-Type` only decides where the content leaves it open: whether an MP4 is a film or a
//! recording, and that a file of letters is a text.

use crate::domain::media_type::essence;

/// Bytes of a file's beginning that are enough to know it: Office's containers need the most.
pub const HEAD_BYTES: usize = 8192;

const MIB: u64 = 1 << 20;

/// What something is sent as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SentAs {
    Image,
    Sticker,
    Video,
    Audio,
    Document,
}

impl SentAs {
    /// The most bytes that WhatsApp takes.
    pub fn bytes_max(self) -> u64 {
        match self {
            SentAs::Image => 5 * MIB,
            // Animated ones; those that stand still may have 100 KB, which the provider checks.
            SentAs::Sticker => 500 << 10,
            SentAs::Video | SentAs::Audio => 16 * MIB,
            SentAs::Document => 100 * MIB,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            SentAs::Image => "an image",
            SentAs::Sticker => "a sticker",
            SentAs::Video => "a video",
            SentAs::Audio => "a recording",
            SentAs::Document => "a document",
        }
    }
}

const TAKEN: &[(&str, SentAs)] = &[
    ("image/jpeg", SentAs::Image),
    ("image/png", SentAs::Image),
    ("image/webp", SentAs::Sticker),
    ("video/mp4", SentAs::Video),
    ("video/3gpp", SentAs::Video),
    ("audio/aac", SentAs::Audio),
    ("audio/amr", SentAs::Audio),
    ("audio/mpeg", SentAs::Audio),
    ("audio/mp4", SentAs::Audio),
    ("audio/ogg", SentAs::Audio),
    ("text/plain", SentAs::Document),
    ("application/pdf", SentAs::Document),
    ("application/msword", SentAs::Document),
    ("application/vnd.ms-excel", SentAs::Document),
    ("application/vnd.ms-powerpoint", SentAs::Document),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", SentAs::Document),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", SentAs::Document),
    ("application/vnd.openxmlformats-officedocument.presentationml.presentation", SentAs::Document),
];

/// Something that WhatsApp takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    pub mime_type: &'static str,
    pub sent_as: SentAs,
}

/// Why something is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    #[error("there is nothing in it")]
    Empty,
    /// Known, and nothing that WhatsApp sends.
    #[error("WhatsApp does not take {content}")]
    Unsupported { content: &'static str },
    #[error("its content is of no type that WhatsApp takes")]
    Unknown,
    #[error("its content is {content} and not {declared} as its Content-Type says")]
    OtherThanDeclared { content: &'static str, declared: String },
}

/// What a file is, by its first [`HEAD_BYTES`] bytes (all of a shorter one).
pub fn judge(head: &[u8], declared: Option<&str>) -> Result<Taken, NotTaken> {
    if head.is_empty() {
        return Err(NotTaken::Empty);
    }
    let declared = declared.map(essence).filter(|declared| !says_nothing(declared));
    let content = of_content(head, declared.as_deref()).ok_or(NotTaken::Unknown)?;
    let taken = TAKEN.iter().find(|(mime_type, _)| *mime_type == content);
    let Some(&(mime_type, sent_as)) = taken else {
        return Err(NotTaken::Unsupported { content });
    };
    match declared {
        Some(declared) if !is_same(&declared, mime_type) => {
            Err(NotTaken::OtherThanDeclared { content: mime_type, declared })
        }
        _ => Ok(Taken { mime_type, sent_as }),
    }
}

fn of_content(head: &[u8], declared: Option<&str>) -> Option<&'static str> {
    let brand = (head.get(4..8) == Some(b"ftyp")).then(|| head.get(8..11)).flatten();
    if matches!(brand, Some(b"3gp" | b"3g2")) {
        return Some("video/3gpp");
    }
    let Some(known) = infer::get(head) else {
        return is_text(head).then_some("text/plain");
    };
    Some(match known.mime_type() {
        "audio/m4a" => "audio/mp4",
        "audio/opus" => "audio/ogg",
        "video/x-m4v" => "video/mp4",
        // The container is the same for both.
        "video/mp4" if declared.is_some_and(|declared| declared.starts_with("audio/")) => {
            "audio/mp4"
        }
        // A page or a script is a text to who reads it; a client must not run it, which is seen to
        // where it is served.
        mime_type if mime_type.starts_with("text/") && is_text(head) => "text/plain",
        mime_type => mime_type,
    })
}

/// Letters in UTF-8, which may be cut at the end.
fn is_text(head: &[u8]) -> bool {
    let valid = match std::str::from_utf8(head) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none() && head.len() >= HEAD_BYTES,
    };
    valid && !head.iter().any(|byte| *byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c))
}

/// What clients say that do not know.
fn says_nothing(declared: &str) -> bool {
    matches!(declared, "" | "application/octet-stream" | "binary/octet-stream" | "*/*")
}

/// Other names of the same.
fn is_same(declared: &str, content: &str) -> bool {
    declared == content
        || matches!(
            (declared, content),
            ("image/jpg" | "image/pjpeg", "image/jpeg")
                | ("audio/mp3" | "audio/x-mp3", "audio/mpeg")
                | ("audio/m4a" | "audio/x-m4a" | "audio/aac", "audio/mp4")
                | ("audio/opus" | "application/ogg", "audio/ogg")
                | ("audio/x-aac", "audio/aac")
                | (
                    "application/zip",
                    "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
                )
                | ("application/x-pdf", "application/pdf")
                | ("audio/3gpp", "video/3gpp")
        )
        || (content == "text/plain"
            && (declared.starts_with("text/") || declared == "application/json"))
}
