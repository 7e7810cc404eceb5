//! What is fuzzed, and what must hold of it. Each function takes any bytes at all.

use std::sync::{Arc, LazyLock};

use condorito::{
    auth::{
        Auth, AuthSettings, Scopes,
        mint::{Mint, mint},
    },
    delivery::ws::{
        commands,
        engine::{Limits, Reader, Received},
    },
    domain::{ids::ClientId, time::Timestamp},
    gateway::{
        routes::{Routes, TenantRoutes, TenantRouting, WahaSession},
        waha::{self, Waha, WahaSettings},
        whatsapp_cloud::{self, WhatsAppCloud, WhatsAppCloudSettings},
    },
    runtime::{clock::ManualClock, secret::Secret, shutdown::Shutdown},
    wire::cursor::Cursor,
};

const NOW: Timestamp = Timestamp(1_795_515_330_000);
const SECRET: &str = "a secret for fuzzing only, of more than 32 bytes";
const EPOCH: &str = "k3v9q";

/// A name, and what takes any bytes.
type Target = (&'static str, fn(&[u8]));

pub const TARGETS: &[Target] = &[
    ("webhook_whatsapp_cloud", webhook_whatsapp_cloud),
    ("webhook_waha", webhook_waha),
    ("cursor", cursor),
    ("client_frames", client_frames),
    ("jwt", jwt),
];

static ROUTES: LazyLock<Arc<Routes>> = LazyLock::new(|| {
    let session = WahaSession {
        name: "shop".to_owned(),
        hmac_key: Some(Secret::new(SECRET.to_owned())),
        ..WahaSession::default()
    };
    let tenant = TenantRouting {
        client: ClientId(1),
        routes: TenantRoutes {
            phone_number_ids: vec!["106540352242922".to_owned()],
            waba_ids: vec!["102290129340398".to_owned()],
            waha_sessions: vec![session],
            ..TenantRoutes::default()
        },
    };
    Arc::new(Routes::new(&[tenant]).expect("sound routes"))
});

static CLOUD: LazyLock<WhatsAppCloud> = LazyLock::new(|| {
    let settings = WhatsAppCloudSettings {
        app_secrets: vec![Secret::new(SECRET.to_owned())],
        ..WhatsAppCloudSettings::default()
    };
    WhatsAppCloud::new(&settings, ROUTES.clone()).expect("a receiver")
});

static WAHA: LazyLock<Waha> =
    LazyLock::new(|| Waha::new(&WahaSettings::default(), &ROUTES).expect("a receiver"));

/// No body panics; what is taken is the same when it comes again; without a signature nothing is.
pub fn webhook_whatsapp_cloud(body: &[u8]) {
    let signature = whatsapp_cloud::sign(SECRET, body);
    let taken = CLOUD.receive(Some(&signature), body, NOW);
    assert_eq!(CLOUD.receive(Some(&signature), body, NOW), taken);
    let unsigned = std::str::from_utf8(body).ok();
    assert!(CLOUD.receive(unsigned, body, NOW).is_err());
    let _ = CLOUD.verify_handshake(&String::from_utf8_lossy(body));
}

/// As for the Cloud API; and one event is one thing, never none.
pub fn webhook_waha(body: &[u8]) {
    let signature = waha::sign(SECRET, body);
    let taken = WAHA.receive(Some(&signature), body, NOW);
    assert_eq!(WAHA.receive(Some(&signature), body, NOW), taken);
    if let Ok(inbound) = taken {
        assert_eq!(inbound.items.len() + inbound.unrouted + inbound.ignored, 1);
    }
    assert!(WAHA.receive(std::str::from_utf8(body).ok(), body, NOW).is_err());
}

/// What is read as a cursor is written and read as the same one.
pub fn cursor(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    if let Ok(cursor) = Cursor::parse(text, EPOCH) {
        let written = cursor.display(EPOCH).to_string();
        assert_eq!(Cursor::parse(&written, EPOCH), Ok(cursor));
    }
}

const MESSAGE_BYTES_MAX: u32 = 4096;

/// However the bytes are cut, the same is received; nothing is longer than the bound; no text
/// panics as a command. The first byte says how they are cut and whether deflate was agreed.
pub fn client_frames(data: &[u8]) {
    let Some((&first, bytes)) = data.split_first() else { return };
    let deflate = first & 0x80 != 0;
    let chunk_bytes = usize::from(first & 0x7f) + 1;
    assert_eq!(received(bytes, bytes.len().max(1), deflate), received(bytes, chunk_bytes, deflate));
}

fn received(bytes: &[u8], chunk_bytes: usize, deflate: bool) -> (Vec<String>, Option<String>) {
    let mut reader = Reader::new(Limits { message_bytes_max: MESSAGE_BYTES_MAX }, deflate);
    let mut all = Vec::new();
    for chunk in bytes.chunks(chunk_bytes) {
        let mut chunk = chunk.to_vec();
        let mut at = 0;
        loop {
            let mut rest = &mut chunk[at..];
            let before = rest.len();
            let outcome = reader.next(&mut rest);
            at += before - rest.len();
            match outcome {
                Ok(Some(received)) => {
                    look_at(&received);
                    all.push(format!("{received:?}"));
                }
                Ok(None) => break,
                Err(violation) => return (all, Some(format!("{violation:?}"))),
            }
        }
    }
    (all, None)
}

fn look_at(received: &Received<'_>) {
    let length = match received {
        Received::Text(text) => {
            let _ = commands::parse(text);
            text.len()
        }
        Received::Binary(bytes) | Received::Ping(bytes) | Received::Pong(bytes) => bytes.len(),
        Received::Close(_) => 0,
    };
    assert!(length <= MESSAGE_BYTES_MAX as usize);
}

static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
});

fn auth_settings() -> AuthSettings {
    AuthSettings { secret: Some(Secret::new(SECRET.to_owned())), ..AuthSettings::default() }
}

static AUTH: LazyLock<Arc<Auth>> = LazyLock::new(|| {
    let clock = Arc::new(ManualClock::at(NOW));
    RUNTIME.block_on(Auth::start(&auth_settings(), clock, &Shutdown::new())).expect("checks tokens")
});

/// A token that is accepted, for the inputs to begin with.
pub static TOKEN: LazyLock<String> = LazyLock::new(|| {
    let order = Mint {
        subject: "ana".to_owned(),
        client_id: ClientId(1),
        scopes: Scopes::parse("events:read messages:read"),
        ttl_s: 3600,
    };
    mint(&auth_settings(), &order, NOW).expect("a token")
});

/// Nothing is accepted but what we signed ourselves.
pub fn jwt(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    if RUNTIME.block_on(AUTH.verify(text)).is_ok() {
        let signed = |token: &str| token.rsplit_once('.').map(|(signed, _)| signed.to_owned());
        assert_eq!(signed(text), signed(&TOKEN), "accepted, and not ours");
    }
}
