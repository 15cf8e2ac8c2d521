//! The same work by other people's code: what one writes with the ecosystem's crates when speed is not the subject, and
//! reads no more than is needed.
//!
//! libipld is not among them: it needs a version of core2 that was withdrawn, so that cargo finds no set of packages for it.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use almanac::decode::PublicKey;
use ipld_core::cid::Cid;
use ipld_core::ipld::Ipld;
use serde::Deserialize;
use serde_ipld_dagcbor::de::Deserializer;
use sha2::{Digest, Sha256};

/// The default collections, as a filter of somebody else's would hold them.
const FOLLOWED: [&str; 2] = ["community.lexicon.calendar.event", "community.lexicon.calendar.rsvp"];

/// Whether the record of this path is of a followed collection.
pub fn is_followed(path: &str) -> bool {
    path.split_once('/').is_some_and(|(collection, _)| FOLLOWED.contains(&collection))
}

/// The envelope as far as a filter needs it, borrowed from the frame.
pub mod narrow {
    use super::Deserialize;

    #[derive(Deserialize)]
    pub struct Header<'a> {
        pub op: i64,
        pub t: Option<&'a str>,
    }

    #[derive(Deserialize)]
    pub struct Commit<'a> {
        pub seq: i64,
        pub repo: &'a str,
        pub time: &'a str,
        #[serde(borrow)]
        pub ops: Vec<Op<'a>>,
    }

    #[derive(Deserialize)]
    pub struct Op<'a> {
        pub action: &'a str,
        pub path: &'a str,
    }

    /// `#sync`, `#identity`, `#account`.
    #[derive(Deserialize)]
    pub struct AboutAccount<'a> {
        pub seq: i64,
        pub did: &'a str,
        pub time: &'a str,
    }
}

/// The same, owned, for decoders that lend nothing.
mod owned {
    use super::Deserialize;

    #[derive(Deserialize)]
    pub struct Header {
        pub op: i64,
        pub t: Option<String>,
    }

    #[derive(Deserialize)]
    pub struct Commit {
        pub seq: i64,
        pub repo: String,
        pub time: String,
        pub ops: Vec<Op>,
    }

    #[derive(Deserialize)]
    pub struct Op {
        pub action: String,
        pub path: String,
    }

    #[derive(Deserialize)]
    pub struct AboutAccount {
        pub seq: i64,
        pub did: String,
        pub time: String,
    }
}

/// Outline and filter with serde_ipld_dagcbor, reading as little as it can: whether the frame is a commit to a followed
/// collection.
pub fn serde_filter(frame: &[u8]) -> bool {
    let mut from = Deserializer::from_slice(frame);
    let header = narrow::Header::deserialize(&mut from).expect("the generator writes frames");
    match (header.op, header.t) {
        (1, Some("#commit")) => {
            let commit = narrow::Commit::deserialize(&mut from).expect("the generator writes commits");
            std::hint::black_box((commit.seq, commit.repo, commit.time));
            commit.ops.iter().any(|op| !op.action.is_empty() && is_followed(op.path))
        }
        (1, Some("#sync" | "#identity" | "#account")) => {
            let about = narrow::AboutAccount::deserialize(&mut from).expect("the generator writes frames");
            std::hint::black_box((about.seq, about.did, about.time));
            false
        }
        _ => false,
    }
}

/// The same with the whole envelope, as types generated from the lexicon read it.
pub fn serde_whole_filter(frame: &[u8]) -> bool {
    let mut from = Deserializer::from_slice(frame);
    let header = narrow::Header::deserialize(&mut from).expect("the generator writes frames");
    if (header.op, header.t) != (1, Some("#commit")) {
        return serde_filter(frame);
    }
    let commit = whole::Commit::deserialize(&mut from).expect("the generator writes commits");
    std::hint::black_box((commit.seq, commit.repo, commit.rev, commit.time, commit.commit, commit.blocks));
    commit.ops.iter().any(|op| !op.action.is_empty() && is_followed(op.path))
}

/// Outline and filter with ciborium.
pub fn ciborium_filter(frame: &[u8]) -> bool {
    let mut rest = frame;
    let header: owned::Header = ciborium::from_reader(&mut rest).expect("the generator writes frames");
    match (header.op, header.t.as_deref()) {
        (1, Some("#commit")) => {
            let commit: owned::Commit = ciborium::from_reader(&mut rest).expect("the generator writes commits");
            std::hint::black_box((commit.seq, &commit.repo, &commit.time));
            commit.ops.iter().any(|op| !op.action.is_empty() && is_followed(&op.path))
        }
        (1, Some("#sync" | "#identity" | "#account")) => {
            let about: owned::AboutAccount = ciborium::from_reader(&mut rest).expect("the generator writes frames");
            std::hint::black_box((about.seq, &about.did, &about.time));
            false
        }
        _ => false,
    }
}

/// All of a commit that a consumer uses, borrowed from the frame.
mod whole {
    use super::{Cid, Deserialize};

    #[derive(Deserialize)]
    pub struct Commit<'a> {
        pub seq: i64,
        pub repo: &'a str,
        pub rev: &'a str,
        pub time: &'a str,
        pub commit: Cid,
        pub blocks: &'a [u8],
        #[serde(borrow)]
        pub ops: Vec<Op<'a>>,
    }

    #[derive(Deserialize)]
    pub struct Op<'a> {
        pub action: &'a str,
        pub path: &'a str,
        pub cid: Option<Cid>,
    }

    #[derive(Deserialize)]
    pub struct Sync<'a> {
        pub seq: i64,
        pub did: &'a str,
        pub rev: &'a str,
        pub time: &'a str,
        pub blocks: &'a [u8],
    }
}

/// What a full decode comes to, comparable between decoders: operations, and bytes of their records.
pub fn weigh(ops: u64, record_bytes: u64) -> u64 {
    ops * 1_000_003 + record_bytes
}

/// Blocks of a CAR, in order.
pub type Blocks = Vec<(Cid, Vec<u8>)>;

/// Full decode with serde_ipld_dagcbor and one of the readers of CARs below.
pub fn serde_decode(frame: &[u8], read_car: fn(&[u8]) -> Blocks) -> u64 {
    let mut from = Deserializer::from_slice(frame);
    let header = narrow::Header::deserialize(&mut from).expect("the generator writes frames");
    match header.t {
        Some("#commit") => {
            let commit = whole::Commit::deserialize(&mut from).expect("the generator writes commits");
            let blocks = read_car(commit.blocks);
            let block = |cid: &Cid| blocks.iter().find(|(of, _)| of == cid).map(|(_, bytes)| bytes);
            std::hint::black_box((commit.seq, commit.repo, commit.rev, commit.time));
            block(&commit.commit).expect("a commit carries its commit object");
            let record_bytes = commit.ops.iter().filter_map(|op| {
                std::hint::black_box((op.action, op.path));
                Some(block(&op.cid?).expect("a commit carries its records").len() as u64)
            });
            weigh(commit.ops.len() as u64, record_bytes.sum())
        }
        Some("#sync") => {
            let sync = whole::Sync::deserialize(&mut from).expect("the generator writes syncs");
            std::hint::black_box((sync.seq, sync.did, sync.rev, sync.time, read_car(sync.blocks)));
            0
        }
        _ => {
            let about = narrow::AboutAccount::deserialize(&mut from).expect("the generator writes frames");
            std::hint::black_box((about.seq, about.did, about.time));
            0
        }
    }
}

/// Full decode with serde_ipld_dagcbor and rs-car, and the signature of what is signed. What the tree says is not looked
/// at: no library does that and is sound.
pub fn serde_signature(frame: &[u8], keys: &HashMap<String, PublicKey>) -> u64 {
    let mut from = Deserializer::from_slice(frame);
    let header = narrow::Header::deserialize(&mut from).expect("the generator writes frames");
    let (did, root, blocks) = match header.t {
        Some("#commit") => {
            let commit = whole::Commit::deserialize(&mut from).expect("the generator writes commits");
            (commit.repo, Some(commit.commit), commit.blocks)
        }
        Some("#sync") => {
            let sync = whole::Sync::deserialize(&mut from).expect("the generator writes syncs");
            (sync.did, None, sync.blocks)
        }
        _ => return serde_decode(frame, rs_car),
    };
    let blocks = rs_car(blocks);
    let signed = match root {
        Some(root) => blocks.iter().find(|(cid, _)| *cid == root),
        None => blocks.first(),
    };
    let (_, signed) = signed.expect("a commit carries its commit object");
    let mut signed: BTreeMap<String, Ipld> = serde_ipld_dagcbor::from_slice(signed).expect("the generator signs maps");
    let Some(Ipld::Bytes(sig)) = signed.remove("sig") else { panic!("the generator signs") };
    let unsigned = serde_ipld_dagcbor::to_vec(&signed).expect("what was read can be written");
    keys[did].verify(&unsigned, &sig).expect("the generator signs what it says");
    let mut from = Deserializer::from_slice(frame);
    narrow::Header::deserialize(&mut from).expect("the generator writes frames");
    if root.is_none() {
        return 0;
    }
    let commit = whole::Commit::deserialize(&mut from).expect("the generator writes commits");
    let block = |cid: &Cid| blocks.iter().find(|(of, _)| of == cid).map(|(_, bytes)| bytes);
    let records = commit.ops.iter().filter_map(|op| Some(block(&op.cid?).expect("a commit carries its records").len()));
    weigh(commit.ops.len() as u64, records.sum::<usize>() as u64)
}

/// A commit object as far as its tree.
#[derive(Deserialize)]
pub struct RepoCommit {
    pub data: Cid,
}

/// A node of a tree.
#[derive(Deserialize)]
pub struct TreeNode<'a> {
    #[serde(rename = "l")]
    pub left: Option<Cid>,
    #[serde(rename = "e", borrow)]
    pub entries: Vec<TreeEntry<'a>>,
}

/// A leaf of a node, its key cut by what it shares with the one before.
#[derive(Deserialize)]
pub struct TreeEntry<'a> {
    #[serde(rename = "p")]
    pub shared: usize,
    #[serde(rename = "k")]
    pub rest: &'a [u8],
    #[serde(rename = "v")]
    pub value: Cid,
    #[serde(rename = "t")]
    pub right: Option<Cid>,
}

/// rs-car, which checks the hash of every block.
pub fn rs_car(car: &[u8]) -> Blocks {
    let mut reader = car;
    ready(rs_car::car_read_all(&mut reader, true)).expect("the generator writes CARs").0
}

/// iroh-car, below jacquard-repo and atrium-repo, which checks no hash.
pub fn iroh_car(car: &[u8]) -> Blocks {
    ready(async {
        let mut reader = iroh_car::CarReader::new(car).await.expect("the generator writes CARs");
        let mut blocks = Vec::new();
        while let Some(block) = reader.next_block().await.expect("the generator writes CARs") {
            blocks.push(block);
        }
        blocks
    })
}

/// iroh-car with the hashes that a careful user adds.
pub fn iroh_car_hashed(car: &[u8]) -> Blocks {
    let blocks = iroh_car(car);
    for (cid, bytes) in &blocks {
        assert_eq!(cid.hash().digest(), &Sha256::digest(bytes)[..], "the generator writes CARs");
    }
    blocks
}

/// Reading from memory never waits, so no executor is in the way.
pub fn ready<T>(reading: impl Future<Output = T>) -> T {
    match pin!(reading).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("memory was late"),
    }
}
