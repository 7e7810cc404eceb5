//! What holds for every body, also for those that no provider would send.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    Inbound, WebhookError,
    fixtures_test::{NOW, SECRET, cloud, waha},
    waha, whatsapp_cloud,
};
use crate::domain::intake::Intake;

fn receive_cloud(body: &[u8]) -> Result<Inbound, WebhookError> {
    cloud().receive(Some(&whatsapp_cloud::sign(SECRET, body)), body, NOW)
}

fn receive_waha(body: &[u8]) -> Result<Inbound, WebhookError> {
    waha().receive(Some(&waha::sign(SECRET, body)), body, NOW)
}

fn good(index: usize) -> Value {
    json!({"from": "573001112233", "id": format!("wamid.good{index}"), "type": "text",
           "timestamp": "1748454394", "text": {"body": "Hola"}})
}

fn good_ids(inbound: &Inbound) -> Vec<&str> {
    inbound
        .items
        .iter()
        .filter_map(|(_, intake)| match intake {
            Intake::Message { message, .. } if message.wa_message_id.starts_with("wamid.good") => {
                Some(message.wa_message_id.as_str())
            }
            _ => None,
        })
        .collect()
}

fn cloud_value(value: Value) -> Value {
    let change = json!({"field": "messages", "value": value});
    cloud_changes(vec![change])
}

fn cloud_changes(changes: Vec<Value>) -> Value {
    json!({"object": "whatsapp_business_account",
           "entry": [{"id": "102290129340398", "changes": changes}]})
}

fn metadata() -> Value {
    json!({"phone_number_id": "106540352242922", "display_phone_number": "576015550100"})
}

/// Names that the readers look for, so that garbage reaches deep into them.
fn field_name() -> impl Strategy<Value = String> {
    let known = [
        "from",
        "to",
        "id",
        "timestamp",
        "type",
        "text",
        "body",
        "image",
        "context",
        "errors",
        "statuses",
        "status",
        "recipient_id",
        "messages",
        "contacts",
        "profile",
        "wa_id",
        "system",
        "reaction",
        "message_id",
        "edit",
        "original_message_id",
        "message",
        "history",
        "threads",
        "metadata",
        "value",
        "changes",
        "entry",
        "field",
        "payload",
        "event",
        "session",
        "me",
        "_data",
        "media",
        "replyTo",
        "fromMe",
        "ack",
        "group_id",
        "data",
        "restriction_info",
    ];
    prop_oneof![
        8 => proptest::sample::select(known.to_vec()).prop_map(str::to_owned),
        1 => ".{0,8}",
    ]
}

fn any_text() -> impl Strategy<Value = String> {
    let known = [
        "text",
        "edit",
        "revoke",
        "system",
        "reaction",
        "interactive",
        "messages",
        "history",
        "573001112233",
        "CO.1000",
        "false_573001112233@c.us_AAA",
        "true_1@g.us_A_2@lid",
        "1@lid",
        "message",
        "message.ack",
        "session.status",
        "true",
        "1748454394",
        "shop",
        "",
    ];
    prop_oneof![
        3 => proptest::sample::select(known.to_vec()).prop_map(str::to_owned),
        1 => ".{0,16}",
    ]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::vec((field_name(), inner), 0..8)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Garbage that can't be taken for a good message.
fn garbage() -> impl Strategy<Value = Value> {
    any_json().prop_filter("claims to be good", |value| !value.to_string().contains("wamid.good"))
}

/// `good` messages in their order, with garbage strewn between them.
fn strewn(count: usize, garbage: &[(usize, Value)]) -> Vec<Value> {
    let mut items: Vec<Value> = (0..count).map(good).collect();
    for (at, value) in garbage {
        items.insert(at % (items.len() + 1), value.clone());
    }
    items
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_a_receiver_panic(body in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = (receive_cloud(&body), receive_waha(&body));
    }

    #[test]
    fn no_cut_and_no_broken_byte_does(cut in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut body = cloud_value(json!({"metadata": metadata(), "messages": [good(1)],
            "statuses": [{"id": "w", "status": "read", "recipient_id": "573001112233"}]}))
            .to_string().into_bytes();
        let at = cut.index(body.len());
        prop_assert!(receive_cloud(&body[..at]).is_err());
        body[at] = byte;
        let _ = receive_cloud(&body);
    }

    #[test]
    fn no_json_does(value in any_json()) {
        let whole = |value: &Value| value.to_string().into_bytes();
        let _ = (receive_cloud(&whole(&value)), receive_waha(&whole(&value)));
        for event in ["message", "message.ack", "message.reaction", "message.edited",
                      "message.revoked", "session.status", "poll.vote"] {
            let body = json!({"event": event, "session": "shop", "payload": value});
            let inbound = receive_waha(&whole(&body)).unwrap();
            prop_assert_eq!(inbound.items.len() + inbound.ignored + inbound.unrouted, 1);
        }
        for field in ["messages", "history", "smb_message_echoes", "account_update", "calls"] {
            let mut value = value.clone();
            if let Value::Object(fields) = &mut value {
                fields.insert("metadata".to_owned(), metadata());
            }
            let body = cloud_changes(vec![json!({"field": field, "value": value})]);
            let inbound = receive_cloud(&whole(&body)).unwrap();
            prop_assert!(!inbound.items.is_empty() || inbound.ignored > 0, "nothing is lost");
        }
    }

    #[test]
    fn good_messages_come_through_whatever_stands_beside_them(
        count in 1usize..20,
        beside in proptest::collection::vec((any::<usize>(), garbage()), 0..10),
        contacts in garbage(),
        changes in proptest::collection::vec((any::<usize>(), garbage()), 0..4),
    ) {
        let value = json!({"metadata": metadata(), "contacts": contacts, "statuses": contacts,
                           "messages": strewn(count, &beside)});
        let mut all = vec![json!({"field": "messages", "value": value})];
        for (at, change) in changes {
            all.insert(at % (all.len() + 1), change);
        }
        let inbound = receive_cloud(cloud_changes(all).to_string().as_bytes()).unwrap();
        let expected: Vec<String> = (0..count).map(|index| format!("wamid.good{index}")).collect();
        prop_assert_eq!(good_ids(&inbound), expected);
    }

    /// What goes into the tenant's stream holds nobody's number, name or words.
    #[test]
    fn what_is_kept_of_the_account_holds_no_personal_data(
        name in "[a-z]{5,9} [a-z]{5,9}",
        numbers in proptest::collection::vec("57300[0-9]{7}", 2..4),
        field in "[a-z]{3,8}_update",
    ) {
        let people: Vec<Value> = numbers
            .iter()
            .map(|number| json!({"wa_id": number, "profile": {"name": name}, number: [number]}))
            .collect();
        let value = json!({"metadata": metadata(), "news": {"people": people, "said": name}});
        let body = cloud_changes(vec![json!({"field": field, "value": value})]);
        let inbound = receive_cloud(body.to_string().as_bytes()).unwrap();
        for (_, intake) in &inbound.items {
            if let Intake::Unknown { raw, .. } = intake {
                let kept = raw.to_string();
                prop_assert!(!kept.contains(&name), "{}", kept);
                prop_assert!(numbers.iter().all(|number| !kept.contains(number.as_str())));
            }
        }
    }
}

#[test]
fn a_thousand_updates_come_out_as_a_thousand() {
    let people: Vec<Value> = (0..500)
        .map(|index| json!({"wa_id": number(index), "profile": {"name": format!("P{index}")}}))
        .collect();
    let messages: Vec<Value> = (0..500)
        .map(|index| {
            let mut message = good(index);
            message["from"] = json!(number(499 - index));
            message
        })
        .collect();
    let statuses: Vec<Value> = (0..500)
        .map(|index| {
            json!({"id": format!("wamid.s{index}"), "status": "sent", "timestamp": "1748454394",
                   "recipient_id": number(index)})
        })
        .collect();
    let value = json!({"metadata": metadata(), "contacts": people, "messages": messages,
                       "statuses": statuses});
    let inbound = receive_cloud(cloud_value(value).to_string().as_bytes()).unwrap();
    assert_eq!(inbound.items.len(), 1000);
    assert_eq!(inbound.unrouted, 0);
    for (_, intake) in &inbound.items {
        if let Intake::Message { contact, message } = intake {
            let index: usize = message.wa_message_id["wamid.good".len()..].parse().unwrap();
            assert_eq!(contact.name, Some(format!("P{}", 499 - index)), "its own sender's name");
        }
    }
}

fn number(index: usize) -> String {
    format!("57300{index:07}")
}

#[test]
fn deep_nesting_and_broken_bytes_spoil_only_their_own_message() {
    let deep = "[".repeat(5000) + &"]".repeat(5000);
    let ours = |body: &str| body.replace("DEEP", &deep);
    let value = json!({"metadata": metadata(), "messages": [
        good(0), {"from": "573001112233", "id": "wamid.deep", "type": "location",
                  "location": {"latitude": "DEEP"}}, good(1)]});
    let body = ours(&cloud_value(value).to_string()).replace(&format!("\"{deep}\""), &deep);
    let inbound = receive_cloud(body.as_bytes()).unwrap();
    assert_eq!(good_ids(&inbound), ["wamid.good0", "wamid.good1"]);
    assert_eq!(inbound.items.len(), 3);

    let value = json!({"metadata": metadata(), "messages": [good(0), good(1)]});
    let mut body = cloud_value(value).to_string().into_bytes();
    let at = body.windows(4).position(|bytes| bytes == b"Hola").unwrap();
    body[at + 1] = 0xff;
    let inbound = receive_cloud(&body).unwrap();
    assert_eq!(good_ids(&inbound), ["wamid.good0", "wamid.good1"]);
    match &inbound.items[0].1 {
        Intake::Message { message, .. } => {
            assert_eq!(message.text.as_deref(), Some("H\u{fffd}la"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn entries_of_many_webhooks_in_one_are_all_taken() {
    let entry = |index: usize| {
        json!({"id": "102290129340398", "changes": [{"field": "messages", "value": {
            "metadata": metadata(), "messages": [good(index)]}}]})
    };
    let entries: Vec<Value> = (0..50).map(entry).collect();
    let body = json!({"object": "whatsapp_business_account", "entry": entries});
    let inbound = receive_cloud(body.to_string().as_bytes()).unwrap();
    assert_eq!(good_ids(&inbound).len(), 50);
}
