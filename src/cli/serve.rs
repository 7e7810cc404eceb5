//! `condorito serve`: runs the server until SIGTERM or SIGINT; with `--demo` it also plays a
//! lively day to itself.

use std::{net::SocketAddr, sync::Arc};

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::info;

use super::{SettingsArgs, failure::Failure, logging, print, reachable, token};
use crate::{
    app::App,
    auth::Scopes,
    config::{
        Settings,
        demo::{self, Demo},
    },
    gateway::simulator::{
        self, Names, SimulatorSettings, Target,
        provider::{ProviderSimulator, ProviderSimulatorSettings},
    },
    runtime::{clock::SystemClock, secret::Secret, shutdown::Shutdown},
};

/// Run the server until SIGTERM or SIGINT, then say goodbye to its clients.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  condorito serve --demo                             nothing to configure; prints a token
  condorito serve --config /etc/condorito.toml
  CONDORITO_AUTH__SECRET=... condorito serve --listen 0.0.0.0:8080")]
pub struct ServeArgs {
    /// Add a demo tenant and play a lively day for it
    #[arg(long)]
    demo: bool,
    /// Address and port to listen on [env: CONDORITO_LISTENER__ADDRESS] [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
}

pub fn run(args: &ServeArgs, settings: &SettingsArgs) -> Result<(), Failure> {
    let mut sources = settings.sources();
    if let Some(address) = &args.listen {
        sources.flags.push(("--listen", "listener.address".to_owned(), address.clone()));
    }
    let mut loaded = sources.load_unchecked()?;
    let demo = if args.demo { Some(add_demo(&mut loaded.settings)?) } else { None };
    let settings = loaded.checked()?.settings;
    logging::for_server(&settings.logging);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Failure::failed("can't start", error))?.block_on(serve(settings, demo))
}

fn add_demo(settings: &mut Settings) -> Result<Demo, Failure> {
    demo::add_to(settings).map_err(|error| {
        let folder = settings.data_dir.display();
        Failure::failed(format!("the demo can't keep its secret in {folder}"), error)
            .advice("name a folder that can be written to with --data-dir")
    })
}

async fn serve(mut settings: Settings, demo: Option<Demo>) -> Result<(), Failure> {
    // Before anything is opened, so that a signal during the start ends it in order too.
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let provider = match &demo {
        Some(demo) => Some(start_provider(demo, &mut settings).await?),
        None => None,
    };
    let mut app = App::start(settings.clone())
        .await
        .map_err(|error| Failure::failed("the server can't start", format!("{error:#}")))?;
    print(&format!("Condorito Realtime listens on http://{}/\n", app.address()))?;
    if let Some(provider) = &provider {
        provider.send_webhooks_to(&format!("http://{}", reachable(app.address())));
    }
    let playing = Shutdown::new();
    if let Some(demo) = demo {
        play(&settings, demo, app.address(), &playing)?;
    }
    let failed = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        error = app.failed() => Some(error),
    };
    info!("stops: tells its clients and ends what is under way");
    playing.draining.cancel();
    app.stop().await;
    if let Some(provider) = provider {
        provider.stop().await;
    }
    match failed {
        Some(reason) => Err(Failure::failed("the server can't go on", reason)),
        None => Ok(()),
    }
}

/// Starts the provider that the demo tenant sends through; its customers answer.
async fn start_provider(
    demo: &Demo,
    settings: &mut Settings,
) -> Result<ProviderSimulator, Failure> {
    let simulated = ProviderSimulatorSettings {
        address: "127.0.0.1:0".to_owned(),
        seed: settings.simulator.seed,
        app_secret: demo.app_secret.clone(),
        waha_hmac_key: demo.waha_hmac_key.clone(),
        customers_answer: true,
        ..ProviderSimulatorSettings::default()
    };
    let provider = ProviderSimulator::start(simulated, Arc::new(SystemClock)).await;
    let provider = provider.map_err(|error| Failure::failed("the demo can't start", error))?;
    demo.send_through(settings, &provider.url());
    Ok(provider)
}

/// Plays the demo until `playing` drains, and says how to see it.
fn play(
    settings: &Settings,
    demo: Demo,
    address: SocketAddr,
    playing: &Shutdown,
) -> Result<(), Failure> {
    const TOKEN_TTL_S: u64 = 8 * 3600;
    const BOT_TOKEN_TTL_S: u64 = 600;
    let base_url = format!("http://{}", reachable(address));
    let client = demo.client_id;
    let shown = token::sign_for(settings, client, token::usual_scopes(), TOKEN_TTL_S)?;
    print(&how_to_see_it(&base_url, client.0, &shown, settings))?;
    let settings = settings.clone();
    let simulator: SimulatorSettings = settings.simulator.clone();
    let mint = move || {
        let minted = token::sign_for(&settings, client, Scopes::BOT_WRITE, BOT_TOKEN_TTL_S);
        // It was minted once before, above, with the same settings.
        Secret::new(minted.unwrap_or_default())
    };
    let target = Target {
        base_url,
        names: Names {
            phone_number_id: demo::PHONE_NUMBER_ID.to_owned(),
            waha_session: demo::WAHA_SESSION.to_owned(),
        },
        app_secret: demo.app_secret,
        waha_hmac_key: demo.waha_hmac_key,
        mint_token: Arc::new(mint),
    };
    let shutdown = playing.clone();
    playing.spawn(async move {
        let played = simulator::run(target, simulator, Arc::new(SystemClock), shutdown).await;
        if let Err(error) = played {
            tracing::error!(%error, "the demo can't be played");
        }
    });
    Ok(())
}

fn how_to_see_it(base_url: &str, client_id: u32, token: &str, settings: &Settings) -> String {
    let data_dir = settings.data_dir.display();
    format!(
        "\nThe demo tenant is number {client_id}. A token for it, for 8 hours:\n\n  {token}\n\n\
         See it live:\n\
         \x20 in a browser    {base_url}/#token={token}\n\
         \x20 in a terminal   condorito tail --data-dir {data_dir} --client-id {client_id} \
         --url {base_url}\n\
         \x20 with curl       curl -N -H \"Authorization: Bearer $TOKEN\" \
         {base_url}/v1/events/stream\n\
         \x20 the API         {base_url}/docs\n\n"
    )
}

fn listen(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| Failure::failed("can't listen for signals", error))
}
