//! Who keeps something of a person outside of their own streams, and is asked to erase it.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    command::{Actor, Commands},
    domain::{event::Erasure, ids::ClientId},
    erasure::{Holder, HolderError},
    projection::queries::Queries,
};

/// The recipients of bulks.
pub struct Bulks {
    pub commands: Arc<Commands>,
    pub queries: Queries,
}

#[async_trait]
impl Holder for Bulks {
    async fn erase(&self, client: ClientId, erasure: &Erasure) -> Result<(), HolderError> {
        let actor = Actor::system();
        let identities = &erasure.identities;
        let erased = self.commands.erase_from_bulks(&self.queries, client, &actor, identities);
        match erased.await {
            Ok(_parts) => Ok(()),
            Err(error) => Err(HolderError { reason: error.to_string() }),
        }
    }
}
