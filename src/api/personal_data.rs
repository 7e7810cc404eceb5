//! Erasing a contact.
//!
//! It needs `tenant:write`: who answers customers does not thereby decide what the company
//! forgets.

use std::sync::Arc;

use poem::Result;
use poem_openapi::{OpenApi, param::Path};

use super::{
    Deps,
    answer::{Answer, cursor_at},
    extract::{Caller, TenantWrite},
    shapes::{Chapter, Erased},
};
use crate::{domain::ids::ConversationId, wire::problem::Problem};

pub struct PersonalDataApi(pub Arc<Deps>);

#[OpenApi(tag = "Chapter::Conversations")]
impl PersonalDataApi {
    /// Erase a contact.
    ///
    /// Their messages, media, conversations that were merged with this one, and all that the server
    /// knows of them. From the answered `cursor` on nothing of it is shown; what is stored is
    /// deleted within seconds, also after a crash. The statistics keep their numbers. A contact who
    /// writes again gets a new conversation. Erasing again is no error. Backups made before keep
    /// what they hold.
    #[oai(
        path = "/v1/conversations/:id/personal-data",
        method = "delete",
        operation_id = "erase_personal_data"
    )]
    async fn erase(
        &self,
        caller: Caller<TenantWrite>,
        /// The conversation's number.
        #[oai(validator(minimum(value = "1")))]
        id: Path<u32>,
    ) -> Result<Answer<Erased>> {
        let client = caller.identity.client_id;
        let commands = &self.0.commands;
        let erased =
            commands.erase_personal_data(client, &caller.actor(), ConversationId(id.0)).await;
        let position = erased.map_err(Problem::from)?;
        Ok(Answer(Erased { conversation_id: id.0, cursor: cursor_at(&self.0, position) }))
    }
}
