use std::collections::HashSet;

use super::*;
use crate::decode::outline;
use crate::event::{Did, Environment};

fn policy(dids: DidRule, allowed: &[&str], denied: &[&str]) -> Policy {
    let set = |list: &[&str]| list.iter().map(|d| Did::parse(d).unwrap()).collect::<HashSet<_>>();
    Policy {
        environment: Environment::parse("test").unwrap(),
        collections: CollectionSet::parse(["community.lexicon.calendar.event", "org.example.*"]).unwrap(),
        dids,
        allowed: set(allowed),
        denied: set(denied),
    }
}

/// A frame by hand: header, then body.
fn frame(kind: &str, did_key: &str, did: &str, paths: &[&str]) -> Vec<u8> {
    use ipld_core::ipld::Ipld;
    let text = |s: &str| Ipld::String(s.to_owned());
    let header = Ipld::Map([("op".to_owned(), Ipld::Integer(1)), ("t".to_owned(), text(kind))].into());
    let op = |path: &&str| {
        Ipld::Map(
            [("action".to_owned(), text("delete")), ("path".to_owned(), text(path)), ("cid".to_owned(), Ipld::Null)]
                .into(),
        )
    };
    let mut body = vec![
        (did_key.to_owned(), text(did)),
        ("seq".to_owned(), Ipld::Integer(7)),
        ("time".to_owned(), text("2026-11-22T00:00:00Z")),
    ];
    if kind == "#commit" {
        body.push(("ops".to_owned(), Ipld::List(paths.iter().map(op).collect())));
    }
    let body = Ipld::Map(body.into_iter().collect());
    [serde_ipld_dagcbor::to_vec(&header).unwrap(), serde_ipld_dagcbor::to_vec(&body).unwrap()].concat()
}

const DID: &str = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";
const EVENT: &str = "community.lexicon.calendar.event/3n2uyhpluwr2l";

#[track_caller]
fn check(frame: &[u8], policy: &Policy, in_scope: bool, expected: Verdict) {
    assert_eq!(judge(&outline(frame).unwrap(), policy, |_| in_scope).unwrap(), expected);
}

#[test]
fn commits_are_judged_by_collection_then_by_account() {
    let event = frame("#commit", "repo", DID, &["app.bsky.feed.like/x", EVENT]);
    let like = frame("#commit", "repo", DID, &["app.bsky.feed.like/x"]);
    let prefixed = frame("#commit", "repo", DID, &["org.example.thing/x"]);
    let open = policy(DidRule::Network, &[], &[]);
    check(&event, &open, false, Verdict::Keep);
    check(&prefixed, &open, false, Verdict::Keep);
    check(&like, &open, false, Verdict::Drop(DropReason::Collection));
    check(&like, &open, true, Verdict::Chain);
    check(&event, &policy(DidRule::Network, &[], &[DID]), true, Verdict::Drop(DropReason::Denied));
    check(&event, &policy(DidRule::Allowlist, &[], &[]), true, Verdict::Drop(DropReason::NotAllowed));
    check(&event, &policy(DidRule::Allowlist, &[DID], &[]), false, Verdict::Keep);
    check(&event, &policy(DidRule::Allowlist, &[DID], &[DID]), false, Verdict::Drop(DropReason::Denied));
}

#[test]
fn account_words_pass_for_accounts_in_scope_and_wait_for_others() {
    let open = policy(DidRule::Network, &[], &[]);
    for kind in ["#account", "#identity"] {
        let frame = frame(kind, "did", DID, &[]);
        check(&frame, &open, true, Verdict::Keep);
        check(&frame, &open, false, Verdict::Bystander);
        check(&frame, &policy(DidRule::Network, &[DID], &[]), false, Verdict::Keep);
        check(&frame, &policy(DidRule::Allowlist, &[], &[]), false, Verdict::Drop(DropReason::NotAllowed));
    }
    let sync = frame("#sync", "did", DID, &[]);
    check(&sync, &open, true, Verdict::Keep);
    check(&sync, &open, false, Verdict::Drop(DropReason::OutOfScope));
    check(&frame("#novelty", "did", DID, &[]), &open, true, Verdict::Drop(DropReason::UnknownKind));
}

#[test]
fn collections_are_names_or_prefixes() {
    let set = CollectionSet::parse(["a.b.c", "org.example.*"]).unwrap();
    assert!(set.contains("a.b.c") && set.contains("org.example.x") && set.contains("org.example.x.y"));
    assert!(!set.contains("a.b.cc") && !set.contains("org.examples.x") && !set.contains("org.example"));
    for bad in ["*", "calendar", "a.b.c*", "a b.c.d", ""] {
        assert!(CollectionSet::parse([bad]).is_err(), "{bad}");
    }
}

#[test]
fn lists_name_the_line_that_is_wrong() {
    let list = Policy::parse_list("# ours\ndid:plc:abc # anna\n\n did:web:example.org\n").unwrap();
    assert_eq!(list.len(), 2);
    let wrong = Policy::parse_list("did:plc:abc\nanna.example.org").unwrap_err();
    assert_eq!(wrong, PolicyError::List { line: 2, text: "anna.example.org".into() });
}
