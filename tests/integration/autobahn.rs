//! Autobahn's fuzzing client against an echo on the server's own WebSocket code, in its short form
//! (`make autobahn` runs all 517 cases).

use std::{path::Path, process::Command};

/// What `run.sh` answers where there is no Python 2.7, which the suite is written in.
const NO_PYTHON_2: i32 = 77;

#[test]
fn autobahn_finds_no_fault() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/autobahn/run.sh");
    let output = Command::new(script).arg("short").output().expect("the script starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    eprintln!("{said}{complaint}");
    let is_judged = output.status.success() && said.contains("Autobahn: ");
    let can_not_run = output.status.code() == Some(NO_PYTHON_2);
    assert!(is_judged || can_not_run, "{said}{complaint}");
}
