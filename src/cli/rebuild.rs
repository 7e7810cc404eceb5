//! `condorito rebuild`: makes the read model anew from the log, with the server stopped.

use std::sync::Arc;

use clap::Args;

use super::{Failure, SettingsArgs, print, progress};
use crate::{
    event_log::{EventLog, sqlite::SqliteLog},
    projection::rebuild::rebuild,
    runtime::clock::SystemClock,
};

/// Make the read model anew from the event log, while no server runs on it.
///
/// The old one stays until the new one is complete. A server does the same by itself at its start
/// where it has to; this is for doing it beforehand, and for seeing how long it takes.
#[derive(Debug, Args)]
pub struct RebuildArgs {}

pub async fn run(settings: SettingsArgs) -> Result<(), Failure> {
    let settings = settings.load_unchecked()?.settings;
    let path = settings.log_path().unwrap_or_default();
    if !path.exists() {
        return Err(Failure::failed(
            "there is nothing to make a read model from",
            format!("{} is not there", path.display()),
        )
        .advice("name the event log with --log or --data-dir"));
    }
    let log = tokio::task::spawn_blocking(move || SqliteLog::open(&path))
        .await
        .map_err(|error| Failure::failed("the rebuild broke off", error))?
        .map_err(|error| Failure::failed("the event log can't be opened", error))?;
    let log: Arc<dyn EventLog> = Arc::new(log);
    let bar = progress::bar("read model", "events");
    let shown = bar.clone();
    let rebuilt = rebuild(&settings.projection, log.clone(), Arc::new(SystemClock), move |at| {
        shown.set_length(at.head.0);
        shown.set_position(at.position.0);
    })
    .await;
    bar.finish_and_clear();
    log.close().await;
    let rebuilt = rebuilt.map_err(|error| {
        Failure::failed("there is no new read model; the old one is as it was", error)
    })?;
    let model = settings.projection.path.display();
    print(&format!("{model} made anew from {} events\n", rebuilt.events))
}
