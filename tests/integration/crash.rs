//! `kill -9` in a loop while webhooks come in and clients follow: all that was acknowledged is
//! there once, and every client resumes without a gap.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::sync::watch;

use crate::support::{
    config::{TestConfig, mint_token, webhook_body},
    follower::{Ledger, Transport, follow, text},
    server::ServerProcess,
    server_binary,
    webhook::try_post_webhook,
};

const KILLS: usize = 6;
const SENDERS: usize = 4;

/// Posts messages until told to stop; each again and again until it was acknowledged, as the
/// provider does. Answers the ids in the order of their acknowledgement.
async fn send(
    sender: usize,
    address: watch::Receiver<SocketAddr>,
    stop: watch::Receiver<bool>,
) -> Vec<String> {
    let client =
        reqwest::Client::builder().timeout(Duration::from_secs(5)).build().expect("client");
    let mut acknowledged = Vec::new();
    let mut number = 0;
    while !*stop.borrow() {
        let id = format!("wamid.crash{sender}x{number}");
        let customer = 5_691_000_000 + (sender * 7 + number % 7) as u64;
        let body = webhook_body(1, customer, &id, &format!("mensaje {number}"));
        loop {
            let base = format!("http://{}", *address.borrow());
            let answer = try_post_webhook(&client, &base, body.clone()).await;
            if answer.is_ok_and(|answer| answer.status() == 200) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        acknowledged.push(id);
        number += 1;
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_or_doubled_by_kill_9() {
    let seed = 20_261_124;
    let mut random = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let config = TestConfig::default().write(folder.path());
    let mut server = ServerProcess::start(&server_binary(), &config, None);
    let (moved, address) = watch::channel(server.address);
    let (stop, stopped) = watch::channel(false);
    let token = mint_token(1, None);
    let head = head_cursor(server.address, &token).await;

    let mut ledgers = Vec::new();
    let mut followers = Vec::new();
    for transport in Transport::ALL.into_iter().cycle().take(6) {
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        followers.push(tokio::spawn(follow(
            transport,
            address.clone(),
            token.clone(),
            head.clone(),
            ledger.clone(),
        )));
        ledgers.push((transport, ledger));
    }
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| tokio::spawn(send(sender, address.clone(), stopped.clone())))
        .collect();

    for _ in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(random.random_range(150..700))).await;
        let binary = server_binary();
        let config = config.clone();
        server = tokio::task::spawn_blocking(move || {
            server.kill();
            ServerProcess::start(&binary, &config, None)
        })
        .await
        .expect("started again");
        moved.send(server.address).expect("followed");
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.send(true).expect("heard");
    let mut acknowledged = Vec::new();
    for sender in senders {
        acknowledged.extend(sender.await.expect("a sender"));
    }
    assert!(acknowledged.len() > KILLS * SENDERS, "too little was sent to mean anything");

    let expected: BTreeSet<String> = acknowledged.iter().cloned().collect();
    let complete = tokio::time::timeout(Duration::from_secs(20), async {
        while !ledgers.iter().all(|(_, l)| l.lock().message_keys().len() >= expected.len()) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let complete = complete.await;
    // Whatever comes too much, comes now.
    tokio::time::sleep(Duration::from_millis(300)).await;
    followers.iter().for_each(tokio::task::JoinHandle::abort);

    let reference = ledgers[0].1.lock().facts();
    for (transport, ledger) in &ledgers {
        let ledger = ledger.lock();
        let keys = ledger.message_keys();
        let distinct: BTreeSet<String> = keys.iter().cloned().collect();
        assert_eq!(distinct.len(), keys.len(), "{transport:?} was given a message twice");
        let missing: Vec<_> = expected.difference(&distinct).collect();
        assert!(missing.is_empty(), "{transport:?} misses {missing:?} (seed {seed})");
        assert_eq!(ledger.resets, 0, "{transport:?} was reset");
        assert_eq!(ledger.facts(), reference, "{transport:?} saw other facts or another order");
        assert!(ledger.connections > 1, "{transport:?} never had to resume");
    }
    complete.expect("all followers caught up in time");
    eprintln!("{} messages, {KILLS} kills, {} followers", expected.len(), ledgers.len());
}

async fn head_cursor(address: SocketAddr, token: &str) -> String {
    let url = format!("http://{address}/v1/events");
    let answer = reqwest::Client::new().get(url).bearer_auth(token).send().await.expect("answered");
    let body = answer.bytes().await.expect("a body");
    text(&serde_json::from_slice::<serde_json::Value>(&body).expect("JSON")["cursor"])
}
