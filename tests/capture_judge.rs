//! `almanac decode` over what a real PDS sent, judged by what that PDS itself says it holds.
//!
//! The judge is `expected-calendar.json`, read from the PDS's `listRecords` when the recording ended: no code of ours
//! took part in it. What the printed lines add up to must be that, record for record, CID for CID, value for value.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

const EVENT: &str = "community.lexicon.calendar.event";
const RSVP: &str = "community.lexicon.calendar.rsvp";

fn capture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("replay-fixtures/captures").join(name)
}

fn json_file(name: &str) -> Value {
    let path = capture(name);
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let text = if name.ends_with(".zst") { zstd::decode_all(&bytes[..]).unwrap() } else { bytes };
    serde_json::from_slice(&text).unwrap()
}

fn decode(name: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_almanac")).arg("decode").args(arguments).arg(capture(name)).output().unwrap()
}

/// The printed lines of a capture in which every frame is good: nothing refused, exit code 0.
fn accepted_lines(name: &str, arguments: &[&str]) -> Vec<Value> {
    let output = decode(name, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let refused: Vec<&str> =
        stderr.lines().filter(|l| serde_json::from_str::<Value>(l).is_ok_and(|v| v["frame"].is_u64())).collect();
    assert_eq!(refused, Vec::<&str>::new(), "no frame of {name} may be refused");
    assert_eq!(output.status.code(), Some(0), "almanac decode {name}: {stderr}");
    let stdout = String::from_utf8(output.stdout).expect("standard output is UTF-8");
    stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("`{key}` is no text in {value}"))
}

/// What a sequence of printed lines adds up to, computed as plainly as can be: the last word on each key stands.
#[derive(Default)]
struct Outcome {
    /// URI → (CID, record).
    records: BTreeMap<String, (String, Value)>,
    /// (operation, collection) → how many.
    operations: HashMap<(String, String), u64>,
    rev: HashMap<String, String>,
    active: HashMap<String, (bool, Option<String>)>,
    handle: HashMap<String, String>,
    identities: u64,
    accounts: u64,
}

impl Outcome {
    fn of(lines: &[Value]) -> Self {
        let mut outcome = Outcome::default();
        let mut last_seq = 0;
        for line in lines {
            assert!(line["time_us"].is_u64(), "time_us in {line}");
            match text(line, "kind") {
                "commit" => outcome.commit(text(line, "did"), &line["commit"]),
                kind @ ("identity" | "account") => {
                    let body = &line[kind];
                    assert_eq!(body["did"], line["did"], "{line}");
                    assert!(!text(body, "time").is_empty());
                    let seq = body["seq"].as_i64().unwrap_or_else(|| panic!("seq in {line}"));
                    assert!(seq > last_seq, "lines out of order: seq {seq} after {last_seq}");
                    last_seq = seq;
                    if kind == "identity" { outcome.identity(body) } else { outcome.account(body) }
                }
                other => panic!("unknown kind {other}: {line}"),
            }
        }
        outcome
    }

    fn commit(&mut self, did: &str, commit: &Value) {
        let (operation, collection) = (text(commit, "operation"), text(commit, "collection"));
        let uri = format!("at://{did}/{collection}/{}", text(commit, "rkey"));
        *self.operations.entry((operation.into(), collection.into())).or_default() += 1;
        let rev = text(commit, "rev").to_owned();
        if let Some(before) = self.rev.insert(did.into(), rev.clone()) {
            assert!(before <= rev, "{did} went from {before} back to {rev}");
        }
        match operation {
            "create" | "update" => {
                assert_eq!(text(&commit["record"], "$type"), collection, "{uri}");
                let before = self.records.insert(uri.clone(), (text(commit, "cid").into(), commit["record"].clone()));
                assert_eq!(before.is_some(), operation == "update", "{operation} of {uri}");
            }
            "delete" => {
                assert!(commit.get("record").is_none() && commit.get("cid").is_none(), "{commit}");
                assert!(self.records.remove(&uri).is_some(), "delete of {uri}, which is not there");
            }
            other => panic!("unknown operation {other}"),
        }
    }

    fn identity(&mut self, body: &Value) {
        self.identities += 1;
        if let Some(handle) = body["handle"].as_str() {
            self.handle.insert(text(body, "did").into(), handle.into());
        }
    }

    fn account(&mut self, body: &Value) {
        self.accounts += 1;
        let state = (body["active"].as_bool().unwrap(), body["status"].as_str().map(str::to_owned));
        self.active.insert(text(body, "did").into(), state);
    }

    fn count(&self, operation: &str, collection: &str) -> u64 {
        self.operations.get(&(operation.into(), collection.into())).copied().unwrap_or(0)
    }

    /// The calendar records of accounts whose last word is "active".
    fn visible_calendar(&self) -> BTreeMap<&str, &(String, Value)> {
        let visible = |uri: &str| {
            let mut parts = uri["at://".len()..].split('/');
            self.active[parts.next().unwrap()].0 && [EVENT, RSVP].contains(&parts.next().unwrap())
        };
        self.records.iter().filter(|(uri, _)| visible(uri)).map(|(uri, record)| (uri.as_str(), record)).collect()
    }
}

const FIFTY: &str = "pds-05-fifty-accounts/live.frames.zst";

fn assert_is_what_the_pds_holds(outcome: &Outcome) {
    let expected = json_file("pds-05-fifty-accounts/expected-calendar.json.zst");
    let expected: BTreeMap<&str, &Value> = expected
        .as_object()
        .unwrap()
        .iter()
        .map(|(uri, v)| (uri.as_str(), v))
        .filter(|(uri, _)| uri.starts_with("at://"))
        .collect();
    assert_eq!(expected.len(), 752, "the judge is whole");
    let visible = outcome.visible_calendar();
    let have: BTreeSet<&str> = visible.keys().copied().collect();
    let want: BTreeSet<&str> = expected.keys().copied().collect();
    assert_eq!(have.difference(&want).collect::<Vec<_>>(), Vec::<&&str>::new(), "records that the PDS does not hold");
    assert_eq!(want.difference(&have).collect::<Vec<_>>(), Vec::<&&str>::new(), "records that are missing");
    for (uri, want) in expected {
        let (cid, record) = visible[uri];
        assert_eq!(cid, text(want, "cid"), "{uri}");
        assert_eq!(record, &want["value"], "{uri}");
    }
}

#[test]
fn lines_add_up_to_what_the_pds_holds() {
    let outcome = Outcome::of(&accepted_lines(FIFTY, &[]));
    assert_is_what_the_pds_holds(&outcome);

    let accounts = json_file("pds-05-fifty-accounts/accounts.json");
    let asked = |name: &str| accounts["counts"][name].as_u64().unwrap();
    // Each small applyWrites made one event and one post, and removed a like where the account had one.
    for (operation, collection, want) in [
        ("create", EVENT, asked(&format!("create {EVENT}")) + asked("applyWrites small")),
        ("update", EVENT, asked(&format!("put {EVENT}"))),
        ("delete", EVENT, asked(&format!("delete {EVENT}"))),
        ("create", RSVP, asked(&format!("create {RSVP}"))),
        ("update", RSVP, asked(&format!("put {RSVP}"))),
        ("delete", RSVP, asked(&format!("delete {RSVP}"))),
        ("create", "app.bsky.feed.like", asked("create app.bsky.feed.like")),
        ("create", "app.bsky.graph.follow", asked("create app.bsky.graph.follow")),
    ] {
        assert_eq!(outcome.count(operation, collection), want, "{operation} {collection}");
    }
    let profiles = ["create", "update"].map(|operation| outcome.count(operation, "app.bsky.actor.profile"));
    assert_eq!(profiles.iter().sum::<u64>(), asked("put profile"));

    // The counts of the capture's README.
    assert_eq!((outcome.identities, outcome.accounts), (72, 87));
    assert_eq!(outcome.operations.values().sum::<u64>(), 7_033);
    for (did, status) in accounts["status"].as_object().unwrap() {
        // Of a deleted account the PDS only says that it does not know it.
        let want = match (status["error"].as_str(), status["active"].as_bool()) {
            (Some("RepoNotFound"), _) => (false, Some("deleted".to_owned())),
            (None, Some(true)) => (true, None),
            (None, Some(false)) => (false, status["status"].as_str().map(str::to_owned)),
            other => panic!("unexpected judge {other:?}"),
        };
        let have = outcome.active[did].clone();
        // "active: true" may come with the word `active` or with none.
        let have = (have.0, have.1.filter(|word| word != "active"));
        assert_eq!(have, want, "{did}");
        if want.0 {
            assert_eq!(outcome.handle[did], text(&accounts["handles"], did), "{did}");
            assert_eq!(outcome.rev[did], text(&accounts["heads"][did], "rev"), "{did}");
        }
    }
    assert_eq!(accounts["status"].as_object().unwrap().len(), 50);
}

#[test]
fn one_collection_can_be_asked_for() {
    let all = accepted_lines(FIFTY, &[]);
    let only = accepted_lines(FIFTY, &["--collection", RSVP]);
    let rsvps = |lines: &[Value]| {
        lines.iter().filter(|l| l["kind"] == "commit" && l["commit"]["collection"] == RSVP).cloned().collect::<Vec<_>>()
    };
    assert!(only.iter().all(|l| l["kind"] != "commit" || l["commit"]["collection"] == RSVP));
    assert_eq!(rsvps(&only), rsvps(&all));
    assert_eq!(rsvps(&all).len(), 478 + 79 + 67);
}

/// What the host says about the connection is no event of an account, and nothing that could be refused.
#[test]
fn error_and_info_frames_print_nothing_and_are_not_refused() {
    for name in ["future-cursor", "consumer-too-slow", "outdated-cursor"] {
        assert_eq!(accepted_lines(&format!("edge/{name}.frames"), &[]), Vec::<Value>::new(), "{name}");
    }
}
