//! What goes to quarantine, for which reason, and what becomes of it when it is judged again.

use super::*;
use crate::event::{Decision, OriginRule, Standing};
use crate::ingest::quarantine::Rejudged;

impl Bench {
    fn deny(&mut self, author: &Author) {
        self.policy.denied = Arc::new([&author.did()].into_iter().collect());
    }

    /// What was refused last, as whoever asks for it sends it: not live.
    fn taken_out(&self, upstream: &Arc<Upstream>) -> Delivery {
        let frame = self.batch.quarantined.last().unwrap().frame.clone().unwrap();
        Delivery { upstream: upstream.clone(), seen_at: Utc::now(), live: false, frame }
    }

    fn release(&mut self, author: &Author, delivery: Option<Delivery>, asked_at: DateTime<Utc>) -> Rejudged {
        self.find(Finding::Released { id: 7, did: author.did(), delivery, asked_at });
        let (id, outcome) = self.batch.rejudged.pop().unwrap();
        assert_eq!(id, 7);
        outcome
    }
}

#[track_caller]
fn refused(outcome: Rejudged, words: &[&str]) {
    let Rejudged::Refused(why) = outcome else { panic!("{outcome:?}") };
    assert!(words.iter().all(|word| why.contains(word)), "{why}");
}

/// The frame with some of its bytes exchanged for as many others.
fn patched(mut frame: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = frame.windows(from.len()).position(|bytes| bytes == from).expect("they are in the frame");
    frame[at..at + to.len()].copy_from_slice(to);
    frame
}

#[test]
fn a_reason_is_one_series() {
    let mut reasons: Vec<_> = crate::ingest::quarantine_reasons().collect();
    let count = reasons.len();
    reasons.sort_unstable();
    reasons.dedup();
    assert_eq!(reasons.len(), count);
}

#[test]
fn what_cannot_be_read_is_known_by_what_its_operations_name() {
    let (mut anna, mut bench) = (Author::new("anna"), Bench::new());
    let frame = anna.create(EVENT, "one");
    bench.see(patched(frame, b"\x66create", b"\x66creato"));
    let entry = &bench.batch.quarantined[0];
    assert_eq!((entry.reason, entry.rule, entry.paths.len()), ("op_shape", None, 1));
    assert_eq!(entry.paths[0], format!("{EVENT}/one"));
    assert!(entry.rev.is_some() && entry.frame.is_some());
    // Behind one that cannot be read stands one that is followed.
    let commit = anna.commit(&[create(POST, "post"), create(EVENT, "two")]);
    let frame = anna.frame(&commit);
    bench.see(patched(frame, b"\x66create", b"\x66creato"));
    assert!(bench.batch.quarantined[1].paths.contains(&format!("{EVENT}/two")), "{:?}", bench.batch.quarantined[1]);
    // What is not followed is only counted.
    let frame = anna.create(POST, "other");
    bench.see(patched(frame, b"\x66create", b"\x66creato"));
    assert_eq!((bench.batch.quarantined.len(), bench.refused()), (2, vec!["op_shape"]));
}

#[test]
fn texts_of_strangers_are_such_as_the_database_takes() {
    let (mut anna, mut bench) = (Author::new("anna"), Bench::new());
    let frame = anna.create(EVENT, "one");
    bench.see(patched(frame, b".event/one", b".event/\0\ne"));
    let entry = &bench.batch.quarantined[0];
    assert!(entry.paths[0].ends_with("event/\u{fffd}\u{fffd}e"), "{entry:?}");
    let texts = [&*entry.detail, entry.rev.as_deref().unwrap_or_default()];
    assert!(texts.iter().all(|text| !text.contains(char::is_control)), "{texts:?}");
}

#[test]
fn a_released_frame_of_a_pds_is_still_held_against_the_document() {
    let (mut anna, mut bench) = (Author::new("anna"), Bench::new());
    bench.see(anna.create(EVENT, "one"));
    bench.identify(&anna);
    let stranger = upstream(UpstreamKind::Pds, "dev.example.org");
    bench.see_through(&stranger, anna.create(EVENT, "two"));
    bench.identify(&anna);
    let taken = bench.taken_out(&stranger);
    refused(bench.release(&anna, Some(taken.clone()), DateTime::UNIX_EPOCH), &["wrong_host", "rule 2"]);
    assert_eq!((bench.puts().len(), bench.quarantined().len()), (1, 1), "it keeps the row it has");
    // It moved there, and a document that is read after that was asked says so.
    anna.account.pds = "https://dev.example.org".into();
    assert!(matches!(bench.release(&anna, Some(taken.clone()), Utc::now()), Rejudged::Waits(_)));
    bench.identify(&anna);
    assert!(matches!(bench.release(&anna, Some(taken), DateTime::UNIX_EPOCH), Rejudged::Released(_)));
    assert_eq!(bench.puts().len(), 2);
}

#[test]
fn what_is_released_is_proven_like_the_rest_and_never_live() {
    let (mut anna, mut bench) = (Author::new("anna"), Bench::new());
    bench.deny(&anna);
    let relay = bench.relay.clone();
    bench.see(anna.create(EVENT, "one"));
    assert_eq!(bench.quarantined(), ["denied"]);
    let taken = bench.taken_out(&relay);
    let asked = bench.batch.asks.len();
    refused(bench.release(&anna, Some(taken.clone()), Utc::now()), &["denied", "rule 3"]);
    assert_eq!(bench.batch.asks.len(), asked, "nobody is asked about somebody who is denied");
    bench.policy.denied = Arc::default();
    assert!(matches!(bench.release(&anna, Some(taken.clone()), Utc::now()), Rejudged::Waits(_)));
    assert_eq!(bench.batch.asks.len(), asked + 1);
    bench.identify(&anna);
    let (forged, asked_at) =
        (patched(taken.frame.to_vec(), b"\x64name\x63one", b"\x64name\x63two"), DateTime::UNIX_EPOCH);
    let forged = Delivery { frame: forged.into(), ..taken.clone() };
    refused(bench.release(&anna, Some(forged), asked_at), &["hash_mismatch"]);
    assert!(matches!(bench.release(&anna, Some(taken), asked_at), Rejudged::Released(_)));
    assert_eq!(bench.puts(), [("one".into(), Verification::Full)]);
    assert!(bench.batch.events.iter().all(|event| !event.live));
}

#[test]
fn nothing_that_is_not_followed_any_more_is_released() {
    let (mut anna, mut bench) = (Author::new("anna"), Bench::trusting(Trust::Unverified));
    bench.deny(&anna);
    let relay = bench.relay.clone();
    bench.see(anna.create(EVENT, "one"));
    bench.policy.denied = Arc::default();
    bench.policy.collections = CollectionSet::parse([POST]).unwrap();
    let taken = bench.taken_out(&relay);
    refused(bench.release(&anna, Some(taken), Utc::now()), &["followed"]);
}

#[test]
fn the_directory_is_asked_anew_about_whom_it_did_not_know() {
    let (mut anna, mut bench) = (Author::new("anna"), Bench::new());
    bench.see(anna.create(EVENT, "one"));
    let nobody = || Finding::NoIdentity { did: Did::parse("did:plc:anna").unwrap(), why: "there is none".into() };
    bench.find(nobody());
    bench.let_go(&anna);
    bench.batch.asks.clear();
    bench.judge.known.get_mut(&anna.did()).unwrap().asked = false;
    let (relay, asked_at) = (bench.relay.clone(), Utc::now());
    let taken = bench.taken_out(&relay);
    assert!(matches!(bench.release(&anna, Some(taken.clone()), asked_at), Rejudged::Waits(_)));
    assert_eq!(bench.batch.asks, [anna.did()]);
    bench.find(nobody());
    refused(bench.release(&anna, Some(taken.clone()), asked_at), &["unknown", "rule 4"]);
    bench.identify(&anna);
    assert!(matches!(bench.release(&anna, Some(taken), asked_at), Rejudged::Released(_)));
}

#[test]
fn an_account_that_was_only_offered_is_fetched() {
    let (anna, mut bench) = (Author::new("anna"), Bench::new());
    let decision = Decision { standing: Standing::Refused(crate::event::Refusal::Denied), rule: OriginRule::DenyList };
    let upstream = bench.relay.clone();
    bench.find(Finding::Refused { did: anna.did(), decision, upstream, pds: None });
    assert_eq!((bench.quarantined(), bench.batch.quarantined[0].frame.is_none()), (vec!["denied"], true));
    assert!(matches!(bench.release(&anna, None, Utc::now()), Rejudged::Waits(_)));
    bench.identify(&anna);
    assert!(matches!(bench.release(&anna, None, DateTime::UNIX_EPOCH), Rejudged::Released(_)));
    assert_eq!(bench.jobs().last(), Some(&JobReason::Origin));
}

#[test]
fn an_account_whose_frames_are_kept_needs_no_entry_of_its_own() {
    let (mut anna, mut bench) = (Author::new("anna"), Bench::new());
    bench.see(anna.create(EVENT, "one"));
    let unknown = crate::event::Refusal::Unknown;
    let offered = |bench: &Bench| {
        let decision = Decision { standing: Standing::Refused(unknown), rule: OriginRule::NoIdentity };
        Finding::Refused {
            did: Did::parse("did:plc:anna").unwrap(),
            decision,
            upstream: bench.relay.clone(),
            pds: None,
        }
    };
    bench.find(offered(&bench));
    assert_eq!(bench.quarantined(), [""; 0]);
    bench.find(Finding::NoIdentity { did: anna.did(), why: "there is none".into() });
    bench.let_go(&anna);
    bench.find(offered(&bench));
    assert_eq!((bench.quarantined(), bench.batch.quarantined[0].paths.len()), (vec!["unknown"], 1));
}

#[test]
fn a_repository_that_is_read_while_its_account_is_shut_out_is_noted() {
    let (mut anna, mut bench) = (Author::new("anna"), Bench::new());
    anna.create(EVENT, "one");
    bench.deny(&anna);
    bench.find(Finding::Records {
        document: anna.document(),
        rev: anna.rev(),
        upstream: upstream(UpstreamKind::Pds, "pds.example.org"),
        verification: Verification::Snapshot,
        records: vec![],
    });
    assert_eq!(bench.quarantined(), ["denied"]);
}

#[test]
fn another_environments_word_about_an_account_is_none() {
    let (mut anna, mut bench) = (Author::new("anna"), Bench::new());
    bench.see(anna.create(EVENT, "one"));
    bench.identify(&anna);
    let dev = Upstream::new(UpstreamKind::Dump, "dump").declared(Some(Environment::parse("dev").unwrap()));
    let (dev, kept) = (Arc::new(dev), bench.batch.events.len());
    anna.micros += 1_000_000;
    let off = frames::account(anna.stamp(), false, Some("deleted"));
    let claim = frames::identity(anna.stamp(), Some("somebody.test"));
    let asked = bench.batch.asks.len();
    for frame in [off, claim] {
        bench.see_through(&dev, frame);
    }
    assert_eq!((bench.batch.events.len(), bench.batch.asks.len()), (kept, asked));
    assert!(!bench.known(&anna).is_hidden() && bench.batch.bystanders.is_empty());
    assert_eq!(bench.dropped(DropReason::Foreign), 2);
    bench.see_through(&dev, anna.create(EVENT, "two"));
    let entry = bench.batch.quarantined.last().unwrap();
    assert_eq!((entry.reason, entry.rule), ("foreign", Some(OriginRule::DeclaredElsewhere)));
    assert_eq!(entry.declared.as_deref(), Some("dev"));
    let taken = bench.taken_out(&dev);
    refused(bench.release(&anna, Some(taken), Utc::now()), &["foreign", "rule 1"]);
}
