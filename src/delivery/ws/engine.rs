//! Reading what a WebSocket client sends (RFC 6455, RFC 7692), without I/O.
//!
//! [`Reader`] gets bytes in the order in which they arrive, however they are cut, and gives out
//! messages and control frames. A message that arrived whole is unmasked and lent where it lies,
//! in the caller's buffer; only what is cut or fragmented is copied. So an idle connection keeps
//! no buffer at all, and inflating borrows the thread's one inflater, which is possible because
//! we only ever agree to `client_no_context_takeover`.
//!
//! Why our own and not the crate that DESIGN.md names: `docs/decisions/0003-websocket-reader.md`.
//!
//! **Invariant:** nothing longer than [`Limits::message_bytes_max`] is kept or given out, neither
//! as it arrives nor inflated.
//!
//! **Invariant:** after a close frame or a violation nothing more is given out.

use std::cell::RefCell;

use flate2::{Decompress, FlushDecompress, Status};

/// What the server can bear of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one message, deflated and inflated. More ends the connection with 1009.
    pub message_bytes_max: u32,
}

/// What a client has sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
    Ping(&'a [u8]),
    Pong(&'a [u8]),
    /// The close code, if it gave one.
    Close(Option<u16>),
}

/// Why a connection can't go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    #[error("protocol error: {0}")]
    Protocol(&'static str),
    #[error("text is not valid UTF-8")]
    NotUtf8,
    #[error("the deflated data is broken")]
    NotDeflate,
    #[error("the message is too big")]
    TooBig,
    #[error("a message of too many empty frames")]
    EmptyFrames,
}

impl Violation {
    /// The close code that tells the client.
    pub fn close_code(self) -> u16 {
        match self {
            Violation::Protocol(_) => 1002,
            Violation::NotUtf8 | Violation::NotDeflate => 1007,
            Violation::EmptyFrames => 1008,
            Violation::TooBig => 1009,
        }
    }
}

/// The two opcodes that begin a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Binary,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opcode {
    Continuation,
    Data(Kind),
    Close,
    Ping,
    Pong,
}

/// A frame whose header has arrived.
#[derive(Debug, Clone, Copy)]
struct Frame {
    opcode: Opcode,
    is_final: bool,
    is_deflated: bool,
    mask: [u8; 4],
    /// Bytes of the payload, and how many have arrived.
    length: u32,
    arrived: u32,
}

/// A message that did not arrive whole, or was inflated.
#[derive(Debug)]
struct Message {
    kind: Kind,
    is_deflated: bool,
    /// The payload as it arrived so far, unmasked.
    payload: Vec<u8>,
    /// Up to here a plain text is known to be UTF-8.
    checked: usize,
    /// Frames without a payload so far.
    empty_frames: u32,
    inflated: Vec<u8>,
    /// Given out; forgotten on the next call.
    is_done: bool,
}

const HEADER_BYTES_MAX: usize = 14;
/// Frames of one message that may be empty. Those cost work and add nothing to what the limits
/// count, so a client could send them for ever. Beyond: 1008.
const EMPTY_FRAMES_MAX: u32 = 64;
const CONTROL_BYTES_MAX: usize = 125;

/// The receiving side of one connection.
#[derive(Debug)]
pub struct Reader {
    limits: Limits,
    /// Whether permessage-deflate was agreed.
    deflate: bool,
    ended: bool,
    header: [u8; HEADER_BYTES_MAX],
    header_length: u8,
    frame: Option<Frame>,
    message: Option<Box<Message>>,
    /// A control frame that did not arrive whole.
    control: Option<Vec<u8>>,
}

impl Reader {
    pub fn new(limits: Limits, deflate: bool) -> Self {
        Self {
            limits,
            deflate,
            ended: false,
            header: [0; HEADER_BYTES_MAX],
            header_length: 0,
            frame: None,
            message: None,
            control: None,
        }
    }

    /// The next message or control frame in `input`, which moves on behind it. `None`: all of
    /// `input` was taken and more is needed. To be called until it says so.
    pub fn next<'a>(
        &'a mut self,
        input: &mut &'a mut [u8],
    ) -> Result<Option<Received<'a>>, Violation> {
        if self.ended {
            *input = &mut [];
            return Ok(None);
        }
        // Taken back below by what does not end the connection.
        self.ended = true;
        let received = match self.step(input)? {
            Step::More => {
                self.ended = false;
                return Ok(None);
            }
            Step::Control(opcode, payload) => control(opcode, payload)?,
            Step::AssembledControl(opcode) => {
                control(opcode, self.control.as_deref().unwrap_or_default())?
            }
            Step::Message(kind, payload) => message(kind, payload)?,
            Step::AssembledMessage => match self.message.as_deref() {
                Some(done) if done.is_deflated => message(done.kind, &done.inflated)?,
                Some(done) => message(done.kind, &done.payload)?,
                None => return Err(Violation::Protocol("no message is under way")),
            },
        };
        self.ended = matches!(received, Received::Close(_));
        Ok(Some(received))
    }

    fn step<'i>(&mut self, input: &mut &'i mut [u8]) -> Result<Step<'i>, Violation> {
        self.forget_what_was_given_out();
        loop {
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None => match self.header(input)? {
                    Some(frame) => frame,
                    None => return Ok(Step::More),
                },
            };
            let is_cut = frame.arrived > 0 || input.len() < frame.length as usize;
            let payload = frame.take_payload(input);
            let is_complete = frame.arrived == frame.length;
            if !is_complete {
                self.frame = Some(frame);
            }
            let step = match frame.opcode {
                Opcode::Data(kind) => self.data(frame, Some(kind), payload, is_complete, is_cut)?,
                Opcode::Continuation => self.data(frame, None, payload, is_complete, is_cut)?,
                opcode if !is_cut => Step::Control(opcode, payload),
                opcode => {
                    self.control.get_or_insert_default().extend_from_slice(payload);
                    if is_complete { Step::AssembledControl(opcode) } else { Step::More }
                }
            };
            match step {
                Step::More if is_complete => {}
                step => return Ok(step),
            }
        }
    }

    fn forget_what_was_given_out(&mut self) {
        if self.message.as_deref().is_some_and(|message| message.is_done) {
            self.message = None;
        }
        if self.frame.is_none() {
            self.control = None;
        }
    }

    /// Takes a header out of `input`; `None` when more of it must arrive first.
    fn header(&mut self, input: &mut &mut [u8]) -> Result<Option<Frame>, Violation> {
        loop {
            let have = usize::from(self.header_length);
            let need = header_bytes(&self.header[..have]);
            if have == need {
                self.header_length = 0;
                return self.parse_header(need).map(Some);
            }
            let length = (need - have).min(input.len());
            if length == 0 {
                return Ok(None);
            }
            let (bytes, rest) = std::mem::take(input).split_at_mut(length);
            *input = rest;
            self.header[have..have + length].copy_from_slice(bytes);
            // At most HEADER_BYTES_MAX.
            self.header_length += length as u8;
            if have < 2 && self.header_length == 2 {
                self.check_opening(self.header[0], self.header[1])?;
            }
        }
    }

    /// Everything that the first two bytes can break.
    fn check_opening(&self, first: u8, second: u8) -> Result<(), Violation> {
        let opcode = opcode(first)?;
        let is_final = first & FIN != 0;
        if second & MASKED == 0 {
            return Err(Violation::Protocol("a client's frame must be masked"));
        }
        let starts_message = matches!(opcode, Opcode::Data(_));
        let reserved = if self.deflate && starts_message { RSV2 | RSV3 } else { RSV };
        if first & reserved != 0 {
            return Err(Violation::Protocol("a reserved bit is set"));
        }
        match opcode {
            Opcode::Continuation if self.message.is_none() => {
                Err(Violation::Protocol("nothing to continue"))
            }
            Opcode::Data(_) if self.message.is_some() => {
                Err(Violation::Protocol("a message within a message"))
            }
            Opcode::Continuation | Opcode::Data(_) => Ok(()),
            _ if !is_final => Err(Violation::Protocol("a control frame in fragments")),
            _ if usize::from(second & LENGTH) > CONTROL_BYTES_MAX => {
                Err(Violation::Protocol("a control frame that is too long"))
            }
            _ => Ok(()),
        }
    }

    fn parse_header(&self, length: usize) -> Result<Frame, Violation> {
        let header = &self.header[..length];
        let (extended, mask) = header[2..].split_at(length - 2 - 4);
        let length = match *extended {
            [] => u64::from(header[1] & LENGTH),
            [high, low] => u64::from(u16::from_be_bytes([high, low])),
            _ => extended.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        };
        let is_shortest = match extended.len() {
            0 => true,
            2 => length > 125,
            _ => length > 0xffff && length >> 63 == 0,
        };
        if !is_shortest {
            return Err(Violation::Protocol("a length in the wrong form"));
        }
        let before = self.message.as_deref().map_or(0, |message| message.payload.len() as u64);
        if before + length > u64::from(self.limits.message_bytes_max) {
            return Err(Violation::TooBig);
        }
        Ok(Frame {
            opcode: opcode(header[0])?,
            is_final: header[0] & FIN != 0,
            is_deflated: header[0] & RSV1 != 0,
            mask: [mask[0], mask[1], mask[2], mask[3]],
            // Below the limit, which is a u32.
            length: length as u32,
            arrived: 0,
        })
    }

    /// A piece of a data frame. `kind`: it begins a message.
    fn data<'i>(
        &mut self,
        frame: Frame,
        kind: Option<Kind>,
        payload: &'i [u8],
        is_complete: bool,
        is_cut: bool,
    ) -> Result<Step<'i>, Violation> {
        let ends_message = is_complete && frame.is_final;
        let message = match (&mut self.message, kind) {
            (None, Some(kind)) if ends_message && !is_cut && !frame.is_deflated => {
                return Ok(Step::Message(kind, payload));
            }
            (Some(message), _) => message,
            (empty @ None, kind) => {
                let kind = kind.ok_or(Violation::Protocol("nothing to continue"))?;
                empty.insert(Box::new(Message::new(kind, frame.is_deflated)))
            }
        };
        message.payload.extend_from_slice(payload);
        message.check_what_arrived()?;
        message.empty_frames += u32::from(frame.length == 0);
        if message.empty_frames > EMPTY_FRAMES_MAX {
            return Err(Violation::EmptyFrames);
        }
        if !ends_message {
            return Ok(Step::More);
        }
        if message.is_deflated {
            let bytes_max = self.limits.message_bytes_max as usize;
            inflate(&message.payload, &mut message.inflated, bytes_max)?;
        }
        message.is_done = true;
        Ok(Step::AssembledMessage)
    }
}

/// What came of the bytes: lent from the input, or to be lent from the reader.
enum Step<'i> {
    More,
    Control(Opcode, &'i [u8]),
    AssembledControl(Opcode),
    Message(Kind, &'i [u8]),
    AssembledMessage,
}

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2: u8 = 0x20;
const RSV3: u8 = 0x10;
const RSV: u8 = RSV1 | RSV2 | RSV3;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;

fn opcode(first: u8) -> Result<Opcode, Violation> {
    match first & 0x0f {
        0x0 => Ok(Opcode::Continuation),
        0x1 => Ok(Opcode::Data(Kind::Text)),
        0x2 => Ok(Opcode::Data(Kind::Binary)),
        0x8 => Ok(Opcode::Close),
        0x9 => Ok(Opcode::Ping),
        0xa => Ok(Opcode::Pong),
        _ => Err(Violation::Protocol("a reserved opcode")),
    }
}

/// How long the header is that begins so.
fn header_bytes(begin: &[u8]) -> usize {
    match begin.get(1).map(|second| second & LENGTH) {
        None => 2,
        Some(126) => 2 + 2 + 4,
        Some(127) => 2 + 8 + 4,
        Some(_) => 2 + 4,
    }
}

impl Frame {
    /// Takes what has arrived of the payload, unmasked where it lies.
    fn take_payload<'i>(&mut self, input: &mut &'i mut [u8]) -> &'i [u8] {
        let missing = self.length - self.arrived;
        let length = input.len().min(missing as usize);
        let (payload, rest) = std::mem::take(input).split_at_mut(length);
        *input = rest;
        let mut mask = self.mask;
        mask.rotate_left(self.arrived as usize % 4);
        unmask(payload, mask);
        // At most `missing`.
        self.arrived += length as u32;
        payload
    }
}

fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let mask_twice = u64::from_ne_bytes([
        mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3],
    ]);
    let (chunks, rest) = bytes.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ mask_twice).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

impl Message {
    fn new(kind: Kind, is_deflated: bool) -> Self {
        let payload = Vec::new();
        Self {
            kind,
            is_deflated,
            payload,
            checked: 0,
            empty_frames: 0,
            inflated: Vec::new(),
            is_done: false,
        }
    }

    /// Fails on broken text as soon as it is there, not only when the message ends.
    fn check_what_arrived(&mut self) -> Result<(), Violation> {
        if self.kind != Kind::Text || self.is_deflated {
            return Ok(());
        }
        match std::str::from_utf8(&self.payload[self.checked..]) {
            Ok(_) => self.checked = self.payload.len(),
            Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
            Err(_) => return Err(Violation::NotUtf8),
        }
        Ok(())
    }
}

fn message(kind: Kind, payload: &[u8]) -> Result<Received<'_>, Violation> {
    match kind {
        Kind::Text => {
            std::str::from_utf8(payload).map(Received::Text).map_err(|_| Violation::NotUtf8)
        }
        Kind::Binary => Ok(Received::Binary(payload)),
    }
}

fn control(opcode: Opcode, payload: &[u8]) -> Result<Received<'_>, Violation> {
    match (opcode, payload) {
        (Opcode::Ping, _) => Ok(Received::Ping(payload)),
        (Opcode::Pong, _) => Ok(Received::Pong(payload)),
        (_, []) => Ok(Received::Close(None)),
        (_, [high, low, reason @ ..]) => {
            let code = u16::from_be_bytes([*high, *low]);
            if !may_be_sent(code) {
                return Err(Violation::Protocol("a close code that may not be sent"));
            }
            std::str::from_utf8(reason).map_err(|_| Violation::NotUtf8)?;
            Ok(Received::Close(Some(code)))
        }
        (_, [_]) => Err(Violation::Protocol("half a close code")),
    }
}

/// Close codes that may stand in a frame (RFC 6455 section 7.4 and the IANA registry).
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Inflates a whole message (RFC 7692 section 7.2.2), at most `bytes_max` of it.
fn inflate(payload: &[u8], out: &mut Vec<u8>, bytes_max: usize) -> Result<(), Violation> {
    thread_local! {
        // One per thread is enough: a message is inflated at once and needs no earlier one.
        static INFLATER: RefCell<Decompress> = RefCell::new(Decompress::new(false));
    }
    /// What the sender has cut off the end of each message.
    const TAIL: &[u8] = &[0, 0, 0xff, 0xff];
    const FIRST_BYTES: usize = 1_024;

    INFLATER.with_borrow_mut(|inflater| {
        inflater.reset(false);
        for mut part in [payload, TAIL] {
            loop {
                if out.len() == out.capacity() {
                    let length = (out.len() * 2).max(FIRST_BYTES).min(bytes_max.saturating_add(1));
                    out.reserve_exact(length.saturating_sub(out.len()).max(1));
                }
                let before = inflater.total_in();
                let status = inflater
                    .decompress_vec(part, out, FlushDecompress::Sync)
                    .map_err(|_| Violation::NotDeflate)?;
                let taken = usize::try_from(inflater.total_in() - before).unwrap_or(part.len());
                part = &part[taken..];
                if out.len() > bytes_max {
                    return Err(Violation::TooBig);
                }
                if status == Status::StreamEnd {
                    // A block marked as the last one; RFC 7692 allows that more follows.
                    inflater.reset(false);
                } else if out.len() == out.capacity() {
                    continue;
                } else if taken == 0 && !part.is_empty() {
                    return Err(Violation::NotDeflate);
                }
                if part.is_empty() {
                    break;
                }
            }
        }
        Ok(())
    })
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
