//! Whether settings make sense, each by itself and together.

use std::{collections::HashSet, sync::Arc};

use serde_json::Value;

use super::{
    Problem, Settings,
    known::{self, Kind},
    sources::Loaded,
};
use crate::{
    auth::cors::check_origins,
    domain::bulk::RATE_PER_SECOND_MAX,
    gateway::{routes::Routes, waha::Waha, whatsapp_cloud::WhatsAppCloud},
    runtime::keyring::Keyring,
};

/// Numbers for which zero means something; their doc comments say what. Anywhere else zero would
/// be a server that can do nothing.
const MAY_BE_ZERO: [&str; 6] = [
    "auth.leeway_s",
    "bot.pause_after_person_s",
    "feed.batch_window_ms",
    "media.tenant_bytes_max",
    "simulator.seed",
    "tenants[].client_id",
];

/// Everything that is wrong.
pub fn validate(loaded: &Loaded) -> Vec<Problem> {
    let mut problems = Vec::new();
    zeroes(loaded, &mut problems);
    let settings = &loaded.settings;
    let mut add = |place: &str, message: String| {
        let place = match loaded.values.get(place) {
            Some((_, origin)) => format!("{origin}: {place}"),
            None => place.to_owned(),
        };
        problems.push(Problem { place, message });
    };
    if let Err(error) = settings.auth.validate() {
        add("auth", error.to_string());
    }
    if let Err(error) = Keyring::new(&settings.credentials) {
        add("credentials.keys", error.to_string());
    }
    if let Err(error) = settings.cors.validate() {
        add("cors", error.to_string());
    }
    if let Err(error) = check_origins(&settings.websocket.allowed_origins) {
        add("websocket.allowed_origins", error.to_string());
    }
    drain(settings, &mut add);
    if !settings.log.starts_with("sqlite:") {
        let message =
            format!("{:?} is no log that this build knows: use sqlite:PATH", settings.log);
        add("log", message);
    }
    if let Err(error) = settings.logging.filter.parse::<tracing_subscriber::EnvFilter>() {
        add("logging.filter", format!("it can't be read: {error}; write a level, like info"));
    }
    let s3 = &settings.media.s3;
    if s3.access_key_id.is_some() != s3.secret_access_key.is_some() {
        add("media.s3", "give both access_key_id and secret_access_key, or neither".to_owned());
    }
    if settings.outbox.call_timeout_ms >= settings.outbox.doubt_after_ms {
        let message = "a call must have timed out before others hold it to be in doubt: give a \
                       time below outbox.doubt_after_ms";
        add("outbox.call_timeout_ms", message.to_owned());
    }
    if f64::from(settings.api.bulk_rate_per_second_default) > RATE_PER_SECOND_MAX {
        let message = format!("no number sends more than {RATE_PER_SECOND_MAX} messages a second");
        add("api.bulk_rate_per_second_default", message);
    }
    time_zone("api.time_zone", &settings.api.time_zone, &mut add);
    tenants(settings, &mut add);
    gateways(settings, &mut add);
    problems
}

fn zeroes(loaded: &Loaded, problems: &mut Vec<Problem>) {
    for (key, (value, origin)) in &loaded.values {
        let Some(known) = known::find(key) else { continue };
        let is_zero = matches!(value, toml::Value::Integer(0));
        if known.kind == Kind::Integer && is_zero && !MAY_BE_ZERO.contains(&known.path.as_str()) {
            let usual = match &known.default {
                Some(Value::Number(number)) => format!(" (the default is {number})"),
                _ => String::new(),
            };
            problems.push(Problem {
                place: origin.to_string(),
                message: format!("{key} must not be zero: give a number above{usual}"),
            });
        }
    }
}

/// Clients are told moments at which to come back; until then their connections must live.
fn drain(settings: &Settings, add: &mut impl FnMut(&str, String)) {
    let (spread, timeout) = (settings.delivery.drain_spread_ms, settings.listener.drain_timeout_ms);
    if spread > timeout {
        let message = format!(
            "connections are told to come back within {spread} ms and cut off after \
             listener.drain_timeout_ms, {timeout} ms: make the one shorter or the other longer"
        );
        add("delivery.drain_spread_ms", message);
    }
}

fn tenants(settings: &Settings, add: &mut impl FnMut(&str, String)) {
    let mut seen = HashSet::new();
    for (index, tenant) in settings.tenants.iter().enumerate() {
        if !seen.insert(tenant.client_id) {
            let message = format!(
                "tenant {} stands there twice (again as number {}): keep one table per tenant",
                tenant.client_id,
                index + 1
            );
            add("tenants", message);
        }
        if let Some(zone) = &tenant.time_zone {
            time_zone("tenants", zone, add);
        }
    }
}

fn gateways(settings: &Settings, add: &mut impl FnMut(&str, String)) {
    let checked = Routes::new(&settings.tenant_routing()).and_then(|routes| {
        let routes = Arc::new(routes);
        WhatsAppCloud::new(&settings.whatsapp_cloud, routes.clone())?;
        Waha::new(&settings.waha, &routes).map(|_usable| ())
    });
    if let Err(error) = checked {
        add("tenants", error.to_string());
    }
}

fn time_zone(place: &str, name: &str, add: &mut impl FnMut(&str, String)) {
    if jiff::tz::TimeZone::get(name).is_err() {
        let message = format!(
            "{name:?} is no time zone that this machine knows: use an IANA name like \
             America/Santiago or UTC (or install the tzdata package)"
        );
        add(place, message);
    }
}
