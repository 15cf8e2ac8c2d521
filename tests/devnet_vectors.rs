//! The generator against what others published: the commit-proof fixtures and MST vectors of atproto-interop-tests, and
//! whole repositories exported by the reference PDS.
//!
//! The vectors are not part of this project. They are looked for in `ALMANAC_VECTORS`, else in `../shared/vectors`
//! beside it; with `ALMANAC_REQUIRE_VECTORS` set their absence is a failure.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;

use almanac::devnet::mst::{Mst, common_prefix_len, key_height};
use almanac::event::Cid;
use serde_json::Value as Json;

#[path = "devnet_judge/mod.rs"]
mod judge;

/// A file of the published vectors, or `None` after saying that it is not there.
fn vector(path: &str) -> Option<String> {
    let folder = std::env::var_os("ALMANAC_VECTORS")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors"));
    let file = folder.join(path);
    match std::fs::read_to_string(&file) {
        Ok(text) => Some(text),
        Err(error) => {
            let message = format!(
                "published vectors not found: {} ({error}). They come from github.com/bluesky-social/atproto-interop-tests \
                 (CC0), its files under interop/; set ALMANAC_VECTORS to the folder that holds interop/",
                file.display()
            );
            assert!(std::env::var_os("ALMANAC_REQUIRE_VECTORS").is_none(), "{message}");
            println!("{message}");
            None
        }
    }
}

fn json_vector(path: &str) -> Option<Vec<Json>> {
    vector(path).map(|text| serde_json::from_str(&text).unwrap())
}

fn texts<'a>(case: &'a Json, field: &str) -> Vec<&'a str> {
    case[field].as_array().unwrap().iter().map(|t| t.as_str().unwrap()).collect()
}

#[test]
fn commit_proofs_match_block_for_block() {
    let Some(cases) = json_vector("interop/firehose/commit-proof-fixtures.json") else { return };
    assert_eq!(cases.len(), 6);
    for case in &cases {
        let name = &case["comment"];
        let value: Cid = case["leafValue"].as_str().unwrap().parse().unwrap();
        let mut tree = Mst::from_leaves(texts(case, "keys").into_iter().map(|key| (key, value)));
        let before = tree.root();
        assert_eq!(before.to_string(), case["rootBeforeCommit"], "{name}: before");
        let (adds, dels) = (texts(case, "adds"), texts(case, "dels"));
        for key in &adds {
            assert_eq!(tree.insert(key, value).unwrap(), None);
        }
        for key in &dels {
            assert_eq!(tree.remove(key).unwrap(), Some(value));
        }
        assert_eq!(tree.root().to_string(), case["rootAfterCommit"], "{name}: after");
        let proof = tree.proof(adds.iter().chain(&dels).copied());
        let got: BTreeSet<String> = proof.keys().map(Cid::to_string).collect();
        let wanted: BTreeSet<String> = texts(case, "blocksInProof").into_iter().map(String::from).collect();
        assert_eq!(got, wanted, "{name}: proof");

        // Whoever holds only the proof can undo the commit.
        let mut seen = tree.prune(&proof.keys().copied().collect::<HashSet<_>>());
        for key in &adds {
            seen.remove(key).unwrap();
        }
        for key in &dels {
            seen.insert(key, value).unwrap();
        }
        assert_eq!(seen.root(), before, "{name}: undone");
    }
}

#[test]
fn key_heights_match() {
    let Some(cases) = json_vector("interop/mst/key_heights.json") else { return };
    assert!(!cases.is_empty());
    for case in &cases {
        let key = case["key"].as_str().unwrap();
        assert_eq!(u64::from(key_height(key.as_bytes())), case["height"].as_u64().unwrap(), "{key:?}");
    }
}

#[test]
fn example_keys_have_the_height_in_their_name() {
    let Some(keys) = vector("interop/mst/example_keys.txt") else { return };
    let keys: Vec<&str> = keys.lines().filter(|line| !line.is_empty()).collect();
    assert!(keys.len() > 100);
    for key in &keys {
        assert_eq!(key_height(key.as_bytes()), key.as_bytes()[1] - b'0', "{key}");
    }
    // One tree, whichever way it grew.
    let value = almanac::devnet::cbor::cid_of(b"\xa0");
    let built = Mst::from_leaves(keys.iter().map(|key| (*key, value)));
    let mut grown = Mst::default();
    keys.iter().rev().for_each(|key| assert_eq!(grown.insert(key, value).unwrap(), None));
    assert_eq!(built.root(), grown.root());
    assert_eq!(built.blocks(), grown.blocks());
    for (at, key) in keys.iter().enumerate() {
        assert_eq!(grown.remove(key).unwrap(), Some(value));
        if at % 17 == 0 {
            let rest = Mst::from_leaves(keys[at + 1..].iter().map(|key| (*key, value)));
            assert_eq!(grown.root(), rest.root(), "after {key}");
        }
    }
    assert_eq!(grown.root(), Mst::default().root());
}

#[test]
fn common_prefixes_match() {
    let Some(cases) = json_vector("interop/mst/common_prefix.json") else { return };
    assert!(!cases.is_empty());
    for case in &cases {
        let (left, right) = (case["left"].as_str().unwrap(), case["right"].as_str().unwrap());
        let len = common_prefix_len(left.as_bytes(), right.as_bytes()) as u64;
        assert_eq!(len, case["len"].as_u64().unwrap(), "{left:?} {right:?}");
    }
}

/// What a repository export holds: the root of its tree, its leaves, and its node blocks.
struct Export {
    root: Cid,
    leaves: Vec<(String, Cid)>,
    nodes: BTreeSet<Cid>,
}

/// Reads an export with other people's code only.
fn read_export(car: &[u8]) -> Export {
    let (blocks, header) = judge::read_car(car);
    let blocks: HashMap<Cid, Vec<u8>> = blocks.into_iter().collect();
    let commit = judge::decode(&blocks[&header]);
    let root = judge::link(judge::get(&commit, "data").unwrap()).unwrap();
    let mut export = Export { root, leaves: vec![], nodes: BTreeSet::new() };
    walk(&blocks, root, &mut export);
    export
}

fn walk(blocks: &HashMap<Cid, Vec<u8>>, cid: Cid, export: &mut Export) {
    export.nodes.insert(cid);
    let node = judge::decode(&blocks[&cid]);
    if let Some(left) = judge::link(judge::get(&node, "l").unwrap()) {
        walk(blocks, left, export);
    }
    let mut key: Vec<u8> = vec![];
    for entry in judge::get(&node, "e").unwrap().as_array().unwrap() {
        let shared: i64 = judge::get(entry, "p").unwrap().as_integer().unwrap().try_into().unwrap();
        key.truncate(shared as usize);
        key.extend(judge::get(entry, "k").unwrap().as_bytes().unwrap());
        let value = judge::link(judge::get(entry, "v").unwrap()).unwrap();
        export.leaves.push((String::from_utf8(key.clone()).unwrap(), value));
        if let Some(right) = judge::link(judge::get(entry, "t").unwrap()) {
            walk(blocks, right, export);
        }
    }
}

#[test]
fn real_repositories_come_out_the_same() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("replay-fixtures/captures/pds-05-fifty-accounts/cars");
    let mut repositories = 0;
    for file in std::fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        // An export since a rev holds a part of the tree only.
        if path.file_name().unwrap().to_str().unwrap().starts_with("since-") {
            continue;
        }
        let export = read_export(&std::fs::read(&path).unwrap());
        let tree = Mst::from_leaves(export.leaves.iter().map(|(key, cid)| (key.as_str(), *cid)));
        assert_eq!(tree.root(), export.root, "{}", path.display());
        assert_eq!(tree.blocks().into_keys().collect::<BTreeSet<_>>(), export.nodes, "{}", path.display());
        repositories += 1;
    }
    assert!(repositories >= 12, "only {repositories} repositories in {}", folder.display());
}
