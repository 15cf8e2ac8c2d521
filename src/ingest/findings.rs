//! What jobs found out, judged: for the same batches as deliveries.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::batch::Batch;
use super::inlet::{Finding, FoundHandle};
use super::judge::{Judge, no_handle};
use super::known::{Hosting, RepoState, Who};
use crate::decode::{PublicKey, Reason, Reject};
use crate::event::{
    AccountStatus, Body, Cid, Did, DidDocument, Event, Observed, Origin, Rev, Upstream, UpstreamKind, Verification,
};
use crate::filter::Policy;
use crate::source::backfill::Reason as JobReason;

impl Judge {
    /// Judges one finding, made at `now` or shortly before, and notes in `batch` what is to be written.
    pub fn find(&mut self, policy: &Policy, finding: Finding, now: DateTime<Utc>, batch: &mut Batch) {
        let observe = |did: &Did, body: Body, upstream: &Arc<Upstream>, verification: Verification| {
            observe(policy, did, body, upstream, verification, now)
        };
        match finding {
            Finding::Records { did, rev, upstream, verification, records } => {
                if let Some(reason) = policy.refuses(did.as_str()) {
                    return self.tally.dropped(reason);
                }
                let followed = records.into_iter().filter(|r| policy.collections.contains(r.collection.as_str()));
                for found in followed {
                    // Whoever reads a repository read the account's document before, and tells it with the end.
                    self.admit(&did, batch);
                    let (collection, rkey, cid, record) = (found.collection, found.rkey, found.cid, found.record);
                    let body = Body::Put { collection, rkey, rev, cid, record };
                    batch.keep(observe(&did, body, &upstream, verification));
                }
            }
            Finding::Complete { did, rev, data, upstream, verification, gone, asked_at, stored } => {
                batch.acks.push(stored);
                if self.known.contains_key(&did) && policy.refuses(did.as_str()).is_none() {
                    for (collection, rkey) in gone {
                        let body = Body::Delete { collection, rkey, rev };
                        batch.keep(observe(&did, body, &upstream, verification));
                    }
                    batch.keep(observe(&did, Body::Snapshot { rev }, &upstream, verification));
                    self.reached(&did, rev, data, batch);
                    self.shown_by_host(policy, &did, (asked_at, now), &upstream, batch);
                }
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
                let hosting = Hosting { spoken: (time, 0), active, status };
                // Asking twice gives one word.
                if known.hosting.is_none_or(|last| (last.active, last.status) != (active, status)) {
                    let body = Body::Account { active, status, time };
                    batch.keep(observe(&did, body, &upstream, Verification::None));
                    self.hosting(&did, hosting, batch);
                }
            }
            Finding::Identity { document, handle, time } => {
                self.identified(policy, &document, handle, time, now, batch)
            }
            Finding::NoIdentity { did, why } => self.unidentified(&did, &why, batch),
            Finding::Held { did, frames } => {
                let any = !frames.is_empty();
                for (n, delivery) in frames {
                    self.judge_again(policy, &delivery, batch);
                    self.release(&did, n, delivery.frame.len(), batch);
                }
                self.released(&did, any, batch);
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
        let Some(known) = self.known.get_mut(did) else { return };
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
        known.identity_due = found_unsaid;
        let tell = !found_unsaid && before.as_ref() != Some(&handle);
        known.who = Some(Who { key, pds: document.pds.clone(), handle: handle.clone(), read_at: time });
        batch.touched(did, known);
        if tell {
            let directory = Arc::new(Upstream { kind: UpstreamKind::Directory, name: "directory".into() });
            let body = Body::Identity { handle: Some(handle.unwrap_or_else(no_handle)), time };
            batch.keep(observe(policy, did, body, &directory, Verification::None, now));
        }
        if found_unsaid {
            self.ask(did, batch);
        }
        if moved {
            self.job(did, JobReason::Coverage, batch);
        }
    }

    fn unidentified(&mut self, did: &Did, why: &str, batch: &mut Batch) {
        let Some(known) = self.known.get_mut(did) else { return };
        known.asked = false;
        known.identity_due = false;
        if let Some(waiting) = known.waiting.take() {
            let reject = Reject::new(Reason::IdentityUnknown, why);
            tracing::warn!(%did, frames = waiting.frames, "frames refused: {}", reject);
            for _ in 0..waiting.frames {
                self.tally.refused(reject.reason);
            }
            self.holding.forget(&waiting);
            batch.released.insert(did.clone(), waiting.last);
        }
        batch.touched(did, known);
    }

    fn release(&mut self, did: &Did, n: i64, bytes: usize, batch: &mut Batch) {
        if let Some(waiting) = self.known.get_mut(did).and_then(|known| known.waiting.as_mut()) {
            self.holding.release(waiting, bytes);
        }
        batch.released.insert(did.clone(), n);
    }

    /// Frames may have come since those that were released were read.
    fn released(&mut self, did: &Did, any: bool, batch: &mut Batch) {
        let Some(known) = self.known.get_mut(did) else { return };
        let through = batch.released.get(did).copied().unwrap_or(i64::MIN);
        match known.waiting {
            Some(waiting) if waiting.last > through && any => self.ask(did, batch),
            _ => known.waiting = None,
        }
    }
}

fn observe(
    policy: &Policy,
    did: &Did,
    body: Body,
    upstream: &Arc<Upstream>,
    verification: Verification,
    now: DateTime<Utc>,
) -> Observed {
    Observed {
        event: Event { did: did.clone(), body },
        environment: policy.environment.clone(),
        origin: Origin::Network,
        verification,
        upstream: upstream.clone(),
        seq: None,
        seen_at: now,
        live: false,
    }
}
