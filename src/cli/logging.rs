//! What the process says about itself, on standard error: readable lines on a terminal, JSON for
//! machines.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LoggingSettings};

/// For `serve`: everything by the settings.
pub fn for_server(settings: &LoggingSettings) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(settings.filter.clone()));
    let json = match settings.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !stderr().is_terminal(),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    // A second subscriber is refused; then the first, of a test, stays.
    let _ = match json {
        true => builder.json().flatten_event(true).with_current_span(true).try_init(),
        false => builder.with_ansi(stderr().is_terminal()).try_init(),
    };
}

/// For the other commands: warnings.
pub fn for_commands() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let _ = builder.with_ansi(stderr().is_terminal()).without_time().try_init();
}
