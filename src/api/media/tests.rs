//! Ranges, names and tags as browsers and attackers send them.

use super::*;
use crate::domain::time::Timestamp;

#[test]
fn ranges_are_read_as_rfc_9110_has_them() {
    for (text, asked) in [
        ("bytes=0-4", Asked::Part(0..5)),
        ("bytes=5-", Asked::Part(5..10)),
        ("bytes=5-99", Asked::Part(5..10)),
        ("bytes=-3", Asked::Part(7..10)),
        ("bytes=-99", Asked::Part(0..10)),
        ("bytes=9-9", Asked::Part(9..10)),
        ("bytes=0-99999999999999999999999", Asked::Part(0..10)),
        ("bytes=10-", Asked::Nothing),
        ("bytes=99999999999999999999999-", Asked::Nothing),
        ("bytes=-0", Asked::Nothing),
        ("bytes=4-2", Asked::All),
        ("bytes=a-b", Asked::All),
        ("bytes=-", Asked::All),
        ("bytes=0-1,4-5", Asked::All),
        ("lines=0-1", Asked::All),
        ("", Asked::All),
    ] {
        assert_eq!(read_range(text, 10), asked, "{text}");
    }
    assert_eq!(read_range("bytes=0-", 0), Asked::Nothing);
}

#[test]
fn a_name_can_not_leave_its_header() {
    let about = |mime_type: &str, filename: &str| About {
        mime_type: mime_type.to_owned(),
        size: 1,
        sha256: String::new(),
        filename: Some(filename.to_owned()),
        created_at: Timestamp(0),
        came_in: true,
    };
    let shown = disposition(&about("image/png", "a\"b\r\nX: y\\ñ.png"));
    assert_eq!(
        shown,
        "inline; filename=\"a_b__X: y__.png\"; filename*=UTF-8''a%22b%0D%0AX%3A%20y%5C%C3%B1.png"
    );
    assert!(HeaderValue::try_from(shown).is_ok());
    for active in ["text/html", "image/svg+xml", "application/pdf", "text/plain"] {
        assert!(disposition(&about(active, "x")).starts_with("attachment"), "{active}");
    }
}

#[test]
fn etags_are_compared_weakly() {
    assert!(matches_etag("\"a\", W/\"b\"", "\"b\""));
    assert!(matches_etag("*", "\"b\""));
    assert!(!matches_etag("\"a\"", "\"b\""));
}
