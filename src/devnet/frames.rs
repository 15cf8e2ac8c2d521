//! Frames of `com.atproto.sync.subscribeRepos`: a header and a body, DAG-CBOR both.
//! Spec: <https://atproto.com/specs/event-stream>, <https://atproto.com/specs/sync>.

use chrono::{DateTime, SecondsFormat};

use super::car;
use super::cbor::Value;
use super::repo::{Commit, Head, Op};
use crate::event::Cid;

/// What every numbered frame says besides its kind: which number its host gave it, whom it is about, and when.
#[derive(Clone, Copy, Debug)]
pub struct Stamp<'a> {
    /// The host's number.
    pub seq: i64,
    /// Whom the frame is about.
    pub did: &'a str,
    /// Microseconds since 1970.
    pub micros: i64,
}

impl Stamp<'_> {
    fn fields(&self, did_key: &'static str) -> Vec<(&'static str, Value)> {
        vec![
            ("seq", Value::Int(self.seq)),
            (did_key, Value::text(self.did)),
            ("time", Value::Text(datetime(self.micros))),
        ]
    }
}

/// A datetime as the reference PDS writes it: UTC, milliseconds, `Z`.
pub fn datetime(micros: i64) -> String {
    DateTime::from_timestamp_micros(micros).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn frame(kind: &'static str, body: Vec<(&'static str, Value)>) -> Vec<u8> {
    let mut out = Value::map([("op", Value::Int(1)), ("t", Value::text(kind))]).encode();
    Value::map(body).encode_into(&mut out);
    out
}

/// `#commit`.
pub fn commit(stamp: Stamp<'_>, commit: &Commit) -> Vec<u8> {
    let mut body = stamp.fields("repo");
    body.extend([
        ("ops", Value::List(commit.ops.iter().map(op).collect())),
        ("rev", Value::Text(commit.head.rev.to_string())),
        ("blobs", Value::List(vec![])),
        ("since", commit.since.map_or(Value::Null, |rev| Value::Text(rev.to_string()))),
        ("blocks", Value::Bytes(commit_car(stamp.seq, commit))),
        ("commit", Value::Link(commit.head.cid)),
        ("rebase", Value::Bool(false)),
        ("tooBig", Value::Bool(false)),
    ]);
    body.extend(commit.prev_data.map(|cid| ("prevData", Value::Link(cid))));
    frame("#commit", body)
}

/// The blocks of a commit. Real hosts put the root anywhere but reliably first, so its place goes with the number.
fn commit_car(seq: i64, commit: &Commit) -> Vec<u8> {
    let mut blocks: Vec<(&Cid, &[u8])> = commit.proof.iter().map(|(cid, bytes)| (cid, &bytes[..])).collect();
    blocks.extend(commit.records.iter().map(|(cid, bytes)| (cid, &bytes[..])));
    let place = seq.unsigned_abs() as usize % (blocks.len() + 1);
    blocks.insert(place, (&commit.head.cid, &commit.head.block));
    car::write(&commit.head.cid, blocks)
}

fn op(op: &Op) -> Value {
    let mut fields = vec![
        ("cid", Value::link_or_null(op.cid)),
        ("path", Value::text(&*op.path)),
        ("action", Value::text(op.action)),
    ];
    fields.extend(op.prev.map(|cid| ("prev", Value::Link(cid))));
    Value::map(fields)
}

/// `#sync`: the repository's head, for readers who lost the chain.
pub fn sync(stamp: Stamp<'_>, head: &Head) -> Vec<u8> {
    let mut body = stamp.fields("did");
    body.push(("rev", Value::Text(head.rev.to_string())));
    body.push(("blocks", Value::Bytes(car::write(&head.cid, [(&head.cid, &head.block[..])]))));
    frame("#sync", body)
}

/// `#identity`: look the DID up again. The handle may be left out.
pub fn identity(stamp: Stamp<'_>, handle: Option<&str>) -> Vec<u8> {
    let mut body = stamp.fields("did");
    body.extend(handle.map(|handle| ("handle", Value::text(handle))));
    frame("#identity", body)
}

/// `#account`: whether the host shows the account, and why not.
pub fn account(stamp: Stamp<'_>, active: bool, status: Option<&str>) -> Vec<u8> {
    let mut body = stamp.fields("did");
    body.push(("active", Value::Bool(active)));
    body.extend(status.map(|status| ("status", Value::text(status))));
    frame("#account", body)
}

/// `#info`, which has no number.
pub fn info(name: &str, message: Option<&str>) -> Vec<u8> {
    frame("#info", named("name", name, message))
}

/// An error frame: `op` is -1, there is no kind, and the host closes the connection after it.
pub fn error(name: &str, message: Option<&str>) -> Vec<u8> {
    let mut out = Value::map([("op", Value::Int(-1))]).encode();
    Value::map(named("error", name, message)).encode_into(&mut out);
    out
}

fn named(key: &'static str, name: &str, message: Option<&str>) -> Vec<(&'static str, Value)> {
    let mut body = vec![(key, Value::text(name))];
    body.extend(message.map(|message| ("message", Value::text(message))));
    body
}
