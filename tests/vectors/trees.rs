//! Trees: `interop/mst` and `interop/firehose`. The blocks come from the generator, which reproduces the published CIDs.

use almanac::decode::{Checks, Level, PublicKey, Reason, RepoWalk, decode, key_layer, outline};
use almanac::devnet::cbor::{Value as Cbor, cid_of};
use almanac::devnet::frames::{Stamp, commit};
use almanac::devnet::keys::{Curve, SigningKey};
use almanac::devnet::mst::Mst;
use almanac::devnet::{Commit, Head, Op, Tid};
use almanac::event::Cid;
use bytes::Bytes;
use serde_json::Value;

use crate::{Cases, json_vector, vector};

const DID: &str = "did:plc:ma2formed2ma2formed2ma2f";

fn texts<'a>(case: &'a Value, field: &str) -> Vec<&'a str> {
    case[field].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

fn sign(key: &SigningKey, data: Cid) -> Head {
    let rev = Tid::new(1_763_793_000_000_000, 0);
    let mut fields = vec![
        ("did", Cbor::text(DID)),
        ("version", Cbor::Int(3)),
        ("data", Cbor::Link(data)),
        ("rev", Cbor::Text(rev.to_string())),
    ];
    let sig = key.sign(&Cbor::map(fields.clone()).encode()).to_vec();
    fields.push(("sig", Cbor::Bytes(sig)));
    let block = Cbor::map(fields).encode();
    Head { rev, data, cid: cid_of(&block), block }
}

fn judge(key: &SigningKey, made: &Commit) -> Option<Reason> {
    let frame = Bytes::from(commit(Stamp { seq: 1, did: DID, micros: 1_763_793_000_000_000 }, made));
    let public = PublicKey::from_did_key(&format!("did:key:{}", key.multikey())).unwrap();
    let checks = Checks { level: Level::Full, key: Some(&public), now: None };
    let outline = outline(&frame).unwrap();
    decode(&frame, &outline, |_| false, &checks).err().map(|reject| reject.reason)
}

#[test]
fn commit_proofs_are_undone_to_the_root_before() {
    let Some(fixtures) = json_vector("interop/firehose/commit-proof-fixtures.json") else { return };
    let key = SigningKey::from_entropy(Curve::K256, [7; 32]);
    let mut cases = Cases::default();
    for case in fixtures.as_array().unwrap() {
        let value: Cid = case["leafValue"].as_str().unwrap().parse().unwrap();
        let cid = |field: &str| case[field].as_str().unwrap().parse::<Cid>().unwrap();
        let (keys, adds, dels) = (texts(case, "keys"), texts(case, "adds"), texts(case, "dels"));
        let after = keys.iter().chain(&adds).filter(|key| !dels.contains(key));
        let blocks = Mst::from_leaves(after.map(|key| (*key, value))).blocks();
        let named = texts(case, "blocksInProof").into_iter().map(|cid| cid.parse::<Cid>().unwrap());
        let proof = named.map(|cid| (cid, blocks[&cid].clone())).collect();
        let create = |path: &&str| Op { action: "create", path: path.to_string(), cid: Some(value), prev: None };
        let delete = |path: &&str| Op { action: "delete", path: path.to_string(), cid: None, prev: Some(value) };
        let made = Commit {
            head: sign(&key, cid("rootAfterCommit")),
            since: None,
            prev_data: Some(cid("rootBeforeCommit")),
            ops: adds.iter().map(create).chain(dels.iter().map(delete)).collect(),
            proof,
            // Nobody wants the record, so its bytes are not looked at.
            records: vec![(value, vec![])],
        };
        let name = case["comment"].as_str().unwrap();
        let told = judge(&key, &made);
        cases.case(name, told.map_or(Ok(()), |reason| Err(format!("refused as {reason}"))));
        let lying = Commit { prev_data: Some(cid("rootAfterCommit")), ..made.clone() };
        let told = judge(&key, &lying);
        let outcome = if told == Some(Reason::PrevDataMismatch) { Ok(()) } else { Err(format!("{told:?}")) };
        cases.case(format!("{name}, lying prevData"), outcome);
        // Each published block is in the proof because somebody may need it; without the root nobody can do anything.
        let mut rootless = made;
        rootless.proof.remove(&rootless.head.data);
        let told = judge(&key, &rootless);
        let outcome = if told == Some(Reason::MissingNode) { Ok(()) } else { Err(format!("{told:?}")) };
        cases.case(format!("{name}, without the root"), outcome);
    }
    cases.finish("commit proofs", 18);
}

#[test]
fn keys_have_their_layer() {
    let Some(fixtures) = json_vector("interop/mst/key_heights.json") else { return };
    let mut cases = Cases::default();
    for case in fixtures.as_array().unwrap() {
        let (key, height) = (case["key"].as_str().unwrap(), case["height"].as_u64().unwrap());
        let layer = u64::from(key_layer(key.as_bytes()));
        cases.case(key, if layer == height { Ok(()) } else { Err(format!("{layer}, expected {height}")) });
    }
    cases.finish("key heights", 5);
}

#[test]
fn example_keys_are_walked_in_order() {
    let Some(text) = vector("interop/mst/example_keys.txt") else { return };
    let mut keys: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    let mut cases = Cases::default();
    for key in &keys {
        let layer = key_layer(key.as_bytes());
        let named = key.as_bytes()[1] - b'0';
        cases.case(*key, if layer == named { Ok(()) } else { Err(format!("layer {layer}")) });
    }
    let tree = Mst::from_leaves(keys.iter().map(|key| (*key, cid_of(b"\xa0"))));
    let blocks = tree.blocks();
    let mut walk = RepoWalk::new(tree.root(), [""]);
    while let Some(next) = { walk.needs().next() } {
        walk.feed(&next, &blocks[&next]).unwrap();
    }
    keys.sort_unstable();
    let found: Vec<&str> = walk.leaves().map(|(key, _)| key).collect();
    cases.case("the walk", if found == keys { Ok(()) } else { Err(format!("{found:?}")) });
    cases.finish("example keys", 100);
}
