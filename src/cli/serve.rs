//! `condorito serve`: runs the server until SIGTERM or SIGINT.

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use super::{SettingsArgs, failure::Failure, logging, print};
use crate::{app::App, config::Settings};

#[derive(Debug, Args)]
pub struct ServeArgs {}

pub fn run(_args: &ServeArgs, settings: &SettingsArgs) -> Result<(), Failure> {
    let settings = settings.sources().load()?.settings;
    logging::for_server(&settings.logging);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Failure::failed("can't start", error))?.block_on(serve(settings))
}

async fn serve(settings: Settings) -> Result<(), Failure> {
    // Before anything is opened, so that a signal during the start ends it in order too.
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut app = App::start(settings)
        .await
        .map_err(|error| Failure::failed("the server can't start", format!("{error:#}")))?;
    print(&format!("Condorito Realtime listens on http://{}/\n", app.address()))?;
    let failed = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        error = app.failed() => Some(error),
    };
    info!("stops: tells its clients and ends what is under way");
    app.stop().await;
    match failed {
        Some(reason) => Err(Failure::failed("the server can't go on", reason)),
        None => Ok(()),
    }
}

fn listen(kind: SignalKind) -> Result<tokio::signal::unix::Signal, Failure> {
    signal(kind).map_err(|error| Failure::failed("can't listen for signals", error))
}
