//! Following over a WebSocket.

use futures_util::{SinkExt, StreamExt};
use http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::{Error, Message, client::IntoClientRequest};

use super::{
    CONNECT_TIMEOUT, Ended, Failure, SILENCE_MAX, Target, printer::Printer, refused, unreachable,
};

/// What the server closes with when the token is missing, wrong or expired.
const CLOSE_TOKEN: u16 = 4401;
/// Close codes that repeating the same request does not mend: bad request, forbidden.
const CLOSE_FINAL: [u16; 2] = [4400, 4403];

pub async fn follow(target: &Target, printer: &mut Printer) -> Result<Ended, Failure> {
    let mut url = target.url("/v1/ws", printer.cursor());
    let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
    if url.set_scheme(scheme).is_err() {
        return Err(Failure::Usage(format!("{url} is no address of a server")));
    }
    let mut request = url
        .as_str()
        .into_client_request()
        .map_err(|error| Failure::Usage(format!("{url} is no address of a server: {error}")))?;
    let headers = request.headers_mut();
    let token = HeaderValue::try_from(target.authorization())
        .map_err(|_| Failure::Usage("the token has characters that no token has".to_owned()))?;
    headers.insert(header::AUTHORIZATION, token);
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("condorito.v1"));

    let connecting = tokio_tungstenite::connect_async(request);
    let mut socket = match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Err(_) => return Ok(Ended::Lost("the server did not answer".to_owned())),
        Ok(Err(Error::Http(response))) => {
            let body = response.body().as_deref().unwrap_or_default();
            return refused(response.status().as_u16(), body);
        }
        Ok(Err(error)) => return Ok(unreachable(&error)),
        Ok(Ok((socket, _response))) => socket,
    };
    loop {
        let message = match tokio::time::timeout(SILENCE_MAX, socket.next()).await {
            Err(_) => return Ok(Ended::Lost("the server went silent".to_owned())),
            Ok(None) => return Ok(Ended::Lost("the connection ended".to_owned())),
            Ok(Some(Err(error))) => return Ok(unreachable(&error)),
            Ok(Some(Ok(message))) => message,
        };
        match message {
            Message::Text(text) => {
                if let Some(ended) = printer.frame(&text) {
                    let _gone_already = socket.close(None).await;
                    return Ok(ended);
                }
            }
            Message::Close(frame) => {
                let (code, reason) =
                    frame.map_or((1005, String::new()), |f| (f.code.into(), f.reason.to_string()));
                return closed(code, &super::printer::plain(&reason));
            }
            // Reading has queued the pong; this sends it.
            Message::Ping(_) => {
                if let Err(error) = socket.flush().await {
                    return Ok(unreachable(&error));
                }
            }
            _ => {}
        }
    }
}

fn closed(code: u16, reason: &str) -> Result<Ended, Failure> {
    match code {
        CLOSE_TOKEN => Ok(Ended::TokenRefused(reason.to_owned())),
        code if CLOSE_FINAL.contains(&code) => {
            Err(Failure::server(format!("the server closed the connection ({code})"), reason))
        }
        _ => Ok(Ended::Lost(format!("closed with {code} {reason}"))),
    }
}
