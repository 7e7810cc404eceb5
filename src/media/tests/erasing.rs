//! After a person was erased nothing of them is in any file, nor in any answer, also after a
//! crash at any point and after a rebuild; others are as they were.

use super::*;
use crate::{
    command::CommandError,
    domain::{
        conversation::Conversation,
        event::Erasure,
        intake::IntakeStatus,
        message::MessageStatus,
        stats::{Counts, Stats},
    },
    erasure::HolderError,
    projection::{queries::ConversationFilter, rebuild::rebuild},
};

const PHOTO: &[u8] = b"\x89PNG\r\n\x1a\n zweihundertfuenfzig pixel of her face";
/// What is hers, and in no other place.
const MARKS: [&str; 7] = [
    "+34611222333",
    "34611222333",
    "Zacarina",
    "xylophonkatze",
    "wamid.HERS",
    "zweihundertfuenfzig",
    "photo of me.png",
];

fn her() -> Contact {
    Contact { wa_id: Some("34611222333".to_owned()), ..person("+34611222333", "Zacarina Quexol") }
}

fn him() -> Contact {
    person("+34600000002", "Bruno")
}

fn status(contact: &Contact, key: &str, status: MessageStatus) -> Intake {
    Intake::Status {
        contact: contact.clone(),
        status: IntakeStatus {
            wa_message_id: key.to_owned(),
            dedupe_key: key.to_owned(),
            message_id: None,
            status,
            at: NOW.plus_ms(5000),
            error: None,
        },
    }
}

fn echo(contact: &Contact, key: &str, words: &str) -> Intake {
    let Intake::Message { contact, mut message } = text(contact, key, words) else {
        unreachable!("a message")
    };
    message.direction = Direction::Outbound;
    Intake::Message { contact, message }
}

/// What a screen shows of the tenant.
#[derive(Debug, PartialEq)]
struct Shown {
    conversations: Vec<Conversation>,
    stats: Stats,
    hours: Vec<(Timestamp, Counts)>,
    feed: usize,
}

async fn shown(here: &Instance) -> Shown {
    let filter = ConversationFilter { limit: 100, ..ConversationFilter::default() };
    let feed = here.queries.feed(CLIENT, crate::wire::cursor::Cursor::START, 10_000).await;
    Shown {
        conversations: here.queries.conversations(CLIENT, filter).await.expect("read").items,
        stats: here.queries.stats(CLIENT).await.expect("read"),
        hours: here
            .queries
            .hours(CLIENT, Timestamp(0), NOW.plus_ms(86_400_000))
            .await
            .expect("read"),
        feed: feed.expect("read").frames.len(),
    }
}

/// A lively past: hers and his, mixed in time.
async fn live(here: &Instance) {
    here.commands
        .start_day(CLIENT, "2026-11-24".to_owned(), "America/Santiago".to_owned())
        .await
        .expect("begun");
    for round in 0..30 {
        let items = vec![
            text(&her(), &format!("wamid.HERS{round}"), &format!("xylophonkatze {round}")),
            text(&him(), &format!("his{round}"), &format!("hola {round}")),
            echo(&her(), &format!("wamid.HERSout{round}"), "dear Zacarina"),
            status(&her(), &format!("wamid.HERSout{round}"), MessageStatus::Delivered),
            echo(&him(), &format!("hisout{round}"), "dear Bruno"),
        ];
        here.take_in(CLIENT, items).await;
    }
    let photo = picture(&her(), "wamid.HERSphoto", "m1", None);
    here.take_in(CLIENT, vec![photo, status(&her(), "wamid.HERSunknown", MessageStatus::Read)])
        .await;
    here.settled(CLIENT, "wamid.HERSphoto").await;
}

async fn conversation_of(here: &Instance, key: &str) -> ConversationId {
    here.message(CLIENT, key).await.expect("there").conversation_id
}

/// Waits until nothing is left to be deleted.
async fn purged(here: &Instance) {
    let mut projected = here.queries.projected();
    let waiting = async {
        loop {
            projected.mark_unchanged();
            if here.queries.erasing(None, 10).await.expect("read").is_empty() {
                return;
            }
            projected.changed().await.expect("projected");
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("in time");
}

#[track_caller]
fn nothing_of_her_in(folder: &Path) {
    for mark in MARKS {
        let found = files_with(folder, mark.as_bytes());
        assert!(found.is_empty(), "{mark:?} is in {found:?}");
    }
}

async fn nothing_of_her_is_shown(here: &Instance) {
    for words in ["Zacarina", "xylophonkatze", "611222"] {
        let filter = ConversationFilter {
            search: Some(words.to_owned()),
            limit: 10,
            ..ConversationFilter::default()
        };
        let found = here.queries.conversations(CLIENT, filter).await.expect("read");
        assert!(found.items.is_empty(), "{words:?} is found");
    }
    for key in ["wamid.HERS3", "wamid.HERSout3", "wamid.HERSphoto"] {
        assert!(here.message(CLIENT, key).await.is_none(), "{key}");
    }
    let cursor = crate::wire::cursor::Cursor::START;
    let feed = here.queries.feed(CLIENT, cursor, 10_000).await.expect("read");
    let snapshot = here.queries.snapshot(CLIENT, 100).await.expect("read");
    let mut all = serde_json::to_vec(&snapshot).expect("JSON");
    feed.frames.iter().for_each(|frame| all.extend_from_slice(&frame.json));
    for mark in MARKS {
        assert!(memchr::memmem::find(&all, mark.as_bytes()).is_none(), "{mark:?} is shown");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_an_erased_person_is_left() {
    let folder = folder();
    let provider = Arc::new(FakeProvider::default());
    provider.put("m1", PHOTO);
    let here = Instance::start(folder.path(), &provider).await.fetches().erases();
    live(&here).await;
    let (hers, his) =
        (conversation_of(&here, "wamid.HERS1").await, conversation_of(&here, "his1").await);
    let photo = here.message(CLIENT, "wamid.HERSphoto").await.expect("there");
    // A key's answer speaks of her too, and a write without one.
    let request = crate::command::Request::new("k", "PATCH", "/v1/conversations", b"{}");
    let write = crate::command::Write::MarkRead { id: hers };
    let answer = |done: &crate::command::Done| crate::command::Answer {
        status: 200,
        body: serde_json::json!({"done": format!("{done:?}")}),
    };
    here.commands.write(CLIENT, &actor(), Some(&request), write, answer).await.expect("read");
    here.come_up().await;
    for mark in MARKS {
        assert!(!files_with(folder.path(), mark.as_bytes()).is_empty(), "{mark:?} is nowhere");
    }
    let before = shown(&here).await;

    here.clock.advance_ms(10_000);
    here.commands.erase_personal_data(CLIENT, &actor(), hers).await.expect("erased");
    here.come_up().await;
    nothing_of_her_is_shown(&here).await;
    assert_eq!(here.media.find(CLIENT, MediaId(photo.id.0)).await.expect("answered"), Found::None);
    purged(&here).await;
    assert_eq!(here.queries.conversation(CLIENT, hers).await.expect("read"), None);

    // Others, and the numbers, are as they were.
    let after = shown(&here).await;
    let of_him = |shown: &Shown| shown.conversations.iter().find(|c| c.id == his).cloned();
    assert!(of_him(&after).is_some() && of_him(&after) == of_him(&before));
    assert_eq!(after.conversations.len(), 1);
    assert_eq!((after.stats.totals, after.stats.today), (before.stats.totals, before.stats.today));
    assert_eq!(after.stats.total_messages, before.stats.total_messages);
    assert_eq!(after.stats.conversations.total, 1);
    assert_eq!(after.hours, before.hours);
    let history = here.queries.messages(CLIENT, his, None, 100).await.expect("read");
    assert_eq!(history.items.len(), 60);

    // Erasing again is no error, and nobody else is known to be there.
    here.commands.erase_personal_data(CLIENT, &actor(), hers).await.expect("erased before");
    let nobody = here.commands.erase_personal_data(CLIENT, &actor(), ConversationId(77)).await;
    assert_eq!(nobody, Err(CommandError::NotFound));
    let stranger = here.commands.erase_personal_data(OTHER, &actor(), his).await;
    assert_eq!(stranger, Err(CommandError::NotFound));
    here.stop().await;
    nothing_of_her_in(folder.path());

    // A rebuild brings nothing back, and comes to the same numbers.
    let log: Arc<dyn EventLog> =
        Arc::new(SqliteLog::open(&folder.path().join("log.db")).expect("a log"));
    let clock = Arc::new(ManualClock::at(NOW));
    rebuild(&projection_settings(folder.path()), log.clone(), clock, |_| {})
        .await
        .expect("rebuilt");
    log.close().await;
    nothing_of_her_in(folder.path());
    let here = Instance::start(folder.path(), &provider).await;
    here.come_up().await;
    nothing_of_her_is_shown(&here).await;
    let rebuilt = shown(&here).await;
    assert_eq!(rebuilt.conversations, after.conversations);
    assert_eq!(rebuilt.hours, after.hours);
    assert_eq!(rebuilt.stats, after.stats);
    assert_eq!(rebuilt.feed, after.feed);
    here.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_late_brings_nothing_back() {
    let folder = folder();
    let provider = Arc::new(FakeProvider::default());
    provider.put("m1", PHOTO);
    let here = Instance::start(folder.path(), &provider).await.fetches().erases();
    live(&here).await;
    let hers = conversation_of(&here, "wamid.HERS1").await;
    here.clock.advance_ms(10_000);
    here.commands.erase_personal_data(CLIENT, &actor(), hers).await.expect("erased");
    here.come_up().await;
    purged(&here).await;
    let before = shown(&here).await;
    // The provider repeats itself; statuses of what was sent to her arrive.
    let late = vec![
        text(&her(), "wamid.HERS3", "xylophonkatze 3"),
        status(&her(), "wamid.HERSout3", MessageStatus::Read),
        status(&her(), "wamid.HERSnever", MessageStatus::Read),
    ];
    here.take_in(CLIENT, late).await;
    assert_eq!(shown(&here).await, before);
    here.stop().await;
    nothing_of_her_in(folder.path());

    // Also after a restart. When she writes again, it is a new conversation.
    let here = Instance::start(folder.path(), &provider).await.erases();
    here.clock.advance_ms(20_000);
    here.take_in(CLIENT, vec![text(&her(), "wamid.HERS4", "xylophonkatze 4")]).await;
    assert_eq!(shown(&here).await, before);
    let Intake::Message { contact, mut message } = text(&her(), "new", "hello again") else {
        unreachable!("a message")
    };
    message.sent_at = NOW.plus_ms(15_000);
    here.take_in(CLIENT, vec![Intake::Message { contact, message }]).await;
    let new = conversation_of(&here, "new").await;
    assert_ne!(new, hers);
    let conversation = here.queries.conversation(CLIENT, new).await.expect("read").expect("there");
    assert_eq!(conversation.contact.phone.as_deref(), Some("+34611222333"));
    assert_eq!(conversation.unread_count, 1);
    here.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_that_was_broken_off_is_finished_after_the_start() {
    let folder = folder();
    let provider = Arc::new(FakeProvider::default());
    provider.put("m1", PHOTO);
    // Nobody deletes here: as if the process had ended right after the event.
    let here = Instance::start(folder.path(), &provider).await.fetches();
    live(&here).await;
    let hers = conversation_of(&here, "wamid.HERS1").await;
    here.clock.advance_ms(10_000);
    here.commands.erase_personal_data(CLIENT, &actor(), hers).await.expect("erased");
    here.come_up().await;
    nothing_of_her_is_shown(&here).await;
    here.stop().await;
    assert!(!files_with(folder.path(), b"xylophonkatze").is_empty(), "the log has it still");

    // What was appended for her meanwhile, by one that did not know, goes too.
    let here = Instance::start(folder.path(), &provider).await;
    let stream = crate::event_log::StreamName::Conversation(CLIENT, hers);
    let data = crate::domain::event::EventData::ConversationRead { conversation_id: hers };
    let late = crate::event_log::Append {
        stream: stream.clone(),
        expected: crate::event_log::Expected::Any,
        events: vec![crate::domain::event::Event {
            id: crate::domain::ids::EventId(here.clock.new_id()),
            client_id: CLIENT,
            time: NOW,
            actor: "xylophonkatze".to_owned(),
            causation: None,
            data,
        }],
    };
    here.log.append(vec![late.clone()]).await.expect("appended");
    let here = here.erases();
    here.come_up().await;
    purged(&here).await;
    // And once more when all was done.
    here.log.append(vec![late]).await.expect("appended");
    here.come_up().await;
    assert_eq!(here.queries.erasing(None, 10).await.expect("read").len(), 1);
    here.stop().await;
    let here = Instance::start(folder.path(), &provider).await.erases();
    purged(&here).await;
    assert!(here.log.read_stream(&stream, None, 10).await.expect("read").is_empty());
    here.stop().await;
    nothing_of_her_in(folder.path());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn merged_conversations_go_together_and_shared_uploads_stay() {
    let folder = folder();
    let provider = Arc::new(FakeProvider::default());
    provider.put("m1", PHOTO);
    let here = Instance::start(folder.path(), &provider).await.fetches().erases();
    let known_as = |user_id: &str| Contact {
        user_id: Some(user_id.to_owned()),
        name: Some("Zacarina Quexol".to_owned()),
        ..Contact::default()
    };
    here.take_in(CLIENT, vec![text(&known_as("CL.77"), "wamid.HERS0", "xylophonkatze")]).await;
    live(&here).await;
    let both = Contact { user_id: Some("CL.77".to_owned()), ..her() };
    here.take_in(CLIENT, vec![text(&both, "wamid.HERSboth", "it is me")]).await;
    let hers = conversation_of(&here, "wamid.HERS1").await;
    assert_eq!(hers, conversation_of(&here, "wamid.HERS0").await, "they were merged");
    here.clock.advance_ms(10_000);
    here.commands.erase_personal_data(CLIENT, &actor(), hers).await.expect("erased");
    here.come_up().await;
    purged(&here).await;
    nothing_of_her_is_shown(&here).await;
    let Intake::Message { contact, mut message } = text(&known_as("CL.77"), "new", "hello") else {
        unreachable!("a message")
    };
    message.sent_at = NOW.plus_ms(15_000);
    here.take_in(CLIENT, vec![Intake::Message { contact, message }]).await;
    assert_eq!(conversation_of(&here, "new").await.0, 4, "a number that was never used");
    here.commands.erase_personal_data(CLIENT, &actor(), ConversationId(4)).await.expect("erased");
    here.come_up().await;
    purged(&here).await;
    here.stop().await;
    nothing_of_her_in(folder.path());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_medium_that_is_being_fetched_while_its_sender_is_erased_is_not_kept() {
    let folder = folder();
    let provider = Arc::new(FakeProvider::default());
    provider.put("m1", PHOTO);
    provider.open.send_replace(false);
    let here = Instance::start(folder.path(), &provider).await.fetches().erases();
    here.take_in(CLIENT, vec![picture(&her(), "wamid.HERSphoto", "m1", None)]).await;
    let hers = conversation_of(&here, "wamid.HERSphoto").await;
    let asked = async {
        while provider.fetched.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("it is being fetched");
    here.commands.erase_personal_data(CLIENT, &actor(), hers).await.expect("erased");
    here.come_up().await;
    purged(&here).await;
    provider.open.send_replace(true);
    let untouched = async {
        while !files_with(&here.settings.directory, b"").is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, untouched).await.expect("nothing is kept");
    here.stop().await;
    nothing_of_her_in(folder.path());
}

/// Does it for the one with this conversation only.
struct Stubborn {
    does_it_for: ConversationId,
}

#[async_trait]
impl Holder for Stubborn {
    async fn erase(&self, _client: ClientId, erasure: &Erasure) -> Result<(), HolderError> {
        match erasure.conversations.contains(&self.does_it_for) {
            true => Ok(()),
            false => Err(HolderError { reason: "not now".to_owned() }),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_can_not_be_erased_yet_keep_nobody_else_from_it() {
    const PERSONS: usize = 40;
    let folder = folder();
    let provider = Arc::new(FakeProvider::default());
    let here = Instance::start(folder.path(), &provider).await;
    let mut all = Vec::new();
    for number in 0..PERSONS {
        let contact = person(&format!("+346000001{number:02}"), "Somebody");
        let key = format!("somebody{number}");
        here.take_in(CLIENT, vec![text(&contact, &key, "hola")]).await;
        all.push(conversation_of(&here, &key).await);
    }
    here.clock.advance_ms(10_000);
    for &id in &all {
        here.commands.erase_personal_data(CLIENT, &actor(), id).await.expect("erased");
    }
    here.come_up().await;
    let last = *all.last().expect("somebody");
    let here = here.erases_with(vec![Arc::new(Stubborn { does_it_for: last })]);
    let mut projected = here.queries.projected();
    let done = async {
        loop {
            projected.mark_unchanged();
            let list = here.queries.erasing(None, 100).await.expect("read");
            if list.iter().all(|one| one.conversation != last) {
                return list.len();
            }
            projected.changed().await.expect("projected");
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, done).await.expect("in time"), PERSONS - 1);
    here.stop().await;
}
