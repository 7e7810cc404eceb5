//! `condorito token`: a token for trying things out, signed with the configured secret.

use clap::Args;
use jiff::SignedDuration;

use super::{Failure, SettingsArgs, print};
use crate::{
    auth::{
        AuthSettings, Scopes,
        mint::{Mint, MintError, mint},
    },
    config::{Settings, demo},
    domain::ids::ClientId,
    runtime::clock::{Clock, SystemClock},
};

/// Scopes of a token when none are asked for.
const USUAL_SCOPES: &str =
    "events:read messages:read messages:write bulk:write bot:write ingest:write tenant:write";

/// Whose tokens these are when nobody is named.
const SUBJECT: &str = "condorito-cli";

/// Mint a token for trying the API out. A real installation has an issuer of its own.
///
/// The token is signed (HS256) with auth.secret; after `serve --demo` with the demo's secret.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  condorito token --client-id 1
  condorito token --client-id 1 --scope events:read,messages:read --ttl 8h
  curl -H \"Authorization: Bearer $(condorito token --client-id 1)\" localhost:8080/v1/stats")]
pub struct TokenArgs {
    /// The tenant's number
    #[arg(long, default_value_t = 1)]
    client_id: u32,
    /// Who the token is for (the `sub` claim)
    #[arg(long, default_value = SUBJECT)]
    subject: String,
    /// What it allows: events:read messages:read messages:write bulk:write bot:write ingest:write
    /// tenant:write admin [default: all but admin]
    #[arg(long, value_delimiter = ',', value_parser = scope)]
    scope: Vec<Scopes>,
    /// How long it holds, like 90s, 30m, 8h or 7d
    #[arg(long, default_value = "1h", value_parser = positive_duration)]
    ttl: SignedDuration,
}

pub fn run(args: &TokenArgs, settings: &SettingsArgs) -> Result<(), Failure> {
    let settings = settings.load_unchecked()?.settings;
    let scopes = args.scope.iter().copied().reduce(Scopes::with).unwrap_or_else(usual_scopes);
    let order = Mint {
        subject: args.subject.clone(),
        client_id: ClientId(args.client_id),
        scopes,
        ttl_s: args.ttl.as_secs().unsigned_abs(),
    };
    print(&format!("{}\n", sign(&settings, &order)?))
}

/// Everything that a tenant's own people do.
pub fn usual_scopes() -> Scopes {
    Scopes::parse(USUAL_SCOPES)
}

/// A token for a client command that was given none.
pub fn for_client(settings: &Settings, client_id: u32) -> Result<String, Failure> {
    const TTL_S: u64 = 3600;
    let scopes = Scopes::EVENTS_READ.with(Scopes::MESSAGES_READ);
    sign_for(settings, ClientId(client_id), scopes, TTL_S)
}

/// A token in the command line's own name.
pub fn sign_for(
    settings: &Settings,
    client_id: ClientId,
    scopes: Scopes,
    ttl_s: u64,
) -> Result<String, Failure> {
    sign(settings, &Mint { subject: SUBJECT.to_owned(), client_id, scopes, ttl_s })
}

fn sign(settings: &Settings, order: &Mint) -> Result<String, Failure> {
    mint(&signing_settings(settings), order, SystemClock.now()).map_err(|error| {
        let failure = Failure::failed("no token was made", &error);
        match error {
            MintError::NoSecret => failure.advice(
                "give --config FILE with auth.secret, or --data-dir of a `serve --demo`; tokens of \
                 a public key's owner are made by their issuer",
            ),
            MintError::Settings(_) | MintError::Sign(_) => failure,
        }
    })
}

/// The configured secret, else the demo's when there is one.
fn signing_settings(settings: &Settings) -> AuthSettings {
    let mut settings = settings.clone();
    use_demo_secret(&mut settings);
    settings.auth
}

/// Where no secret is configured and a demo has left its own in the data folder, takes that.
pub fn use_demo_secret(settings: &mut Settings) {
    let demo_secret = demo::secret_file(&settings.data_dir);
    let auth = &mut settings.auth;
    if auth.secret.is_none() && auth.secret_file.is_none() && demo_secret.exists() {
        auth.secret_file = Some(demo_secret);
    }
}

fn scope(text: &str) -> Result<Scopes, String> {
    let unknown = || {
        let names = Scopes::NAMES.map(|(name, _)| name).join(", ");
        format!("there is no scope {text:?}; there are {names}")
    };
    let scopes = text.split_whitespace().map(|name| Scopes::named(name).ok_or_else(unknown));
    scopes.reduce(|a, b| Ok(a?.with(b?))).ok_or_else(unknown)?
}

fn positive_duration(text: &str) -> Result<SignedDuration, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<i64>().ok());
    let duration = match days {
        Some(days) => Some(SignedDuration::from_hours(days.saturating_mul(24))),
        None => text.parse().ok(),
    };
    duration
        .filter(|duration: &SignedDuration| duration.as_secs() > 0)
        .ok_or_else(|| "write it like 90s, 30m, 8h or 7d".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_scopes_and_durations() {
        assert_eq!(scope("events:read admin"), Ok(Scopes::EVENTS_READ.with(Scopes::ADMIN)));
        assert!(scope("event:read").is_err());
        assert!(scope("").is_err());
        for (text, seconds) in [("90s", 90), ("30m", 1_800), ("8h", 28_800), ("7d", 604_800)] {
            assert_eq!(positive_duration(text).unwrap().as_secs(), seconds);
        }
        for text in ["", "0s", "-1h", "soon", "10"] {
            assert!(positive_duration(text).is_err(), "{text}");
        }
    }
}
