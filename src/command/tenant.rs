//! Setting a tenant up. Whether nobody else has what it claims, and that its credentials are
//! sealed, is for who calls; here it becomes durable.

use super::{Actor, Answer, Answered, CommandError, Commands, Request, idempotency::Keyed};
use crate::{
    domain::{
        event::EventData,
        ids::{ClientId, EventId, Position},
        tenant::{Sealed, TenantSetup},
    },
    event_log::{Append, AppendError, Expected, StreamName},
};

impl Commands {
    /// Sets the tenant up; with a `request`, once.
    pub async fn set_up_tenant(
        &self,
        client: ClientId,
        actor: &Actor,
        request: Option<&Request>,
        setup: TenantSetup,
        answer: Answer,
    ) -> Result<Answered, CommandError> {
        let mut batch = vec![self.tenant_entry(client, actor, EventData::TenantSetUp(setup))];
        let keyed = match request {
            Some(request) => {
                let keyed = Keyed::begin(&self.core, &self.turns, client, request).await;
                if let Some(first) = keyed.first_answer(&self.core, client).await? {
                    return Ok(first);
                }
                batch.push(keyed.entry(&self.core, client, &actor.0, &answer, None, batch.len()));
                Some(keyed)
            }
            None => None,
        };
        match (self.core.log.append(batch).await, keyed) {
            (Ok(appended), _) => {
                let position = appended.first().map_or(Position::START, |first| first.position);
                Ok(Answered { answer, position, repeated: false })
            }
            // Another instance was asked the same at the same time and answered first.
            (Err(AppendError::Conflict { .. }), Some(keyed)) => {
                let first = keyed.first_answer(&self.core, client).await?;
                first.ok_or(CommandError::Unavailable)
            }
            (Err(error), _) => Err(error.into()),
        }
    }

    /// Keeps the tenant's credentials under another key. Several instances may do it at once: the
    /// first one holds.
    pub async fn reseal_credentials(
        &self,
        client: ClientId,
        replaces: EventId,
        sealed: Sealed,
    ) -> Result<(), CommandError> {
        let data = EventData::CredentialsResealed { replaces, sealed };
        self.core.log.append(vec![self.tenant_entry(client, &Actor::system(), data)]).await?;
        Ok(())
    }

    fn tenant_entry(&self, client: ClientId, actor: &Actor, data: EventData) -> Append {
        let events = vec![self.core.event(client, &actor.0, data)];
        Append { stream: StreamName::Tenant(client), expected: Expected::Any, events }
    }
}
