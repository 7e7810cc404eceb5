//! The tenant's bot: whether it answers.

use serde::{Deserialize, Serialize};

use super::time::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BotMode {
    Active,
    Paused,
    Error,
    Offline,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bot {
    pub status: BotMode,
    pub reason: Option<String>,
    pub changed_by: Option<String>,
    pub changed_at: Timestamp,
}

impl Default for Bot {
    fn default() -> Self {
        Self {
            status: BotMode::Offline,
            reason: None,
            changed_by: None,
            changed_at: Timestamp::default(),
        }
    }
}
