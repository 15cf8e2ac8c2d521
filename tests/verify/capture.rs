//! A real PDS's frames with the keys of its accounts: all pass, and nothing can be changed in them.

use std::path::PathBuf;
use std::process::{Command, Output};

use almanac::config::DidDocs;
use almanac::decode::{self, EMPTY_TREE, Kind, Level, Message, PublicKey};
use almanac::devnet::cbor::cid_of;
use bytes::Bytes;
use chrono::Utc;
use ciborium::Value as Cv;

use crate::build::{Car, Fields, link, with, with_field, without_field};

const FOLDER: &str = "replay-fixtures/captures/pds-05-fifty-accounts";

fn docs_file() -> PathBuf {
    PathBuf::from(FOLDER).join("did-docs.json")
}

fn frames() -> Vec<Bytes> {
    let dump = std::fs::read(PathBuf::from(FOLDER).join("live.frames.zst")).unwrap();
    split(zstd::decode_all(&dump[..]).unwrap().into())
}

fn split(mut dump: Bytes) -> Vec<Bytes> {
    let mut frames = vec![];
    while !dump.is_empty() {
        let length = u32::from_le_bytes(dump.split_to(4)[..].try_into().unwrap());
        frames.push(dump.split_to(length as usize));
    }
    frames
}

fn almanac(arguments: &[&str], frames: &[Bytes]) -> Output {
    let file = tempfile::Builder::new().suffix(".frames").tempfile().unwrap();
    let bytes: Vec<u8> = frames.iter().flat_map(|f| [&(f.len() as u32).to_le_bytes()[..], &f[..]].concat()).collect();
    std::fs::write(file.path(), bytes).unwrap();
    Command::new(env!("CARGO_BIN_EXE_almanac")).arg("decode").args(arguments).arg(file.path()).output().unwrap()
}

/// Frame index and reason of each refusal, and how many lines were printed.
fn told(output: &Output) -> (Vec<(u64, String)>, usize) {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    let line = |line: &str| {
        let told: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        (told["frame"].as_u64().unwrap(), told["reason"].as_str().unwrap().to_owned())
    };
    (stderr.lines().map(line).collect(), output.stdout.iter().filter(|b| **b == b'\n').count())
}

fn with_docs<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let docs = Box::leak(docs_file().display().to_string().into_boxed_str());
    [&["--did-docs", docs][..], more].concat()
}

fn judge(frame: &[u8], key: &PublicKey, level: Level) -> Result<Message, decode::Reject> {
    let frame = Bytes::copy_from_slice(frame);
    let outline = decode::outline(&frame)?;
    let checks = decode::Checks { level, key: Some(key), now: Some(Utc::now()) };
    decode::decode(&frame, &outline, |_| true, &checks)
}

#[test]
fn every_commit_of_the_capture_passes_whole() {
    let docs = DidDocs::read(&docs_file()).unwrap();
    assert_eq!(docs.len(), 50);
    let (mut commits, mut inverted, mut syncs) = (0, 0, 0);
    for frame in frames() {
        let outline = decode::outline(&frame).unwrap();
        if !matches!(outline.kind, Kind::Commit | Kind::Sync) {
            continue;
        }
        match judge(&frame, docs.key(outline.did).unwrap(), Level::Full).unwrap() {
            Message::Commit(commit) => {
                commits += 1;
                inverted += usize::from(commit.prev_data.is_some());
            }
            Message::Sync(_) => syncs += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((commits, inverted, syncs), (3_570, 3_520, 59));
}

#[test]
fn the_command_says_so_too() {
    let frames = frames();
    for flags in [&["--verify", "full"][..], &["--verify", "signature"], &["--verify", "none"], &[]] {
        let output = almanac(&with_docs(flags), &frames);
        assert_eq!((told(&output), output.status.code()), ((vec![], 7_192), Some(0)), "{flags:?}");
    }
    // A commit that is seen again is no second event.
    let twice: Vec<Bytes> = frames.iter().take(400).flat_map(|frame| [frame.clone(), frame.clone()]).collect();
    let once = told(&almanac(&with_docs(&[]), &frames[..400]));
    let twice = told(&almanac(&with_docs(&[]), &twice));
    assert_eq!(once.0, twice.0);
    let words =
        frames[..400].iter().filter(|f| matches!(decode::outline(f).unwrap().kind, Kind::Account | Kind::Identity));
    assert_eq!(twice.1, once.1 + words.count());
}

#[test]
fn one_gap_is_one_refusal() {
    let frames = frames();
    let of = |frame: &Bytes| {
        let outline = decode::outline(frame).unwrap();
        (outline.kind == Kind::Commit && !outline.ops.is_empty()).then(|| outline.did.to_owned())
    };
    let did = frames.iter().rev().find_map(of).unwrap();
    let own: Vec<Bytes> = frames.iter().filter(|frame| of(frame).as_ref() == Some(&did)).cloned().collect();
    assert!(own.len() > 20);
    let (mut gap, mut old) = (own.clone(), own.clone());
    gap.remove(10);
    assert_eq!(told(&almanac(&with_docs(&[]), &gap)).0, [(10, "chain_broken".to_owned())]);
    assert_eq!(told(&almanac(&with_docs(&["--verify", "signature"]), &gap)).0, []);
    old.swap(10, 11);
    let broken = "chain_broken".to_owned();
    assert_eq!(
        told(&almanac(&with_docs(&[]), &old)).0,
        [(10, broken.clone()), (11, "rev_not_newer".to_owned())],
        "the newer one is the anchor, the older one too late"
    );
    let signature = told(&almanac(&with_docs(&["--verify", "signature"]), &old)).0;
    assert_eq!(signature, [(11, "rev_not_newer".to_owned())]);
}

#[test]
fn keys_are_asked_for_and_missed() {
    let frames = frames();
    for level in ["signature", "full"] {
        let output = almanac(&["--verify", level], &frames[..5]);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && stderr.contains("--did-docs"), "{stderr}");
    }
    let empty = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(empty.path(), "{}").unwrap();
    let output = almanac(&["--did-docs", empty.path().to_str().unwrap()], &frames[..20]);
    let signed = |frame: &&Bytes| matches!(decode::outline(frame).unwrap().kind, Kind::Commit | Kind::Sync);
    let refused = told(&output).0;
    assert_eq!(refused.len(), frames[..20].iter().filter(signed).count());
    assert!(!refused.is_empty() && refused.iter().all(|(_, reason)| reason == "no_key"), "{refused:?}");
    let output = almanac(&["--did-docs", "nowhere.json"], &frames[..5]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && stderr.contains("nowhere.json"), "{stderr}");
}

/// Every field of a frame that is proven, changed on its own.
#[test]
fn nothing_in_a_frame_can_be_changed() {
    let docs = DidDocs::read(&docs_file()).unwrap();
    let (mut changed, mut blocks) = (0, 0);
    for frame in frames().iter().step_by(29) {
        let outline = decode::outline(frame).unwrap();
        if outline.kind != Kind::Commit || outline.ops.is_empty() {
            continue;
        }
        let key = docs.key(outline.did).unwrap();
        let Message::Commit(commit) = judge(frame, key, Level::Full).unwrap() else { panic!() };
        let mut refuses = |what: &str, bytes: Vec<u8>| {
            changed += 1;
            let outcome = judge(&bytes, key, Level::Full);
            assert!(outcome.is_err(), "{what} of frame {:?} can be changed", outline.seq);
        };
        let other = cid_of(b"another");
        refuses("repo", with_field(frame, "repo", "did:plc:vzop3o4vhg3srzde6k2hqtjm2"));
        refuses("rev", with_field(frame, "rev", "3n2uyhpluwr2l"));
        refuses("commit", with_field(frame, "commit", link(&other)));
        refuses("prevData", with_field(frame, "prevData", link(&other)));
        refuses("prevData", with_field(frame, "prevData", link(&commit.data)));
        if commit.prev_data != Some(EMPTY_TREE) {
            refuses("no prevData", without_field(frame, "prevData"));
        }
        let op_field = |at: usize, field: &str, value: Cv| {
            with(frame, |_, body| {
                Fields(body.get("ops").as_array_mut().unwrap()[at].as_map_mut().unwrap()).set(field, value)
            })
        };
        for (at, op) in outline.ops.iter().enumerate().take(4) {
            let op = op.unwrap();
            for field in ["cid", "prev"] {
                for value in [Cv::Null, link(&other), link(&commit.data)] {
                    let is_it = if field == "cid" { op.cid } else { op.prev };
                    if is_it.is_some() || value != Cv::Null {
                        refuses(field, op_field(at, field, value));
                    }
                }
            }
            refuses("path", op_field(at, "path", format!("{}x", op.path).into()));
            for action in ["create", "update", "delete"] {
                if action != op.action.as_str() {
                    refuses("action", op_field(at, "action", action.into()));
                }
            }
            refuses(
                "an operation less",
                with(frame, |_, body| drop(body.get("ops").as_array_mut().unwrap().remove(at))),
            );
        }
        // Each block, by a bit at its end. One that nobody reads may be anything, and may be left out.
        let car = Car::of(frame);
        for at in 0..car.sections.len() {
            let mut car = Car::of(frame);
            *car.sections[at].last_mut().unwrap() ^= 1;
            let outcome = judge(&with_field(frame, "blocks", Cv::Bytes(car.encode())), key, Level::Full);
            car.sections.remove(at);
            let without = judge(&with_field(frame, "blocks", Cv::Bytes(car.encode())), key, Level::Full);
            assert_eq!(outcome.is_err(), without.is_err(), "block {at} of frame {:?}", outline.seq);
            blocks += usize::from(outcome.is_err());
        }
    }
    assert!(changed > 1_500 && blocks > 400, "{changed} changes, {blocks} blocks");
}
