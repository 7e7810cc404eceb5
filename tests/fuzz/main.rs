//! Fuzzing with a bound: mutations of known inputs, from a fixed seed, without coverage to guide
//! them, so that it runs on the stable compiler within `make test`. `targets` says what must hold.
//!
//! What is found is written to `target/fuzz-<target>.bin`; put into `tests/fuzz/corpus/<target>/`
//! it stays found, since every run begins with all that is there. `CONDORITO_FUZZ_SECONDS` makes
//! a run longer than the default.

use std::{
    fs, panic,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

mod targets;

const SEED: u64 = 0x0c0_4d04_1704;
const DEFAULT_SECONDS: u64 = 2;
/// Mutations on top of each other in one input.
const MUTATIONS_MAX: usize = 6;
const INPUT_BYTES_MAX: usize = 32 * 1024;

#[test]
fn webhook_whatsapp_cloud() {
    run("webhook_whatsapp_cloud", fixtures("whatsapp_cloud"));
}

#[test]
fn webhook_waha() {
    run("webhook_waha", fixtures("waha"));
}

#[test]
fn cursor() {
    run("cursor", vec![b"k3v9q-184467-1".to_vec(), b"k3v9q-0-65535".to_vec()]);
}

#[test]
fn client_frames() {
    let mut inputs = Vec::new();
    for text in [
        r#"{"type":"ping"}"#,
        r#"{"type":"subscribe","ref":1,"data":{"types":["new_message"],"conversation_id":4}}"#,
        r#"{"type":"mark_read","ref":"a","data":{"conversation_id":4}}"#,
        r#"{"type":"auth","data":{"token":"x"}}"#,
    ] {
        // How it is cut, then a masked text frame, a ping and a close.
        let mut input = vec![3, 0x81, 0x80 | text.len() as u8, 1, 2, 3, 4];
        input.extend(text.bytes().enumerate().map(|(at, byte)| byte ^ (at as u8 % 4 + 1)));
        input.extend([0x89, 0x81, 0, 0, 0, 0, b'p', 0x88, 0x82, 0, 0, 0, 0, 3, 232]);
        inputs.push(input);
    }
    // "Hello", deflated and in two frames.
    let deflated = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let mut input = vec![0x85, 0x41, 0x83, 0, 0, 0, 0];
    input.extend(&deflated[..3]);
    input.extend([0x80, 0x84, 0, 0, 0, 0]);
    input.extend(&deflated[3..]);
    inputs.push(input);
    run("client_frames", inputs);
}

#[test]
fn jwt() {
    let token = targets::TOKEN.as_bytes().to_vec();
    let unsigned =
        b"eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIiwiY2xpZW50X2lkIjoxLCJleHAiOjk5OTk5OTk5OTl9.".to_vec();
    run("jwt", vec![token, unsigned]);
}

fn fixtures(provider: &str) -> Vec<Vec<u8>> {
    let inputs = files(&root().join("tests/fixtures").join(provider), "json");
    assert!(!inputs.is_empty(), "there are fixtures to begin with");
    inputs
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The contents of a folder's files, in the order of their names; none when there is no folder.
fn files(folder: &Path, extension: &str) -> Vec<Vec<u8>> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a file").path()).collect();
    paths.retain(|path| path.extension().is_none_or(|found| found == extension));
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a readable file")).collect()
}

fn run(name: &str, mut inputs: Vec<Vec<u8>>) {
    inputs.extend(files(&root().join("tests/fuzz/corpus").join(name), "bin"));
    let (_, target) = targets::TARGETS.iter().find(|(found, _)| *found == name).expect("a target");
    for input in &inputs {
        judge(name, *target, input);
    }
    let seconds = std::env::var("CONDORITO_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(DEFAULT_SECONDS));
    let mut rng = StdRng::seed_from_u64(SEED);
    let mut runs = 0u64;
    while Instant::now() < end {
        let input = mutated(&inputs, &mut rng);
        judge(name, *target, &input);
        runs += 1;
    }
    assert!(runs > 0);
}

/// Runs the target; a panic is reported with the input that made it.
fn judge(name: &str, target: fn(&[u8]), input: &[u8]) {
    let outcome = panic::catch_unwind(|| target(input));
    if let Err(cause) = outcome {
        let found = root().join("target").join(format!("fuzz-{name}.bin"));
        fs::write(&found, input).expect("the input is kept");
        eprintln!("{name}: the input is in {}", found.display());
        panic::resume_unwind(cause);
    }
}

fn mutated(inputs: &[Vec<u8>], rng: &mut StdRng) -> Vec<u8> {
    let pick = |rng: &mut StdRng| &inputs[rng.random_range(0..inputs.len())];
    let mut input = pick(rng).clone();
    for _ in 0..rng.random_range(1..=MUTATIONS_MAX) {
        let other = pick(rng);
        mutate(&mut input, other, rng);
    }
    input.truncate(INPUT_BYTES_MAX);
    input
}

/// Pieces that parsers stumble over.
const PIECES: &[&[u8]] = &[
    b"null",
    b"[]",
    b"{}",
    b"\"\"",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"\\ud83d",
    b"\"",
    b"[[[[[[[[",
    b"{\"\":",
    b",",
    b":",
    b"\xff",
    b"\0",
    b"@g.us",
    b"@lid",
    b".",
    b"-",
    b"\x7f\xff",
    b"\x88\x80",
    b"\xc1",
    b"9223372036854775807",
    b"true",
    b"_",
];

fn mutate(input: &mut Vec<u8>, other: &[u8], rng: &mut StdRng) {
    let at = rng.random_range(0..=input.len());
    let end = (at + rng.random_range(0..=24)).min(input.len());
    match rng.random_range(0..7) {
        0 if at < input.len() => input[at] ^= 1 << rng.random_range(0..8),
        1 if at < input.len() => input[at] = rng.random(),
        2 => _ = input.drain(at..end),
        3 => {
            let copy = input[at..end].to_vec();
            input.splice(at..at, copy);
        }
        4 => {
            let piece = PIECES[rng.random_range(0..PIECES.len())];
            input.splice(at..end, piece.iter().copied());
        }
        5 => {
            let from = rng.random_range(0..=other.len());
            let to = (from + rng.random_range(0..=200)).min(other.len());
            input.splice(at..end, other[from..to].iter().copied());
        }
        _ => input.truncate(at),
    }
}
