//! Customers who answer what they are sent, so that the demo's chat is one.

use std::{sync::Arc, time::Duration};

use rand::RngExt;
use serde_json::json;

use super::{
    super::{
        cast::CUSTOMERS,
        payloads::{self, CloudMessage},
    },
    Shared,
    courier::Parcel,
    plan::rng,
    taking::Handed,
};

/// One in five lets it rest.
const SILENT_PERMILLE: u16 = 200;
const WRITES_AFTER_MS: std::ops::Range<u64> = 1_500..6_000;
const ANSWERS: &[&str] = &[
    "Listo, muchas gracias 🙌",
    "Perfecto, quedo atenta",
    "¿Y hacen envíos a Medellín?",
    "Súper, ¿me confirma el total por favor?",
    "Ah bueno, entonces paso mañana",
    "Gracias por responder tan rápido 😊",
    "¿Tienen en otro color?",
    "Dale, hágale",
    "Un momento y le confirmo",
    "¿Puedo pagar por transferencia?",
];
const OF_TEMPLATES: &[&str] =
    &["Sí, me interesa", "Gracias por avisar", "¿Hasta cuándo va?", "STOP"];

/// Lets the recipient of this message answer it after a while.
pub(super) fn answer(shared: &Arc<Shared>, handed: &Handed, wa_message_id: &str) {
    let mut rng = rng(shared.settings.seed, wa_message_id, 0);
    if rng.random_range(0..1000) < SILENT_PERMILLE || handed.kind == "reaction" {
        return;
    }
    let answers = if handed.kind == "template" { OF_TEMPLATES } else { ANSWERS };
    let text = answers[rng.random_range(0..answers.len())];
    let after = Duration::from_millis(rng.random_range(WRITES_AFTER_MS));
    let quotes = rng.random_ratio(1, 4);
    let time = shared.clock.now().plus_ms(i64::try_from(after.as_millis()).unwrap_or_default());
    let number = shared.courier.next_number();
    let known = CUSTOMERS.iter().find(|(_, number)| *number == handed.recipient);
    let name = known.map_or("Cliente", |(name, _)| name);
    let parcel = if handed.provider == "waha" {
        let id = format!("false_{}@c.us_3A{:X}{number:08X}", handed.recipient, shared.run);
        let payload = json!({
            "id": id, "timestamp": time.0.div_euclid(1000),
            "from": format!("{}@c.us", handed.recipient), "fromMe": false, "source": "app",
            "to": "576015550100@c.us", "body": text, "hasMedia": false, "ack": 1,
            "_data": {"notifyName": name, "type": "chat"},
        });
        Parcel::Waha(payloads::waha_event(&handed.sender, "message", number, &payload, time))
    } else {
        Parcel::Cloud(payloads::cloud_message(CloudMessage {
            phone_number_id: &handed.sender,
            from: &handed.recipient,
            name,
            wamid: &format!("wamid.sim{:x}a{number}", shared.run),
            kind: "text",
            body: &json!({"body": text}),
            reply_to: Some(wa_message_id).filter(|_| quotes),
            time,
        }))
    };
    shared.courier.send(after, parcel);
}
