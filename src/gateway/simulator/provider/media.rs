//! Media: what was uploaded, as long as there is room, and samples that are drawn when asked for.

use std::{
    collections::{HashMap, VecDeque},
    io::Write,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use flate2::{Compression, Crc, write::ZlibEncoder};
use sha2::{Digest, Sha256};

/// How much is kept; then the oldest goes.
const SHELF_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Ids of media that are always there.
pub const SAMPLE_IMAGE: &str = "sample-image";
pub const SAMPLE_AUDIO: &str = "sample-audio";
pub const SAMPLE_DOCUMENT: &str = "sample-document";

/// What was uploaded.
#[derive(Default)]
pub(super) struct Shelf {
    media: HashMap<String, (String, Bytes)>,
    oldest_first: VecDeque<String>,
    bytes: usize,
    numbers: u64,
}

impl Shelf {
    pub(super) fn put(&mut self, mime_type: String, bytes: Bytes) -> String {
        self.numbers += 1;
        let id = format!("900{:012}", self.numbers);
        self.bytes += bytes.len();
        self.media.insert(id.clone(), (mime_type, bytes));
        self.oldest_first.push_back(id.clone());
        while self.bytes > SHELF_BYTES_MAX {
            let Some(oldest) = self.oldest_first.pop_front() else { break };
            if let Some((_, bytes)) = self.media.remove(&oldest) {
                self.bytes -= bytes.len();
            }
        }
        id
    }

    pub(super) fn get(&self, id: &str) -> Option<(String, Bytes)> {
        self.media.get(id).cloned().or_else(|| sample(id))
    }
}

/// A sample's MIME type and bytes.
pub fn sample(id: &str) -> Option<(String, Bytes)> {
    let (mime_type, bytes) = match id {
        SAMPLE_IMAGE => ("image/png", picture()),
        SAMPLE_AUDIO => ("audio/wav", tone()),
        SAMPLE_DOCUMENT => ("application/pdf", page()),
        _ => return None,
    };
    Some((mime_type.to_owned(), Bytes::from(bytes)))
}

/// As Meta's webhooks tell a medium's hash.
pub fn sha256_base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(Sha256::digest(bytes))
}

/// As `GET /{media-id}` tells it.
pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// A small picture: a sun over the sea.
fn picture() -> Vec<u8> {
    const WIDTH: u32 = 160;
    const HEIGHT: u32 = 120;
    let mut pixels = Vec::with_capacity((HEIGHT * (1 + 3 * WIDTH)) as usize);
    for y in 0..HEIGHT {
        pixels.push(0);
        for x in 0..WIDTH {
            let from_sun = (i64::from(x) - 80).pow(2) + (i64::from(y) - 45).pow(2);
            pixels.extend(match (from_sun < 625, y > 80) {
                (true, false) => [250, 210, 60],
                (_, true) => [20, 90, (120 + y / 2) as u8],
                _ => [(250 - y) as u8, (170 + y / 2) as u8, 230],
            });
        }
    }
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = Vec::new();
    header.extend(WIDTH.to_be_bytes());
    header.extend(HEIGHT.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    chunk(&mut png, b"IHDR", &header);
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::default());
    // Written to memory, which does not fail.
    let _ = packed.write_all(&pixels);
    chunk(&mut png, b"IDAT", &packed.finish().unwrap_or_default());
    chunk(&mut png, b"IEND", &[]);
    png
}

fn chunk(png: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    png.extend((data.len() as u32).to_be_bytes());
    let start = png.len();
    png.extend(kind);
    png.extend(data);
    let mut crc = Crc::new();
    crc.update(&png[start..]);
    png.extend(crc.sum().to_be_bytes());
}

/// Half a second of a tone.
fn tone() -> Vec<u8> {
    const RATE: u32 = 8_000;
    let samples: Vec<u8> = (0..RATE / 2)
        .map(|n| {
            let phase = f64::from(n) * 440.0 * std::f64::consts::TAU / f64::from(RATE);
            (128.0 + 60.0 * phase.sin()) as u8
        })
        .collect();
    let mut wav = b"RIFF".to_vec();
    wav.extend((36 + samples.len() as u32).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    wav.extend(16u32.to_le_bytes());
    wav.extend([1, 0, 1, 0]);
    wav.extend(RATE.to_le_bytes());
    wav.extend(RATE.to_le_bytes());
    wav.extend([1, 0, 8, 0]);
    wav.extend(b"data");
    wav.extend((samples.len() as u32).to_le_bytes());
    wav.extend(samples);
    wav
}

/// One page with a line.
fn page() -> Vec<u8> {
    let content = "BT /F1 24 Tf 60 720 Td (Condorito) Tj ET";
    let objects = [
        "<</Type/Catalog/Pages 2 0 R>>".to_owned(),
        "<</Type/Pages/Kids[3 0 R]/Count 1>>".to_owned(),
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R\
         /Resources<</Font<</F1 5 0 R>>>>>>"
            .to_owned(),
        format!("<</Length {}>>stream\n{content}\nendstream", content.len()),
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>".to_owned(),
    ];
    let mut pdf = "%PDF-1.4\n".to_owned();
    let mut places = Vec::new();
    for (index, object) in objects.iter().enumerate() {
        places.push(pdf.len());
        pdf.push_str(&format!("{} 0 obj{object}endobj\n", index + 1));
    }
    let table = pdf.len();
    pdf.push_str(&format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1));
    for place in places {
        pdf.push_str(&format!("{place:010} 00000 n \n"));
    }
    let size = objects.len() + 1;
    pdf.push_str(&format!("trailer<</Size {size}/Root 1 0 R>>\nstartxref\n{table}\n%%EOF\n"));
    pdf.into_bytes()
}

/// The part of a form that is a file: its MIME type and bytes.
pub(super) fn multipart_file(content_type: &str, body: &Bytes) -> Option<(String, Bytes)> {
    let boundary = content_type.split_once("boundary=")?.1.trim_matches('"');
    let mark = format!("--{boundary}");
    let mut at = memchr::memmem::find(body, mark.as_bytes())? + mark.len();
    loop {
        let length = memchr::memmem::find(&body[at..], mark.as_bytes())?;
        let part = body.slice(at..at + length);
        at += length + mark.len();
        let head_end = memchr::memmem::find(&part, b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&part[..head_end]).to_lowercase();
        if !head.contains("name=\"file\"") {
            continue;
        }
        let mime_type = head.lines().find_map(|line| line.strip_prefix("content-type:"))?;
        let bytes = part.slice(head_end + 4..part.len().checked_sub(2)?);
        return Some((mime_type.trim().to_owned(), bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_what_they_say_they_are() {
        for id in [SAMPLE_IMAGE, SAMPLE_AUDIO, SAMPLE_DOCUMENT] {
            let (mime_type, bytes) = sample(id).unwrap();
            let found = infer::get(&bytes).map(|kind| kind.mime_type().replace("x-wav", "wav"));
            assert_eq!(found.as_deref(), Some(mime_type.as_str()));
        }
    }

    #[test]
    fn the_shelf_is_bounded() {
        let mut shelf = Shelf::default();
        let large = Bytes::from(vec![0; SHELF_BYTES_MAX / 2]);
        let ids: Vec<String> = (0..3).map(|_| shelf.put("x/y".to_owned(), large.clone())).collect();
        assert!(shelf.get(&ids[0]).is_none());
        assert!(shelf.get(&ids[2]).is_some());
    }
}
