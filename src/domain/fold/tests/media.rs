//! Copies of media: named at once, told when they are here.

use super::{events::incoming, *};
use crate::domain::{
    event::{IncomingMessage, MessageAmendment},
    message::{CopyState, Media, MediaFailure, MessageKind, StoredMedia},
};

fn picture(number: u128) -> EventData {
    EventData::MessageReceived(IncomingMessage {
        kind: MessageKind::Image,
        media: Some(Media { id: Some("m".to_owned()), ..Media::default() }),
        dedupe_key: format!("w{number}"),
        ..incoming(1, number, NOON)
    })
}

fn stored(number: u128) -> EventData {
    EventData::MediaStored {
        conversation_id: ConversationId(1),
        message_id: message_id(number),
        media: StoredMedia { mime_type: "image/png".to_owned(), size: 9, sha256: "ab".to_owned() },
    }
}

fn failed(number: u128) -> EventData {
    EventData::MediaFailed {
        conversation_id: ConversationId(1),
        message_id: message_id(number),
        reason: MediaFailure::Gone,
    }
}

fn state(world: &World, number: u128) -> Option<CopyState> {
    world.message(number).media.as_ref()?.copy.map(|copy| copy.state)
}

#[test]
fn a_copy_is_named_with_its_message_and_told_once_it_is_here() {
    let mut world = World::given([picture(7)]);
    let copy = world.message(7).media.as_ref().and_then(|media| media.copy);
    assert_eq!(copy.map(|copy| copy.id.0), Some(message_id(7).0));
    assert_eq!(state(&world, 7), Some(CopyState::Pending));
    let public = world.when(stored(7));
    let [PublicEvent::NewMessage { message, .. }] = &public[..] else { panic!("{public:?}") };
    assert!(message.is_notice());
    assert_eq!(message.media, world.message(7).media);
    assert_eq!(
        message.payload.as_ref().map(|payload| &payload["event"]),
        Some(&"media_stored".into())
    );
    assert_eq!(
        world.message(7).media.as_ref().and_then(|media| media.sha256.clone()),
        Some("ab".to_owned())
    );
    // Another instance fetched it too; a failure that comes late is none.
    world.unmoved_by(stored(7));
    world.unmoved_by(failed(7));
}

#[test]
fn one_that_was_given_up_may_come_after_all() {
    let mut world = World::given([picture(7)]);
    assert_eq!(world.when(failed(7)).len(), 1);
    assert_eq!(state(&world, 7), Some(CopyState::Failed));
    world.unmoved_by(failed(7));
    assert_eq!(world.when(stored(7)).len(), 1);
    assert_eq!(state(&world, 7), Some(CopyState::Stored));
}

#[test]
fn what_is_not_there_has_no_copy() {
    let mut world = World::given([picture(7)]);
    world.unmoved_by(stored(8));
    world.when(EventData::MessageRevoked(MessageAmendment {
        conversation_id: ConversationId(1),
        message_id: message_id(9),
        dedupe_key: "r".to_owned(),
        target: "w7".to_owned(),
        text: None,
        outbound: false,
        at: NOON,
    }));
    world.unmoved_by(stored(7));
}
