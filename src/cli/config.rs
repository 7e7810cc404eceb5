//! `condorito config`: what is in force, and what there is.

use clap::Args;

use super::{Failure, SettingsArgs, print};
use crate::config::reference;

/// Show the settings in force and where each comes from; secrets are not shown.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// Print the reference of all settings instead, in Markdown (docs/settings.md)
    #[arg(long)]
    reference: bool,
}

pub fn run(args: &ConfigArgs, settings: &SettingsArgs) -> Result<(), Failure> {
    if args.reference {
        return print(&reference::markdown());
    }
    let loaded = settings.load_unchecked()?;
    let file = match &loaded.file {
        Some(file) => format!("# settings file: {}\n", file.display()),
        None => "# no settings file\n".to_owned(),
    };
    print(&(file + &reference::listing(&loaded)))
}
