//! Why a command failed, as it is told to the person at the terminal.

use std::{fmt, process::ExitCode};

use crate::config::ConfigError;

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// The settings can't be used.
    Config(ConfigError),
    /// The arguments can be parsed and make no sense.
    Usage(String),
    /// The server could not be reached, or said no.
    Server(Told),
    /// Anything else.
    Failed(Told),
}

/// What happened, why, and what to do.
#[derive(Debug)]
pub struct Told {
    what: String,
    why: Option<String>,
    advice: Option<String>,
}

impl Failure {
    pub fn failed(what: impl Into<String>, why: impl fmt::Display) -> Self {
        let why = Some(why.to_string());
        Self::Failed(Told { what: what.into(), why, advice: None })
    }

    pub fn server(what: impl Into<String>, why: impl fmt::Display) -> Self {
        let why = Some(why.to_string());
        Self::Server(Told { what: what.into(), why, advice: None })
    }

    /// Adds what the person can do.
    pub fn advice(mut self, text: impl Into<String>) -> Self {
        if let Self::Server(told) | Self::Failed(told) = &mut self {
            told.advice = Some(text.into());
        }
        self
    }

    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Config(_) => 3,
            Self::Server(_) => 4,
        })
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => write!(f, "error: {error}"),
            Self::Usage(text) => write!(f, "error: {text}"),
            Self::Server(told) | Self::Failed(told) => {
                write!(f, "error: {}", told.what)?;
                if let Some(why) = &told.why {
                    write!(f, "\n  because {why}")?;
                }
                if let Some(advice) = &told.advice {
                    write!(f, "\n  try: {advice}")?;
                }
                Ok(())
            }
        }
    }
}

/// An error with everything behind it, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    text
}
