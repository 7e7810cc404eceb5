//! What the feed promises, over ring, table and subscriber together.

mod promise;
mod pulling;
pub(crate) mod table;

pub(super) use table::event;
