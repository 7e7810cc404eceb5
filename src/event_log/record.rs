//! The stored shape of an event: one JSON envelope with a schema version.
//!
//! `{"id","stream","type","v","client_id","time","actor","causation","data"}`
