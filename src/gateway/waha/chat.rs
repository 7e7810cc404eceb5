//! Ids of chats and of messages, and what they tell of whom it is about.

use super::super::identity;
use crate::domain::{conversation::Contact, message::Direction};

/// Longer than any lid, which are some 15 digits.
const MAX_LID_BYTES: usize = 64;

/// What a chat's id stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chat<'a> {
    /// A person by number, without `@c.us` and the device.
    Phone(&'a str),
    /// A person by WhatsApp's hidden id, without `@lid`.
    Lid(&'a str),
    /// Groups, channels, stories, broadcast lists, WhatsApp's own announcements.
    NotOnePerson,
}

impl<'a> Chat<'a> {
    /// `None` when it is no chat's id at all.
    pub(super) fn parse(id: &'a str) -> Option<Self> {
        let (user, server) = id.trim().split_once('@')?;
        let user = user.split(':').next().unwrap_or(user);
        Some(match server {
            "c.us" | "s.whatsapp.net" | "hosted" if user != "0" && !user.is_empty() => {
                Chat::Phone(user)
            }
            "lid" | "hosted.lid" if (1..=MAX_LID_BYTES).contains(&user.len()) => Chat::Lid(user),
            _ => Chat::NotOnePerson,
        })
    }

    /// Adds it to what is known of a contact. What is known already stays.
    pub(super) fn add_to(self, contact: &mut Contact) {
        match self {
            Chat::Phone(number) => identity::add(contact, Some(number)),
            Chat::Lid(lid) => _ = contact.lid.get_or_insert_with(|| lid.to_owned()),
            Chat::NotOnePerson => {}
        }
    }
}

/// `false_1111@c.us_AAA` or `false_1111@g.us_AAA_2222@c.us`, taken apart; or `AAA` alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MessageId<'a> {
    pub(super) from_me: Option<bool>,
    pub(super) chat: Option<&'a str>,
    /// The part that WhatsApp drew; the whole when it is of another form.
    pub(super) drawn: &'a str,
}

impl<'a> MessageId<'a> {
    pub(super) fn parse(id: &'a str) -> Self {
        Self::parts(id.trim()).unwrap_or(Self { from_me: None, chat: None, drawn: id.trim() })
    }

    /// The key of the message with this id, seen from its session: `in:AAA` or `out:AAA`. An id
    /// without its direction is of a message that went this way `otherwise`.
    pub(super) fn key(self, otherwise: Direction) -> String {
        let outbound = self.from_me.unwrap_or(otherwise == Direction::Outbound);
        format!("{}:{}", if outbound { "out" } else { "in" }, self.drawn)
    }

    fn parts(id: &'a str) -> Option<Self> {
        let (flag, rest) = id.split_once('_')?;
        let from_me = match flag {
            "true" => true,
            "false" => false,
            _ => return None,
        };
        // The name before the @ may hold an underscore.
        let server_at = rest.find('@')?;
        let chat_end = server_at + rest[server_at..].find('_')?;
        let drawn = rest[chat_end + 1..].split('_').next().filter(|drawn| !drawn.is_empty())?;
        Some(Self { from_me: Some(from_me), chat: Some(&rest[..chat_end]), drawn })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_chats() {
        assert_eq!(Chat::parse("573001112233@c.us"), Some(Chat::Phone("573001112233")));
        assert_eq!(Chat::parse("573001112233:7@s.whatsapp.net"), Some(Chat::Phone("573001112233")));
        assert_eq!(Chat::parse("9999@lid"), Some(Chat::Lid("9999")));
        for other in ["12036@g.us", "12@newsletter", "status@broadcast", "0@c.us", "@c.us"] {
            assert_eq!(Chat::parse(other), Some(Chat::NotOnePerson), "{other}");
        }
        assert_eq!(Chat::parse("me"), None);
    }

    #[test]
    fn one_message_has_one_key_under_each_of_its_ids() {
        let keys = ["false_1111@c.us_AAA", "false_99@lid_AAA", "false_1@g.us_AAA_99@lid", "AAA"]
            .map(|id| MessageId::parse(id).key(Direction::Inbound));
        assert_eq!(keys, ["in:AAA"; 4]);
        assert_eq!(MessageId::parse("true_1111@c.us_AAA").key(Direction::Inbound), "out:AAA");
        assert_eq!(MessageId::parse("AAA").key(Direction::Outbound), "out:AAA");
        let id = MessageId::parse("true_1111@c.us_AAA");
        assert_eq!((id.from_me, id.chat), (Some(true), Some("1111@c.us")));
        for odd in ["true_1111@c.us_", "true_", "maybe_1@c.us_A", "true_1111_A", ""] {
            assert_eq!(MessageId::parse(odd).drawn, odd, "kept whole");
        }
    }
}
