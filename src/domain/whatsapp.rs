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

impl WhatsApp {
    /// The same state, whenever it began.
    pub fn is_as(&self, other: &WhatsApp) -> bool {
        let Self { status, phone_number, name, qr, quality, reason, changed_at: _ } = self;
        *status == other.status
            && *phone_number == other.phone_number
            && *name == other.name
            && *qr == other.qr
            && *quality == other.quality
            && *reason == other.reason
    }

    /// The state after a gateway told `told`, which is mostly a part of it: number, name and
    /// quality stay when it is silent on them; a QR code is good only while one is asked for,
    /// and a reason belongs to the status that it came with.
    pub fn told_by_gateway(&self, told: WhatsApp) -> WhatsApp {
        WhatsApp {
            phone_number: told.phone_number.or_else(|| self.phone_number.clone()),
            name: told.name.or_else(|| self.name.clone()),
            quality: told.quality.or_else(|| self.quality.clone()),
            qr: told.qr.filter(|_| told.status == WhatsAppStatus::Qr),
            ..told
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_tells_a_part_and_the_rest_stays() {
        let connected = WhatsApp {
            status: WhatsAppStatus::Connected,
            phone_number: Some("+34600000001".to_owned()),
            name: Some("Shop".to_owned()),
            quality: Some("GREEN".to_owned()),
            ..WhatsApp::default()
        };
        let told = WhatsApp {
            status: WhatsAppStatus::Disconnected,
            qr: Some("2@stale".to_owned()),
            reason: Some("logged out".to_owned()),
            ..WhatsApp::default()
        };
        let disconnected = connected.told_by_gateway(told);
        let expected = WhatsApp {
            status: WhatsAppStatus::Disconnected,
            reason: Some("logged out".to_owned()),
            ..connected.clone()
        };
        assert!(disconnected.is_as(&expected), "{disconnected:?}");

        let asks = WhatsApp {
            status: WhatsAppStatus::Qr,
            qr: Some("2@fresh".to_owned()),
            ..WhatsApp::default()
        };
        let asking = disconnected.told_by_gateway(asks);
        assert_eq!(asking.qr.as_deref(), Some("2@fresh"));
        assert_eq!(asking.reason, None);
        let later = WhatsApp { changed_at: Timestamp(1), ..asking.clone() };
        assert!(asking.is_as(&later) && !asking.is_as(&connected));
    }
}
