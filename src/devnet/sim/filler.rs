//! Records that fill a repository to its real size: made from their path whenever somebody asks, never kept.

use crate::devnet::cbor::Value;
use crate::devnet::dice::Dice;
use crate::devnet::frames::datetime;
use crate::devnet::mst::Mst;
use crate::devnet::{Tid, cbor::cid_of};

/// Collections of records of a given length: `example.filler.bytes30000`.
const BULK: &str = "example.filler.bytes";

/// A tree of so many records of about `len` bytes each.
pub(super) fn bulk_tree(micros: i64, records: usize, len: usize) -> Mst {
    let paths = (0..records).map(|n| format!("{BULK}{len}/{}", Tid::new(micros as u64 - 1_000_000 - n as u64, 0)));
    Mst::from_leaves(paths.map(|path| {
        let cid = cid_of(&record(&path));
        (path, cid)
    }))
}

/// The record under this path. Whoever asks twice gets the same bytes.
pub(super) fn record(path: &str) -> Vec<u8> {
    let (collection, rkey) = path.split_once('/').unwrap_or((path, ""));
    let created = crate::event::Rev::parse(rkey).map_or(0, |rev| rev.micros() as i64);
    let common = [("$type", Value::text(collection)), ("createdAt", Value::text(datetime(created)))];
    let subject = Value::map(
        [("uri", format!("at://did:plc:{rkey}/app.bsky.feed.post/{rkey}"))].map(|(k, v)| (k, Value::text(v))),
    );
    if let Some(len) = collection.strip_prefix(BULK).and_then(|len| len.parse::<usize>().ok()) {
        let bulk = Value::text(rkey.repeat(1 + len / 13));
        return Value::map(common.into_iter().chain([("text", bulk)])).encode();
    }
    let own = match collection {
        "app.bsky.feed.post" => {
            // About 180 bytes, as posts have in the mean.
            (
                "text",
                Value::text(
                    format!("Something about {rkey}. ").repeat(1 + rkey.len() % 7 + rkey.as_bytes()[12] as usize % 8),
                ),
            )
        }
        "app.bsky.actor.profile" => ("displayName", Value::text("Somebody")),
        _ => ("subject", subject),
    };
    Value::map(common.into_iter().chain([own])).encode()
}

/// A tree of so many likes, posts, reposts and follows of the last two years before `micros`.
pub(super) fn tree(dice: &mut Dice, micros: i64, records: usize) -> Mst {
    const TWO_YEARS_MICROS: usize = 63_072_000_000_000;
    let leaves = (0..records).map(|_| {
        let collection = match dice.below(100) {
            0..66 => "app.bsky.feed.like",
            66..79 => "app.bsky.feed.post",
            79..90 => "app.bsky.feed.repost",
            _ => "app.bsky.graph.follow",
        };
        let at = micros as u64 - 1_000_000 - dice.below(TWO_YEARS_MICROS) as u64;
        let path = format!("{collection}/{}", Tid::new(at, dice.below(1024) as u16));
        let cid = cid_of(&record(&path));
        (path, cid)
    });
    let tree = Mst::from_leaves(leaves);
    // Node CIDs computed here are shared by every repository that starts from this tree.
    tree.root();
    tree
}
