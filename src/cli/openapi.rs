//! `condorito openapi`: the documents that describe the server.

use clap::Args;

use super::{Failure, print};
use crate::api::document;

/// Print the OpenAPI document of the REST interface, or the AsyncAPI one of the event streams.
#[derive(Debug, Args)]
pub struct OpenApiArgs {
    /// The AsyncAPI document of /v1/ws and /v1/events/stream
    #[arg(long)]
    asyncapi: bool,
}

pub fn run(args: &OpenApiArgs) -> Result<(), Failure> {
    print(&match args.asyncapi {
        true => document::asyncapi_json(),
        false => document::openapi_json(),
    })
}
