//! Made-up repositories with made-up histories: what the generator signs is undone to where it came from, and no
//! part of the proof can be exchanged or left out to make another past of it.

use almanac::decode::Reason;
use almanac::devnet::cbor::cid_of;
use almanac::devnet::keys::Curve;
use almanac::devnet::{Commit, Repo, Write};
use proptest::prelude::*;

use crate::build::DID;
use crate::made::*;

/// Few keys, so that histories meet their own past; some of them on high layers, some prefixes of others.
fn path(n: u16) -> String {
    match n % 3 {
        0 => format!("{EVENT}/{}", n / 3),
        1 => format!("{POST}/{n}"),
        _ => format!("a.b.c/{}", "k".repeat(1 + usize::from(n) / 8)),
    }
}

fn writes(wishes: &[(u16, bool)], repo: &Repo, turn: usize) -> Vec<Write> {
    let mut writes: Vec<Write> = vec![];
    for (n, keep) in wishes {
        let path = path(*n);
        if writes.iter().any(|write| write.path() == path) {
            continue;
        }
        let text = format!("{n} of {turn}");
        writes.push(match (repo.tree().get(&path).unwrap(), keep) {
            (None, _) => create(path, &text),
            (Some(_), true) => Write::Update { path, record: record(&text) },
            (Some(_), false) => Write::Delete { path },
        });
    }
    writes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn histories_are_undone(
        turns in prop::collection::vec(prop::collection::vec((0u16..160, any::<bool>()), 0..24), 1..14),
        shuffle in any::<u64>(),
    ) {
        let key = key(Curve::K256);
        let known = public(&key);
        let mut repo = Repo::new(DID, key);
        for (turn, wishes) in turns.iter().enumerate() {
            let commit = repo.apply(&writes(wishes, &repo, turn), tid(turn as u64)).unwrap();
            if let Err(reject) = full(&frame(&commit), &known) {
                panic!("turn {turn}: {reject}");
            }
            // The order of operations does not matter.
            let mut shuffled = commit.clone();
            shuffled.ops.sort_by_key(|op| cid_of(&[op.path.as_bytes(), &shuffle.to_le_bytes()].concat()));
            full(&frame(&shuffled), &known).unwrap();
            lies(&commit, &known)?;
        }
    }
}

fn lies(commit: &Commit, key: &almanac::decode::PublicKey) -> Result<(), TestCaseError> {
    let reason = |commit: &Commit| full(&frame(commit), key).err().map(|reject| reject.reason);
    let other = Commit { prev_data: Some(cid_of(b"other")), ..commit.clone() };
    prop_assert_eq!(reason(&other), Some(Reason::PrevDataMismatch));
    for at in 0..commit.ops.len() {
        let mut less = commit.clone();
        less.ops.remove(at);
        // What an update wrote over itself is no change.
        if commit.ops[at].cid != commit.ops[at].prev {
            let told = reason(&less);
            prop_assert!(
                matches!(told, Some(Reason::PrevDataMismatch | Reason::PrevDataMissing | Reason::MissingNode)),
                "{:?} without {:?}",
                told,
                commit.ops[at]
            );
        }
    }
    for cid in commit.proof.keys() {
        // Left out: refused, or nobody read it.
        let mut less = commit.clone();
        less.proof.remove(cid);
        let told = reason(&less);
        prop_assert!(matches!(told, None | Some(Reason::MissingNode)), "{:?}", told);
        // Exchanged: refused, or nobody read it.
        let mut swapped = commit.clone();
        swapped.proof.insert(*cid, b"\xa2\x61e\x80\x61l\xf6".to_vec());
        let told_swapped = reason(&swapped);
        if commit.proof[cid][..] != b"\xa2\x61e\x80\x61l\xf6"[..] {
            prop_assert_eq!(told.map(|_| Reason::HashMismatch), told_swapped);
        }
    }
    Ok(())
}
