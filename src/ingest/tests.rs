//! Judging without a database: what becomes of frames and findings, and what is remembered.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::oneshot;

mod ahead;
mod quarantine;

use super::*;
use crate::devnet::keys::{Curve, KeyForm, SigningKey};
use crate::devnet::{Account, Commit, Repo, Tid, Write, cbor, frames};
use crate::event::{
    AccountStatus, Body, Delivery, Did, DidDocument, Environment, Handle, Observed, Rev, Upstream, UpstreamKind,
    Verification,
};
use crate::filter::{CollectionSet, DidRule, DropReason, Policy};
use crate::source::backfill::Reason as JobReason;

const EVENT: &str = "community.lexicon.calendar.event";
const POST: &str = "app.bsky.feed.post";

fn policy() -> Policy {
    let environment = Environment::parse("test").unwrap();
    Policy::new(environment, CollectionSet::parse([EVENT]).unwrap(), DidRule::Network)
}

/// An account with its repository, and a clock.
struct Author {
    account: Account,
    repo: Repo,
    micros: i64,
    seq: i64,
}

impl Author {
    fn new(name: &str) -> Self {
        let key = SigningKey::from_entropy(Curve::K256, [name.len() as u8 + 1; 32]);
        let did = format!("did:plc:{name}");
        let account = Account {
            did: did.clone(),
            handle: format!("{name}.test"),
            pds: "https://pds.example.org".into(),
            key: key.clone(),
            key_form: KeyForm::Multikey,
        };
        Author { account, repo: Repo::new(did, key), micros: 1_760_000_000_000_000, seq: 0 }
    }

    fn did(&self) -> Did {
        Did::parse(&self.account.did).unwrap()
    }

    fn stamp(&mut self) -> frames::Stamp<'_> {
        self.seq += 1;
        frames::Stamp { seq: self.seq, did: &self.account.did, micros: self.micros }
    }

    fn commit(&mut self, writes: &[Write]) -> Commit {
        self.micros += 1_000_000;
        self.repo.apply(writes, Tid::new(self.micros as u64, 1)).unwrap()
    }

    fn frame(&mut self, commit: &Commit) -> Vec<u8> {
        frames::commit(self.stamp(), commit)
    }

    /// Makes a record and returns the frame that tells it.
    fn create(&mut self, collection: &str, rkey: &str) -> Vec<u8> {
        let commit = self.commit(&[create(collection, rkey)]);
        self.frame(&commit)
    }

    fn document(&self) -> Arc<DidDocument> {
        Arc::new(DidDocument::from_json(&self.did(), &self.account.did_document()).unwrap())
    }

    fn identity(&self) -> Finding {
        let handle = FoundHandle::Leads(Handle::parse(&self.account.handle).unwrap());
        Finding::Identity { document: self.document(), handle, time: Utc::now() }
    }

    fn rev(&self) -> Rev {
        Rev::parse(&self.repo.head().unwrap().rev.to_string()).unwrap()
    }
}

fn create(collection: &str, rkey: &str) -> Write {
    let record = cbor::Value::map([("$type", cbor::Value::text(collection)), ("name", cbor::Value::text(rkey))]);
    Write::Create { path: format!("{collection}/{rkey}"), record: record.encode() }
}

fn upstream(kind: UpstreamKind, name: &str) -> Arc<Upstream> {
    Arc::new(Upstream::new(kind, name))
}

/// A judge with a batch that collects everything.
struct Bench {
    judge: Judge,
    batch: Batch,
    policy: Policy,
    relay: Arc<Upstream>,
}

impl Bench {
    fn new() -> Self {
        Self::trusting(Trust::Resolved)
    }

    fn trusting(trust: Trust) -> Self {
        let judge = Judge::new((KnownRepos::new(), Holding::default()), trust, Arc::default(), None);
        let relay = upstream(UpstreamKind::Relay, "relay.example.org");
        Bench { judge, batch: Batch::default(), policy: policy(), relay }
    }

    fn see(&mut self, frame: Vec<u8>) {
        let relay = self.relay.clone();
        self.see_through(&relay, frame);
    }

    fn see_through(&mut self, upstream: &Arc<Upstream>, frame: Vec<u8>) {
        let delivery = Delivery { upstream: upstream.clone(), seen_at: Utc::now(), live: true, frame: frame.into() };
        self.judge.judge(&self.policy, &delivery, &mut self.batch);
    }

    fn find(&mut self, finding: Finding) {
        self.judge.find(&self.policy, finding, Utc::now(), &mut self.batch);
    }

    /// Tells who the author is and lets go what waits for it.
    fn identify(&mut self, author: &Author) {
        self.find(author.identity());
        self.let_go(author);
    }

    fn let_go(&mut self, author: &Author) {
        let did = author.did();
        let frames = self.batch.held.iter().filter(|held| held.1 == did).map(|held| (held.0, held.2.clone())).collect();
        self.batch.held.retain(|held| held.1 != did);
        self.find(Finding::Held { did, frames });
    }

    fn known(&self, author: &Author) -> &Known {
        &self.judge.known[&author.did()]
    }

    fn puts(&self) -> Vec<(String, Verification)> {
        let put = |observed: &'_ Observed| match &observed.event.body {
            Body::Put { rkey, .. } => Some((rkey.to_string(), observed.verification)),
            _ => None,
        };
        self.batch.events.iter().filter_map(put).collect()
    }

    fn jobs(&self) -> Vec<JobReason> {
        self.batch.jobs.iter().map(|(_, reason)| *reason).collect()
    }

    fn refused(&self) -> Vec<&'static str> {
        self.judge.tally.refused_by_reason().keys().map(|reason| reason.as_str()).collect()
    }

    fn quarantined(&self) -> Vec<&'static str> {
        self.batch.quarantined.iter().map(|refused| refused.reason).collect()
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.judge.tally.dropped_by_reason().find(|(r, _)| *r == reason).unwrap().1
    }

    fn complete(&mut self, author: &Author, rev: Rev) {
        self.complete_asked(author, rev, Utc::now());
    }

    fn complete_asked(&mut self, author: &Author, rev: Rev, asked_at: DateTime<Utc>) {
        let data = author.repo.head().unwrap().data;
        self.find(Finding::Complete {
            did: author.did(),
            rev,
            data: Some(data),
            upstream: upstream(UpstreamKind::Pds, "pds.example.org"),
            verification: Verification::Snapshot,
            gone: vec![],
            asked_at,
            stored: oneshot::channel().0,
        });
    }
}

#[test]
fn a_frame_waits_for_its_key_and_is_kept_once_it_is_known() {
    let (mut anna, mut bench) = (Author::new("anna"), Bench::new());
    bench.see(anna.create(EVENT, "one"));
    bench.see(anna.create(EVENT, "two"));
    assert_eq!(bench.puts(), []);
    assert_eq!((bench.batch.held.len(), bench.batch.asks.len()), (2, 1));
    // Fetched before they are let go they would not be live any more.
    assert_eq!(bench.jobs(), []);
    bench.identify(&anna);
    assert_eq!(bench.jobs(), [JobReason::NewAccount]);
    assert_eq!(bench.puts(), [("one".into(), Verification::Full), ("two".into(), Verification::Full)]);
    assert_eq!(bench.known(&anna).waiting, None);
    // Its first commit says itself that nothing was before it.
    assert_eq!(bench.known(&anna).state, RepoState::Synced);
    bench.see(anna.create(EVENT, "three"));
    assert_eq!(bench.puts().len(), 3);
}

#[test]
fn a_frame_that_is_not_written_yet_is_not_forgotten() {
    let (mut anna, mut bench) = (Author::new("anna"), Bench::new());
    bench.see(anna.create(EVENT, "one"));
    // Who looks reads what waits before the batch with the frame is written.
    bench.find(anna.identity());
    bench.find(Finding::Held { did: anna.did(), frames: vec![] });
    assert!(bench.known(&anna).waiting.is_some_and(|waiting| waiting.last > waiting.through));
    assert!(bench.known(&anna).asked, "nobody looks again");
    bench.let_go(&anna);
    assert_eq!(bench.puts().len(), 1);
    assert!(bench.known(&anna).waiting.is_none());
}

#[test]
fn what_comes_while_frames_are_let_go_waits_behind_them() {
    let (mut anna, mut bench) = (Author::new("anna"), Bench::new());
    bench.see(anna.create(EVENT, "one"));
    bench.find(anna.identity());
    // Its key is known now, but the frame before it is still on disk.
    bench.see(anna.create(EVENT, "two"));
    assert_eq!(bench.puts(), []);
    let first = bench.batch.held.remove(0);
    bench.find(Finding::Held { did: anna.did(), frames: vec![(first.0, first.2)] });
    assert_eq!(bench.puts().len(), 1);
    assert!(bench.known(&anna).waiting.is_some());
    // So it is asked for once more.
    assert_eq!(bench.batch.asks.len(), 2);
    bench.identify(&anna);
    assert_eq!(bench.puts().len(), 2);
    assert_eq!(bench.jobs(), [JobReason::NewAccount]);
}

#[test]
fn a_missing_revision_is_a_gap_until_a_snapshot_reaches_past_it() {
    let (mut anna, mut bench) = (Author::new("anna"), Bench::new());
    bench.see(anna.create(EVENT, "one"));
    bench.identify(&anna);
    let before = anna.rev();
    let _lost = anna.create(EVENT, "lost");
    bench.see(anna.create(EVENT, "three"));
    let gap = anna.rev();
    // It is signed and true, whatever came before it.
    assert_eq!(bench.puts().len(), 2);
    assert_eq!((bench.known(&anna).state, bench.known(&anna).gap), (RepoState::Desynchronized, Some(gap)));
    assert_eq!(bench.jobs(), [JobReason::NewAccount, JobReason::Desynchronized]);
    // What follows it chains again and closes nothing.
    bench.see(anna.create(EVENT, "four"));
    assert_eq!(bench.known(&anna).state, RepoState::Desynchronized);
    assert_eq!(bench.jobs().len(), 2);
    // A host that lags behind does not close it either.
    bench.complete(&anna, before);
    assert_eq!(bench.known(&anna).state, RepoState::Desynchronized);
    assert_eq!(bench.jobs().len(), 3);
    bench.complete(&anna, anna.rev());
    assert_eq!((bench.known(&anna).state, bench.known(&anna).gap), (RepoState::Synced, None));
}

#[test]
fn an_account_seen_in_mid_life_is_partial_until_its_past_is_fetched() {
    let (mut anna, mut bench) = (Author::new("anna"), Bench::new());
    let _before = anna.create(EVENT, "before");
    bench.see(anna.create(EVENT, "one"));
    bench.identify(&anna);
    assert_eq!(bench.puts().len(), 1);
    assert_eq!(bench.known(&anna).state, RepoState::Partial);
    bench.complete(&anna, anna.rev());
    assert_eq!(bench.known(&anna).state, RepoState::Synced);
}

#[test]
fn other_collections_move_the_head_and_nothing_else() {
    let (mut anna, mut bench) = (Author::new("anna"), Bench::new());
    bench.see(anna.create(EVENT, "one"));
    bench.identify(&anna);
    bench.see(anna.create(POST, "post"));
    assert_eq!(bench.puts().len(), 1);
    assert_eq!(bench.known(&anna).head.unwrap().0, anna.rev());
    bench.see(anna.create(EVENT, "two"));
    assert_eq!(bench.known(&anna).state, RepoState::Synced);
}

#[test]
fn the_same_commit_through_two_upstreams_counts_once() {
    let (mut anna, mut bench) = (Author::new("anna"), Bench::new());
    let frame = anna.create(EVENT, "one");
    bench.see(frame.clone());
    bench.identify(&anna);
    bench.see_through(&upstream(UpstreamKind::Pds, "pds.example.org"), frame);
    assert_eq!((bench.puts().len(), bench.dropped(DropReason::Duplicate)), (1, 1));
    // Another commit under the same rev, and an older one: neither moves anything.
    let head = bench.known(&anna).head;
    let mut twin = Author::new("anna");
    let other = twin.create(EVENT, "other");
    bench.see(other);
    assert_eq!((bench.puts().len(), bench.dropped(DropReason::Duplicate)), (1, 2));
    assert_eq!(bench.known(&anna).head, head);
}

#[test]
fn a_bad_signature_is_looked_into_once_and_then_refused() {
    let (mut anna, mut bench) = (Author::new("anna"), Bench::new());
    bench.see(anna.create(EVENT, "one"));
    bench.identify(&anna);
    let asked = bench.batch.asks.len();
    // Signed with a key that no document names.
    let mut thief = Author::new("anna");
    thief.repo = Repo::new("did:plc:anna", SigningKey::from_entropy(Curve::K256, [99; 32]));
    thief.micros = anna.micros + 5_000_000;
    bench.see(thief.create(EVENT, "forged"));
    assert_eq!((bench.batch.held.len(), bench.batch.asks.len()), (1, asked + 1));
    bench.identify(&anna);
    assert_eq!(bench.refused(), ["bad_signature"]);
    assert_eq!(bench.puts().len(), 1);
    assert!(bench.known(&anna).waiting.is_none());
}

#[test]
fn a_new_key_is_found_by_looking_again() {
    let (mut anna, mut bench) = (Author::new("anna"), Bench::new());
    bench.see(anna.create(EVENT, "one"));
    bench.identify(&anna);
    let key = SigningKey::from_entropy(Curve::P256, [7; 32]);
    let (tree, rev) = (anna.repo.tree().clone(), anna.repo.head().unwrap().rev);
    anna.repo = Repo::with_past("did:plc:anna", key.clone(), tree, rev);
    anna.account.key = key;
    bench.see(anna.create(EVENT, "two"));
    assert_eq!(bench.puts().len(), 1);
    bench.identify(&anna);
    assert_eq!(bench.puts().len(), 2);
    assert_eq!(bench.known(&anna).state, RepoState::Synced);
}

#[test]
fn a_pds_may_speak_for_its_own_accounts_only() {
    let (mut anna, mut bench) = (Author::new("anna"), Bench::new());
    bench.see(anna.create(EVENT, "one"));
    bench.identify(&anna);
    let (home, stranger) =
        (upstream(UpstreamKind::Pds, "pds.example.org"), upstream(UpstreamKind::Pds, "dev.example.org"));
    let two = anna.create(EVENT, "two");
    bench.see_through(&stranger, two.clone());
    bench.identify(&anna);
    assert_eq!((bench.quarantined(), bench.puts().len()), (vec!["wrong_host"], 1));
    bench.see_through(&home, two);
    assert_eq!(bench.puts().len(), 2);
}

#[test]
fn the_host_that_an_account_left_does_not_hide_it() {
    let (mut anna, mut bench) = (Author::new("anna"), Bench::new());
    bench.see(anna.create(EVENT, "one"));
    bench.identify(&anna);
    let (home, left) = (upstream(UpstreamKind::Pds, "pds.example.org"), upstream(UpstreamKind::Pds, "old.example.org"));
    let (kept, asks) = (bench.batch.events.len(), bench.batch.asks.len());
    let off = frames::account(anna.stamp(), false, Some("deactivated"));
    bench.see_through(&left, off.clone());
    assert_eq!((bench.known(&anna).hosting, bench.batch.events.len()), (None, kept));
    // It may live there again: that is looked up.
    assert_eq!((bench.refused(), bench.batch.asks.len()), (vec!["wrong_host"], asks + 1));
    bench.see_through(&home, off);
    assert!(bench.known(&anna).is_hidden());
}

#[test]
fn a_host_that_answers_shows_an_account_whatever_was_set_aside_about_it() {
    let (mut anna, mut bench) = (Author::new("anna"), Bench::new());
    // Out of scope: the word waits in the database, and is not judged when it enters the log.
    let off = frames::account(anna.stamp(), false, Some("deactivated"));
    bench.see(off);
    assert_eq!(bench.batch.bystanders.len(), 1);
    bench.see(anna.create(EVENT, "one"));
    bench.identify(&anna);
    let words = |bench: &Bench| {
        let active = |o: &Observed| matches!(o.event.body, Body::Account { active: true, .. });
        bench.batch.events.iter().filter(|o| active(o)).count()
    };
    assert_eq!(words(&bench), 0);
    bench.complete(&anna, anna.rev());
    assert_eq!(words(&bench), 1);
    bench.complete(&anna, anna.rev());
    assert_eq!((words(&bench), bench.jobs()), (1, vec![JobReason::NewAccount]), "once, and nothing follows from it");
}

#[test]
fn what_is_said_while_a_repository_is_read_counts_for_more() {
    let (mut anna, mut bench) = (Author::new("anna"), Bench::new());
    bench.see(anna.create(EVENT, "one"));
    bench.identify(&anna);
    let micros = |anna: &Author, more: i64| DateTime::from_timestamp_micros(anna.micros + more).unwrap();
    let off = frames::account(anna.stamp(), false, Some("deactivated"));
    bench.see(off.clone());
    bench.complete_asked(&anna, anna.rev(), micros(&anna, -1));
    assert!(bench.known(&anna).is_hidden());
    bench.complete_asked(&anna, anna.rev(), micros(&anna, 1));
    assert!(!bench.known(&anna).is_hidden());
    // The word may also come after what was read.
    let mut bench = Bench::new();
    bench.see(anna.create(EVENT, "two"));
    bench.identify(&anna);
    bench.complete_asked(&anna, anna.rev(), micros(&anna, -2_000_000));
    bench.see(off);
    assert!(bench.known(&anna).is_hidden());
}

#[test]
fn a_did_that_does_not_exist_gets_nothing_in() {
    let (mut anna, mut bench) = (Author::new("anna"), Bench::new());
    bench.see(anna.create(EVENT, "one"));
    bench.find(Finding::NoIdentity { did: anna.did(), why: "there is no such DID".into() });
    bench.let_go(&anna);
    assert_eq!((bench.quarantined(), bench.puts().len()), (vec!["unknown"], 0));
    assert_eq!(bench.batch.released.len(), 1);
    // The next one is refused at once, and after a while the directory is asked again.
    let asked = bench.batch.asks.len();
    bench.see(anna.create(EVENT, "two"));
    assert_eq!((bench.quarantined().len(), bench.batch.asks.len()), (2, asked));
    bench.judge.known.get_mut(&anna.did()).unwrap().verdict.as_mut().unwrap().1 -= TimeDelta::minutes(11);
    bench.judge.known.get_mut(&anna.did()).unwrap().asked = false;
    bench.see(anna.create(EVENT, "three"));
    assert_eq!((bench.quarantined().len(), bench.batch.asks.len()), (3, asked + 1));
    // Then it is known, and what comes enters; what was missed is fetched.
    bench.identify(&anna);
    bench.see(anna.create(EVENT, "four"));
    assert_eq!(bench.puts().len(), 1);
    assert_eq!(bench.jobs().iter().filter(|job| **job == JobReason::Origin).count(), 1);
}

#[test]
fn an_account_that_the_directory_denies_is_asked_about_until_it_is_back() {
    let (mut anna, mut bench) = (Author::new("anna"), Bench::new());
    bench.see(anna.create(EVENT, "one"));
    bench.identify(&anna);
    bench.batch.asks.clear();
    bench.batch.jobs.clear();
    // What a job was told once is looked into, and hides nobody.
    bench.find(Finding::Doubted { did: anna.did() });
    assert_eq!(bench.batch.asks, [anna.did()]);
    assert!(bench.known(&anna).identity_due && !bench.known(&anna).missing);
    let denied = || Finding::NoIdentity { did: Did::parse("did:plc:anna").unwrap(), why: "there is none".into() };
    bench.find(denied());
    bench.find(denied());
    assert_eq!(bench.jobs(), [], "the job that was told comes again by itself");
    // A repository that was read before that was known is not taken, and whoever read it is told so.
    let acks = bench.batch.acks.len();
    bench.complete(&anna, anna.rev());
    assert_eq!(bench.batch.acks.len(), acks);
    bench.find(anna.identity());
    bench.complete(&anna, anna.rev());
    assert_eq!((bench.batch.acks.len(), bench.jobs()), (acks + 1, vec![JobReason::Origin]));
    bench.find(denied());
    bench.find(denied());
    assert_eq!(bench.jobs()[1..], [JobReason::Coverage], "one goes on asking");
    // Of nobody in scope nothing is looked into.
    bench.find(Finding::Doubted { did: Did::parse("did:plc:nobody").unwrap() });
    assert!(!bench.judge.known.contains_key(&Did::parse("did:plc:nobody").unwrap()));
}

#[test]
fn a_sync_with_another_tree_is_a_gap() {
    let (mut anna, mut bench) = (Author::new("anna"), Bench::new());
    bench.see(anna.create(EVENT, "one"));
    bench.identify(&anna);
    // The same tree at a later revision.
    let commit = anna.commit(&[]);
    let sync = frames::sync(anna.stamp(), &commit.head);
    bench.see(sync);
    assert_eq!(bench.known(&anna).state, RepoState::Synced);
    assert_eq!(bench.known(&anna).head.unwrap().0, anna.rev());
    let commit = anna.commit(&[create(EVENT, "untold")]);
    let sync = frames::sync(anna.stamp(), &commit.head);
    bench.see(sync);
    assert_eq!((bench.known(&anna).state, bench.known(&anna).gap), (RepoState::Desynchronized, Some(anna.rev())));
    assert_eq!(bench.jobs().last(), Some(&JobReason::Desynchronized));
}

#[test]
fn a_stream_says_to_look_again_and_the_directory_says_what_is_there() {
    let (mut anna, mut bench) = (Author::new("anna"), Bench::new());
    bench.see(anna.create(EVENT, "one"));
    bench.identify(&anna);
    let handles = |bench: &Bench| {
        let of = |o: &Observed| match &o.event.body {
            Body::Identity { handle, .. } => Some(handle.as_ref().map_or(String::new(), |h| h.to_string())),
            _ => None,
        };
        bench.batch.events.iter().filter_map(of).collect::<Vec<_>>()
    };
    assert_eq!(handles(&bench), ["anna.test"]);
    let asked = bench.batch.asks.len();
    let claim = frames::identity(anna.stamp(), Some("somebody-famous.test"));
    bench.see(claim);
    assert_eq!((handles(&bench).len(), bench.batch.asks.len()), (1, asked + 1));
    assert!(bench.known(&anna).identity_due);
    bench.find(Finding::Identity { document: anna.document(), handle: FoundHandle::Nowhere, time: Utc::now() });
    assert_eq!(handles(&bench), ["anna.test", "handle.invalid"]);
    assert!(!bench.known(&anna).identity_due);
    // Nothing new, nothing told.
    bench.find(Finding::Identity { document: anna.document(), handle: FoundHandle::Nowhere, time: Utc::now() });
    assert_eq!(handles(&bench).len(), 2);
    // While nobody can say, it stays due.
    bench.find(Finding::Identity { document: anna.document(), handle: FoundHandle::Unsaid, time: Utc::now() });
    assert!(bench.known(&anna).identity_due);
    assert_eq!(handles(&bench).len(), 2);
}

#[test]
fn of_two_who_looked_the_one_who_looked_last_counts() {
    let (mut anna, mut bench) = (Author::new("anna"), Bench::new());
    bench.see(anna.create(EVENT, "one"));
    bench.identify(&anna);
    bench.batch.asks.clear();
    let read_at = Utc::now();
    let (old, before) = (anna.document(), read_at - TimeDelta::microseconds(1));
    anna.account.handle = "other.test".into();
    let leads = |name: &str| FoundHandle::Leads(Handle::parse(name).unwrap());
    let words = |bench: &Bench| {
        let of = |o: &Observed| match &o.event.body {
            Body::Identity { handle: Some(handle), time } => Some((*time, handle.to_string())),
            _ => None,
        };
        bench.batch.events.iter().filter_map(of).collect::<Vec<_>>()
    };
    bench.find(Finding::Identity { document: anna.document(), handle: leads("other.test"), time: read_at });
    // Its old handle leads nowhere any more, and whoever saw that was held up.
    bench.find(Finding::Identity { document: old, handle: FoundHandle::Nowhere, time: before });
    assert_eq!(words(&bench).last().unwrap().1, "other.test");
    assert_eq!(bench.known(&anna).who.as_ref().unwrap().claims.as_ref().unwrap().as_str(), "other.test");
    assert_eq!(bench.batch.asks, []);
    // The same document, and its handle looked at again: the log ranks words by their time.
    bench.find(Finding::Identity { document: anna.document(), handle: FoundHandle::Nowhere, time: read_at });
    bench.find(Finding::Identity { document: anna.document(), handle: leads("other.test"), time: read_at });
    let words = words(&bench);
    assert!(words.is_sorted_by(|a, b| a.0 < b.0) && words.len() == 4, "{words:?}");
    assert_eq!(words.last().unwrap().1, "other.test");
    // What came too late to say where the handle leads is asked again.
    bench.find(Finding::Identity { document: anna.document(), handle: FoundHandle::Unsaid, time: read_at });
    bench.judge.known.get_mut(&anna.did()).unwrap().asked = true;
    bench.batch.asks.clear();
    bench.find(Finding::Identity { document: anna.document(), handle: leads("other.test"), time: before });
    assert_eq!(bench.batch.asks, [anna.did()]);
    // A clock that was put back holds nothing up.
    bench.judge.known.get_mut(&anna.did()).unwrap().who.as_mut().unwrap().read_at += TimeDelta::hours(1);
    bench.find(Finding::Identity { document: anna.document(), handle: FoundHandle::Nowhere, time: Utc::now() });
    assert_eq!(bench.known(&anna).who.as_ref().unwrap().handle, None);
}

#[test]
fn a_hidden_account_that_writes_is_asked_about_and_one_that_returns_is_compared() {
    let (mut anna, mut bench) = (Author::new("anna"), Bench::new());
    bench.see(anna.create(EVENT, "one"));
    bench.identify(&anna);
    anna.micros += 1_000_000;
    let off = frames::account(anna.stamp(), false, Some("deactivated"));
    bench.see(off);
    assert!(bench.known(&anna).is_hidden());
    bench.see(anna.create(EVENT, "two"));
    assert_eq!(bench.jobs().last(), Some(&JobReason::Coverage));
    // The host itself answers for it: what the relay said is stale.
    bench.complete(&anna, anna.rev());
    assert!(!bench.known(&anna).is_hidden());
    let last = &bench.batch.events.last().unwrap().event.body;
    assert!(matches!(last, Body::Account { active: true, status: AccountStatus::Active, .. }), "{last:?}");
    assert_eq!(bench.jobs().last(), Some(&JobReason::Reactivated));
}

#[test]
fn the_latest_word_about_an_account_counts_however_late_an_older_one_comes() {
    let (mut anna, mut bench) = (Author::new("anna"), Bench::new());
    bench.see(anna.create(EVENT, "one"));
    bench.identify(&anna);
    let older = frames::account(anna.stamp(), true, None);
    anna.micros += 1_000_000;
    bench.see(frames::account(anna.stamp(), false, Some("takendown")));
    bench.see(older);
    assert!(bench.known(&anna).is_hidden());
    assert_eq!(bench.jobs(), [JobReason::NewAccount]);
}

#[test]
fn whoever_returns_from_deletion_is_fetched_anew() {
    let (mut anna, mut bench) = (Author::new("anna"), Bench::new());
    bench.see(anna.create(EVENT, "one"));
    bench.identify(&anna);
    for (active, status) in [(false, Some("deleted")), (true, None)] {
        anna.micros += 1_000_000;
        bench.see(frames::account(anna.stamp(), active, status));
    }
    // Its records may be purged: that its host shows the revision that was known proves nothing.
    assert_eq!((bench.known(&anna).head, bench.known(&anna).state), (None, RepoState::Partial));
    assert_eq!(bench.jobs().last(), Some(&JobReason::Reactivated));
}

#[test]
fn a_cursor_is_moved_by_what_is_live_and_never_back() {
    let (mut anna, mut bench) = (Author::new("anna"), Bench::new());
    let marks = |bench: &Bench| bench.batch.cursor_marks().iter().map(|mark| mark.seq).collect::<Vec<_>>();
    let first = anna.create(EVENT, "one");
    bench.see(first.clone());
    bench.see(anna.create(EVENT, "two"));
    // Both frames wait for a key, in the same transaction.
    assert_eq!((marks(&bench), bench.batch.held.len()), (vec![2], 2));
    bench.see(first);
    assert_eq!(marks(&bench), [2], "a frame that came again");
    let frame = anna.create(EVENT, "three").into();
    let replayed = Delivery { upstream: bench.relay.clone(), seen_at: Utc::now(), live: false, frame };
    bench.judge.judge(&bench.policy, &replayed, &mut bench.batch);
    assert_eq!(marks(&bench), [2], "a frame of a dump says nothing about the stream");
}

#[test]
fn a_frame_from_the_future_is_refused() {
    let (mut anna, mut bench) = (Author::new("anna"), Bench::new());
    bench.see(anna.create(EVENT, "one"));
    bench.identify(&anna);
    anna.micros = (Utc::now() + TimeDelta::minutes(6)).timestamp_micros();
    bench.see(anna.create(EVENT, "late"));
    assert_eq!((bench.refused(), bench.puts().len()), (vec!["future_rev"], 1));
}

#[test]
fn given_documents_are_a_closed_world() {
    let (mut anna, mut ben) = (Author::new("anna"), Author::new("benjamin"));
    let document = DidDocument::clone(&anna.document());
    let mut bench = Bench::trusting(Trust::given(crate::decode::Level::Full, [document]));
    bench.see(anna.create(EVENT, "one"));
    bench.see(ben.create(EVENT, "two"));
    assert_eq!((bench.puts().len(), bench.refused()), (1, vec!["no_key"]));
    assert!(bench.batch.held.is_empty() && bench.batch.asks.is_empty() && bench.batch.jobs.is_empty());
}

#[test]
fn more_than_may_wait_is_fetched_instead() {
    let (mut anna, mut bench) = (Author::new("anna"), Bench::new());
    bench.judge.holding = Holding::full();
    bench.see(anna.create(EVENT, "one"));
    assert_eq!((bench.batch.held.len(), bench.dropped(DropReason::HeldFull)), (0, 1));
    assert_eq!((bench.known(&anna).state, bench.known(&anna).gap), (RepoState::Desynchronized, Some(anna.rev())));
    assert_eq!(bench.jobs().last(), Some(&JobReason::Desynchronized));
}

#[test]
fn found_records_enter_as_a_snapshot_of_one_revision() {
    let (mut anna, mut bench) = (Author::new("anna"), Bench::new());
    let commit = anna.commit(&[create(EVENT, "old"), create(POST, "post")]);
    let record = |rkey: &str, collection: &str, i: usize| FoundRecord {
        collection: crate::event::Nsid::parse(collection).unwrap(),
        rkey: crate::event::Rkey::parse(rkey).unwrap(),
        cid: commit.records[i].0,
        record: commit.records[i].1.clone().into(),
    };
    let time: DateTime<Utc> = Utc::now();
    bench.find(Finding::Records {
        document: anna.document(),
        rev: anna.rev(),
        upstream: upstream(UpstreamKind::Pds, "pds.example.org"),
        verification: Verification::Snapshot,
        records: vec![record("old", EVENT, 0), record("post", POST, 1)],
    });
    bench.complete(&anna, anna.rev());
    assert_eq!(bench.puts(), [("old".into(), Verification::Snapshot)]);
    assert!(bench.batch.events.iter().all(|o| !o.live && o.seq.is_none() && o.seen_at >= time));
    let kinds: Vec<_> = bench.batch.events.iter().map(|o| o.event.body.kind()).collect();
    assert_eq!(kinds, ["put", "snapshot", "account"]);
    assert_eq!(bench.known(&anna).state, RepoState::Synced);
    bench.identify(&anna);
    // Live events chain to it.
    bench.see(anna.create(EVENT, "new"));
    assert_eq!(bench.known(&anna).state, RepoState::Synced);
    assert_eq!(bench.jobs(), [JobReason::NewAccount]);
}
