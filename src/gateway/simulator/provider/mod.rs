//! A provider to test against: the Cloud API's and WAHA's sending side as one HTTP server, which
//! takes messages, answers as they would, and tells of them in signed webhooks.
//!
//! | part | what it does |
//! | --- | --- |
//! | `server` | connections and routes |
//! | `taking` | the way of a message in, the same for both |
//! | `cloud`, `waha` | what each provider's calls mean |
//! | `plan` | what becomes of a message, faults included, from a seed |
//! | `limits` | the number's throughput and the pair rate |
//! | `ledger` | every message that was taken: what tests compare with our state |
//! | `courier` | webhooks, at their time, until they are taken |
//! | `customers` | the demo's customers, who answer |
//! | `media` | media and sample files |
//!
//! `condorito simulate` runs it as a process of its own, `serve --demo` beside the server, and
//! tests in their own process. A call to `+999` and an error's code is always refused with that
//! code: `+999131026` is undeliverable.
//!
//! **Invariant:** what becomes of a message depends on the seed, the message's id and the number of
//! the attempt alone, not on when it comes: two runs with one seed treat it alike.

mod cloud;
mod courier;
mod customers;
mod ledger;
mod limits;
pub mod media;
mod plan;
mod server;
mod settings;
mod taking;
mod waha;

use std::{net::SocketAddr, sync::Arc};

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use tokio::net::TcpListener;

use self::{courier::Courier, ledger::Ledger, limits::Limits, media::Shelf};
pub use self::{
    ledger::{Entry, LedgerView, Outcome},
    settings::{Faults, ProviderSimulatorSettings},
};
use crate::runtime::{clock::Clock, shutdown::Shutdown};

/// The provider could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ProviderSimulatorError {
    #[error("the simulator can't listen on {address}")]
    Listen { address: String, source: std::io::Error },
    #[error("the simulator has no HTTP client")]
    Client(#[from] reqwest::Error),
}

/// A running provider. It ends when it is dropped, or with [`ProviderSimulator::stop`].
pub struct ProviderSimulator {
    address: SocketAddr,
    shared: Arc<Shared>,
    shutdown: Shutdown,
}

/// What its parts work with.
struct Shared {
    settings: ProviderSimulatorSettings,
    faults: ArcSwap<Faults>,
    /// Where webhooks go: the server's address without a path.
    webhook_url: ArcSwapOption<String>,
    ledger: Mutex<Ledger>,
    limits: Mutex<Limits>,
    shelf: Mutex<Shelf>,
    /// What pairs WAHA's sessions, while they ask for it.
    pairing_code: ArcSwapOption<String>,
    courier: Courier,
    clock: Arc<dyn Clock>,
    /// Makes ids of this run other than those of an earlier one, which a log may know already.
    run: i64,
}

impl ProviderSimulator {
    /// Listens and answers from now on; a port of 0 takes a free one.
    pub async fn start(
        settings: ProviderSimulatorSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ProviderSimulatorError> {
        let address = settings.address.clone();
        let listen_error = |source| ProviderSimulatorError::Listen { address, source };
        let listener = TcpListener::bind(&settings.address).await.map_err(listen_error)?;
        let address = listener.local_addr().map_err(|source| ProviderSimulatorError::Listen {
            address: settings.address.clone(),
            source,
        })?;
        let shutdown = Shutdown::new();
        let (courier, round) = Courier::new();
        let shared = Arc::new(Shared {
            faults: ArcSwap::from_pointee(settings.faults.clone()),
            webhook_url: ArcSwapOption::from_pointee(settings.webhook_url.clone()),
            ledger: Mutex::default(),
            limits: Mutex::new(Limits::new(&settings)),
            shelf: Mutex::default(),
            pairing_code: ArcSwapOption::empty(),
            courier,
            run: clock.now().0,
            clock,
            settings,
        });
        let client = reqwest::Client::builder()
            .timeout(courier::REQUEST_TIMEOUT)
            .no_proxy()
            .tcp_nodelay(true)
            .build()?;
        shutdown.spawn(round.run(client, shared.clone(), shutdown.clone()));
        shutdown.spawn(server::serve(listener, shared.clone(), shutdown.clone()));
        Ok(Self { address, shared, shutdown })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// For `whatsapp_cloud.graph_url` and `waha.url`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where webhooks go from now on.
    pub fn send_webhooks_to(&self, url: &str) {
        self.shared.webhook_url.store(Some(Arc::new(url.to_owned())));
    }

    /// WAHA's sessions ask to be paired with this code; `None`: they are paired.
    pub fn ask_to_pair(&self, code: Option<&str>) {
        self.shared.pairing_code.store(code.map(|code| Arc::new(code.to_owned())));
    }

    pub fn set_faults(&self, faults: Faults) {
        self.shared.faults.store(Arc::new(faults));
    }

    /// What was taken so far.
    pub fn ledger(&self) -> LedgerView {
        self.shared.ledger_view()
    }

    /// Ends it: connections are cut, webhooks that are waiting are not sent.
    pub async fn stop(self) {
        self.shutdown.draining.cancel();
        self.shutdown.stopping.cancel();
        self.shutdown.tasks.close();
        self.shutdown.tasks.wait().await;
    }
}

impl Drop for ProviderSimulator {
    fn drop(&mut self) {
        self.shutdown.draining.cancel();
        self.shutdown.stopping.cancel();
    }
}

impl Shared {
    fn ledger_view(&self) -> LedgerView {
        self.ledger.lock().view(self.courier.waiting())
    }
}

#[cfg(test)]
mod tests;
