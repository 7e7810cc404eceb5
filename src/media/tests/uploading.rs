//! Uploads: judged by their content, bounded, whole or not at all.

use std::convert::Infallible;

use super::*;
use crate::media::{
    kinds::{HEAD_BYTES, NotTaken, SentAs, judge},
    upload::{UploadError, clean_filename},
};

fn body(bytes: &[u8]) -> impl futures_util::Stream<Item = Result<Bytes, Infallible>> + use<> {
    let parts: Vec<_> = bytes.chunks(4096).map(|part| Ok(Bytes::copy_from_slice(part))).collect();
    futures_util::stream::iter(parts)
}

fn png(size: usize) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    bytes.resize(size, 7);
    bytes
}

/// Nothing is left in the store, nor on its way into it.
async fn nothing_is_left(here: &Instance) {
    let empty = async {
        while !files_with(&here.settings.directory, b"").is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, empty).await.expect("all of it is undone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_is_found_by_its_tenant_alone() {
    let folder = folder();
    let here = Instance::start(folder.path(), &Arc::default()).await;
    let bytes = png(1_000_000);
    let uploaded =
        here.media.upload(CLIENT, Some("image/png"), Some("../a/b.png"), body(&bytes)).await;
    let (id, about) = uploaded.expect("taken");
    assert_eq!((about.size, about.filename.as_deref()), (1_000_000, Some("b.png")));
    assert_eq!(here.media.find(CLIENT, id).await.expect("answered"), Found::Here(about));
    assert!(here.bytes_of(CLIENT, id).await == bytes);
    assert_eq!(here.media.find(OTHER, id).await.expect("answered"), Found::None);
    assert_eq!(here.store.bytes_of(OTHER).await, Ok(0));
    assert!(here.store.bytes_of(CLIENT).await.expect("counted") > 1_000_000);
    here.store.delete(CLIENT, id).await.expect("deleted");
    here.store.delete(CLIENT, id).await.expect("deleting again is no error");
    assert_eq!(here.media.find(CLIENT, id).await.expect("answered"), Found::None);
    here.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_taken_leaves_nothing() {
    let folder = folder();
    let here = Instance::with(folder.path(), &Arc::default(), |settings| {
        settings.tenant_bytes_max = 3_000_000;
        settings.uploads_at_once_per_tenant = 1;
        settings.upload_stall_timeout_ms = 50;
    })
    .await;
    let upload = |declared: Option<&'static str>, bytes: Vec<u8>| {
        let media = here.media.clone();
        async move { media.upload(CLIENT, declared, None, body(&bytes)).await.map(drop) }
    };
    let too_large = upload(None, png((5 << 20) + 1)).await;
    assert!(matches!(too_large, Err(UploadError::TooLarge { .. } | UploadError::QuotaUsedUp)));
    assert_eq!(upload(None, png(3_000_001)).await, Err(UploadError::QuotaUsedUp));
    assert_eq!(upload(None, Vec::new()).await, Err(NotTaken::Empty.into()));
    let other = upload(Some("image/jpeg"), png(100)).await;
    assert!(matches!(other, Err(UploadError::NotTaken(NotTaken::OtherThanDeclared { .. }))));
    let gif = upload(Some("image/gif"), b"GIF89a and more".to_vec()).await;
    assert_eq!(gif, Err(NotTaken::Unsupported { content: "image/gif" }.into()));

    // A body that breaks, and one that stands still.
    let broken = futures_util::stream::iter([Ok(Bytes::from(png(20_000))), Err(())]);
    let broken = here.media.upload(CLIENT, None, None, broken).await;
    assert_eq!(broken.map(drop), Err(UploadError::BrokenOff));
    let first = futures_util::stream::iter([Ok::<_, ()>(Bytes::from(png(20_000)))]);
    let stalled =
        here.media.upload(CLIENT, None, None, first.chain(futures_util::stream::pending()));
    let mut stalled = Box::pin(stalled);
    assert!(futures_util::poll!(&mut stalled).is_pending());
    assert_eq!(upload(None, png(10)).await, Err(UploadError::TooManyAtOnce));
    assert_eq!(stalled.await.map(drop), Err(UploadError::Stalled));

    // A client that goes away.
    let first = futures_util::stream::iter([Ok::<_, ()>(Bytes::from(png(20_000)))]);
    let gone = here.media.upload(CLIENT, None, None, first.chain(futures_util::stream::pending()));
    let gone = tokio::time::timeout(Duration::from_millis(20), gone).await;
    assert!(gone.is_err());
    nothing_is_left(&here).await;

    upload(None, png(2_000_000)).await.expect("there is room");
    assert_eq!(upload(None, png(2_000_000)).await, Err(UploadError::QuotaUsedUp));
    here.stop().await;
}

#[test]
fn content_decides_what_something_is() {
    let ftyp = |brand: &[u8]| [b"\0\0\0\x18ftyp".as_slice(), brand, b"\0\0\0\0"].concat();
    let zip = |inside: &[u8]| {
        let mut bytes = b"PK\x03\x04\x14\0\x06\0\x08\0\0\0\x21\0".to_vec();
        bytes.extend_from_slice(&[0; 12]);
        bytes.extend_from_slice(&(inside.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(inside);
        bytes.extend_from_slice(&[0; 64]);
        bytes
    };
    let text = "¿qué tal?\n".repeat(2000);
    for (head, declared, mime_type, sent_as) in [
        (png(100), None, "image/png", SentAs::Image),
        (png(100), Some("application/octet-stream"), "image/png", SentAs::Image),
        (b"\xff\xd8\xff\xe0....".to_vec(), Some("image/jpg"), "image/jpeg", SentAs::Image),
        (b"RIFF\0\0\0\0WEBPVP8 ".to_vec(), Some("image/webp"), "image/webp", SentAs::Sticker),
        (ftyp(b"isom"), Some("video/mp4"), "video/mp4", SentAs::Video),
        (ftyp(b"isom"), Some("audio/mp4"), "audio/mp4", SentAs::Audio),
        (ftyp(b"M4A "), None, "audio/mp4", SentAs::Audio),
        (ftyp(b"3gp4"), Some("video/3gpp"), "video/3gpp", SentAs::Video),
        (b"ID3\x04".to_vec(), Some("audio/mpeg"), "audio/mpeg", SentAs::Audio),
        (
            [b"OggS".as_slice(), &[0; 24], b"OpusHead"].concat(),
            Some("audio/ogg; codecs=opus"),
            "audio/ogg",
            SentAs::Audio,
        ),
        (b"#!AMR\n..........".to_vec(), None, "audio/amr", SentAs::Audio),
        (b"%PDF-1.7\n".to_vec(), Some("application/pdf"), "application/pdf", SentAs::Document),
        (text.as_bytes()[..HEAD_BYTES].to_vec(), Some("text/csv"), "text/plain", SentAs::Document),
        (b"plain words".to_vec(), None, "text/plain", SentAs::Document),
        (
            b"<html><script>alert(1)</script>".to_vec(),
            Some("text/html"),
            "text/plain",
            SentAs::Document,
        ),
    ] {
        let taken = judge(&head, declared).unwrap_or_else(|error| panic!("{mime_type}: {error}"));
        assert_eq!((taken.mime_type, taken.sent_as), (mime_type, sent_as));
    }
    for (head, declared) in [
        (b"MZ\x90\0".to_vec(), Some("application/pdf")),
        (b"\x7fELF\x02\x01\x01\0".to_vec(), Some("image/png")),
        (zip(b"evil.exe"), Some("application/zip")),
        (vec![0, 1, 2, 3], Some("text/plain")),
        (b"%PDF-1.7\n".to_vec(), Some("image/png")),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec(), Some("image/svg+xml")),
    ] {
        assert!(judge(&head, declared).is_err(), "{declared:?}");
    }
}

#[test]
fn a_files_name_is_its_last_part() {
    for (given, kept) in [
        ("a.png", Some("a.png")),
        ("/etc/passwd", Some("passwd")),
        ("C:\\x\\y.pdf", Some("y.pdf")),
        ("../..", None),
        ("a\r\nb.txt", Some("ab.txt")),
        (" ", None),
        ("", None),
    ] {
        assert_eq!(clean_filename(given).as_deref(), kept, "{given:?}");
    }
    assert_eq!(clean_filename(&"ñ".repeat(1000)).map(|name| name.chars().count()), Some(240));
}
