//! A public event as the bytes that a transport writes.
//!
//! [`Frame`] wraps what the projector encoded (the JSON) and, on first need, its deflated form;
//! both are made once for all subscribers. Around them each [`Encoding`] puts a few bytes, so
//! that what a transport writes is ready.

use std::{cell::RefCell, io::Write, sync::OnceLock};

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress};

use crate::{projection::PublicFrame, wire::cursor::Cursor};

/// The form in which a subscriber gets its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Unmasked WebSocket text frames, one per event.
    WsText,
    /// The same, deflated one by one (RFC 7692) without context takeover, where that is shorter.
    WsDeflate,
    /// Server-Sent Events with `id:` and `data:`.
    Sse,
    /// The same in pieces of one raw deflate stream, none of which looks back into another: after
    /// a gzip header of its own, any client can be sent the same pieces. So gzip costs no memory
    /// per connection and is done once for all.
    SseGzip,
    /// JSON objects, each followed by a comma.
    Json,
}

/// Below this many bytes deflating is not tried: it would save nothing worth the time.
const DEFLATE_BYTES_MIN: usize = 128;
/// Fast, since it is done on the way to the screen; 600-byte events shrink nearly as far as with
/// the slowest level.
const DEFLATE_LEVEL: u32 = 1;
const FIN_TEXT: u8 = 0x81;
const RSV1: u8 = 0x40;

/// A public event, shared by all that deliver it.
#[derive(Debug)]
pub struct Frame {
    pub event: PublicFrame,
    /// `None` inside: deflated it would not be shorter.
    deflated: OnceLock<Option<Bytes>>,
}

impl Frame {
    pub fn new(event: PublicFrame) -> Self {
        Self { event, deflated: OnceLock::new() }
    }

    /// Appends the event in this encoding.
    pub fn write_to(&self, out: &mut Vec<u8>, encoding: Encoding, epoch: &str) {
        match encoding {
            Encoding::WsDeflate => {
                match self.deflated.get_or_init(|| deflate(&self.event.json).map(Bytes::from)) {
                    Some(deflated) => write_ws_frame(out, deflated, RSV1),
                    None => write_ws_frame(out, &self.event.json, 0),
                }
            }
            _ => write_event(out, &self.event, encoding, epoch),
        }
    }
}

/// Appends an event that is not shared (read from the table for one subscriber).
pub fn write_event(out: &mut Vec<u8>, event: &PublicFrame, encoding: Encoding, epoch: &str) {
    write_payload(out, &event.json, encoding, Some((event.cursor, epoch)));
}

/// The bytes of one control frame (`hello`, `snapshot`, ...) or answer. `id` is the cursor that
/// it carries, for encodings that tell it beside the payload.
pub fn control(encoding: Encoding, json: &[u8], id: Option<(Cursor, &str)>) -> Bytes {
    let mut out = Vec::with_capacity(json.len() + 64);
    write_payload(&mut out, json, encoding, id);
    Bytes::from(finish(out, encoding))
}

/// What comes last, over all that is written at once.
pub fn finish(out: Vec<u8>, encoding: Encoding) -> Vec<u8> {
    match encoding {
        Encoding::SseGzip => deflate_piece(&out),
        _ => out,
    }
}

fn write_payload(out: &mut Vec<u8>, json: &[u8], encoding: Encoding, id: Option<(Cursor, &str)>) {
    match encoding {
        Encoding::WsText => write_ws_frame(out, json, 0),
        Encoding::WsDeflate => match deflate(json) {
            Some(deflated) => write_ws_frame(out, &deflated, RSV1),
            None => write_ws_frame(out, json, 0),
        },
        Encoding::Sse | Encoding::SseGzip => {
            if let Some((cursor, epoch)) = id {
                write_sse_id(out, cursor, epoch);
            }
            out.extend_from_slice(b"data: ");
            out.extend_from_slice(json);
            out.extend_from_slice(b"\n\n");
        }
        Encoding::Json => {
            out.extend_from_slice(json);
            out.push(b',');
        }
    }
}

/// Appends the `id:` line of a Server-Sent Event.
pub fn write_sse_id(out: &mut Vec<u8>, cursor: Cursor, epoch: &str) {
    // Writing into a Vec can't fail.
    let _ = writeln!(out, "id: {}", cursor.display(epoch));
}

/// Appends one final, unmasked text frame; `flags` is `RSV1` for a deflated payload.
fn write_ws_frame(out: &mut Vec<u8>, payload: &[u8], flags: u8) {
    out.push(FIN_TEXT | flags);
    match payload.len() {
        length @ 0..=125 => out.push(length as u8),
        length @ 126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

/// What a flush ends with.
const FLUSH_TAIL: &[u8] = &[0, 0, 0xff, 0xff];

/// Deflates a message as RFC 7692 has it: raw, flushed, without the trailing `00 00 ff ff`.
/// `None` when that is not shorter.
fn deflate(payload: &[u8]) -> Option<Vec<u8>> {
    if payload.len() < DEFLATE_BYTES_MIN {
        return None;
    }
    // Room for the payload and no more: what does not fit is not worth sending.
    let mut out = Vec::with_capacity(payload.len() + FLUSH_TAIL.len());
    with_fresh_compressor(|compress| {
        compress.compress_vec(payload, &mut out, FlushCompress::Sync).ok()?;
        let all_taken = compress.total_in() == payload.len() as u64;
        (all_taken && out.ends_with(FLUSH_TAIL)).then_some(())
    })?;
    out.truncate(out.len() - FLUSH_TAIL.len());
    (out.len() < payload.len()).then_some(out)
}

/// Deflates a piece of a stream: flushed to a whole byte, not the last one.
fn deflate_piece(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() / 2 + 64);
    with_fresh_compressor(|compress| {
        loop {
            let taken = compress.total_in() as usize;
            let room = out.len() + (payload.len() - taken) / 2 + 64;
            out.reserve(room - out.len());
            // Compressing into a vector with room does not fail.
            if compress.compress_vec(&payload[taken..], &mut out, FlushCompress::Sync).is_err() {
                return;
            }
            // With room left over, all is out.
            if compress.total_in() as usize == payload.len() && out.len() < out.capacity() {
                return;
            }
        }
    });
    out
}

/// There is one compressor per thread, reset for each message: nothing looks back.
fn with_fresh_compressor<T>(compress: impl FnOnce(&mut Compress) -> T) -> T {
    thread_local! {
        static COMPRESS: RefCell<Compress> =
            RefCell::new(Compress::new(Compression::new(DEFLATE_LEVEL), false));
    }
    COMPRESS.with_borrow_mut(|compressor| {
        compressor.reset();
        compress(compressor)
    })
}

#[cfg(test)]
mod tests {
    use flate2::{Decompress, FlushDecompress};

    use super::*;
    use crate::feed::tests::event;

    fn inflate(deflated: &[u8]) -> Vec<u8> {
        let mut input = deflated.to_vec();
        input.extend_from_slice(&[0, 0, 0xff, 0xff]);
        let mut out = Vec::with_capacity(1 << 20);
        Decompress::new(false).decompress_vec(&input, &mut out, FlushDecompress::Sync).unwrap();
        out
    }

    #[test]
    fn text_frames_have_the_three_lengths_of_header() {
        for (length, header) in [
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 0xff, 0xff]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let frame = control(Encoding::WsText, &vec![b'x'; length], None);
            assert_eq!(frame[..header.len()], header, "{length}");
            assert_eq!(frame.len(), header.len() + length);
        }
    }

    #[test]
    fn a_deflated_frame_inflates_to_the_event_each_by_itself() {
        let text = format!(r#"{{"id":"k3v9q-1-0","data":"{}"}}"#, "words and words ".repeat(40));
        for _ in 0..2 {
            let frame = control(Encoding::WsDeflate, text.as_bytes(), None);
            assert_eq!(frame[0], 0xc1);
            assert!(frame.len() < text.len() / 2);
            let header = if frame[1] == 126 { 4 } else { 2 };
            assert_eq!(inflate(&frame[header..]), text.as_bytes());
        }
    }

    #[test]
    fn what_deflating_does_not_shorten_goes_plain() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .take(4_000)
        .collect();
        let frame = control(Encoding::WsDeflate, &noise, None);
        assert_eq!(frame[0], 0x81);
        assert_eq!(control(Encoding::WsDeflate, b"{}", None).as_ref(), b"\x81\x02{}");
    }

    #[test]
    fn gzip_pieces_of_any_size_join_to_one_stream() {
        let mut stream = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
        let mut expected = Vec::new();
        for length in [1, 40, 600, 300_000, 0, 70_000] {
            let text: Vec<u8> = (0..length).map(|i: u32| (i.wrapping_mul(i) >> 7) as u8).collect();
            stream.extend_from_slice(&control(Encoding::SseGzip, &text, None));
            expected.extend_from_slice(b"data: ");
            expected.extend_from_slice(&text);
            expected.extend_from_slice(b"\n\n");
        }
        let mut out = Vec::new();
        let mut reader = flate2::read::GzDecoder::new(stream.as_slice());
        let end = std::io::Read::read_to_end(&mut reader, &mut out);
        assert!(end.is_err(), "a stream that goes on has no trailer yet");
        assert!(out == expected);
    }

    #[test]
    fn an_sse_event_has_its_cursor_as_id() {
        let mut out = Vec::new();
        let event = event(7, 1);
        Frame::new(event.clone()).write_to(&mut out, Encoding::Sse, "k3v9q");
        let json = std::str::from_utf8(&event.json).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), format!("id: k3v9q-7-1\ndata: {json}\n\n"));
    }
}
