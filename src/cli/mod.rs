//! The command line: what can be asked of the program, one file per subcommand.
//!
//! `serve` runs the server. `config`, `check`, `rebuild` and `backup` look after an installation
//! and read its settings. `token`, `tail`, `replay` and `simulate` try one out, from anywhere.
//! `openapi` prints the documents.
//!
//! **Invariant:** what was asked for goes to standard output, everything said about it to
//! standard error; and a failure says what happened, what it means and what to do.

#![expect(clippy::print_stderr, reason = "the command line talks to people")]

mod backup;
mod check;
mod config;
mod failure;
mod logging;
mod openapi;
mod progress;
mod rebuild;
mod replay;
mod serve;
mod simulate;
mod tail;
mod token;

use std::{
    io::{self, Write, stdout},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use url::Url;

use self::failure::Failure;
use crate::config::{
    Settings,
    sources::{Loaded, Sources},
};

const EXAMPLES: &str = "\
Examples:
  condorito serve --demo                      try it: a demo tenant and a lively day
  condorito token --client-id 1               a token to call the API with
  condorito tail --types new_message          follow the feed in this terminal
  condorito replay saved/*.json               post saved webhooks, signed
  condorito check                             what is wrong, and what to do

Settings come from a TOML file, then CONDORITO_* variables, then flags; `condorito config
--reference` lists them all.

Exit codes:
  0  done                       3  the configuration can't be used
  1  it failed                  4  the server could not be reached, or refused
  2  the command is not right";

/// Realtime backend for WhatsApp CRMs: webhooks in, one exact feed out.
#[derive(Debug, Parser)]
#[command(name = "condorito", version, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(subcommand)]
    command: Command,
}

/// Where settings come from, for every subcommand.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Settings")]
struct SettingsArgs {
    /// Settings file [env: CONDORITO_CONFIG] [default: condorito.toml when it is there]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sets any setting, like feed.ring_idle_s=30; may be given several times
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
    /// Folder for what the server keeps [env: CONDORITO_DATA_DIR] [default: data]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<String>,
    /// Where the event log is kept [env: CONDORITO_LOG] [default: sqlite:DATA_DIR/log.db]
    #[arg(long, global = true, value_name = "sqlite:PATH")]
    log: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(serve::ServeArgs),
    /// Mint a token for trying the API out
    Token(token::TokenArgs),
    /// Follow the feed in this terminal, resuming after disconnects
    Tail(tail::TailArgs),
    /// Run a simulated provider to send to
    Simulate(simulate::SimulateArgs),
    /// Post saved webhook payloads, signed
    Replay(replay::ReplayArgs),
    /// Say what is wrong with settings, keys, log and read model, and what to do
    Check(check::CheckArgs),
    /// Make the read model anew from the event log, with the server stopped
    Rebuild(rebuild::RebuildArgs),
    /// Copy the event log and the read model while the server runs
    Backup(backup::BackupArgs),
    /// Show the settings in force and where each comes from
    Config(config::ConfigArgs),
    /// Print the OpenAPI document, or the AsyncAPI one
    Openapi(openapi::OpenApiArgs),
}

impl SettingsArgs {
    fn sources(&self) -> Sources {
        let given = |flag, key: &str, value: &Option<String>| {
            value.as_ref().map(|value| (flag, key.to_owned(), value.clone()))
        };
        let mut flags: Vec<_> =
            self.set.iter().map(|(key, value)| ("--set", key.clone(), value.clone())).collect();
        flags.extend(given("--data-dir", "data_dir", &self.data_dir));
        flags.extend(given("--log", "log", &self.log));
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        Sources {
            file: self.config.clone(),
            variables: std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect(),
            flags,
        }
    }

    /// Settings for a command that uses a few of them: they are read, and need not make sense
    /// together.
    fn load_unchecked(&self) -> Result<Loaded, Failure> {
        Ok(self.sources().load_unchecked()?)
    }
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("write it as KEY=VALUE".to_owned()),
    }
}

/// Runs what the arguments ask for.
pub fn run() -> ExitCode {
    // First of all: TLS needs it, and two crates would otherwise fight over which one.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("another TLS provider was installed first");
    }
    let cli = Cli::parse();
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            failure.exit_code()
        }
    }
}

impl Cli {
    fn run(self) -> Result<(), Failure> {
        let settings = &self.settings;
        match self.command {
            Command::Serve(args) => serve::run(&args, settings),
            Command::Simulate(args) => simulate::run(args, settings),
            Command::Token(args) => token::run(&args, settings),
            Command::Config(args) => config::run(&args, settings),
            Command::Openapi(args) => openapi::run(&args),
            Command::Check(args) => client(check::run(args, settings.clone())),
            Command::Rebuild(_) => client(rebuild::run(settings.clone())),
            Command::Backup(args) => client(backup::run(args, settings.clone())),
            Command::Tail(args) => client(tail::run(args, settings.clone())),
            Command::Replay(args) => client(replay::run(args, settings.clone())),
        }
    }
}

/// Prints what was asked for. Whoever reads may stop (`| head`), which is no failure.
fn print(text: &str) -> Result<(), Failure> {
    match stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::failed("can't write the output", error))
        }
        _ => Ok(()),
    }
}

/// Where a server that listens on `address` is reached from this machine.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// The server that a client command talks to: the one named, else the one that these settings
/// would start here.
fn server_url(named: Option<&Url>, settings: &Settings) -> Result<Url, Failure> {
    if let Some(url) = named {
        return match url.scheme() {
            "http" | "https" => Ok(url.clone()),
            other => Err(Failure::Usage(format!("--url must begin with http, not {other}"))),
        };
    }
    let address = reachable(settings.listener.address);
    let url = format!("http://{address}").parse();
    url.map_err(|error| Failure::failed("the listener's address is no URL", error))
}

/// Runs a command that waits for things; one thread is plenty for that.
fn client(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    logging::for_commands();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::failed("can't start", error))?.block_on(work)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_setting_needs_a_key_and_a_value() {
        assert_eq!(key_and_value("a.b=c=d"), Ok(("a.b".to_owned(), "c=d".to_owned())));
        assert!(key_and_value("a.b").is_err());
        assert!(key_and_value("=c").is_err());
    }
}
