//! atrium: types generated from the lexicons, read with serde, and a store over a CAR that checks the hash of every block.

use std::io::Cursor;

use atrium_api::com::atproto::sync::subscribe_repos::{Account, Commit, Identity, Sync};
use atrium_repo::blockstore::{AsyncBlockStoreRead, CarStore};
use atrium_repo::{Cid, Repository};
use futures_util::TryStreamExt;
use serde::Deserialize;
use serde_ipld_dagcbor::de::Deserializer;

use crate::car;
use crate::peers::narrow::Header;
use crate::peers::{self, ready, weigh};

/// atrium's own enum of messages wants the type in the body, where frames do not have it.
#[expect(dead_code, reason = "identities and accounts are decoded, and nobody asks them anything")]
enum Message {
    Commit(Box<Commit>),
    Sync(Box<Sync>),
    Identity(Box<Identity>),
    Account(Box<Account>),
}

/// A frame as atrium's types tell it. atrium itself leaves the header to its user.
fn message(frame: &[u8]) -> Message {
    let mut from = Deserializer::from_slice(frame);
    let header = Header::deserialize(&mut from).expect("the generator writes frames");
    let body = match (header.op, header.t) {
        (1, Some("#commit")) => Commit::deserialize(&mut from).map(|body| Message::Commit(body.into())),
        (1, Some("#sync")) => Sync::deserialize(&mut from).map(|body| Message::Sync(body.into())),
        (1, Some("#identity")) => Identity::deserialize(&mut from).map(|body| Message::Identity(body.into())),
        (1, Some("#account")) => Account::deserialize(&mut from).map(|body| Message::Account(body.into())),
        other => panic!("the generator writes no {other:?}"),
    };
    body.expect("the generator writes frames")
}

/// Whether the frame is a commit to a followed collection.
pub fn filter(frame: &[u8]) -> bool {
    match std::hint::black_box(message(frame)) {
        Message::Commit(commit) => commit.ops.iter().any(|op| !op.action.is_empty() && peers::is_followed(&op.path)),
        _ => false,
    }
}

/// Full decode.
pub fn decode(frame: &[u8]) -> u64 {
    match std::hint::black_box(message(frame)) {
        Message::Commit(commit) => {
            let mut store = open(&commit.blocks);
            read(&mut store, commit.commit.0);
            let records = commit.ops.iter().filter_map(|op| Some(read(&mut store, op.cid.as_ref()?.0).len() as u64));
            weigh(commit.ops.len() as u64, records.sum())
        }
        Message::Sync(sync) => {
            std::hint::black_box(open(&sync.blocks));
            0
        }
        Message::Identity(_) | Message::Account(_) => 0,
    }
}

fn open(car: &[u8]) -> CarStore<Cursor<&[u8]>> {
    ready(CarStore::open(Cursor::new(car))).expect("the generator writes CARs")
}

fn read(store: &mut CarStore<Cursor<&[u8]>>, cid: Cid) -> Vec<u8> {
    ready(store.read_block(cid)).expect("the CAR is whole")
}

/// One whole repository, all of its tree.
pub fn repository(bytes: &[u8]) -> u64 {
    let mut store = open(bytes);
    let root = store.roots().next().expect("the CAR has a root");
    let mut repository = ready(Repository::open(&mut store, root)).expect("the generator signs");
    let leaves: Vec<_> = ready(repository.tree().entries().try_collect()).expect("the generator grows trees");
    weigh_followed(&mut store, leaves)
}

/// One whole repository, only where followed keys can be.
pub fn repository_seeking(bytes: &[u8]) -> u64 {
    let mut store = open(bytes);
    let root = store.roots().next().expect("the CAR has a root");
    let mut repository = ready(Repository::open(&mut store, root)).expect("the generator signs");
    let mut leaves = Vec::new();
    for prefix in car::FOLLOWED {
        let mut tree = repository.tree();
        let found: Vec<_> = ready(tree.entries_prefixed(prefix).try_collect()).expect("the generator grows trees");
        leaves.extend(found);
    }
    weigh_followed(&mut store, leaves)
}

fn weigh_followed(store: &mut CarStore<Cursor<&[u8]>>, leaves: Vec<(String, Cid)>) -> u64 {
    let (mut found, mut found_bytes) = (0, 0);
    for (_, cid) in leaves.into_iter().filter(|(key, _)| car::is_followed(key)) {
        found += 1;
        found_bytes += read(store, cid).len() as u64;
    }
    weigh(found, found_bytes)
}
