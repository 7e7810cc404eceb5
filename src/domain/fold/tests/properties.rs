//! Properties of any log.
//!
//! A [`Story`] is what really happened: messages, how far each came, how it was amended. Its
//! clean log tells that in order and once; a told log tells it as WhatsApp does, with statuses
//! and amendments late, early and repeated. Both must end the same.
//!
//! What may differ, and is left out of the comparison: which edits left a notice (an edit that
//! arrives after a newer one is not told), and when a conversation that an early amendment opened
//! was created. Where two reports of the same status differ in time or error, the first in the
//! log holds; the stories have no such.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*, sample::Index};

use super::{
    events::*,
    nonsense::{a_time, nonsense},
    *,
};
use crate::domain::{
    conversation::{ConversationStatus, LastMessage},
    event::StatusChange,
    message::Sender,
};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Received,
    Echoed,
    ImportedIn,
    ImportedOut,
    Reaction,
    /// Sent by us; the provider may tell our id with each status.
    Ours {
        tells_our_id: bool,
    },
    /// Ours, and the provider refused it at once.
    Refused,
}

#[derive(Debug, Clone)]
struct Told {
    way: Way,
    conversation: u32,
    sent_at_s: i64,
    /// Of sent, delivered, read, failed.
    statuses: [bool; 4],
    edits: usize,
    revoked: bool,
}

type Story = Vec<Told>;

fn a_story() -> impl Strategy<Value = Story> {
    let way = prop_oneof![
        3 => Just(Way::Received),
        3 => Just(Way::Echoed),
        1 => Just(Way::ImportedIn),
        1 => Just(Way::ImportedOut),
        1 => Just(Way::Reaction),
        2 => any::<bool>().prop_map(|tells_our_id| Way::Ours { tells_our_id }),
        1 => Just(Way::Refused),
    ];
    let told = (way, 1..=3_u32, 0..600_i64, any::<[bool; 4]>(), 0..3_usize, any::<bool>());
    let told = told.prop_map(|(way, conversation, sent_at_s, statuses, edits, revoked)| Told {
        way,
        conversation,
        sent_at_s,
        statuses,
        edits,
        revoked,
    });
    vec(told, 1..8)
}

/// An event of a log. One that floats may stand anywhere; the others keep their order.
#[derive(Debug, Clone)]
struct Entry {
    data: EventData,
    floats: bool,
    copy: bool,
}

fn clean_log(story: &Story) -> Vec<Entry> {
    let mut anchored: Vec<EventData> = (1..=3).map(|id| opened(id, "Ana")).collect();
    let mut follow: Vec<Entry> = Vec::new();
    for (number, told) in (1_u128..).zip(story) {
        let sent_at = NOON.plus_ms(told.sent_at_s * 1000);
        let message = incoming(told.conversation, number, sent_at);
        let message = match told.way {
            Way::Received => EventData::MessageReceived(message),
            Way::Echoed => EventData::MessageEchoed(message),
            Way::ImportedIn => imported(EventData::MessageReceived(message)),
            Way::ImportedOut => imported(EventData::MessageEchoed(message)),
            Way::Reaction => reaction(EventData::MessageReceived(message)),
            Way::Ours { .. } | Way::Refused => match queued(number, Sender::Agent) {
                EventData::MessageQueued(mut queued) => {
                    queued.conversation_id = ConversationId(told.conversation);
                    EventData::MessageQueued(queued)
                }
                other => other,
            },
        };
        anchored.push(message);
        follow.extend(ours(number, told.way));
        let told = told_later(number, told).into_iter();
        follow.extend(told.map(|data| Entry { data, floats: true, copy: false }));
    }
    let anchored = anchored.into_iter().map(|data| Entry { data, floats: false, copy: false });
    anchored.chain(follow).collect()
}

/// What the outbox appends. It claims before it sends, and knows the message before both.
fn ours(number: u128, way: Way) -> Vec<Entry> {
    let events = match way {
        Way::Ours { .. } => vec![send_started(number), accepted(number, 1000)],
        Way::Refused => vec![send_started(number), refused(number)],
        _ => Vec::new(),
    };
    events.into_iter().map(|data| Entry { data, floats: false, copy: false }).collect()
}

fn refused(number: u128) -> EventData {
    EventData::MessageFailed(StatusChange {
        message_id: Some(message_id(number)),
        dedupe_key: None,
        wa_message_id: None,
        error: Some(error(131_026)),
        ..told(number, 1003)
    })
}

fn told_later(number: u128, story: &Told) -> Vec<EventData> {
    let statuses: [fn(StatusChange) -> EventData; 4] = [
        EventData::MessageSent,
        EventData::MessageDelivered,
        EventData::MessageRead,
        EventData::MessageFailed,
    ];
    let mut events = Vec::new();
    for (place, status) in (0_u8..).zip(statuses) {
        let is_told = match story.way {
            // The provider knows nothing of a message that it refused, or says so once more.
            Way::Refused => place == 3 && story.statuses[3],
            _ => story.statuses[usize::from(place)],
        };
        let with_our_id = matches!(story.way, Way::Ours { tells_our_id: true } | Way::Refused);
        if is_told {
            events.push(status(StatusChange {
                message_id: with_our_id.then(|| message_id(number)),
                error: (place == 3).then(|| error(131_026)),
                ..told(number, 1000 + i64::from(place))
            }));
        }
    }
    if story.way == Way::Refused {
        return events;
    }
    for edit in 0..story.edits {
        let notice = 1000 + number * 10 + u128::try_from(edit).expect("a small number");
        let at = 2000 + i64::try_from(edit).expect("a small number");
        events.push(edited(notice, number, &format!("edit {edit}"), at));
    }
    if story.revoked {
        events.push(revoked(1009 + number * 10, number, 2001));
    }
    events
}

/// The log as it may come in: what floats anywhere, and copies behind their originals.
fn told_log(clean: &[Entry], places: &[Index], copies: &[(Index, Index)]) -> Vec<Entry> {
    let mut log: Vec<Entry> = clean.iter().filter(|entry| !entry.floats).cloned().collect();
    let floating = clean.iter().filter(|entry| entry.floats);
    for (entry, place) in floating.zip(places.iter().cycle()) {
        let first = first_place(&log, &entry.data);
        log.insert(first + place.index(log.len() + 1 - first), entry.clone());
    }
    for (which, distance) in copies {
        let original = which.index(log.len());
        let place = original + 1 + distance.index(log.len() - original);
        let copy = Entry { copy: true, ..log[original].clone() };
        log.insert(place, copy);
    }
    log
}

/// The provider learns our id when we send, so nothing tells it before the message is queued.
fn first_place(log: &[Entry], data: &EventData) -> usize {
    let (EventData::MessageSent(change)
    | EventData::MessageDelivered(change)
    | EventData::MessageRead(change)
    | EventData::MessageFailed(change)) = data
    else {
        return 0;
    };
    let names_it = |entry: &Entry| match &entry.data {
        EventData::MessageQueued(queued) => Some(queued.message_id) == change.message_id,
        _ => false,
    };
    log.iter().position(names_it).map_or(0, |queued| queued + 1)
}

fn fold_log(log: &[Entry]) -> MemoryState {
    let mut state = MemoryState::default();
    for entry in log {
        let event = event_of(TENANT, NOON.plus_ms(700_000), "whatsapp_cloud", entry.data.clone());
        if entry.copy {
            let before = snapshot(&state);
            assert_eq!(fold_checked(&mut state, &event), [], "copy of {:?}", entry.data);
            assert_eq!(state, before, "copy of {:?}", entry.data);
        } else {
            fold_checked(&mut state, &event);
        }
    }
    state
}

/// What two logs of one story must agree on.
#[derive(Debug, PartialEq)]
struct Outcome {
    messages: BTreeMap<MessageId, Message>,
    conversations: BTreeMap<ConversationId, Conversation>,
    tenant: Option<Tenant>,
    hours: Counts,
}

fn outcome(state: &MemoryState) -> Outcome {
    let mut hours = Counts::ZERO;
    for counts in state.hours.values() {
        hours.add(*counts);
    }
    let messages = state.messages.values().filter(|message| !message.is_notice());
    Outcome {
        messages: messages.map(|message| (message.id, Message::clone(message))).collect(),
        conversations: state
            .conversations
            .values()
            .map(|conversation| (conversation.id, Conversation::clone(conversation)))
            .collect(),
        tenant: state.tenants.get(&TENANT).cloned(),
        hours,
    }
}

/// What merging leaves the same whenever it happens.
fn merged_outcome(state: &MemoryState) -> (BTreeMap<MessageId, Message>, Vec<Merged>, Tenant) {
    let mut tenant = state.tenants[&TENANT].clone();
    tenant.stats.first_responses = 0;
    tenant.stats.first_response_sum_ms = 0;
    let mut merged: Vec<Merged> = state
        .conversations
        .values()
        .map(|conversation| Merged {
            id: conversation.id,
            merged: conversation.merged_into.is_some(),
            unread_count: conversation.unread_count,
            last_message: conversation.last_message.clone(),
            window_expires_at: conversation.window_expires_at,
            status: conversation.status,
        })
        .collect();
    merged.sort_by_key(|merged| merged.id);
    (outcome(state).messages, merged, tenant)
}

#[derive(Debug, PartialEq)]
struct Merged {
    id: ConversationId,
    merged: bool,
    unread_count: u32,
    last_message: Option<LastMessage>,
    window_expires_at: Option<Timestamp>,
    status: ConversationStatus,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_order_of_what_is_told_of_messages_ends_like_the_clean_log(
        story in a_story(),
        places in vec(any::<Index>(), 1..20),
    ) {
        let clean = clean_log(&story);
        let told = told_log(&clean, &places, &[]);
        prop_assert_eq!(outcome(&fold_log(&told)), outcome(&fold_log(&clean)));
    }

    /// [`fold_log`] checks that no copy changes or publishes anything.
    #[test]
    fn events_that_are_repeated_anywhere_change_nothing(
        story in a_story(),
        places in vec(any::<Index>(), 1..20),
        copies in vec(any::<(Index, Index)>(), 1..20),
    ) {
        let clean = clean_log(&story);
        let told = told_log(&clean, &places, &copies);
        prop_assert_eq!(outcome(&fold_log(&told)), outcome(&fold_log(&clean)));
    }

    /// A provider that delivers again makes new events of the same message, with another id.
    #[test]
    fn messages_that_are_taken_in_again_change_nothing(
        story in a_story(),
        places in vec(any::<Index>(), 1..20),
        again in vec(any::<(Index, Index)>(), 1..10),
    ) {
        let clean = clean_log(&story);
        let mut told = told_log(&clean, &places, &again);
        for (fresh, entry) in (900_000_u128..).zip(told.iter_mut().filter(|entry| entry.copy)) {
            match &mut entry.data {
                EventData::MessageReceived(message) | EventData::MessageEchoed(message) => {
                    message.message_id = message_id(fresh);
                }
                EventData::MessageEdited(amendment) | EventData::MessageRevoked(amendment) => {
                    amendment.message_id = message_id(fresh);
                }
                _ => {}
            }
        }
        prop_assert_eq!(outcome(&fold_log(&told)), outcome(&fold_log(&clean)));
    }

    #[test]
    fn conversations_can_be_merged_at_any_time(
        story in a_story(),
        places in vec(any::<Index>(), 1..20),
        merge_at in any::<[Index; 2]>(),
    ) {
        let merges = [merged(3, 2), merged(2, 1)]
            .map(|data| Entry { data, floats: false, copy: false });
        let told = told_log(&clean_log(&story), &places, &[]);
        let mut late = told.clone();
        late.extend(merges.clone());
        let mut early = told;
        for (merge, at) in merges.into_iter().zip(merge_at) {
            early.insert(at.index(early.len() + 1), merge);
        }
        prop_assert_eq!(merged_outcome(&fold_log(&early)), merged_outcome(&fold_log(&late)));
    }

    /// [`fold_checked`] holds the counters and the publications against what changed.
    #[test]
    fn no_event_breaks_the_fold_however_little_sense_it_makes(
        log in vec((nonsense(), 1..=2_u32, a_time()), 1..60),
    ) {
        let mut state = MemoryState::default();
        let mut again = MemoryState::default();
        for (data, client, time) in &log {
            let event = event_of(ClientId(*client), *time, "user:eva", data.clone());
            let public = fold_checked(&mut state, &event);
            prop_assert_eq!(fold(&mut again, &event), public);
        }
        prop_assert_eq!(&again, &state);

        let mut alone = MemoryState::default();
        for (data, client, time) in log.iter().filter(|(_, client, _)| *client == 1) {
            fold(&mut alone, &event_of(ClientId(*client), *time, "user:eva", data.clone()));
        }
        prop_assert_eq!(outcome(&alone), outcome(&of_tenant_1(state)));
    }
}

fn of_tenant_1(mut state: MemoryState) -> MemoryState {
    state.messages.retain(|(client, _), _| *client == TENANT);
    state.conversations.retain(|(client, _), _| *client == TENANT);
    state.hours.retain(|(client, _), _| *client == TENANT);
    state
}
