use std::collections::HashMap;
use std::sync::Arc;

use super::*;
use crate::decode::outline;
use crate::event::{Decision, Did, Environment, Origin, OriginRule, Standing};

fn policy(dids: DidRule, allowed: &[&str], denied: &[&str]) -> Policy {
    let collections = CollectionSet::parse(["community.lexicon.calendar.event", "org.example.*"]).unwrap();
    Policy {
        allowed: Arc::new(allowed.iter().collect()),
        denied: Arc::new(denied.iter().collect()),
        ..Policy::new(Environment::parse("production").unwrap(), collections, dids)
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
fn commits_are_judged_by_collection() {
    let event = frame("#commit", "repo", DID, &["app.bsky.feed.like/x", EVENT]);
    let like = frame("#commit", "repo", DID, &["app.bsky.feed.like/x"]);
    let prefixed = frame("#commit", "repo", DID, &["org.example.thing/x"]);
    let open = policy(DidRule::Network, &[], &[]);
    check(&event, &open, false, Verdict::Keep);
    check(&prefixed, &open, false, Verdict::Keep);
    check(&like, &open, false, Verdict::Drop(DropReason::Collection));
    check(&like, &open, true, Verdict::Chain);
    // Who may not enter is asked later: what is refused then is not dropped but kept in quarantine.
    check(&event, &policy(DidRule::Network, &[], &[DID]), true, Verdict::Keep);
    check(&event, &policy(DidRule::Allowlist, &[], &[]), false, Verdict::Keep);
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
fn a_path_is_covered_when_its_collection_is_followed() {
    let set = CollectionSet::parse(["a.b.c", "org.example.calendar", "org.example.*"]).unwrap();
    let collections = ["a.b.c", "a.b.cc", "a.b", "org.example.x", "org.examples.x", "org.example", "org", "é.b.c", ""];
    for collection in collections {
        for rkey in ["", "/", "/3k", "/a.b.c", "/org.example.x", "//"] {
            let path = format!("{collection}{rkey}");
            assert_eq!(set.covers(&path), set.contains(collection), "{path}");
        }
    }
}

#[test]
fn lists_name_the_line_that_is_wrong() {
    let list = Policy::parse_list(&[], "# ours\ndid:plc:abc # anna\n\n did:web:example.org\n").unwrap();
    assert_eq!(list.len(), 2);
    let wrong = Policy::parse_list(&[], "did:plc:abc\nanna.example.org").unwrap_err();
    assert_eq!(wrong, PolicyError::List { line: 2, text: "anna.example.org".into() });
}

const OURS: &str = "https://pds.example.org";
const ELSEWHERE: &str = "https://pds.elsewhere.net";

/// One row of the table of rules: what is different from an account of the network that nobody lists, and the verdict.
struct Row<'a> {
    facts: Facts<'a>,
    policy: Policy,
}

fn environment(name: &str) -> Environment {
    Environment::parse(name).unwrap()
}

fn row<'a>(dids: DidRule) -> Row<'a> {
    let places = Places::parse(
        ["pds.example.org=production", "*.dev.example.org=dev", "relay.dev.example.org=dev"],
        [".dev-users.example.org=dev", ".example.org=production"],
    );
    let identity = Identity::Found { pds: Some(ELSEWHERE), handle: Some("anna.elsewhere.net") };
    Row {
        facts: Facts { did: DID, declared: None, through_pds: None, identity, before: None },
        policy: Policy { places: Arc::new(places.unwrap()), ..policy(dids, &[], &[]) },
    }
}

impl<'a> Row<'a> {
    fn at(mut self, pds: &'a str, handle: &'a str) -> Self {
        self.facts.identity = Identity::Found { pds: Some(pds), handle: Some(handle) };
        self
    }

    fn identity(mut self, identity: Identity<'a>) -> Self {
        self.facts.identity = identity;
        self
    }

    fn through(mut self, host: &'a str) -> Self {
        self.facts.through_pds = Some(host);
        self
    }

    fn denied(mut self) -> Self {
        self.policy.denied = Arc::new([DID].iter().collect());
        self
    }

    fn allowed(mut self) -> Self {
        self.policy.allowed = Arc::new([DID].iter().collect());
        self
    }

    /// One of our users, known to live there.
    fn own(mut self, pds: &str) -> Self {
        self.policy.own = Arc::new(HashMap::from([(Did::parse(DID).unwrap(), pds.into())]));
        self
    }

    #[track_caller]
    fn is(&self, rule: OriginRule, standing: Standing) {
        assert_eq!(decide(&self.facts, &self.policy), Decision { standing, rule });
    }

    #[track_caller]
    fn refused(&self, rule: OriginRule, refusal: Refusal) {
        self.is(rule, Standing::Refused(refusal));
    }

    #[track_caller]
    fn kept(&self, rule: OriginRule, origin: Origin) {
        self.is(rule, Standing::Kept(origin));
    }
}

#[test]
fn rule_1_what_came_through_another_environment_is_foreign() {
    let (dev, own) = (environment("dev"), environment("production"));
    // Whatever else is true of it.
    let mut listed = row(DidRule::Network).own(OURS).allowed().at(OURS, "anna.example.org");
    listed.facts.declared = Some(&dev);
    listed.refused(OriginRule::DeclaredElsewhere, Refusal::Foreign);
    listed.facts.declared = Some(&own);
    listed.kept(OriginRule::OwnAccount, Origin::Own);
}

#[test]
fn rule_2_a_pds_speaks_for_those_who_live_there() {
    let there = |through| row(DidRule::Network).at(OURS, "anna.example.org").through(through);
    there("pds.other.net").refused(OriginRule::WrongHost, Refusal::WrongHost);
    there("pds.other.net").denied().refused(OriginRule::WrongHost, Refusal::WrongHost);
    there("pds.example.org").kept(OriginRule::OwnHostStranger, Origin::OwnHostStranger);
    row(DidRule::Network)
        .identity(Identity::Found { pds: None, handle: None })
        .through("pds.example.org")
        .refused(OriginRule::WrongHost, Refusal::WrongHost);
}

#[test]
fn rule_3_who_is_denied_stays_outside() {
    row(DidRule::Network).denied().refused(OriginRule::DenyList, Refusal::Denied);
    row(DidRule::Network).denied().allowed().own(ELSEWHERE).refused(OriginRule::DenyList, Refusal::Denied);
    row(DidRule::Network).denied().identity(Identity::Missing).refused(OriginRule::DenyList, Refusal::Denied);
    row(DidRule::Network).denied().identity(Identity::Unreachable).refused(OriginRule::DenyList, Refusal::Denied);
    let mut entered = row(DidRule::Network).allowed();
    entered.policy.entries = Arc::new(HashMap::from([(Did::parse(DID).unwrap(), false)]));
    entered.refused(OriginRule::DenyList, Refusal::Denied);
}

#[test]
fn rule_4_whom_our_directory_does_not_know_is_unknown() {
    let missing = || row(DidRule::Network).identity(Identity::Missing);
    missing().refused(OriginRule::NoIdentity, Refusal::Unknown);
    missing().allowed().own(ELSEWHERE).refused(OriginRule::NoIdentity, Refusal::Unknown);
    let mut before = missing();
    let kept = Decision { standing: Standing::Kept(Origin::Network), rule: OriginRule::NetworkMode };
    before.facts.before = Some(kept);
    before.refused(OriginRule::NoIdentity, Refusal::Unknown);
}

#[test]
fn rule_5_who_cannot_be_looked_up_waits_or_stays_what_it_was() {
    let down = |before: Option<Standing>| {
        let mut row = row(DidRule::Network).allowed().identity(Identity::Unreachable);
        row.facts.before = before.map(|standing| Decision { standing, rule: OriginRule::NetworkMode });
        row
    };
    down(None).is(OriginRule::Unreachable, Standing::Held);
    down(Some(Standing::Held)).is(OriginRule::Unreachable, Standing::Held);
    down(Some(Standing::Moved)).is(OriginRule::Unreachable, Standing::Held);
    for standing in [Standing::Kept(Origin::Own), Standing::Refused(Refusal::Foreign)] {
        down(Some(standing)).is(OriginRule::Unreachable, standing);
    }
}

#[test]
fn rule_6_hosts_and_handles_of_other_environments_are_foreign() {
    let at = |pds, handle| row(DidRule::Network).allowed().own(ELSEWHERE).at(pds, handle);
    at("https://pds.dev.example.org", "anna.elsewhere.net").refused(OriginRule::ForeignPlace, Refusal::Foreign);
    at(ELSEWHERE, "anna.dev-users.example.org").refused(OriginRule::ForeignPlace, Refusal::Foreign);
    at(ELSEWHERE, "anna.example.org").kept(OriginRule::OwnAccount, Origin::Own);
}

#[test]
fn rule_7_our_users_are_own_where_we_know_them_to_be() {
    row(DidRule::Allowlist).own(ELSEWHERE).kept(OriginRule::OwnAccount, Origin::Own);
    row(DidRule::Allowlist).own(ELSEWHERE).at(OURS, "a.example.org").kept(OriginRule::OwnAccount, Origin::Own);
    // Where nobody is asked, the table is all there is.
    row(DidRule::Network).own(OURS).identity(Identity::NotAsked).kept(OriginRule::OwnAccount, Origin::Own);
}

#[test]
fn rule_8_our_users_elsewhere_wait_until_that_is_verified() {
    row(DidRule::Network).own(OURS).is(OriginRule::OwnMoved, Standing::Moved);
    row(DidRule::Allowlist).own(OURS).allowed().is(OriginRule::OwnMoved, Standing::Moved);
    row(DidRule::Network)
        .own(OURS)
        .identity(Identity::Found { pds: None, handle: None })
        .is(OriginRule::OwnMoved, Standing::Moved);
}

#[test]
fn rule_9_strangers_on_our_host_are_kept_only_where_everybody_is() {
    let stranger = |dids| row(dids).at(OURS, "anna.example.org");
    stranger(DidRule::Network).kept(OriginRule::OwnHostStranger, Origin::OwnHostStranger);
    stranger(DidRule::Network).allowed().kept(OriginRule::OwnHostStranger, Origin::OwnHostStranger);
    stranger(DidRule::Allowlist).refused(OriginRule::OwnHostStranger, Refusal::OwnHostStranger);
    // Whoever lists an account of a host of ours means it.
    stranger(DidRule::Allowlist).allowed().kept(OriginRule::AllowList, Origin::Network);
}

#[test]
fn rule_10_who_is_listed_enters() {
    row(DidRule::Allowlist).allowed().kept(OriginRule::AllowList, Origin::Network);
    row(DidRule::Network).allowed().kept(OriginRule::AllowList, Origin::Network);
    let mut entered = row(DidRule::Allowlist);
    entered.policy.entries = Arc::new(HashMap::from([(Did::parse(DID).unwrap(), true)]));
    entered.kept(OriginRule::AllowList, Origin::Network);
}

#[test]
fn rule_11_everybody_enters_where_the_network_is_indexed() {
    row(DidRule::Network).kept(OriginRule::NetworkMode, Origin::Network);
    row(DidRule::Network).identity(Identity::NotAsked).kept(OriginRule::NetworkMode, Origin::Network);
}

#[test]
fn rule_12_nobody_else_enters_where_only_the_listed_do() {
    row(DidRule::Allowlist).refused(OriginRule::AllowlistMode, Refusal::NotAllowed);
    row(DidRule::Allowlist).identity(Identity::NotAsked).refused(OriginRule::AllowlistMode, Refusal::NotAllowed);
}
