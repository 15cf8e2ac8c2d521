//! One whole repository as `getRepo` answers it: check hashes, walk the tree, find the records of followed collections.
//!
//! Its shape is that of a heavy user of the network: 11,585 records of mixed collections in 5.2 MB, 97 of them of the
//! calendar. Almanac stands there twice: as it works, which reads and hashes only the part of the tree where followed keys
//! can be, and reading all there is, as others do. Nobody checks the signature.

use std::collections::HashMap;

use almanac::decode::{Car, RepoWalk, SignedCommit};
use almanac::devnet::cbor::{Value, cid_of};
use almanac::devnet::keys::{Curve, SigningKey};
use almanac::devnet::mst::{Mst, Part};
use almanac::devnet::{Repo, Tid, car};
use almanac::event::Cid;

use crate::clock::Stopwatch;
use crate::contest::{Contender, Contest, Outcome};
use crate::fixture::Scale;
use crate::peers::{self, weigh};

const RECORDS: usize = 11_585;

/// The beginnings of followed keys.
pub const FOLLOWED: [&str; 2] = ["community.lexicon.calendar.event/", "community.lexicon.calendar.rsvp/"];

/// Runs the path if it is chosen.
pub fn run(scale: Scale, chosen: &dyn Fn(&str) -> bool, results: &mut Vec<Outcome>) {
    if !chosen("repository CAR") {
        return;
    }
    let bytes = make(scale);
    results.push(contest(&bytes).run(scale));
}

/// Makes the CAR.
pub fn make(scale: Scale) -> Vec<u8> {
    eprintln!("making a repository");
    repository(if scale == Scale::Test { RECORDS / 20 } else { RECORDS })
}

/// Somebody who does `work` on the CAR.
pub fn contender<'a>(name: &'static str, bytes: &'a [u8], work: impl Fn(&[u8]) -> u64 + 'a) -> Contender<'a> {
    let run = move || {
        let watch = Stopwatch::start(None);
        (work(bytes), watch.cost())
    };
    Contender { name, run: Box::new(run) }
}

/// Number and size of the followed records in the CAR.
pub fn contest(bytes: &[u8]) -> Contest<'_> {
    let contender = |name, work: fn(&[u8]) -> u64| contender(name, bytes, work);
    let blocks = Car::parse(bytes).expect("the generator writes CARs").len();
    Contest {
        name: "repository CAR",
        input: format!("one of {} bytes, {blocks} blocks", bytes.len()),
        unit: "CARs",
        units: 1,
        rounds: 40,
        contenders: vec![
            contender("Almanac, hashes of what is used", |bytes| almanac(bytes, &FOLLOWED)),
            contender("Almanac, the whole tree and hashes of all blocks", |bytes| almanac(bytes, &[""])),
            contender("repo-stream, hashes of all blocks, seeking what is followed", repo_stream_seeking),
            contender("repo-stream, hashes of all blocks, the whole tree", repo_stream),
            contender("rs-car, hashes of all blocks, the whole tree by serde", |bytes| by_serde(peers::rs_car(bytes))),
            contender("iroh-car, no hashes, the whole tree by serde", |bytes| by_serde(peers::iroh_car(bytes))),
        ],
    }
}

/// Whether the record of this key is of a followed collection.
pub fn is_followed(key: &str) -> bool {
    FOLLOWED.iter().any(|prefix| key.starts_with(prefix))
}

/// Walks where keys that begin with these can be, and reads the records that are found there.
fn almanac(bytes: &[u8], prefixes: &[&'static str]) -> u64 {
    let car = Car::parse(bytes).expect("the generator writes CARs");
    let commit = car.block(&car.root(), "commit").and_then(SignedCommit::parse).expect("the generator signs");
    let mut walk = RepoWalk::new(commit.data, prefixes.iter().copied());
    let mut needs = Vec::new();
    while !walk.is_done() {
        needs.extend(walk.needs());
        for cid in needs.drain(..) {
            let block = car.unchecked(&cid).expect("the CAR is whole");
            walk.feed(&cid, block).expect("the generator grows trees");
        }
    }
    let (mut found, mut found_bytes) = (0, 0);
    for (key, cid) in walk.leaves() {
        let record = car.block(&cid, key).expect("the CAR is whole");
        if is_followed(key) {
            found += 1;
            found_bytes += record.len() as u64;
        }
    }
    weigh(found, found_bytes)
}

fn repo_stream(bytes: &[u8]) -> u64 {
    let mut walk = peers::ready(repo_stream::DriverBuilder::new().load_car(bytes)).expect("the generator writes CARs");
    let (mut found, mut found_bytes) = (0, 0);
    while let Some(record) = walk.next_strict().expect("the CAR is whole") {
        if is_followed(&record.key) {
            found += 1;
            found_bytes += record.data.len() as u64;
        }
    }
    weigh(found, found_bytes)
}

fn repo_stream_seeking(bytes: &[u8]) -> u64 {
    let mut walk = peers::ready(repo_stream::DriverBuilder::new().load_car(bytes)).expect("the generator writes CARs");
    let (mut found, mut found_bytes) = (0, 0);
    // Both collections are neighbours here, so that one look into the tree finds them.
    walk.seek(FOLLOWED[0]).expect("the CAR is whole");
    while let Some(record) = walk.next_strict().expect("the CAR is whole").filter(|record| is_followed(&record.key)) {
        found += 1;
        found_bytes += record.data.len() as u64;
    }
    weigh(found, found_bytes)
}

/// A tree read with serde, as one does without a library for trees: nothing of its shape is checked.
fn by_serde(blocks: peers::Blocks) -> u64 {
    let commit: peers::RepoCommit = serde_ipld_dagcbor::from_slice(&blocks[0].1).expect("the root stands first");
    let blocks: HashMap<ipld_core::cid::Cid, Vec<u8>> = blocks.into_iter().collect();
    let (mut found, mut found_bytes) = (0, 0);
    let mut todo = vec![commit.data];
    while let Some(cid) = todo.pop() {
        let node: peers::TreeNode<'_> = serde_ipld_dagcbor::from_slice(&blocks[&cid]).expect("the CAR is whole");
        todo.extend(node.left);
        let mut key = Vec::new();
        for entry in node.entries {
            key.truncate(entry.shared);
            key.extend_from_slice(entry.rest);
            let record = &blocks[&entry.value];
            if is_followed(std::str::from_utf8(&key).expect("keys are ASCII")) {
                found += 1;
                found_bytes += record.len() as u64;
            }
            todo.extend(entry.right);
        }
    }
    weigh(found, found_bytes)
}

/// A repository of so many records, in the depth-first order in which PDSes write it. Chance is a hash of what it is for.
fn repository(records: usize) -> Vec<u8> {
    let mut blocks: HashMap<Cid, Vec<u8>> = HashMap::new();
    let mut leaves = Vec::new();
    for n in 0..records {
        let chance = *cid_of(&n.to_le_bytes()).digest();
        let collection = match n % 119 {
            0 if n % 2 == 0 => "community.lexicon.calendar.event",
            0 => "community.lexicon.calendar.rsvp",
            _ => match chance[0] {
                0..168 => "app.bsky.feed.like",
                168..201 => "app.bsky.feed.post",
                201..226 => "app.bsky.feed.repost",
                226..252 => "app.bsky.graph.follow",
                _ => "app.bsky.graph.block",
            },
        };
        let micros = 1_700_000_000_000_000 + n as u64 * 5_400_000_000 + u64::from(chance[1]) * 1_000_000;
        let key = format!("{collection}/{}", Tid::new(micros, u16::from(chance[2])));
        let record = record(collection, &chance);
        let cid = cid_of(&record);
        blocks.insert(cid, record);
        leaves.push((key, cid));
    }
    let tree = Mst::from_leaves(leaves);
    let key = SigningKey::from_entropy(Curve::K256, [7; 32]);
    let repo = Repo::with_past("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", key, tree, Tid::new(1_763_000_000_000_000, 1));
    let head = repo.head().expect("a repository with a past has a head");
    let mut out = car::header(Some(&head.cid));
    car::put_block(&mut out, &head.cid, &head.block);
    for part in repo.tree().depth_first() {
        match part {
            Part::Node(cid, block) => car::put_block(&mut out, &cid, &block),
            Part::Record(_, cid) => car::put_block(&mut out, &cid, &blocks[&cid]),
        }
    }
    out
}

/// About 300 bytes on the average.
fn record(collection: &str, chance: &[u8; 32]) -> Vec<u8> {
    let subject = |with: u8| {
        let cid = cid_of(&[&chance[..], &[with]].concat());
        let uri =
            format!("at://did:plc:{}/app.bsky.feed.post/3l{}", &cid.to_string()[10..34], &cid.to_string()[40..51]);
        Value::map([("uri", Value::Text(uri)), ("cid", Value::Text(cid.to_string()))])
    };
    let mut fields = vec![("$type", Value::text(collection)), ("createdAt", Value::text("2026-11-22T12:00:00.000Z"))];
    match collection {
        "app.bsky.graph.follow" | "app.bsky.graph.block" => {
            fields.push(("subject", Value::text("did:plc:bbbbbbbbbbbbbbbbbbbbbbbb")));
            // Two follows in one second are two records with two CIDs, as no two accounts are one.
            fields.push(("via", Value::Text(cid_of(chance).to_string())));
        }
        "app.bsky.feed.post" => {
            fields.push(("text", Value::Text(format!("good morning {}", cid_of(chance).to_string().repeat(2)))));
            fields.push(("reply", Value::map([("root", subject(0)), ("parent", subject(1))])));
        }
        _ => {
            fields.push(("subject", subject(0)));
            if chance[3] < 166 {
                fields.push(("via", subject(1)));
            }
        }
    }
    Value::map(fields).encode()
}
