//! Conversations by what a user types: words of the contact, of the messages, parts of a number.
//!
//! FTS5 finds contacts and messages; what they belong to is then listed like any other page of
//! conversations, newest activity first. Only the newest [`MATCHES_MAX`] messages that match are
//! looked at, so that a word that stands in every message costs no more than a rare one.

use std::collections::BTreeSet;

use rusqlite::Connection;

use super::{
    stored::conversation_of,
    words::{SearchWords, search_words},
};
use crate::domain::ids::ClientId;

/// Messages that match, and contacts that match, looked at: beyond that older messages are not
/// found, and a longer search finds them.
const MATCHES_MAX: i64 = 10_000;

/// Rows of the tenant's conversations in which `text` is found.
pub(super) fn matching_conversations(
    connection: &Connection,
    client: ClientId,
    text: &str,
) -> rusqlite::Result<BTreeSet<i64>> {
    let mut found = BTreeSet::new();
    let Some(SearchWords { contact, message }) = search_words(client, text) else {
        return Ok(found);
    };
    let mut contacts = connection.prepare_cached(
        "SELECT rowid FROM contact_words WHERE contact_words MATCH ?1 ORDER BY rowid DESC LIMIT ?2",
    )?;
    let mut rows = contacts.query((contact, MATCHES_MAX))?;
    while let Some(row) = rows.next()? {
        found.insert(row.get(0)?);
    }
    let mut messages = connection.prepare_cached(
        "SELECT conversation_row FROM (SELECT rowid FROM message_words \
         WHERE message_words MATCH ?1 ORDER BY rowid DESC LIMIT ?2) AS hit \
         JOIN message ON message.row = hit.rowid",
    )?;
    let mut rows = messages.query((message, MATCHES_MAX))?;
    while let Some(row) = rows.next()? {
        found.insert(row.get(0)?);
    }
    // The words name the tenant; this holds even if they did not.
    found.retain(|&row| conversation_of(row).0 == client);
    Ok(found)
}
