//! One lie per commit, each refused under its own name.

use almanac::decode::{Layer, Level, PublicKey, Reason};
use almanac::devnet::cbor::cid_of;
use almanac::devnet::keys::{Curve, SigningKey};
use almanac::devnet::mst::{Blocks, Mst};
use almanac::devnet::{Commit, Op, Tid, Write, frames};
use almanac::event::{KeyForm, KeyText};

use crate::build::{self, MICROS, SEQ, stamp};
use crate::made::*;

const POSTS: u64 = 700;

/// A good commit, changed after it was signed, under the full check.
#[track_caller]
fn refuses(what: &str, reason: Reason, change: impl FnOnce(&mut Commit)) {
    let key = key(Curve::K256);
    let mut commit = commit(&mut repo(key.clone(), POSTS));
    assert!(full(&frame(&commit), &public(&key)).is_ok(), "{what}: without the lie");
    change(&mut commit);
    assert_refused(what, full(&frame(&commit), &public(&key)), reason);
}

/// Half the order of the curve belongs to `s`; the other half is as good to the mathematics.
fn negated(curve: Curve, sig: &[u8]) -> Vec<u8> {
    let order = match curve {
        Curve::K256 => "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
        Curve::P256 => "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
    };
    let order = data_encoding::HEXLOWER.decode(order.as_bytes()).unwrap();
    let mut out = sig.to_vec();
    let mut borrow = 0i32;
    for i in (0..32).rev() {
        let digit = i32::from(order[i]) - i32::from(sig[32 + i]) - borrow;
        borrow = i32::from(digit < 0);
        out[32 + i] = (digit + 256 * borrow) as u8;
    }
    out
}

#[test]
fn good_commits_pass_on_both_curves_at_every_level() {
    for curve in [Curve::K256, Curve::P256] {
        let key = key(curve);
        let frame = frame(&commit(&mut repo(key.clone(), POSTS)));
        for level in [Level::None, Level::Signature, Level::Full] {
            judge(&frame, level, Some(&public(&key))).unwrap();
        }
        assert_refused("no key", judge(&frame, Level::Signature, None), Reason::NoKey);
        assert_refused("no key", judge(&frame, Level::Full, None), Reason::NoKey);
        judge(&frame, Level::None, None).unwrap();
    }
}

#[test]
fn every_form_of_a_key_is_one_key() {
    for (curve, form, other) in
        [(Curve::K256, KeyForm::K256, KeyForm::P256), (Curve::P256, KeyForm::P256, KeyForm::K256)]
    {
        let key = key(curve);
        let frame = frame(&commit(&mut repo(key.clone(), 30)));
        let text = |bytes: &[u8]| {
            let number = bytes.iter().fold(vec![0u8; 0], |mut digits: Vec<u8>, byte| {
                let mut carry = u32::from(*byte);
                for digit in &mut digits {
                    carry += u32::from(*digit) << 8;
                    *digit = (carry % 58) as u8;
                    carry /= 58;
                }
                while carry > 0 {
                    digits.push((carry % 58) as u8);
                    carry /= 58;
                }
                digits
            });
            let alphabet = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
            let text: String = number.iter().rev().map(|d| char::from(alphabet[usize::from(*d)])).collect();
            Box::<str>::from(format!("z{text}"))
        };
        let codec: &[u8] = if curve == Curve::K256 { &[0xe7, 1] } else { &[0x80, 0x24] };
        let did_key = format!("did:key:{}", key.multikey());
        for compressed in [true, false] {
            let point = key.public_point(compressed);
            let named = [codec, &point].concat();
            for (form, bytes) in [(form, &point), (form, &named), (KeyForm::Multikey, &named)] {
                let read = PublicKey::read(&KeyText { form, multibase: text(bytes) }).unwrap();
                assert_eq!(read.to_did_key(), did_key, "{form:?}");
                full(&frame, &read).unwrap();
            }
            let refused = |form, bytes: &[u8]| {
                let reject = PublicKey::read(&KeyText { form, multibase: text(bytes) }).unwrap_err();
                assert_eq!((reject.reason, reject.layer()), (Reason::BadKey, Layer::Sig), "{reject}");
            };
            refused(KeyForm::Multikey, &point);
            refused(other, &named);
            refused(form, &point[..point.len() - 1]);
            refused(form, &[&point[..], &[0]].concat());
            let mut off_the_curve = point.clone();
            off_the_curve[1..33].fill(0xff);
            refused(form, &off_the_curve);
            // The hybrid form says the same thing twice, and hosts never write it.
            let mut hybrid = key.public_point(false);
            hybrid[0] = 6 + (hybrid[64] & 1);
            refused(form, &hybrid);
        }
    }
}

#[test]
fn signatures() {
    for curve in [Curve::K256, Curve::P256] {
        let own = key(curve);
        let good = commit(&mut repo(own.clone(), 50));
        let signed_by = |change: &dyn Fn(Vec<u8>) -> Vec<u8>| {
            let head = with_signature(&good.head, change);
            frame(&Commit { head, ..good.clone() })
        };
        let check = |what: &str, reason, frame| {
            assert_refused(what, full(&frame, &public(&own)), reason);
            assert_refused(what, judge(&frame, Level::Signature, Some(&public(&own))), reason);
            // The fault is one of the signature alone.
            judge(&frame, Level::None, None).unwrap();
        };
        check("high s", Reason::HighS, signed_by(&|sig| negated(curve, &sig)));
        check(
            "bit flipped in r",
            Reason::BadSignature,
            signed_by(&|mut sig| {
                sig[5] ^= 1;
                sig
            }),
        );
        check(
            "bit flipped in s",
            Reason::BadSignature,
            signed_by(&|mut sig| {
                sig[40] ^= 1;
                sig
            }),
        );
        check("zeros", Reason::BadSignature, signed_by(&|_| vec![0; 64]));
        check("cut off", Reason::SignatureLength, signed_by(&|sig| sig[..63].to_vec()));
        check("too long", Reason::SignatureLength, signed_by(&|sig| [&sig[..], &[0]].concat()));
        check("empty", Reason::SignatureLength, signed_by(&|_| vec![]));

        let good = frame(&good);
        let stranger = SigningKey::from_entropy(curve, [8; 32]);
        assert_refused("another key", full(&good, &public(&stranger)), Reason::BadSignature);
        let other_curve = if curve == Curve::K256 { Curve::P256 } else { Curve::K256 };
        assert_refused("the other curve", full(&good, &public(&key(other_curve))), Reason::BadSignature);
    }
}

/// The curve's mathematics takes the other `s` too: only the rule refuses it.
#[test]
fn a_high_s_is_refused_by_rule_on_p256() {
    use p256::ecdsa::signature::Verifier;
    let SigningKey::P256(key) = key(Curve::P256) else { unreachable!() };
    let message = b"message";
    let sig = SigningKey::P256(key.clone()).sign(message);
    let high = negated(Curve::P256, &sig);
    let high_sig = p256::ecdsa::Signature::from_slice(&high).unwrap();
    key.verifying_key().verify(message, &high_sig).unwrap();
    let public = public(&SigningKey::P256(key));
    public.verify(message, &sig).unwrap();
    assert_eq!(public.verify(message, &high).unwrap_err().reason, Reason::HighS);
}

#[test]
fn operations_that_lie() {
    let other = record("swapped in");
    refuses("cid of an update", Reason::LeafMismatch, |commit| {
        commit.ops[1].cid = Some(cid_of(&other));
        commit.records.push((cid_of(&other), other.clone()));
    });
    refuses("cid of a create", Reason::LeafMismatch, |commit| {
        commit.ops[0].cid = Some(cid_of(&other));
        commit.records.push((cid_of(&other), other.clone()));
    });
    refuses("prev of an update", Reason::PrevDataMismatch, |commit| commit.ops[1].prev = Some(cid_of(b"x")));
    refuses("prev of a delete", Reason::PrevDataMismatch, |commit| commit.ops[2].prev = Some(cid_of(b"x")));
    refuses("an update without prev", Reason::OpShape, |commit| commit.ops[1].prev = None);
    refuses("a delete without prev", Reason::OpShape, |commit| commit.ops[2].prev = None);
    refuses("a create with prev", Reason::OpShape, |commit| commit.ops[0].prev = Some(cid_of(b"x")));
    refuses("a path twice", Reason::DuplicatePath, |commit| commit.ops.push(commit.ops[0].clone()));
    for at in 0..4 {
        refuses("an operation kept back", Reason::PrevDataMismatch, |commit| drop(commit.ops.remove(at)));
    }
    refuses("a create told as an update", Reason::PrevDataMismatch, |commit| {
        commit.ops[0].action = "update";
        commit.ops[0].prev = Some(cid_of(b"x"));
    });
    refuses("an update told as a create", Reason::PrevDataMismatch, |commit| {
        commit.ops[1].action = "create";
        commit.ops[1].prev = None;
    });
    refuses("no operations at all", Reason::PrevDataMismatch, |commit| commit.ops.clear());
    refuses("a path that is none", Reason::BadField, |commit| commit.ops[2].path = "no-slash".into());
    refuses("a path that no tree holds", Reason::BadField, |commit| commit.ops[2].path = format!("{POST}/a b"));
}

#[test]
fn trees_that_lie() {
    refuses("prevData", Reason::PrevDataMismatch, |commit| commit.prev_data = Some(commit.head.data));
    refuses("no prevData", Reason::PrevDataMissing, |commit| commit.prev_data = None);
    refuses("no nodes at all", Reason::MissingNode, |commit| commit.proof.clear());
    refuses("no root", Reason::MissingNode, |commit| drop(commit.proof.remove(&commit.head.data)));
    refuses("a node under another's CID", Reason::HashMismatch, |commit| {
        let cids: Vec<_> = commit.proof.keys().copied().collect();
        let other = commit.proof[&cids[0]].clone();
        commit.proof.values_mut().for_each(|block| block.clone_from(&other));
    });
}

/// The first commit of a repository has nothing before it, and says so by saying nothing.
#[test]
fn a_first_commit_comes_from_the_empty_tree() {
    let key = key(Curve::K256);
    for writes in [vec![], vec![create(format!("{POST}/a"), "a"), create(format!("{EVENT}/b"), "b")]] {
        let mut repo = almanac::devnet::Repo::new(build::DID, key.clone());
        let first = repo.apply(&writes, tid(1)).unwrap();
        assert_eq!(first.prev_data, None);
        full(&frame(&first), &public(&key)).unwrap();
        let told = Commit { prev_data: Some(Mst::default().root()), ..first };
        full(&frame(&told), &public(&key)).unwrap();
        let empty = repo.apply(&[], tid(2)).unwrap();
        full(&frame(&empty), &public(&key)).unwrap();
        let untold = Commit { prev_data: None, ..empty };
        let outcome = full(&frame(&untold), &public(&key));
        if writes.is_empty() {
            outcome.unwrap();
        } else {
            assert_refused("a later commit told as the first", outcome, Reason::PrevDataMissing);
        }
    }
}

/// A delete that the account never made, put beside its latest signed commit.
#[test]
fn forged_deletes() {
    let key = key(Curve::K256);
    let mut repo = repo(key.clone(), POSTS);
    let head = commit(&mut repo).head;
    let path = format!("{EVENT}/{}", tid(500));
    let prev = repo.tree().get(&path).unwrap();
    let forged = |proof: Blocks| {
        let op = Op { action: "delete", path: path.clone(), cid: None, prev };
        let head = head.clone();
        frame(&Commit {
            prev_data: Some(head.data),
            since: Some(tid(900)),
            head,
            ops: vec![op],
            proof,
            records: vec![],
        })
    };
    let shown = repo.tree().proof([path.as_str()]);
    for level in [Level::Signature, Level::Full] {
        let key = public(&key);
        assert_refused("without nodes", judge(&forged(Blocks::new()), level, Some(&key)), Reason::MissingNode);
        assert_refused("with the nodes", judge(&forged(shown.clone()), level, Some(&key)), Reason::LeafPresent);
    }
}

#[test]
fn records() {
    refuses("a record swapped under its CID", Reason::HashMismatch, |commit| commit.records[0].1 = record("other"));
    refuses("a record that is not there", Reason::MissingBlock, |commit| drop(commit.records.remove(0)));
    // That a record is there is asked of every collection, whoever wants it.
    let key = key(Curve::K256);
    let mut good = commit(&mut repo(key.clone(), 50));
    good.records.pop();
    let frame = frame(&good);
    let outline = almanac::decode::outline(&frame).unwrap();
    let key = public(&key);
    let checks = almanac::decode::Checks { level: Level::Full, key: Some(&key), now: None };
    let outcome = almanac::decode::decode(&frame, &outline, |collection| collection == EVENT, &checks);
    assert_refused("an unwanted record that is not there", outcome, Reason::MissingBlock);
}

#[test]
fn revs() {
    refuses("a rev that was not signed", Reason::RevMismatch, |commit| commit.head.rev = tid(901));
    let key = key(Curve::K256);
    let five_minutes = 5 * 60 * 1_000_000;
    for (ahead, refused) in [(five_minutes, false), (five_minutes + 1, true), (1 << 52, true)] {
        let rev = Tid::new(MICROS + ahead, 0);
        let mut repo = repo(key.clone(), 5);
        let commit = repo.apply(&[], rev).unwrap();
        let sync = frames::sync(stamp(SEQ), &commit.head).into();
        for frame in [frame(&commit), sync] {
            let outcome = full(&frame, &public(&key));
            if refused { assert_refused("from the future", outcome, Reason::FutureRev) } else { drop(outcome.unwrap()) }
        }
    }
}

#[test]
fn more_operations_than_a_commit_may_have() {
    let key = key(Curve::K256);
    for (count, refused) in [(200, false), (201, true)] {
        let mut repo = repo(key.clone(), 5);
        let writes: Vec<Write> = (0..count).map(|n| create(format!("{EVENT}/r{n}"), "x")).collect();
        let outcome = full(&frame(&repo.apply(&writes, tid(900)).unwrap()), &public(&key));
        if refused { assert_refused("201", outcome, Reason::TooManyOps) } else { drop(outcome.unwrap()) }
    }
}

#[test]
fn syncs_are_signed_too() {
    let key = key(Curve::P256);
    let head = commit(&mut repo(key.clone(), 30)).head;
    let sync = |head| frames::sync(stamp(SEQ), head).into();
    full(&sync(&head), &public(&key)).unwrap();
    let bad = with_signature(&head, |sig| negated(Curve::P256, &sig));
    assert_refused("high s", full(&sync(&bad), &public(&key)), Reason::HighS);
    assert_refused("no key", judge(&sync(&head), Level::Full, None), Reason::NoKey);
}
