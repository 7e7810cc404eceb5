//! The load: subscribers and publishers in one thread over epoll, the same for every server.
//!
//! A delivery is counted where `"type":"new_message"` appears in what a subscriber reads; its
//! latency is the time since the stamp that its publisher put into the text.

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use memchr::memmem;
use mio::{Events, Interest, Poll, Token, net::TcpStream};

pub const MARK: &[u8] = br#""type":"new_message""#;
pub const STAMP: &str = "stamp=";
/// Digits of a stamp: nanoseconds since the epoch.
const STAMP_DIGITS: usize = 19;
/// Longest stretch that must be seen whole: the mark up to the end of the stamp in its event.
const CARRY_MAX: usize = 2048;

/// How a subscriber asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Sends the request once, then only reads (WebSocket, SSE, bare).
    Stream,
    /// Sends a long poll again with each answer's cursor.
    Poll,
}

/// Writes the next publication into the buffer, given a stamp's digits and a number that no other
/// publication of this run has.
pub type Publication = Box<dyn FnMut(&str, u64, &mut Vec<u8>)>;

pub struct Plan {
    pub subscribers: Vec<(SocketAddr, Vec<u8>)>,
    pub kind: Kind,
    pub publishers: Vec<(SocketAddr, Publication)>,
    pub http_answers: bool,
    /// Publications a second over all publishers; 0: as fast as they are answered.
    pub rate: u32,
    pub warm_up: Duration,
    pub measured: Duration,
}

#[derive(Debug, Default)]
pub struct Figures {
    pub deliveries: u64,
    pub seconds: f64,
    pub published: u64,
    pub bytes: u64,
    pub latencies_us: Vec<u32>,
    /// From a publication to its answer, where a rate is given.
    pub answers_us: Vec<u32>,
}

impl Figures {
    pub fn per_second(&self) -> f64 {
        self.deliveries as f64 / self.seconds
    }

    /// Mean size of an event on the wire.
    pub fn frame_bytes(&self) -> usize {
        (self.bytes / self.deliveries.max(1)) as usize
    }

    pub fn published_per_second(&self) -> f64 {
        self.published as f64 / self.seconds
    }

    pub fn delivery_ms(&mut self, percent: f64) -> f64 {
        percentile_ms(&mut self.latencies_us, percent)
    }

    pub fn answer_ms(&mut self, percent: f64) -> f64 {
        percentile_ms(&mut self.answers_us, percent)
    }
}

fn percentile_ms(sample_us: &mut [u32], percent: f64) -> f64 {
    if sample_us.is_empty() {
        return f64::NAN;
    }
    sample_us.sort_unstable();
    let index = (sample_us.len() - 1) as f64 * percent / 100.0;
    f64::from(sample_us[index as usize]) / 1000.0
}

struct Subscriber {
    socket: TcpStream,
    request: Vec<u8>,
    tail: Vec<u8>,
    answer: Vec<u8>,
}

struct Publisher {
    socket: TcpStream,
    publication: Publication,
    request: Vec<u8>,
    waiting: bool,
    sent_at: Instant,
    answer: Vec<u8>,
}

pub fn now_ns() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a load generator's own clock")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    since.as_nanos() as u64
}

/// Connects all subscribers, lets them settle, then publishes and counts.
pub fn run(plan: Plan) -> io::Result<Figures> {
    let mut poll = Poll::new()?;
    let mut subscribers = Vec::with_capacity(plan.subscribers.len());
    for (index, (address, request)) in plan.subscribers.into_iter().enumerate() {
        let mut plain = std::net::TcpStream::connect(address)?;
        plain.set_nodelay(true)?;
        plain.write_all(&request)?;
        plain.set_nonblocking(true)?;
        let mut socket = TcpStream::from_std(plain);
        poll.registry().register(&mut socket, Token(index), Interest::READABLE)?;
        subscribers.push(Subscriber { socket, request, tail: Vec::new(), answer: Vec::new() });
    }
    let mut publishers = Vec::with_capacity(plan.publishers.len());
    for (index, (address, publication)) in plan.publishers.into_iter().enumerate() {
        let plain = std::net::TcpStream::connect(address)?;
        plain.set_nodelay(true)?;
        plain.set_nonblocking(true)?;
        let mut socket = TcpStream::from_std(plain);
        poll.registry().register(
            &mut socket,
            Token(subscribers.len() + index),
            Interest::READABLE,
        )?;
        publishers.push(Publisher {
            socket,
            publication,
            request: Vec::new(),
            waiting: false,
            sent_at: Instant::now(),
            answer: Vec::new(),
        });
    }

    let mut load = Load {
        figures: Figures::default(),
        counting: false,
        sample: plan.rate > 0,
        buffer: vec![0; 1 << 20],
        next_id: now_ns() % 1_000_000_000,
        mark: memmem::Finder::new(MARK).into_owned(),
        stamp: memmem::Finder::new(STAMP.as_bytes()).into_owned(),
        http_answers: plan.http_answers,
        kind: plan.kind,
    };
    let mut events = Events::with_capacity(2048);

    // Subscribers first, so that the first publication finds all of them.
    let settle_until = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < settle_until {
        poll.poll(&mut events, Some(Duration::from_millis(50)))?;
        for event in events.iter() {
            load.read_subscriber(&mut subscribers[event.token().0])?;
        }
    }

    let began = Instant::now();
    let mut measured_from = None;
    let mut due = 0.0;
    let mut next_publisher = 0;
    loop {
        let elapsed = began.elapsed();
        if measured_from.is_none() && elapsed >= plan.warm_up {
            measured_from = Some(Instant::now());
            load.counting = true;
        }
        if elapsed >= plan.warm_up + plan.measured {
            break;
        }
        if plan.rate == 0 {
            for publisher in &mut publishers {
                if !publisher.waiting {
                    load.publish(publisher)?;
                }
            }
        } else {
            let target = elapsed.as_secs_f64() * f64::from(plan.rate);
            let count = publishers.len();
            let mut tried = 0;
            while due < target && tried < count {
                let publisher = &mut publishers[next_publisher % count];
                next_publisher += 1;
                tried += 1;
                if !publisher.waiting {
                    load.publish(publisher)?;
                    due += 1.0;
                }
            }
        }
        let pause = if plan.rate == 0 { 20 } else { 1 };
        poll.poll(&mut events, Some(Duration::from_millis(pause)))?;
        for event in events.iter() {
            let index = event.token().0;
            if index < subscribers.len() {
                load.read_subscriber(&mut subscribers[index])?;
            } else {
                load.read_publisher(&mut publishers[index - subscribers.len()])?;
            }
        }
    }
    load.figures.seconds = measured_from.map_or(0.0, |from| from.elapsed().as_secs_f64());
    Ok(load.figures)
}

struct Load {
    figures: Figures,
    counting: bool,
    sample: bool,
    buffer: Vec<u8>,
    next_id: u64,
    mark: memmem::Finder<'static>,
    stamp: memmem::Finder<'static>,
    http_answers: bool,
    kind: Kind,
}

impl Load {
    fn publish(&mut self, publisher: &mut Publisher) -> io::Result<()> {
        let stamp = format!("{:0width$}", now_ns(), width = STAMP_DIGITS);
        self.next_id += 1;
        publisher.request.clear();
        (publisher.publication)(&stamp, self.next_id, &mut publisher.request);
        publisher.waiting = true;
        publisher.sent_at = Instant::now();
        publisher.answer.clear();
        // A request is far smaller than a socket buffer and only one is under way.
        let written = publisher.socket.write(&publisher.request)?;
        if written != publisher.request.len() {
            return Err(io::Error::other("a publication did not fit the socket buffer"));
        }
        Ok(())
    }

    fn read_publisher(&mut self, publisher: &mut Publisher) -> io::Result<()> {
        loop {
            match publisher.socket.read(&mut self.buffer) {
                Ok(0) => {
                    return Err(io::Error::other("the server closed a publisher's connection"));
                }
                Ok(length) => publisher.answer.extend_from_slice(&self.buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let complete = if self.http_answers {
            http_answer_length(&publisher.answer)?.is_some()
        } else {
            !publisher.answer.is_empty()
        };
        if complete {
            publisher.waiting = false;
            publisher.answer.clear();
            if self.counting {
                self.figures.published += 1;
                if self.sample {
                    let took = publisher.sent_at.elapsed().as_micros();
                    self.figures.answers_us.push(u32::try_from(took).unwrap_or(u32::MAX));
                }
            }
        }
        Ok(())
    }

    fn read_subscriber(&mut self, subscriber: &mut Subscriber) -> io::Result<()> {
        loop {
            match subscriber.socket.read(&mut self.buffer) {
                Ok(0) => {
                    return Err(io::Error::other("the server closed a subscriber's connection"));
                }
                Ok(length) => {
                    let mut buffer = std::mem::take(&mut self.buffer);
                    match self.kind {
                        Kind::Stream => self.count_stream(subscriber, &buffer[..length]),
                        Kind::Poll => self.count_poll(subscriber, &buffer[..length])?,
                    }
                    std::mem::swap(&mut self.buffer, &mut buffer);
                    if length < self.buffer.len() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn count_stream(&mut self, subscriber: &mut Subscriber, read: &[u8]) {
        if self.counting {
            self.figures.bytes += read.len() as u64;
        }
        if self.sample {
            subscriber.tail.extend_from_slice(read);
            let used = self.count_with_stamps(&subscriber.tail);
            let keep = used.max(subscriber.tail.len().saturating_sub(CARRY_MAX));
            subscriber.tail.drain(..keep);
            return;
        }
        // A mark that is split between two reads: look at the seam, then at the rest.
        let mut found = 0;
        let head = read.len().min(MARK.len() - 1);
        if !subscriber.tail.is_empty() {
            subscriber.tail.extend_from_slice(&read[..head]);
            found += self.mark.find_iter(&subscriber.tail).count() as u64;
            subscriber.tail.clear();
        }
        found += self.mark.find_iter(read).count() as u64;
        subscriber.tail.extend_from_slice(&read[read.len().saturating_sub(MARK.len() - 1)..]);
        if self.counting {
            self.figures.deliveries += found;
        }
    }

    /// Counts events whose mark and stamp are both there; answers how much is done with.
    fn count_with_stamps(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(mark) = self.mark.find(&bytes[at..]) {
            let from = at + mark + MARK.len();
            let Some(stamp) = self.stamp.find(&bytes[from..]) else { break };
            let digits = from + stamp + STAMP.len();
            if bytes.len() < digits + STAMP_DIGITS {
                break;
            }
            let text = &bytes[digits..digits + STAMP_DIGITS];
            if let Some(sent) = std::str::from_utf8(text).ok().and_then(|t| t.parse::<u64>().ok())
                && self.counting
            {
                self.figures.deliveries += 1;
                let late = now_ns().saturating_sub(sent) / 1000;
                self.figures.latencies_us.push(late.min(u64::from(u32::MAX)) as u32);
            }
            at = digits + STAMP_DIGITS;
        }
        at
    }

    fn count_poll(&mut self, subscriber: &mut Subscriber, read: &[u8]) -> io::Result<()> {
        if self.counting {
            self.figures.bytes += read.len() as u64;
        }
        subscriber.answer.extend_from_slice(read);
        let Some(length) = http_answer_length(&subscriber.answer)? else { return Ok(()) };
        let answer = &subscriber.answer[..length];
        let found = self.mark.find_iter(answer).count() as u64;
        if self.counting {
            self.figures.deliveries += found;
        }
        if let Some(cursor) = last_cursor(answer) {
            put_cursor(&mut subscriber.request, &cursor);
        }
        subscriber.answer.clear();
        subscriber.socket.write_all(&subscriber.request)
    }
}

/// Length of the HTTP answer at the start of `bytes` when it is there whole.
pub fn http_answer_length(bytes: &[u8]) -> io::Result<Option<usize>> {
    let Some(end) = memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    if !head.starts_with("http/1.1 2") {
        let body = String::from_utf8_lossy(&bytes[end..]);
        return Err(io::Error::other(format!("the server answered: {head}{body}")));
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .and_then(|value| value.trim().parse::<usize>().ok())
        .ok_or_else(|| io::Error::other("an answer without Content-Length"))?;
    let whole = end + 4 + length;
    Ok((bytes.len() >= whole).then_some(whole))
}

/// The answer's own `"cursor":"…"`, the last one in it.
fn last_cursor(answer: &[u8]) -> Option<String> {
    let name = br#""cursor":""#;
    let from = memmem::rfind(answer, name)? + name.len();
    let length = memchr::memchr(b'"', &answer[from..])?;
    String::from_utf8(answer[from..from + length].to_vec()).ok()
}

fn put_cursor(request: &mut Vec<u8>, cursor: &str) {
    let text = String::from_utf8_lossy(request).into_owned();
    let Some(from) = text.find("cursor=") else { return };
    let from = from + "cursor=".len();
    let to = text[from..].find(['&', ' ']).map_or(text.len(), |length| from + length);
    *request = format!("{}{cursor}{}", &text[..from], &text[to..]).into_bytes();
}
