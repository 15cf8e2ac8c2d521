//! What is refused: for whose it is, or because it does not verify. Followed records of it go to quarantine.

use std::sync::LazyLock;

use chrono::TimeDelta;

use super::batch::Batch;
use super::judge::{Judge, Pass};
use super::quarantine::{Quarantined, Why};
use crate::decode::{Outline, Reason, Reject};
use crate::event::{Decision, Delivery, OriginRule, Refusal, Standing};
use crate::filter::Policy;
use crate::telemetry::LogBudget;

/// What strangers send may move counters, not fill disks.
static REFUSALS: LazyLock<LogBudget> = LazyLock::new(|| LogBudget::new(10));

/// How often the directory is asked again about an account that it does not know.
const ASK_UNKNOWN_EVERY: TimeDelta = TimeDelta::minutes(10);

impl Judge {
    /// A PDS speaks for the accounts that live there, by what is known of them, and for no others.
    pub(super) fn wrong_host(&self, delivery: &Delivery, did: &str) -> Reject {
        let who = self.known.get(did).and_then(|known| known.who.as_ref());
        let at = who.and_then(|who| who.pds.as_deref()).unwrap_or_default();
        let detail = format!("came from {}, but {did} lives at {at:?}", delivery.upstream.name);
        Reject::new(Reason::WrongHost, detail)
    }

    /// Whether a commit or sync goes no further for whose it is. Its records go to quarantine.
    pub(super) fn shuts_out(
        &mut self,
        policy: &Policy,
        delivery: &Delivery,
        outline: &Outline<'_>,
        decision: Decision,
        pass: Pass,
        batch: &mut Batch,
    ) -> bool {
        let refusal = match decision.standing {
            Standing::Refused(refusal) => refusal,
            // Whoever was asked said nothing that would let it in.
            Standing::Held | Standing::Moved if pass == Pass::Again => {
                return self.wait_longer(policy, delivery, outline, decision, batch);
            }
            _ => return false,
        };
        // Another document may put it right: the account may have moved here.
        let doubted = decision.rule == OriginRule::WrongHost && pass == Pass::First;
        let waiting = self.known.get(outline.did).is_some_and(|known| known.waiting.is_some()) && pass == Pass::First;
        let for_good = matches!(decision.rule, OriginRule::DeclaredElsewhere | OriginRule::DenyList);
        if (doubted || waiting) && !for_good && self.trust.asks() {
            return false;
        }
        self.tally.dropped(refusal.into());
        self.set_aside(policy, delivery, outline, Why::Origin(refusal, decision.rule), batch);
        if refusal == Refusal::Unknown {
            self.ask_in_a_while(outline.did, delivery, batch);
        }
        true
    }

    /// A frame that was let go although nobody knows yet whose it is: an operator finds it in quarantine.
    fn wait_longer(
        &mut self,
        policy: &Policy,
        delivery: &Delivery,
        outline: &Outline<'_>,
        decision: Decision,
        batch: &mut Batch,
    ) -> bool {
        let reject = Reject::new(Reason::IdentityUnknown, decision.rule.says());
        self.tally.refused(reject.reason);
        self.set_aside(policy, delivery, outline, Why::Undecided(&reject, decision.rule), batch);
        true
    }

    /// Puts a refused commit with followed records into quarantine.
    fn set_aside(
        &mut self,
        policy: &Policy,
        delivery: &Delivery,
        outline: &Outline<'_>,
        why: Why<'_>,
        batch: &mut Batch,
    ) {
        let pds = self.known.get(outline.did).and_then(|known| known.who.as_ref()).and_then(|who| who.pds.as_deref());
        let follows = |collection: &str| policy.collections.contains(collection);
        if let Some(refused) = Quarantined::frame(delivery, outline, follows, pds, why) {
            self.tally.quarantined(refused.reason);
            if let (Why::Origin(refusal, _), Some(known)) = (why, self.known.get_mut(outline.did)) {
                known.set_aside = Some(refusal);
            }
            batch.quarantine(refused);
        }
    }

    /// A directory that does not know an account may learn of it: it is asked again, but not at every frame.
    fn ask_in_a_while(&mut self, did: &str, delivery: &Delivery, batch: &mut Batch) {
        let Some((did, known)) = self.known.get_key_value(did) else { return };
        let asked_at = known.verdict.map(|(_, at)| at);
        if asked_at.is_none_or(|at| delivery.seen_at - at > ASK_UNKNOWN_EVERY) {
            let did = did.clone();
            if let Some((_, at)) = self.known.get_mut(&did).and_then(|known| known.verdict.as_mut()) {
                *at = delivery.seen_at;
            }
            self.ask(&did, batch);
        }
    }

    #[cold]
    pub(super) fn refuse(
        &mut self,
        policy: &Policy,
        delivery: &Delivery,
        outline: Option<&Outline<'_>>,
        reject: &Reject,
        batch: &mut Batch,
    ) {
        self.tally.refused(reject.reason);
        if let Some(outline) = outline {
            self.set_aside(policy, delivery, outline, Why::Reject(reject), batch);
        }
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
