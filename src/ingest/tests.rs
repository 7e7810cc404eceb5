//! Webhook requests over a log in memory.

use super::*;
use crate::{
    command::view::View,
    domain::{
        conversation::Contact,
        ids::Position,
        intake::IntakeMessage,
        message::{Direction, MessageKind},
        time::Timestamp,
    },
    event_log::{EventLog, memory::MemoryLog},
    runtime::clock::{Clock, ManualClock},
};

fn message(client: u32, number: usize) -> (ClientId, Intake) {
    let contact = Contact { phone: Some("+34600000001".to_owned()), ..Contact::default() };
    let message = IntakeMessage {
        direction: Direction::Inbound,
        wa_message_id: format!("wamid.{number}"),
        dedupe_key: number.to_string(),
        kind: MessageKind::Text,
        text: None,
        media: None,
        payload: None,
        reply_to: None,
        sent_at: Timestamp(1_795_515_330_000),
        imported: true,
        status: None,
        by_api: false,
    };
    (ClientId(client), Intake::Message { contact, message })
}

fn ingest(log: &Arc<MemoryLog>) -> Ingest {
    let log = Arc::clone(log) as Arc<dyn EventLog>;
    let view = crate::command::testing::FoldView::follow(Arc::clone(&log)) as Arc<dyn View>;
    let clock = Arc::new(ManualClock::at(Timestamp(1_795_515_330_000))) as Arc<dyn Clock>;
    Ingest::new(Arc::new(Commands::over(log, view, clock)), mpsc::channel(1).0)
}

#[tokio::test]
async fn tenants_are_told_apart_and_answered_in_the_request_s_order() {
    let log = Arc::new(MemoryLog::default());
    let ingest = ingest(&log);
    let items = vec![message(2, 1), message(1, 1), message(2, 1), message(1, 2)];
    let taken = ingest.take("whatsapp_cloud", Inbound { items, unrouted: 3, ignored: 4 }).await;
    let taken = taken.expect("takes in");
    let stored: Vec<bool> =
        taken.outcomes.iter().map(|outcome| matches!(outcome, IntakeOutcome::Stored(_))).collect();
    assert_eq!(stored, [true, true, false, true]);
    assert_eq!((taken.stored, taken.duplicates), (3, 1));
    assert_eq!((taken.unrouted, taken.ignored), (3, 4));
    let records = log.read(Position::START, 100).await.expect("reads");
    for client in [1, 2].map(ClientId) {
        let of = records.iter().filter(|record| record.event.client_id == client);
        assert!(of.clone().all(|record| record.stream.client_id() == Some(client)));
        assert_eq!(of.count(), if client == ClientId(1) { 4 } else { 3 });
    }
}

#[tokio::test]
async fn more_than_a_command_takes_is_taken_in_parts() {
    let log = Arc::new(MemoryLog::default());
    let ingest = ingest(&log);
    let count = 2 * INTAKE_ITEMS_MAX + 5;
    let items = (0..count).map(|number| message(1, number)).collect();
    let taken = ingest.take("whatsapp_cloud", Inbound { items, ..Inbound::default() }).await;
    assert_eq!(taken.expect("takes in").stored, count);
}
