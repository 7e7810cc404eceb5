//! `condorito tail`: follows the feed in a terminal, over any of the three transports, and goes
//! on from its cursor after every disconnect.
//!
//! Each transport knows how to follow until it can't ([`Ended`]); the loop here decides whether
//! to come back. What arrives is the same on all three and goes to [`Printer`].

mod poll;
mod printer;
mod sse;
mod ws;

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::Value;
use url::Url;

use self::printer::Printer;
pub use self::printer::plain;
use super::{Failure, SettingsArgs, failure::chain, token};
use crate::{config::Settings, runtime::backoff::Backoff};

const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Silence after which a connection counts as lost: several of the server's heartbeats.
const SILENCE_MAX: Duration = Duration::from_secs(90);

/// Follow the feed of one tenant, resuming by cursor after disconnects.
///
/// Lines go to standard output; what happens to the connection goes to standard error.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  condorito tail                                   the local server, with a token minted for it
  condorito tail --transport sse --types new_message,message_status_updated
  condorito tail --url https://crm.example --token \"$TOKEN\" --json | jq .data
  condorito tail --cursor k3v9q-184467-1 --limit 10")]
pub struct TailArgs {
    /// The server [default: the one of the settings' listener.address]
    #[arg(long, env = "CONDORITO_URL")]
    url: Option<Url>,
    /// Token to show [default: one minted with the configured secret]
    #[arg(long, env = "CONDORITO_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Tenant of the token that is minted when none is given
    #[arg(long, default_value_t = 1)]
    client_id: u32,
    /// How to connect
    #[arg(long, value_enum, default_value_t = Transport::Ws)]
    transport: Transport,
    /// Start after this event; without it, with what happens from now on
    #[arg(long)]
    cursor: Option<String>,
    /// Only these types of events
    #[arg(long, value_delimiter = ',')]
    types: Vec<String>,
    /// Only this conversation's events
    #[arg(long)]
    conversation: Option<u32>,
    /// Print each event as the server sent it, one JSON object a line
    #[arg(long)]
    json: bool,
    /// Stop after this many events
    #[arg(long)]
    limit: Option<u64>,
}

/// How to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Transport {
    /// WebSocket
    Ws,
    /// Server-Sent Events
    Sse,
    /// Long polling
    Poll,
}

/// Why a transport stopped following.
enum Ended {
    /// Come back later.
    Lost(String),
    /// The server says that it stops: come back after this.
    Draining(Duration),
    /// The token no longer holds.
    TokenRefused(String),
    /// As many events as were wanted, or nobody reads on.
    Enough,
}

/// What all transports need to know.
struct Target {
    base: Url,
    token: String,
    types: Vec<String>,
    conversation: Option<u32>,
}

pub async fn run(args: TailArgs, settings: SettingsArgs) -> Result<(), Failure> {
    let settings = settings.load_unchecked()?.settings;
    let mut printer = Printer::new(args.json, args.limit, args.cursor.clone());
    let follow = follow(&args, &settings, &mut printer);
    let stopped = tokio::select! {
        ended = follow => ended,
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    printer.say_goodbye();
    stopped
}

async fn follow(
    args: &TailArgs,
    settings: &Settings,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let mut target = Target {
        base: base_url(args, settings)?,
        token: first_token(args, settings)?,
        types: args.types.clone(),
        conversation: args.conversation,
    };
    let client = http_client()?;
    let mut backoff = Backoff::new(FIRST_RETRY, LONGEST_RETRY);
    loop {
        let events_before = printer.frames();
        let ended = match args.transport {
            Transport::Ws => ws::follow(&target, printer).await?,
            Transport::Sse => sse::follow(&client, &target, printer).await?,
            Transport::Poll => poll::follow(&client, &target, printer).await?,
        };
        if printer.frames() > events_before {
            backoff.reset();
        }
        let delay = match ended {
            Ended::Enough => return Ok(()),
            Ended::Draining(delay) => {
                printer.notice(&format!("the server is stopping; back in {delay:.1?}"));
                delay
            }
            Ended::Lost(why) if !printer.was_connected() => {
                return Err(Failure::server(format!("can't follow {}", target.base), why)
                    .advice("start the server with `condorito serve`, or name it with --url"));
            }
            Ended::Lost(why) => {
                let delay = backoff.next_delay();
                printer.notice(&format!("disconnected: {why}; again in {delay:.1?}"));
                delay
            }
            Ended::TokenRefused(why)
                if args.token.is_some() || printer.frames() == events_before =>
            {
                return Err(Failure::server("the server does not accept the token", why)
                    .advice("get a fresh one: `condorito token`, or from your issuer"));
            }
            Ended::TokenRefused(_) => {
                target.token = token::for_client(settings, args.client_id)?;
                Duration::ZERO
            }
        };
        tokio::time::sleep(delay).await;
    }
}

fn base_url(args: &TailArgs, settings: &Settings) -> Result<Url, Failure> {
    super::server_url(args.url.as_ref(), settings)
}

fn first_token(args: &TailArgs, settings: &Settings) -> Result<String, Failure> {
    match &args.token {
        Some(token) => Ok(token.clone()),
        None => token::for_client(settings, args.client_id),
    }
}

fn http_client() -> Result<reqwest::Client, Failure> {
    reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(SILENCE_MAX)
        .build()
        .map_err(|error| Failure::failed("no HTTP client", chain(&error)))
}

impl Target {
    /// The address of a transport, with cursor and filters.
    fn url(&self, path: &str, cursor: Option<&str>) -> Url {
        let mut url = self.base.clone();
        let joined = format!("{}{path}", url.path().trim_end_matches('/'));
        url.set_path(&joined);
        {
            let mut query = url.query_pairs_mut();
            if let Some(cursor) = cursor {
                query.append_pair("cursor", cursor);
            }
            if !self.types.is_empty() {
                query.append_pair("types", &self.types.join(","));
            }
            if let Some(conversation) = self.conversation {
                query.append_pair("conversation_id", &conversation.to_string());
            }
        }
        if url.query() == Some("") {
            url.set_query(None);
        }
        url
    }

    fn authorization(&self) -> String {
        format!("Bearer {}", self.token)
    }
}

/// What an answer other than the one hoped for means: an end, or a failure that trying again
/// does not mend.
fn refused(status: u16, body: &[u8]) -> Result<Ended, Failure> {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let told = problem["detail"].as_str().or(problem["title"].as_str());
    let told = printer::plain(told.unwrap_or("no reason given"));
    match status {
        401 => Ok(Ended::TokenRefused(told)),
        408 | 429 | 500.. => Ok(Ended::Lost(format!("the server answered {status}: {told}"))),
        _ => Err(Failure::server(format!("the server answered {status}"), told)),
    }
}

/// Why a request got no answer.
fn unreachable(error: &dyn std::error::Error) -> Ended {
    Ended::Lost(chain(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(types: &[&str], conversation: Option<u32>) -> Target {
        Target {
            base: "https://crm.example/base/".parse().unwrap(),
            token: "a.b.c".to_owned(),
            types: types.iter().map(|&name| name.to_owned()).collect(),
            conversation,
        }
    }

    #[test]
    fn addresses_carry_cursor_and_filters() {
        let url = target(&["new_message", "stats_updated"], Some(7)).url("/v1/ws", Some("e-1-0"));
        assert_eq!(
            url.as_str(),
            "https://crm.example/base/v1/ws?cursor=e-1-0&types=new_message%2Cstats_updated\
             &conversation_id=7"
        );
        assert_eq!(
            target(&[], None).url("/v1/ws", None).as_str(),
            "https://crm.example/base/v1/ws"
        );
    }

    #[test]
    fn comes_back_only_where_that_can_help() {
        let problem = br#"{"title":"t","detail":"the d\u001b[31metail"}"#;
        assert!(matches!(refused(503, problem), Ok(Ended::Lost(_))));
        assert!(matches!(refused(429, b"<html>"), Ok(Ended::Lost(_))));
        assert!(
            matches!(refused(401, problem), Ok(Ended::TokenRefused(why)) if !why.contains('\u{1b}'))
        );
        let failure = refused(400, problem).err().unwrap().to_string();
        assert!(failure.contains("the server answered 400"), "{failure}");
    }
}
