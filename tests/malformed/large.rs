//! Frames beyond the limits of size, too large to keep, with those that are just within.

use almanac::decode::Reason::*;
use almanac::devnet::cbor::{Value, cid_of};
use almanac::devnet::frames;
use ciborium::Value as Cv;

use super::build::*;

/// A record of exactly `len` bytes.
fn record(len: usize) -> Vec<u8> {
    let with = |n: usize| {
        Value::map([("$type", Value::text("community.lexicon.calendar.event")), ("name", Value::text("a".repeat(n)))])
            .encode()
    };
    let around = with(100_000).len() - 100_000;
    let record = with(len - around);
    assert_eq!(record.len(), len);
    record
}

fn write(record: &[u8]) -> Vec<u8> {
    frames::commit(stamp(SEQ), &commit_of(record))
}

/// A frame whose CAR is filled with a block that nobody uses until it has exactly `len` bytes.
fn blocks(frame: &[u8], len: usize) -> Vec<u8> {
    let mut car = Car::of(frame);
    let missing = len - car.encode().len();
    let cid = cid_of(b"unused").to_bytes();
    // The varint takes two bytes below 16,384, three below 2,097,152.
    let varint = if missing < 16_384 { 2 } else { 3 };
    car.sections.push([&cid[..], &vec![0; missing - varint - cid.len()]].concat());
    let bytes = car.encode();
    assert_eq!(bytes.len(), len);
    with_field(frame, "blocks", Cv::Bytes(bytes))
}

/// A frame of exactly `len` bytes, by an unknown field.
fn frame(len: usize) -> Vec<u8> {
    let with = |n: usize| with_field(&good_commit(), "zz", Cv::Bytes(vec![0; n]));
    let around = with(100_000).len() - 100_000;
    let frame = with(len - around);
    assert_eq!(frame.len(), len);
    frame
}

pub fn cases() -> Vec<Case> {
    vec![
        accepted("frame of 5,000,000 bytes", 1, frame(5_000_000)),
        unread("frame of 5,000,001 bytes", FrameTooLarge, frame(5_000_001)),
        accepted("blocks of 2,000,000 bytes", 1, blocks(&good_commit(), 2_000_000)),
        refused("blocks of 2,000,001 bytes", BlocksTooLarge, blocks(&good_commit(), 2_000_001)),
        accepted("sync blocks of 10,000 bytes", 0, blocks(&good_sync(), 10_000)),
        refused("sync blocks of 10,001 bytes", BlocksTooLarge, blocks(&good_sync(), 10_001)),
        accepted("record of 1,000,000 bytes", 1, write(&record(1_000_000))),
        refused("record of 1,000,001 bytes", RecordTooLarge, write(&record(1_000_001))),
        refused("a million arrays in each other", TooDeep, with_raw(&good_commit(), "zz", &nested(1_000_000))),
        refused("record of a hundred thousand arrays in each other", TooDeep, {
            write(&[&[0xa1, 0x61, b'a'], &nested(100_000)[..]].concat())
        }),
    ]
}
