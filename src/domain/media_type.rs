//! Media types as headers and providers write them.

/// `type/subtype` alone, without parameters and in lower case.
pub fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
