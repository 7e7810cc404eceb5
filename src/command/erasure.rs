//! A person is erased: decided here in one append, and then carried out, step by step.
//!
//! 1. [`Commands::erase_personal_data`] reads the person's streams, and appends at once to each
//!    of them that it ends here, and to the directory that the person is erased. From that event
//!    on no instance shows anything of them, and nobody who decided on the streams as they were
//!    (a claim to send) gets through.
//! 2. [`Commands::purge_erased`] deletes the streams and the answers to requests that speak of
//!    the person, as `erasure` asks it to, after a while in which every instance has come to the
//!    event. Each step may be repeated, so a crash between them costs nothing but time.
//!
//! What is told of an erased person later, by a provider that repeats itself, must not bring
//! anything back: [`Erased`] knows their keyed hashes for a while (`ERASED_KEPT_MS`), and
//! `intake` leaves out what was written before they were erased.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, watch};

use super::{
    Actor, CommandError, Commands, Core, conversation_stream, identity::Hasher, recent::Recent,
};
use crate::{
    domain::{
        conversation::Contact,
        day::local_day,
        event::{Erasure, EventData, KeptNumbers},
        fold::fold,
        ids::{ClientId, ConversationId, IdentityHash, MediaId, Position},
        state::{MemoryState, State},
        time::Timestamp,
    },
    event_log::{Append, AppendError, Expected, Record, Revision, StreamName},
};

/// How often it is decided anew because somebody wrote meanwhile.
const ATTEMPTS_MAX: usize = 16;
/// Events read at once.
const PAGE_EVENTS: usize = 1000;
/// More positions than this are not named in the event: what they published is searched for.
const POSITIONS_MAX: usize = 50_000;
/// Erased identities that are known; of more, the newest.
const IDENTITIES_MAX: usize = 100_000;

/// Who was erased lately.
pub(super) struct Erased {
    erasures: watch::Receiver<u64>,
    /// One more than the view's count of erasures that is heeded here; 0 before the first look.
    heeded: AtomicU64,
    turn: Mutex<()>,
    identities: ArcSwap<HashMap<(ClientId, IdentityHash), Timestamp>>,
}

impl Erased {
    pub(super) fn new(erasures: watch::Receiver<u64>) -> Self {
        Self {
            erasures,
            heeded: AtomicU64::new(0),
            turn: Mutex::default(),
            identities: ArcSwap::default(),
        }
    }

    /// When one of the contact's identities was erased last, `None` when none was. Hashes them
    /// only where anybody was erased at all.
    fn since(&self, client: ClientId, contact: &Contact, hasher: &Hasher) -> Option<Timestamp> {
        let known = self.identities.load();
        if known.is_empty() {
            return None;
        }
        let identities = hasher.identities(client, contact);
        identities.iter().filter_map(|hash| known.get(&(client, *hash)).copied()).max()
    }
}

/// One of a person's streams as it was read.
struct Stream {
    id: ConversationId,
    last: Revision,
}

impl Commands {
    /// When somebody known by one of the contact's names was erased.
    pub(super) fn was_erased(&self, client: ClientId, contact: &Contact) -> Option<Timestamp> {
        self.erased.since(client, contact, &self.core.hasher)
    }

    /// When somebody was erased since the last look: forgets what is remembered, which the view
    /// is free of, and learns who it was.
    pub(super) async fn heed_erasures(&self) -> Result<(), CommandError> {
        let told = *self.erased.erasures.borrow() + 1;
        if self.erased.heeded.load(Ordering::Acquire) == told {
            return Ok(());
        }
        let _turn = self.erased.turn.lock().await;
        if self.erased.heeded.load(Ordering::Acquire) == told {
            return Ok(());
        }
        let known = self.core.view.erased_identities(IDENTITIES_MAX).await?;
        let known = known.into_iter().map(|(client, hash, at)| ((client, hash), at)).collect();
        self.erased.identities.store(Arc::new(known));
        self.directory.forget();
        self.recent.store(Arc::new(Recent::new()));
        self.erased.heeded.store(told, Ordering::Release);
        Ok(())
    }

    /// Erases the person of this conversation. From the position that is answered on nothing of
    /// them is shown; what is stored is deleted soon after. One who is erased already is erased.
    pub async fn erase_personal_data(
        &self,
        client: ClientId,
        actor: &Actor,
        id: ConversationId,
    ) -> Result<Position, CommandError> {
        for _ in 0..ATTEMPTS_MAX {
            if !self.core.come_up().await? {
                return Err(CommandError::Unavailable);
            }
            let Some(conversation) = self.core.view.conversation(client, id).await? else {
                return match self.core.view.is_erased(client, id).await? {
                    true => Ok(self.core.log.head().await?),
                    false => Err(CommandError::NotFound),
                };
            };
            let conversations = self.core.view.with_merged(client, conversation.id).await?;
            let identities = self.core.view.identities_of(client, conversations.clone()).await?;
            let (streams, records) = read_streams(&self.core, client, &conversations).await?;
            let midnight = self.midnight(client).await?;
            let (kept, media) = add_up(client, &records, midnight);
            let positions: Vec<Position> = records.iter().map(|record| record.position).collect();
            let positions = Some(positions).filter(|all| all.len() <= POSITIONS_MAX);
            let erasure = Erasure { conversations, identities, kept, media, positions };
            match self.core.log.append(self.ending(client, actor, &streams, erasure)).await {
                Ok(appended) => {
                    let last = appended.last().map(|last| last.position);
                    return Ok(last.unwrap_or(Position::START));
                }
                // Somebody wrote meanwhile: that goes too.
                Err(AppendError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(CommandError::Unavailable)
    }

    /// The streams' ends first: without the last entry they change nothing.
    fn ending(
        &self,
        client: ClientId,
        actor: &Actor,
        streams: &[Stream],
        erasure: Erasure,
    ) -> Vec<Append> {
        let event = |data| vec![self.core.event(client, &actor.0, data)];
        let mut entries: Vec<Append> = streams
            .iter()
            .map(|stream| Append {
                stream: conversation_stream(client, stream.id),
                expected: Expected::Revision(stream.last),
                events: event(EventData::ErasureBegun { conversation_id: stream.id }),
            })
            .collect();
        entries.push(Append {
            stream: StreamName::Directory(client),
            expected: Expected::Any,
            events: event(EventData::PersonalDataErased(erasure)),
        });
        entries
    }

    /// When the tenant's day began, as its date.
    async fn midnight(&self, client: ClientId) -> Result<Option<Day>, CommandError> {
        let Some((date, zone)) = self.core.view.day(client).await? else { return Ok(None) };
        let Ok(mut day) = local_day(self.core.clock.now(), &zone) else { return Ok(None) };
        if day.date != date {
            // The new one has begun and is not recorded yet.
            day = local_day(day.starts_at.plus_ms(-1), &zone).unwrap_or(day);
        }
        Ok(Some(Day { date, zone, at: day.starts_at }))
    }

    /// Deletes from the log what is left of an erased person, and records that it is done. May be
    /// repeated.
    pub async fn purge_erased(
        &self,
        client: ClientId,
        erasure: &Erasure,
    ) -> Result<(), CommandError> {
        self.delete_streams(client, erasure).await?;
        self.delete_answers(client, erasure).await?;
        let Some(&conversation_id) = erasure.conversations.first() else { return Ok(()) };
        let completed = EventData::ErasureCompleted { conversation_id };
        let entry = Append {
            stream: StreamName::Directory(client),
            expected: Expected::Any,
            events: vec![self.core.event(client, &Actor::system().0, completed)],
        };
        self.core.log.append(vec![entry]).await?;
        // What came late, before it was recorded to be done, is known of by nobody.
        self.delete_streams(client, erasure).await
    }

    async fn delete_streams(
        &self,
        client: ClientId,
        erasure: &Erasure,
    ) -> Result<(), CommandError> {
        for &id in &erasure.conversations {
            self.core.log.delete_stream(&conversation_stream(client, id)).await?;
        }
        Ok(())
    }

    /// The answers to requests that speak of the person.
    async fn delete_answers(
        &self,
        client: ClientId,
        erasure: &Erasure,
    ) -> Result<(), CommandError> {
        for key in self.core.view.answers_of(client, erasure.conversations.clone()).await? {
            self.core.log.delete_stream(&StreamName::Request(client, key)).await?;
        }
        Ok(())
    }
}

/// The streams that there are, and all of their events in log order.
async fn read_streams(
    core: &Core,
    client: ClientId,
    conversations: &[ConversationId],
) -> Result<(Vec<Stream>, Vec<Record>), CommandError> {
    let mut streams = Vec::new();
    let mut all = Vec::new();
    for &id in conversations {
        let stream = conversation_stream(client, id);
        let mut last = None;
        loop {
            let records = core.log.read_stream(&stream, last, PAGE_EVENTS).await?;
            let Some(newest) = records.last() else { break };
            last = Some(newest.revision);
            all.extend(records);
        }
        streams.extend(last.map(|last| Stream { id, last }));
    }
    all.sort_unstable_by_key(|record| record.position);
    Ok((streams, all))
}

/// A day in a time zone, and when it began.
struct Day {
    date: String,
    zone: String,
    at: Timestamp,
}

/// What these streams alone add to the statistics, and the copies of media that they name. Where
/// several conversations were merged, the time of first responses is that of each by itself.
fn add_up(client: ClientId, records: &[Record], day: Option<Day>) -> (KeptNumbers, Vec<MediaId>) {
    let mut state = MemoryState::default();
    let mut day = day;
    for record in records {
        if let Some(begun) = day.take_if(|day| record.event.time >= day.at) {
            begin_day(&mut state, record, begun);
        }
        fold(&mut state, &record.event);
    }
    if let (Some(day), Some(last)) = (day, records.last()) {
        // Nothing of it is of today.
        begin_day(&mut state, last, day);
    }
    let stats = state.tenant(client).stats.clone();
    let hours = state.hours.iter().map(|((_, hour), counts)| (*hour, *counts));
    let mut hours: Vec<_> = hours.collect();
    hours.sort_unstable_by_key(|(hour, _)| *hour);
    let mut media: Vec<MediaId> =
        records.iter().filter_map(|record| medium_of(&record.event.data)).collect();
    media.sort_unstable();
    media.dedup();
    let kept = KeptNumbers {
        messages: stats.total_messages,
        totals: stats.totals,
        today: stats.today,
        hours,
        first_responses: stats.first_responses,
        first_response_sum_ms: stats.first_response_sum_ms,
    };
    (kept, media)
}

/// Our copy of the medium that an event tells of, also when its message was withdrawn since.
fn medium_of(data: &EventData) -> Option<MediaId> {
    match data {
        EventData::MessageReceived(message) | EventData::MessageEchoed(message) => {
            let media = message.media.clone()?;
            Some(media.to_be_copied(message.message_id).copy?.id)
        }
        EventData::MessageQueued(message) => Some(message.media.as_ref()?.copy?.id),
        _ => None,
    }
}

fn begin_day(state: &mut MemoryState, record: &Record, day: Day) {
    let mut event = (*record.event).clone();
    event.data = EventData::DayStarted { date: day.date, time_zone: day.zone };
    fold(state, &event);
}
