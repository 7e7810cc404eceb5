//! Which conversation a contact has, however many tell of it at once.

use std::collections::{BTreeSet, HashSet};

use super::{
    intake::{message, person, take},
    *,
};
use crate::domain::{conversation::Contact, state::MemoryState};

fn user(id: &str) -> Contact {
    Contact { user_id: Some(id.to_owned()), ..Contact::default() }
}

fn both(number: u64, id: &str) -> Contact {
    Contact { user_id: Some(id.to_owned()), ..person(number) }
}

/// One conversation a contact, ids from 1 without gaps, each message in its contact's.
fn assert_sound(state: &MemoryState, contacts: u64, messages: usize) {
    let phones: BTreeSet<_> =
        state.conversations.values().map(|found| found.contact.phone.clone()).collect();
    assert_eq!(phones.len() as u64, contacts, "every contact has a conversation");
    let ids: BTreeSet<u32> = state.conversations.keys().map(|(_, id)| id.0).collect();
    assert_eq!(ids, (1..=contacts as u32).collect(), "and one only");
    assert_eq!(state.messages.len(), messages);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn instances_that_race_agree_on_every_contact() {
    const CONTACTS: u64 = 40;
    let world = World::new();
    let instances: Vec<_> = (0..3).map(|_| world.instance()).collect();
    let tasks = (0..24u64).map(|task| {
        let commands = Arc::clone(&instances[task as usize % instances.len()].0);
        tokio::spawn(async move {
            for step in 0..CONTACTS {
                // Each task meets the contacts in another order.
                let number = (step * 7 + task * 11) % CONTACTS;
                let key = format!("{task}-{step}");
                let items = match step % 3 {
                    0 => vec![message(person(number), &key)],
                    _ => vec![
                        message(person(number), &key),
                        message(person((number + 1) % CONTACTS), &format!("{key}+")),
                    ],
                };
                take(&commands, items).await;
            }
        })
    });
    for task in futures_util::future::join_all(tasks).await {
        task.expect("the task ends");
    }
    let state = world.folded().await;
    let messages = 24 * (14 + 26 * 2);
    assert_sound(&state, CONTACTS, messages);
    for message in state.messages.values() {
        let contact = &state.conversations[&(CLIENT, message.conversation_id)].contact;
        assert!(contact.phone.is_some());
    }
}

#[tokio::test]
async fn a_contact_that_is_not_projected_yet_is_known() {
    let world = World::new();
    let (commands, view) = world.instance();
    take(&commands, vec![message(person(1), "a")]).await;
    view.hold(true);
    for number in [2, 3, 2, 3] {
        take(&commands, vec![message(person(number), &format!("{number}"))]).await;
        // Known by one identity, and then by one more.
        take(&commands, vec![message(both(number, &format!("CO.{number}")), "x")]).await;
        take(&commands, vec![message(user(&format!("CO.{number}")), "y")]).await;
    }
    view.hold(false);
    assert_sound(&world.folded().await, 3, 5);
}

#[tokio::test]
async fn a_restarted_instance_goes_on_from_the_last_id() {
    let world = World::new();
    let (first, _first_view) = world.instance();
    take(&first, (1..=3).map(|number| message(person(number), &number.to_string())).collect())
        .await;
    let (second, _second_view) = world.instance();
    take(&second, vec![message(person(4), "4"), message(person(2), "again")]).await;
    // And the first one learns of it when it takes its next.
    take(&first, vec![message(person(5), "5"), message(person(4), "again 4")]).await;
    assert_sound(&world.folded().await, 5, 7);
}

#[tokio::test]
async fn the_id_of_an_erased_contact_is_not_taken_again() {
    let world = World::new();
    let (first, _first_view) = world.instance();
    take(&first, vec![message(person(1), "1"), message(person(2), "2")]).await;
    let erased = crate::event_log::StreamName::Conversation(CLIENT, ConversationId(2));
    world.log.delete_stream(&erased).await.expect("deletes");
    let (second, _second_view) = world.instance();
    take(&second, vec![message(person(3), "3")]).await;
    let opened: Vec<_> = world.events().await;
    let ids: Vec<u32> = opened
        .iter()
        .filter_map(|event| match event {
            EventData::ContactRegistered { conversation_id, .. } => Some(conversation_id.0),
            _ => None,
        })
        .collect();
    assert_eq!(ids, [1, 2, 3]);
}

#[tokio::test]
async fn two_conversations_of_one_contact_become_one() {
    let world = World::new();
    let (commands, _view) = world.instance();
    take(&commands, vec![message(person(1), "a")]).await;
    take(&commands, vec![message(user("CO.1"), "b")]).await;
    take(&commands, vec![message(both(1, "CO.1"), "c")]).await;
    let merged: Vec<_> = world.events().await;
    assert!(merged.iter().any(|event| matches!(
        event,
        EventData::ContactsMerged { from: ConversationId(2), into: ConversationId(1), .. }
    )));
    take(&commands, vec![message(user("CO.1"), "d")]).await;
    let last = world.records().await.pop().expect("events");
    assert_eq!(last.stream.to_string(), "conversation-1-1", "written to where it lives on");
    let state = world.folded().await;
    assert!(state.messages.values().all(|found| found.conversation_id == ConversationId(1)));
    assert_eq!(state.messages.len(), 4);
    let alive: HashSet<_> = state
        .conversations
        .values()
        .filter(|found| found.merged_into.is_none())
        .collect::<Vec<_>>()
        .iter()
        .map(|found| found.id)
        .collect();
    assert_eq!(alive, HashSet::from([ConversationId(1)]));
}

#[tokio::test]
async fn a_merge_within_a_batch_holds_for_all_of_it() {
    let world = World::new();
    let (commands, _view) = world.instance();
    let items = vec![
        message(person(1), "a"),
        message(user("CO.1"), "b"),
        message(both(1, "CO.1"), "c"),
        message(user("CO.1"), "d"),
    ];
    take(&commands, items).await;
    take(&commands, vec![message(user("CO.1"), "e")]).await;
    let state = world.folded().await;
    assert_eq!(state.messages.len(), 5);
    assert!(state.messages.values().all(|found| found.conversation_id == ConversationId(1)));
}

#[tokio::test]
async fn tenants_have_directories_of_their_own() {
    let world = World::new();
    let (commands, _view) = world.instance();
    let actor = actor();
    for client in [1, 2, 3].map(ClientId) {
        commands.take_in(client, &actor, vec![message(person(1), "a")]).await.expect("takes in");
    }
    let state = world.folded().await;
    let ids: BTreeSet<_> =
        state.conversations.keys().map(|(client, id)| (client.0, id.0)).collect();
    assert_eq!(ids, BTreeSet::from([(1, 1), (2, 1), (3, 1)]));
}

#[tokio::test]
async fn who_is_cancelled_does_not_stop_the_others() {
    let world = World::new();
    let (commands, view) = world.instance();
    take(&commands, vec![message(person(1), "1")]).await;
    let (other, _other_view) = world.instance();
    view.hold(true);
    // The first to come takes the turn, and waits for the read model after its conflict.
    take(&other, vec![message(person(9), "9")]).await;
    let spawn = |number: u64| {
        let commands = Arc::clone(&commands);
        let key = number.to_string();
        tokio::spawn(async move { take(&commands, vec![message(person(number), &key)]).await })
    };
    let leader = spawn(2);
    tokio::task::yield_now().await;
    let others: Vec<_> = (3..8).map(spawn).collect();
    tokio::task::yield_now().await;
    leader.abort();
    view.hold(false);
    for other in others {
        assert!(matches!(other.await.expect("ends")[0], IntakeOutcome::Stored(_)));
    }
    let state = world.folded().await;
    let phones: BTreeSet<_> =
        state.conversations.values().map(|found| found.contact.phone.clone()).collect();
    assert_eq!(phones.len(), state.conversations.len());
}
