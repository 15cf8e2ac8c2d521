//! The generator judged from outside: frames decoded by ciborium, CARs read by rs-car, signatures checked against the
//! DID documents, and all of it compared with the truth that comes beside the frames.

use std::collections::{BTreeMap, HashMap, HashSet};

use almanac::devnet::keys::{Curve, SigningKey};
use almanac::devnet::mst::Mst;
use almanac::devnet::{Commit, Frame, Mix, Repo, Size, Tid, Traffic, Write, WriteError, cbor, frames};
use almanac::event::{Cid, Rev};
use ciborium::Value;
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

#[path = "devnet_judge/mod.rs"]
mod judge;

use judge::{decode_frame, get, int, link, read_car, text};

const SMALL: Size = Size { accounts: 60, pasts: 3, records: 3_000 };

fn run(seed: u64, mix: Mix, threads: usize, batches: &[usize]) -> (Vec<Frame>, Traffic) {
    let mut traffic = Traffic::with_size(seed, mix, SMALL, threads);
    let frames = batches.iter().flat_map(|&count| traffic.next_frames(count)).collect();
    (frames, traffic)
}

#[test]
fn a_seed_decides_every_byte() {
    for mix in [Mix::Network, Mix::Calendar] {
        let (first, traffic) = run(7, mix, 1, &[400]);
        let (again, traffic_again) = run(7, mix, 3, &[1, 99, 300]);
        assert!(first == again, "{mix:?}: threads and batches change nothing");
        assert_eq!(traffic.truth_json(), traffic_again.truth_json());
        let (other, _) = run(8, mix, 1, &[400]);
        assert!(first != other, "{mix:?}");
    }
}

/// Decodes the multibase key of a DID document, by its own means.
fn base58(text: &str) -> Vec<u8> {
    const ALPHABET: &str = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut bytes: Vec<u8> = vec![];
    for c in text.strip_prefix('z').unwrap().chars() {
        let mut carry = ALPHABET.find(c).unwrap() as u32;
        for byte in bytes.iter_mut().rev() {
            carry += u32::from(*byte) * 58;
            *byte = carry as u8;
            carry >>= 8;
        }
        if carry > 0 {
            bytes.insert(0, carry as u8);
        }
    }
    bytes
}

/// Whether `sig` is a valid low-S signature over `message` by the key of this document. Names the key's form.
fn verify(document: &Json, message: &[u8], sig: &[u8]) -> &'static str {
    let method = &document["verificationMethod"][0];
    assert!(method["id"].as_str().unwrap().ends_with("#atproto"));
    let key = base58(method["publicKeyMultibase"].as_str().unwrap());
    let digest: [u8; 32] = Sha256::digest(message).into();
    let k256 = |point: &[u8]| {
        let key = secp256k1::PublicKey::from_slice(point).unwrap();
        let sig = secp256k1::ecdsa::Signature::from_compact(sig).unwrap();
        // The library refuses high-S.
        sig.verify(secp256k1::Message::from_digest(digest), &key).unwrap();
    };
    let p256 = |point: &[u8]| {
        let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(point).unwrap();
        let sig = p256::ecdsa::Signature::from_slice(sig).unwrap();
        assert_eq!(sig, sig.normalize_s(), "low-S");
        key.verify_prehash(&digest, &sig).unwrap();
    };
    match (method["type"].as_str().unwrap(), &key[..]) {
        ("Multikey", [0xe7, 0x01, point @ ..]) => (k256(point), "k256").1,
        ("Multikey", [0x80, 0x24, point @ ..]) => (p256(point), "p256").1,
        ("EcdsaSecp256k1VerificationKey2019", point) if point.len() == 65 => (k256(point), "k256 legacy").1,
        ("EcdsaSecp256r1VerificationKey2019", point) if point.len() == 65 => (p256(point), "p256 legacy").1,
        other => panic!("{other:?}"),
    }
}

/// What the frames said of one account.
#[derive(Default)]
struct Seen {
    hidden: bool,
    status: Option<String>,
    handle: Option<String>,
    records: BTreeMap<String, String>,
}

/// What a reader who trusts nothing makes of the frames.
#[derive(Default)]
struct Reader {
    /// Last rev and data root per DID.
    heads: HashMap<String, (String, Cid)>,
    kinds: BTreeMap<&'static str, u64>,
    keys: BTreeMap<&'static str, u64>,
    ops: Vec<Json>,
    repos: BTreeMap<String, Seen>,
    roots_first: u64,
}

impl Reader {
    fn frame(&mut self, index: usize, frame: &Frame, documents: &BTreeMap<&str, Json>) {
        let (header, body) = decode_frame(&frame.bytes);
        assert_eq!(int(&header, "op"), Some(1));
        assert_eq!(int(&body, "seq"), Some(frame.seq));
        let time = text(&body, "time").unwrap();
        assert!(time.starts_with("2025-06-0") && time.len() == 24 && time.ends_with('Z'), "{time}");
        let kind = text(&header, "t").unwrap();
        let did = text(&body, if kind == "#commit" { "repo" } else { "did" }).unwrap();
        let repo = self.repos.entry(did.into()).or_default();
        match kind {
            "#commit" => self.commit(index, did, &body, documents),
            "#sync" => {
                let (blocks, root) = read_car(get(&body, "blocks").unwrap().as_bytes().unwrap());
                let (rev, data) = self.head(did, root, &blocks.into_iter().collect(), documents);
                assert_eq!(text(&body, "rev"), Some(&*rev));
                if let Some((last_rev, last_data)) = self.heads.get(did) {
                    assert_eq!((last_rev, *last_data), (&rev, data), "a sync tells the last head");
                }
            }
            "#identity" => {
                if let Some(handle) = text(&body, "handle") {
                    repo.handle = Some(handle.into());
                }
            }
            "#account" => {
                repo.hidden = !get(&body, "active").unwrap().as_bool().unwrap();
                repo.status = text(&body, "status").map(String::from);
                assert_eq!(repo.hidden, repo.status.is_some());
                if repo.status.as_deref() == Some("deleted") {
                    repo.records.clear();
                }
            }
            other => panic!("{other}"),
        }
        let kind = ["#commit", "#sync", "#identity", "#account"].into_iter().find(|k| *k == kind).unwrap();
        *self.kinds.entry(kind).or_default() += 1;
    }

    /// Checks a signed head and returns its rev and data root.
    fn head(
        &mut self,
        did: &str,
        root: Cid,
        blocks: &HashMap<Cid, Vec<u8>>,
        documents: &BTreeMap<&str, Json>,
    ) -> (String, Cid) {
        let commit = judge::decode(&blocks[&root]);
        assert_eq!((text(&commit, "did"), int(&commit, "version")), (Some(did), Some(3)));
        assert_eq!(get(&commit, "prev"), Some(&Value::Null));
        let sig = get(&commit, "sig").unwrap().as_bytes().unwrap();
        // What was signed is the same map without `sig`; ciborium keeps the order of the rest.
        let unsigned = commit.as_map().unwrap().iter().filter(|(key, _)| key.as_text() != Some("sig")).cloned();
        let mut message = vec![];
        ciborium::into_writer(&Value::Map(unsigned.collect()), &mut message).unwrap();
        *self.keys.entry(verify(&documents[did], &message, sig)).or_default() += 1;
        let rev = text(&commit, "rev").unwrap();
        Rev::parse(rev).unwrap();
        (rev.into(), link(get(&commit, "data").unwrap()).unwrap())
    }

    fn commit(&mut self, index: usize, did: &str, body: &Value, documents: &BTreeMap<&str, Json>) {
        let (blocks, root) = read_car(get(body, "blocks").unwrap().as_bytes().unwrap());
        self.roots_first += u64::from(blocks[0].0 == root);
        let count = blocks.len();
        let blocks: HashMap<Cid, Vec<u8>> = blocks.into_iter().collect();
        assert_eq!(blocks.len(), count, "no block twice");
        assert_eq!(link(get(body, "commit").unwrap()), Some(root));
        let (rev, data) = self.head(did, root, &blocks, documents);
        assert_eq!(text(body, "rev"), Some(&*rev));
        for (key, wanted) in [("blobs", Value::Array(vec![])), ("rebase", false.into()), ("tooBig", false.into())] {
            assert_eq!(get(body, key), Some(&wanted));
        }
        assert!(blocks.contains_key(&data), "the root of the tree is in the frame");

        let since = text(body, "since");
        let prev_data = get(body, "prevData").map(|cid| link(cid).unwrap());
        assert_eq!(since.is_some(), prev_data.is_some());
        if let Some((last_rev, last_data)) = self.heads.insert(did.into(), (rev.clone(), data)) {
            assert_eq!((since, prev_data), (Some(&*last_rev), Some(last_data)), "the chain holds");
            assert!(last_rev < rev);
        }
        let repo = self.repos.get_mut(did).unwrap();
        assert!(!repo.hidden, "hidden accounts write nothing");
        for op in get(body, "ops").unwrap().as_array().unwrap() {
            let (action, path) = (text(op, "action").unwrap(), text(op, "path").unwrap());
            let (cid, prev) = (link(get(op, "cid").unwrap()), get(op, "prev").map(|cid| link(cid).unwrap()));
            let shape = match action {
                "create" => (true, false),
                "update" => (true, true),
                "delete" => (false, true),
                other => panic!("{other}"),
            };
            assert_eq!((cid.is_some(), prev.is_some()), shape, "{action}");
            let (collection, rkey) = path.split_once('/').unwrap();
            if let Some(cid) = cid {
                let record = judge::decode(&blocks[&cid]);
                assert_eq!(text(&record, "$type"), Some(collection));
            }
            if !collection.starts_with("community.lexicon.calendar.") {
                continue;
            }
            let cid = cid.map(|cid| cid.to_string());
            let before = match &cid {
                Some(cid) => repo.records.insert(path.into(), cid.clone()),
                None => repo.records.remove(path),
            };
            assert_eq!(before, prev.map(|cid| cid.to_string()), "{action} {path}");
            self.ops.push(json!([index, did, action, collection, rkey, cid]));
        }
    }
}

/// Reads a run with other people's code and holds it against the truth.
fn check(mix: Mix, frames: usize) -> (Reader, Json, Traffic) {
    let (made, traffic) = run(42, mix, 2, &[frames]);
    let documents = traffic.did_documents();
    let mut reader = Reader::default();
    for (index, frame) in made.iter().enumerate() {
        assert!(index == 0 || made[index - 1].seq < frame.seq);
        reader.frame(index, frame, &documents);
    }
    drop(documents);
    let truth = traffic.truth_json();
    assert_eq!(truth["frames"], frames);
    assert_eq!(truth["ops"], Json::Array(reader.ops.clone()));
    assert_eq!(truth["repos"].as_object().unwrap().len(), reader.repos.len());
    for (did, seen) in &reader.repos {
        let told = &truth["repos"][did];
        let head = reader.heads.get(did);
        assert_eq!(told["rev"], json!(head.map(|(rev, _)| rev)), "{did}");
        assert_eq!(told["data"], json!(head.map(|(_, data)| data)), "{did}");
        assert_eq!(told["active"], json!(!seen.hidden), "{did}");
        assert_eq!(told["status"], json!(seen.status), "{did}");
        assert_eq!(told["handle"], json!(seen.handle), "{did}");
        assert_eq!(told["records"], json!(seen.records), "{did}");
    }
    (reader, truth, traffic)
}

#[test]
fn the_calendar_mix_is_what_its_truth_says() {
    let (reader, truth, _) = check(Mix::Calendar, 3_000);
    // Repositories of this mix hold calendar records and nothing else, so the truth can rebuild them.
    for (did, repo) in truth["repos"].as_object().unwrap() {
        if repo["data"].is_null() || repo["status"] == "deleted" {
            continue;
        }
        let records = repo["records"].as_object().unwrap();
        let tree =
            Mst::from_leaves(records.iter().map(|(k, cid)| (k.as_str(), cid.as_str().unwrap().parse().unwrap())));
        assert_eq!(tree.root().to_string(), repo["data"].as_str().unwrap(), "{did}");
    }
    for kind in ["#commit", "#sync", "#identity", "#account"] {
        assert!(reader.kinds[kind] > 20, "{kind}");
    }
    for form in ["k256", "k256 legacy", "p256", "p256 legacy"] {
        assert!(reader.keys.get(form).is_some_and(|n| *n > 10), "{form}: {:?}", reader.keys);
    }
    for action in ["create", "update", "delete"] {
        assert!(truth["counts"][format!("calendar {action}")].as_u64().unwrap() > 100, "{action}");
    }
    assert!(reader.roots_first * 2 < reader.kinds["#commit"], "the root is seldom first");
    let statuses: HashSet<_> = reader.repos.values().filter_map(|repo| repo.status.as_deref()).collect();
    assert!(statuses.contains("deactivated") && statuses.contains("deleted"), "{statuses:?}");
}

#[test]
fn the_network_mix_is_what_its_truth_says() {
    let (reader, truth, traffic) = check(Mix::Network, 3_000);
    assert!(!reader.ops.is_empty(), "a calendar commit among the first hundred frames");
    assert!(truth["counts"]["op delete"].as_u64().unwrap() > 50);
    for (did, (_, data)) in &reader.heads {
        assert_eq!(traffic.repo(did).unwrap().tree().root(), *data, "{did}");
    }
}

#[test]
fn accounts_are_born_as_on_the_reference_pds() {
    let (frames, _) = run(3, Mix::Calendar, 1, &[4]);
    let decoded: Vec<(Value, Value)> = frames.iter().map(|frame| decode_frame(&frame.bytes)).collect();
    let kinds: Vec<&str> = decoded.iter().map(|(header, _)| text(header, "t").unwrap()).collect();
    assert_eq!(kinds, ["#identity", "#account", "#commit", "#sync"]);
    let commit = &decoded[2].1;
    assert_eq!(get(commit, "ops"), Some(&Value::Array(vec![])));
    assert_eq!((get(commit, "since"), get(commit, "prevData")), (Some(&Value::Null), None));
}

/// A small chooser for test data: the numbers of a linear congruence.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n
    }
}

/// Undoes a commit on what its frame carries, and nothing more.
fn undo(commit: &Commit, after: &Mst) -> Cid {
    let mut seen = after.prune(&commit.proof.keys().copied().collect());
    for op in commit.ops.iter().rev() {
        let was = match op.prev {
            Some(prev) => seen.insert(&op.path, prev).unwrap(),
            None => seen.remove(&op.path).unwrap(),
        };
        assert_eq!(was, op.cid, "{} {}", op.action, op.path);
    }
    seen.root()
}

#[test]
fn every_commit_can_be_undone_with_its_proof_alone() {
    let mut numbers = Numbers(11);
    let key = SigningKey::from_entropy(Curve::K256, [9; 32]);
    let mut repo = Repo::new("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", key);
    repo.apply(&[], Tid::new(1, 0)).unwrap();
    let mut held: Vec<String> = vec![];
    for round in 2..1_500u64 {
        // The repository grows, stays, and shrinks to nothing.
        let grow = if round < 600 {
            70
        } else if round < 900 {
            50
        } else {
            15
        };
        let (mut writes, mut touched) = (vec![], HashSet::new());
        for _ in 0..1 + numbers.below(6) {
            let record = cbor::Value::Int(numbers.below(1 << 30) as i64).encode();
            if numbers.below(100) < grow || held.is_empty() {
                let path = format!("com.example.c{}/{:04}", numbers.below(3), numbers.below(10_000));
                if !held.contains(&path) && touched.insert(path.clone()) {
                    held.push(path.clone());
                    writes.push(Write::Create { path, record });
                }
                continue;
            }
            let at = numbers.below(held.len());
            if touched.insert(held[at].clone()) {
                writes.push(if numbers.below(3) == 0 {
                    Write::Update { path: held[at].clone(), record }
                } else {
                    Write::Delete { path: held.swap_remove(at) }
                });
            }
        }
        let before = repo.tree().root();
        let commit = repo.apply(&writes, Tid::new(round, 0)).unwrap();
        assert_eq!(commit.prev_data, Some(before));
        assert_eq!(undo(&commit, repo.tree()), before, "round {round}: {writes:?}");
        if round % 50 == 0 {
            assert_eq!(Mst::from_leaves(repo.tree().leaves()).root(), repo.tree().root(), "one shape per set");
            assert_eq!(repo.tree().leaves().len(), held.len());
        }
    }
}

#[test]
fn writes_that_do_not_fit_change_nothing() {
    let mut repo = Repo::new("did:plc:a", SigningKey::from_entropy(Curve::P256, [1; 32]));
    let record = cbor::Value::Null.encode();
    let create = |path: &str| Write::Create { path: path.into(), record: record.clone() };
    repo.apply(&[create("a.b.c/1")], Tid::new(5, 0)).unwrap();
    let head = repo.head().cloned();
    let later = Tid::new(6, 0);
    let update = Write::Update { path: "a.b.c/2".into(), record: record.clone() };
    let delete = Write::Delete { path: "a.b.c/2".into() };
    let bad = [
        (vec![create("a.b.c/1")], WriteError::Exists("a.b.c/1".into())),
        (vec![create("a.b.c/3"), update], WriteError::Missing("a.b.c/2".into())),
        (vec![delete], WriteError::Missing("a.b.c/2".into())),
        (vec![create("a.b.c/4"), create("a.b.c/4")], WriteError::Twice("a.b.c/4".into())),
    ];
    for (writes, wanted) in bad {
        assert_eq!(repo.apply(&writes, later).unwrap_err(), wanted);
    }
    assert_eq!(repo.apply(&[], Tid::new(5, 0)).unwrap_err(), WriteError::OldRev(Tid::new(5, 0)));
    assert_eq!(repo.head().cloned(), head);
    assert_eq!(repo.tree().leaves().len(), 1);
}

#[test]
fn info_and_error_frames_have_their_own_headers() {
    let (header, body) = decode_frame(&frames::info("OutdatedCursor", None));
    assert_eq!((int(&header, "op"), text(&header, "t")), (Some(1), Some("#info")));
    assert_eq!((text(&body, "name"), get(&body, "message")), (Some("OutdatedCursor"), None));
    let (header, body) = decode_frame(&frames::error("FutureCursor", Some("Cursor in the future.")));
    assert_eq!((int(&header, "op"), get(&header, "t")), (Some(-1), None));
    assert_eq!((text(&body, "error"), text(&body, "message")), (Some("FutureCursor"), Some("Cursor in the future.")));
}
