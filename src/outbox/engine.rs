//! The outbox's loop: follows the log, keeps the lanes, starts rounds and calls.
//!
//! One task owns all lanes, so nothing here is locked. It never waits for the log, the read model
//! or a provider: what takes time runs in tasks of its own and comes back as an [`Event`].

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::Arc,
    time::Duration,
};

use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};

use super::{
    CALLS_MAX, Event, Shared,
    call::{self, Ended, Verdict},
    claims::Claims,
    gate::Rate,
    lane::{Class, Lane, Picked, Rates},
    membership::{InstanceId, sender_of},
    round::{self, NO_LINE_PAUSE, RoundEnd, RoundKind},
    settle::ToSettle,
};
use crate::{
    domain::ids::{ClientId, ConversationId, Position},
    event_log::{LogError, Tail},
    metrics as names,
    runtime::{backoff::Backoff, shutdown::Shutdown},
};

/// Messages that are claimed in one append at most.
const GROUP_MAX: usize = 64;
/// The least time between two mixed rounds of a number that has only bulks to send, or whose rate
/// holds messages back: so what may pass goes in groups. A single message never waits for it.
const ROUND_INTERVAL: Duration = Duration::from_millis(4);
/// How often idle lanes are put away and claims without an outcome are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);
/// How long calls may still take once the server is to end. They are in doubt then.
const END_MAX: Duration = Duration::from_secs(8);
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_CEILING: Duration = Duration::from_secs(5);

/// A tenant's line and what goes on in it.
#[derive(Default)]
pub(super) struct Line {
    pub lane: Lane,
    /// Claims of others that have no outcome yet.
    pub claims: Claims,
    /// A round of single messages is under way.
    in_singles_round: bool,
    /// A mixed round is under way.
    in_mixed_round: bool,
    /// When the last mixed round began.
    round_at: Option<Instant>,
    pub loading: bool,
    /// All that waited before the start was loaded.
    pub loaded_once: bool,
    /// Up to this row of the read model it was loaded.
    pub loaded_row: i64,
    /// When it is looked at next, as it stands in `wakes`.
    wake_at: Option<Instant>,
}

pub(super) struct Engine {
    pub shared: Arc<Shared>,
    pub lines: HashMap<ClientId, Line>,
    /// Waiting messages in all lanes.
    pub waiting: usize,
    /// Messages under way in all lanes.
    in_flight: usize,
    /// Somebody had to wait because too many are under way in all.
    is_crowded: bool,
    /// The log was followed up to here.
    pub seen: Position,
    /// The past was followed; from here on it is live.
    pub live: bool,
    /// It is known who has something waiting from before the start.
    has_begun: bool,
    me: InstanceId,
    alive: watch::Receiver<Arc<[InstanceId]>>,
    wakes: BinaryHeap<Reverse<(Instant, ClientId)>>,
    /// Rounds, calls and whatever else takes time; it ends with the engine.
    pub chores: JoinSet<()>,
    pub events: mpsc::Sender<Event>,
    pub to_settle: mpsc::Sender<ToSettle>,
}

impl Engine {
    pub fn new(
        shared: Arc<Shared>,
        from: Position,
        events: mpsc::Sender<Event>,
        to_settle: mpsc::Sender<ToSettle>,
    ) -> Self {
        let (me, alive) = (shared.membership.me(), shared.membership.live());
        Self {
            shared,
            lines: HashMap::new(),
            waiting: 0,
            in_flight: 0,
            is_crowded: false,
            seen: from,
            live: false,
            has_begun: false,
            me,
            alive,
            wakes: BinaryHeap::new(),
            chores: JoinSet::new(),
            events,
            to_settle,
        }
    }

    /// Runs until the server drains and what is under way has ended.
    pub async fn run(mut self, mut incoming: mpsc::Receiver<Event>, shutdown: Shutdown) {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_CEILING);
        let mut tail = self.shared.log.tail(self.seen);
        let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
        loop {
            let wake = self.next_wake();
            tokio::select! {
                () = shutdown.draining.cancelled() => break,
                event = incoming.recv() => match event {
                    Some(event) => self.handle(event),
                    None => break,
                },
                next = tail.next() => match next {
                    Some(Ok(next)) => {
                        backoff.reset();
                        self.follow(next);
                    }
                    ended => tail = self.tail_again(ended.and_then(Result::err), &mut backoff),
                },
                () = sleep_until(wake) => self.wake(),
                _ = sweep.tick() => self.sweep(),
                changed = self.alive.changed() => match changed {
                    Ok(()) => self.pump_all(),
                    Err(_) => break,
                },
                Some(_) = self.chores.join_next() => {}
            }
        }
        self.end(incoming, shutdown).await;
    }

    /// Takes nothing new, and lets calls that are under way come to their outcome.
    async fn end(mut self, mut incoming: mpsc::Receiver<Event>, shutdown: Shutdown) {
        let ended = async {
            while self.lines.values().any(|line| line.lane.in_flight() > 0) {
                match incoming.recv().await {
                    Some(Event::Round(end)) => self.end_round(end),
                    Some(Event::Settled(settled)) => self.settled(settled),
                    Some(_) => {}
                    None => break,
                }
            }
        };
        let too_late = async {
            shutdown.stopping.cancelled().await;
            tokio::time::sleep(END_MAX).await;
        };
        tokio::select! {
            () = ended => {}
            () = too_late => tracing::warn!("messages under way did not end in time: in doubt"),
        }
    }

    /// The log's tail from where it was followed to, after a while.
    fn tail_again(
        &self,
        error: Option<LogError>,
        backoff: &mut Backoff,
    ) -> BoxStream<'static, Result<Tail, LogError>> {
        let delay = backoff.next_delay();
        let reason = error.map_or_else(|| "its tail has ended".to_owned(), |it| it.to_string());
        tracing::warn!(reason, ?delay, "the outbox can't follow the log: tries again");
        let (log, seen) = (Arc::clone(&self.shared.log), self.seen);
        stream::once(tokio::time::sleep(delay)).flat_map(move |()| log.tail(seen)).boxed()
    }

    /// Loads what waited before the start.
    pub fn begin(&mut self) {
        let (shared, events) = (Arc::clone(&self.shared), self.events.clone());
        self.chores.spawn(async move {
            let mut backoff = Backoff::new(RETRY_FIRST, RETRY_CEILING);
            loop {
                match shared.view.tenants_with_queued().await {
                    Ok(clients) => {
                        let _ = events.send(Event::Found(clients)).await;
                        return;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the outbox can't read what waits: tries again");
                        tokio::time::sleep(backoff.next_delay()).await;
                    }
                }
            }
        });
    }

    fn found(&mut self, clients: Vec<ClientId>) {
        for client in clients {
            // What the log has brought meanwhile would overtake what is loaded.
            let line = self.lines.entry(client).or_default();
            line.lane.overflowed = true;
            line.lane.forget_generation(0);
            self.load_more(client);
        }
        self.has_begun = true;
        self.pump_all();
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Round(end) => {
                let client = end.client;
                self.end_round(end);
                self.pump(client);
            }
            Event::Settled(settled) => self.settled(settled),
            Event::Loaded(loaded) => self.loaded(loaded),
            Event::Found(clients) => self.found(clients),
        }
    }

    /// Whether this instance sends for the tenant.
    pub fn is_ours(&self, client: ClientId) -> bool {
        sender_of(&self.alive.borrow(), client) == Some(self.me)
    }

    fn rates(&self, client: ClientId) -> Rates {
        let settings = &self.shared.settings;
        let of_tenant = (self.shared.rates)(client);
        let per_second = of_tenant.unwrap_or(settings.messages_per_second);
        // The faster, the more a moment of delay has to be made up for.
        let burst = settings.messages_burst.max(per_second / 20);
        Rates {
            number: Rate::per_second(f64::from(per_second), burst),
            recipient: Rate {
                interval: Duration::from_secs(u64::from(settings.recipient_interval_s)),
                burst: settings.recipient_burst.max(1),
            },
            in_flight_max: settings.in_flight_max.max(1),
        }
    }

    /// Starts rounds for the tenant, if something may leave; else says when to look again.
    pub fn pump(&mut self, client: ClientId) {
        if !self.has_begun || !self.is_ours(client) {
            return;
        }
        let room = CALLS_MAX.saturating_sub(self.in_flight);
        if room == 0 {
            self.is_crowded = true;
            return;
        }
        let now = Instant::now();
        let rates = self.rates(client);
        let has_line = self.shared.lines.of(client).is_some();
        let Some(line) = self.lines.get_mut(&client) else { return };
        if line.in_singles_round && line.in_mixed_round {
            return;
        }
        if !has_line {
            if line.lane.len() > 0 {
                self.wake_up(client, now + NO_LINE_PAUSE);
            }
            return;
        }
        let mut room = room;
        if !line.in_singles_round && line.lane.has_single_in_line() {
            let picked = line.lane.pick_singles(&rates, GROUP_MAX.min(room), now);
            room -= picked.len();
            if !picked.is_empty() {
                line.in_singles_round = true;
                self.start_round(client, RoundKind::Singles, picked);
            }
        }
        let Some(line) = self.lines.get_mut(&client) else { return };
        if line.in_mixed_round || room == 0 {
            return;
        }
        let next_round = line.round_at.map_or(now, |at| at + ROUND_INTERVAL);
        if next_round > now && !line.lane.has_single_in_line() {
            self.wake_up(client, next_round);
            return;
        }
        let picked = line.lane.pick(&rates, GROUP_MAX.min(room), now);
        if picked.is_empty() {
            if let Some(at) = line.lane.next_at(&rates, now) {
                self.wake_up(client, at.max(now + ROUND_INTERVAL));
            }
            return;
        }
        line.in_mixed_round = true;
        line.round_at = Some(now);
        self.start_round(client, RoundKind::Mixed, picked);
    }

    fn start_round(&mut self, client: ClientId, kind: RoundKind, picked: Vec<Picked>) {
        self.in_flight += picked.len();
        let (shared, events) = (Arc::clone(&self.shared), self.events.clone());
        self.chores.spawn(async move {
            let end = round::run(&shared, client, kind, picked).await;
            // Nobody listens any more when the engine has ended.
            let _ = events.send(Event::Round(end)).await;
        });
    }

    fn pump_all(&mut self) {
        let clients: Vec<_> = self.lines.keys().copied().collect();
        for client in clients {
            self.pump(client);
        }
    }

    fn wake_up(&mut self, client: ClientId, at: Instant) {
        let Some(line) = self.lines.get_mut(&client) else { return };
        if line.wake_at.is_none_or(|before| at < before) {
            line.wake_at = Some(at);
            self.wakes.push(Reverse((at, client)));
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        self.wakes.peek().map(|Reverse((at, _))| *at)
    }

    fn wake(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((at, client))) = self.wakes.peek().copied()
            && at <= now
        {
            self.wakes.pop();
            let Some(line) = self.lines.get_mut(&client) else { continue };
            // One that was overtaken by an earlier one is an old one.
            if line.wake_at == Some(at) {
                line.wake_at = None;
                self.pump(client);
            }
        }
    }

    /// Sends what was claimed, and puts the rest where it belongs.
    fn end_round(&mut self, end: RoundEnd) {
        let now = Instant::now();
        let client = end.client;
        let Some(line) = self.lines.get_mut(&client) else { return };
        match end.kind {
            RoundKind::Singles => line.in_singles_round = false,
            RoundKind::Mixed => line.in_mixed_round = false,
        }
        if end.ready.is_empty() {
            line.lane.health.not_probed();
        }
        for conversation in end.dropped {
            line.lane.drop_picked(conversation, now);
        }
        for (conversation, pause) in end.later {
            line.lane.put_back(conversation, now + pause);
        }
        for ready in end.ready {
            let waited_ms = self.shared.clock.now().since(ready.to_send.message.created_at).max(0);
            let class = ready.picked.waiting.class;
            metrics::histogram!(names::OUTBOX_WAIT_SECONDS, "kind" => kind(class))
                .record(waited_ms as f64 / 1000.0);
            let (shared, to_settle) = (Arc::clone(&self.shared), self.to_settle.clone());
            self.chores.spawn(async move {
                let (ended, settled) = call::run(&shared, client, ready).await;
                let _ = to_settle.send(ToSettle { settled, ended: Some(ended) }).await;
            });
        }
        self.count();
    }

    fn settled(&mut self, settled: Vec<(Ended, Position)>) {
        let now = Instant::now();
        let mut touched: Vec<ClientId> = Vec::new();
        for (ended, position) in settled {
            let client = ended.client;
            if !touched.contains(&client) {
                touched.push(client);
            }
            self.note_verdict(&ended, now);
            let Some(line) = self.lines.get_mut(&client) else { continue };
            match ended.again_after {
                Some(after) => {
                    let counts = matches!(ended.verdict, Verdict::Later { .. });
                    line.lane.released(ended.conversation, position, now + after, counts);
                }
                None => line.lane.settled(ended.conversation, position),
            }
            line.lane.goes_on(ended.conversation, self.seen, now);
        }
        self.count();
        if std::mem::take(&mut self.is_crowded) {
            self.pump_all();
        }
        for client in touched {
            self.pump(client);
        }
    }

    /// What a call tells of its number.
    fn note_verdict(&mut self, ended: &Ended, now: Instant) {
        let pause = self.shared.settings.refused_pause();
        let Some(line) = self.lines.get_mut(&ended.client) else { return };
        let health = &mut line.lane.health;
        match &ended.verdict {
            Verdict::Taken | Verdict::Later { .. } => {
                if let Some(bulk) = ended.waiting.class.bulk_id() {
                    health.bulk_taken(bulk);
                }
                if health.taken(now) {
                    self.tell_taken(ended.client);
                }
            }
            Verdict::Patience { after } => health.be_patient(now, *after),
            Verdict::Silent => health.be_patient(now, None),
            Verdict::Refused { error } => {
                if health.refused(now, pause) {
                    self.tell_refused(ended.client, error.clone());
                }
            }
            Verdict::TemplateRefused => {
                health.not_probed();
                if let Class::Bulk(bulk) = ended.waiting.class {
                    health.hold_bulk(bulk, now, pause);
                }
            }
        }
    }

    /// Lanes that hold nothing are put away; claims that are silent for too long are in doubt.
    fn sweep(&mut self) {
        let now = Instant::now();
        self.lines.retain(|_, line| {
            line.in_singles_round
                || line.in_mixed_round
                || line.loading
                || !line.claims.is_empty()
                || !line.lane.is_idle(now)
        });
        let clients: Vec<_> = self.lines.keys().copied().collect();
        for client in clients {
            self.load_more(client);
            self.look_for_doubts(client, now);
        }
        self.count();
    }

    pub fn count(&mut self) {
        self.waiting = self.lines.values().map(|line| line.lane.len()).sum();
        self.in_flight = self.lines.values().map(|line| line.lane.in_flight()).sum();
        metrics::gauge!(names::OUTBOX_WAITING).set(self.waiting as f64);
        metrics::gauge!(names::OUTBOX_IN_FLIGHT).set(self.in_flight as f64);
    }

    pub fn goes_on(&mut self, client: ClientId, conversation: ConversationId) {
        let seen = self.seen;
        if let Some(line) = self.lines.get_mut(&client) {
            line.lane.goes_on(conversation, seen, Instant::now());
        }
    }
}

fn kind(class: Class) -> &'static str {
    match class {
        Class::Single => "single",
        Class::Bulk(_) => "bulk",
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
