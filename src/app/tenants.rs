//! Keeps the instance up with how tenants are set up: other instances take setups too, and keys
//! are rotated.
//!
//! A reconciler: woken by what is projected, a moment later, it reads all setups, of which there
//! are as many as tenants, and lets `tenancy` find what is new. Credentials that an old key sealed
//! are sealed anew.

use std::{sync::Arc, time::Duration};

use tracing::warn;

use crate::{
    command::Commands, gateway::tenancy::Tenancy, projection::queries::Queries,
    runtime::shutdown::Shutdown,
};

/// How long after an event a setup takes effect on the instances that did not take it in.
const FOLLOW_PAUSE: Duration = Duration::from_millis(500);

/// Follows until the instance stops.
pub fn follow(
    tenancy: Arc<Tenancy>,
    queries: Queries,
    commands: Arc<Commands>,
    shutdown: &Shutdown,
) {
    let stopping = shutdown.draining.clone();
    shutdown.spawn(async move {
        stopping.run_until_cancelled(keep_up(&tenancy, &queries, &commands)).await;
    });
}

async fn keep_up(tenancy: &Tenancy, queries: &Queries, commands: &Commands) {
    let mut projected = queries.projected();
    loop {
        match tenancy.refresh(queries.setups()).await {
            Ok(()) => reseal(tenancy, commands).await,
            Err(error) => warn!(%error, "the tenants' setups can't be read; trying again"),
        }
        tokio::time::sleep(FOLLOW_PAUSE).await;
        if projected.changed().await.is_err() {
            return;
        }
    }
}

async fn reseal(tenancy: &Tenancy, commands: &Commands) {
    for (client, replaces, sealed) in tenancy.resealed() {
        match commands.reseal_credentials(client, replaces, sealed).await {
            Ok(()) => tracing::info!(%client, "a tenant's credentials are sealed with the new key"),
            Err(error) => warn!(%client, %error, "a tenant's credentials can't be sealed anew"),
        }
    }
}
