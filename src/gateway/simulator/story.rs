//! What happens next, from a seed: pure, so that a day can be played again and tested.
//!
//! Each customer goes through a topic turn by turn. What follows from a turn (the statuses of an
//! answer, the end of a pause) is put into a queue by the number of the step at which it is due,
//! so the story depends on the seed and on the number of steps alone; only the timestamps come
//! from the caller.
//!
//! **Invariant:** the queue is bounded. A step adds at most three follow-ups, all due within
//! [`LONGEST_WAIT_STEPS`], and what is due is played before anything new begins.

use std::collections::{BTreeMap, VecDeque};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use super::{
    cast::{BOT_PAUSES, CUSTOMERS, TOPICS, Turn},
    payloads::{self, CloudMessage},
    provider::media,
};
use crate::domain::{bot::BotMode, time::Timestamp};

const LONGEST_WAIT_STEPS: u64 = 40;
/// One in so many steps switches the bot.
const BOT_SWITCH_ONE_IN: u32 = 45;
/// One in so many steps loses WhatsApp for a while.
const RECONNECT_ONE_IN: u32 = 90;
/// One in so many answers is not delivered.
const FAILURE_ONE_IN: u32 = 30;
/// One in so many customers doesn't open what they get.
const UNREAD_ONE_IN: u32 = 5;

/// Something to do to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A body for `/webhooks/whatsapp`.
    Cloud(Vec<u8>),
    /// A body for `/webhooks/waha`.
    Waha(Vec<u8>),
    /// For `PUT /v1/bot/status`.
    Bot { status: BotMode, reason: Option<String> },
}

/// The names under which the demo tenant is known to the providers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    pub phone_number_id: String,
    pub waha_session: String,
}

/// The story so far.
pub struct Story {
    rng: StdRng,
    names: Names,
    /// Makes ids of this run other than those of an earlier one, which the log knows already.
    run: i64,
    step: u64,
    numbers: u64,
    customers: Vec<Customer>,
    due: BTreeMap<u64, VecDeque<FollowUp>>,
}

struct Customer {
    name: &'static str,
    number: &'static str,
    turns: &'static [Turn],
    /// The next turn's place in `turns`.
    at: usize,
    last_of_theirs: Option<String>,
    last_of_ours: Option<String>,
}

#[derive(Debug, Clone)]
enum FollowUp {
    Status { customer: usize, wamid: String, status: &'static str },
    Bot { status: BotMode, reason: Option<&'static str> },
    Session { status: &'static str, qr: Option<String> },
}

impl Story {
    pub fn new(seed: u64, names: Names, start: Timestamp) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let customers = CUSTOMERS
            .iter()
            .map(|(name, number)| Customer {
                name,
                number,
                turns: TOPICS[rng.random_range(0..TOPICS.len())],
                at: 0,
                last_of_theirs: None,
                last_of_ours: None,
            })
            .collect();
        let mut story =
            Self { rng, names, run: start.0, step: 0, numbers: 0, customers, due: BTreeMap::new() };
        story.after(0, FollowUp::Session { status: "WORKING", qr: None });
        story.after(0, FollowUp::Bot { status: BotMode::Active, reason: None });
        story
    }

    /// The next thing that happens, as of `now`.
    pub fn next(&mut self, now: Timestamp) -> Step {
        self.step += 1;
        if let Some(follow_up) = self.take_due() {
            return self.play_follow_up(follow_up, now);
        }
        if self.one_in(BOT_SWITCH_ONE_IN) {
            return self.switch_bot();
        }
        if self.one_in(RECONNECT_ONE_IN) {
            return self.lose_whatsapp(now);
        }
        let customer = self.rng.random_range(0..self.customers.len());
        let turn = self.next_turn(customer);
        self.play_turn(customer, turn, now)
    }

    fn one_in(&mut self, number: u32) -> bool {
        self.rng.random_ratio(1, number)
    }

    fn after(&mut self, steps: u64, follow_up: FollowUp) {
        let steps = steps.min(LONGEST_WAIT_STEPS);
        self.due.entry(self.step + steps).or_default().push_back(follow_up);
    }

    fn take_due(&mut self) -> Option<FollowUp> {
        let mut first = self.due.first_entry().filter(|entry| *entry.key() <= self.step)?;
        let follow_up = first.get_mut().pop_front();
        if first.get().is_empty() {
            first.remove();
        }
        follow_up
    }

    /// The customer's next turn; after the last one they come back with something else.
    fn next_turn(&mut self, customer: usize) -> Turn {
        let topic = self.rng.random_range(0..TOPICS.len());
        let customer = &mut self.customers[customer];
        if customer.at >= customer.turns.len() {
            customer.turns = TOPICS[topic];
            customer.at = 0;
        }
        let turn = customer.turns[customer.at];
        customer.at += 1;
        turn
    }

    fn new_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn new_wamid(&mut self) -> String {
        let number = self.new_number();
        format!("wamid.demo{:x}n{number}", self.run)
    }

    fn play_turn(&mut self, customer: usize, turn: Turn, now: Timestamp) -> Step {
        match turn {
            Turn::Says(text) | Turn::Replies(text) => {
                let replies = matches!(turn, Turn::Replies(_));
                self.customer_writes(customer, "text", json!({"body": text}), replies, now)
            }
            Turn::Photo(caption) => {
                let mut body = Self::medium(media::SAMPLE_IMAGE);
                body["caption"] = json!(caption);
                self.customer_writes(customer, "image", body, false, now)
            }
            Turn::Voice => {
                let mut body = Self::medium(media::SAMPLE_AUDIO);
                body["voice"] = json!(true);
                self.customer_writes(customer, "audio", body, false, now)
            }
            Turn::Document(filename) => {
                let mut body = Self::medium(media::SAMPLE_DOCUMENT);
                body["filename"] = json!(filename);
                self.customer_writes(customer, "document", body, false, now)
            }
            Turn::Place(name, address, latitude, longitude) => {
                let body = json!({
                    "name": name, "address": address, "latitude": latitude,
                    "longitude": longitude,
                });
                self.customer_writes(customer, "location", body, false, now)
            }
            Turn::Reacts(emoji) => self.customer_reacts(customer, emoji, now),
            Turn::Rewrites(text) => {
                let message = json!({"type": "text", "text": {"body": text}});
                self.customer_amends(customer, "edit", Some(message), now)
            }
            Turn::TakesBack => self.customer_amends(customer, "revoke", None, now),
            Turn::Answers(text) => self.company_answers(customer, text, now),
            Turn::Corrects(text) => self.company_corrects(customer, text, now),
        }
    }

    /// One of the provider's samples, so that it can be fetched.
    fn medium(id: &str) -> Value {
        let (mime_type, bytes) = media::sample(id).unwrap_or_default();
        json!({"id": id, "mime_type": mime_type, "sha256": media::sha256_base64(&bytes)})
    }

    fn customer_writes(
        &mut self,
        customer: usize,
        kind: &str,
        body: Value,
        replies: bool,
        now: Timestamp,
    ) -> Step {
        let wamid = self.new_wamid();
        let Customer { name, number, ref last_of_ours, .. } = self.customers[customer];
        let message = payloads::cloud_message(CloudMessage {
            phone_number_id: &self.names.phone_number_id,
            from: number,
            name,
            wamid: &wamid,
            kind,
            body: &body,
            reply_to: last_of_ours.as_deref().filter(|_| replies),
            time: now,
        });
        self.customers[customer].last_of_theirs = Some(wamid);
        Step::Cloud(message)
    }

    /// A reaction to nothing would be none, so then the customer just sends the emoji.
    fn customer_reacts(&mut self, customer: usize, emoji: &str, now: Timestamp) -> Step {
        let Some(target) = self.customers[customer].last_of_ours.clone() else {
            return self.customer_writes(customer, "text", json!({"body": emoji}), false, now);
        };
        let body = json!({"message_id": target, "emoji": emoji});
        self.notice(customer, "reaction", body, now)
    }

    fn customer_amends(
        &mut self,
        customer: usize,
        kind: &str,
        message: Option<Value>,
        now: Timestamp,
    ) -> Step {
        let original = self.customers[customer].last_of_theirs.clone().unwrap_or_default();
        let mut body = json!({"original_message_id": original});
        if let Some(message) = message {
            body["message"] = message;
        }
        self.notice(customer, kind, body, now)
    }

    /// Something from the customer that is no message of its own.
    fn notice(&mut self, customer: usize, kind: &str, body: Value, now: Timestamp) -> Step {
        let wamid = self.new_wamid();
        let Customer { name, number, .. } = self.customers[customer];
        Step::Cloud(payloads::cloud_message(CloudMessage {
            phone_number_id: &self.names.phone_number_id,
            from: number,
            name,
            wamid: &wamid,
            kind,
            body: &body,
            reply_to: None,
            time: now,
        }))
    }

    fn company_answers(&mut self, customer: usize, text: &str, now: Timestamp) -> Step {
        let wamid = self.new_wamid();
        let number = self.customers[customer].number;
        self.customers[customer].last_of_ours = Some(wamid.clone());
        let status = |status| FollowUp::Status { customer, wamid: wamid.clone(), status };
        if self.one_in(FAILURE_ONE_IN) {
            self.after(2, status("failed"));
        } else {
            self.after(1, status("sent"));
            let delivered = self.rng.random_range(2..=4);
            self.after(delivered, status("delivered"));
            if !self.one_in(UNREAD_ONE_IN) {
                let read = delivered + self.rng.random_range(1..=8);
                self.after(read, status("read"));
            }
        }
        let number_id = &self.names.phone_number_id;
        Step::Cloud(payloads::cloud_echo(number_id, number, &wamid, text, None, now))
    }

    fn company_corrects(&mut self, customer: usize, text: &str, now: Timestamp) -> Step {
        let wamid = self.new_wamid();
        let Customer { number, ref last_of_ours, .. } = self.customers[customer];
        let number_id = &self.names.phone_number_id;
        let original = last_of_ours.as_deref();
        Step::Cloud(payloads::cloud_echo(number_id, number, &wamid, text, original, now))
    }

    /// The bot stops and goes on later.
    fn switch_bot(&mut self) -> Step {
        let pause = self.rng.random_range(10..=25);
        self.after(pause, FollowUp::Bot { status: BotMode::Active, reason: None });
        if self.one_in(4) {
            let reason = Some("El proveedor de respuestas no contesta".to_owned());
            return Step::Bot { status: BotMode::Error, reason };
        }
        let reason = BOT_PAUSES[self.rng.random_range(0..BOT_PAUSES.len())];
        Step::Bot { status: BotMode::Paused, reason: Some(reason.to_owned()) }
    }

    /// WhatsApp goes away and comes back, sometimes only after the code was scanned again.
    fn lose_whatsapp(&mut self, now: Timestamp) -> Step {
        let mut wait = self.rng.random_range(2..=6);
        if self.one_in(2) {
            let qr = format!("2@demo{:016x}", self.rng.random::<u64>());
            self.after(wait, FollowUp::Session { status: "SCAN_QR_CODE", qr: Some(qr) });
            wait += self.rng.random_range(4..=8);
        }
        self.after(wait, FollowUp::Session { status: "STARTING", qr: None });
        self.after(wait + 3, FollowUp::Session { status: "WORKING", qr: None });
        let status = if self.one_in(2) { "STOPPED" } else { "FAILED" };
        self.session(status, None, now)
    }

    fn play_follow_up(&mut self, follow_up: FollowUp, now: Timestamp) -> Step {
        match follow_up {
            FollowUp::Status { customer, wamid, status } => {
                let number = self.customers[customer].number;
                let number_id = &self.names.phone_number_id;
                Step::Cloud(payloads::cloud_status(number_id, number, &wamid, status, now))
            }
            FollowUp::Bot { status, reason } => {
                Step::Bot { status, reason: reason.map(str::to_owned) }
            }
            FollowUp::Session { status, qr } => self.session(status, qr, now),
        }
    }

    fn session(&mut self, status: &str, qr: Option<String>, now: Timestamp) -> Step {
        let number = self.new_number();
        let payload = json!({"status": status, "data": qr.map(|qr| json!({"qr": qr}))});
        let session = &self.names.waha_session;
        Step::Waha(payloads::waha_event(session, "session.status", number, &payload, now))
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, sync::Arc};

    use super::*;
    use crate::{
        domain::{
            ids::ClientId,
            intake::Intake,
            message::{Direction, MessageKind, MessageStatus},
            whatsapp::WhatsAppStatus,
        },
        gateway::{
            routes::{Routes, TenantRoutes, TenantRouting, WahaSession},
            waha::{Waha, WahaSettings},
            whatsapp_cloud::{WhatsAppCloud, WhatsAppCloudSettings},
        },
        runtime::secret::Secret,
    };

    const START: Timestamp = Timestamp(1_795_515_330_000);

    fn day(seed: u64, start: Timestamp, steps: i64) -> Vec<Step> {
        let names = Names { phone_number_id: "100".to_owned(), waha_session: "demo".to_owned() };
        let mut story = Story::new(seed, names, start);
        (0..steps).map(|step| story.next(start.plus_ms(step * 1000))).collect()
    }

    #[test]
    fn a_seed_makes_one_day_and_another_makes_another() {
        assert_eq!(day(7, START, 500), day(7, START, 500));
        assert_ne!(day(7, START, 500), day(8, START, 500));
    }

    /// What the receivers understand of a day.
    fn understood(steps: &[Step]) -> Vec<Intake> {
        let secret = || Secret::new("demo".to_owned());
        let session = WahaSession {
            name: "demo".to_owned(),
            hmac_key: Some(secret()),
            ..WahaSession::default()
        };
        let routes = Arc::new(
            Routes::new(&[TenantRouting {
                client: ClientId(1),
                routes: TenantRoutes {
                    phone_number_ids: vec!["100".to_owned()],
                    waha_sessions: vec![session],
                    ..TenantRoutes::default()
                },
            }])
            .unwrap(),
        );
        let settings = WhatsAppCloudSettings {
            app_secrets: vec![secret()],
            ..WhatsAppCloudSettings::default()
        };
        let cloud = WhatsAppCloud::new(&settings, Arc::clone(&routes)).unwrap();
        let waha = Waha::new(&WahaSettings::default(), &routes).unwrap();
        let mut intakes = Vec::new();
        for step in steps {
            let inbound = match step {
                Step::Cloud(body) => {
                    cloud.receive(Some(&payloads::sign("demo", body)), body, START).unwrap()
                }
                Step::Waha(body) => {
                    waha.receive(Some(&payloads::sign_waha("demo", body)), body, START).unwrap()
                }
                Step::Bot { .. } => continue,
            };
            assert_eq!((inbound.items.len(), inbound.unrouted, inbound.ignored), (1, 0, 0));
            intakes.extend(inbound.items.into_iter().map(|(_, intake)| intake));
        }
        intakes
    }

    #[test]
    fn a_day_has_everything_in_it_and_all_of_it_is_understood() {
        let steps = day(1, START, 3000);
        let bots = steps.iter().filter(|step| matches!(step, Step::Bot { .. })).count();
        assert!(bots > 20, "{bots} switches of the bot");
        let intakes = understood(&steps);
        let count = |wanted: &dyn Fn(&Intake) -> bool| intakes.iter().filter(|i| wanted(i)).count();
        for kind in [
            MessageKind::Text,
            MessageKind::Image,
            MessageKind::Audio,
            MessageKind::Document,
            MessageKind::Location,
            MessageKind::Reaction,
        ] {
            let of_kind =
                |i: &Intake| matches!(i, Intake::Message { message, .. } if message.kind == kind);
            assert!(count(&of_kind) > 5, "{kind:?}");
        }
        for status in [MessageStatus::Sent, MessageStatus::Delivered, MessageStatus::Read] {
            let of_status =
                |i: &Intake| matches!(i, Intake::Status { status: s, .. } if s.status == status);
            assert!(count(&of_status) > 100, "{status:?}");
        }
        for status in [WhatsAppStatus::Connected, WhatsAppStatus::Qr, WhatsAppStatus::Connecting] {
            let of_state =
                |i: &Intake| matches!(i, Intake::WhatsAppState { status: s, .. } if *s == status);
            assert!(count(&of_state) > 2, "{status:?}");
        }
        assert!(count(&|i| matches!(i, Intake::Amendment { .. })) > 10);
        assert_eq!(count(&|i| matches!(i, Intake::Unknown { .. })), 0);
        let replies = |i: &Intake| {
            matches!(i, Intake::Message { message, .. }
            if message.reply_to.is_some() && message.kind == MessageKind::Text)
        };
        assert!(count(&replies) > 5);
    }

    #[test]
    fn statuses_and_amendments_are_of_messages_that_came_before() {
        let mut known = HashSet::new();
        for intake in understood(&day(3, START, 3000)) {
            match intake {
                Intake::Message { message, .. } => {
                    if let Some(target) = &message.reply_to {
                        assert!(known.contains(target));
                    }
                    assert!(known.insert(message.dedupe_key), "each id is new");
                }
                Intake::Status { status, .. } => assert!(known.contains(&status.dedupe_key)),
                Intake::Amendment { amendment, .. } => {
                    assert!(known.contains(&amendment.target), "{amendment:?}");
                    if amendment.text.is_none() {
                        assert_eq!(amendment.direction, Direction::Inbound);
                    }
                }
                _ => {}
            }
        }
    }

    #[test]
    fn a_later_run_has_ids_of_its_own() {
        let ids = |start| -> HashSet<String> {
            understood(&day(7, start, 300))
                .into_iter()
                .filter_map(|intake| match intake {
                    Intake::Message { message, .. } => Some(message.dedupe_key),
                    _ => None,
                })
                .collect()
        };
        assert!(ids(START).is_disjoint(&ids(START.plus_ms(1))));
    }
}
