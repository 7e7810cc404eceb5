//! How a WebSocket ends: every close code that we send, and what the client does next.
//!
//! | code | when | the client |
//! | --- | --- | --- |
//! | 1000 | answer to the client's own close | nothing |
//! | 1001 | the instance drains | reconnects after `draining`'s `reconnect_after_ms`, with its cursor |
//! | 1002 | it broke RFC 6455 or 7692 | is mended |
//! | 1003 | it sent a binary message | sends text |
//! | 1007 | its text is not UTF-8, or its deflated data broken | is mended |
//! | 1008 | it sent a message of very many empty frames | is mended |
//! | 1009 | its message is too big | sends less |
//! | 1012 | the feed could not be read | reconnects with its cursor, backing off |
//! | 4400 | the query of `/v1/ws` is wrong | mends it; the `error` frame says what |
//! | 4401 | the token is missing, invalid or expired | gets a new token, reconnects with its cursor |
//! | 4403 | the token does not allow this | gets another token |
//! | 4408 | pings were not answered, or events not read | reconnects with its cursor |
//! | 4429 | too many messages or connections | waits, then reconnects with its cursor |
//!
//! A request that is a proper handshake but may not connect is upgraded and then closed: a
//! browser's page learns a close code, but never the status of a failed handshake.

use crate::{
    delivery::registry::Ending,
    wire::problem::{Code, Problem},
};

/// A close code and the reason that goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close {
    pub code: u16,
    pub reason: &'static str,
}

impl Close {
    pub const BINARY: Close = Close { code: 1003, reason: "text frames only" };
    pub const TIMEOUT: Close = Close { code: 4408, reason: "heartbeat_timeout" };
    pub const RATE_LIMITED: Close = Close { code: 4429, reason: "rate_limited" };

    /// For the ways in which a session ends by itself.
    pub fn of_ending(ending: Ending) -> Self {
        match ending {
            Ending::Client => Close { code: 1000, reason: "" },
            Ending::TokenExpired => Close { code: 4401, reason: "token_expired" },
            Ending::Draining => Close { code: 1001, reason: "draining" },
            Ending::Timeout => Close::TIMEOUT,
            Ending::Policy => Close { code: 1008, reason: "policy" },
            Ending::Unavailable | Ending::Broken => Close { code: 1012, reason: "unavailable" },
        }
    }

    /// For a client that may not connect.
    pub fn of_problem(problem: &Problem) -> Self {
        let code = match problem.code() {
            Code::Draining => 1001,
            Code::TokenMissing | Code::TokenInvalid | Code::TokenExpired => 4401,
            _ => match problem.status() {
                429 => 4429,
                403 | 404 => 4403,
                400..500 => 4400,
                _ => 1012,
            },
        };
        Close { code, reason: problem.code().as_str() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_the_close_code_by_which_the_client_knows_what_to_do() {
        for (code, close) in [
            (Code::TokenMissing, 4401),
            (Code::TokenExpired, 4401),
            (Code::ScopeMissing, 4403),
            (Code::NotFound, 4403),
            (Code::InvalidParameter, 4400),
            (Code::InvalidCursor, 4400),
            (Code::TooManyConnections, 4429),
            (Code::RateLimited, 4429),
            (Code::Draining, 1001),
            (Code::AuthUnavailable, 1012),
            (Code::LogUnavailable, 1012),
        ] {
            assert_eq!(Close::of_problem(&Problem::new(code)).code, close, "{code}");
        }
    }
}
