//! What concerns the tenant as a whole: bot, connection to WhatsApp, days.

use std::collections::BTreeMap;

use super::{Folding, erasure::ERASED_KEPT_MS};
use crate::domain::{
    bot::{Bot, BotMode},
    event::EventData,
    ids::EventId,
    public::PublicEvent,
    state::State,
    stats::Counts,
    tenant::{Sealed, StoredSetup, TenantSetup},
    whatsapp::{WhatsApp, WhatsAppStatus},
};

/// How long a status or an amendment waits for its message. WhatsApp repeats a webhook for 7
/// days at most; what waits for longer is of a message that never passed here.
pub const WAITING_MAX_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// How long the answer under an idempotency key is given again.
pub const ANSWER_KEPT_MS: i64 = 24 * 60 * 60 * 1000;

/// The actor of what comes from Meta.
const WHATSAPP_CLOUD: &str = "whatsapp_cloud";

impl<S: State> Folding<'_, S> {
    pub(super) fn bot_status_changed(&mut self, status: BotMode, reason: Option<&str>) {
        let bot = &mut self.state.tenant(self.event.client_id).bot;
        if bot.status == status && bot.reason.as_deref() == reason {
            return;
        }
        let actor = &self.event.actor;
        *bot = Bot {
            status,
            reason: reason.map(str::to_owned),
            changed_by: Some(actor.strip_prefix("user:").unwrap_or(actor).to_owned()),
            changed_at: self.event.time,
        };
        self.public.push(PublicEvent::BotStatusChanged);
    }

    /// The event tells the whole state: what it leaves out is not so any more. One that a gateway
    /// tells again, or late, is older than its last word and is no news.
    pub(super) fn whatsapp_state_changed(&mut self) {
        let EventData::WhatsappStateChanged { status, phone_number, name, qr, quality, reason, at } =
            &self.event.data
        else {
            return;
        };
        let gateway = &self.event.actor;
        let known = &mut self.state.tenant(self.event.client_id).whatsapp;
        if let Some(at) = *at {
            // A clock that runs ahead must not make all that follows old.
            let at = at.min(self.event.time);
            if known.was_told_after(gateway, at) {
                return;
            }
            known.told_at.insert(gateway.clone(), at);
        }
        let told = WhatsApp {
            status: *status,
            phone_number: phone_number.clone(),
            name: name.clone(),
            qr: qr.clone(),
            quality: quality.clone(),
            reason: reason.clone(),
            changed_at: self.event.time,
            told_at: BTreeMap::new(),
        };
        if !told.is_as(known) {
            *known = WhatsApp { told_at: std::mem::take(&mut known.told_at), ..told };
            self.public.push(PublicEvent::WhatsappStatusChanged);
        }
    }

    /// Meta tells of the connection only when something is wrong with it. That a contact's message
    /// comes through, and nothing else was told, says that it is well.
    pub(super) fn heard_through(&mut self) {
        if self.event.actor != WHATSAPP_CLOUD {
            return;
        }
        let known = &mut self.state.tenant(self.event.client_id).whatsapp;
        if known.is_untold() {
            known.status = WhatsAppStatus::Connected;
            known.changed_at = self.event.time;
            self.public.push(PublicEvent::WhatsappStatusChanged);
        }
    }

    /// Nobody follows a setup on the feed: it is read where it is used.
    pub(super) fn tenant_set_up(&mut self, setup: &TenantSetup) {
        self.state.put_setup(StoredSetup {
            client_id: self.event.client_id,
            event: self.event.id,
            at: self.event.time,
            setup: setup.clone(),
        });
    }

    /// A sealing of an earlier setup is of no use any more: who set the tenant up anew was faster.
    pub(super) fn credentials_resealed(&mut self, replaces: EventId, sealed: &Sealed) {
        let known = self.state.setup(self.event.client_id);
        let Some(mut known) = known.filter(|known| known.event == replaces) else { return };
        known.event = self.event.id;
        known.setup.credentials = Some(sealed.clone());
        self.state.put_setup(known);
    }

    /// Begins `today` anew, once for each date however many instances say so, and forgets what is
    /// too old. A date that lies before the known one is a late repetition, unless the time zone
    /// changed. With another zone on the same date the day goes on.
    pub(super) fn day_started(&mut self, date: &str, time_zone: &str) {
        let Ok(date) = date.parse::<jiff::civil::Date>() else { return };
        let client = self.client();
        let tenant = self.state.tenant(client);
        let known = tenant.day.as_ref();
        let known_date = known.and_then(|(date, _)| date.parse::<jiff::civil::Date>().ok());
        let same_zone = known.is_some_and(|(_, zone)| zone == time_zone);
        if same_zone && known_date.is_some_and(|known| known >= date) {
            return;
        }
        tenant.day = Some((date.to_string(), time_zone.to_owned()));
        if known_date != Some(date) {
            self.stats().today = Counts::ZERO;
        }
        self.state.forget_waiting(client, self.event.time.plus_ms(-WAITING_MAX_MS));
        self.state.forget_erased_identities(client, self.event.time.plus_ms(-ERASED_KEPT_MS));
    }
}
