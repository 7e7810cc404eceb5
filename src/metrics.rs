//! The names of all metrics, in one table: code, `/metrics` and the documentation use this.
//!
//! **Invariant:** no label holds a tenant's or a person's data, or anything that a client chose.

/// A metric: what it is called and what it tells.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    pub kind: Kind,
    pub name: &'static str,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

macro_rules! metrics {
    ($($(#[$doc:meta])* $kind:ident $constant:ident = $name:literal [$($label:literal),*] $help:literal;)*) => {
        $($(#[$doc])* pub const $constant: &str = $name;)*
        /// Every metric that the server has.
        pub const ALL: &[Metric] = &[
            $(Metric { kind: Kind::$kind, name: $name, labels: &[$($label),*], help: $help },)*
        ];
    };
}

metrics! {
    // Log and projection.
    Histogram APPEND_SECONDS = "condorito_append_seconds" [] "Time from asking for an append to its durable end.";
    Counter APPENDED_EVENTS = "condorito_appended_events_total" [] "Events stored in the log.";
    Counter APPEND_FAILURES = "condorito_append_failures_total" ["kind"] "Appends not stored, by kind.";
    Gauge LOG_HEAD = "condorito_log_head_position" [] "Position of the newest event in the log.";
    Gauge PROJECTED = "condorito_projected_position" [] "Position up to which this instance has projected.";
    Gauge PROJECTION_LAG_SECONDS = "condorito_projection_lag_seconds" [] "Age of the newest projected event when it was projected; 0 when caught up.";
    Histogram PROJECTION_BATCH_SECONDS = "condorito_projection_batch_seconds" [] "Time of one projector transaction.";
    Counter PROJECTED_EVENTS = "condorito_projected_events_total" [] "Domain events folded.";
    Counter SKIPPED_EVENTS = "condorito_skipped_events_total" [] "Logged events that the fold could not read and skipped.";
    Gauge FEED_ROWS = "condorito_feed_rows" [] "Public events kept in the feed table.";
    // Connections and delivery.
    Gauge CONNECTIONS = "condorito_connections" ["transport"] "Open connections.";
    Counter CONNECTIONS_OPENED = "condorito_connections_opened_total" ["transport"] "Connections opened.";
    Counter CONNECTIONS_CLOSED = "condorito_connections_closed_total" ["transport", "reason"] "Connections closed, by reason.";
    Counter CONNECTIONS_REJECTED = "condorito_connections_rejected_total" ["reason"] "Connections turned away, by reason.";
    Counter DELIVERIES = "condorito_deliveries_total" ["transport"] "Public events written to subscribers.";
    Counter DELIVERED_BYTES = "condorito_delivered_bytes_total" ["transport"] "Bytes of events written to subscribers; of br and zstd streams before compression.";
    Histogram DELIVERY_LAG_SECONDS = "condorito_delivery_lag_seconds" ["transport"] "Time from taking an event in to writing it to the socket of a client that keeps up, sampled at most 10 times a second and connection; in whole milliseconds.";
    Counter CONFLATED = "condorito_conflated_total" [] "Superseded state events left out.";
    Counter RESETS = "condorito_resets_total" ["reason"] "Subscribers told to reload, by reason.";
    Gauge RING_BYTES = "condorito_ring_bytes" [] "Memory held by the feed's rings.";
    // What is sent.
    Gauge OUTBOX_WAITING = "condorito_outbox_waiting" [] "Messages in memory that wait to be sent.";
    Gauge OUTBOX_IN_FLIGHT = "condorito_outbox_in_flight" [] "Messages that are being claimed or sent.";
    Counter OUTBOX_MESSAGES = "condorito_outbox_messages_total" ["outcome"] "Calls to a provider to send a message, by what became of it.";
    Histogram OUTBOX_WAIT_SECONDS = "condorito_outbox_wait_seconds" ["kind"] "Time from queueing a message to calling the provider.";
    Histogram PROVIDER_SECONDS = "condorito_provider_seconds" [] "Time that a provider took to answer a message.";
    Counter CONTACT_SIGNALS = "condorito_contact_signals_total" ["outcome"] "Read receipts and typing shown to contacts, by what became of them.";
    // What comes in.
    Counter WEBHOOKS = "condorito_webhooks_total" ["provider", "outcome"] "Webhook requests, by outcome.";
    Counter INTAKE_ITEMS = "condorito_intake_items_total" ["provider", "outcome"] "Things that came in, by outcome.";
    Counter BULK_CLAIMED = "condorito_bulk_claimed_total" [] "Recipients of bulks claimed for sending, those left out included.";
    // Media.
    Counter MEDIA_FETCHES = "condorito_media_fetches_total" ["outcome"] "Attempts to fetch a contact's medium, by outcome.";
    Gauge MEDIA_WAITING = "condorito_media_waiting" [] "Media that wait to be fetched or are being fetched.";
    Counter MEDIA_UPLOADS = "condorito_media_uploads_total" ["outcome"] "Uploads of clients, by outcome.";
    Counter RATE_LIMITED = "condorito_rate_limited_total" ["limit"] "Requests over a limit, by which.";
    Counter HTTP_REQUESTS = "condorito_http_requests_total" ["method", "route", "status"] "HTTP requests by route and status.";
    Histogram HTTP_SECONDS = "condorito_http_request_seconds" ["method", "route"] "Time to answer an HTTP request.";
}
