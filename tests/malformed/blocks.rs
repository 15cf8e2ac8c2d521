//! Faults in what a frame carries: the CAR, the commit object, the records. And what looks odd but is right.

use almanac::decode::Reason::{self, *};
use almanac::devnet::{cbor::cid_of, frames};
use almanac::event::{Cid, Codec};
use ciborium::Value as Cv;

use super::build::*;
use super::envelope::deletes;

fn header(fields: Vec<(&str, Cv)>) -> Vec<u8> {
    encode(&Cv::Map(fields.into_iter().map(|(key, value)| (key.into(), value)).collect()))
}

/// The record's section with its CID replaced.
fn with_cid(cid: &[u8]) -> Vec<u8> {
    with_car(|car| {
        let section = car.section(&cid_of(&event()));
        section.splice(..Cid::LEN, cid.iter().copied());
    })
}

fn raw_car(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let good = good_commit();
    let mut bytes = Car::of(&good).encode();
    change(&mut bytes);
    with_field(&good, "blocks", Cv::Bytes(bytes))
}

/// The CAR and the blocks in it.
pub fn car() -> Vec<Case> {
    let good = good_commit();
    let (record, head) = (cid_of(&event()), commit().head.cid);
    let roots = |cids: Vec<Cv>| ("roots", Cv::Array(cids));
    let version = |n: i64| ("version", Cv::from(n));
    let with_header = |header: Vec<u8>| with_car(|car| car.header = header);
    let header_len = Car::of(&good).header.len();
    assert!(header_len < 0x80);
    vec![
        refused("no CAR at all", CarLength, with_field(&good, "blocks", Cv::Bytes(vec![]))),
        refused("varint that does not end", CarLength, raw_car(|car| drop(car.splice(..1, [0xff; 9])))),
        refused(
            "varint with a superfluous byte",
            CarLength,
            raw_car(|car| drop(car.splice(..1, [header_len as u8 | 0x80, 0]))),
        ),
        refused("header longer than the CAR", CarLength, raw_car(|car| drop(car.splice(..1, varint(100_000))))),
        refused("CAR cut in its last block", CarLength, raw_car(|car| car.truncate(car.len() - 7))),
        refused("length of four gigabytes", CarLength, raw_car(|car| car.extend([0xff, 0xff, 0xff, 0xff, 0x0f]))),
        refused("a byte too many after the last block", CarLength, raw_car(|car| car.push(1))),
        refused("header that is no map", CarHeader, with_header(vec![0x01])),
        refused("header that is not CBOR", CarHeader, with_header(vec![0xff])),
        refused("header of a byte too many", CarHeader, with_header([&Car::of(&good).header[..], &[0]].concat())),
        refused("version 2", CarHeader, with_header(header(vec![roots(vec![link(&head)]), version(2)]))),
        refused("no version", CarHeader, with_header(header(vec![roots(vec![link(&head)])]))),
        refused("no list of roots", CarHeader, with_header(header(vec![version(1)]))),
        refused(
            "root of CID version 0",
            CarHeader,
            with_header(header(vec![roots(vec![raw_link(&[0x12; 34])]), version(1)])),
        ),
        refused("no root", CarRoot, with_header(header(vec![roots(vec![]), version(1)]))),
        refused("root is not the commit", CarRoot, with_header(header(vec![roots(vec![link(&record)]), version(1)]))),
        refused("commit is not the root", CarRoot, with_field(&good, "commit", link(&record))),
        refused("CID of version 5", CarCid, with_cid(&[[5, 0x71, 0x12, 0x20].as_slice(), record.digest()].concat())),
        refused("CID of version 0", CarCid, with_cid(&[[0x12, 0x20].as_slice(), record.digest()].concat())),
        refused("CID of codec dag-pb", CarCid, with_cid(&[[1, 0x70, 0x12, 0x20].as_slice(), record.digest()].concat())),
        refused("CID of hash SHA-1", CarCid, with_cid(&[[1, 0x71, 0x11, 20].as_slice(), &[1; 20]].concat())),
        refused("hash of 100 bytes", CarCid, with_cid(&[[1, 0x71, 0x12, 100].as_slice(), &[1; 100]].concat())),
        refused(
            "block shorter than its CID",
            CarCid,
            with_car(|car| car.sections.push(record.to_bytes()[..20].to_vec())),
        ),
        refused("section of no bytes", CarCid, with_car(|car| car.sections.push(vec![]))),
        refused(
            "commit's block missing",
            MissingBlock,
            with_car(|car| car.sections.retain(|s| !s.starts_with(&head.to_bytes()))),
        ),
        refused(
            "record's block missing",
            MissingBlock,
            with_car(|car| car.sections.retain(|s| !s.starts_with(&record.to_bytes()))),
        ),
        refused(
            "record's block of another record",
            HashMismatch,
            with_car(|car| *car.section(&record).last_mut().unwrap() ^= 1),
        ),
        refused(
            "commit's block of another commit",
            HashMismatch,
            with_car(|car| *car.section(&head).last_mut().unwrap() ^= 1),
        ),
        refused("record's block empty", HashMismatch, with_car(|car| car.section(&record).truncate(Cid::LEN))),
        refused("sync without its commit's block", MissingBlock, sync_with(|car| car.sections.clear())),
        refused("sync with a false hash", HashMismatch, sync_with(|car| *car.sections[0].last_mut().unwrap() ^= 1)),
        refused("sync without a root", CarRoot, sync_with(|car| car.header = header(vec![roots(vec![]), version(1)]))),
    ]
}

fn sync_with(change: impl FnOnce(&mut Car)) -> Vec<u8> {
    let sync = good_sync();
    let mut car = Car::of(&sync);
    change(&mut car);
    with_field(&sync, "blocks", Cv::Bytes(car.encode()))
}

/// The signed commit object.
pub fn commit_objects() -> Vec<Case> {
    vec![
        refused("commit object that is a record", BlockShape, commit_object(event())),
        refused("commit object that is a list", BlockShape, commit_object(vec![0x80])),
        refused("commit object of no bytes", Truncated, commit_object(vec![])),
        refused("commit object with a byte too many", TrailingBytes, {
            commit_object([commit().head.block, vec![0]].concat())
        }),
        refused("commit object with keys out of order", KeyOrder, commit_object_with(|object| object.0.reverse())),
        refused("commit object without version", BlockShape, commit_object_with(|object| object.remove("version"))),
        refused("commit object of version 2", CommitVersion, commit_object_with(|object| object.set("version", 2))),
        refused("commit object without did", BlockShape, commit_object_with(|object| object.remove("did"))),
        refused("commit object without rev", BlockShape, commit_object_with(|object| object.remove("rev"))),
        refused("commit object without data", BlockShape, commit_object_with(|object| object.remove("data"))),
        refused("commit object without sig", BlockShape, commit_object_with(|object| object.remove("sig"))),
        refused("commit object with a number for did", BlockShape, commit_object_with(|object| object.set("did", 1))),
        refused("commit object with no DID in did", BlockShape, commit_object_with(|object| object.set("did", "anna"))),
        refused("commit object with no TID in rev", BlockShape, commit_object_with(|object| object.set("rev", "1"))),
    ]
}

/// Records, each under its right CID in a tree that holds it.
pub fn records() -> Vec<Case> {
    let case =
        |name, reason: Reason, record: &[u8]| refused(name, reason, frames::commit(stamp(SEQ), &commit_of(record)));
    // A map of one field `a`.
    let a = |value: &[u8]| [&[0xa1, 0x61, b'a'], value].concat();
    vec![
        case("record that is a list", BlockShape, &[0x80]),
        case("record that is text", BlockShape, &[0x61, b'a']),
        case("record of no bytes", BlockShape, &[]),
        case("record cut off", Truncated, &event()[..30]),
        case("record with a byte too many", TrailingBytes, &[&event()[..], &[0]].concat()),
        case("record with a key twice", DuplicateKey, &[0xa2, 0x61, b'a', 1, 0x61, b'a', 2]),
        case("record with keys out of order", KeyOrder, &[0xa2, 0x61, b'b', 1, 0x61, b'a', 2]),
        case("record with a longer key first", KeyOrder, &[0xa2, 0x62, b'a', b'a', 1, 0x61, b'b', 2]),
        case("record with a number as key", KeyNotText, &[0xa1, 1, 1]),
        case("record with a float", Float, &a(&[0xfb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0])),
        case(
            "record with a number of 64 unsigned bits",
            IntegerRange,
            &a(&[0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ),
        case("record with undefined", SimpleValue, &a(&[0xf7])),
        case("record with a reserved byte", ReservedByte, &a(&[0x1f])),
        case("record of indefinite length", IndefiniteLength, &[0xbf, 0xff]),
        case("record with a list of indefinite length", IndefiniteLength, &a(&[0x9f, 0xff])),
        case("record with a number not in its shortest form", NotShortest, &a(&[0x18, 1])),
        case("record with text that is not UTF-8", NotUtf8, &a(&[0x62, 0xc3, 0x28])),
        case("record with a key that is not UTF-8", NotUtf8, &[0xa1, 0x62, 0xc3, 0x28, 1]),
        case("record with a tag of a date", ForeignTag, &a(&[0xc0, 0x61, b'0'])),
        case(
            "record with a link whose hash has 100 bytes",
            BadLink,
            &a(&encode(&raw_link(&[[1, 0x71, 0x12, 100].as_slice(), &[1; 100]].concat()))),
        ),
        case("record 65 deep", TooDeep, &a(&nested(64))),
        case("record 10,000 deep", TooDeep, &a(&nested(10_000))),
        refused(
            "record under a raw CID",
            BlockShape,
            commit_with(|commit| {
                let raw = Cid::new(Codec::Raw, *commit.records[0].0.digest());
                (commit.records[0].0, commit.ops[0].cid) = (raw, Some(raw));
            }),
        ),
    ]
}

/// What is odd, and legal or none of our business.
pub fn odd_but_right() -> Vec<Case> {
    let good = good_commit();
    let header = |key: &'static str, value: Cv| with(&good, move |header, _| header.set(key, value));
    vec![
        accepted("unknown op", 0, header("op", 2.into())),
        accepted("unknown kind", 0, header("t", "#novelty".into())),
        accepted(
            "unknown kind with a body that is no CBOR",
            0,
            [&header("t", "#novelty".into())[..20], &[0xff]].concat(),
        ),
        accepted("info", 0, frames::info("OutdatedCursor", None)),
        accepted("error", 0, frames::error("ConsumerTooSlow", Some("too slow"))),
        accepted("unknown field of the header", 1, header("z", 1.into())),
        accepted("unknown field of the body", 1, with_field(&good, "zz", Cv::Array(vec![1.into()]))),
        accepted("unknown field 64 deep", 1, with_raw(&good, "zz", &nested(64))),
        accepted("body in another order", 1, with(&good, |_, body| body.0.reverse())),
        accepted("header in another order", 1, with(&good, |header, _| header.0.reverse())),
        accepted("commit without since and prevData", 1, without_field(&without_field(&good, "since"), "prevData")),
        accepted(
            "dead fields",
            1,
            with(&good, |_, body| {
                body.set("tooBig", true);
                body.set("rebase", true);
                body.set("blobs", Cv::Array(vec![link(&cid_of(b""))]));
            }),
        ),
        accepted("commit of nothing", 0, commit_with(|commit| commit.ops.clear())),
        accepted("200 deletes", 200, deletes(200)),
        accepted("commit at no time", 1, with_field(&good, "time", "noon")),
        accepted("commit without time", 1, without_field(&good, "time")),
        accepted("blocks in another order", 1, with_car(|car| car.sections.reverse())),
        accepted(
            "a block that nobody uses, and a false one",
            1,
            with_car(|car| {
                let cid = cid_of(b"another").to_bytes();
                car.sections.push([&cid[..], b"false"].concat());
            }),
        ),
        accepted(
            "second root",
            1,
            with_car(|car| {
                let root = commit().head.cid;
                car.header = encode(&Cv::Map(vec![
                    ("roots".into(), Cv::Array(vec![link(&root), link(&cid_of(b""))])),
                    ("version".into(), 1.into()),
                ]));
            }),
        ),
        accepted("identity with a handle that is none", 1, with_field(&good_identity(), "handle", "not a handle")),
        accepted("account with an unknown status", 1, with_field(&good_account(), "status", "dreaming")),
    ]
}
