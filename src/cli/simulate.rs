//! `condorito simulate`: a provider to send to, when there is none, or none that should be bothered.

use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Failure, SettingsArgs, logging, print};
use crate::{
    gateway::simulator::provider::{Faults, ProviderSimulator, ProviderSimulatorSettings},
    runtime::clock::SystemClock,
};

/// Run a simulated provider: the Cloud API's and WAHA's sending side, with webhooks and faults.
///
/// Point whatsapp_cloud.graph_url and waha.url at it. It signs its webhooks with the first of
/// whatsapp_cloud.app_secrets and with waha.hmac_key of these settings. GET /ledger tells every
/// message that it took, PUT /faults changes what goes wrong.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  condorito simulate --webhooks http://127.0.0.1:8080
  condorito simulate --chaos --seed 7                everything that may go wrong, repeatably
  curl localhost:8090/ledger?summary=true
  curl -X PUT localhost:8090/faults -d '{\"silence_permille\": 20}'")]
pub struct SimulateArgs {
    /// Address and port to listen on
    #[arg(long, default_value = "127.0.0.1:8090", value_name = "ADDRESS")]
    listen: String,
    /// The server that webhooks go to
    #[arg(long, default_value = "http://127.0.0.1:8080", value_name = "URL")]
    webhooks: String,
    /// Draws what becomes of each message
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Messages a second that a number may send; 0: without limit
    #[arg(long, default_value_t = 80)]
    rate: u32,
    /// One recipient may be sent any number of messages
    #[arg(long)]
    no_pair_limit: bool,
    /// How long after a message its statuses come, on average, in milliseconds
    #[arg(long, default_value_t = 400, value_name = "MS")]
    status_delay: u64,
    /// Customers answer what they are sent
    #[arg(long)]
    answers: bool,
    /// Everything goes wrong now and then
    #[arg(long)]
    chaos: bool,
    /// What goes wrong, as JSON, like {"silence_permille": 20}
    #[arg(long, value_name = "JSON", conflicts_with = "chaos", value_parser = faults)]
    faults: Option<Faults>,
}

fn faults(text: &str) -> Result<Faults, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

pub fn run(args: SimulateArgs, settings: &SettingsArgs) -> Result<(), Failure> {
    let settings = settings.load_unchecked()?.settings;
    let usual = ProviderSimulatorSettings::default();
    let app_secret = settings.whatsapp_cloud.app_secrets.first().cloned();
    let faults = if args.chaos { Some(Faults::chaos()) } else { args.faults };
    let simulated = ProviderSimulatorSettings {
        address: args.listen,
        seed: args.seed,
        webhook_url: Some(args.webhooks),
        app_secret: app_secret.unwrap_or(usual.app_secret),
        waha_hmac_key: settings.waha.hmac_key.unwrap_or(usual.waha_hmac_key),
        number_rate_per_second: args.rate,
        pair_limit: !args.no_pair_limit,
        status_delay_ms: args.status_delay,
        webhook_batch_max: usual.webhook_batch_max,
        customers_answer: args.answers,
        faults: faults.unwrap_or_default(),
    };
    logging::for_server(&settings.logging);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Failure::failed("can't start", error))?.block_on(simulate(simulated))
}

async fn simulate(settings: ProviderSimulatorSettings) -> Result<(), Failure> {
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let provider = ProviderSimulator::start(settings, Arc::new(SystemClock))
        .await
        .map_err(|error| Failure::failed("the simulator can't start", error))?;
    print(&format!("The simulated provider listens on {}/\n", provider.url()))?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    provider.stop().await;
    Ok(())
}

fn listen(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| Failure::failed("can't listen for signals", error))
}
