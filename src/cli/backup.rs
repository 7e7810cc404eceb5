//! `condorito backup`: copies the event log and the read model while the server runs.

use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use clap::Args;

use super::{Failure, SettingsArgs, print, progress};
use crate::{
    event_log::sqlite,
    projection::read_model::{self, OpenError},
};

/// The names of the copies: those that a server looks for in its data folder.
const LOG_FILE: &str = "log.db";
const READ_MODEL_FILE: &str = "read-model.db";

/// Copy the event log and the read model into a new folder, also while the server runs.
///
/// Media are not part of it: they lie in a folder or bucket of their own. A copy keeps whom you
/// erase after it was made: restored, it has them again.
///
/// A server with the copy as its data folder goes on from there; without the read model it makes
/// that anew from the log.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  condorito backup /backups/$(date +%F)
  condorito serve --data-dir /backups/2026-11-24      start from the copy")]
pub struct BackupArgs {
    /// Folder for the copies; made, and must not hold any yet
    dest: PathBuf,
}

pub async fn run(args: BackupArgs, settings: SettingsArgs) -> Result<(), Failure> {
    let settings = settings.load_unchecked()?.settings;
    let log = settings.log_path().unwrap_or_default();
    let model = settings.projection.path;
    let dest = args.dest.clone();
    let copied_model = tokio::task::spawn_blocking(move || copy(&log, &model, &dest))
        .await
        .map_err(|error| Failure::failed("the backup broke off", error))??;
    let what = if copied_model { "log and read model" } else { "log (there is no read model)" };
    print(&format!("{what} copied to {}\n", args.dest.display()))
}

/// The read model first: one that is behind its log catches up, one that is ahead of it would be
/// thrown away.
fn copy(log: &Path, model: &Path, dest: &Path) -> Result<bool, Failure> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        Failure::failed(format!("the {what} was not copied"), error)
    };
    for name in [LOG_FILE, READ_MODEL_FILE] {
        if dest.join(name).exists() {
            return Err(Failure::Usage(format!(
                "{} holds a backup already: name a new folder",
                dest.display()
            )));
        }
    }
    // Both files hold personal data: for their owner alone.
    DirBuilder::new().recursive(true).mode(0o700).create(dest).map_err(|error| {
        Failure::failed(format!("can't make the folder {}", dest.display()), error)
    })?;
    let bar = progress::bar("read model", "pages");
    let copied_model = match read_model::backup(model, &dest.join(READ_MODEL_FILE), |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    }) {
        Ok(()) => true,
        Err(OpenError::Missing { .. }) => false,
        Err(error) => return Err(failed("read model", &error)),
    };
    bar.finish_and_clear();
    let bar = progress::bar("event log", "pages");
    sqlite::file::backup(log, &dest.join(LOG_FILE), |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    })
    .map_err(|error| failed("event log", &error))?;
    bar.finish_and_clear();
    Ok(copied_model)
}
