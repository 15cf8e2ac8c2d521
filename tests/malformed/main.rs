//! Bad input: each case is one valid frame of the generator with one fault, and must be refused under the one name that
//! the manifest gives it, by the library, by `almanac decode` and by `almanac replay`, with the good frames around it
//! untouched.
//!
//! `replay-fixtures/malformed/` holds the cases as dumps, so that other programs can be tried on them. After a change
//! here `ALMANAC_WRITE_FIXTURES=1 cargo test --test malformed` writes them anew.

mod blocks;
mod build;
mod envelope;
mod large;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use almanac::decode::{Checks, Layer, Reason, Reject, decode, outline};
use almanac::devnet::frames;
use build::{Case, DID, good_commit, stamp};
use bytes::Bytes;
use serde_json::{Map, Value, json};

/// What is kept in the project: file, cases.
fn kept() -> Vec<(&'static str, Vec<Case>)> {
    vec![
        ("encoding.frames", envelope::encoding()),
        ("fields.frames", envelope::fields()),
        ("car.frames", blocks::car()),
        ("commit-objects.frames", blocks::commit_objects()),
        ("records.frames", blocks::records()),
        ("odd-but-right.frames", blocks::odd_but_right()),
    ]
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("replay-fixtures/malformed")
}

/// The index of a case in its dump. A good frame stands before the first and after each.
fn index(case: usize) -> usize {
    1 + 2 * case
}

/// The number of the good frame after a case.
fn good_seq(case: usize) -> i64 {
    10_000 + case as i64
}

/// A dump: a good commit, then each case with a good account frame after it.
fn dump(cases: &[Case]) -> Vec<u8> {
    let mut dump = vec![];
    let mut put = |frame: &[u8]| {
        dump.extend((frame.len() as u32).to_le_bytes());
        dump.extend(frame);
    };
    put(&good_commit());
    for (i, case) in cases.iter().enumerate() {
        put(&case.frame);
        put(&frames::account(stamp(good_seq(i)), true, None));
    }
    dump
}

/// `{frame index: {case, layer, reason, seq, did}}` of the refused ones.
fn manifest(cases: &[Case]) -> Value {
    let entry = |(i, case): (usize, &Case)| {
        let refused = case.refused.as_ref()?;
        let (layer, reason) = (refused.reason.layer().as_str(), refused.reason.as_str());
        let told = json!({"case": case.name, "layer": layer, "reason": reason, "seq": refused.seq, "did": refused.did});
        Some((index(i).to_string(), told))
    };
    Value::Object(cases.iter().enumerate().filter_map(entry).collect())
}

#[test]
fn the_kept_dumps_are_what_the_generator_makes() {
    let mut expected = Map::new();
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (name, cases) in kept() {
        let names: BTreeSet<&str> = cases.iter().map(|case| case.name).collect();
        assert_eq!(names.len(), cases.len(), "{name}: each case has a name of its own");
        expected.insert(name.into(), manifest(&cases));
        files.insert(name.into(), dump(&cases));
    }
    let text = format!("{:#}\n", Value::Object(expected));
    files.insert("expected.json".into(), text.into_bytes());
    if std::env::var_os("ALMANAC_WRITE_FIXTURES").is_some() {
        std::fs::create_dir_all(folder()).unwrap();
        for (name, bytes) in &files {
            std::fs::write(folder().join(name), bytes).unwrap();
        }
    }
    for (name, bytes) in &files {
        let there = std::fs::read(folder().join(name)).unwrap_or_default();
        assert!(there == *bytes, "{name} is not what this test makes; ALMANAC_WRITE_FIXTURES=1 writes it anew");
    }
}

/// What the library makes of a frame: the number of operations or words, or why it is refused.
fn judge(frame: &Bytes) -> Result<(), Reject> {
    let outline = outline(frame)?;
    decode(frame, &outline, |_| true, &Checks::NONE).map(drop)
}

#[track_caller]
fn assert_reason(case: &Case) {
    let outcome = judge(&Bytes::copy_from_slice(&case.frame));
    match (&case.refused, outcome) {
        (None, Ok(())) => {}
        (Some(refused), Err(reject)) => {
            assert_eq!(reject.reason, refused.reason, "{}: {reject}", case.name);
            assert!((1..=300).contains(&reject.detail.chars().count()), "{}: {reject}", case.name);
        }
        (None, Err(reject)) => panic!("{}: {reject}", case.name),
        (Some(refused), Ok(())) => panic!("{} is not refused as {}", case.name, refused.reason),
    }
}

#[test]
fn the_library_names_the_fault() {
    for (_, cases) in kept() {
        cases.iter().for_each(assert_reason);
    }
    large::cases().iter().for_each(assert_reason);
}

#[test]
fn every_reason_there_is_occurs() {
    let kept = kept();
    let large = large::cases();
    let cases = kept.iter().flat_map(|(_, cases)| cases).chain(&large);
    let seen: BTreeSet<Reason> = cases.filter_map(|case| Some(case.refused.as_ref()?.reason)).collect();
    // Refused only when keys are known, or by what is known of the account: tests/verify and those of ingest.
    let elsewhere = |reason: &Reason| {
        matches!(reason.layer(), Layer::Mst | Layer::Sig | Layer::Policy)
            || [Reason::FutureRev, Reason::RevNotNewer, Reason::ChainBroken].contains(reason)
    };
    let missing: Vec<&Reason> = Reason::ALL.iter().filter(|r| !seen.contains(r) && !elsewhere(r)).collect();
    assert!(missing.is_empty(), "no case is refused as {missing:?}");
}

/// Runs `almanac` with at most 192 MiB of data: memory must not grow with what a frame claims.
fn almanac(arguments: &[&str], file: &Path) -> Output {
    let exec = r#"ulimit -d 196608; exec "$0" "$@""#;
    let mut command = Command::new("sh");
    command.args(["-c", exec, env!("CARGO_BIN_EXE_almanac")]).args(arguments).arg(file);
    // Settings of the test run are none of the program.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ALMANAC_")) {
        command.env_remove(name);
    }
    command.output().unwrap()
}

/// What `almanac decode` prints and refuses, frame by frame.
#[track_caller]
fn assert_decode(name: &str, file: &Path, cases: &[Case]) {
    let output = almanac(&["decode"], file);
    let stderr = String::from_utf8(output.stderr).unwrap();
    let told: Vec<Value> =
        stderr.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}"))).collect();
    let expected = manifest(cases);
    let expected = expected.as_object().unwrap();
    assert_eq!(output.status.code(), Some(i32::from(!expected.is_empty())), "{name}: {stderr}");
    let mut refused = BTreeSet::new();
    for line in &told {
        let frame = line["frame"].to_string();
        let want = expected.get(&frame).unwrap_or_else(|| panic!("{name}: {line} is about a good frame"));
        for key in ["layer", "reason", "seq", "did"] {
            assert_eq!(line[key], want[key], "{name}: {key} of {}: {line}", want["case"]);
        }
        assert!(line["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{name}: {line}");
        assert!(refused.insert(frame), "{name}: {line} is told twice");
    }
    let all: BTreeSet<String> = expected.keys().cloned().collect();
    assert_eq!(refused, all, "{name}");

    let stdout = String::from_utf8(output.stdout).unwrap();
    let printed: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let good: Vec<i64> = printed.iter().filter_map(|l| l["account"]["seq"].as_i64()).filter(|s| *s >= 10_000).collect();
    assert_eq!(
        good,
        (0..cases.len()).map(good_seq).collect::<Vec<_>>(),
        "{name}: every good frame is printed, in order"
    );
    let own: usize = cases.iter().map(|case| case.prints).sum();
    assert_eq!(printed.len(), 1 + good.len() + own, "{name}: {printed:#?}");
}

#[test]
fn decode_tells_which_frames_it_refuses_and_prints_the_others() {
    for (name, cases) in kept() {
        assert_decode(name, &folder().join(name), &cases);
    }
}

/// What `almanac replay` counts.
#[track_caller]
fn assert_replay(name: &str, file: &Path, cases: &[Case]) {
    let output = almanac(&["replay", "--log", "null", "--json"], file);
    assert_eq!(output.status.code(), Some(0), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut refused: BTreeMap<&str, u64> = BTreeMap::new();
    for reason in cases.iter().filter_map(|case| case.refused.as_ref()).filter(|r| r.in_replay).map(|r| r.reason) {
        *refused.entry(reason.as_str()).or_default() += 1;
    }
    assert_eq!(summary["refused"], json!(refused), "{name}");
    assert_eq!(summary["frames"], 1 + 2 * cases.len(), "{name}");
    let events = summary["events_appended"].as_u64().unwrap();
    assert!(events > cases.len() as u64, "{name}: the good frames are kept: {summary}");
}

#[test]
fn replay_counts_what_it_refuses() {
    for (name, cases) in kept() {
        assert_replay(name, &folder().join(name), &cases);
    }
}

#[test]
fn large_frames_are_refused_within_bounded_memory() {
    let cases = large::cases();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("large.frames");
    std::fs::write(&file, dump(&cases)).unwrap();
    assert_decode("large", &file, &cases);
    assert_replay("large", &file, &cases);
}

/// Every frame cut off anywhere is refused, and nothing panics.
#[test]
fn no_beginning_of_a_frame_is_a_frame() {
    for frame in [good_commit(), build::good_sync(), build::good_account(), build::good_identity()] {
        let frame = Bytes::from(frame);
        judge(&frame).unwrap();
        for end in 0..frame.len() {
            let reject = judge(&frame.slice(..end)).expect_err("a beginning of a frame");
            assert_eq!(reject.reason, Reason::Truncated, "{end} of {} bytes: {reject}", frame.len());
        }
    }
}

/// Every byte of a frame replaced: never a panic, and never a record whose bytes are not what its CID says.
#[test]
fn no_single_byte_makes_a_lie_pass() {
    let good = good_commit();
    let record = build::event();
    for at in 0..good.len() {
        for byte in [0x00, 0x01, 0x17, 0x18, 0x1b, 0x3b, 0x5f, 0x7b, 0x80, 0x9f, 0xa1, 0xbf, 0xd8, 0xf6, 0xfb, 0xff] {
            let mut frame = good.clone();
            frame[at] = byte;
            let frame = Bytes::from(frame);
            let Ok(outline) = outline(&frame) else { continue };
            let Ok(message) = decode(&frame, &outline, |_| true, &Checks::NONE) else { continue };
            let almanac::decode::Message::Commit(commit) = message else { continue };
            let records = commit.ops.iter().filter_map(|op| op.record.as_ref());
            assert!(records.clone().all(|kept| kept.bytes == record), "byte {at} as {byte:#x}");
            assert_eq!(commit.did.as_str(), DID, "byte {at} as {byte:#x}");
        }
    }
}
