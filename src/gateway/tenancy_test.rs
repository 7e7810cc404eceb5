use base64::{Engine, prelude::BASE64_STANDARD};
use uuid::Uuid;

use super::*;
use crate::{
    domain::tenant::WahaSessionSetup,
    gateway::{outbound::Account, waha, whatsapp_cloud},
};

const NOW: Timestamp = Timestamp(1_795_515_330_000);

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

fn key(id: &str, byte: u8) -> Secret<String> {
    secret(&format!("{id}:{}", BASE64_STANDARD.encode([byte; 32])))
}

fn tenancy(keys: &[Secret<String>], configured: &[(u32, &str)]) -> Tenancy {
    let cloud = WhatsAppCloudSettings {
        app_secrets: vec![secret("shared app")],
        access_token: Some(secret("shared token")),
        ..WhatsAppCloudSettings::default()
    };
    let configured = configured
        .iter()
        .map(|(client, number)| ConfiguredTenant {
            routing: TenantRouting {
                client: ClientId(*client),
                routes: TenantRoutes {
                    phone_number_ids: vec![(*number).to_owned()],
                    ..TenantRoutes::default()
                },
            },
            time_zone: Some("UTC".to_owned()),
        })
        .collect();
    let keys = CredentialsSettings { keys: keys.to_vec() };
    let http = ProviderHttpSettings::default();
    Tenancy::new(&cloud, &WahaSettings::default(), &http, &keys, configured).unwrap()
}

fn setup(number: &str) -> TenantSetup {
    TenantSetup { phone_number_ids: vec![number.to_owned()], ..TenantSetup::default() }
}

fn credentials(app_secret: &str) -> Credentials {
    Credentials {
        access_token: Some(secret("own token")),
        app_secrets: vec![secret(app_secret)],
        waha: vec![WahaCredentials {
            session: "shop".to_owned(),
            hmac_key: Some(secret("hook")),
            api_key: Some(secret("api")),
        }],
    }
}

fn stored(client: u32, event: u128, setup: TenantSetup) -> StoredSetup {
    StoredSetup {
        client_id: ClientId(client),
        event: EventId(Uuid::from_u128(event)),
        at: NOW,
        setup,
    }
}

async fn take(tenancy: &Tenancy, all: Vec<StoredSetup>) {
    let load = async { Ok::<_, std::convert::Infallible>(all) };
    match tenancy.refresh(load).await {
        Ok(()) => {}
        Err(never) => match never {},
    }
}

/// Whose message the webhook of this number is, signed with this secret.
fn received(tenancy: &Tenancy, number: &str, app_secret: &str) -> Option<u32> {
    let body = json!({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [
        {"field": "messages", "value": {"metadata": {"phone_number_id": number}, "messages": [
            {"from": "573001234567", "id": "wamid.1", "type": "text", "timestamp": "1748454394",
             "text": {"body": "Hola"}}]}}]}]})
    .to_string();
    let signature = whatsapp_cloud::sign(app_secret, body.as_bytes());
    let receivers = tenancy.receivers();
    let inbound = receivers.whatsapp_cloud.receive(Some(&signature), body.as_bytes(), NOW).ok()?;
    inbound.items.first().map(|(client, _)| client.0)
}

fn token_of(tenancy: &Tenancy, client: u32) -> Option<String> {
    match tenancy.of(ClientId(client))?.account {
        Account::WhatsAppCloud { access_token, .. } => Some(access_token.expose().clone()),
        Account::Waha { api_key, .. } => api_key.map(|key| key.expose().clone()),
    }
}

fn sealed_setup(tenancy: &Tenancy, client: u32, number: &str) -> TenantSetup {
    let sealed = tenancy.seal(ClientId(client), &credentials("own app")).unwrap();
    TenantSetup { credentials: Some(sealed), ..setup(number) }
}

#[tokio::test]
async fn a_setup_takes_effect_on_webhooks_and_lines_and_wins_over_the_file() {
    let tenancy = tenancy(&[key("k", 1)], &[(1, "101"), (2, "102")]);
    assert_eq!(received(&tenancy, "101", "shared app"), Some(1));
    let setup = sealed_setup(&tenancy, 1, "201");
    take(&tenancy, vec![stored(1, 1, setup)]).await;
    assert_eq!(received(&tenancy, "101", "shared app"), None, "not its number any more");
    assert_eq!(received(&tenancy, "201", "shared app"), None, "it has an app of its own");
    assert_eq!(received(&tenancy, "201", "own app"), Some(1));
    assert_eq!(received(&tenancy, "102", "shared app"), Some(2));
    assert_eq!(token_of(&tenancy, 1).as_deref(), Some("own token"));
    assert_eq!(token_of(&tenancy, 2).as_deref(), Some("shared token"));
}

#[tokio::test]
async fn a_tenant_that_no_file_names_can_be_set_up_with_waha() {
    let tenancy = tenancy(&[key("k", 1)], &[]);
    let sealed = tenancy.seal(ClientId(9), &credentials("own app")).unwrap();
    let session =
        WahaSessionSetup { name: "shop".to_owned(), url: Some("http://waha:3000".to_owned()) };
    let setup = TenantSetup {
        time_zone: Some("America/Bogota".to_owned()),
        messages_per_second: Some(5),
        waha_sessions: vec![session],
        credentials: Some(sealed),
        ..TenantSetup::default()
    };
    take(&tenancy, vec![stored(9, 1, setup)]).await;
    assert_eq!(token_of(&tenancy, 9).as_deref(), Some("api"));
    let body = br#"{"event":"session.status","session":"shop","payload":{"status":"WORKING"}}"#;
    let inbound = tenancy.receivers().waha.receive(Some(&waha::sign("hook", body)), body, NOW);
    assert_eq!(inbound.unwrap().items[0].0, ClientId(9));
    assert_eq!(tenancy.time_zones(), [(ClientId(9), Some("America/Bogota".to_owned()))]);
    assert_eq!(tenancy.messages_per_second(ClientId(9)), Some(5));
}

#[tokio::test]
async fn what_is_shown_of_a_tenant_holds_no_secret() {
    let tenancy = tenancy(&[key("k", 1)], &[(1, "101")]);
    let setup = sealed_setup(&tenancy, 1, "201");
    take(&tenancy, vec![stored(1, 1, setup)]).await;
    let view = tenancy.view(ClientId(1)).unwrap();
    assert!(view.has_access_token && view.app_secrets == 1 && !view.locked);
    assert_eq!(view.key_id.as_deref(), Some("k"));
    assert_eq!(view.setup.credentials, None);
    let shown = format!("{view:?} {:?}", credentials("own app"));
    for text in ["own token", "own app", "hook"] {
        assert!(!shown.contains(text), "{shown}");
    }
    assert!(tenancy.view(ClientId(5)).is_none());
}

#[tokio::test]
async fn what_another_tenant_has_cant_be_claimed() {
    let tenancy = tenancy(&[key("k", 1)], &[(1, "101"), (2, "102")]);
    let nothing = Credentials::default();
    let taken = tenancy.check(ClientId(3), &setup("102"), &nothing);
    assert!(matches!(taken, Err(RoutesError::Claimed { .. })));
    assert_eq!(tenancy.check(ClientId(2), &setup("102"), &nothing), Ok(()), "its own");
    assert_eq!(tenancy.check(ClientId(3), &setup("103"), &nothing), Ok(()));
    // Two instances took two setups at the same moment: the earlier one holds, whoever asks.
    let both = [stored(7, 2, setup("300")), stored(8, 1, setup("300"))];
    take(&tenancy, both.to_vec()).await;
    assert_eq!(received(&tenancy, "300", "shared app"), Some(8));
    assert_eq!(received(&tenancy, "101", "shared app"), Some(1), "the others go on");
}

#[tokio::test]
async fn a_new_key_seals_anew_what_an_old_one_sealed() {
    let old = tenancy(&[key("old", 1)], &[]);
    let setup = sealed_setup(&old, 1, "201");
    let rotated = tenancy(&[key("new", 2), key("old", 1)], &[]);
    take(&rotated, vec![stored(1, 1, setup.clone())]).await;
    let resealed = rotated.resealed();
    let [(client, event, sealed)] = resealed.as_slice() else { panic!("{resealed:?}") };
    assert_eq!((*client, *event), (ClientId(1), EventId(Uuid::from_u128(1))));
    assert_eq!(sealed.key_id, "new");
    let anew = TenantSetup { credentials: Some(sealed.clone()), ..setup.clone() };
    let only_new = tenancy(&[key("new", 2)], &[]);
    take(&only_new, vec![stored(1, 2, anew)]).await;
    assert_eq!(token_of(&only_new, 1).as_deref(), Some("own token"));
    assert!(only_new.resealed().is_empty());

    take(&only_new, vec![stored(1, 3, setup)]).await;
    assert!(only_new.view(ClientId(1)).unwrap().locked, "its key is gone");
    assert_eq!(received(&only_new, "201", "shared app"), None, "and nobody speaks for it");
    assert!(only_new.check(ClientId(2), &self::setup("201"), &Credentials::default()).is_err());
}

#[test]
fn without_a_key_nothing_can_be_handed_over() {
    assert_eq!(tenancy(&[], &[]).seal(ClientId(1), &credentials("x")), Err(NoKey));
}
