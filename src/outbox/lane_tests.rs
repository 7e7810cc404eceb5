//! A tenant's line: order, turns, rates, and what is told of from outside.

use std::time::Duration;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn rates() -> Rates {
    Rates {
        number: Rate::per_second(1000.0, 1000),
        recipient: Rate { interval: Duration::from_secs(6), burst: 45 },
        in_flight_max: 100,
    }
}

fn id(number: u128) -> MessageId {
    MessageId(Uuid::from_u128(number))
}

fn bulk(number: u128) -> BulkId {
    BulkId(Uuid::from_u128(number))
}

fn waiting(number: u128, class: Class) -> Waiting {
    Waiting {
        message: id(number),
        class,
        followed: true,
        queued_at: Position(1),
        attempts: 0,
        generation: 0,
    }
}

fn single(number: u128) -> Waiting {
    waiting(number, Class::Single)
}

fn of_bulk(number: u128, of: u128) -> Waiting {
    waiting(number, Class::Bulk(bulk(of)))
}

fn there(number: u32) -> ConversationId {
    ConversationId(number)
}

/// The numbers of the messages that leave.
fn picked(lane: &mut Lane, rates: &Rates, max: usize, now: Instant) -> Vec<u128> {
    lane.pick(rates, max, now).iter().map(|picked| picked.waiting.message.0.as_u128()).collect()
}

#[test]
fn a_conversations_messages_leave_one_by_one() {
    let (mut lane, now) = (Lane::default(), Instant::now());
    for number in 1..=3 {
        lane.add(there(1), single(number), now);
    }
    lane.add(there(2), single(9), now);
    lane.add(there(1), single(1), now);
    assert_eq!(lane.len(), 4, "one that is here is not added again");
    assert_eq!(picked(&mut lane, &rates(), 10, now), [1, 9]);
    assert_eq!(picked(&mut lane, &rates(), 10, now), [0_u128; 0]);
    lane.settled(there(1), Position(7));
    lane.goes_on(there(1), Position(6), now);
    assert_eq!(picked(&mut lane, &rates(), 10, now), [0_u128; 0], "not followed so far");
    lane.goes_on(there(1), Position(7), now);
    assert_eq!(picked(&mut lane, &rates(), 10, now), [2]);
    // One that was not claimed keeps its place.
    lane.put_back(there(1), now);
    assert_eq!(picked(&mut lane, &rates(), 10, now), [2]);
    lane.drop_picked(there(1), now);
    assert_eq!(picked(&mut lane, &rates(), 10, now), [3]);
    lane.settled(there(1), Position(9));
    lane.settled(there(2), Position(9));
    assert!(lane.is_idle(now + Duration::from_secs(60)));
}

#[test]
fn single_messages_first_and_bulks_in_turns() {
    let (mut lane, now) = (Lane::default(), Instant::now());
    for number in 0..4 {
        lane.add(there(10 + number), of_bulk(u128::from(number), 1), now);
        lane.add(there(20 + number), of_bulk(100 + u128::from(number), 2), now);
    }
    assert_eq!(picked(&mut lane, &rates(), 3, now), [0, 100, 1]);
    lane.add(there(30), single(7), now);
    assert_eq!(picked(&mut lane, &rates(), 3, now), [7, 101, 2]);
}

#[test]
fn a_single_message_takes_along_what_stands_before_it() {
    let (mut lane, now) = (Lane::default(), Instant::now());
    for number in 1..=3 {
        lane.add(there(number), of_bulk(u128::from(number), 1), now);
    }
    lane.add(there(3), single(33), now);
    assert_eq!(picked(&mut lane, &rates(), 1, now), [3], "the order in it is kept");
    lane.settled(there(3), Position(1));
    lane.goes_on(there(3), Position(1), now);
    assert_eq!(picked(&mut lane, &rates(), 9, now), [33, 1, 2]);
}

#[test]
fn who_wrote_too_much_stands_aside_and_holds_up_nobody() {
    let (mut lane, now) = (Lane::default(), Instant::now());
    for number in 0..50 {
        lane.add(there(1), single(number), now);
    }
    for number in 0..45 {
        assert_eq!(picked(&mut lane, &rates(), 9, now), [number]);
        lane.settled(there(1), Position(1));
        lane.goes_on(there(1), Position(1), now);
    }
    lane.add(there(2), single(100), now);
    assert_eq!(picked(&mut lane, &rates(), 9, now), [100]);
    assert_eq!(lane.next_at(&rates(), now), Some(now + Duration::from_secs(6)));
    let later = now + Duration::from_secs(6);
    assert_eq!(picked(&mut lane, &rates(), 9, later), [45]);
}

#[test]
fn the_numbers_rate_holds_all_back() {
    let (mut lane, now) = (Lane::default(), Instant::now());
    let slow = Rates { number: Rate::per_second(10.0, 2), ..rates() };
    for number in 1..=5 {
        lane.add(there(number), single(u128::from(number)), now);
    }
    assert_eq!(picked(&mut lane, &slow, 9, now), [1, 2]);
    assert_eq!(lane.next_at(&slow, now), Some(now + Duration::from_millis(100)));
    assert_eq!(picked(&mut lane, &slow, 9, now + Duration::from_millis(100)), [3]);
}

#[test]
fn bulks_leave_room_for_single_messages() {
    let (mut lane, now) = (Lane::default(), Instant::now());
    let narrow = Rates { in_flight_max: 8, ..rates() };
    for number in 1..=20 {
        lane.add(there(number), of_bulk(u128::from(number), 1), now);
    }
    assert_eq!(picked(&mut lane, &narrow, 99, now).len(), 6);
    assert_eq!(lane.next_at(&narrow, now), None, "something has to end first");
    lane.add(there(100), single(100), now);
    assert_eq!(picked(&mut lane, &narrow, 99, now), [100]);
}

#[test]
fn what_is_given_back_goes_first_when_its_time_has_come() {
    let (mut lane, now) = (Lane::default(), Instant::now());
    lane.add(there(1), single(1), now);
    lane.add(there(1), single(2), now);
    assert_eq!(picked(&mut lane, &rates(), 9, now), [1]);
    let until = now + Duration::from_secs(4);
    lane.released(there(1), Position(5), until, true);
    // Its own claim and release come by the log.
    assert!(lane.told_of(there(1), id(1), now));
    lane.goes_on(there(1), Position(5), now);
    assert_eq!(picked(&mut lane, &rates(), 9, now), [0_u128; 0]);
    assert_eq!(lane.next_at(&rates(), now), Some(until));
    let again = lane.pick(&rates(), 9, until);
    assert_eq!(again[0].waiting.message, id(1));
    assert_eq!(again[0].waiting.attempts, 1);
    assert!(!again[0].waiting.followed, "its stream is read before it is claimed again");
    assert_eq!(again[0].waiting.queued_at, Position(5));
}

#[test]
fn what_another_claims_is_forgotten_and_ours_is_read_again() {
    let (mut lane, now) = (Lane::default(), Instant::now());
    lane.add(there(1), single(1), now);
    lane.add(there(1), single(2), now);
    lane.add(there(2), single(3), now);
    assert!(!lane.told_of(there(2), id(3), now));
    assert!(!lane.told_of(there(7), id(3), now), "nothing is known of it");
    assert_eq!(picked(&mut lane, &rates(), 9, now), [1]);
    assert!(lane.told_of(there(1), id(1), now), "it is under way here");
    assert!(!lane.told_of(there(1), id(2), now));
    lane.settled(there(1), Position(3));
    lane.goes_on(there(1), Position(3), now);
    assert_eq!(picked(&mut lane, &rates(), 9, now), [0_u128; 0]);
    assert_eq!(lane.len(), 0);
}

#[test]
fn the_revision_is_the_newest_that_was_followed() {
    let (mut lane, now) = (Lane::default(), Instant::now());
    lane.followed(there(1), Revision(3));
    lane.add(there(1), single(1), now);
    assert_eq!(lane.pick(&rates(), 9, now)[0].revision, None, "it was not followed from here on");
    lane.put_back(there(1), now);
    lane.followed(there(1), Revision(5));
    lane.followed(there(1), Revision(4));
    assert_eq!(lane.pick(&rates(), 9, now)[0].revision, Some(Revision(5)));
}

#[test]
fn what_is_fetched_stands_before_what_came_later() {
    let (mut lane, now) = (Lane::default(), Instant::now());
    lane.add(there(1), Waiting { generation: 1, ..single(5) }, now);
    lane.add(there(1), Waiting { generation: 0, ..single(1) }, now);
    lane.add(there(1), Waiting { generation: 0, ..single(2) }, now);
    lane.add(there(2), Waiting { generation: 1, ..single(6) }, now);
    assert_eq!(picked(&mut lane, &rates(), 9, now), [1, 6]);
    lane.forget_generation(1);
    assert_eq!(lane.len(), 3, "what is under way goes on: {lane:?}");
    lane.settled(there(2), Position(1));
    lane.settled(there(1), Position(1));
    lane.goes_on(there(1), Position(1), now);
    assert_eq!(picked(&mut lane, &rates(), 9, now), [2]);
}

#[test]
fn a_refused_number_sends_one_to_see() {
    let (mut lane, now) = (Lane::default(), Instant::now());
    for number in 1..=5 {
        lane.add(there(number), single(u128::from(number)), now);
    }
    lane.health.refused(now, Duration::from_secs(30));
    assert_eq!(picked(&mut lane, &rates(), 9, now), [0_u128; 0]);
    let later = now + Duration::from_secs(30);
    assert_eq!(lane.next_at(&rates(), now), Some(later));
    assert_eq!(picked(&mut lane, &rates(), 9, later), [1]);
    assert_eq!(lane.next_at(&rates(), later), None);
    lane.health.taken(later);
    assert_eq!(picked(&mut lane, &rates(), 9, later), [2, 3, 4, 5]);
}

#[test]
fn a_bulk_that_is_held_lets_others_pass() {
    let (mut lane, now) = (Lane::default(), Instant::now());
    for number in 1..=2 {
        lane.add(there(number), of_bulk(u128::from(number), 1), now);
        lane.add(there(10 + number), of_bulk(10 + u128::from(number), 2), now);
    }
    lane.health.hold_bulk(bulk(1), now, Duration::from_secs(30));
    assert_eq!(picked(&mut lane, &rates(), 9, now), [11, 12]);
    let later = now + Duration::from_secs(30);
    assert_eq!(lane.next_at(&rates(), now), Some(later));
    assert_eq!(picked(&mut lane, &rates(), 9, later), [1, 2]);
}

#[derive(Debug, Clone)]
enum Step {
    Add(u32, Option<u128>),
    Pick(usize),
    Settle(usize),
    Release(usize, u64),
    PutBack(usize, u64),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..6_u32, proptest::option::of(0..2_u128)).prop_map(|(to, of)| Step::Add(to, of)),
        4 => (1..5_usize).prop_map(Step::Pick),
        4 => (0..8_usize).prop_map(Step::Settle),
        1 => (0..8_usize, 0..9_u64).prop_map(|(which, s)| Step::Release(which, s)),
        1 => (0..8_usize, 0..9_u64).prop_map(|(which, s)| Step::PutBack(which, s)),
        2 => (0..20_u64).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..200)
}

proptest! {
    /// Whatever happens: one at a time and in order within a conversation, and in the end all
    /// have left.
    #[test]
    fn every_message_leaves_once_and_in_order(steps in steps()) {
        let rates = Rates {
            number: Rate::per_second(2.0, 5),
            recipient: Rate { interval: Duration::from_secs(6), burst: 3 },
            in_flight_max: 8,
        };
        let (mut lane, mut now) = (Lane::default(), Instant::now());
        let mut under_way: Vec<(ConversationId, u128)> = Vec::new();
        let mut settled: HashMap<ConversationId, Vec<u128>> = HashMap::new();
        let mut number = 0;
        let pick = |lane: &mut Lane, under_way: &mut Vec<_>, max, now| {
            for picked in lane.pick(&rates, max, now) {
                let there = picked.conversation;
                assert!(under_way.iter().all(|(other, _)| *other != there), "two of {there}");
                under_way.push((there, picked.waiting.message.0.as_u128()));
            }
            assert_eq!(lane.in_flight(), under_way.len());
        };
        let mut settle = |lane: &mut Lane, (to, which): (ConversationId, u128), now| {
            settled.entry(to).or_default().push(which);
            lane.settled(to, Position(1));
            lane.goes_on(to, Position(1), now);
        };
        for step in steps {
            let one = |which: usize, under_way: &mut Vec<(ConversationId, u128)>| {
                (!under_way.is_empty()).then(|| under_way.remove(which % under_way.len()))
            };
            match step {
                Step::Add(to, of) => {
                    number += 1;
                    let class = of.map_or(Class::Single, |of| Class::Bulk(bulk(of)));
                    lane.add(there(to), waiting(number, class), now);
                }
                Step::Pick(max) => pick(&mut lane, &mut under_way, max, now),
                Step::Settle(which) => {
                    if let Some(ended) = one(which, &mut under_way) {
                        settle(&mut lane, ended, now);
                    }
                }
                Step::Release(which, seconds) => {
                    if let Some((to, _)) = one(which, &mut under_way) {
                        let until = now + Duration::from_secs(seconds);
                        lane.released(to, Position(1), until, true);
                        lane.goes_on(to, Position(1), now);
                    }
                }
                Step::PutBack(which, seconds) => {
                    if let Some((to, _)) = one(which, &mut under_way) {
                        lane.put_back(to, now + Duration::from_secs(seconds));
                    }
                }
                Step::Wait(seconds) => now += Duration::from_secs(seconds),
            }
        }
        let mut rounds = 0;
        while lane.len() > 0 {
            rounds += 1;
            prop_assert!(rounds < 10_000, "something never leaves: {lane:?}");
            for ended in std::mem::take(&mut under_way) {
                settle(&mut lane, ended, now);
            }
            pick(&mut lane, &mut under_way, 64, now);
            match lane.next_at(&rates, now) {
                Some(at) if under_way.is_empty() => now = now.max(at),
                _ => {}
            }
        }
        let all: usize = settled.values().map(Vec::len).sum();
        prop_assert_eq!(all as u128, number);
        for numbers in settled.values() {
            prop_assert!(numbers.is_sorted(), "{numbers:?}");
        }
    }
}
