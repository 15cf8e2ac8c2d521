//! On well-formed input independent implementations must agree with ours to the byte: ciborium and serde_ipld_dagcbor on
//! header, body and blocks, rs-car on the CAR. Input: what a real PDS sent, and both mixes of the generator.

use std::collections::HashMap;
use std::path::Path;

use almanac::decode::{Car, Checks, Message, SignedCommit, decode, outline, parse_time, record_json};
use almanac::devnet::{Mix, Size, Traffic};
use almanac::event::Cid;
use almanac::source::dump::DumpReader;
use bytes::Bytes;
use ciborium::Value;
use serde_json::{Value as Json, json};

#[path = "devnet_judge/mod.rs"]
mod judge;

use judge::{get, int, link, text};

/// The data model's JSON form, by ciborium and this function.
fn json_of(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(b) => json!(b),
        Value::Integer(n) => json!(i64::try_from(*n).unwrap()),
        Value::Text(text) => json!(text),
        Value::Bytes(bytes) => json!({"$bytes": data_encoding::BASE64_NOPAD.encode(bytes)}),
        Value::Tag(42, _) => json!({"$link": link(value).unwrap().to_string()}),
        Value::Array(items) => items.iter().map(json_of).collect(),
        Value::Map(fields) => {
            Json::Object(fields.iter().map(|(k, v)| (k.as_text().unwrap().to_owned(), json_of(v))).collect())
        }
        other => panic!("not of the data model: {other:?}"),
    }
}

/// How many of each were compared.
#[derive(Debug, Default, PartialEq)]
struct Compared {
    commits: usize,
    records: usize,
    deletes: usize,
    syncs: usize,
    identities: usize,
    accounts: usize,
    notices: usize,
}

impl Compared {
    fn frame(&mut self, frame: &Bytes) {
        let (header, body) = judge::decode_frame(frame);
        let outline = outline(frame).unwrap();
        assert_eq!(outline.seq, int(&body, "seq"));
        assert_eq!(outline.did, text(&body, "repo").or(text(&body, "did")).unwrap_or_default());
        assert_eq!(outline.time, text(&body, "time").unwrap_or_default());
        let kind = text(&header, "t").unwrap_or("error");
        let time = text(&body, "time").and_then(|time| time.parse::<chrono::DateTime<chrono::Utc>>().ok());
        assert_eq!(parse_time(outline.time), time);
        match (kind, decode(frame, &outline, |_| true, &Checks::NONE).unwrap()) {
            ("#commit", Message::Commit(commit)) => {
                assert_eq!((Some(commit.seq), Some(commit.time)), (outline.seq, time));
                assert_eq!(commit.did.as_str(), outline.did);
                assert_eq!(Some(commit.rev.to_string().as_str()), text(&body, "rev"));
                assert_eq!(commit.since.map(|rev| rev.to_string()).as_deref(), text(&body, "since"));
                assert_eq!(commit.prev_data, get(&body, "prevData").and_then(link));
                let (blocks, root) = judge::read_car(get(&body, "blocks").unwrap().as_bytes().unwrap());
                let blocks: HashMap<Cid, Vec<u8>> = blocks.into_iter().collect();
                assert_eq!((Some(commit.cid), commit.cid), (get(&body, "commit").and_then(link), root));
                let signed = judge::decode(&blocks[&root]);
                assert_eq!(Some(commit.data), get(&signed, "data").and_then(link));
                self.ops(&commit.ops, &outline.ops, &body, &blocks);
                self.commits += 1;
            }
            ("#sync", Message::Sync(sync)) => {
                let (blocks, root) = judge::read_car(get(&body, "blocks").unwrap().as_bytes().unwrap());
                let signed = judge::decode(&blocks.iter().find(|(cid, _)| *cid == root).unwrap().1);
                assert_eq!((Some(sync.seq), Some(sync.time)), (outline.seq, time));
                assert_eq!((sync.did.as_str(), Some(sync.data)), (outline.did, get(&signed, "data").and_then(link)));
                assert_eq!(Some(sync.rev.to_string().as_str()), text(&signed, "rev"));
                self.syncs += 1;
            }
            ("#identity", Message::Identity(identity)) => {
                assert_eq!((Some(identity.seq), Some(identity.time)), (outline.seq, time));
                assert_eq!(identity.did.as_str(), outline.did);
                let handle = text(&body, "handle");
                assert_eq!(identity.handle.as_deref(), handle);
                self.identities += 1;
            }
            ("#account", Message::Account(account)) => {
                assert_eq!((Some(account.seq), Some(account.time)), (outline.seq, time));
                assert_eq!(account.did.as_str(), outline.did);
                assert_eq!(Some(account.active), get(&body, "active").and_then(Value::as_bool));
                assert_eq!(account.status.as_deref(), text(&body, "status"));
                self.accounts += 1;
            }
            ("#info", Message::Info(notice)) => self.notice(&notice.name, text(&body, "name")),
            ("error", Message::Error(notice)) => self.notice(&notice.name, text(&body, "error")),
            (kind, other) => panic!("{kind} is read as {other:?}"),
        }
    }

    fn notice(&mut self, ours: &str, theirs: Option<&str>) {
        assert_eq!(Some(ours), theirs);
        self.notices += 1;
    }

    fn ops(
        &mut self,
        ops: &[almanac::decode::Op],
        raw: &almanac::decode::Ops<'_>,
        body: &Value,
        blocks: &HashMap<Cid, Vec<u8>>,
    ) {
        let theirs = get(body, "ops").unwrap().as_array().unwrap();
        assert_eq!((ops.len(), raw.len()), (theirs.len(), theirs.len()));
        for ((op, raw), their) in ops.iter().zip(raw.iter()).zip(theirs) {
            let raw = raw.unwrap();
            assert_eq!(Some(raw.path), text(their, "path"));
            assert_eq!((raw.cid, raw.prev), (get(their, "cid").and_then(link), get(their, "prev").and_then(link)));
            assert_eq!(Some(op.action.as_str()), text(their, "action"));
            assert_eq!(format!("{}/{}", op.collection, op.rkey), raw.path);
            assert_eq!(op.record.as_ref().map(|record| record.cid), raw.cid);
            let Some(record) = &op.record else {
                self.deletes += 1;
                continue;
            };
            assert_eq!(record.bytes, blocks[&record.cid], "{}", raw.path);
            assert_eq!(record_json(&record.bytes).unwrap(), json_of(&judge::decode(&record.bytes)), "{}", raw.path);
            self.records += 1;
        }
    }
}

#[test]
fn captures_of_real_software_are_read_as_others_read_them() {
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("replay-fixtures/captures");
    let mut compared = Compared::default();
    let live = "pds-05-fifty-accounts/live.frames.zst";
    for name in [live, "edge/future-cursor.frames", "edge/consumer-too-slow.frames", "edge/outdated-cursor.frames"] {
        for item in DumpReader::open(captures.join(name)).unwrap() {
            compared.frame(&item.unwrap().frame);
        }
    }
    // The counts of the captures' README.
    assert_eq!((compared.commits, compared.syncs), (3_570, 59));
    assert_eq!((compared.identities, compared.accounts, compared.notices), (72, 87, 3));
    assert!(compared.records > 3_000 && compared.deletes > 50, "{compared:?}");
}

#[test]
fn made_frames_are_read_as_others_read_them() {
    let size = Size { accounts: 60, pasts: 3, records: 3_000 };
    for mix in [Mix::Calendar, Mix::Network] {
        let mut compared = Compared::default();
        for frame in Traffic::with_size(11, mix, size, 2).next_frames(2_000) {
            compared.frame(&Bytes::from(frame.bytes));
        }
        println!("{mix:?}: {compared:?}");
        assert!(compared.commits > 1_000 && compared.records > 500 && compared.deletes > 50, "{mix:?}: {compared:?}");
    }
}

/// Whole repositories as a real PDS exports them: repo-stream walks the tree, we are asked for every block that it names.
#[tokio::test]
async fn whole_repositories_hold_what_repo_stream_finds_in_them() {
    let cars = Path::new(env!("CARGO_MANIFEST_DIR")).join("replay-fixtures/captures/pds-05-fifty-accounts/cars");
    let (mut repos, mut records) = (0, 0);
    for entry in std::fs::read_dir(cars).unwrap() {
        let path = entry.unwrap().path();
        // Only what changed since a revision: a part of a tree cannot be walked.
        if path.file_name().unwrap().to_str().unwrap().starts_with("since-") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let car = Car::parse(&bytes).unwrap();
        let commit = SignedCommit::parse(car.block(&car.root(), "commit").unwrap()).unwrap();
        assert!(path.file_stem().unwrap().to_str().is_some_and(|stem| commit.did.as_str().ends_with(stem)));
        let mut walk = repo_stream::DriverBuilder::new().load_car(&bytes[..]).await.unwrap();
        while let Some(chunk) = walk.next_chunk_strict(256).unwrap() {
            for found in chunk {
                let cid = Cid::from_bytes(&found.cid.to_bytes()).unwrap();
                let block = car.block(&cid, "record").unwrap();
                assert_eq!(block, &found.data[..]);
                assert!(record_json(block).unwrap().is_object());
                records += 1;
            }
        }
        repos += 1;
    }
    assert_eq!(repos, 12);
    assert!(records > 1_000, "{records}");
}
