//! Following a stream of Server-Sent Events.

use futures_util::StreamExt;
use http::header;

use super::{Ended, Failure, Target, printer::Printer, refused, unreachable};

/// A longer line is no event of ours.
const MAX_LINE_BYTES: usize = 16 << 20;

pub async fn follow(
    client: &reqwest::Client,
    target: &Target,
    printer: &mut Printer,
) -> Result<Ended, Failure> {
    let request = client
        .get(target.url("/v1/events/stream", printer.cursor()))
        .header(header::AUTHORIZATION, target.authorization())
        .header(header::ACCEPT, "text/event-stream");
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => return Ok(unreachable(&error)),
    };
    let status = response.status().as_u16();
    if status != 200 {
        let body = response.bytes().await.unwrap_or_default();
        return refused(status, &body);
    }
    let mut lines = Lines::default();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(error) => return Ok(unreachable(&error)),
        };
        for frame in lines.frames(&chunk) {
            if let Some(ended) = printer.frame(&frame) {
                return Ok(ended);
            }
        }
        if lines.partial.len() > MAX_LINE_BYTES {
            return Ok(Ended::Lost("the stream is not one of events".to_owned()));
        }
    }
    Ok(Ended::Lost("the stream ended".to_owned()))
}

/// Takes a stream of events apart. The cursor stands in the events themselves, so only `data` is
/// looked at.
#[derive(Default)]
struct Lines {
    /// The line that has not ended yet.
    partial: Vec<u8>,
    data: String,
}

impl Lines {
    /// The frames that end within this chunk.
    fn frames(&mut self, chunk: &[u8]) -> Vec<String> {
        let mut frames = Vec::new();
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.partial);
                self.line(
                    String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']),
                    &mut frames,
                );
            }
        }
        frames
    }

    fn line(&mut self, line: &str, frames: &mut Vec<String>) {
        if line.is_empty() {
            if !self.data.is_empty() {
                frames.push(std::mem::take(&mut self.data));
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        if field == "data" {
            if !self.data.is_empty() {
                self.data.push('\n');
            }
            self.data.push_str(value.strip_prefix(' ').unwrap_or(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_events_apart_however_they_are_cut() {
        let stream = ": hi\nretry: 2000\nid: e-1-0\ndata: {\"a\":1}\n\n:\n\nid: e-2-0\r\n\
                      data:{\"b\":\ndata: 2}\n\nid: e-3-0\n\ndata: {\"c\":\"\u{e9}\"}\n\n";
        let expected = ["{\"a\":1}", "{\"b\":\n2}", "{\"c\":\"\u{e9}\"}"];
        for size in [1, 2, 3, 7, 1000] {
            let mut lines = Lines::default();
            let frames: Vec<String> =
                stream.as_bytes().chunks(size).flat_map(|chunk| lines.frames(chunk)).collect();
            assert_eq!(frames, expected, "cut every {size} bytes");
        }
    }
}
