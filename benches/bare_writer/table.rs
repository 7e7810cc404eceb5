//! The table of the bare SQLite writer, the baseline of what is stored: the log's pragmas and its
//! index, and nothing else.

use std::path::Path;

use rusqlite::Connection;

/// Puts a row in.
pub const INSERT: &str = "INSERT INTO event (stream, revision, json) VALUES (?1, ?2, ?3)";

/// Opens a new file with the table.
pub fn open(path: &Path) -> Connection {
    let connection = Connection::open(path).expect("opens");
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             PRAGMA wal_autocheckpoint = 4000; PRAGMA cache_size = -16384;
             CREATE TABLE event (position INTEGER PRIMARY KEY, stream TEXT NOT NULL,
                 revision INTEGER NOT NULL, json BLOB NOT NULL);
             CREATE UNIQUE INDEX event_stream_revision ON event (stream, revision);",
        )
        .expect("creates");
    connection
}
