//! Judging deliveries: outline, filter, decode. Pure but for the counters it moves.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::{Arc, LazyLock};

use crate::decode::{self, Commit, Message, Notice, Op, Outline, Reject};
use crate::event::{Body, Delivery, Did, Event, Observed, Origin, Seq, Upstream, Verification};
use crate::filter::{self, DropReason, Policy, Verdict};
use crate::telemetry::LogBudget;

use super::batch::Batch;
use super::tally::Tally;

/// What strangers send may move counters, not fill disks.
static REFUSALS: LazyLock<LogBudget> = LazyLock::new(|| LogBudget::new(10));

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

/// Turns deliveries into batches. Remembers which accounts are in scope.
pub struct Judge {
    scope: HashSet<Did>,
    range: Option<SeqRange>,
    /// What became of everything so far.
    pub tally: Tally,
}

impl Judge {
    /// `scope`: the accounts that were in scope before; `range`: which frames to look at, all when `None`.
    pub fn new(scope: HashSet<Did>, range: Option<SeqRange>) -> Self {
        Judge { scope, range, tally: Tally::default() }
    }

    /// Judges one delivery and notes in `batch` what is to be written. The host's word, if the frame is one.
    pub fn judge(&mut self, policy: &Policy, delivery: &Delivery, batch: &mut Batch) -> Option<HostWord> {
        self.tally.frame(delivery.frame.len());
        let outline = match decode::outline(&delivery.frame) {
            Ok(outline) => outline,
            Err(reject) => {
                self.refuse(delivery, None, &reject);
                return None;
            }
        };
        let seq = outline.seq;
        let word = self.by_outline(policy, delivery, &outline, batch).unwrap_or_else(|reject| {
            self.refuse(delivery, Some(&outline), &reject);
            None
        });
        batch.handled(delivery, seq);
        word
    }

    fn by_outline(
        &mut self,
        policy: &Policy,
        delivery: &Delivery,
        outline: &Outline<'_>,
        batch: &mut Batch,
    ) -> Result<Option<HostWord>, Reject> {
        if let (Some(range), Some(seq)) = (&self.range, outline.seq)
            && !range.contains(&seq)
        {
            self.tally.dropped(DropReason::SeqRange);
            return Ok(None);
        }
        let verdict = filter::judge(outline, policy, |did| self.scope.contains(did))?;
        let wanted = |collection: &str| verdict == Verdict::Keep && policy.collections.contains(collection);
        match verdict {
            Verdict::Drop(reason) => {
                self.tally.dropped(reason);
                return Ok(None);
            }
            Verdict::HostNotice => self.tally.dropped(DropReason::Notice),
            Verdict::Keep | Verdict::Chain | Verdict::Bystander => {}
        }
        let message = decode::decode(&delivery.frame, outline, wanted, &decode::Checks::NONE)?;
        let observe = |did: &Did, body: Body| Observed {
            event: Event { did: did.clone(), body },
            environment: policy.environment.clone(),
            origin: Origin::Network,
            verification: Verification::None,
            upstream: delivery.upstream.clone(),
            seq: outline.seq,
            seen_at: delivery.seen_at,
            live: delivery.live,
        };
        match message {
            Message::Commit(commit) => {
                if verdict == Verdict::Keep {
                    self.enter(&commit.did, batch);
                }
                batch.saw_repo(&commit.did, commit.rev, commit.data);
                self.tally.kept();
                let Commit { did, rev, ops, .. } = commit;
                for op in ops {
                    batch.keep(observe(&did, body_of(op, rev)));
                }
            }
            Message::Sync(sync) => {
                self.enter(&sync.did, batch);
                batch.saw_repo(&sync.did, sync.rev, sync.data);
                self.tally.kept();
            }
            Message::Identity(identity) => {
                let (handle, time) = (identity.known_handle(), identity.time);
                let observed = observe(&identity.did, Body::Identity { handle, time });
                self.word_about_account(verdict, observed, batch);
            }
            Message::Account(account) => {
                let (active, status, time) = (account.active, account.known_status(), account.time);
                let observed = observe(&account.did, Body::Account { active, status, time });
                self.word_about_account(verdict, observed, batch);
            }
            Message::Info(notice) => return Ok(Some(self.host_word(delivery, false, notice))),
            Message::Error(notice) => return Ok(Some(self.host_word(delivery, true, notice))),
            Message::Unknown => {}
        }
        Ok(None)
    }

    fn word_about_account(&mut self, verdict: Verdict, observed: Observed, batch: &mut Batch) {
        if verdict == Verdict::Keep {
            self.enter(&observed.event.did, batch);
            self.tally.kept();
            batch.keep(observed);
        } else {
            self.tally.bystander();
            batch.bystanders.push(observed);
        }
    }

    fn host_word(&mut self, delivery: &Delivery, is_error: bool, notice: Notice) -> HostWord {
        self.tally.notice(&notice.name);
        HostWord { upstream: delivery.upstream.clone(), is_error, notice }
    }

    fn enter(&mut self, did: &Did, batch: &mut Batch) {
        if !self.scope.contains(did) {
            self.scope.insert(did.clone());
            batch.entered.push(did.clone());
        }
    }

    #[cold]
    fn refuse(&mut self, delivery: &Delivery, outline: Option<&Outline<'_>>, reject: &Reject) {
        self.tally.refused(reject.reason);
        if let Some(permit) = REFUSALS.take(reject.reason.as_str()) {
            tracing::warn!(
                upstream = %delivery.upstream.name,
                seq = outline.and_then(|o| o.seq),
                did = outline.map_or("", |o| o.did).chars().take(100).collect::<String>(),
                layer = reject.layer().as_str(),
                reason = reject.reason.as_str(),
                suppressed = permit.suppressed,
                "frame refused: {}", reject.detail
            );
        }
    }
}

fn body_of(op: Op, rev: crate::event::Rev) -> Body {
    let Op { collection, rkey, record, .. } = op;
    match record {
        Some(record) => Body::Put { collection, rkey, rev, cid: record.cid, record: record.bytes },
        None => Body::Delete { collection, rkey, rev },
    }
}
