//! Commits of the generator that may be changed after they were signed, or before.

use almanac::decode::{self, Checks, Level, Message, PublicKey, Reason, Reject};
use almanac::devnet::cbor::{Value, cid_of};
use almanac::devnet::keys::{Curve, SigningKey};
use almanac::devnet::{Commit, Head, Repo, Tid, Write, frames};
use almanac::event::Cid;
use bytes::Bytes;
use chrono::DateTime;

use crate::build::{DID, MICROS, SEQ, stamp};

pub const EVENT: &str = "community.lexicon.calendar.event";
pub const POST: &str = "app.bsky.feed.post";

pub fn key(curve: Curve) -> SigningKey {
    SigningKey::from_entropy(curve, [7; 32])
}

pub fn public(key: &SigningKey) -> PublicKey {
    PublicKey::from_did_key(&format!("did:key:{}", key.multikey())).unwrap()
}

pub fn record(text: &str) -> Vec<u8> {
    Value::map([("text", Value::text(text))]).encode()
}

pub fn create(path: impl Into<String>, text: &str) -> Write {
    Write::Create { path: path.into(), record: record(text) }
}

pub fn tid(n: u64) -> Tid {
    Tid::new(MICROS - 1_000_000 + n, 0)
}

/// A repository with `posts` posts and one event, whose next commit has a past.
pub fn repo(key: SigningKey, posts: u64) -> Repo {
    let mut repo = Repo::new(DID, key);
    let mut writes: Vec<Write> = (0..posts).map(|n| create(format!("{POST}/{}", tid(n)), "post")).collect();
    writes.push(create(format!("{EVENT}/{}", tid(0)), "event"));
    for (n, writes) in writes.chunks(100).enumerate() {
        repo.apply(writes, tid(n as u64)).unwrap();
    }
    repo
}

/// A commit of a bit of everything.
pub fn commit(repo: &mut Repo) -> Commit {
    let writes = [
        create(format!("{EVENT}/{}", tid(500)), "another event"),
        Write::Update { path: format!("{EVENT}/{}", tid(0)), record: record("the event, later") },
        Write::Delete { path: format!("{POST}/{}", tid(11)) },
        create(format!("{POST}/{}", tid(12_000)), "another post"),
    ];
    repo.apply(&writes, tid(900)).unwrap()
}

/// Signs a commit of any tree.
pub fn sign(key: &SigningKey, rev: Tid, data: Cid) -> Head {
    let mut fields = vec![
        ("did", Value::text(DID)),
        ("version", Value::Int(3)),
        ("data", Value::Link(data)),
        ("rev", Value::Text(rev.to_string())),
        ("prev", Value::Null),
    ];
    let sig = key.sign(&Value::map(fields.clone()).encode()).to_vec();
    fields.push(("sig", Value::Bytes(sig)));
    let block = Value::map(fields).encode();
    Head { rev, data, cid: cid_of(&block), block }
}

/// Exchanges the signature of a commit.
pub fn with_signature(head: &Head, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Head {
    let mut object: ciborium::Value = ciborium::from_reader(&head.block[..]).unwrap();
    let mut fields = crate::build::Fields(object.as_map_mut().unwrap());
    let sig = change(fields.get("sig").as_bytes().unwrap().clone());
    fields.set("sig", sig);
    let block = crate::build::encode(&object);
    Head { cid: cid_of(&block), block, ..head.clone() }
}

pub fn frame(commit: &Commit) -> Bytes {
    frames::commit(stamp(SEQ), commit).into()
}

/// What becomes of a frame under these checks; all of its records are looked at.
pub fn judge(frame: &Bytes, level: Level, key: Option<&PublicKey>) -> Result<Message, Reject> {
    let now = DateTime::from_timestamp_micros(MICROS as i64);
    let outline = decode::outline(frame)?;
    decode::decode(frame, &outline, |_| true, &Checks { level, key, now })
}

pub fn full(frame: &Bytes, key: &PublicKey) -> Result<Message, Reject> {
    judge(frame, Level::Full, Some(key))
}

#[track_caller]
pub fn assert_refused(what: &str, outcome: Result<Message, Reject>, reason: Reason) {
    match outcome {
        Err(reject) => assert_eq!(reject.reason, reason, "{what}: {reject}"),
        Ok(message) => panic!("{what} passes: {message:?}"),
    }
}
