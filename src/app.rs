//! The composition root: puts the parts together, starts them in order, and ends them in order.
//!
//! Start: the log, the read model, the feed, the projector between them, then whoever takes
//! requests. The socket is opened first, since a port in use should be known at once. Stop: say
//! goodbye to clients and take nothing new, end the requests, then the tasks, then close the log.

pub mod answers;
pub mod days;
mod erasing;
pub mod observability;
mod pairing;
mod sending;
mod tenants;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use poem::EndpointExt;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use self::{observability::Readiness, sending::WayOut};
use crate::{
    api::{self, BodyRoom, Deps, Edge, only_get},
    auth::{Auth, cors::Cors, rate_limit::RateLimit},
    bulk,
    command::Commands,
    config::Settings,
    console,
    delivery::{
        listener::Listener,
        poll::Poll,
        sessions::Sessions,
        settings::ReadBounds,
        sse::EventStream,
        ws::{ServerDesk, WebSocketEndpoint},
    },
    erasure::Eraser,
    event_log::{EventLog, sqlite::SqliteLog},
    feed::{hub::Hub, past::StoredPast},
    gateway::tenancy::{ConfiguredTenant, Tenancy},
    ingest::Ingest,
    media::{Fetcher, Media, MediaStore},
    outbox::membership::{self, InstanceId, SingleInstance},
    projection::{
        follow::{self, EndError},
        queries::Queries,
        read_model::ReadModel,
    },
    runtime::{
        clock::{Clock, SystemClock},
        shutdown::Shutdown,
    },
};

/// How long tasks may take to end once connections are gone.
const TASKS_END_MAX: Duration = Duration::from_secs(10);

/// Sessions that wait to be asked for their pairing code.
const PAIRINGS_WAITING_MAX: usize = 256;

/// A running server.
pub struct App {
    address: SocketAddr,
    log: Arc<dyn EventLog>,
    shutdown: Shutdown,
    /// Connections and their requests, apart from the tasks that work for them.
    connections: Shutdown,
    drain_max: Duration,
    projector: JoinHandle<Result<(), EndError>>,
}

impl App {
    /// Starts everything; when this returns, requests are taken. Readiness follows when the read
    /// model has caught up.
    ///
    /// # Errors
    /// Where the socket, the log, the read model or the keys can't be opened: what is wrong and
    /// what to do.
    pub async fn start(settings: Settings) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let shutdown = Shutdown::new();
        let connections = Shutdown { tasks: TaskTracker::new(), ..shutdown.clone() };
        let recorder = observability::install_recorder()?;
        let drain_max = Duration::from_millis(settings.listener.drain_timeout_ms);
        let listener = Listener::bind(settings.listener.clone())?;
        let address = listener.local_address();

        let log = open_log(&settings).await?;
        let (queries, for_commands, model) = open_read_model(&settings, &*log).await?;
        let past = Arc::new(StoredPast::new(queries.clone(), log.clone()));
        let hub = Hub::start(past, settings.feed.clone(), &shutdown);
        let projector = follow::follow(model, log.clone(), hub.clone(), clock.clone(), &shutdown)?;

        let tenancy = tenancy(&settings)?;
        tenancy.refresh(queries.setups()).await?;
        let auth = Auth::start(&settings.auth, clock.clone(), &shutdown).await?;
        let store = open_media(&settings).await?;
        let media = Arc::new(Media::new(
            store.clone(),
            queries.clone(),
            clock.clone(),
            settings.media.clone(),
        ));
        let membership = Arc::new(SingleInstance::new(InstanceId(clock.new_id())));
        let owns = Arc::new(membership::owns(&*membership));
        let way_out = WayOut { tenancy: tenancy.clone(), media: media.clone(), membership };
        let commands = Commands::new(log.clone(), for_commands, clock.clone())
            .with_consent(&settings.consent)
            .with_sending(way_out.deciding(&settings));
        let commands = Arc::new(commands);
        let signals = way_out.start(
            &settings,
            log.clone(),
            queries.clone(),
            commands.clone(),
            clock.clone(),
            &shutdown,
        );
        let sessions = Sessions::new(
            hub.clone(),
            Arc::new(queries.clone()),
            clock.clone(),
            settings.delivery.clone(),
            ReadBounds {
                snapshot_conversations_max: settings.api.snapshot_conversations_max,
                at_least_wait: Duration::from_millis(settings.api.at_least_wait_ms),
            },
            connections.clone(),
        );
        let readiness = {
            let caught_up = projector.caught_up.clone();
            Readiness {
                log: log.clone(),
                caught_up: Arc::new(move || *caught_up.borrow()),
                draining: shutdown.draining.clone(),
            }
        };
        let bulk_queries = queries.clone();
        let (pairings, pairings_asked) = mpsc::channel(PAIRINGS_WAITING_MAX);
        pairing::start(pairings_asked, tenancy.clone(), commands.clone(), &shutdown);
        let deps = Arc::new(Deps {
            auth: auth.clone(),
            commands: commands.clone(),
            queries: queries.clone(),
            clock: clock.clone(),
            body_room: BodyRoom::new(&settings.api),
            settings: settings.api.clone(),
            ingest: Ingest::new(commands.clone(), pairings),
            media,
            tenancy: tenancy.clone(),
        });
        let desk = Arc::new(ServerDesk {
            auth: auth.clone(),
            commands: commands.clone(),
            signals: Arc::new(signals),
        });
        let sockets = WebSocketEndpoint::new(desk, sessions.clone(), settings.websocket.clone());
        let routes = api::routes(deps)
            .at("/v1/ws", only_get(sockets))
            .at("/v1/events/stream", only_get(EventStream::new(sessions.clone(), auth.clone())))
            .at("/v1/events", only_get(Poll::new(sessions, auth.clone())));
        let endpoint = console::mount(observability::mount(routes, recorder, readiness))
            .with(RateLimit::new(&settings.rate_limits, auth))
            .with(Cors::new(&settings.cors))
            .with(Edge::new(&settings.api, clock.clone()));
        let eraser = Eraser {
            queries: queries.clone(),
            commands: commands.clone(),
            media: store.clone(),
            holders: vec![Arc::new(erasing::Bulks {
                commands: commands.clone(),
                queries: queries.clone(),
            })],
        };
        eraser.start(&shutdown);
        let fetcher = Fetcher {
            store,
            queries: queries.clone(),
            commands: commands.clone(),
            lines: tenancy.clone(),
            clock: clock.clone(),
            settings: settings.media.clone(),
        };
        fetcher.start(&shutdown);
        connections.spawn(listener.serve(endpoint, connections.clone()));
        tenants::follow(tenancy.clone(), queries, commands.clone(), &shutdown);
        answers::forget(commands.clone(), &shutdown);
        let calendars = calendars(&settings, tenancy);
        days::keep(calendars, commands.clone(), clock.clone(), &shutdown);
        let runner = bulk::Runner::new(commands, bulk_queries, clock, settings.bulk.clone(), owns);
        runner.start(&shutdown);
        let projector = tokio::spawn(projector.ended());
        info!(%address, "takes requests");
        Ok(Self { address, log, shutdown, connections, drain_max, projector })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends when the process can't go on, and says why; never while all is well.
    pub async fn failed(&mut self) -> String {
        match (&mut self.projector).await {
            Ok(Ok(())) => "the projector ended".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        }
    }

    /// Ends in order and within a bound: clients are told, requests under way finish, what was
    /// acknowledged is stored.
    pub async fn stop(self) {
        self.shutdown.draining.cancel();
        self.connections.tasks.close();
        if tokio::time::timeout(self.drain_max, self.connections.tasks.wait()).await.is_err() {
            warn!("some connections did not end within the drain time; closing them");
        }
        self.shutdown.stopping.cancel();
        self.shutdown.tasks.close();
        let ended = async {
            self.connections.tasks.wait().await;
            self.shutdown.tasks.wait().await;
            if !self.projector.is_finished() {
                let _ = self.projector.await;
            }
        };
        match tokio::time::timeout(TASKS_END_MAX, ended).await {
            Ok(()) => info!("stopped"),
            Err(_) => warn!("some tasks did not end in time"),
        }
        self.log.close().await;
    }
}

/// The tenants, with who is who and who sends for whom.
fn tenancy(settings: &Settings) -> anyhow::Result<Arc<Tenancy>> {
    let configured = settings.tenant_routing().into_iter().zip(&settings.tenants);
    let configured = configured.map(|(routing, tenant)| ConfiguredTenant {
        routing,
        time_zone: tenant.time_zone.clone(),
        messages_per_second: tenant.messages_per_second,
    });
    let tenancy = Tenancy::new(
        &settings.whatsapp_cloud,
        &settings.waha,
        &settings.provider_http,
        &settings.credentials,
        configured.collect(),
    )?;
    Ok(Arc::new(tenancy))
}

/// Every tenant's calendar, as it is whenever it is asked for.
fn calendars(
    settings: &Settings,
    tenancy: Arc<Tenancy>,
) -> impl Fn() -> Vec<days::Calendar> + Send + Sync + 'static {
    let usual = settings.api.time_zone.clone();
    move || {
        let zones = tenancy.time_zones().into_iter();
        zones.map(|(client, zone)| (client, zone.unwrap_or_else(|| usual.clone()))).collect()
    }
}

/// Opens the log that the settings name, off the async threads, since it reads and syncs.
async fn open_log(settings: &Settings) -> anyhow::Result<Arc<dyn EventLog>> {
    let path = settings.log_path().context("settings.log names no backend of this build")?;
    let log = tokio::task::spawn_blocking(move || SqliteLog::open(&path)).await??;
    Ok(Arc::new(log))
}

/// Off the async threads, since it looks for left-overs.
async fn open_media(settings: &Settings) -> anyhow::Result<Arc<MediaStore>> {
    let media = settings.media.clone();
    let store = tokio::task::spawn_blocking(move || MediaStore::open(&media)).await??;
    Ok(Arc::new(store))
}

/// Opens the read model, with one way to ask for clients and one for commands.
async fn open_read_model(
    settings: &Settings,
    log: &dyn EventLog,
) -> anyhow::Result<(Queries, Queries, ReadModel)> {
    let head = log.head().await.context("the event log can't be read")?;
    let projection = settings.projection.clone();
    let epoch = log.identity().epoch.clone();
    let model =
        tokio::task::spawn_blocking(move || ReadModel::open(&projection, &epoch, head)).await??;
    let queries = Queries::open(&model)?;
    let for_commands = Queries::open_for_commands(&model)?;
    Ok((queries, for_commands, model))
}
