//! The provider's message templates.
//!
//! They change a few times a day and a screen asks for them with every new conversation, so that
//! what the provider said is kept for a while, per tenant. What fails is not kept.

use std::{sync::Arc, time::Duration};

use poem::Result;
use poem_openapi::OpenApi;
use quick_cache::sync::Cache;
use tokio::time::Instant;

use super::{
    Deps,
    answer::Answer,
    extract::{Caller, MessagesRead},
    shapes::Chapter,
};
use crate::{
    command::CommandError,
    domain::ids::ClientId,
    gateway::outbound::{self, Lines},
    wire::{
        problem::{Code, Problem},
        send::{Template, Templates},
    },
};

/// How long templates are kept.
const KEPT: Duration = Duration::from_secs(60);
/// Tenants of whom they are kept; the least used are asked for again.
const TENANTS_MAX: usize = 256;
/// How long the provider may take.
const TIMEOUT: Duration = Duration::from_secs(15);

pub struct TemplatesApi {
    deps: Arc<Deps>,
    kept: Cache<ClientId, (Instant, Arc<[Template]>)>,
}

impl TemplatesApi {
    pub fn new(deps: Arc<Deps>) -> Self {
        Self { deps, kept: Cache::new(TENANTS_MAX) }
    }
}

#[OpenApi(tag = "Chapter::Messages")]
impl TemplatesApi {
    /// The message templates that can be sent.
    ///
    /// As the provider has them, at most a minute old; empty where it knows none (WAHA).
    #[oai(path = "/v1/templates", method = "get", operation_id = "list_templates")]
    async fn list(&self, caller: Caller<MessagesRead>) -> Result<Answer<Templates>> {
        let client = caller.identity.client_id;
        if let Some((at, kept)) = self.kept.get(&client)
            && at.elapsed() < KEPT
        {
            return Ok(Answer(Templates { templates: kept.to_vec() }));
        }
        let templates = self.ask(client).await?;
        self.kept.insert(client, (Instant::now(), templates.clone().into()));
        Ok(Answer(Templates { templates }))
    }
}

impl TemplatesApi {
    async fn ask(&self, client: ClientId) -> Result<Vec<Template>, Problem> {
        let line = self.deps.tenancy.of(client).ok_or(CommandError::NoChannel)?;
        let asking = line.provider.templates(&line.account);
        let answer = tokio::time::timeout(TIMEOUT, asking).await;
        let found = answer.map_err(|_| Problem::new(Code::ProviderUnavailable))??;
        Ok(found.into_iter().map(to_wire).collect())
    }
}

fn to_wire(template: outbound::Template) -> Template {
    let outbound::Template { name, language, status, category, components } = template;
    Template { name, language, status, category, components }
}
