//! `condorito check`: looks at everything that a server would start from, changes nothing, and
//! says what is wrong and what to do. Works beside a running server.

use std::{fmt, path::Path};

use clap::Args;

use super::{Failure, SettingsArgs, print, token};
use crate::{
    auth::key_source::KeySource,
    config::{Settings, sources::Loaded},
    event_log::sqlite,
    projection::read_model::{self, OpenError},
};

/// File descriptors that a server needs beside those of its connections.
const OWN_DESCRIPTORS: u64 = 256;

/// Look at the settings, the token keys, the event log and the read model; change nothing.
///
/// Exit code 3: the settings can't be used. 1: something else is wrong. 0: a server would start.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Only the settings; read no key, log or read model
    #[arg(long)]
    settings: bool,
}

/// What was found of one thing.
enum Finding {
    Fine(String),
    /// A server starts, and this is worth knowing.
    Note(String),
    Wrong(String),
}

pub async fn run(args: CheckArgs, settings: SettingsArgs) -> Result<(), Failure> {
    let mut loaded = settings.sources().load_unchecked()?;
    token::use_demo_secret(&mut loaded.settings);
    let loaded = loaded.checked()?;
    tell("settings", &settings_finding(&loaded))?;
    if args.settings {
        return Ok(());
    }
    let settings = loaded.settings;
    let paths = (settings.log_path().unwrap_or_default(), settings.projection.path.clone());
    let (log, model) = tokio::task::spawn_blocking(move || (log(&paths.0), model(&paths.1)))
        .await
        .map_err(|error| Failure::failed("the check broke off", error))?;
    let findings = [
        ("token keys", keys(&settings).await),
        ("data folder", data_dir(&settings.data_dir)),
        ("open files", descriptors(&settings)),
        ("event log", log),
        ("read model", model),
    ];
    let mut wrong = 0;
    for (name, finding) in &findings {
        tell(name, finding)?;
        wrong += usize::from(matches!(finding, Finding::Wrong(_)));
    }
    match wrong {
        0 => Ok(()),
        _ => Err(Failure::failed(
            format!("{wrong} of {} things are wrong", findings.len() + 1),
            "of what stands above",
        )),
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fine(text) => write!(f, "fine   {text}"),
            Self::Note(text) => write!(f, "note   {text}"),
            Self::Wrong(text) => write!(f, "WRONG  {text}"),
        }
    }
}

fn tell(name: &str, finding: &Finding) -> Result<(), Failure> {
    print(&format!("{name:<12} {finding}\n"))
}

fn settings_finding(loaded: &Loaded) -> Finding {
    let file = match &loaded.file {
        Some(file) => file.display().to_string(),
        None => "no file".to_owned(),
    };
    let (set, tenants) = (loaded.values.len(), loaded.settings.tenants.len());
    let text = format!("{file}; {set} set, {tenants} tenants");
    match tenants {
        0 => Finding::Note(format!(
            "{text}: webhooks are for nobody until a [[tenants]] table names their owner"
        )),
        _ => Finding::Fine(text),
    }
}

async fn keys(settings: &Settings) -> Finding {
    match KeySource::load(&settings.auth).await {
        Err(error) => Finding::Wrong(error.to_string()),
        Ok(source) => match source.for_token(None).await {
            Ok(keys) => Finding::Fine(format!("{} in force", keys.len())),
            Err(_) => Finding::Wrong(
                "auth.jwks_url can't be fetched now: tokens will be answered with 503 until it \
                 can; see the warning above, and whether this machine reaches the address"
                    .to_owned(),
            ),
        },
    }
}

fn data_dir(path: &Path) -> Finding {
    let shown = path.display();
    match std::fs::metadata(path) {
        Err(_) => Finding::Note(format!("{shown} is not there; the server makes it")),
        Ok(found) if !found.is_dir() => {
            Finding::Wrong(format!("{shown} is no folder: name another with data_dir"))
        }
        Ok(_) => match is_writable(path) {
            Ok(()) => Finding::Fine(shown.to_string()),
            Err(error) => Finding::Wrong(format!(
                "{shown} can't be written to by this user ({error}): give it to the server's user"
            )),
        },
    }
}

/// Whether this user may make a file there, which mode bits alone don't say. Leaves none behind.
fn is_writable(folder: &Path) -> std::io::Result<()> {
    let probe = folder.join(format!(".condorito-check-{}", std::process::id()));
    std::fs::File::create_new(&probe)?;
    std::fs::remove_file(&probe)
}

/// Compares the limit of open files with the connections that the settings allow.
fn descriptors(settings: &Settings) -> Finding {
    let needed = settings.listener.connections_max as u64 + OWN_DESCRIPTORS;
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    // Soft limit, hard limit: a service manager sets both.
    let soft = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    match soft {
        Some(soft) if soft < needed => Finding::Note(format!(
            "{soft} are allowed here, and listener.connections_max needs {needed}: raise it with \
             `ulimit -n` or systemd's LimitNOFILE, or further clients wait to be accepted"
        )),
        Some(soft) => Finding::Fine(format!("{soft} are allowed")),
        None => Finding::Fine("no limit known".to_owned()),
    }
}

fn log(path: &Path) -> Finding {
    let shown = path.display();
    if !path.exists() {
        return Finding::Note(format!("{shown} is not there; the server begins a new one"));
    }
    match sqlite::file::check(path) {
        Ok(()) => Finding::Fine(format!("{shown} is whole")),
        Err(error) => Finding::Wrong(error.to_string()),
    }
}

fn model(path: &Path) -> Finding {
    let shown = path.display();
    match read_model::check(path) {
        Ok(report) if !report.damage.is_empty() => Finding::Wrong(format!(
            "{shown} is damaged ({} places, first: {}): run `condorito rebuild`; nothing is lost, \
             it is made from the log",
            report.damage.len(),
            report.damage[0]
        )),
        Ok(report) if report.is_stale() => Finding::Note(format!(
            "{shown} is of another release: the server makes it anew from the log, and serves no \
             reads until then; `condorito rebuild` does it before"
        )),
        Ok(report) => {
            let (position, epoch) = (report.checkpoint, report.epoch);
            Finding::Fine(format!("{shown} is whole, up to position {position} of store {epoch}"))
        }
        Err(error @ OpenError::Missing { .. }) => {
            Finding::Note(format!("{error}; the server makes it from the log"))
        }
        Err(error) => Finding::Wrong(error.to_string()),
    }
}
