//! Who sends for whom: from the tenants' routes and the installation's settings to [`Line`]s.
//!
//! A tenant sends through the WhatsApp Cloud API when it has a phone number and a token for it
//! (its own, else the installation's), otherwise through its first WAHA session whose server is
//! known. Of several numbers the first one sends.
//!
//! The table is replaced as a whole when a tenant's settings change, and read without a lock.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;

use super::{
    http::{HttpError, ProviderHttp, ProviderHttpSettings},
    outbound::{Account, Line, Lines, Outbound},
    routes::{TenantRoutes, TenantRouting, WahaSession},
    waha::{WahaSender, WahaSettings},
    whatsapp_cloud::{WhatsAppCloudSender, WhatsAppCloudSettings},
};
use crate::domain::ids::ClientId;

/// The lines of all tenants, as they stand now.
pub struct TenantLines {
    http: ProviderHttp,
    /// The sender for tenants without a Graph API of their own.
    whatsapp_cloud: Arc<dyn Outbound>,
    waha: Arc<dyn Outbound>,
    shared_cloud: WhatsAppCloudSettings,
    shared_waha: WahaSettings,
    lines: ArcSwap<HashMap<ClientId, Line>>,
}

impl TenantLines {
    pub fn new(
        whatsapp_cloud: &WhatsAppCloudSettings,
        waha: &WahaSettings,
        http: &ProviderHttpSettings,
        tenants: &[TenantRouting],
    ) -> Result<Self, HttpError> {
        let http = ProviderHttp::new(http)?;
        let lines = Self {
            whatsapp_cloud: Arc::new(WhatsAppCloudSender::new(whatsapp_cloud, http.clone())),
            waha: Arc::new(WahaSender::new(http.clone())),
            http,
            shared_cloud: whatsapp_cloud.clone(),
            shared_waha: waha.clone(),
            lines: ArcSwap::default(),
        };
        lines.replace(tenants);
        Ok(lines)
    }

    /// Takes these tenants instead of those before.
    pub fn replace(&self, tenants: &[TenantRouting]) {
        let lines = tenants.iter().filter_map(|tenant| Some((tenant.client, self.line(tenant)?)));
        self.lines.store(Arc::new(lines.collect()));
    }

    fn line(&self, tenant: &TenantRouting) -> Option<Line> {
        let routes = &tenant.routes;
        let shared = self.shared_cloud.access_token.as_ref();
        let shared = shared.filter(|_| routes.graph_url.is_none());
        let token = routes.access_token.as_ref().or(shared);
        if let (Some(number), Some(token)) = (routes.phone_number_ids.first(), token) {
            let account = Account::WhatsAppCloud {
                phone_number_id: number.clone(),
                waba_id: routes.waba_ids.first().cloned(),
                access_token: token.clone(),
            };
            return Some(Line { account, provider: self.cloud_of(routes) });
        }
        let account = routes.waha_sessions.iter().find_map(|session| self.waha_account(session))?;
        Some(Line { account, provider: self.waha.clone() })
    }

    fn cloud_of(&self, routes: &TenantRoutes) -> Arc<dyn Outbound> {
        let Some(url) = &routes.graph_url else { return self.whatsapp_cloud.clone() };
        let settings =
            WhatsAppCloudSettings { graph_url: url.clone(), ..self.shared_cloud.clone() };
        Arc::new(WhatsAppCloudSender::new(&settings, self.http.clone()))
    }

    fn waha_account(&self, session: &WahaSession) -> Option<Account> {
        let (url, api_key) = match &session.url {
            Some(url) => (url, session.api_key.as_ref()),
            None => {
                let own = session.api_key.as_ref();
                (self.shared_waha.url.as_ref()?, own.or(self.shared_waha.api_key.as_ref()))
            }
        };
        Some(Account::Waha {
            base_url: url.trim_end_matches('/').to_owned(),
            session: session.name.clone(),
            api_key: api_key.cloned(),
        })
    }
}

impl Lines for TenantLines {
    fn of(&self, client: ClientId) -> Option<Line> {
        self.lines.load().get(&client).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::secret::Secret;

    fn secret(text: &str) -> Option<Secret<String>> {
        Some(Secret::new(text.to_owned()))
    }

    fn tenant(client: u32, routes: TenantRoutes) -> TenantRouting {
        TenantRouting { client: ClientId(client), routes }
    }

    fn session(url: Option<&str>, api_key: Option<&str>) -> TenantRoutes {
        let session = WahaSession {
            name: "shop".to_owned(),
            hmac_key: None,
            url: url.map(str::to_owned),
            api_key: api_key.and_then(secret),
        };
        TenantRoutes { waha_sessions: vec![session], ..TenantRoutes::default() }
    }

    fn number(token: Option<&str>) -> TenantRoutes {
        TenantRoutes {
            phone_number_ids: vec!["101".to_owned(), "102".to_owned()],
            waba_ids: vec!["9".to_owned()],
            access_token: token.and_then(secret),
            ..TenantRoutes::default()
        }
    }

    fn lines(token: Option<&str>, waha_url: Option<&str>) -> TenantLines {
        let cloud = WhatsAppCloudSettings {
            access_token: token.and_then(secret),
            ..WhatsAppCloudSettings::default()
        };
        let waha = WahaSettings {
            url: waha_url.map(str::to_owned),
            api_key: secret("shared key"),
            ..WahaSettings::default()
        };
        TenantLines::new(&cloud, &waha, &ProviderHttpSettings::default(), &[]).unwrap()
    }

    fn account(lines: &TenantLines, routes: TenantRoutes) -> Option<Account> {
        lines.replace(&[tenant(7, routes)]);
        lines.of(ClientId(7)).map(|line| line.account)
    }

    #[test]
    fn a_number_sends_with_its_tenants_token_else_with_the_installations() {
        let lines = lines(Some("shared"), None);
        for (own, expected) in [(Some("own"), "own"), (None, "shared")] {
            let Some(Account::WhatsAppCloud { phone_number_id, waba_id, access_token }) =
                account(&lines, number(own))
            else {
                panic!("no line");
            };
            assert_eq!(phone_number_id, "101");
            assert_eq!(waba_id.as_deref(), Some("9"));
            assert_eq!(access_token.expose(), expected);
        }
    }

    #[test]
    fn a_graph_api_of_its_own_is_not_shown_the_installations_token() {
        let lines = lines(Some("shared"), None);
        let elsewhere = |token| TenantRoutes {
            graph_url: Some("http://elsewhere".to_owned()),
            ..number(token)
        };
        assert!(account(&lines, elsewhere(None)).is_none());
        assert!(account(&lines, elsewhere(Some("own"))).is_some());
    }

    #[test]
    fn without_a_token_a_session_sends_and_without_a_server_nobody_does() {
        let with_server = lines(None, Some("http://waha:3000/"));
        let both =
            TenantRoutes { waha_sessions: session(None, None).waha_sessions, ..number(None) };
        let Some(Account::Waha { base_url, session: name, api_key }) =
            account(&with_server, both.clone())
        else {
            panic!("no line");
        };
        assert_eq!((base_url.as_str(), name.as_str()), ("http://waha:3000", "shop"));
        assert_eq!(api_key.unwrap().expose(), "shared key");
        assert!(account(&lines(None, None), both).is_none());
    }

    #[test]
    fn a_sessions_own_server_is_not_shown_the_installations_key() {
        let lines = lines(None, Some("http://waha:3000"));
        let found = account(&lines, session(Some("http://elsewhere:3000"), None));
        let Some(Account::Waha { base_url, api_key, .. }) = found else { panic!("no line") };
        assert_eq!(base_url, "http://elsewhere:3000");
        assert!(api_key.is_none());
    }

    #[test]
    fn who_is_gone_from_the_table_has_no_line() {
        let lines = lines(Some("shared"), None);
        assert!(account(&lines, number(None)).is_some());
        lines.replace(&[]);
        assert!(lines.of(ClientId(7)).is_none());
    }
}
