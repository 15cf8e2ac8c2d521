//! Commits as a broken or hostile server tells them.
//!
//! In: a true commit, and what shall be wrong. Out: a commit that differs in that alone. Never: touches a repository, so
//! the truth stays as it is.

use super::faults::Fault;
use crate::devnet::cbor::{Value, cid_of};
use crate::devnet::keys::{Curve, SigningKey};
use crate::devnet::{Commit, Head, Op, Tid};
use crate::event::Cid;

/// Whether this commit can have this fault.
pub(super) fn fits(fault: &Fault, commit: &Commit, standing: Option<&(String, Cid)>) -> bool {
    match fault {
        Fault::LyingPrevData => commit.prev_data.is_some(),
        Fault::LyingSince => commit.since.is_some(),
        Fault::LyingOpCid | Fault::SwappedRecord | Fault::MissingRecord => !commit.records.is_empty(),
        Fault::MissingNodes | Fault::TooManyOps => !commit.ops.is_empty(),
        Fault::ForgedDelete => standing.is_some() && !commit.ops.is_empty(),
        Fault::BadSignature | Fault::HighS | Fault::WrongKey | Fault::LyingRev => true,
        _ => false,
    }
}

/// The damaged commit. `standing` is a record of the repository that the commit does not touch.
pub(super) fn damaged(
    fault: &Fault,
    did: &str,
    curve: Curve,
    commit: &Commit,
    standing: Option<&(String, Cid)>,
) -> Commit {
    let mut lie = commit.clone();
    match fault {
        Fault::BadSignature => resign(&mut lie, did, |_, mut sig| {
            sig[40] ^= 1;
            sig
        }),
        Fault::HighS => resign(&mut lie, did, |_, sig| high_s(sig, curve)),
        Fault::WrongKey => {
            let key = SigningKey::from_entropy(Curve::K256, *commit.head.cid.digest());
            resign(&mut lie, did, |unsigned, _| key.sign(unsigned));
        }
        Fault::LyingPrevData => lie.prev_data = Some(other(commit.head.data)),
        Fault::LyingSince => lie.since = commit.since.map(|rev| Tid::new(rev.micros() - 1, 7)),
        Fault::LyingRev => lie.head.rev = Tid::new(commit.head.rev.micros() + 1, 7),
        Fault::LyingOpCid => {
            // With a block that fits the lie, so that the tree alone tells.
            let (cid, block) = &mut lie.records[0];
            *block = another_record();
            let told = lie.ops.iter_mut().filter(|op| op.cid == Some(*cid));
            told.for_each(|op| op.cid = Some(cid_of(block)));
            *cid = cid_of(block);
        }
        Fault::SwappedRecord => lie.records[0].1 = another_record(),
        Fault::MissingRecord => drop(lie.records.remove(0)),
        Fault::MissingNodes => lie.proof.clear(),
        Fault::ForgedDelete => {
            if let Some((path, cid)) = standing {
                lie.ops = vec![Op { action: "delete", path: path.clone(), cid: None, prev: Some(*cid) }];
            }
            lie.proof.clear();
            lie.records.clear();
        }
        Fault::TooManyOps => {
            let first = lie.ops[0].clone();
            let more = (lie.ops.len()..201).map(|n| Op { path: format!("{}{n}", first.path), ..first.clone() });
            lie.ops.extend(more);
        }
        _ => {}
    }
    lie
}

/// A record that nobody wrote.
fn another_record() -> Vec<u8> {
    Value::map([("$type", Value::text("community.lexicon.calendar.event")), ("name", "swapped".into())]).encode()
}

/// Another CID.
fn other(cid: Cid) -> Cid {
    let mut digest = *cid.digest();
    digest[0] ^= 1;
    Cid::new(cid.codec(), digest)
}

/// Puts another signature under the commit, whose CID is another then too.
fn resign(commit: &mut Commit, did: &str, sign: impl Fn(&[u8], [u8; 64]) -> [u8; 64]) {
    let Head { rev, data, block, .. } = &commit.head;
    let mut fields = vec![
        ("did", Value::text(did)),
        ("version", Value::Int(3)),
        ("data", Value::Link(*data)),
        ("rev", Value::Text(rev.to_string())),
        ("prev", Value::Null),
    ];
    let unsigned = Value::map(fields.clone()).encode();
    fields.push(("sig", Value::Bytes(sign(&unsigned, signature(block)).to_vec())));
    let block = Value::map(fields).encode();
    commit.head = Head { rev: *rev, data: *data, cid: cid_of(&block), block };
}

/// The signature that stands in a commit block: the only byte string of 64, behind the key `sig`.
fn signature(block: &[u8]) -> [u8; 64] {
    const HEAD: &[u8] = b"csig\x58\x40";
    let at = block.windows(HEAD.len()).position(|window| window == HEAD).map_or(0, |at| at + HEAD.len());
    block[at..at + 64].try_into().expect("a signed commit holds 64 bytes behind its `sig`")
}

const K256_ORDER: &str = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
const P256_ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";

/// The same signature with the other S.
fn high_s(mut sig: [u8; 64], curve: Curve) -> [u8; 64] {
    let order = match curve {
        Curve::K256 => K256_ORDER,
        Curve::P256 => P256_ORDER,
    };
    let order = data_encoding::HEXLOWER.decode(order.as_bytes()).expect("the order is written in hex");
    negate(&mut sig, &order);
    sig
}

fn negate(sig: &mut [u8; 64], order: &[u8]) {
    let mut borrow = 0i16;
    for at in (0..32).rev() {
        let difference = i16::from(order[at]) - i16::from(sig[32 + at]) - borrow;
        borrow = i16::from(difference < 0);
        sig[32 + at] = difference.rem_euclid(256) as u8;
    }
}
