//! `condorito replay`: posts saved webhook payloads as their provider would, signed.

use std::{
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use clap::{Args, ValueEnum};
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use super::{Failure, SettingsArgs, failure::chain, print, tail::plain};
use crate::{
    config::Settings,
    gateway::{waha, whatsapp_cloud},
};

/// How long one answer may take: the server answers when all is durable.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Post saved webhook payloads to a server, signed as their provider would.
///
/// A file holds one JSON payload, or with the ending .jsonl one per line; `-` is standard input.
/// Each answer is reported; the exit code is 1 when one was not 2xx.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  condorito replay tests/fixtures/whatsapp_cloud/*.json
  condorito replay --secret \"$APP_SECRET\" --url https://crm.example night.jsonl --rate 50")]
pub struct ReplayArgs {
    /// Files of payloads
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The server [default: the one of the settings' listener.address]
    #[arg(long, env = "CONDORITO_URL")]
    url: Option<Url>,
    /// Whose payloads they are [default: guessed from each]
    #[arg(long, value_enum)]
    provider: Option<Provider>,
    /// Secret to sign with [default: the configured one of the provider]
    #[arg(long)]
    secret: Option<String>,
    /// Payloads a second at most [default: as fast as they are answered]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Report only what was refused, and the sum
    #[arg(long, short)]
    quiet: bool,
}

/// Whose payload it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Provider {
    /// WhatsApp Cloud API
    Whatsapp,
    /// WAHA
    Waha,
}

/// One payload and where it stands.
#[derive(Debug, PartialEq, Eq)]
struct Payload {
    place: String,
    body: Bytes,
}

#[derive(Default)]
struct Sum {
    taken: usize,
    refused: usize,
}

pub async fn run(args: ReplayArgs, settings: SettingsArgs) -> Result<(), Failure> {
    let settings = settings.load_unchecked()?.settings;
    let base = super::server_url(args.url.as_ref(), &settings)?;
    let client = reqwest::Client::builder()
        .timeout(ANSWER_TIMEOUT)
        .build()
        .map_err(|error| Failure::failed("no HTTP client", chain(&error)))?;
    let pause = args.rate.map(|rate| Duration::from_secs(1) / rate);
    let mut sum = Sum::default();
    for file in &args.files {
        for payload in payloads(file)? {
            let started = Instant::now();
            let provider = provider_of(&args, &payload)?;
            let request =
                provider.request(&client, &base, &args, &settings, payload.body.clone())?;
            report(&args, &payload, provider, request, &base, &mut sum).await?;
            if let Some(pause) = pause {
                tokio::time::sleep_until(started + pause).await;
            }
        }
    }
    print(&format!("{} taken in, {} refused\n", sum.taken, sum.refused))?;
    match sum.refused {
        0 => Ok(()),
        refused => Err(Failure::failed(
            format!("{refused} of {} payloads were refused", sum.taken + refused),
            "the server did not answer 2xx",
        )),
    }
}

async fn report(
    args: &ReplayArgs,
    payload: &Payload,
    provider: Provider,
    request: reqwest::RequestBuilder,
    base: &Url,
    sum: &mut Sum,
) -> Result<(), Failure> {
    let started = Instant::now();
    let response = request.send().await.map_err(|error| {
        Failure::server(format!("can't post to {base}"), chain(&error))
            .advice("start the server with `condorito serve`, or name it with --url")
    })?;
    let status = response.status();
    let body = response.bytes().await.unwrap_or_default();
    let took = started.elapsed();
    if status.is_success() {
        sum.taken += 1;
    } else {
        sum.refused += 1;
    }
    if args.quiet && status.is_success() {
        return Ok(());
    }
    let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
    let told =
        problem["detail"].as_str().map_or_else(String::new, |text| format!(": {}", plain(text)));
    let (place, name) = (&payload.place, provider.name());
    print(&format!("{place} ({name}) -> {} in {took:.1?}{told}\n", status.as_u16()))
}

impl Provider {
    fn name(self) -> &'static str {
        match self {
            Self::Whatsapp => "whatsapp",
            Self::Waha => "waha",
        }
    }

    /// Whose payload this is, by what only theirs have.
    fn guess(body: &[u8]) -> Option<Self> {
        let json: Value = serde_json::from_slice(body).ok()?;
        if json["object"] == "whatsapp_business_account" {
            return Some(Self::Whatsapp);
        }
        (json["event"].is_string() && json["session"].is_string()).then_some(Self::Waha)
    }

    fn request(
        self,
        client: &reqwest::Client,
        base: &Url,
        args: &ReplayArgs,
        settings: &Settings,
        body: Bytes,
    ) -> Result<reqwest::RequestBuilder, Failure> {
        let secret =
            args.secret.clone().or_else(|| self.configured_secret(settings)).ok_or_else(|| {
                Failure::Usage(format!(
                    "no secret to sign {} payloads with: give --secret, or --config FILE with {}",
                    self.name(),
                    self.setting()
                ))
            })?;
        let mut url = base.clone();
        url.set_path(&format!("{}{}", base.path().trim_end_matches('/'), self.path()));
        let (header, signature) = self.signature(&secret, &body);
        Ok(client
            .post(url)
            .header("content-type", "application/json")
            .header(header, signature)
            .body(body))
    }

    fn path(self) -> &'static str {
        match self {
            Self::Whatsapp => "/webhooks/whatsapp",
            Self::Waha => "/webhooks/waha",
        }
    }

    fn setting(self) -> &'static str {
        match self {
            Self::Whatsapp => "whatsapp_cloud.app_secrets",
            Self::Waha => "waha.hmac_key",
        }
    }

    fn signature(self, secret: &str, body: &[u8]) -> (&'static str, String) {
        match self {
            Self::Whatsapp => ("x-hub-signature-256", whatsapp_cloud::sign(secret, body)),
            Self::Waha => ("x-webhook-hmac", waha::sign(secret, body)),
        }
    }

    /// The installation's own secret, else the first of a tenant.
    fn configured_secret(self, settings: &Settings) -> Option<String> {
        match self {
            Self::Whatsapp => {
                let of_tenants =
                    settings.tenants.iter().flat_map(|tenant| &tenant.routes.app_secrets);
                let secrets = settings.whatsapp_cloud.app_secrets.iter().chain(of_tenants);
                secrets.map(|secret| secret.expose().clone()).next()
            }
            Self::Waha => {
                let sessions =
                    settings.tenants.iter().flat_map(|tenant| &tenant.routes.waha_sessions);
                let of_sessions = sessions.filter_map(|session| session.hmac_key.as_ref());
                let keys = settings.waha.hmac_key.iter().chain(of_sessions);
                keys.map(|key| key.expose().clone()).next()
            }
        }
    }
}

fn provider_of(args: &ReplayArgs, payload: &Payload) -> Result<Provider, Failure> {
    args.provider.or_else(|| Provider::guess(&payload.body)).ok_or_else(|| {
        Failure::Usage(format!(
            "{}: can't tell whose payload this is: give --provider",
            payload.place
        ))
    })
}

/// A file's payloads with their bytes as they are, for the signature is over those.
fn payloads(file: &Path) -> Result<Vec<Payload>, Failure> {
    let unreadable = |error| Failure::failed(format!("can't read {}", file.display()), error);
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut bytes).map_err(unreadable)?;
    } else {
        bytes = std::fs::read(file).map_err(unreadable)?;
    }
    let lines = file.extension().is_some_and(|ending| ending == "jsonl" || ending == "ndjson");
    Ok(split(&file.display().to_string(), Bytes::from(bytes), lines))
}

fn split(name: &str, bytes: Bytes, lines: bool) -> Vec<Payload> {
    if !lines {
        return vec![Payload { place: name.to_owned(), body: bytes }];
    }
    let numbered = bytes.split(|byte| *byte == b'\n').enumerate();
    numbered
        .filter(|(_, line)| !line.trim_ascii().is_empty())
        .map(|(index, line)| Payload {
            place: format!("{name}:{}", index + 1),
            body: bytes.slice_ref(line),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_payloads_of_their_own_and_bytes_stay_as_they_are() {
        let place = |payloads: &[Payload]| {
            let show = |p: &Payload| format!("{} {}", p.place, String::from_utf8_lossy(&p.body));
            payloads.iter().map(show).collect::<Vec<_>>()
        };
        let text = Bytes::from_static(b"{\"a\": 1}\n\n {\"b\":2}\n");
        assert_eq!(
            place(&split("f.jsonl", text.clone(), true)),
            ["f.jsonl:1 {\"a\": 1}", "f.jsonl:3  {\"b\":2}"]
        );
        assert_eq!(
            place(&split("f.json", text.clone(), false)),
            ["f.json {\"a\": 1}\n\n {\"b\":2}\n"]
        );
    }

    #[test]
    fn guesses_only_what_it_knows() {
        let body = br#"{"object":"whatsapp_business_account","entry":[]}"#;
        assert_eq!(Provider::guess(body), Some(Provider::Whatsapp));
        let body = br#"{"event":"message","session":"default","payload":{}}"#;
        assert_eq!(Provider::guess(body), Some(Provider::Waha));
        assert_eq!(Provider::guess(br#"{"object":"page"}"#), None);
        assert_eq!(Provider::guess(b"not json"), None);
    }
}
