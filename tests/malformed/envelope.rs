//! Faults in the bytes and the fields of the frame itself.

use almanac::decode::Reason::*;
use almanac::devnet::Op;
use almanac::event::{Cid, Codec};
use ciborium::Value as Cv;

use super::build::*;

/// Bytes that are not what DAG-CBOR allows.
pub fn encoding() -> Vec<Case> {
    let good = good_commit();
    let body = body_at(&good);
    let raw = |key: &str, raw: &[u8]| with_raw(&good, key, raw);
    let long = |n: u64| [&[0x1b], &n.to_be_bytes()[..]].concat();
    let mut indefinite_body = good.clone();
    indefinite_body[body] = 0xbf;
    indefinite_body.push(0xff);
    vec![
        unread("nothing at all", Truncated, vec![]),
        unread("cut in the header", Truncated, good[..5].to_vec()),
        unread("cut after the header", Truncated, good[..body].to_vec()),
        unread("cut in the operations", Truncated, good[..body + 20].to_vec()),
        refused("cut in the blocks", Truncated, good[..good.len() / 2].to_vec()),
        refused("cut by one byte", Truncated, good[..good.len() - 1].to_vec()),
        refused("text that claims exabytes", Truncated, raw("zz", &[0x7b, 0x3f, 0, 0, 0, 0, 0, 0, 0])),
        refused("map that claims four billion entries", Truncated, raw("zz", &[0xba, 0xff, 0xff, 0xff, 0xff])),
        unread("operations that claim four billion", Truncated, raw("ops", &[0x9a, 0xff, 0xff, 0xff, 0xff])),
        refused("a byte after the body", TrailingBytes, [&good[..], &[0]].concat()),
        refused("a second body", TrailingBytes, [&good[..], &good[body..]].concat()),
        refused("65 deep in an unknown field", TooDeep, raw("zz", &nested(65))),
        refused("10,000 deep in an unknown field", TooDeep, raw("zz", &nested(10_000))),
        unread("10,000 deep in the operations", TooDeep, raw("ops", &nested(10_000))),
        unread("body of indefinite length", IndefiniteLength, indefinite_body),
        unread("operations of indefinite length", IndefiniteLength, raw("ops", &[0x9f, 0xff])),
        refused("text of indefinite length", IndefiniteLength, raw("since", &[0x7f, 0x61, 0x61, 0xff])),
        refused("blocks of indefinite length", IndefiniteLength, raw("blocks", &[0x5f, 0x41, 0x00, 0xff])),
        unread("seq in eight bytes", NotShortest, raw("seq", &long(SEQ as u64))),
        refused("length of blocks in eight bytes", NotShortest, raw("blocks", &[0x5b, 0, 0, 0, 0, 0, 0, 0, 1, 0])),
        refused("16-bit float in an unknown field", Float, raw("zz", &[0xf9, 0x3e, 0x00])),
        refused("32-bit float in an unknown field", Float, raw("zz", &[0xfa, 0x7f, 0x80, 0, 0])),
        unread("seq as a 64-bit float", Float, raw("seq", &[0xfb, 0x40, 0x7f, 0x40, 0, 0, 0, 0, 0])),
        unread("seq of 2^63", IntegerRange, raw("seq", &long(1 << 63))),
        refused("since undefined", SimpleValue, raw("since", &[0xf7])),
        refused("simple value in two bytes", SimpleValue, raw("zz", &[0xf8, 0xff])),
        refused("reserved initial byte", ReservedByte, raw("zz", &[0x1c])),
        refused("tag 0 in an unknown field", ForeignTag, raw("zz", &[0xc0, 0x61, 0x30])),
        refused(
            "commit under tag 43",
            ForeignTag,
            with_field(&good, "commit", Cv::Tag(43, Box::new(Cv::Bytes(vec![0])))),
        ),
        refused(
            "link without its zero byte",
            BadLink,
            with_field(&good, "commit", Cv::Tag(42, Box::new(Cv::Bytes(vec![1; 36])))),
        ),
        refused(
            "link of CID version 0",
            BadLink,
            with_field(&good, "commit", raw_link(&[[0x12, 0x20].as_slice(), &[1; 32]].concat())),
        ),
        refused(
            "link with a hash of 100 bytes",
            BadLink,
            with_field(&good, "prevData", raw_link(&[[1, 0x71, 0x12, 100].as_slice(), &[1; 100]].concat())),
        ),
        refused("rev that is not UTF-8", NotUtf8, raw("rev", &[0x62, 0xc3, 0x28])),
        unread("repo that is not UTF-8", NotUtf8, raw("repo", &[0x62, 0xc3, 0x28])),
        refused("number as a key", KeyNotText, with(&good, |_, body| body.0.push((1.into(), 1.into())))),
        unread(
            "number as a key of the header",
            KeyNotText,
            with(&good, |header, _| header.0.push((1.into(), 1.into()))),
        ),
        refused(
            "repo twice",
            DuplicateKey,
            with(&good, |_, body| body.0.push(("repo".into(), "did:plc:other".into()))),
        ),
        refused("blocks twice", DuplicateKey, with(&good, |_, body| body.0.push(("blocks".into(), Cv::Bytes(vec![]))))),
        unread("op twice in the header", DuplicateKey, with(&good, |header, _| header.0.push(("op".into(), 1.into())))),
        refused("path twice in an operation", DuplicateKey, with_op(|op| op.0.push(("path".into(), PATH.into())))),
        unread("body that is a list", UnexpectedType, [&good[..body], &[0x80]].concat()),
        unread("header that is a list", UnexpectedType, [&[0x80], &good[body..]].concat()),
        unread("op as text", UnexpectedType, with(&good, |header, _| header.set("op", "1"))),
        unread("seq as text", UnexpectedType, with_field(&good, "seq", "500")),
        unread("operations as a map", UnexpectedType, with_field(&good, "ops", Cv::Map(vec![]))),
        unread("time as a number", UnexpectedType, with_field(&good, "time", 1)),
        refused("operation that is text", UnexpectedType, with_field(&good, "ops", Cv::Array(vec!["x".into()]))),
        refused("blocks as text", UnexpectedType, with_field(&good, "blocks", "x")),
        refused("commit null", UnexpectedType, with_field(&good, "commit", Cv::Null)),
        refused("rev as a number", UnexpectedType, with_field(&good, "rev", 1)),
        refused("active as a number", UnexpectedType, with_field(&good_account(), "active", 1)),
        refused("handle as a list", UnexpectedType, with_field(&good_identity(), "handle", Cv::Array(vec![]))),
    ]
}

/// The good commit with its one operation changed.
fn with_op(change: impl FnOnce(&mut Fields)) -> Vec<u8> {
    with(&good_commit(), |_, body| {
        let ops = body.get("ops").as_array_mut().unwrap();
        change(&mut Fields(ops[0].as_map_mut().unwrap()));
    })
}

fn with_path(path: &str) -> Vec<u8> {
    with_op(|op| op.set("path", path))
}

fn with_ops(change: impl FnOnce(&mut Vec<Op>)) -> Vec<u8> {
    commit_with(|commit| change(&mut commit.ops))
}

/// Deletes of `count` records of a followed collection.
pub fn deletes(count: usize) -> Vec<u8> {
    let op = |i| Op { action: "delete", path: format!("{PATH}{i}"), cid: None, prev: None };
    with_ops(|ops| *ops = (0..count).map(op).collect())
}

/// Fields that are missing, are no identifiers, or contradict each other.
pub fn fields() -> Vec<Case> {
    let good = good_commit();
    let (sync, account, identity) = (good_sync(), good_account(), good_identity());
    let other = "did:plc:somebodyelse222222222222";
    let event = |rkey: &str| with_path(&format!("community.lexicon.calendar.event/{rkey}"));
    let cid = Cid::new(Codec::DagCbor, [1; 32]);
    let mut cases = vec![
        unread("empty header", BadHeader, with(&good, |header, _| header.0.clear())),
        unread("header without op", BadHeader, with(&good, |header, _| header.remove("op"))),
        unread("message without a type", BadHeader, with(&good, |header, _| header.remove("t"))),
        unread("commit without ops", MissingField, without_field(&good, "ops")),
        unread("commit without seq", MissingField, without_field(&good, "seq")),
        unread("commit without repo", MissingField, without_field(&good, "repo")),
        refused("commit without rev", MissingField, without_field(&good, "rev")),
        refused("commit without blocks", MissingField, without_field(&good, "blocks")),
        refused("commit without commit", MissingField, without_field(&good, "commit")),
        unread("sync without did", MissingField, without_field(&sync, "did")),
        refused("sync without blocks", MissingField, without_field(&sync, "blocks")),
        refused("sync without rev", MissingField, without_field(&sync, "rev")),
        unread("account without seq", MissingField, without_field(&account, "seq")),
        unread("account without did", MissingField, without_field(&account, "did")),
        refused("account without active", MissingField, without_field(&account, "active")),
        unread("identity without did", MissingField, without_field(&identity, "did")),
        refused("operation without path", MissingField, with_op(|op| op.remove("path"))),
        refused("operation without action", MissingField, with_op(|op| op.remove("action"))),
        refused("repo that is no DID", BadField, with_field(&good, "repo", "anna.example.com")).of("anna.example.com"),
        refused("repo with a method in capitals", BadField, with_field(&good, "repo", "did:PLC:a")).of("did:PLC:a"),
        refused("repo that is empty", BadField, with_field(&good, "repo", "")),
        refused("account of no DID", BadField, with_field(&account, "did", "did:plc:")).of("did:plc:"),
        refused("sync of no DID", BadField, with_field(&sync, "did", "did:plc:")).of("did:plc:").not_in_replay(),
        refused("rev of 12 characters", BadField, with_field(&good, "rev", "3n2uyhpluwr2")),
        refused("rev with its top bit set", BadField, with_field(&good, "rev", "zzzzzzzzzzzzz")),
        refused("since that is no TID", BadField, with_field(&good, "since", "yesterday")),
        refused("path without a slash", BadField, with_path("community.lexicon.calendar.event")),
        refused("path with two slashes", BadField, event("a/b")),
        refused("path without a record key", BadField, event("")),
        refused("record key of two dots", BadField, event("..")),
        refused("record key with a space", BadField, event("a b")),
        refused("record key of 513 characters", BadField, event(&"a".repeat(513))),
        refused("collection that is no NSID", BadField, with_path("event/3n2uyhpluwr2l")).not_in_replay(),
        refused("path that starts with a slash", BadField, with_path("/3n2uyhpluwr2l")).not_in_replay(),
        refused("account without time", BadField, without_field(&account, "time")),
        refused("identity at no time", BadField, with_field(&identity, "time", "noon")),
        unread("201 operations", TooManyOps, deletes(201)),
        refused("create without cid", OpShape, with_ops(|ops| ops[0].cid = None)),
        refused("create with prev", OpShape, with_ops(|ops| ops[0].prev = Some(cid))),
        refused("update without cid", OpShape, with_ops(|ops| (ops[0].action, ops[0].cid) = ("update", None))),
        refused("delete with cid", OpShape, with_ops(|ops| ops[0].action = "delete")),
        refused("unknown action", OpShape, with_ops(|ops| ops[0].action = "upsert")),
        refused("one path twice", DuplicatePath, with_ops(|ops| ops.push(ops[0].clone()))),
        refused("commit of another account", RepoMismatch, with_field(&good, "repo", other)).of(other),
        refused("sync of another account", RepoMismatch, with_field(&sync, "did", other)).of(other).not_in_replay(),
        refused("commit of another rev", RevMismatch, with_field(&good, "rev", "3n2uyhpluwr2l")),
        refused("sync of another rev", RevMismatch, with_field(&sync, "rev", "3n2uyhpluwr2l")),
    ];
    let long = format!("did:web:{}.example.com", "a".repeat(600));
    let shown: String = long.chars().take(300).collect();
    cases.push(refused("DID of more than 512 bytes", BadField, with_field(&good, "repo", long)).of(&shown));
    // An empty DID is shown as none.
    let empty = cases.iter_mut().find(|case| case.name == "repo that is empty").unwrap();
    empty.refused.as_mut().unwrap().did = None;
    cases
}
