//! An echo server on exactly the listener, handshake, reader and socket that the server uses, for
//! Autobahn's fuzzing client (`tests/autobahn/run.sh`). Text is deflated by the feed's encoder.
//!
//! ```sh
//! cargo run --release --example ws_echo -- 127.0.0.1:9001
//! ```

use std::{future::poll_fn, net::SocketAddr, time::Duration};

use condorito::{
    delivery::{
        listener::{
            Listener, ListenerSettings,
            takeover::{Taken, Takeover},
        },
        ws::{
            engine::{Limits, Reader, Received},
            frames, handshake,
            socket::{ReadEnd, Socket},
        },
    },
    feed::frame::{Encoding, control},
    runtime::shutdown::Shutdown,
};
use poem::{IntoResponse, Request, Response, handler};

/// Autobahn's largest message is 16 MiB.
const LIMITS: Limits = Limits { message_bytes_max: 64 << 20 };
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let address: SocketAddr =
        std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".into()).parse()?;
    let listener = Listener::bind(ListenerSettings { address, ..Default::default() })?;
    #[expect(clippy::print_stdout, reason = "whoever started it on port 0 must learn the port")]
    {
        println!("listening on {}", listener.local_address());
    }
    let shutdown = Shutdown::new();
    let stop = shutdown.clone();
    tokio::spawn(async move {
        // Without a signal handler the process is killed, which ends it as well.
        let _ = tokio::signal::ctrl_c().await;
        stop.draining.cancel();
        stop.stopping.cancel();
    });
    listener.serve(echo, shutdown.clone()).await;
    shutdown.tasks.close();
    shutdown.tasks.wait().await;
    Ok(())
}

#[handler]
fn echo(request: &Request) -> Response {
    let agreed =
        handshake::agree(request.method(), request.version(), request.headers(), true, |_origin| {
            true
        });
    match agreed {
        Ok(agreed) => Takeover::attach(agreed.response(), move |taken| async move {
            serve(taken, agreed.reads_deflated(), agreed.writes_deflated()).await;
        }),
        Err(refusal) => refusal.into_response(),
    }
}

async fn serve(taken: Taken, reads_deflated: bool, writes_deflated: bool) {
    let encoding = if writes_deflated { Encoding::WsDeflate } else { Encoding::WsText };
    let mut socket = Socket::new(taken, Reader::new(LIMITS, reads_deflated));
    let mut answers = Vec::new();
    let mut closed = None;
    let end = loop {
        let received = poll_fn(|cx| {
            socket.poll_receive(cx, |received| match received {
                Received::Text(text) => answers.push(control(encoding, text.as_bytes(), None)),
                Received::Binary(bytes) => answers.push(binary(bytes)),
                Received::Ping(payload) => answers.push(frames::pong(payload)),
                Received::Pong(_) => {}
                Received::Close(code) => closed = Some(code),
            })
        })
        .await;
        answers.drain(..).for_each(|answer| socket.push(answer));
        if received.is_err() || closed.is_some() {
            break received;
        }
        // Nothing more is read before all is written: a client that does not read has to wait.
        if poll_fn(|cx| socket.poll_flush(cx)).await.is_err() {
            return;
        }
    };
    match (end, closed) {
        (_, Some(code)) => {
            let frame = code.map_or(frames::CLOSE, |code| frames::close(code, ""));
            socket.close(frame, true, CLOSE_TIMEOUT).await;
        }
        (Err(ReadEnd::Violation(violation)), None) => {
            let frame = frames::close(violation.close_code(), "");
            socket.close(frame, true, CLOSE_TIMEOUT).await;
        }
        (_, None) => {}
    }
}

fn binary(payload: &[u8]) -> bytes::Bytes {
    let text = control(Encoding::WsText, payload, None);
    let mut frame = text.to_vec();
    frame[0] = 0x82;
    frame.into()
}
