//! Given events, when one more comes, then this holds.

use uuid::Uuid;

use super::fold;
use crate::domain::{
    event::{Event, EventData, IncomingMessage},
    ids::{ClientId, ConversationId, EventId, MessageId},
    message::MessageKind,
    public::PublicEvent,
    state::MemoryState,
    time::Timestamp,
};

const TENANT: ClientId = ClientId(1);

#[test]
fn a_message_of_a_new_contact_opens_the_conversation_and_is_published_with_it() {
    let mut state = MemoryState::default();
    let event = Event {
        id: EventId(Uuid::from_u128(1)),
        client_id: TENANT,
        time: Timestamp(1_000_000),
        actor: "whatsapp_cloud".to_owned(),
        causation: None,
        data: EventData::MessageReceived(IncomingMessage {
            conversation_id: ConversationId(1),
            message_id: MessageId(Uuid::from_u128(7)),
            wa_message_id: "wamid.7".to_owned(),
            dedupe_key: "wamid.7".to_owned(),
            kind: MessageKind::Text,
            text: Some("hello".to_owned()),
            media: None,
            payload: None,
            reply_to: None,
            sent_at: Timestamp(999_000),
            imported: false,
            status: None,
        }),
    };
    let public = fold(&mut state, &event);
    let [PublicEvent::NewMessage { conversation, .. }, PublicEvent::StatsUpdated] = &public[..]
    else {
        panic!("{public:?}");
    };
    assert_eq!(conversation.unread_count, 1);
    assert_eq!(fold(&mut state, &event), []);
}
