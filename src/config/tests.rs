use std::path::Path;

use super::{
    sources::{Loaded, Sources},
    *,
};

const SECRET: &str = "[auth]\nsecret = \"a secret of more than thirty-two bytes\"\n";

/// Loads a file of this text with these variables and flags.
fn load(
    toml: &str,
    variables: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Loaded, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("test.toml");
    std::fs::write(&file, toml).unwrap();
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let sources = Sources {
        file: Some(file),
        variables: variables.iter().map(pair).collect(),
        flags: flags.iter().map(pair).map(|(key, value)| ("--set", key, value)).collect(),
    };
    sources.load()
}

fn errors(toml: &str, variables: &[(&str, &str)], flags: &[(&str, &str)]) -> String {
    load(toml, variables, flags).err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn flags_win_over_variables_over_the_file_over_defaults() {
    let toml = format!("{SECRET}[feed]\nring_idle_s = 1\nbatch_window_ms = 1\npage_events = 1\n");
    let variables = [
        ("CONDORITO_FEED__RING_IDLE_S", "2"),
        ("CONDORITO_FEED__BATCH_WINDOW_MS", "0"),
        ("PATH", "/bin"),
    ];
    let loaded = load(&toml, &variables, &[("feed.ring_idle_s", "3")]).unwrap();
    let feed = &loaded.settings.feed;
    assert_eq!((feed.ring_idle_s, feed.batch_window_ms, feed.page_events), (3, 0, 1));
    assert_eq!(feed.ring_events_max, FeedSettings::default().ring_events_max);
}

#[test]
fn variables_are_read_by_the_kind_of_their_key() {
    let variables = [
        ("CONDORITO_AUTH__SECRET", "12345678901234567890123456789012"),
        ("CONDORITO_AUTH__ISSUERS", "https://a.example, https://b.example"),
        ("CONDORITO_AUTH__AUDIENCES", "[\"with, comma\"]"),
        ("CONDORITO_RATE_LIMITS__ENABLED", "false"),
        ("CONDORITO_RATE_LIMITS__TRUSTED_PROXIES", "10.0.0.0/8"),
        ("CONDORITO_LISTENER__ADDRESS", "0.0.0.0:9000"),
        ("CONDORITO_LOGGING__FORMAT", "json"),
        ("CONDORITO_TENANTS", "[{client_id = 7, time_zone = \"America/Santiago\"}]"),
        ("CONDORITO_LOG", "sqlite:elsewhere.db"),
        ("CONDORITO_API__BODY_MAX_BYTES", "1_000_000"),
    ];
    let settings = load("", &variables, &[]).unwrap().settings;
    assert_eq!(settings.auth.secret.unwrap().expose(), "12345678901234567890123456789012");
    assert_eq!(settings.auth.issuers, ["https://a.example", "https://b.example"]);
    assert_eq!(settings.auth.audiences, ["with, comma"]);
    assert!(!settings.rate_limits.enabled);
    assert_eq!(settings.rate_limits.trusted_proxies, ["10.0.0.0/8".parse().unwrap()]);
    assert_eq!(settings.listener.address.port(), 9000);
    assert_eq!(settings.logging.format, LogFormat::Json);
    assert_eq!(settings.tenants[0].client_id, 7);
    assert_eq!(settings.log, "sqlite:elsewhere.db");
    assert_eq!(settings.api.body_max_bytes, 1_000_000);
}

#[test]
fn what_the_server_keeps_lies_in_the_data_folder_unless_set_otherwise() {
    let settings = load(SECRET, &[], &[("data_dir", "/srv/c")]).unwrap().settings;
    assert_eq!(settings.log, "sqlite:/srv/c/log.db");
    assert_eq!(settings.projection.path, Path::new("/srv/c/read-model.db"));
    let toml = format!("log = \"sqlite:/l.db\"\n{SECRET}[projection]\npath = \"/p.db\"\n");
    let settings = load(&toml, &[], &[]).unwrap().settings;
    assert_eq!(settings.log, "sqlite:/l.db");
    assert_eq!(settings.projection.path, Path::new("/p.db"));
}

#[test]
fn each_mistake_is_named_with_its_place_and_a_way_out() {
    for (toml, variables, flags, says) in [
        (
            "[feed]\nring_idel_s = 1",
            &[][..],
            &[][..],
            "test.toml line 2: there is no setting feed.ring_idel_s; did you mean feed.ring_idle_s?",
        ),
        (
            "[fead]\nring_idle_s = 1",
            &[],
            &[],
            "test.toml line 1: there is no setting fead; did you mean feed?",
        ),
        (
            "ring_idle_s = 1",
            &[],
            &[],
            "there is no setting ring_idle_s; did you mean feed.ring_idle_s?",
        ),
        ("zzz = 1", &[], &[], "there is no setting zzz; `condorito config --reference` lists all"),
        ("[feed\n", &[], &[], "test.toml line 1: it is not TOML"),
        (
            "[feed]\n\nring_idle_s = \"long\"",
            &[],
            &[],
            "test.toml line 3: feed.ring_idle_s: invalid type: string \"long\", expected u64",
        ),
        ("[feed]\nring_idle_s = -1", &[], &[], "test.toml line 2: feed.ring_idle_s: invalid value"),
        ("feed = 3", &[], &[], "test.toml line 1: feed: invalid type: integer `3`"),
        (
            "[feed]\nring_idle_s = 0",
            &[],
            &[],
            "test.toml line 2: feed.ring_idle_s must not be zero: give a number above (the default \
             is 60)",
        ),
        (
            "[[tenants]]\nclient_id = 1\ntimezone = \"UTC\"",
            &[],
            &[],
            "test.toml line 3: there is no setting tenants[0].timezone; did you mean \
             tenants[].time_zone?",
        ),
        (
            "[[tenants]]\nclient_id = 1\n[[tenants]]\nclient_id = 1",
            &[],
            &[],
            "tenants: tenant 1 stands there twice (again as number 2)",
        ),
        (
            "[[tenants]]\nclient_id = 1\ntime_zone = \"Mars/Olympus\"",
            &[],
            &[],
            "\"Mars/Olympus\" is no time zone that this machine knows",
        ),
        (
            "[api]\ntime_zone = \"Chile\"",
            &[],
            &[],
            "test.toml line 2: api.time_zone: \"Chile\" is no",
        ),
        ("log = \"mysql:x\"", &[], &[], "log: \"mysql:x\" is no log that this build knows"),
        ("[logging]\nfilter = \"a=b=c\"", &[], &[], "logging.filter: it can't be read"),
        (
            "[logging]\nformat = \"xml\"",
            &[],
            &[],
            "test.toml line 2: logging.format: unknown variant",
        ),
        ("", &[], &[], "auth: no key to check tokens with: set auth.secret"),
        (
            "[cors]\nallowed_origins = [\"crm.example\"]",
            &[],
            &[],
            "cors: \"crm.example\" is not an origin",
        ),
        (
            "[websocket]\nallowed_origins = [\"https://crm.example/\"]",
            &[],
            &[],
            "websocket.allowed_origins: \"https://crm.example/\" is not an origin",
        ),
        (
            "[delivery]\ndrain_spread_ms = 3600000",
            &[],
            &[],
            "delivery.drain_spread_ms: connections are told to come back within 3600000 ms and cut",
        ),
        (
            "",
            &[("CONDORITO_FEED__RING_IDEL_S", "1")],
            &[],
            "CONDORITO_FEED__RING_IDEL_S: there is no setting CONDORITO_FEED__RING_IDEL_S; did you \
             mean CONDORITO_FEED__RING_IDLE_S?",
        ),
        (
            "",
            &[("CONDORITO_FEED__RING_IDLE_S", "long")],
            &[],
            "CONDORITO_FEED__RING_IDLE_S: feed.ring_idle_s must be a whole number, not \"long\"",
        ),
        ("", &[("CONDORITO_FEED", "1")], &[], "CONDORITO_FEED: there is no setting CONDORITO_FEED"),
        (
            "",
            &[("CONDORITO_LOGGING__FORMAT", "xml")],
            &[],
            "logging.format must be one of auto, text, json, not \"xml\"",
        ),
        ("", &[("CONDORITO_TENANTS", "7")], &[], "tenants must be a TOML array of tables"),
        (
            "",
            &[("CONDORITO_TENANTS", "[{client_id = 1, colour = 2}]")],
            &[],
            "CONDORITO_TENANTS: there is no setting tenants[0].colour",
        ),
        ("", &[], &[("feed.ring", "1")], "--set: there is no setting feed.ring"),
        (
            "",
            &[],
            &[("rate_limits.trusted_proxies", "everybody")],
            "--set: rate_limits.trusted_proxies[0]: \"everybody\" is neither an address nor",
        ),
    ] {
        let error = errors(toml, variables, flags);
        assert!(error.contains(says), "{toml:?} {variables:?}: {error:?} does not say {says:?}");
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let error = errors("[feed]\na_a = 1\nb_b = 2", &[("CONDORITO_X_X", "1")], &[]);
    assert_eq!(error.lines().count(), 4, "{error}");
}

#[test]
fn variables_that_are_not_ours_to_judge_are_left_alone() {
    let variables = [
        ("CONDORITO_SERVICE_HOST", "10.0.0.1"),
        ("CONDORITO_SERVICE_PORT_HTTP", "80"),
        ("CONDORITO_PORT", "tcp://10.0.0.1:80"),
        ("CONDORITO_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("CONDORITO_TEST_TOOLS", "/tools"),
        ("CONDORITO_URL", "http://localhost:8080"),
    ];
    assert_eq!(errors(SECRET, &variables, &[]), "");
}

#[test]
fn a_named_file_must_be_there_and_the_usual_one_need_not() {
    let missing = Sources { file: Some("/nowhere/c.toml".into()), ..Sources::default() };
    let error = missing.load().unwrap_err().to_string();
    assert!(error.contains("/nowhere/c.toml: can't be read"), "{error}");
    let variable = ("CONDORITO_CONFIG".to_owned(), "/nowhere/d.toml".to_owned());
    let missing = Sources { variables: vec![variable], ..Sources::default() };
    let error = missing.load().unwrap_err().to_string();
    assert!(error.contains("/nowhere/d.toml: can't be read"), "{error}");
}

#[test]
fn secrets_are_shown_nowhere() {
    let secret = "super-secret-value-that-nobody-shall-see";
    let toml = format!("[auth]\nsecret = \"{secret}\"\nprevious_secrets = [\"{secret}\"]\n");
    let loaded = load(&toml, &[], &[]).unwrap();
    assert!(!format!("{:?}", loaded.settings).contains(secret));
    let listing = reference::listing(&loaded);
    assert!(!listing.contains(secret), "{listing}");
    assert!(listing.contains("auth.secret = <redacted>  # "), "{listing}");
    for toml in [
        format!("[auth]\nsecret = [\"{secret}\"]"),
        format!("[auth]\nsecret = \"{secret}"),
        format!("[auth]\nprevious_secrets = \"{secret}\""),
    ] {
        let error = errors(&toml, &[], &[]);
        assert!(!error.is_empty() && !error.contains(secret), "{error}");
    }
    let variables = [("CONDORITO_AUTH__PREVIOUS_SECRETS", "[super-secret-value")];
    assert!(!errors("", &variables, &[]).contains("super-secret-value"));
}

/// Keeps `docs/settings.md` as the code says it.
#[test]
fn settings_reference() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/settings.md");
    let wanted = reference::markdown();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/settings.md is not what the code says: UPDATE_DOCS=1 cargo test settings_reference"
    );
}

#[test]
fn every_setting_is_documented() {
    let undocumented: Vec<&str> = known::all()
        .iter()
        .filter(|known| known.doc.is_empty())
        .map(|known| known.path.as_str())
        .collect();
    assert_eq!(undocumented, [""; 0]);
}
