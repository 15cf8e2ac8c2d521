//! jacquard: its typed messages, its validation of commits, and its trees. It checks the hash of no block that it reads.

use std::collections::HashMap;
use std::sync::Arc;

use jacquard_api::com_atproto::sync::subscribe_repos::{Commit, RepoOp, SubscribeReposMessage};
use jacquard_common::types::cid::CidLink;
use jacquard_common::types::crypto::PublicKey;
use jacquard_common::{BosStr, CowStr, DefaultStr};
use jacquard_repo::car::{ParsedCar, parse_car_bytes};
use jacquard_repo::commit::Commit as SignedCommit;
use jacquard_repo::commit::firehose::{validate_v1_0, validate_v1_1};
use jacquard_repo::{BlockStore, MemoryBlockStore, Mst};
use tokio::runtime::{Builder, Runtime};

use crate::car;
use crate::peers::{self, ready, weigh};

/// A frame as its subscription hands it on.
fn message(frame: &[u8]) -> SubscribeReposMessage {
    SubscribeReposMessage::decode_framed(frame).expect("the generator writes frames")
}

/// Whether the frame is a commit to a followed collection.
pub fn filter(frame: &[u8]) -> bool {
    is_followed(&message(frame))
}

/// The same with strings that are borrowed from the frame.
pub fn filter_borrowed(frame: &[u8]) -> bool {
    let message: SubscribeReposMessage<CowStr<'_>> =
        SubscribeReposMessage::decode_framed(frame).expect("the generator writes frames");
    is_followed(&message)
}

fn is_followed<S: BosStr>(message: &SubscribeReposMessage<S>) -> bool {
    match std::hint::black_box(message) {
        SubscribeReposMessage::Commit(commit) => commit.ops.iter().any(|op| peers::is_followed(op.path.as_ref())),
        _ => false,
    }
}

/// Full decode.
pub fn decode(frame: &[u8]) -> u64 {
    match std::hint::black_box(message(frame)) {
        SubscribeReposMessage::Commit(commit) => weigh_records(&commit),
        SubscribeReposMessage::Sync(sync) => {
            std::hint::black_box(parse(&sync.blocks));
            0
        }
        _ => 0,
    }
}

fn weigh_records(commit: &Commit) -> u64 {
    let car = parse(&commit.blocks);
    let block = |cid: &CidLink| &car.blocks[&cid.to_ipld().expect("the generator writes CIDs")];
    std::hint::black_box(block(&commit.commit));
    let records = commit.ops.iter().filter_map(|op: &RepoOp| Some(block(op.cid.as_ref()?).len() as u64));
    weigh(commit.ops.len() as u64, records.sum())
}

fn parse(car: &[u8]) -> ParsedCar {
    ready(parse_car_bytes(car)).expect("the generator writes CARs")
}

fn signed(car: &ParsedCar) -> SignedCommit<DefaultStr> {
    SignedCommit::from_cbor(&car.blocks[&car.root]).expect("the generator signs")
}

/// Full verification as jacquard means it.
pub struct Verifier {
    /// Its trees are hashed in tasks; on one thread that costs the least CPU time.
    runtime: Runtime,
    keys: HashMap<String, PublicKey<'static>>,
}

impl Verifier {
    /// With the signing keys of these accounts.
    pub fn new(keys: &HashMap<String, almanac::decode::PublicKey>) -> Self {
        let keys = keys.iter().map(|(did, key)| {
            let text = key.to_did_key();
            let key = PublicKey::decode(&text["did:key:".len()..]).expect("the generator writes keys");
            (did.clone(), key)
        });
        Verifier { runtime: Builder::new_current_thread().build().expect("a runtime starts"), keys: keys.collect() }
    }

    /// Verifies a frame. What the validation reads it keeps to itself, so that the CAR is read once more for the records.
    pub fn verify(&self, frame: &[u8]) -> u64 {
        match message(frame) {
            SubscribeReposMessage::Commit(commit) => {
                let key = self.key(commit.repo.as_ref());
                let validated = match commit.prev_data {
                    Some(_) => self.runtime.block_on(validate_v1_1(&commit, key)),
                    // A first commit, which nothing came before.
                    None => self.runtime.block_on(validate_v1_0(&commit, None, Arc::new(MemoryBlockStore::new()), key)),
                };
                validated.expect("the generator signs what it says");
                weigh_records(&commit)
            }
            SubscribeReposMessage::Sync(sync) => {
                signed(&parse(&sync.blocks)).verify(self.key(sync.did.as_ref())).expect("the generator signs");
                0
            }
            _ => 0,
        }
    }

    fn key(&self, did: &str) -> &PublicKey<'static> {
        &self.keys[did]
    }
}

/// One whole repository, all of its tree: nothing in it seeks.
pub fn repository(bytes: &[u8]) -> u64 {
    let car = parse(bytes);
    let root = *signed(&car).data();
    let blocks = Arc::new(MemoryBlockStore::new_from_blocks(car.blocks));
    let tree = Mst::load(blocks.clone(), root, None);
    // Its other walk needs a runtime with tasks, which costs more CPU time.
    let leaves = ready(tree.leaves_sequential()).expect("the generator grows trees");
    let (mut found, mut found_bytes) = (0, 0);
    for (_, cid) in leaves.iter().filter(|(key, _)| car::is_followed(key)) {
        found += 1;
        let record = ready(blocks.get(cid)).expect("memory can be read").expect("the CAR is whole");
        found_bytes += record.len() as u64;
    }
    weigh(found, found_bytes)
}
