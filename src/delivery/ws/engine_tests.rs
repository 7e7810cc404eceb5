use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { message_bytes_max: 1_000 };

#[derive(Debug, Clone, PartialEq, Eq)]
enum Owned {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
}

impl From<Received<'_>> for Owned {
    fn from(received: Received<'_>) -> Self {
        match received {
            Received::Text(text) => Owned::Text(text.to_owned()),
            Received::Binary(bytes) => Owned::Binary(bytes.to_vec()),
            Received::Ping(bytes) => Owned::Ping(bytes.to_vec()),
            Received::Pong(bytes) => Owned::Pong(bytes.to_vec()),
            Received::Close(code) => Owned::Close(code),
        }
    }
}

/// A masked frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(MASKED | length as u8),
        length @ 126..=0xffff => {
            bytes.push(MASKED | 126);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            bytes.push(MASKED | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    let mask = [0x12, 0xa4, 0xff, 0x01];
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

fn deflated(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 1_000);
    Compress::new(Compression::default(), false)
        .compress_vec(payload, &mut out, FlushCompress::Sync)
        .expect("room enough");
    out.truncate(out.len() - 4);
    out
}

/// Reads `pieces`, and says what came and how it ended.
fn read_pieces<'a>(
    reader: &mut Reader,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Owned>, Result<(), Violation>) {
    let mut all = Vec::new();
    for piece in pieces {
        let mut bytes = piece.to_vec();
        let mut input = bytes.as_mut_slice();
        loop {
            // Lent for one call, as the caller's loop has it.
            let (received, rest) = {
                let length = input.len();
                let mut cursor = &mut *input;
                match reader.next(&mut cursor) {
                    Ok(Some(received)) => (Owned::from(received), length - cursor.len()),
                    Ok(None) => break,
                    Err(violation) => return (all, Err(violation)),
                }
            };
            all.push(received);
            input = &mut input[rest..];
        }
    }
    (all, Ok(()))
}

fn read(deflate: bool, frames: &[Vec<u8>]) -> (Vec<Owned>, Result<(), Violation>) {
    let bytes = frames.concat();
    let whole = read_pieces(&mut Reader::new(LIMITS, deflate), [bytes.as_slice()]);
    let one_by_one = read_pieces(&mut Reader::new(LIMITS, deflate), bytes.chunks(1));
    assert_eq!(whole, one_by_one, "however it is cut");
    whole
}

#[test]
fn messages_whole_and_in_fragments_with_a_ping_between() {
    let (received, end) = read(
        false,
        &[
            frame(0x81, "grüezi".as_bytes()),
            frame(0x82, &[0xff; 300]),
            frame(0x01, "ü".as_bytes()[..1].as_ref()),
            frame(0x89, b"still there?"),
            frame(0x00, b""),
            frame(0x80, &"ü".as_bytes()[1..]),
            frame(0x8a, b""),
            frame(0x88, &[0x03, 0xe8, b'b', b'y', b'e']),
            frame(0x81, b"after the close"),
        ],
    );
    assert_eq!(end, Ok(()));
    assert_eq!(
        received,
        [
            Owned::Text("grüezi".into()),
            Owned::Binary(vec![0xff; 300]),
            Owned::Ping(b"still there?".to_vec()),
            Owned::Text("ü".into()),
            Owned::Pong(vec![]),
            Owned::Close(Some(1000)),
        ]
    );
}

#[test]
fn what_breaks_the_protocol_ends_the_connection_with_its_code() {
    let unmasked = vec![0x81, 0x00];
    let long_form = vec![0x81, MASKED | 126, 0, 5, 0, 0, 0, 0];
    let huge = vec![0x82, MASKED | 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let negative = vec![0x82, MASKED | 127, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for (frames, code) in [
        (vec![unmasked], 1002),
        (vec![long_form], 1002),
        (vec![negative], 1002),
        (vec![huge], 1009),
        (vec![frame(0x83, b"")], 1002),
        (vec![frame(0x8b, b"")], 1002),
        (vec![frame(0xc1, b"")], 1002),
        (vec![frame(0xa1, b"")], 1002),
        (vec![frame(0x91, b"")], 1002),
        (vec![frame(0x80, b"continues nothing")], 1002),
        (vec![frame(0x01, b"a"), frame(0x81, b"b")], 1002),
        (vec![frame(0x09, b"ping in fragments")], 1002),
        (vec![frame(0x89, &[0; 126])], 1002),
        (vec![frame(0x88, &[3])], 1002),
        (vec![frame(0x88, &[0x03, 0xed])], 1002),
        (vec![frame(0x88, &[0x03, 0xe8, 0xff])], 1007),
        (vec![frame(0x81, &[0xff])], 1007),
        (vec![frame(0x81, &[0xe2, 0x82])], 1007),
        (vec![frame(0x82, &[0; 1_001])], 1009),
        (vec![frame(0x02, &[0; 600]), frame(0x80, &[0; 600])], 1009),
    ] {
        let (received, end) = read(false, &frames);
        assert_eq!(end.expect_err("a violation").close_code(), code, "{frames:02x?}");
        assert_eq!(received, [], "{frames:02x?}");
    }
}

#[test]
fn broken_text_is_noticed_before_its_frame_is_complete() {
    let mut reader = Reader::new(LIMITS, false);
    let bytes = frame(0x81, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xf4\x90\x80\x80 and more to come");
    let (_, end) = read_pieces(&mut reader, bytes[..6 + 9].chunks(1));
    assert_eq!(end, Err(Violation::NotUtf8));
}

#[test]
fn deflated_messages_each_by_itself_in_fragments_and_with_a_last_block() {
    let text = "again and again and again ".repeat(20);
    let whole = deflated(text.as_bytes());
    let hello_with_last_block = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    let (received, end) = read(
        true,
        &[
            frame(0xc1, &whole),
            frame(0x41, &whole[..7]),
            frame(0x89, b"between"),
            frame(0x80, &whole[7..]),
            frame(0xc1, &hello_with_last_block),
            frame(0xc2, &deflated(b"")),
            frame(0x81, b"plain"),
        ],
    );
    assert_eq!(end, Ok(()));
    assert_eq!(
        received,
        [
            Owned::Text(text.clone()),
            Owned::Ping(b"between".to_vec()),
            Owned::Text(text),
            Owned::Text("Hello".into()),
            Owned::Binary(vec![]),
            Owned::Text("plain".into()),
        ]
    );
}

#[test]
fn a_bomb_is_stopped_at_the_limit_and_the_next_connection_is_served() {
    let bomb = deflated(&vec![b'a'; 500_000]);
    assert!(bomb.len() < 1_000);
    assert_eq!(read(true, &[frame(0xc1, &bomb)]).1, Err(Violation::TooBig));
    let exact = deflated(&[b'a'; 1_000]);
    assert_eq!(read(true, &[frame(0xc1, &exact)]).0, [Owned::Text("a".repeat(1_000))]);
    assert_eq!(read(true, &[frame(0xc1, &[0xff; 20])]).1, Err(Violation::NotDeflate));
    assert_eq!(read(true, &[frame(0xc1, &exact)]).1, Ok(()));
}

#[test]
fn an_idle_reader_is_small_and_keeps_no_buffer() {
    let mut reader = Reader::new(LIMITS, true);
    let bytes = [frame(0x01, &[b'x'; 500]), frame(0x80, b"y"), frame(0x89, b"p")].concat();
    let (received, _) = read_pieces(&mut reader, bytes.chunks(3));
    assert_eq!(received.len(), 2);
    assert!(reader.message.is_none() && reader.control.is_none());
    assert!(size_of::<Reader>() <= 72, "{}", size_of::<Reader>());
}

proptest! {
    /// However the bytes are cut, the same comes out; and whatever comes in, nothing panics.
    #[test]
    fn any_bytes_in_any_pieces(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        cuts in proptest::collection::vec(1usize..40, 1..40),
        deflate: bool,
    ) {
        // Mostly valid openings, so that more than the first byte is looked at.
        let mut bytes = bytes;
        if let [first, second, ..] = bytes.as_mut_slice() {
            *first &= 0xcf;
            *second |= MASKED;
        }
        let mut pieces = Vec::new();
        let mut rest = bytes.as_slice();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, next) = rest.split_at((*cut).min(rest.len()));
            pieces.push(piece);
            rest = next;
        }
        let cut = read_pieces(&mut Reader::new(LIMITS, deflate), pieces);
        let whole = read_pieces(&mut Reader::new(LIMITS, deflate), [bytes.as_slice()]);
        prop_assert_eq!(cut.0, whole.0);
        prop_assert_eq!(cut.1.is_err(), whole.1.is_err());
    }
}
