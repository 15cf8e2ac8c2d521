//! What a commit is to the last one known.

use almanac::decode::{Chain, Commit, EMPTY_TREE, Head, Message, Reason, chain, chain_reject};
use almanac::devnet::keys::Curve;
use almanac::event::{Cid, Rev};

use crate::made::*;

fn commits() -> Vec<Commit> {
    let key = key(Curve::K256);
    let mut repo = repo(key.clone(), 10);
    let revs = (901..905).map(|n| (n, repo.apply(&[create(format!("{EVENT}/{n}"), "x")], tid(n)).unwrap()));
    let messages = revs.map(|(_, commit)| full(&frame(&commit), &public(&key)).unwrap());
    messages.map(|message| if let Message::Commit(commit) = message { commit } else { unreachable!() }).collect()
}

#[test]
fn each_way_to_stand_to_the_last_one() {
    let all = commits();
    let head = Head::from(&all[0]);
    assert_eq!(chain(None, &all[1]), Chain::Anchor);
    assert_eq!(chain(Some(&head), &all[1]), Chain::Follows);
    assert_eq!(chain(Some(&head), &all[0]), Chain::Duplicate);
    assert_eq!(chain(Some(&Head { cid: None, ..head }), &all[0]), Chain::Duplicate);
    assert_eq!(chain(Some(&Head::from(&all[1])), &all[0]), Chain::Old);
    assert_eq!(chain(Some(&head), &all[2]), Chain::Gap { since_fits: false, prev_data_fits: false });

    // Another commit under the same rev is not the same.
    let twin = Commit { cid: all[1].cid, data: all[1].data, ..all[0].clone() };
    assert_eq!(chain(Some(&head), &twin), Chain::Old);
    // Hosts that never state `since`.
    assert_eq!(chain(Some(&head), &Commit { since: None, ..all[1].clone() }), Chain::Follows);
    let gap = Chain::Gap { since_fits: true, prev_data_fits: false };
    assert_eq!(chain(Some(&head), &Commit { since: None, ..all[2].clone() }), gap);
    // Without `prevData` the tree before was the empty one.
    let first = Commit { prev_data: None, ..all[1].clone() };
    assert_eq!(chain(Some(&head), &first), gap);
    assert_eq!(chain(Some(&Head { data: EMPTY_TREE, ..head }), &first), Chain::Follows);
    let other_since = Commit { since: Some(Rev::ZERO), ..all[1].clone() };
    assert_eq!(chain(Some(&head), &other_since), Chain::Gap { since_fits: false, prev_data_fits: true });
}

#[test]
fn what_does_not_follow_has_a_reason() {
    let all = commits();
    let head = Head::from(&all[0]);
    let reject = |last: &Head, commit: &Commit| chain_reject(chain(Some(last), commit), Some(last), commit);
    assert_eq!(reject(&head, &all[1]), None);
    assert_eq!(reject(&head, &all[0]), None);
    assert_eq!(reject(&head, &all[2]).unwrap().reason, Reason::ChainBroken);
    assert_eq!(reject(&Head::from(&all[2]), &all[1]).unwrap().reason, Reason::RevNotNewer);
    let other =
        Head { data: "bafyreie6hvhgcy5tlpq25aexg24vbqml336rqpned3t5bhwd2zyhjuet3i".parse::<Cid>().unwrap(), ..head };
    let told = reject(&other, &all[1]).unwrap();
    assert!(told.reason == Reason::ChainBroken && told.detail.contains("prevData"), "{told}");
}
