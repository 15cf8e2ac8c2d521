//! What must hold for any bytes whatsoever. The fuzz targets try it on bytes that they invent, and the test
//! `fuzz_corpus` on those that are kept.

use std::collections::BTreeSet;

use almanac::decode::{Car, CarPart, CarStream, Checks, Message, Reject, RepoWalk, cbor, decode, outline, record_json};
use almanac::event::{Cid, Codec};
use bytes::Bytes;
use ipld_core::ipld::Ipld;
use sha2::{Digest, Sha256};

/// A refusal may quote what a stranger sent, but not at any length.
fn bounded(reject: Reject) {
    assert!(reject.detail.chars().count() <= 300, "{reject}");
}

/// A frame: outline, then the whole. Records that are handed out have the hash that their CID states, and are slices of
/// the frame.
pub fn frame(bytes: &[u8]) {
    let frame = Bytes::copy_from_slice(bytes);
    let outline = match outline(&frame) {
        Ok(outline) => outline,
        Err(reject) => return bounded(reject),
    };
    let mut collections = BTreeSet::new();
    for op in outline.ops.iter() {
        match op {
            Ok(op) => drop(collections.insert(op.collection().to_owned())),
            Err(reject) => bounded(reject),
        }
    }
    let message = match decode(&frame, &outline, |_| true, &Checks::NONE) {
        Ok(message) => message,
        Err(reject) => return bounded(reject),
    };
    // Unwanted records are not looked at, so a frame that passes with them passes without.
    decode(&frame, &outline, |_| false, &Checks::NONE).expect("less is asked of the same frame");
    if let Message::Commit(commit) = message {
        for record in commit.ops.iter().filter_map(|op| op.record.as_ref()) {
            assert_eq!(record.cid.digest()[..], Sha256::digest(&record.bytes)[..]);
            assert!(frame.as_ptr_range().contains(&record.bytes.as_ptr()));
            record_json(&record.bytes).expect("a record that decode handed out has a JSON form");
        }
    }
}

/// DAG-CBOR: what is canonical to us is so to another implementation, which writes the same bytes again.
pub fn cbor(bytes: &[u8]) {
    let mut reader = cbor::Reader::new(bytes);
    let skipped = reader.skip();
    assert!(reader.offset() <= bytes.len());
    if let Err(reject) = cbor::check_canonical(bytes) {
        return bounded(reject);
    }
    skipped.expect("what is canonical is also well-formed");
    assert_eq!(reader.offset(), bytes.len());
    let value: Ipld = serde_ipld_dagcbor::from_slice(bytes).expect("the other implementation reads it");
    assert_eq!(serde_ipld_dagcbor::to_vec(&value).expect("and writes it"), bytes);
}

/// A tree node: what is accepted is canonical, and its keys rise.
pub fn node(bytes: &[u8]) {
    let cid = Cid::new(Codec::DagCbor, Sha256::digest(bytes).into());
    let mut walk = RepoWalk::new(cid, [""]);
    if let Err(reject) = walk.feed(&cid, bytes) {
        return bounded(reject);
    }
    assert!(!walk.wants(&cid));
    let node: Ipld = serde_ipld_dagcbor::from_slice(bytes).expect("the other implementation reads it");
    assert_eq!(serde_ipld_dagcbor::to_vec(&node).expect("and writes it"), bytes);
    let Ipld::Map(node) = node else { panic!("a node is a map") };
    let Some(Ipld::List(entries)) = node.get("e") else { panic!("a node has entries") };
    assert_eq!(walk.leaves().len(), entries.len(), "no key twice");
    assert!(walk.needs().count() <= entries.len() + 1);
    assert!(walk.leaves().all(|(key, _)| key.split('/').count() == 2));
}

/// A CAR in two pieces: the same blocks as in one.
pub fn car_stream(bytes: &[u8]) {
    let whole = Car::parse(bytes);
    let mut stream = CarStream::new();
    let mut blocks = 0;
    let cut = bytes.first().map_or(0, |byte| usize::from(*byte) % bytes.len());
    for piece in [&bytes[..cut], &bytes[cut..]] {
        stream.push(Bytes::copy_from_slice(piece));
        loop {
            match stream.next_part() {
                Ok(Some(CarPart::Root(root))) => {
                    assert!(whole.as_ref().is_ok_and(|w| w.root() == root) || whole.is_err())
                }
                Ok(Some(CarPart::Block { at, bytes: block, .. })) => {
                    blocks += 1;
                    assert_eq!(bytes[at as usize..][..block.len()], block[..]);
                }
                Ok(None) => break,
                Err(reject) => {
                    assert!(whole.is_err(), "{reject}");
                    return bounded(reject);
                }
            }
        }
    }
    match (stream.finish(), whole) {
        (Ok(()), Ok(whole)) => assert_eq!(blocks, whole.len()),
        (Ok(()), Err(reject)) => panic!("only the stream takes it: {reject}"),
        (Err(reject), whole) => {
            assert!(whole.is_err(), "{reject}");
            bounded(reject);
        }
    }
}

/// A CAR: blocks that are handed out have the hash that their CID states.
pub fn car(bytes: &[u8]) {
    car_stream(bytes);
    let car = match Car::parse(bytes) {
        Ok(car) => car,
        Err(reject) => return bounded(reject),
    };
    // The smallest block is a length and a CID.
    assert!(car.len() <= bytes.len() / 37);
    match car.block(&car.root(), "the root") {
        Ok(block) => assert_eq!(car.root().digest()[..], Sha256::digest(block)[..]),
        Err(reject) => bounded(reject),
    }
}
