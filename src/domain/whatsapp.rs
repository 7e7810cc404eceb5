//! The tenant's connection to WhatsApp.

use serde::{Deserialize, Serialize};

use super::time::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhatsAppStatus {
    Disconnected,
    Connecting,
    Qr,
    Connected,
    Error,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WhatsApp {
    pub status: WhatsAppStatus,
    pub phone_number: Option<String>,
    pub name: Option<String>,
    pub qr: Option<String>,
    pub quality: Option<String>,
    pub reason: Option<String>,
    pub changed_at: Timestamp,
}

impl Default for WhatsApp {
    fn default() -> Self {
        Self {
            status: WhatsAppStatus::Disconnected,
            phone_number: None,
            name: None,
            qr: None,
            quality: None,
            reason: None,
            changed_at: Timestamp::default(),
        }
    }
}
