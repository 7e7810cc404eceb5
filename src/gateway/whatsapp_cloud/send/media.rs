//! Media from and to Meta.
//!
//! A medium's id leads to an address that dies after five minutes, so both are asked for in one
//! go. An upload is a form with one file, written around the bytes as they come: reqwest's own
//! would be a feature more for forty lines less.

use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::{Body, Method, Response};
use serde_json::Value;
use url::Url;

use super::{
    super::super::{
        http::{call, final_error, read_whole},
        outbound::{MediaDownload, MediaSource, MediaUpload, RemoteMedia, SendError},
    },
    Line, WhatsAppCloudSender,
    error::refusal,
    understood,
};

/// Hosts of Meta's that may be shown an access token, besides the configured one.
const META_HOSTS: [&str; 4] = ["facebook.com", "fbcdn.net", "fbsbx.com", "whatsapp.net"];
/// A filename that goes into a form's header is cut to this.
const MAX_FILENAME_CHARS: usize = 200;

impl WhatsAppCloudSender {
    pub(super) async fn open_media(
        &self,
        line: &Line<'_>,
        media: &RemoteMedia,
    ) -> Result<MediaDownload, SendError> {
        let url = match (&media.id, &media.url) {
            (Some(id), _) if is_id(id) => {
                let path = format!("{id}?phone_number_id={}", line.phone_number_id);
                let found = self.get(line, &path).await?;
                found["url"].as_str().map(str::to_owned)
            }
            (_, url) => url.clone(),
        };
        let Some(url) = url.and_then(|url| Url::parse(&url).ok()).filter(|url| self.is_metas(url))
        else {
            return Err(final_error(
                "The medium has no address",
                "Neither its id nor an address of Meta's is known.",
            ));
        };
        // Meta turns away clients that don't name themselves.
        let request = self.http.media.get(url).bearer_auth(line.access_token.expose());
        let request = request.header("user-agent", "condorito");
        let response = request
            .send()
            .await
            .map_err(|error| super::super::super::http::CallError::of(&error).of_asking())?;
        download(response).await
    }

    /// Whether the access token may be shown to this host.
    fn is_metas(&self, url: &Url) -> bool {
        let ours = Url::parse(&self.base).ok();
        if ours.is_some_and(|ours| ours.origin() == url.origin()) {
            return true;
        }
        url.scheme() == "https"
            && url.host_str().is_some_and(|host| {
                META_HOSTS.iter().any(|meta| {
                    host.strip_suffix(meta)
                        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
                })
            })
    }

    pub(super) async fn hand_over_media(
        &self,
        line: &Line<'_>,
        media: MediaUpload,
    ) -> Result<MediaSource, SendError> {
        let form = Form::around(media);
        let request = self
            .request(line, Method::POST, &format!("{}/media", line.phone_number_id))
            .header("content-type", form.content_type)
            .header("content-length", form.length)
            .body(form.body);
        let answer = call(request).await.map_err(|error| error.of_asking())?;
        let json = understood(&answer, false)?;
        let id = match &json["id"] {
            Value::String(id) => Some(id.clone()),
            Value::Number(id) => Some(id.to_string()),
            _ => None,
        };
        id.map(MediaSource::Provider).ok_or_else(|| refusal(&answer, None, false))
    }
}

/// Meta's ids are digits; what goes into a path must not lead elsewhere.
fn is_id(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// The bytes of an answer that says yes, as they come.
async fn download(response: Response) -> Result<MediaDownload, SendError> {
    if !response.status().is_success() {
        let answer = read_whole(response).await.map_err(|error| error.of_asking())?;
        return Err(refusal(&answer, answer.json().as_ref(), false));
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

/// A form with one file.
struct Form {
    content_type: String,
    length: u64,
    body: Body,
}

impl Form {
    fn around(media: MediaUpload) -> Self {
        let boundary = format!("condorito-{}", uuid::Uuid::new_v4().simple());
        let mime_type = header_text(&media.mime_type);
        let filename = header_text(media.filename.as_deref().unwrap_or("file"));
        let head = format!(
            "--{boundary}\r\ncontent-disposition: form-data; name=\"messaging_product\"\r\n\r\n\
             whatsapp\r\n\
             --{boundary}\r\ncontent-disposition: form-data; name=\"type\"\r\n\r\n\
             {mime_type}\r\n\
             --{boundary}\r\ncontent-disposition: form-data; name=\"file\"; \
             filename=\"{filename}\"\r\ncontent-type: {mime_type}\r\n\r\n"
        );
        let tail = format!("\r\n--{boundary}--\r\n");
        let length = head.len() as u64 + media.length + tail.len() as u64;
        let head = stream::once(async move { Ok(head.into()) });
        let tail = stream::once(async move { Ok(tail.into()) });
        let body = Body::wrap_stream(head.chain(media.bytes).chain(tail));
        Self { content_type: format!("multipart/form-data; boundary={boundary}"), length, body }
    }
}

/// A text that can't end the header that it stands in.
fn header_text(text: &str) -> String {
    let clean = text.chars().filter(|c| !c.is_control() && *c != '"' && *c != '\\');
    clean.take(MAX_FILENAME_CHARS).collect()
}
