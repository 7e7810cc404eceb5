//! How much a tenant may keep.
//!
//! Counted by listing the tenant's copies, which takes long, so once an hour at most and only
//! where there is a bound; between two counts what is taken in is added. Another instance's
//! uploads are so seen with the next count: the bound keeps a disk from being filled, and is no
//! invoice.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::Mutex as AsyncMutex, time::Instant};

use super::store::{MediaStore, StoreError};
use crate::domain::ids::ClientId;

/// How long a count is good for.
const COUNT_GOOD_FOR: Duration = Duration::from_secs(3600);
/// Tenants of which the count is kept; when there are more, all are counted anew.
const TENANTS_MAX: usize = 10_000;

pub(super) struct Quota {
    /// 0: none.
    bytes_max: u64,
    tenants: Mutex<HashMap<ClientId, Arc<AsyncMutex<Option<Count>>>>>,
}

struct Count {
    bytes: u64,
    at: Instant,
}

impl Quota {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, tenants: Mutex::default() }
    }

    /// Bytes that the tenant may still take in.
    pub(super) async fn left(
        &self,
        store: &MediaStore,
        client: ClientId,
    ) -> Result<u64, StoreError> {
        if self.bytes_max == 0 {
            return Ok(u64::MAX);
        }
        let count = self.of(client);
        let mut count = count.lock().await;
        let fresh = count.as_ref().filter(|count| count.at.elapsed() < COUNT_GOOD_FOR);
        let bytes = match fresh {
            Some(count) => count.bytes,
            None => {
                let bytes = store.bytes_of(client).await?;
                *count = Some(Count { bytes, at: Instant::now() });
                bytes
            }
        };
        Ok(self.bytes_max.saturating_sub(bytes))
    }

    /// The tenant took in so many.
    pub(super) async fn add(&self, client: ClientId, bytes: u64) {
        if self.bytes_max == 0 {
            return;
        }
        if let Some(count) = self.of(client).lock().await.as_mut() {
            count.bytes += bytes;
        }
    }

    fn of(&self, client: ClientId) -> Arc<AsyncMutex<Option<Count>>> {
        let mut tenants = self.tenants.lock();
        if tenants.len() >= TENANTS_MAX && !tenants.contains_key(&client) {
            tenants.clear();
        }
        Arc::clone(tenants.entry(client).or_default())
    }
}
