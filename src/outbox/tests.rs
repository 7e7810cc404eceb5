//! The outbox over a log and a provider that fail in every way: the provider's own ledger against
//! what the log says.

mod provider;
mod world;

use std::{collections::HashMap, time::Duration};

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::time::Instant;

use self::{
    provider::{Mood, Provider},
    world::World,
};
use crate::{
    command::testing::CLIENT,
    domain::{
        event::EventData,
        ids::{ConversationId, MessageId},
        message::{IN_DOUBT_CODE, Message, MessageStatus},
        whatsapp::WhatsAppStatus,
    },
    event_log::StreamName,
};

#[test]
fn a_release_that_is_stored_late_gives_no_later_claim_back() {
    use super::stream::{Look, Standing};
    use crate::domain::ids::EventId;
    let number = |number| EventId(uuid::Uuid::from_u128(number));
    let claimed = |standing| Look {
        conversation: ConversationId(1),
        standing: Standing::Claimed(standing),
        revision: None,
    };
    assert!(claimed(number(1)).gives_back(Some(number(1))));
    assert!(!claimed(number(2)).gives_back(Some(number(1))));
    assert!(claimed(number(2)).gives_back(None), "a person's");
}

/// Nobody was sent a message twice, nobody was forgotten, and what is said is so.
fn compare(messages: &HashMap<MessageId, Message>, provider: &Provider) {
    let taken = provider.taken();
    for (id, message) in messages {
        let times = taken.get(id).copied().unwrap_or(0);
        match message.status {
            MessageStatus::Sent => assert_eq!(times, 1, "{id} is told to be sent"),
            MessageStatus::Failed => assert_eq!(times, 0, "{id} is told to have failed"),
            MessageStatus::Queued => {
                assert!(message.send_started, "{id} was forgotten");
                assert_eq!(message.error.as_ref().map(|error| error.code), Some(IN_DOUBT_CODE));
                assert!(times <= 1, "{id} was sent {times} times");
            }
            other => panic!("nobody told {other:?} of {id}"),
        }
    }
    for (id, times) in &taken {
        assert!(messages.contains_key(id) && *times == 1, "{id} was sent {times} times");
    }
}

/// As queued: so it is as long as one outbox sends for the tenant.
fn in_order(provider: &Provider) {
    for (recipient, texts) in provider.taken_by_recipient() {
        assert!(texts.is_sorted(), "{recipient} got them out of order: {texts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_queued_is_sent_once_and_in_order() {
    let world = World::new(1);
    for conversation in 1..=5 {
        world.open(conversation).await;
    }
    // What waits before the start, and what comes afterwards.
    for number in 0..25 {
        world.queue(1 + number % 5, None).await;
    }
    let provider = Provider::willing();
    let outbox = world.start(&provider, true);
    for number in 0..25 {
        world.queue(1 + number % 5, (number % 2 == 0).then_some(9)).await;
    }
    let messages = world.until_quiet().await;
    compare(&messages, &provider);
    in_order(&provider);
    assert!(messages.values().all(|message| message.status == MessageStatus::Sent));
    let wamids = messages.values().filter(|message| message.dedupe_key.is_some());
    assert_eq!((wamids.count(), provider.calls.lock().len()), (50, 50));
    outbox.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_single_message_leaves_at_once() {
    let world = World::new(2);
    world.open(1).await;
    let provider = Provider::willing();
    let _outbox = world.start(&provider, true);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let queued_at = Instant::now();
    world.queue(1, None).await;
    world.until_quiet().await;
    // The test's log takes up to ten milliseconds an append.
    let called_at = provider.calls.lock()[0].at;
    assert!(called_at - queued_at < Duration::from_millis(30), "{:?}", called_at - queued_at);
}

#[tokio::test(start_paused = true)]
async fn a_bulk_keeps_its_rate_and_single_messages_pass_it() {
    let mut world = World::new(3);
    world.settings.messages_per_second = 80;
    world.settings.messages_burst = 10;
    for conversation in 1..=400 {
        world.open(conversation).await;
        world.queue(conversation, Some(7)).await;
    }
    for conversation in 501..=505 {
        world.open(conversation).await;
    }
    let provider = Provider::deciding(Duration::from_millis(40), |_| Mood::Takes);
    let start = Instant::now();
    let _outbox = world.start(&provider, true);
    let mut singles = Vec::new();
    for conversation in 501..=505 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let queued_at = Instant::now();
        singles.push((world.queue(conversation, None).await, queued_at));
    }
    let messages = world.until_quiet().await;
    compare(&messages, &provider);
    in_order(&provider);
    let calls = provider.calls.lock().clone();
    let last = calls.iter().map(|call| call.at).max().expect("calls");
    let rate = 405.0 / (last - start).as_secs_f64();
    assert!((76.0..=83.0).contains(&rate), "{rate} a second");
    for second in 0..5 {
        let from = start + Duration::from_secs(second);
        let within = calls.iter().filter(|call| call.at >= from);
        let within = within.filter(|call| call.at < from + Duration::from_secs(1)).count();
        assert!(within <= 95, "{within} in one second");
    }
    for (single, queued_at) in singles {
        let call = calls.iter().find(|call| call.message == single).expect("was called");
        let waited = call.at - queued_at;
        assert!(waited < Duration::from_millis(120), "a single message waited {waited:?}");
    }
}

/// Some of each: messages of people and bulks, some conversations busier than others.
async fn queue_some(world: &World, random: &mut SmallRng, count: u32) {
    for _ in 0..count {
        let conversation = random.random_range(1..=12_u32).pow(2) % 20 + 1;
        let bulk = random.random_bool(0.5).then(|| random.random_range(1..=2));
        world.queue(conversation, bulk).await;
        if random.random_bool(0.1) {
            let pause = random.random_range(0..400);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        if random.random_bool(0.1) {
            // Somebody else writes in the stream, so that claims find another revision.
            let conversation_id = ConversationId(conversation);
            let stream = StreamName::Conversation(CLIENT, conversation_id);
            world.append(stream, EventData::ConversationRead { conversation_id }).await;
        }
    }
}

async fn open_all(world: &World) {
    for conversation in 1..=20 {
        world.open(conversation).await;
    }
}

#[tokio::test(start_paused = true)]
async fn crashes_at_random_moments_send_nobody_twice_and_forget_nobody() {
    for seed in 0..12 {
        let mut random = SmallRng::seed_from_u64(seed);
        let world = World::new(seed);
        open_all(&world).await;
        let provider = Provider::moody(seed);
        *world.log.faults.lock() = 10;
        for _ in 0..8 {
            let outbox = world.start(&provider, true);
            queue_some(&world, &mut random, 25).await;
            let alive = random.random_range(1..3000);
            tokio::time::sleep(Duration::from_millis(alive)).await;
            outbox.crash();
        }
        *world.log.faults.lock() = 0;
        let outbox = world.start(&provider, true);
        let messages = world.until_quiet().await;
        assert_eq!(messages.len(), 200);
        compare(&messages, &provider);
        in_order(&provider);
        outbox.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_outboxes_that_race_one_wins_each_claim() {
    for seed in 100..106 {
        let mut random = SmallRng::seed_from_u64(seed);
        let world = World::new(seed);
        open_all(&world).await;
        queue_some(&world, &mut random, 30).await;
        let provider = Provider::moody(seed);
        let (one, other) = (world.start(&provider, false), world.start(&provider, false));
        *world.log.faults.lock() = 5;
        queue_some(&world, &mut random, 60).await;
        // One of them is killed, and the one that comes after it races as well.
        tokio::time::sleep(Duration::from_millis(random.random_range(100..2000))).await;
        other.crash();
        let other = world.start(&provider, false);
        queue_some(&world, &mut random, 60).await;
        *world.log.faults.lock() = 0;
        let messages = world.until_quiet().await;
        assert_eq!(messages.len(), 150);
        compare(&messages, &provider);
        one.stop().await;
        other.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn both_racers_have_their_share() {
    let world = World::new(5);
    open_all(&world).await;
    let (mine, yours) = (Provider::willing(), Provider::willing());
    let (one, other) = (world.start(&mine, false), world.start(&yours, false));
    for number in 0..200 {
        world.queue(number % 20 + 1, None).await;
        tokio::time::sleep(Duration::from_millis(7)).await;
    }
    let messages = world.until_quiet().await;
    assert!(messages.values().all(|message| message.status == MessageStatus::Sent));
    let (mine, yours) = (mine.taken(), yours.taken());
    assert_eq!(mine.len() + yours.len(), 200, "each was sent by one");
    assert!(!mine.is_empty() && !yours.is_empty(), "{} and {}", mine.len(), yours.len());
    one.stop().await;
    other.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_of_a_dead_process_is_in_doubt_and_never_sent() {
    let world = World::new(6);
    world.open(1).await;
    let stuck = Provider::deciding(Duration::ZERO, |_| Mood::TakesForEver);
    let outbox = world.start(&stuck, true);
    let first = world.queue(1, None).await;
    let second = world.queue(1, None).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(world.message(first).await.send_started);
    outbox.crash();
    let willing = Provider::willing();
    let outbox = world.start(&willing, true);
    let messages = world.until_quiet().await;
    let error = messages[&first].error.as_ref().expect("in doubt");
    assert_eq!(error.code, IN_DOUBT_CODE);
    assert_eq!(messages[&second].status, MessageStatus::Sent, "it holds up nobody");
    assert_eq!(willing.taken().get(&first), None);

    // A person decides.
    let stream = StreamName::Conversation(CLIENT, ConversationId(1));
    let released = EventData::SendReleased {
        conversation_id: ConversationId(1),
        message_id: first,
        bulk_id: None,
        claim: None,
    };
    world.append(stream, released).await;
    let messages = world.until_quiet().await;
    assert_eq!(messages[&first].status, MessageStatus::Sent);
    assert_eq!(willing.taken()[&first], 1);
    outbox.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_provider_leaves_doubts_that_a_status_settles() {
    let world = World::new(7);
    world.open(1).await;
    let provider = Provider::deciding(Duration::ZERO, |_| Mood::TakesSilently);
    let outbox = world.start(&provider, true);
    let id = world.queue(1, None).await;
    let messages = world.until_quiet().await;
    assert!(messages[&id].send_started && messages[&id].error.is_some());
    let stream = StreamName::Conversation(CLIENT, ConversationId(1));
    let told = crate::domain::event::StatusChange {
        conversation_id: ConversationId(1),
        message_id: Some(id),
        dedupe_key: Some("wamid.1".to_owned()),
        wa_message_id: Some("wamid.1".to_owned()),
        at: messages[&id].created_at,
        error: None,
    };
    world.append(stream, EventData::MessageDelivered(told)).await;
    let settled = world.message(id).await;
    assert_eq!((settled.status, settled.error), (MessageStatus::Delivered, None));
    assert_eq!(provider.calls.lock().len(), 1);
    outbox.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_back_is_tried_again_and_then_fails_with_the_providers_words() {
    let mut world = World::new(8);
    world.settings.attempts_max = 4;
    world.open(1).await;
    world.open(2).await;
    let provider = Provider::deciding(Duration::ZERO, |message| match message.text.as_deref() {
        Some("000000002") => Mood::Later,
        _ => Mood::Takes,
    });
    let outbox = world.start(&provider, true);
    let unlucky = world.queue(1, None).await;
    assert_eq!(unlucky.0.as_u128(), 2);
    let behind = world.queue(1, None).await;
    let elsewhere = world.queue(2, None).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(world.message(elsewhere).await.status, MessageStatus::Sent, "nobody waits for it");
    let waiting = world.message(unlucky).await;
    assert_eq!((waiting.send_started, waiting.error), (false, None), "its claim is given back");
    let messages = world.until_quiet().await;
    let failed = &messages[&unlucky];
    assert_eq!(failed.error.as_ref().map(|error| error.code), Some(131_056));
    assert_eq!(messages[&behind].status, MessageStatus::Sent);
    let calls = provider.calls.lock().clone();
    let tries: Vec<_> = calls.iter().filter(|call| call.message == unlucky).collect();
    assert_eq!(tries.len(), 4);
    let pauses: Vec<_> = tries.windows(2).map(|two| (two[1].at - two[0].at).as_secs()).collect();
    assert_eq!(pauses, [1, 4, 16], "as WhatsApp advises");
    outbox.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_number_is_told_of_left_alone_and_tried_again() {
    let world = World::new(9);
    open_all(&world).await;
    let until = Instant::now() + Duration::from_secs(20);
    let provider = Provider::deciding(Duration::ZERO, move |_| match Instant::now() < until {
        true => Mood::RefusesNumber,
        false => Mood::Takes,
    });
    let outbox = world.start(&provider, true);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let first = world.queue(1, None).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    for conversation in 2..=15 {
        world.queue(conversation, None).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let state = world.state().await.tenants.remove(&CLIENT).expect("a tenant").whatsapp;
    assert_eq!(state.status, WhatsAppStatus::Error);
    assert!(state.reason.expect("a reason").contains("131031"));
    let messages = world.until_quiet().await;
    let failed = messages.values().filter(|message| message.status == MessageStatus::Failed);
    // One now and one after each pause: 1, 2, 4, 8, 16 seconds.
    assert!((2..=6).contains(&failed.count()), "the others waited");
    assert_eq!(messages[&first].status, MessageStatus::Failed);
    compare(&messages, &provider);
    in_order(&provider);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let state = world.state().await.tenants.remove(&CLIENT).expect("a tenant").whatsapp;
    assert_eq!((state.status, state.reason), (WhatsAppStatus::Connected, None));
    outbox.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_template_holds_its_bulk_alone() {
    let mut world = World::new(10);
    world.settings.messages_per_second = 20;
    world.settings.messages_burst = 1;
    open_all(&world).await;
    let bulk_until = Instant::now() + Duration::from_secs(3);
    let provider = Provider::deciding(Duration::ZERO, move |message| {
        let number: u32 = message.text.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0);
        match number <= 11 && Instant::now() < bulk_until {
            true => Mood::RefusesTemplate,
            false => Mood::Takes,
        }
    });
    let outbox = world.start(&provider, true);
    for conversation in 1..=10 {
        world.queue(conversation, Some(1)).await;
    }
    for conversation in 11..=20 {
        world.queue(conversation, Some(2)).await;
    }
    let messages = world.until_quiet().await;
    compare(&messages, &provider);
    in_order(&provider);
    let failed = messages.values().filter(|message| message.status == MessageStatus::Failed);
    assert!(failed.clone().count() < 10, "not one after the other");
    assert!(failed.clone().all(|message| message.id.0.as_u128() <= 11));
    assert!(failed.count() > 0);
    outbox.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_in_memory_waits_in_the_read_model_in_order() {
    let mut world = World::new(11);
    world.settings.waiting_max = 20;
    open_all(&world).await;
    for number in 0..90 {
        world.queue(number % 3 + 1, None).await;
    }
    let provider = Provider::deciding(Duration::from_millis(20), |_| Mood::Takes);
    let outbox = world.start(&provider, true);
    for number in 0..90 {
        world.queue(number % 3 + 1, None).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let messages = world.until_quiet().await;
    compare(&messages, &provider);
    in_order(&provider);
    assert_eq!(provider.taken().len(), 180);
    outbox.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_calls_end() {
    let world = World::new(12);
    open_all(&world).await;
    let provider = Provider::deciding(Duration::from_millis(800), |_| Mood::Takes);
    let outbox = world.start(&provider, true);
    let mut random = SmallRng::seed_from_u64(12);
    queue_some(&world, &mut random, 40).await;
    outbox.stop().await;
    let state = world.state().await;
    let claimed = state.messages.values().filter(|message| message.send_started);
    assert_eq!(claimed.count(), 0, "nothing is left under way");
    assert!(provider.taken().len() < 40, "it took nothing new");
    let outbox = world.start(&provider, true);
    let messages = world.until_quiet().await;
    compare(&messages, &provider);
    in_order(&provider);
    assert!(messages.values().all(|message| message.status == MessageStatus::Sent));
    outbox.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_conversation_that_was_merged_is_sent_to_once() {
    let world = World::new(13);
    world.open(1).await;
    world.open(2).await;
    let queued = world.queue(2, None).await;
    let merged = EventData::ContactsMerged {
        from: ConversationId(2),
        into: ConversationId(1),
        identities: Vec::new(),
    };
    world.append(StreamName::Directory(CLIENT), merged).await;
    let provider = Provider::willing();
    // One knows it from the read model, in the conversation where it is now.
    let (one, other) = (world.start(&provider, false), world.start(&provider, false));
    let messages = world.until_quiet().await;
    assert_eq!(messages[&queued].status, MessageStatus::Sent);
    compare(&messages, &provider);
    one.stop().await;
    other.stop().await;
}

#[tokio::test(start_paused = true)]
async fn contacts_are_shown_what_was_read_and_that_somebody_writes() {
    use crate::command::send::ContactSignals;
    let world = World::new(14);
    world.open(1).await;
    let provider = Provider::willing();
    let outbox = world.start(&provider, true);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let conversation_id = ConversationId(1);
    let stream = StreamName::Conversation(CLIENT, conversation_id);
    let incoming = crate::domain::event::IncomingMessage {
        conversation_id,
        message_id: MessageId(uuid::Uuid::from_u128(1 << 64)),
        wa_message_id: "wamid.theirs".to_owned(),
        dedupe_key: "wamid.theirs".to_owned(),
        kind: crate::domain::message::MessageKind::Text,
        text: Some("hola".to_owned()),
        media: None,
        payload: None,
        reply_to: None,
        sent_at: world.state().await.conversations[&(CLIENT, conversation_id)].created_at,
        imported: false,
        status: None,
        by_api: false,
    };
    world.append(stream.clone(), EventData::MessageReceived(incoming)).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.append(stream, EventData::ConversationRead { conversation_id }).await;
    outbox.signals.typing(CLIENT, conversation_id, true);
    outbox.signals.typing(CLIENT, ConversationId(99), true);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut texts: Vec<_> = provider.calls.lock().iter().map(|call| call.text.clone()).collect();
    texts.sort();
    assert_eq!(texts, ["read wamid.theirs", "typing true Some(\"wamid.theirs\")"]);
    outbox.stop().await;
}
