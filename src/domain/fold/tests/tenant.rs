//! Bot, connection to WhatsApp, days, answers.

use serde_json::json;

use super::{events::*, *};
use crate::domain::{
    bot::BotMode,
    event::RequestAnswer,
    message::Sender,
    tenant::{Sealed, TenantSetup},
    whatsapp::WhatsAppStatus,
};

fn bot(status: BotMode, reason: Option<&str>) -> EventData {
    EventData::BotStatusChanged { status, reason: reason.map(str::to_owned) }
}

fn day(date: &str, time_zone: &str) -> EventData {
    EventData::DayStarted { date: date.to_owned(), time_zone: time_zone.to_owned() }
}

fn answer(key: &str) -> EventData {
    EventData::RequestAnswered(RequestAnswer {
        key: key.to_owned(),
        fingerprint: "f".to_owned(),
        status: 202,
        body: json!({}),
        events_before: 0,
        conversation_id: None,
    })
}

#[test]
fn the_bots_status_is_told_when_it_changes_and_with_who_changed_it() {
    let mut world = World::new();
    world.actor = "user:eva";
    assert_eq!(world.hears(bot(BotMode::Active, None)), ["bot"]);
    assert_eq!(world.tenant().bot.changed_by.as_deref(), Some("eva"));
    assert_eq!(world.tenant().bot.changed_at, NOON);
    world.after_ms(1000).actor = "system";
    world.unmoved_by(bot(BotMode::Active, None));
    assert_eq!(world.hears(bot(BotMode::Active, Some("as usual"))), ["bot"]);
    assert_eq!(world.hears(bot(BotMode::Error, Some("no model"))), ["bot"]);
    assert_eq!(world.tenant().bot.changed_by.as_deref(), Some("system"));
}

#[test]
fn whatsapps_state_is_told_when_anything_of_it_changes() {
    let state = |qr: Option<&str>| EventData::WhatsappStateChanged {
        status: WhatsAppStatus::Qr,
        phone_number: None,
        name: Some("Shop".to_owned()),
        qr: qr.map(str::to_owned),
        quality: None,
        reason: None,
        at: None,
    };
    let mut world = World::new();
    assert_eq!(world.hears(state(Some("2@a"))), ["whatsapp"]);
    world.after_ms(1000);
    world.unmoved_by(state(Some("2@a")));
    assert_eq!(world.tenant().whatsapp.changed_at, NOON);
    assert_eq!(world.hears(state(Some("2@b"))), ["whatsapp"]);
    assert_eq!(world.hears(state(None)), ["whatsapp"]);
    assert_eq!(world.tenant().whatsapp.qr, None);
}

fn set_up(time_zone: &str, key_id: &str) -> EventData {
    EventData::TenantSetUp(TenantSetup {
        time_zone: Some(time_zone.to_owned()),
        credentials: Some(sealed(key_id)),
        ..TenantSetup::default()
    })
}

fn sealed(key_id: &str) -> Sealed {
    Sealed { key_id: key_id.to_owned(), nonce: String::new(), ciphertext: String::new() }
}

#[test]
fn a_setup_replaces_the_one_before_and_nobody_hears_of_it() {
    let mut world = World::new();
    assert_eq!(world.when(set_up("America/Lima", "a")), []);
    assert_eq!(world.when(set_up("UTC", "a")), []);
    let setup = world.state.setups[&TENANT].clone();
    assert_eq!((setup.setup.time_zone.as_deref(), setup.at), (Some("UTC"), world.now));
}

#[test]
fn credentials_are_resealed_only_as_long_as_the_setup_holds() {
    let mut world = World::new();
    let mut hear = |id: u128, data| {
        let event = Event { id: event_id(id), ..event_of(TENANT, NOON, "system", data) };
        assert_eq!(fold_checked(&mut world.state, &event), []);
        world.state.setups[&TENANT].clone()
    };
    let resealed = |replaces| EventData::CredentialsResealed {
        replaces: event_id(replaces),
        sealed: sealed("new"),
    };
    hear(1, set_up("UTC", "old"));
    let setup = hear(2, resealed(1));
    assert_eq!(setup.event, event_id(2), "another one, so that every instance takes it in");
    assert_eq!(setup.setup.credentials, Some(sealed("new")));
    assert_eq!(setup.setup.time_zone.as_deref(), Some("UTC"));
    let setup = hear(3, set_up("America/Lima", "newer"));
    assert_eq!(hear(4, resealed(1)), setup);
    assert_eq!(hear(5, resealed(2)), setup);
}

fn event_id(number: u128) -> EventId {
    EventId(Uuid::from_u128(number))
}

#[test]
fn a_state_that_is_older_than_the_gateways_last_word_is_no_news() {
    let state = |status, seconds: i64| EventData::WhatsappStateChanged {
        status,
        phone_number: None,
        name: None,
        qr: None,
        quality: None,
        reason: None,
        at: Some(NOON.plus_ms(seconds * 1000)),
    };
    let mut world = World::new();
    world.actor = "waha";
    world.when(state(WhatsAppStatus::Qr, -20));
    assert_eq!(world.hears(state(WhatsAppStatus::Connected, -10)), ["whatsapp"]);
    world.unmoved_by(state(WhatsAppStatus::Qr, -20));
    assert_eq!(world.when(state(WhatsAppStatus::Connected, -5)), [], "only newer");
    world.unmoved_by(state(WhatsAppStatus::Disconnected, -7));
    // What another gateway tells has a clock of its own.
    world.actor = "whatsapp_cloud";
    assert_eq!(world.hears(state(WhatsAppStatus::Error, -30)), ["whatsapp"]);
    // A clock that runs ahead.
    world.actor = "waha";
    world.when(state(WhatsAppStatus::Qr, 3600));
    assert_eq!(world.after_ms(1000).hears(state(WhatsAppStatus::Connected, 60)), ["whatsapp"]);
}

#[test]
fn a_day_starts_once_however_many_say_so() {
    let mut world = World::given([received(1, 0), echoed(2, 0)]);
    assert_eq!(world.today(), [1, 1, 0, 0, 0]);
    assert_eq!(world.hears(day("2026-11-25", "Europe/Madrid")), ["stats"]);
    assert_eq!(world.today(), [0; 5]);
    assert_eq!(world.totals(), [1, 1, 0, 0, 0]);
    world.when(received(3, 5));
    world.unmoved_by(day("2026-11-25", "Europe/Madrid"));
    world.unmoved_by(day("2026-11-24", "Europe/Madrid"));
    assert_eq!(world.today(), [1, 0, 0, 0, 0]);
    world.after_ms(DAY_MS);
    assert_eq!(world.hears(day("2026-11-26", "Europe/Madrid")), ["stats"]);
    assert_eq!(world.today(), [0; 5]);
    world.when(delivered(2, 9));
    assert_eq!(world.today(), [0, 0, 1, 0, 0], "what happens today to yesterday's message");
}

#[test]
fn another_time_zone_on_the_same_date_goes_on_with_the_day() {
    let mut world = World::given([day("2026-11-25", "Europe/Madrid"), received(1, 0)]);
    assert_eq!(world.when(day("2026-11-25", "America/Lima")), []);
    assert_eq!(world.today(), [1, 0, 0, 0, 0]);
    assert_eq!(world.hears(day("2026-11-24", "Pacific/Honolulu")), ["stats"]);
    assert_eq!(world.today(), [0; 5]);
    let day = world.tenant().day.clone();
    assert_eq!(day, Some(("2026-11-24".to_owned(), "Pacific/Honolulu".to_owned())));
}

#[test]
fn what_is_no_date_starts_no_day() {
    let mut world = World::given([received(1, 0)]);
    for date in ["", "tomorrow", "2026-13-01", "2026-02-30"] {
        world.unmoved_by(day(date, "UTC"));
    }
}

#[test]
fn a_new_day_forgets_what_waited_for_30_days() {
    let mut world = World::given([read(1, 0)]);
    world.after_ms(29 * DAY_MS).when(read(2, 0));
    world.when(day("2026-12-23", "UTC"));
    assert_eq!(world.state.waiting.len(), 2);
    world.after_ms(2 * DAY_MS).when(day("2026-12-25", "UTC"));
    let waiting: Vec<_> = world.state.waiting.keys().map(|(_, key)| key.as_str()).collect();
    assert_eq!(waiting, ["wamid.2"]);
}

#[test]
fn an_answer_is_noted_until_its_stream_is_deleted() {
    let mut world = World::new();
    assert_eq!(world.when(answer("k")), []);
    world.unmoved_by(answer("k"));
    let noted =
        |world: &World| world.state.answers.get(&(TENANT, "k".to_owned())).map(|noted| noted.at);
    assert_eq!(noted(&world), Some(NOON));
    world.after_ms(DAY_MS).when(day("2026-11-25", "UTC"));
    assert_eq!(noted(&world), Some(NOON), "no day forgets what is in the log");
    let forgotten = |before| EventData::AnswersForgotten { before };
    world.unmoved_by(forgotten(NOON));
    assert_eq!(world.when(answer("k")), [], "used again");
    world.unmoved_by(forgotten(NOON.plus_ms(1)));
    assert_eq!(noted(&world), Some(NOON.plus_ms(DAY_MS)));
    assert_eq!(world.when(forgotten(NOON.plus_ms(DAY_MS + 1))), []);
    assert_eq!(noted(&world), None);
}

#[test]
fn what_is_queued_stays_queued_over_midnight() {
    let mut world = World::given([queued(1, Sender::Agent)]);
    world.when(day("2026-11-25", "UTC"));
    assert_eq!(world.tenant().stats.queued, 1);
    world.when(accepted(1, 9));
    assert_eq!(world.today(), [0, 1, 0, 0, 0]);
}
