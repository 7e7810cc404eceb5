//! The command line, as a person at a terminal has it.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use crate::support::{
    config::{TestConfig, mint_token, webhook_body},
    server::ServerProcess,
    server_binary,
};

/// Runs the program in an empty folder and with no settings from this environment.
fn condorito(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(server_binary());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CONDORITO_") {
            command.env_remove(name);
        }
    }
    command.current_dir(folder).args(arguments).stdin(Stdio::null());
    command.output().expect("it runs")
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn help_names_every_command_and_exit_code() {
    let folder = folder();
    let help = condorito(folder.path(), &["--help"]);
    assert_eq!(code(&help), 0);
    let text = out(&help);
    let commands =
        ["serve", "token", "tail", "replay", "rebuild", "backup", "check", "openapi", "config"];
    for command in commands {
        assert!(text.contains(&format!("\n  {command} ")), "{command} is not in {text}");
        let help = condorito(folder.path(), &[command, "--help"]);
        assert!(code(&help) == 0 && out(&help).contains("Usage:"), "{command}");
    }
    assert!(text.contains("Exit codes:"), "{text}");
}

#[test]
fn mistakes_are_told_with_what_to_do_and_their_exit_code() {
    let folder = folder();
    std::fs::write(folder.path().join("bad.toml"), "[feed]\nring_idel_s = 3\n").expect("written");
    for (arguments, exit, says) in [
        (&["serv"][..], 2, "a similar subcommand exists: 'serve'"),
        (&["serve"], 3, "no key to check tokens with: set auth.secret"),
        (&["check", "--config", "bad.toml"], 3, "did you mean feed.ring_idle_s?"),
        (&["check", "--config", "none.toml"], 3, "none.toml: can't be read"),
        (&["config", "--set", "feed.x=1"], 3, "--set: there is no setting feed.x"),
        (&["config", "--set", "feed"], 2, "write it as KEY=VALUE"),
        (&["token"], 1, "there is no shared secret to sign with"),
        (&["token", "--scope", "all"], 2, "there is no scope \"all\"; there are events:read"),
        (&["token", "--ttl", "0s"], 2, "write it like 90s, 30m, 8h or 7d"),
        (&["replay", "none.json", "--secret", "s"], 1, "can't read none.json"),
        (&["replay", "bad.toml", "--secret", "s"], 2, "give --provider"),
        (&["backup", "copy"], 1, "the event log was not copied"),
        (
            &["tail", "--url", "http://127.0.0.1:9", "--token", "x.y.z"],
            4,
            "can't follow http://127.0.0.1:9/",
        ),
    ] {
        let output = condorito(folder.path(), arguments);
        let text = err(&output);
        assert!(text.contains(says), "{arguments:?} says {text:?}, not {says:?}");
        assert_eq!(code(&output), exit, "{arguments:?}");
    }
}

#[test]
fn documents_are_those_that_are_committed() {
    let folder = folder();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (arguments, file) in [
        (&["openapi"][..], "openapi/openapi.json"),
        (&["openapi", "--asyncapi"], "openapi/asyncapi.json"),
        (&["config", "--reference"], "docs/settings.md"),
    ] {
        let output = condorito(folder.path(), arguments);
        let committed = std::fs::read_to_string(root.join(file)).expect("committed");
        assert!(out(&output) == committed, "{file} is not what `condorito {arguments:?}` prints");
    }
}

/// Posts a saved payload, follows it over every transport, looks after the installation.
#[test]
fn a_day_with_the_command_line() {
    let folder = folder();
    let config = TestConfig::default().write(folder.path());
    let config = config.to_str().expect("text");
    let server = ServerProcess::start(&server_binary(), Path::new(config), None);
    let base = server.base();
    let run = |arguments: &[&str]| {
        let with_config = [arguments, &["--config", config]].concat();
        condorito(folder.path(), &with_config)
    };

    let saved = folder.path().join("saved.json");
    std::fs::write(&saved, webhook_body(1, 56_911_112_222, "wamid.CLI1", "hello cli"))
        .expect("saved");
    let replayed = run(&["replay", "saved.json", "--url", &base]);
    assert_eq!((code(&replayed), err(&replayed).as_str()), (0, ""));
    assert!(out(&replayed).contains("saved.json (whatsapp) -> 200"), "{}", out(&replayed));
    let refused = run(&["replay", "saved.json", "--url", &base, "--secret", "wrong"]);
    assert_eq!(code(&refused), 1);
    assert!(out(&refused).contains("-> 401"), "{}", out(&refused));

    let start = earliest_cursor(&base);
    let token = out(&run(&["token", "--client-id", "1", "--scope", "events:read"]));
    let mut seen = Vec::new();
    for transport in ["ws", "sse", "poll"] {
        let tail = run(&[
            "tail",
            "--url",
            &base,
            "--token",
            token.trim(),
            "--transport",
            transport,
            "--cursor",
            &start,
            "--types",
            "new_message",
            "--limit",
            "1",
            "--json",
        ]);
        assert_eq!(code(&tail), 0, "{transport}: {}", err(&tail));
        let event: Value = serde_json::from_str(&out(&tail)).expect("one event");
        assert_eq!(event["data"]["message"]["text"], "hello cli", "{transport}");
        assert!(err(&tail).contains("to go on from here: --cursor "), "{}", err(&tail));
        seen.push(out(&tail));
    }
    assert!(seen.iter().all(|event| *event == seen[0]), "the same on each transport: {seen:?}");
    let refused = run(&["tail", "--url", &base, "--token", "x.y.z", "--transport", "poll"]);
    assert_eq!(code(&refused), 4, "{}", err(&refused));

    let check = run(&["check"]);
    assert_eq!(code(&check), 0, "{} {}", out(&check), err(&check));
    assert!(!out(&check).contains("WRONG"), "{}", out(&check));
    let backup = run(&["backup", "copy"]);
    assert_eq!(code(&backup), 0, "{}", err(&backup));
    assert_eq!(code(&run(&["backup", "copy"])), 2, "never over another backup");
    let locked = run(&["rebuild"]);
    assert_eq!(code(&locked), 1, "the server has it: {}", err(&locked));
    assert!(server.terminate(std::time::Duration::from_secs(20)));

    let of_copy = run(&["check", "--data-dir", "copy"]);
    assert_eq!(code(&of_copy), 0, "{} {}", out(&of_copy), err(&of_copy));
    let rebuilt = run(&["rebuild", "--data-dir", "copy"]);
    assert_eq!(code(&rebuilt), 0, "{}", err(&rebuilt));
    std::fs::write(folder.path().join("copy/read-model.db"), [7; 8192]).expect("damaged");
    let damaged = run(&["check", "--data-dir", "copy"]);
    assert_eq!(code(&damaged), 1, "{}", out(&damaged));
    assert!(out(&damaged).contains("read model   WRONG"), "{}", out(&damaged));
}

/// A cursor before everything: polling from the beginning of time gives one.
fn earliest_cursor(base: &str) -> String {
    let token = mint_token(1, None);
    let output = Command::new("curl")
        .args(["-sf", "-H", &format!("Authorization: Bearer {token}")])
        .arg(format!("{base}/v1/events?from=2000-01-01T00:00:00Z&limit=1&wait=5"))
        .output()
        .expect("curl runs");
    let page: Value = serde_json::from_slice(&output.stdout).expect("a page");
    let first = page["events"].as_array().and_then(|events| events.first());
    let id = first.and_then(|event| event["id"].as_str()).expect("an event");
    // The cursor before the first event of the log: position 0 of the same store.
    let epoch = id.split('-').next().expect("an epoch");
    format!("{epoch}-0-0")
}

#[test]
fn the_demo_plays_without_any_configuration() {
    let folder = folder();
    let mut command = Command::new(server_binary());
    command
        .current_dir(folder.path())
        .args(["serve", "--demo", "--listen", "127.0.0.1:0"])
        .args(["--set", "simulator.events_per_minute=6000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CONDORITO_") {
            command.env_remove(name);
        }
    }
    let mut child = command.spawn().expect("it runs");
    let stdout = child.stdout.take().expect("piped");
    let lines = std::io::BufRead::lines(std::io::BufReader::new(stdout));
    let base = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("Condorito Realtime listens on ").map(str::to_owned))
        .expect("says where it listens");
    let tail = condorito(
        folder.path(),
        &["tail", "--url", &base, "--types", "new_message", "--limit", "3", "--json"],
    );
    let _stopped = child.kill();
    let _waited = child.wait();
    assert_eq!(code(&tail), 0, "{}", err(&tail));
    assert_eq!(out(&tail).lines().count(), 3, "{}", out(&tail));
}
