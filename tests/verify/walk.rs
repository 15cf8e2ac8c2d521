//! Walks towards a few collections against the whole repositories that a real PDS exported.

use std::collections::{BTreeMap, BTreeSet};

use almanac::decode::{Car, Reason, RepoWalk, SignedCommit};
use almanac::devnet::cbor::cid_of;
use almanac::devnet::mst::{Blocks, Mst};
use almanac::event::Cid;

const EVENTS: &str = "community.lexicon.calendar.event/";

/// Feeds what is asked for until nothing is. Returns which blocks were.
fn run(walk: &mut RepoWalk, block: impl Fn(&Cid) -> Vec<u8>) -> BTreeSet<Cid> {
    let mut seen = BTreeSet::new();
    while !walk.is_done() {
        let needs: Vec<Cid> = walk.needs().collect();
        assert!(!needs.is_empty());
        for cid in needs {
            assert!(walk.wants(&cid) && seen.insert(cid), "asked for once");
            walk.feed(&cid, &block(&cid)).unwrap();
            assert!(!walk.wants(&cid));
        }
    }
    assert_eq!(walk.needs().count(), 0);
    seen
}

fn leaves(walk: &RepoWalk) -> Vec<(String, Cid)> {
    walk.leaves().map(|(key, cid)| (key.to_owned(), cid)).collect()
}

#[test]
fn real_repositories_are_walked_in_part_and_whole() {
    let (mut repositories, mut found) = (0, 0);
    for file in std::fs::read_dir("replay-fixtures/captures/pds-05-fifty-accounts/cars").unwrap() {
        let path = file.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("since-") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let car = Car::parse(&bytes).unwrap();
        let data = SignedCommit::parse(car.block(&car.root(), "commit").unwrap()).unwrap().data;
        let block = |cid: &Cid| car.block(cid, "node").unwrap().to_vec();
        let mut whole = RepoWalk::new(data, [""]);
        let every_node = run(&mut whole, block);
        let all = leaves(&whole);
        assert_eq!(all.len() + every_node.len() + 1, car.len(), "nothing but records, nodes and the commit");
        assert!(all.iter().all(|(_, cid)| car.has(cid)));
        for prefixes in [&[EVENTS][..], &["app.bsky."], &[EVENTS, "community.lexicon.calendar.rsvp/"], &["zz."], &[]] {
            let mut walk = RepoWalk::new(data, prefixes.iter().copied());
            let nodes = run(&mut walk, block);
            let wanted = |key: &str| prefixes.iter().any(|prefix| key.starts_with(prefix));
            let expected: Vec<_> = all.iter().filter(|(key, _)| wanted(key)).cloned().collect();
            assert_eq!(leaves(&walk), expected, "{prefixes:?} of {}", path.display());
            assert!(nodes.is_subset(&every_node));
            found += expected.len();
        }
        repositories += 1;
    }
    assert!(repositories >= 12 && found > 1_000, "{repositories} repositories, {found} leaves");
}

/// A repository of 5,000 posts and 20 events.
fn large() -> (Mst, Blocks) {
    let value = cid_of(b"\xa0");
    let posts = (0..5_000).map(|n| format!("app.bsky.feed.post/3k{n:011}"));
    let events = (0..20).map(|n| format!("{EVENTS}3k{n:011}"));
    let tree = Mst::from_leaves(posts.chain(events).map(|key| (key, value)));
    let blocks = tree.blocks();
    (tree, blocks)
}

#[test]
fn few_nodes_are_read_for_few_records() {
    let (tree, blocks) = large();
    let mut walk = RepoWalk::new(tree.root(), [EVENTS]);
    let read = run(&mut walk, |cid| blocks[cid].clone());
    assert_eq!(walk.leaves().len(), 20);
    let bytes = |cids: &BTreeSet<Cid>| cids.iter().map(|cid| blocks[cid].len()).sum::<usize>();
    let all: BTreeSet<Cid> = blocks.keys().copied().collect();
    assert!(bytes(&read) * 20 < bytes(&all), "{} of {} bytes", bytes(&read), bytes(&all));

    // No node was read for nothing: each is needed to know that all leaves are found. Without a node that was read the
    // walk does not end.
    for left_out in &read {
        let mut walk = RepoWalk::new(tree.root(), [EVENTS]);
        loop {
            let Some(next) = walk.needs().find(|cid| cid != left_out) else { break };
            walk.feed(&next, &blocks[&next]).unwrap();
        }
        assert!(!walk.is_done());
    }
}

#[test]
fn blocks_may_come_in_any_order_and_with_others() {
    let (tree, blocks) = large();
    let mut expected = RepoWalk::new(tree.root(), [EVENTS]);
    run(&mut expected, |cid| blocks[cid].clone());
    // Whole rounds over everything there is: what is not needed is ignored.
    let mut walk = RepoWalk::new(tree.root(), [EVENTS]);
    for _ in 0..20 {
        for (cid, block) in blocks.iter().rev() {
            walk.feed(cid, block).unwrap();
        }
    }
    assert!(walk.is_done());
    assert_eq!(leaves(&walk), leaves(&expected));
}

#[test]
fn nothing_unproven_is_believed() {
    let (tree, blocks) = large();
    let root = tree.root();
    let mut walk = RepoWalk::new(root, [EVENTS]);
    let other: BTreeMap<_, _> = blocks.iter().filter(|(cid, _)| **cid != root).collect();
    let (_, wrong) = other.first_key_value().unwrap();
    assert_eq!(walk.feed(&root, wrong).unwrap_err().reason, Reason::HashMismatch);
    // The right block is still welcome.
    assert!(walk.wants(&root));
    run(&mut walk, |cid| blocks[cid].clone());
    assert_eq!(walk.leaves().len(), 20);
}

#[test]
fn the_empty_repository_has_no_leaves() {
    let tree = Mst::default();
    let blocks = tree.blocks();
    let mut walk = RepoWalk::new(tree.root(), [""]);
    assert_eq!(run(&mut walk, |cid| blocks[cid].clone()).len(), 1);
    assert_eq!(walk.leaves().len(), 0);
}
