//! Uploads are handed to the provider once, for as long as it keeps them.

use super::*;

const PDF: &[u8] = b"%PDF-1.7\n a contract";

async fn uploaded(here: &Instance) -> MediaId {
    let body = futures_util::stream::iter([Ok::<_, ()>(Bytes::from_static(PDF))]);
    let taken = here.media.upload(CLIENT, None, Some("contract.pdf"), body).await;
    taken.expect("taken").0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bulk_uploads_its_picture_once() {
    let folder = folder();
    let provider = Arc::new(FakeProvider::default());
    let here = Instance::start(folder.path(), &provider).await;
    let id = uploaded(&here).await;
    let line = line(&provider);
    let all = (0..50).map(|_| here.media.hand_over(CLIENT, id, &line));
    for source in futures_util::future::join_all(all).await {
        assert_eq!(source, Ok(MediaSource::Provider("provider-1".to_owned())));
    }
    assert_eq!(
        *provider.uploaded.lock(),
        [("application/pdf".to_owned(), Some("contract.pdf".to_owned()), PDF.to_vec())]
    );
    let other = here.media.hand_over(OTHER, id, &line).await;
    assert!(matches!(other, Err(SendError::Final { .. })), "another tenant's: {other:?}");
    here.stop().await;

    // It is known after a restart, and uploaded again when the provider's copy has died.
    let here = Instance::start(folder.path(), &provider).await;
    let again = here.media.hand_over(CLIENT, id, &line).await;
    assert_eq!(again, Ok(MediaSource::Provider("provider-1".to_owned())));
    here.clock.advance_ms(30 * 24 * 3600 * 1000);
    let later = here.media.hand_over(CLIENT, id, &line).await;
    assert_eq!(later, Ok(MediaSource::Provider("provider-2".to_owned())));
    here.media.forget_handed_over(CLIENT, id, &line).await;
    let anew = here.media.hand_over(CLIENT, id, &line).await;
    assert_eq!(anew, Ok(MediaSource::Provider("provider-3".to_owned())));
    here.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_to_the_provider_that_fails_has_sent_nothing() {
    let folder = folder();
    let provider = Arc::new(FakeProvider::default());
    let here = Instance::start(folder.path(), &provider).await;
    let id = uploaded(&here).await;
    let line = line(&provider);
    provider.errors.lock().push(SendError::InDoubt { reason: "no answer".to_owned() });
    let doubtful = here.media.hand_over(CLIENT, id, &line).await;
    assert!(matches!(doubtful, Err(SendError::Retry { .. })), "{doubtful:?}");
    let then = here.media.hand_over(CLIENT, id, &line).await;
    assert_eq!(then, Ok(MediaSource::Provider("provider-1".to_owned())));
    let unknown = here.media.hand_over(CLIENT, MediaId(uuid::Uuid::nil()), &line).await;
    assert!(matches!(unknown, Err(SendError::Final { .. })), "{unknown:?}");
    here.stop().await;
}
