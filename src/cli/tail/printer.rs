//! What arrived, as lines; and where the feed stands.

use std::io::{self, Write, stderr, stdout};

use serde_json::Value;

use super::Ended;

/// Prints events and remembers the cursor.
///
/// **Invariant:** nothing that a customer wrote reaches the terminal as a control character.
pub struct Printer {
    json: bool,
    left: Option<u64>,
    cursor: Option<String>,
    frames: u64,
    was_connected: bool,
}

impl Printer {
    pub fn new(json: bool, limit: Option<u64>, cursor: Option<String>) -> Self {
        Self { json, left: limit, cursor, frames: 0, was_connected: false }
    }

    /// Where to go on from.
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    pub fn set_cursor(&mut self, cursor: &str) {
        self.cursor = Some(cursor.to_owned());
    }

    /// How many frames have arrived in all: a connection that brings none was none.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Takes in one frame; `Some` when that was the last one wanted.
    pub fn frame(&mut self, text: &str) -> Option<Ended> {
        self.frames += 1;
        let frame: Value = serde_json::from_str(text).unwrap_or_default();
        let data = &frame["data"];
        match frame["type"].as_str().unwrap_or_default() {
            "hello" => {
                self.cursor = data["cursor"].as_str().map(str::to_owned).or(self.cursor.take());
                self.connected();
                None
            }
            "reset" => {
                self.reset(&data["reason"], &data["cursor"]);
                None
            }
            "snapshot" => {
                self.cursor = data["cursor"].as_str().map(str::to_owned).or(self.cursor.take());
                None
            }
            "draining" => {
                let ms = data["reconnect_after_ms"].as_u64().unwrap_or(1_000);
                Some(Ended::Draining(std::time::Duration::from_millis(ms)))
            }
            "ping" | "pong" | "ack" => None,
            "error" => {
                self.notice(&format!("the server says: {}", plain(&text_of(data, "message"))));
                None
            }
            _ => self.event(text, &frame),
        }
    }

    /// A connection stands.
    pub fn connected(&mut self) {
        self.was_connected = true;
        self.notice(&format!("connected, at {}", plain(self.cursor().unwrap_or_default())));
    }

    /// Whether there ever was a connection.
    pub fn was_connected(&self) -> bool {
        self.was_connected
    }

    /// The cursor could not be continued from.
    pub fn reset(&mut self, reason: &Value, cursor: &Value) {
        let reason = plain(reason.as_str().unwrap_or_default());
        self.notice(&format!("events were missed ({reason}): going on from the server's cursor"));
        self.cursor = cursor.as_str().map(str::to_owned).or(self.cursor.take());
    }

    fn event(&mut self, text: &str, event: &Value) -> Option<Ended> {
        let line = if self.json { text.to_owned() } else { line(event) };
        if writeln!(stdout().lock(), "{line}").is_err() {
            return Some(Ended::Enough);
        }
        if let Some(id) = event["id"].as_str() {
            self.cursor = Some(id.to_owned());
        }
        let left = self.left.as_mut()?;
        *left = left.saturating_sub(1);
        (*left == 0).then_some(Ended::Enough)
    }

    pub fn notice(&self, text: &str) {
        let _unread: io::Result<()> = writeln!(stderr(), "-- {text}");
    }

    pub fn say_goodbye(&self) {
        if let Some(cursor) = &self.cursor {
            self.notice(&format!("to go on from here: --cursor {}", plain(cursor)));
        }
    }
}

/// An event for people: time, type, and what matters of the rest.
fn line(event: &Value) -> String {
    let time = event["time"].as_str().and_then(|time| time.get(11..23)).unwrap_or("-");
    let kind = event["type"].as_str().unwrap_or("-");
    format!("{} {:<24} {}", plain(time), plain(kind), plain(&summary(kind, &event["data"])))
}

fn summary(kind: &str, data: &Value) -> String {
    match kind {
        "new_message" => {
            let message = &data["message"];
            let (sender, kind) = (text_of(message, "sender"), text_of(message, "type"));
            let text = message["text"].as_str().map_or_else(|| format!("[{kind}]"), str::to_owned);
            format!("#{} {sender}: {text}", message["conversation_id"])
        }
        "message_status_updated" => {
            let error = data["error"]["title"].as_str().map(|title| format!(" ({title})"));
            let (id, status) = (text_of(data, "message_id"), text_of(data, "status"));
            format!("#{} {id} {status}{}", data["conversation_id"], error.unwrap_or_default())
        }
        "conversation_updated" => {
            let conversation = &data["conversation"];
            let status = text_of(conversation, "status");
            let name = text_of(&conversation["contact"], "name");
            let (id, unread) = (&conversation["id"], &conversation["unread_count"]);
            format!("#{id} {status}, {unread} unread, {name}")
        }
        "stats_updated" => {
            let stats = &data["stats"];
            let count = |name: &str| stats[name].as_i64().unwrap_or_default();
            format!(
                "{} messages: {} received, {} sent, {} delivered, {} read, {} failed",
                count("total_messages"),
                count("received"),
                count("sent"),
                count("delivered"),
                count("read"),
                count("failed")
            )
        }
        "bot_status_changed" => state(&data["botStatus"]),
        "whatsapp_status_changed" => state(&data["whatsappState"]),
        _ => data.to_string(),
    }
}

fn state(state: &Value) -> String {
    let reason = state["reason"].as_str().map(|reason| format!(" ({reason})"));
    format!("{}{}", text_of(state, "status"), reason.unwrap_or_default())
}

fn text_of(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or("-").to_owned()
}

/// Without line breaks, escape sequences and directions that would fool the terminal.
pub fn plain(text: &str) -> String {
    let is_direction = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if c.is_control() || is_direction(c) { '\u{b7}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_read_as_lines() {
        let time = "2026-11-24T10:15:30.123Z";
        for (kind, data, expected) in [
            (
                "new_message",
                json!({"message": {"conversation_id": 7, "sender": "contact", "type": "text",
                       "text": "hello\n\u{1b}[2Jyou"}}),
                "10:15:30.123 new_message              #7 contact: hello\u{b7}\u{b7}[2Jyou",
            ),
            (
                "new_message",
                json!({"message": {"conversation_id": 7, "sender": "agent", "type": "image",
                       "text": null}}),
                "10:15:30.123 new_message              #7 agent: [image]",
            ),
            (
                "message_status_updated",
                json!({"message_id": "m-1", "conversation_id": 7, "status": "failed",
                       "error": {"code": 131_047, "title": "Re-engagement", "detail": ""}}),
                "10:15:30.123 message_status_updated   #7 m-1 failed (Re-engagement)",
            ),
            (
                "bot_status_changed",
                json!({"botStatus": {"status": "paused", "reason": "lunch"}}),
                "10:15:30.123 bot_status_changed       paused (lunch)",
            ),
            ("new_type", json!({"a": 1}), "10:15:30.123 new_type                 {\"a\":1}"),
        ] {
            assert_eq!(
                line(&json!({"id": "e-1-0", "type": kind, "time": time, "data": data})),
                expected
            );
        }
        assert_eq!(line(&json!({})), format!("- {:<24} null", "-"));
    }

    #[test]
    fn the_cursor_follows_what_arrives() {
        let mut printer = Printer::new(true, None, None);
        let frame = |kind: &str, cursor: &str| json!({"type": kind, "data": {"cursor": cursor}});
        for (frame, expected) in [
            (frame("hello", "e-1-0"), "e-1-0"),
            (json!({"type": "ping", "data": {}}), "e-1-0"),
            (json!({"id": "e-5-1", "type": "stats_updated", "data": {}}), "e-5-1"),
            (frame("reset", "e-9-0"), "e-9-0"),
            (frame("snapshot", "e-9-1"), "e-9-1"),
            (json!({"type": "hello", "data": {}}), "e-9-1"),
        ] {
            assert!(printer.frame(&frame.to_string()).is_none());
            assert_eq!(printer.cursor(), Some(expected), "{frame}");
        }
        let draining = json!({"type": "draining", "data": {"reconnect_after_ms": 250}}).to_string();
        let ended = printer.frame(&draining);
        assert!(matches!(ended, Some(Ended::Draining(wait)) if wait.as_millis() == 250));
    }

    #[test]
    fn stops_after_as_many_events_as_were_wanted() {
        let mut printer = Printer::new(true, Some(2), None);
        let event = json!({"id": "e-1-0", "type": "stats_updated", "data": {}}).to_string();
        assert!(printer.frame(&event).is_none());
        assert!(matches!(printer.frame(&event), Some(Ended::Enough)));
    }
}
