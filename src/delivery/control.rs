//! The JSON of control frames (PROTOCOL.md): they carry no `id` and do not move the cursor.

use serde::Serialize;

use crate::{domain::time::Timestamp, wire::types::Snapshot};

/// Version of the contract, told in `hello`.
const PROTOCOL_VERSION: u32 = 1;

/// The heartbeat that a client without sight of WebSocket pings or comments asked for.
pub const PING: &[u8] = br#"{"type":"ping","data":{}}"#;

#[derive(Serialize)]
struct Control<T> {
    #[serde(rename = "type")]
    kind: &'static str,
    data: T,
}

fn control<T: Serialize>(kind: &'static str, data: T) -> Vec<u8> {
    // The shapes below have string keys and finite numbers, so this does not fail.
    serde_json::to_vec(&Control { kind, data }).unwrap_or_default()
}

/// `hello`, the first frame: where the subscriber stands, and what it may expect.
pub fn hello(
    cursor: &str,
    heartbeat_ms: u64,
    connection_id: &str,
    token_expires_at: Timestamp,
) -> Vec<u8> {
    #[derive(Serialize)]
    struct Hello<'a> {
        cursor: &'a str,
        protocol: u32,
        heartbeat_ms: u64,
        connection_id: &'a str,
        token_expires_at: Timestamp,
    }
    let protocol = PROTOCOL_VERSION;
    control("hello", Hello { cursor, protocol, heartbeat_ms, connection_id, token_expires_at })
}

/// `snapshot`: all that a screen starts from.
pub fn snapshot(snapshot: &Snapshot) -> Vec<u8> {
    control("snapshot", snapshot)
}

/// `reset`: the client reloads the snapshot and goes on from `cursor`.
pub fn reset(reason: &str, cursor: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Reset<'a> {
        reason: &'a str,
        cursor: &'a str,
    }
    control("reset", Reset { reason, cursor })
}

/// `draining`: the instance is about to stop.
pub fn draining(reconnect_after_ms: u64) -> Vec<u8> {
    #[derive(Serialize)]
    struct Draining {
        reconnect_after_ms: u64,
    }
    control("draining", Draining { reconnect_after_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_frames_are_the_contracts() {
        let hello = hello("k3v9q-7-1", 25_000, "c1", Timestamp(1_795_515_330_123));
        assert_eq!(
            String::from_utf8(hello).unwrap(),
            r#"{"type":"hello","data":{"cursor":"k3v9q-7-1","protocol":1,"heartbeat_ms":25000,"connection_id":"c1","token_expires_at":"2026-11-24T10:15:30.123Z"}}"#
        );
        assert_eq!(
            reset("expired_cursor", "k3v9q-9-65535"),
            br#"{"type":"reset","data":{"reason":"expired_cursor","cursor":"k3v9q-9-65535"}}"#
        );
        assert_eq!(draining(1_200), br#"{"type":"draining","data":{"reconnect_after_ms":1200}}"#);
    }
}
