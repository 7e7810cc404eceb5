//! The tenant's connection to WhatsApp.

use std::collections::BTreeMap;

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
    /// Of when each gateway's last word on the status is, by the gateway's name: it tells a
    /// status again when nobody acknowledged it, maybe long after a newer one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub told_at: BTreeMap<String, Timestamp>,
}

/// What a gateway tells of the connection: a part of its state.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WhatsAppTold {
    /// `None`: it goes on as it was, with its QR code and its reason.
    pub status: Option<WhatsAppStatus>,
    pub phone_number: Option<String>,
    pub name: Option<String>,
    pub qr: Option<String>,
    pub quality: Option<String>,
    pub reason: Option<String>,
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
            told_at: BTreeMap::new(),
        }
    }
}

impl WhatsApp {
    /// The same state, whenever it began.
    pub fn is_as(&self, other: &WhatsApp) -> bool {
        let Self { status, phone_number, name, qr, quality, reason, changed_at: _, told_at: _ } =
            self;
        *status == other.status
            && *phone_number == other.phone_number
            && *name == other.name
            && *qr == other.qr
            && *quality == other.quality
            && *reason == other.reason
    }

    /// The state after a gateway told `told` at `now`: number, name and quality stay when it is
    /// silent on them; a QR code is good only while one is asked for, and a reason belongs to the
    /// status that it came with.
    pub fn told_by_gateway(&self, told: WhatsAppTold, now: Timestamp) -> WhatsApp {
        let (status, qr, reason) = match told.status {
            Some(status) => (status, told.qr, told.reason),
            None => (self.status, self.qr.clone(), self.reason.clone()),
        };
        WhatsApp {
            status,
            phone_number: told.phone_number.or_else(|| self.phone_number.clone()),
            name: told.name.or_else(|| self.name.clone()),
            quality: told.quality.or_else(|| self.quality.clone()),
            qr: qr.filter(|_| status == WhatsAppStatus::Qr),
            reason,
            changed_at: now,
            told_at: self.told_at.clone(),
        }
    }

    /// Whether this gateway has told a status already that is newer than `at`.
    pub fn was_told_after(&self, gateway: &str, at: Timestamp) -> bool {
        self.told_at.get(gateway).is_some_and(|told_at| *told_at > at)
    }

    /// Nobody has said anything of the connection yet.
    pub fn is_untold(&self) -> bool {
        self.is_as(&Self::default()) && self.changed_at == Timestamp::default()
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
        let told = WhatsAppTold {
            status: Some(WhatsAppStatus::Disconnected),
            qr: Some("2@stale".to_owned()),
            reason: Some("logged out".to_owned()),
            ..WhatsAppTold::default()
        };
        let disconnected = connected.told_by_gateway(told, Timestamp(1));
        let expected = WhatsApp {
            status: WhatsAppStatus::Disconnected,
            reason: Some("logged out".to_owned()),
            ..connected.clone()
        };
        assert!(disconnected.is_as(&expected), "{disconnected:?}");

        let asks = WhatsAppTold {
            status: Some(WhatsAppStatus::Qr),
            qr: Some("2@fresh".to_owned()),
            ..WhatsAppTold::default()
        };
        let asking = disconnected.told_by_gateway(asks, Timestamp(2));
        assert_eq!(asking.qr.as_deref(), Some("2@fresh"));
        assert_eq!(asking.reason, None);
        let later = WhatsApp { changed_at: Timestamp(3), ..asking.clone() };
        assert!(asking.is_as(&later) && !asking.is_as(&connected));
    }

    #[test]
    fn who_tells_no_status_leaves_it_with_all_that_belongs_to_it() {
        let restricted = WhatsApp {
            status: WhatsAppStatus::Error,
            reason: Some("account restricted".to_owned()),
            quality: Some("GREEN".to_owned()),
            ..WhatsApp::default()
        };
        let told =
            WhatsAppTold { quality: Some("DOWNGRADE".to_owned()), ..WhatsAppTold::default() };
        let next = restricted.told_by_gateway(told, Timestamp(1));
        let expected = WhatsApp { quality: Some("DOWNGRADE".to_owned()), ..restricted };
        assert!(next.is_as(&expected), "{next:?}");
    }
}
