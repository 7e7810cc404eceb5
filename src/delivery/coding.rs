//! Content codings of event streams: which one a client gets, and the encoders.
//!
//! gzip is made of pieces that all clients share ([`Encoding::SseGzip`]), so it comes first where
//! a client takes several: it costs neither time nor memory per connection. zstd and br have no
//! such pieces that every client reads; their encoders are per connection and made for little
//! memory (a window of 16 KiB: some 60 KiB with br, some 200 KiB with zstd). Each batch is
//! flushed, so that nothing is held back.

use std::io::{self, Write};

use brotli::CompressorWriter;
use bytes::Bytes;

use crate::feed::frame::Encoding;

/// Logarithm of the window of the encoders per connection.
const WINDOW_LOG: u32 = 14;
const BROTLI_QUALITY: u32 = 2;
const BROTLI_BUFFER_BYTES: usize = 1_024;
const ZSTD_LEVEL: i32 = 1;

/// The head of a gzip stream: no name, no time, unknown system.
const GZIP_HEAD: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    Identity,
    Gzip,
    Zstd,
    Brotli,
}

impl Coding {
    /// What a client with this `Accept-Encoding` gets: the coding with the highest weight, among
    /// equals the one that costs us least.
    pub fn choose(accept_encoding: &str) -> Self {
        let mut weights = Weights::default();
        for item in accept_encoding.split(',') {
            weights.take(item);
        }
        let choices = [
            (Coding::Gzip, weights.gzip.or(weights.any)),
            (Coding::Zstd, weights.zstd.or(weights.any)),
            (Coding::Brotli, weights.brotli.or(weights.any)),
        ];
        // A client that says nothing of `identity` takes it, but asks for compression.
        let mut best = (Coding::Identity, weights.identity.unwrap_or(0));
        for (coding, weight) in choices {
            let weight = weight.unwrap_or(0);
            let wins_tie = best.0 == Coding::Identity && weight > 0;
            if weight > best.1 || (weight == best.1 && wins_tie) {
                best = (coding, weight);
            }
        }
        best.0
    }

    /// For `Content-Encoding`; `None` without one.
    pub fn header(self) -> Option<&'static str> {
        match self {
            Coding::Identity => None,
            Coding::Gzip => Some("gzip"),
            Coding::Zstd => Some("zstd"),
            Coding::Brotli => Some("br"),
        }
    }

    /// In which form the session's frames are needed.
    pub fn frames(self) -> Encoding {
        match self {
            Coding::Gzip => Encoding::SseGzip,
            _ => Encoding::Sse,
        }
    }
}

/// Weights in thousandths.
#[derive(Default)]
struct Weights {
    gzip: Option<u16>,
    zstd: Option<u16>,
    brotli: Option<u16>,
    identity: Option<u16>,
    any: Option<u16>,
}

impl Weights {
    fn take(&mut self, item: &str) {
        let mut parts = item.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts
            .filter_map(|part| part.split_once('='))
            .find(|(key, _)| key.trim().eq_ignore_ascii_case("q"))
            .map_or(Some(1_000), |(_, value)| parse_weight(value.trim()));
        // An unreadable weight makes the coding one that was not named.
        let Some(weight) = weight else { return };
        let slot = match name.as_str() {
            "gzip" | "x-gzip" => &mut self.gzip,
            "zstd" => &mut self.zstd,
            "br" => &mut self.brotli,
            "identity" => &mut self.identity,
            "*" => &mut self.any,
            _ => return,
        };
        *slot = Some(weight);
    }
}

fn parse_weight(value: &str) -> Option<u16> {
    let weight: f32 = value.parse().ok()?;
    (0.0..=1.0).contains(&weight).then_some((weight * 1_000.0) as u16)
}

/// Turns what the session gives into what the client is sent.
pub enum Encoder {
    Identity,
    /// The pieces come encoded; only the head is missing.
    Gzip,
    Zstd(Box<zstd::stream::write::Encoder<'static, Vec<u8>>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
}

impl Encoder {
    pub fn new(coding: Coding) -> io::Result<Self> {
        Ok(match coding {
            Coding::Identity => Encoder::Identity,
            Coding::Gzip => Encoder::Gzip,
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
                encoder.window_log(WINDOW_LOG)?;
                Encoder::Zstd(Box::new(encoder))
            }
            Coding::Brotli => Encoder::Brotli(Box::new(CompressorWriter::new(
                Vec::new(),
                BROTLI_BUFFER_BYTES,
                BROTLI_QUALITY,
                WINDOW_LOG,
            ))),
        })
    }

    /// What the stream begins with.
    pub fn head(&self) -> Option<Bytes> {
        matches!(self, Encoder::Gzip).then(|| Bytes::from_static(GZIP_HEAD))
    }

    /// The session's frames as they are sent; what goes in comes out with the same call.
    pub fn encode(&mut self, chunks: &mut [Bytes]) -> io::Result<Option<Bytes>> {
        let out = match self {
            Encoder::Identity | Encoder::Gzip => return Ok(None),
            Encoder::Zstd(encoder) => {
                write_each(encoder.as_mut(), chunks)?;
                std::mem::take(encoder.get_mut())
            }
            Encoder::Brotli(encoder) => {
                write_each(encoder.as_mut(), chunks)?;
                std::mem::take(encoder.get_mut())
            }
        };
        Ok(Some(Bytes::from(out)))
    }
}

fn write_each(encoder: &mut impl Write, chunks: &[Bytes]) -> io::Result<()> {
    chunks.iter().try_for_each(|chunk| encoder.write_all(chunk))?;
    encoder.flush()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn weights_decide_and_ties_go_to_what_is_shared() {
        for (accepted, expected) in [
            ("", Coding::Identity),
            ("gzip, deflate, br, zstd", Coding::Gzip),
            ("br", Coding::Brotli),
            ("zstd", Coding::Zstd),
            ("gzip;q=0.5, br;q=0.9", Coding::Brotli),
            ("gzip;q=0, zstd;q=0.1", Coding::Zstd),
            ("*", Coding::Gzip),
            ("*;q=0.5, gzip;q=0", Coding::Zstd),
            ("identity, gzip;q=0.5", Coding::Identity),
            ("identity;q=0.5, gzip;q=0.5", Coding::Gzip),
            ("GZIP ; Q=1.0", Coding::Gzip),
            ("gzip;q=2, br;q=0.1", Coding::Brotli),
            ("deflate, compress", Coding::Identity),
        ] {
            assert_eq!(Coding::choose(accepted), expected, "{accepted}");
        }
    }

    #[test]
    fn each_batch_can_be_read_before_the_next_is_written() {
        let batches: Vec<String> =
            (0..50).map(|i| format!("data: {}\n\n", format!("{i} ").repeat(60))).collect();
        for coding in [Coding::Zstd, Coding::Brotli] {
            let mut encoder = Encoder::new(coding).unwrap();
            let mut sent = Vec::new();
            let mut expected = String::new();
            for batch in &batches {
                expected.push_str(batch);
                let encoded = encoder.encode(&mut [Bytes::from(batch.clone())]).unwrap().unwrap();
                sent.extend_from_slice(&encoded);
                assert_eq!(read_so_far(coding, &sent), expected, "{coding:?}");
            }
            assert!(sent.len() < expected.len());
        }
    }

    fn read_so_far(coding: Coding, sent: &[u8]) -> String {
        let mut out = Vec::new();
        let mut reader: Box<dyn Read> = match coding {
            Coding::Zstd => Box::new(zstd::stream::read::Decoder::new(sent).unwrap()),
            _ => Box::new(brotli::Decompressor::new(sent, 4_096)),
        };
        let mut chunk = [0; 512];
        // The stream goes on, so its end is an error.
        while let Ok(count @ 1..) = reader.read(&mut chunk) {
            out.extend_from_slice(&chunk[..count]);
        }
        String::from_utf8(out).unwrap()
    }
}
