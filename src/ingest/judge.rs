//! Judging deliveries: outline, filter, decode, verify, follow. Pure but for the counters it moves.

use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::decode::{self, Chain, Checks, Commit, Head, Kind, Message, Notice, Op, Outline, PublicKey, Reason, Reject};
use crate::event::{
    AccountStatus, Body, Delivery, Did, Handle, OriginRule, Rev, Seq, Standing, Upstream, Verification,
};
use crate::filter::{self, DropReason, Policy, Verdict};
use crate::source::backfill::Reason as JobReason;
use crate::source::gap::{CursorStep, GapWatch, Resumes};

use super::ahead::Ahead;
use super::batch::Batch;
use super::held::Holding;
use super::known::{Hosting, Known, KnownRepos, RepoState};
use super::quarantine::Space;
use super::sighting::Sighting;
use super::standing::Way;
use super::tally::Tally;
use super::trust::Trust;

/// What resolvers write for a handle that does not lead back to its DID.
pub(super) const NO_HANDLE: &str = "handle.invalid";

/// Which frames of a dump are asked for, by seq.
pub type SeqRange = RangeInclusive<Seq>;

/// A host spoke about the stream.
#[derive(Clone, Debug)]
pub struct HostWord {
    /// Which one.
    pub upstream: Arc<Upstream>,
    /// Whether it ends the stream.
    pub is_error: bool,
    /// What it said.
    pub notice: Notice,
}

/// Whether a frame is judged for the first time, or again after its account's document was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    First,
    /// What does not verify now is refused.
    Again,
}

/// Turns deliveries and findings into batches. Remembers the accounts in scope.
pub struct Judge {
    pub(super) known: KnownRepos,
    pub(super) trust: Trust,
    pub(super) holding: Holding,
    range: Option<SeqRange>,
    gaps: GapWatch,
    pub(super) directory: Box<str>,
    pub(super) space: Arc<Space>,
    pub(super) ahead: Ahead,
    /// What became of everything so far.
    pub tally: Tally,
}

/// The key to check a frame with.
pub(super) enum Key {
    /// Nothing is checked.
    Unneeded,
    This(Arc<PublicKey>),
    /// It has to be looked up first.
    Unknown,
}

impl Judge {
    /// `known`: what was remembered of the accounts in scope, with what waits for them; `resumes`: where the upstreams'
    /// connections are noted; `range`: which frames to look at, all when `None`.
    pub fn new(
        (known, holding): (KnownRepos, Holding),
        trust: Trust,
        resumes: Arc<Resumes>,
        range: Option<SeqRange>,
    ) -> Self {
        let (gaps, directory) = (GapWatch::new(resumes), "directory".into());
        let (space, ahead, tally) = (Arc::default(), Ahead::default(), Tally::default());
        Judge { known, trust, holding, range, gaps, directory, space, ahead, tally }
    }

    /// Bounds what quarantine takes of the disk; without this nothing does.
    pub fn with_space(self, space: &Arc<Space>) -> Self {
        Judge { space: space.clone(), ..self }
    }

    /// Names the directory that documents are read from, for what is remembered of accounts.
    pub fn with_directory(self, directory: &str) -> Self {
        Judge { directory: directory.into(), ..self }
    }

    /// Accounts whose document is to be looked up before anything else: their frames wait, or nobody ever asked. They count
    /// as asked for from here on.
    pub fn unidentified_accounts(&mut self) -> Vec<Did> {
        let due = |known: &Known| known.waiting.is_some() || known.identity_due || known.who.is_none();
        let due = self.known.iter_mut().filter(|(_, known)| due(known));
        due.map(|(did, known)| {
            known.asked = true;
            did.clone()
        })
        .collect()
    }

    /// Judges one delivery and notes in `batch` what is to be written. The host's word, if the frame is one.
    pub fn judge(&mut self, policy: &Policy, delivery: &Delivery, batch: &mut Batch) -> Option<HostWord> {
        self.tally.frame(delivery.frame.len());
        self.ahead.turn();
        let outline = match decode::outline(&delivery.frame) {
            Ok(outline) => outline,
            Err(reject) => {
                self.refuse(policy, delivery, None, &reject, batch);
                return None;
            }
        };
        let (seq, time) = (outline.seq, outline.time);
        let word = self.by_outline(policy, delivery, &outline, Pass::First, batch).unwrap_or_else(|reject| {
            self.refuse(policy, delivery, Some(&outline), &reject, batch);
            None
        });
        if let Some(seq) = seq {
            let heard = self.gaps.frame(delivery, seq, || decode::parse_time(time));
            batch.gaps.extend(heard.gap);
            if heard.cursor == CursorStep::Follow {
                batch.handled(delivery, seq, time);
            }
        }
        if let Some(word) = &word {
            batch.gaps.extend(self.gaps.word(delivery, &word.notice.name, &word.notice.message));
        }
        word
    }

    /// Judges a frame that waited, now that its account's document was read.
    pub(super) fn judge_again(&mut self, policy: &Policy, delivery: &Delivery, batch: &mut Batch) {
        // It was outlined before it was held.
        let Ok(outline) = decode::outline(&delivery.frame) else { return };
        if let Err(reject) = self.by_outline(policy, delivery, &outline, Pass::Again, batch) {
            self.refuse(policy, delivery, Some(&outline), &reject, batch);
        }
    }

    pub(super) fn by_outline(
        &mut self,
        policy: &Policy,
        delivery: &Delivery,
        outline: &Outline<'_>,
        pass: Pass,
        batch: &mut Batch,
    ) -> Result<Option<HostWord>, Reject> {
        if !self.is_asked_for(outline.seq) {
            self.tally.dropped(DropReason::SeqRange);
            return Ok(None);
        }
        let verdict = filter::judge(outline, policy, |did| self.known.contains_key(did))?;
        match verdict {
            Verdict::Drop(reason) => {
                self.tally.dropped(reason);
                return Ok(None);
            }
            Verdict::HostNotice => self.tally.dropped(DropReason::Notice),
            Verdict::Keep | Verdict::Chain | Verdict::Bystander => {}
        }
        let wanted = |collection: &str| verdict == Verdict::Keep && policy.collections.contains(collection);
        let mut decision = self.decide(policy, Some(delivery), outline.did);
        if decision.rule == OriginRule::DeclaredElsewhere && matches!(outline.kind, Kind::Identity | Kind::Account) {
            // Another environment's word about an account is no word about this one's, be it ours too.
            self.tally.dropped(DropReason::Foreign);
            return Ok(None);
        }
        let message = match outline.kind {
            Kind::Commit | Kind::Sync => {
                if self.shuts_out(policy, delivery, outline, decision, pass, batch) {
                    return Ok(None);
                }
                let waits = pass == Pass::First && !matches!(decision.standing, Standing::Kept(_));
                let message = if waits { None } else { self.verified(delivery, outline, pass, verdict, wanted)? };
                match message {
                    Some(message) => message,
                    None => {
                        self.hold(policy, delivery, outline, verdict, batch)?;
                        return Ok(None);
                    }
                }
            }
            _ => decode::decode(&delivery.frame, outline, wanted, &Checks::NONE)?,
        };
        match message {
            Message::Commit(commit) => self.commit(policy, delivery, verdict, commit, batch),
            Message::Sync(sync) => {
                self.enter(policy, &sync.did, delivery.seen_at, batch);
                self.sync(&sync, batch);
                self.tally.kept();
            }
            Message::Identity(identity) => {
                let (handle, time) = (identity.known_handle(), identity.time);
                if verdict == Verdict::Keep && self.trust.asks() && delivery.live {
                    self.enter(policy, &identity.did, delivery.seen_at, batch);
                    self.look_up_again(&identity.did, batch);
                    self.tally.kept();
                } else {
                    let handle = self.believed(&identity.did, handle);
                    let body = Body::Identity { handle, time };
                    self.word_about_account(policy, delivery, outline, verdict, identity.did, body, batch);
                }
            }
            Message::Account(account) => {
                if decision.rule == OriginRule::WrongHost {
                    // Who moves away leaves an account behind that is switched off. Whoever moved here without our knowing
                    // is found by the document, and then the host itself is asked.
                    self.look_up_again(&account.did, batch);
                    return Err(self.wrong_host(delivery, account.did.as_str()));
                }
                let (active, status, time) = (account.active, account.known_status(), account.time);
                let body = Body::Account { active, status, time };
                self.word_about_account(policy, delivery, outline, verdict, account.did.clone(), body, batch);
                decision = self.decide(policy, Some(delivery), account.did.as_str());
                if verdict == Verdict::Keep && decision.standing.is_kept() {
                    let spoken = (time.min(delivery.seen_at + Hosting::AHEAD), account.seq);
                    self.hosting(&account.did, Hosting { spoken, active, status }, batch);
                }
            }
            Message::Info(notice) => return Ok(Some(self.host_word(delivery, false, notice))),
            Message::Error(notice) => return Ok(Some(self.host_word(delivery, true, notice))),
            Message::Unknown => {}
        }
        Ok(None)
    }

    /// The message with as much of it proven as this run asks for; `None` when the frame has to wait for a key.
    fn verified(
        &mut self,
        delivery: &Delivery,
        outline: &Outline<'_>,
        pass: Pass,
        verdict: Verdict,
        wanted: impl Fn(&str) -> bool + Copy,
    ) -> Result<Option<Message>, Reject> {
        if pass == Pass::First && self.known.get(outline.did).is_some_and(|known| known.waiting.is_some()) {
            return Ok(None);
        }
        let key = match self.key(outline.did) {
            Ok(Key::Unneeded) => return decode::decode(&delivery.frame, outline, wanted, &Checks::NONE).map(Some),
            Ok(Key::This(key)) => key,
            Ok(Key::Unknown) => return Ok(None),
            // Another document may put it right.
            Err(_) if pass == Pass::First && self.trust.asks() => return Ok(None),
            Err(reject) => return Err(reject),
        };
        let ahead = if pass == Pass::First { self.ahead.take(&key, verdict) } else { None };
        let verified = ahead.unwrap_or_else(|| {
            let checks = Checks { level: self.trust.level(), key: Some(&key), now: Some(delivery.seen_at) };
            decode::decode(&delivery.frame, outline, wanted, &checks)
        });
        match verified {
            Err(reject) if reject.reason == Reason::BadSignature && pass == Pass::First && self.trust.asks() => {
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    /// Whether a frame with this number is to be looked at.
    pub(super) fn is_asked_for(&self, seq: Option<Seq>) -> bool {
        match (&self.range, seq) {
            (Some(range), Some(seq)) => range.contains(&seq),
            _ => true,
        }
    }

    pub(super) fn key(&self, did: &str) -> Result<Key, Reject> {
        let who = match &self.trust {
            Trust::Unverified => return Ok(Key::Unneeded),
            Trust::Given { who, .. } => {
                let given = who.get(did).ok_or_else(|| {
                    Reject::new(Reason::NoKey, format!("no document of {did} among those that were given"))
                })?;
                let key = given.key.clone().map_err(|why| Reject::new(Reason::BadKey, why))?;
                return Ok(Key::This(key));
            }
            Trust::Resolved => self.known.get(did).and_then(|known| known.who.as_ref()),
        };
        let Some(who) = who else { return Ok(Key::Unknown) };
        match &who.key {
            Some(key) => Ok(Key::This(key.clone())),
            None => Err(Reject::new(Reason::BadKey, "its document has no #atproto key that can be read")),
        }
    }

    /// Puts a frame aside until its account's document was read.
    fn hold(
        &mut self,
        policy: &Policy,
        delivery: &Delivery,
        outline: &Outline<'_>,
        verdict: Verdict,
        batch: &mut Batch,
    ) -> Result<(), Reject> {
        // What is malformed needs no key to be refused.
        let message = decode::decode(&delivery.frame, outline, |_| verdict == Verdict::Keep, &Checks::NONE)?;
        let did = match message {
            Message::Commit(commit) => commit.did,
            Message::Sync(sync) => sync.did,
            _ => return Ok(()),
        };
        // Its past is fetched once its frames were let go: what was fetched before them would not be live any more.
        let is_new = self.admit(&did, batch);
        if is_new {
            self.settle(policy, &did, delivery.seen_at, batch);
        }
        let known = self.known.get_mut(&did).expect("it is in scope since the lines above");
        known.is_new |= is_new;
        if !self.holding.has_room(known.waiting.as_ref(), delivery.frame.len()) {
            // What is lost here is in the repository: fetching that once the key is known brings it back.
            self.tally.dropped(DropReason::HeldFull);
            if let Some(rev) = rev_of(&delivery.frame, outline) {
                known.gap = known.gap.max(Some(rev));
            }
            known.state = RepoState::Desynchronized;
            batch.touched(&did, known);
            self.job(&did, JobReason::Desynchronized, batch);
            return Ok(());
        }
        self.tally.held();
        self.holding.hold(&did, known, delivery, batch);
        self.ask(&did, batch);
        Ok(())
    }

    fn commit(&mut self, policy: &Policy, delivery: &Delivery, verdict: Verdict, commit: Commit, batch: &mut Batch) {
        if verdict == Verdict::Keep {
            self.enter(policy, &commit.did, delivery.seen_at, batch);
        }
        let decision = self.settle(policy, &commit.did, delivery.seen_at, batch);
        let known = self.known.get_mut(&commit.did).expect("kept commits are of accounts in scope");
        if verdict == Verdict::Keep && known.head.is_some_and(|(rev, _)| commit.rev <= rev) {
            // Who brought it first stands in the log.
            let (did, upstream) = (commit.did.clone(), delivery.upstream.clone());
            let (seq, seen_at, live) = (Some(commit.seq), delivery.seen_at, delivery.live);
            batch.sightings.push(Sighting { did, rev: commit.rev, upstream, seq, seen_at, live });
        }
        let mut job = None;
        if self.trust.level() == decode::Level::None {
            known.saw(commit.rev, commit.data);
        } else {
            let last = known.head.map(|(rev, data)| Head { rev, data, cid: None });
            match decode::chain(last.as_ref(), &commit) {
                Chain::Follows => known.head = Some((commit.rev, commit.data)),
                Chain::Anchor if commit.prev_data.is_none() && commit.since.is_none() => {
                    known.head = Some((commit.rev, commit.data));
                    known.state = RepoState::Synced;
                }
                Chain::Anchor => {
                    known.head = Some((commit.rev, commit.data));
                    known.gap = known.gap.max(Some(commit.rev));
                }
                Chain::Gap { .. } => {
                    known.head = Some((commit.rev, commit.data));
                    known.gap = known.gap.max(Some(commit.rev));
                    known.state = RepoState::Desynchronized;
                    job = Some(JobReason::Desynchronized);
                }
                Chain::Duplicate | Chain::Old if delivery.live => {
                    self.tally.dropped(DropReason::Duplicate);
                    return;
                }
                // A dump may hold what the log lost; the log knows what it has.
                Chain::Duplicate | Chain::Old => {}
            }
        }
        if delivery.live && known.is_hidden() {
            // Its host says that it is switched off, and yet it writes: the host itself is asked.
            job = job.or(Some(JobReason::Coverage));
        }
        batch.touched(&commit.did, known);
        if let Some(reason) = job {
            self.job(&commit.did, reason, batch);
        }
        self.tally.kept();
        let Commit { did, rev, ops, seq, cid, .. } = commit;
        let verification = self.trust.verification();
        let (stamp, way) = (self.stamp(did.as_str(), decision), Way::of(delivery, Some(seq)));
        for op in ops {
            batch.keep(stamp.observe(policy, &did, body_of(op, rev), way, verification, Some(cid)));
        }
    }

    fn sync(&mut self, sync: &decode::Sync, batch: &mut Batch) {
        let known = self.known.get_mut(&sync.did).expect("a sync is kept of accounts in scope only");
        if self.trust.level() == decode::Level::None {
            known.saw(sync.rev, sync.data);
            return batch.touched(&sync.did, known);
        }
        match known.head {
            Some((rev, _)) if sync.rev <= rev => return,
            Some((_, data)) if data == sync.data => known.head = Some((sync.rev, data)),
            _ => {
                known.head = Some((sync.rev, sync.data));
                known.gap = known.gap.max(Some(sync.rev));
                known.state = RepoState::Desynchronized;
                batch.touched(&sync.did, known);
                return self.job(&sync.did, JobReason::Desynchronized, batch);
            }
        }
        batch.touched(&sync.did, known);
    }

    /// An `#identity` event says "look again"; what it claims by itself counts for nothing.
    pub(super) fn look_up_again(&mut self, did: &Did, batch: &mut Batch) {
        let known = self.known.get_mut(did).expect("it is in scope");
        known.identity_due = true;
        batch.touched(did, known);
        self.ask(did, batch);
    }

    /// As much of a claimed handle as can be believed without a network.
    fn believed(&self, did: &Did, claimed: Option<Handle>) -> Option<Handle> {
        match &self.trust {
            Trust::Given { who, .. } => {
                let named = who.get(did).and_then(|given| given.document.handle.as_ref());
                claimed.map(|handle| {
                    let agrees = named.is_some_and(|named| named.as_str().eq_ignore_ascii_case(handle.as_str()));
                    if agrees { handle } else { no_handle() }
                })
            }
            Trust::Unverified | Trust::Resolved => claimed,
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn word_about_account(
        &mut self,
        policy: &Policy,
        delivery: &Delivery,
        outline: &Outline<'_>,
        verdict: Verdict,
        did: Did,
        body: Body,
        batch: &mut Batch,
    ) {
        let mut decision = self.decide(policy, Some(delivery), did.as_str());
        if verdict == Verdict::Keep {
            self.enter(policy, &did, delivery.seen_at, batch);
            decision = self.settle(policy, &did, delivery.seen_at, batch);
        }
        let stamp = self.stamp(did.as_str(), decision);
        let observed = stamp.observe(policy, &did, body, Way::of(delivery, outline.seq), Verification::None, None);
        // Of an account that may not enter, or of which nobody knows that yet, its words wait too.
        if verdict == Verdict::Keep && decision.standing.is_kept() {
            self.tally.kept();
            batch.keep(observed);
        } else {
            self.tally.bystander();
            batch.bystanders.push(observed);
        }
    }

    /// Remembers an account's hosting state, unless a later word is known.
    pub(super) fn hosting(&mut self, did: &Did, word: Hosting, batch: &mut Batch) {
        let known = self.known.get_mut(did).expect("it is in scope");
        if known.hosting.is_some_and(|last| last.spoken > word.spoken) {
            return;
        }
        let returns = known.is_hidden() && word.active;
        if returns && known.hosting.is_some_and(|last| last.status == AccountStatus::Deleted) {
            // Its records may have left the log since.
            (known.head, known.state) = (None, RepoState::Partial);
        }
        known.hosting = Some(word);
        batch.touched(did, known);
        if returns {
            // What happened meanwhile, and what was purged, is only in the repository.
            self.job(did, JobReason::Reactivated, batch);
        }
    }

    fn host_word(&mut self, delivery: &Delivery, is_error: bool, notice: Notice) -> HostWord {
        self.tally.notice(&notice.name);
        HostWord { upstream: delivery.upstream.clone(), is_error, notice }
    }

    pub(super) fn enter(&mut self, policy: &Policy, did: &Did, now: DateTime<Utc>, batch: &mut Batch) {
        if self.admit(did, batch) {
            self.settle(policy, did, now, batch);
            self.ask(did, batch);
            self.job(did, JobReason::NewAccount, batch);
        }
    }

    /// Takes an account into scope of which somebody is about to tell who it is. Whether it is new.
    pub(super) fn admit(&mut self, did: &Did, batch: &mut Batch) -> bool {
        let new = !self.known.contains_key(did);
        if new {
            let known = Known::default();
            batch.touched(did, &known);
            self.known.insert(did.clone(), known);
        }
        new
    }

    /// Asks for the account's document, unless that is under way.
    pub(super) fn ask(&mut self, did: &Did, batch: &mut Batch) {
        if !self.trust.asks() {
            return;
        }
        let known = self.known.get_mut(did).expect("it is in scope");
        if !known.asked {
            known.asked = true;
            batch.asks.push(did.clone());
        }
    }

    /// Has the account compared with what its host holds.
    pub(super) fn job(&mut self, did: &Did, reason: JobReason, batch: &mut Batch) {
        if self.trust.asks() {
            batch.jobs.push((did.clone(), reason));
        }
    }
}

pub(super) fn no_handle() -> Handle {
    Handle::parse(NO_HANDLE).expect("it has the syntax of a handle")
}

/// The revision of a frame that was decoded before.
fn rev_of(frame: &Bytes, outline: &Outline<'_>) -> Option<Rev> {
    match decode::decode(frame, outline, |_| false, &Checks::NONE) {
        Ok(Message::Commit(commit)) => Some(commit.rev),
        Ok(Message::Sync(sync)) => Some(sync.rev),
        _ => None,
    }
}

fn body_of(op: Op, rev: Rev) -> Body {
    let Op { collection, rkey, record, .. } = op;
    match record {
        // A copy: the frame is a piece of the buffer that hundreds were read into, and all of it would wait for the log.
        Some(record) => {
            Body::Put { collection, rkey, rev, cid: record.cid, record: Bytes::copy_from_slice(&record.bytes) }
        }
        None => Body::Delete { collection, rkey, rev },
    }
}
