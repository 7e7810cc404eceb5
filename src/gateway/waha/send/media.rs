//! Media from and to WAHA: files of its own are asked for with its key; what goes out goes out
//! inside the message.

use base64::{Engine, prelude::BASE64_STANDARD};
use futures_util::{StreamExt, TryStreamExt};
use url::Url;

use super::{
    super::super::{
        http::{CallError, final_error, read_whole},
        outbound::{MediaDownload, MediaSource, MediaUpload, RemoteMedia, SendError},
    },
    Line, WahaSender,
    answer::refusal,
};

/// The largest medium that is carried inside a message: WhatsApp's own limit for all but
/// documents. A larger one is refused: give it an address that WAHA can reach.
const MAX_INLINE_BYTES: u64 = 16 * 1024 * 1024;
/// Where WAHA keeps the files of messages.
const FILES: &str = "/api/files/";

impl WahaSender {
    pub(super) async fn open_media(
        &self,
        line: &Line<'_>,
        media: &RemoteMedia,
    ) -> Result<MediaDownload, SendError> {
        let url = media.url.as_deref().and_then(|url| Url::parse(url).ok());
        let Some(mut url) = url.filter(|url| matches!(url.scheme(), "http" | "https")) else {
            return Err(final_error("The medium has no address", "WAHA told none for it."));
        };
        let base = Url::parse(line.base).map_err(|_| {
            final_error("The provider's address is wrong", "waha.url is no address.")
        })?;
        // WAHA names itself as it sees itself, often `localhost`.
        let is_ours = url.path().starts_with(FILES);
        if is_ours {
            let path = url.path().to_owned();
            url = Url::parse(&format!("{}{path}", line.base))
                .map_err(|_| final_error("The medium has no address", "WAHA told none for it."))?;
        } else if url.origin() != base.origin() && !self.http.allows_media_from(&url) {
            return Err(final_error(
                "The medium lies at another host",
                "It is fetched from there only if the server's settings allow that origin.",
            ));
        }
        let mut request = self.http.media.get(url);
        if let Some(key) = line.api_key.filter(|_| is_ours) {
            request = request.header("x-api-key", key.expose());
        }
        let response = request.send().await.map_err(|error| CallError::of(&error).of_asking())?;
        if !response.status().is_success() {
            let answer = read_whole(response).await.map_err(|error| error.of_asking())?;
            // A file that is gone says nothing of the session.
            return Err(match refusal(&answer, false) {
                SendError::Stopped { error, .. } if answer.status.as_u16() == 404 => {
                    SendError::Final { error }
                }
                other => other,
            });
        }
        let header = response.headers().get("content-type").and_then(|value| value.to_str().ok());
        let mime_type = header.map(str::to_owned);
        let length = response.content_length();
        let bytes = response
            .bytes_stream()
            .map_err(|_| std::io::Error::other("the provider's medium ended before its end"))
            .boxed();
        Ok(MediaDownload { mime_type, length, bytes })
    }
}

/// Puts a medium into a `data:` address, which [`inlined`] takes apart again.
pub(super) async fn inline(mut media: MediaUpload) -> Result<MediaSource, SendError> {
    let too_large = || {
        final_error("The medium is too large", "Through WAHA at most 16 MiB can be sent from here.")
    };
    if media.length > MAX_INLINE_BYTES {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(media.length as usize);
    while let Some(chunk) = media.bytes.next().await {
        let chunk = chunk
            .map_err(|_| final_error("The medium can't be read", "It ended before its end."))?;
        if (bytes.len() + chunk.len()) as u64 > MAX_INLINE_BYTES {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    let data = BASE64_STANDARD.encode(bytes);
    Ok(MediaSource::Link(format!("data:{};base64,{data}", media.mime_type)))
}

/// The MIME type and the base64 of a `data:` address.
pub(super) fn inlined(link: &str) -> Option<(&str, &str)> {
    link.strip_prefix("data:")?.split_once(";base64,")
}
