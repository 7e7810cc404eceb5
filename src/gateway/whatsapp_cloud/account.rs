//! What concerns the account and not one message: restrictions, quality, limits, templates, and
//! whether a contact wants marketing messages.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    super::{
        identity,
        json::{Items, Text, read},
    },
    payload::Preference,
    translate::{People, Scope, of_account, unknown},
};
use crate::domain::{
    intake::Intake,
    time::Timestamp,
    whatsapp::{WhatsAppStatus, WhatsAppTold},
};

/// Fields that speak of the company's own account alone, so that their words can be kept.
const ACCOUNT_FIELDS: &[&str] = &[
    "account_alerts",
    "account_review_update",
    "account_settings_update",
    "account_update",
    "business_capability_update",
    "business_status_update",
    "flows",
    "message_template_components_update",
    "message_template_quality_update",
    "message_template_status_update",
    "partner_solutions",
    "payment_configuration_update",
    "phone_number_name_update",
    "phone_number_quality_update",
    "template_category_update",
    "template_correct_category_detection",
];

pub(super) fn is_account_field(field: &str) -> bool {
    ACCOUNT_FIELDS.contains(&field)
}

/// Keeps the change as it came and, where it tells of the connection, says so.
pub(super) fn take(scope: &Scope<'_>, field: &str, raw: &RawValue, take: &mut impl FnMut(Intake)) {
    let told = match field {
        "account_update" => account_update(raw),
        "phone_number_quality_update" => quality(raw),
        _ => None,
    };
    if let Some(told) = told {
        // Without a time, the same again may be so again: it is compared with what is so.
        let key = scope.told_at.map(|_| scope.key(raw));
        take(Intake::WhatsAppState { told, at: scope.time, key });
    }
    take(of_account(scope, field, raw));
}

#[derive(Debug, Default, Deserialize)]
struct AccountUpdate<'a> {
    #[serde(borrow, default)]
    event: Text<'a>,
    #[serde(borrow, default)]
    phone_number: Text<'a>,
    #[serde(borrow, default)]
    restriction_info: Items<'a>,
    #[serde(borrow, default)]
    ban_info: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
struct Restriction<'a> {
    #[serde(borrow, default)]
    restriction_type: Text<'a>,
    #[serde(borrow, default)]
    expiration: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
struct Ban<'a> {
    /// One state, or a list of one.
    #[serde(borrow, default)]
    waba_ban_state: Option<&'a RawValue>,
}

impl Ban<'_> {
    fn state(&self) -> Option<String> {
        let raw = self.waba_ban_state?;
        let listed = read::<Items<'_>>(raw).unwrap_or_default().0;
        let state: Text<'_> = read(listed.first().copied().unwrap_or(raw))?;
        state.filled_owned()
    }
}

fn account_update(raw: &RawValue) -> Option<WhatsAppTold> {
    let update: AccountUpdate<'_> = read(raw).unwrap_or_default();
    let event = update.event.filled().unwrap_or_default();
    let ban: Ban<'_> = update.ban_info.and_then(read).unwrap_or_default();
    let (status, reason) = match event {
        "ACCOUNT_RESTRICTION" => (WhatsAppStatus::Error, Some(restrictions(&update))),
        "DISABLED_UPDATE" => match ban.state().as_deref() {
            Some("REINSTATE") => (WhatsAppStatus::Connected, None),
            Some(state) => (WhatsAppStatus::Error, Some(format!("account disabled: {state}"))),
            None => (WhatsAppStatus::Error, Some("account disabled".to_owned())),
        },
        "ACCOUNT_VIOLATION" => {
            (WhatsAppStatus::Error, Some("the account violated a policy".to_owned()))
        }
        "ACCOUNT_DELETED" => (WhatsAppStatus::Disconnected, Some("account deleted".to_owned())),
        "PARTNER_REMOVED" | "PARTNER_APP_UNINSTALLED" => {
            (WhatsAppStatus::Disconnected, Some("this app was removed from the account".to_owned()))
        }
        "ACCOUNT_OFFBOARDED" => {
            (WhatsAppStatus::Disconnected, Some("the number left the Cloud API".to_owned()))
        }
        "ACCOUNT_RECONNECTED" | "PARTNER_ADDED" | "PARTNER_APP_INSTALLED" => {
            (WhatsAppStatus::Connected, None)
        }
        _ => return None,
    };
    Some(WhatsAppTold {
        status: Some(status),
        phone_number: update.phone_number.filled_owned(),
        reason,
        ..WhatsAppTold::default()
    })
}

/// `account restricted: RESTRICTED_BIZ_INITIATED_MESSAGING until 2022-01-04T21:11:33.000Z`
fn restrictions(update: &AccountUpdate<'_>) -> String {
    let listed: Vec<String> = update
        .restriction_info
        .0
        .iter()
        .filter_map(|raw| read::<Restriction<'_>>(raw))
        .filter_map(|restriction| {
            let kind = restriction.restriction_type.filled()?;
            let until = restriction.expiration.as_time(Timestamp(0));
            Some(match until.0 {
                0 => kind.to_owned(),
                _ => format!("{kind} until {until}"),
            })
        })
        .collect();
    if listed.is_empty() {
        return "account restricted".to_owned();
    }
    format!("account restricted: {}", listed.join(", "))
}

#[derive(Debug, Default, Deserialize)]
struct QualityUpdate<'a> {
    #[serde(borrow, default)]
    display_phone_number: Text<'a>,
    #[serde(borrow, default)]
    event: Text<'a>,
    #[serde(borrow, default)]
    current_limit: Text<'a>,
    #[serde(borrow, default)]
    max_daily_conversations_per_business: Text<'a>,
}

/// Says nothing of the connection: Meta tells it of restricted numbers too, and then most of all.
fn quality(raw: &RawValue) -> Option<WhatsAppTold> {
    let update: QualityUpdate<'_> = read(raw).unwrap_or_default();
    let limit =
        update.current_limit.filled().or(update.max_daily_conversations_per_business.filled());
    let event = update.event.filled()?;
    let quality = match limit {
        Some(limit) => format!("{event} {limit}"),
        None => event.to_owned(),
    };
    Some(WhatsAppTold {
        phone_number: update.display_phone_number.filled_owned(),
        quality: Some(quality),
        ..WhatsAppTold::default()
    })
}

/// Takes one element of `user_preferences`: marketing messages wanted or not.
pub(super) fn take_preference(
    scope: &Scope<'_>,
    people: &People<'_>,
    raw: &RawValue,
    take: &mut impl FnMut(Intake),
) {
    let preference: Preference<'_> = read(raw).unwrap_or_default();
    let ids = [&preference.wa_id, &preference.user_id, &preference.parent_user_id];
    let contact = people.contact(ids, usize::MAX);
    let allowed = match (preference.category.filled(), preference.value.filled()) {
        (Some("marketing_messages") | None, Some("resume")) => Some(true),
        (Some("marketing_messages") | None, Some("stop")) => Some(false),
        _ => None,
    };
    match allowed {
        Some(allowed) if identity::is_known(&contact) => {
            let at = preference.timestamp.as_time(scope.time);
            take(Intake::MarketingPreference { contact, allowed, at, key: Some(scope.key(raw)) });
        }
        _ => take(unknown(scope, "user_preferences", raw)),
    }
}
