//! The frames that only one connection gets: close, ping, pong. Events come from the feed as
//! ready frames.

use bytes::Bytes;

const FIN_CLOSE: u8 = 0x88;
const FIN_PING: u8 = 0x89;
const FIN_PONG: u8 = 0x8a;
const CONTROL_BYTES_MAX: usize = 125;

/// A ping without a payload: any pong answers it.
pub const PING: Bytes = Bytes::from_static(&[FIN_PING, 0]);

/// Answers a ping with its payload.
pub fn pong(payload: &[u8]) -> Bytes {
    control(FIN_PONG, payload, &[])
}

/// Says goodbye. The reason is cut to what fits.
pub fn close(code: u16, reason: &str) -> Bytes {
    let reason = &reason.as_bytes()[..reason.floor_char_boundary(CONTROL_BYTES_MAX - 2)];
    control(FIN_CLOSE, &code.to_be_bytes(), reason)
}

/// Answers a close frame that gave no code.
pub const CLOSE: Bytes = Bytes::from_static(&[FIN_CLOSE, 0]);

fn control(first: u8, payload: &[u8], rest: &[u8]) -> Bytes {
    let length = payload.len() + rest.len();
    debug_assert!(length <= CONTROL_BYTES_MAX, "a control frame of {length} bytes");
    let mut frame = Vec::with_capacity(2 + length);
    // Fits: control frames are short.
    frame.extend_from_slice(&[first, length as u8]);
    frame.extend_from_slice(payload);
    frame.extend_from_slice(rest);
    Bytes::from(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_frames_are_unmasked_and_fit() {
        assert_eq!(pong(b"hi").as_ref(), b"\x8a\x02hi");
        assert_eq!(close(1001, "bye").as_ref(), b"\x88\x05\x03\xe9bye");
        let long = close(4400, &"ü".repeat(100));
        assert_eq!(long.len(), 2 + 124);
        assert!(std::str::from_utf8(&long[4..]).is_ok());
    }
}
