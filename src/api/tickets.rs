//! One-time tickets, for transports whose clients can't set headers.

use std::sync::Arc;

use poem::Result;
use poem_openapi::OpenApi;

use super::{
    Deps,
    answer::Answer,
    extract::{AnyToken, Caller},
    shapes::{Chapter, Ticket},
};
use crate::wire::problem::Problem;

pub struct TicketsApi(pub Arc<Deps>);

#[OpenApi(tag = "Chapter::Tickets")]
impl TicketsApi {
    /// Get a one-time ticket.
    ///
    /// It stands for the caller's token, works once and for 30 seconds, on this instance: give it
    /// as `?ticket=` to `EventSource` or `WebSocket`. Nothing is stored, so there is no cursor.
    #[oai(path = "/v1/tickets", method = "post", operation_id = "create_ticket")]
    async fn create(&self, caller: Caller<AnyToken>) -> Result<Answer<Ticket>> {
        let issued = self.0.auth.issue_ticket(&caller.identity).map_err(Problem::from)?;
        Ok(Answer(Ticket { ticket: issued.ticket, expires_at: issued.expires_at.to_string() }))
    }
}
