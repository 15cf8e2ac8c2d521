//! What jobs found out, judged: for the same batches as deliveries.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::batch::Batch;
use super::inlet::{Finding, FoundHandle};
use super::judge::{Judge, no_handle};
use super::known::{Hosting, Known, RepoState, Who};
use super::quarantine::Quarantined;
use super::standing::{Stamp, Way, decide_by_document};
use crate::decode::PublicKey;
use crate::event::{
    AccountStatus, Body, Cid, Decision, Did, DidDocument, ListChange, Origin, OriginRule, Rev, Standing, Upstream,
    UpstreamKind, Verification,
};
use crate::filter::Policy;
use crate::source::backfill::Reason as JobReason;

impl Judge {
    /// Judges one finding, made at `now` or shortly before, and notes in `batch` what is to be written.
    pub fn find(&mut self, policy: &Policy, finding: Finding, now: DateTime<Utc>, batch: &mut Batch) {
        match finding {
            Finding::Records { document, rev, upstream, verification, records } => {
                let did = &document.did;
                let decision = decide_by_document(policy, &document);
                // Whoever fetches asks the same before: it changed meanwhile.
                if !decision.standing.is_kept() {
                    let (did, pds) = (did.clone(), document.pds.clone());
                    return self.find(policy, Finding::Refused { did, decision, upstream, pds }, now, batch);
                }
                let stamp = Stamp { decision, pds: document.pds.clone() };
                let followed = records.into_iter().filter(|r| policy.collections.contains(r.collection.as_str()));
                for found in followed {
                    // Whoever reads a repository read the account's document before, and tells it with the end.
                    if self.admit(did, batch) {
                        self.job(did, JobReason::NewAccount, batch);
                        self.settle_as(policy, did, decision, now, batch);
                    }
                    let (collection, rkey, cid, record) = (found.collection, found.rkey, found.cid, found.record);
                    let body = Body::Put { collection, rkey, rev, cid, record };
                    batch.keep(stamp.observe(policy, did, body, Way::found(&upstream, now), verification, None));
                }
            }
            Finding::Complete { did, rev, data, upstream, verification, gone, asked_at, stored } => {
                if self.known.contains_key(&did) {
                    if !self.keeps(policy, did.as_str()) {
                        // Not acknowledged: whoever fetched it learned too late, or not at all, that it may not enter.
                        return;
                    }
                    let stamp = self.stamp(did.as_str(), self.decide(policy, None, did.as_str()));
                    let way = Way::found(&upstream, now);
                    for (collection, rkey) in gone {
                        let body = Body::Delete { collection, rkey, rev };
                        batch.keep(stamp.observe(policy, &did, body, way, verification, None));
                    }
                    batch.keep(stamp.observe(policy, &did, Body::Snapshot { rev }, way, verification, None));
                    self.reached(&did, rev, data, batch);
                    self.shown_by_host(policy, &did, (asked_at, now), &upstream, batch);
                }
                batch.acks.push(stored);
            }
            Finding::Unchanged { did, rev, upstream, asked_at, stored } => {
                batch.acks.push(stored);
                if let Some(known) = self.known.get_mut(&did) {
                    if known.state == RepoState::RolledBack && known.head.is_some_and(|(head, _)| head <= rev) {
                        known.state = RepoState::Synced;
                        batch.touched(&did, known);
                    }
                    self.shown_by_host(policy, &did, (asked_at, now), &upstream, batch);
                }
            }
            Finding::RolledBack { did, stored } => {
                batch.acks.push(stored);
                if let Some(known) = self.known.get_mut(&did) {
                    known.state = RepoState::RolledBack;
                    batch.touched(&did, known);
                }
            }
            Finding::Account { did, active, status, time, upstream } => {
                let Some(known) = self.known.get(&did) else { return };
                let decision = self.decide(policy, None, did.as_str());
                if !decision.standing.is_kept() {
                    return;
                }
                let hosting = Hosting { spoken: (time, 0), active, status };
                // Asking twice gives one word.
                if known.hosting.is_none_or(|last| (last.active, last.status) != (active, status)) {
                    let body = Body::Account { active, status, time };
                    let (stamp, way) = (self.stamp(did.as_str(), decision), Way::found(&upstream, now));
                    batch.keep(stamp.observe(policy, &did, body, way, Verification::None, None));
                    self.hosting(&did, hosting, batch);
                }
            }
            Finding::Identity { document, handle, time } => {
                self.identified(policy, &document, handle, time, now, batch)
            }
            Finding::NoIdentity { did, why } => self.unidentified(policy, &did, &why, now, batch),
            Finding::Doubted { did } => {
                if let Some(known) = self.known.get_mut(&did) {
                    known.doubted = true;
                    self.look_up_again(&did, batch);
                }
            }
            Finding::Refused { did, decision, upstream, pds } => {
                let Standing::Refused(refusal) = decision.standing else { return };
                // Its frames are there, or will be once they are let go: they tell more.
                let told = |known: &Known| known.waiting.is_some() || known.set_aside == Some(refusal);
                if self.known.get(&did).is_some_and(told) {
                    return;
                }
                self.tally.quarantined(refusal.as_str());
                batch.quarantine(Quarantined::account(&did, refusal, decision.rule, &upstream, pds, now));
            }
            Finding::Released { id, did, delivery, asked_at } => {
                let outcome = self.judge_released(policy, &did, delivery.as_ref(), (asked_at, now), batch);
                batch.rejudged.push((id, outcome));
            }
            Finding::ListChanged { n, did, change, who, why, time } => {
                self.list_changed(policy, &did, change, (who, why), time, batch);
                batch.changes.push(n);
            }
            Finding::Held { did, frames } => {
                for (n, delivery) in frames {
                    self.judge_again(policy, &delivery, batch);
                    self.release(&did, n, delivery.frame.len(), batch);
                }
                self.released(&did, batch);
            }
        }
    }

    /// The log holds all of the repository at `rev`.
    fn reached(&mut self, did: &Did, rev: Rev, data: Option<Cid>, batch: &mut Batch) {
        let known = self.known.get_mut(did).expect("the caller looked");
        if let Some(data) = data
            && known.head.is_none_or(|(head, _)| head <= rev)
        {
            known.head = Some((rev, data));
        }
        let mut again = false;
        if known.gap.is_none_or(|gap| rev >= gap) {
            known.gap = None;
            // A list without a proof fills the gap for readers, and proves nothing.
            known.state = if data.is_some() { RepoState::Synced } else { RepoState::Partial };
        } else {
            again = true;
        }
        batch.touched(did, known);
        if again {
            self.job(did, JobReason::Desynchronized, batch);
        }
    }

    /// A host that answers for a repository shows the account. It is said even if no word was judged: one that was set aside
    /// before the account came into scope may hide it, and may have come from a host that it had left. What was said since
    /// the host was asked counts for more.
    fn shown_by_host(
        &mut self,
        policy: &Policy,
        did: &Did,
        (asked_at, now): (DateTime<Utc>, DateTime<Utc>),
        upstream: &Arc<Upstream>,
        batch: &mut Batch,
    ) {
        let Some(known) = self.known.get(did) else { return };
        if known.hosting.is_none_or(|last| !last.active && last.spoken.0 < asked_at) {
            let (active, status) = (true, AccountStatus::Active);
            let told =
                Finding::Account { did: did.clone(), active, status, time: asked_at, upstream: upstream.clone() };
            self.find(policy, told, now, batch);
        }
    }

    fn identified(
        &mut self,
        policy: &Policy,
        document: &DidDocument,
        found: FoundHandle,
        time: DateTime<Utc>,
        now: DateTime<Utc>,
        batch: &mut Batch,
    ) {
        let did = &document.did;
        let directory = self.directory_of(did);
        let Some(known) = self.known.get_mut(did) else { return };
        // Several look at once, and whoever looked first may tell last.
        if known.who.as_ref().is_some_and(|who| time < who.read_at && who.read_at <= now) {
            known.asked &= found == FoundHandle::Unsaid;
            known.answered_at = known.answered_at.max(Some(time));
            if known.identity_due {
                self.ask(did, batch);
            }
            return;
        }
        let key = document.key.as_ref().and_then(|text| PublicKey::read(text).ok()).map(Arc::new);
        let found_unsaid = found == FoundHandle::Unsaid;
        let moved = known.who.as_ref().is_some_and(|who| who.pds != document.pds);
        let before = known.who.take().map(|who| who.handle);
        let handle = match found {
            FoundHandle::Leads(handle) => Some(handle),
            FoundHandle::Nowhere => None,
            FoundHandle::Unsaid => before.clone().flatten(),
        };
        // Whoever was asked goes on asking while nobody can say.
        known.asked &= found_unsaid;
        known.answered_at = Some(time);
        known.identity_due = found_unsaid;
        let tell = !found_unsaid && before.as_ref() != Some(&handle);
        let was_missing = std::mem::take(&mut known.missing);
        known.doubted = false;
        known.who = Some(Who {
            key,
            pds: document.pds.clone(),
            handle: handle.clone(),
            claims: document.handle.clone(),
            directory: Some(directory.clone()),
            read_at: time,
        });
        batch.touched(did, known);
        let decision = self.settle(policy, did, now, batch);
        if decision.standing.is_kept() && (tell || was_missing) {
            let directory = Arc::new(Upstream::new(UpstreamKind::Directory, directory));
            // Words about handles are ranked by their time: the one that is believed here must be the latest there.
            let body = Body::Identity { handle: Some(handle.unwrap_or_else(no_handle)), time: now };
            let (stamp, way) = (self.stamp(did.as_str(), decision), Way::found(&directory, now));
            batch.keep(stamp.observe(policy, did, body, way, Verification::None, None));
        }
        if found_unsaid {
            self.ask(did, batch);
        }
        if moved {
            self.job(did, JobReason::Coverage, batch);
        }
    }

    /// The directory does not know it: frames that wait are let go, into quarantine.
    fn unidentified(&mut self, policy: &Policy, did: &Did, why: &str, now: DateTime<Utc>, batch: &mut Batch) {
        let Some(known) = self.known.get_mut(did) else { return };
        known.asked = false;
        known.answered_at = Some(now);
        known.identity_due = false;
        let waits = known.waiting.is_some();
        let was_missing = std::mem::replace(&mut known.missing, true);
        let has_job = std::mem::take(&mut known.doubted) || known.who.is_none();
        if !was_missing {
            tracing::warn!(%did, "nobody knows who this is: {why}");
        }
        batch.touched(did, known);
        self.settle(policy, did, now, batch);
        if !was_missing && !has_job {
            // It may have nothing to say for months: a job goes on asking whether the directory knows it again.
            self.job(did, JobReason::Coverage, batch);
        }
        if waits {
            // Whoever asked may not be the one who lets frames go.
            self.ask(did, batch);
        }
    }

    /// Somebody changed who may enter: told to the log, and whoever may enter now is fetched.
    fn list_changed(
        &mut self,
        policy: &Policy,
        did: &Did,
        change: ListChange,
        (who, why): (String, String),
        time: DateTime<Utc>,
        batch: &mut Batch,
    ) {
        let hand = Arc::new(Upstream::new(UpstreamKind::Directory, "origin"));
        let nobody = Decision { standing: Standing::Kept(Origin::Network), rule: OriginRule::NetworkMode };
        let stamp = Stamp { decision: nobody, pds: None };
        let body = Body::List { change, who, why, time };
        let mut observed = stamp.observe(policy, did, body, Way::found(&hand, time), Verification::None, None);
        observed.rule = None;
        batch.keep(observed);
        if matches!(change, ListChange::Allow | ListChange::Link | ListChange::Forget | ListChange::Unlink)
            && policy.refuses(did.as_str()).is_none()
        {
            self.job(did, JobReason::Origin, batch);
        }
    }

    /// Where documents of accounts like this one are read.
    fn directory_of(&self, did: &Did) -> Box<str> {
        match did.as_str().strip_prefix("did:web:") {
            Some(host) => host.into(),
            None => self.directory.clone(),
        }
    }

    fn release(&mut self, did: &Did, n: i64, bytes: usize, batch: &mut Batch) {
        if let Some(waiting) = self.known.get_mut(did).and_then(|known| known.waiting.as_mut()) {
            self.holding.release(waiting, bytes);
            waiting.through = waiting.through.max(n);
        }
        // Two who looked may hand in the same frame, and the later one may hand in less.
        let through = batch.released.entry(did.clone()).or_insert(n);
        *through = n.max(*through);
    }

    /// Frames may have come since those that were released were read, and may not even have been written then.
    fn released(&mut self, did: &Did, batch: &mut Batch) {
        let Some(known) = self.known.get_mut(did) else { return };
        match known.waiting {
            Some(waiting) if waiting.last > waiting.through => self.ask(did, batch),
            _ => {
                known.waiting = None;
                if std::mem::take(&mut known.is_new) {
                    self.job(did, JobReason::NewAccount, batch);
                }
            }
        }
    }
}
