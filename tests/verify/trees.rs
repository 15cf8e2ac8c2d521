//! Trees that are none, really signed: whoever holds the key can sign anything.

use almanac::decode::{Reason, RepoWalk, key_layer};
use almanac::devnet::cbor::{Value, cid_of};
use almanac::devnet::keys::Curve;
use almanac::devnet::mst::Blocks;
use almanac::devnet::{Commit, Op};
use almanac::event::{Cid, Codec};

use crate::made::*;

/// A leaf as a node writes it: what it shares with the one before, the rest, what hangs after it.
struct Leaf {
    shared: i64,
    rest: Vec<u8>,
    right: Option<Cid>,
}

fn leaf(shared: i64, rest: impl AsRef<[u8]>) -> Leaf {
    Leaf { shared, rest: rest.as_ref().to_vec(), right: None }
}

fn value() -> Cid {
    cid_of(&record("value"))
}

fn node(left: Option<Cid>, leaves: &[Leaf]) -> Vec<u8> {
    let entries = leaves.iter().map(|leaf| {
        Value::map([
            ("p", Value::Int(leaf.shared)),
            ("k", Value::Bytes(leaf.rest.clone())),
            ("v", Value::Link(value())),
            ("t", Value::link_or_null(leaf.right)),
        ])
    });
    Value::map([("l", Value::link_or_null(left)), ("e", Value::List(entries.collect()))]).encode()
}

/// Keys `a/0…` of this layer, rising.
fn keys(layer: u8, count: usize) -> Vec<String> {
    (0..).map(|n| format!("a/{n:06}")).filter(|key| key_layer(key.as_bytes()) == layer).take(count).collect()
}

/// Judges a signed commit of the tree whose root is the first of these nodes, which says to have removed `path`.
fn judge_tree(blocks: &[Vec<u8>], path: &str) -> Option<Reason> {
    let key = key(Curve::K256);
    let root = cid_of(&blocks[0]);
    let proof: Blocks = blocks.iter().map(|block| (cid_of(block), block.clone())).collect();
    let op = Op { action: "delete", path: path.into(), cid: None, prev: Some(value()) };
    let commit = Commit {
        head: sign(&key, tid(900), root),
        since: Some(tid(1)),
        prev_data: Some(value()),
        ops: vec![op],
        proof: proof.clone(),
        records: vec![],
    };
    let reason = full(&frame(&commit), &public(&key)).err().map(|reject| reject.reason);
    // A walk over the same blocks says the same of the tree.
    let mut walk = RepoWalk::new(root, [""]);
    let walked = loop {
        let Some(next) = walk.needs().find(|cid| proof.contains_key(cid)) else { break None };
        if let Err(reject) = walk.feed(&next, &proof[&next]) {
            break Some(reject.reason);
        }
    };
    if let Some(Reason::NodeShape | Reason::NodeKey | Reason::NodeLayer) = reason {
        assert_eq!(walked, reason);
    }
    reason
}

#[track_caller]
fn refuses(what: &str, reason: Reason, blocks: &[Vec<u8>], path: &str) {
    assert_eq!(judge_tree(blocks, path), Some(reason), "{what}");
}

#[test]
fn nodes_are_shaped_as_nodes() {
    let keys = keys(0, 3);
    let good = node(None, &[leaf(0, &keys[0]), leaf(7, &keys[2][7..])]);
    // Sound, and only not what leads to this prevData.
    assert_eq!(judge_tree(std::slice::from_ref(&good), &keys[1]), Some(Reason::PrevDataMismatch));

    let shape = |what: &str, block: Vec<u8>| refuses(what, Reason::NodeShape, &[block], &keys[1]);
    shape("bytes after the node", [&good[..], &[0]].concat());
    shape("cut off", good[..good.len() - 1].to_vec());
    shape("no map", vec![0x80]);
    shape("no bytes", vec![]);
    shape("a field more", Value::map([("l", Value::Null), ("e", Value::List(vec![])), ("x", Value::Null)]).encode());
    shape("a field less", Value::map([("e", Value::List(vec![]))]).encode());
    let backwards = [&b"\xa2\x61l\xf6"[..], &good[1..good.len() - 3]].concat();
    shape("fields out of order", backwards);
    let raw = Cid::new(Codec::Raw, [1; 32]);
    shape("a child that is no node", node(Some(raw), &[leaf(0, &keys[0])]));
    shape("a root that holds nothing but a child", node(Some(cid_of(&good)), &[]));
    let entry = |p: Value, k: Value, v: Value, t: Value| {
        let entry = Value::map([("p", p), ("k", k), ("v", v), ("t", t)]);
        Value::map([("l", Value::Null), ("e", Value::List(vec![entry]))]).encode()
    };
    let key = || Value::Bytes(keys[0].clone().into_bytes());
    shape("a prefix that is no number", entry(Value::text("0"), key(), Value::Link(value()), Value::Null));
    shape("a key that is no bytes", entry(Value::Int(0), Value::text(&*keys[0]), Value::Link(value()), Value::Null));
    shape("a value that is no link", entry(Value::Int(0), key(), Value::Null, Value::Null));
    shape("a child that is no link", entry(Value::Int(0), key(), Value::Link(value()), Value::Int(0)));
}

#[test]
fn keys_are_cut_right_and_rise() {
    let keys = keys(0, 4);
    assert!(keys[0][..7] == keys[1][..7] && keys[0] < keys[1]);
    let wrong = |what: &str, leaves: &[Leaf]| refuses(what, Reason::NodeKey, &[node(None, leaves)], &keys[3]);
    wrong("a first key with a prefix", &[leaf(1, &keys[0][1..])]);
    wrong("a negative prefix", &[leaf(0, &keys[0]), leaf(-1, &keys[1])]);
    wrong("a prefix longer than the key before", &[leaf(0, &keys[0]), leaf(9, "x")]);
    wrong("a prefix longer than anything", &[leaf(0, &keys[0]), leaf(i64::MAX, "x")]);
    wrong("a key cut too short", &[leaf(0, &keys[0]), leaf(6, &keys[1][6..])]);
    wrong("a key not cut", &[leaf(0, &keys[0]), leaf(0, &keys[1])]);
    wrong("keys that fall", &[leaf(0, &keys[1]), leaf(7, &keys[0][7..])]);
    wrong("a key twice", &[leaf(0, &keys[0]), leaf(8, "")]);
    wrong("an empty key", &[leaf(0, "")]);
    for bad in
        ["nothing", "/a", "a/", "a/b/c", "a b/c", "a/b\u{e9}", "a/b\0", "a/b@", &format!("a/{}", "x".repeat(1023))]
    {
        wrong(bad, &[leaf(0, bad)]);
    }
    let longest =
        (0..).map(|n| format!("a/{}{n:04}", "x".repeat(1018))).find(|k| key_layer(k.as_bytes()) == 0).unwrap();
    assert_eq!(
        (longest.len(), judge_tree(&[node(None, &[leaf(0, &longest)])], &keys[3])),
        (1024, Some(Reason::PrevDataMismatch))
    );
}

#[test]
fn every_key_and_node_is_on_its_layer() {
    let (low, high) = (keys(0, 40), keys(1, 2));
    let wrong = |what: &str, blocks: &[Vec<u8>], path: &str| refuses(what, Reason::NodeLayer, blocks, path);
    let shared = low[0].bytes().zip(high[0].bytes()).take_while(|(a, b)| a == b).count();
    assert!(low[0] < high[0]);
    wrong(
        "two layers in one node",
        &[node(None, &[leaf(0, &low[0]), leaf(shared as i64, &high[0][shared..])])],
        &low[1],
    );

    let below = node(None, &[leaf(0, &low[0])]);
    let nested = node(Some(cid_of(&below)), &[leaf(0, &low[2])]);
    wrong("a node below the lowest layer", &[nested, below.clone()], &low[1]);

    let top = keys(2, 1).remove(0);
    let skipping = node(Some(cid_of(&below)), &[leaf(0, &top)]);
    assert!(low[1] < top);
    wrong("a layer left out", &[skipping, below.clone()], &low[1]);

    // With the leafless node between them it is sound.
    let between = node(Some(cid_of(&below)), &[]);
    let sound = node(Some(cid_of(&between)), &[leaf(0, &top)]);
    assert_eq!(judge_tree(&[sound, between.clone(), below], &low[1]), Some(Reason::PrevDataMismatch));

    let nothing = node(None, &[]);
    refuses(
        "a node of nothing",
        Reason::NodeShape,
        &[node(Some(cid_of(&nothing)), &[leaf(0, &high[0])]), nothing],
        &low[0],
    );
}

#[test]
fn every_node_lies_between_the_keys_around_it() {
    let (low, high) = (keys(0, 60), keys(1, 2));
    let after = low.iter().find(|key| **key > high[0]).unwrap();
    assert!(low[0] < high[0]);
    // Both hang on the wrong side.
    let (left, right) = (node(None, &[leaf(0, &low[0])]), node(None, &[leaf(0, after)]));
    let mut entry = leaf(0, &high[0]);
    let path = |key: &str| format!("{key}x");
    let left_of = node(Some(cid_of(&right)), &[leaf(0, &high[0])]);
    let low_path = (0..).map(|n| format!("{}{n}", path(&low[0]))).find(|k| key_layer(k.as_bytes()) == 0).unwrap();
    refuses("a greater key on the left", Reason::NodeKey, &[left_of, right.clone()], &low_path);
    entry.right = Some(cid_of(&left));
    let right_of = node(None, &[entry]);
    let high_path = (0..).map(|n| format!("{}{n}", path(after))).find(|k| key_layer(k.as_bytes()) == 0).unwrap();
    refuses("a smaller key on the right", Reason::NodeKey, &[right_of, left], &high_path);
}
