//! An entry of quarantine, judged again: by all checks and by the rules of origin as they are now.
//!
//! It goes the way of every other record, and is never live: nothing follows from it in the world. Whose it is is looked up
//! anew, because what was known of the account may be what refused it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::batch::Batch;
use super::held::Holding;
use super::judge::{Judge, Pass};
use super::quarantine::Rejudged;
use super::scope::load_account;
use super::trust::Trust;
use crate::decode;
use crate::event::{Decision, Delivery, Did, OriginRule, Standing};
use crate::filter::{self, Policy, Verdict};
use crate::source::backfill::Reason as JobReason;

impl Judge {
    /// Judges an entry again. The frame is `None` when only an account was offered: then its repository is fetched.
    /// `asked_at`: nothing that was looked up before that counts.
    pub(super) fn judge_released(
        &mut self,
        policy: &Policy,
        did: &Did,
        delivery: Option<&Delivery>,
        (asked_at, now): (DateTime<Utc>, DateTime<Utc>),
        batch: &mut Batch,
    ) -> Rejudged {
        let decision = self.decide(policy, delivery, did.as_str());
        if matches!(decision.rule, OriginRule::DeclaredElsewhere | OriginRule::DenyList) {
            return Rejudged::Refused(in_words(decision));
        }
        if self.trust.asks() {
            self.enter(policy, did, now, batch);
            if self.known[did].answered_at.is_none_or(|answered| answered < asked_at) {
                self.ask(did, batch);
                return Rejudged::Waits("waits until somebody can say whose it is".to_owned());
            }
        }
        let decision = self.decide(policy, delivery, did.as_str());
        match decision.standing {
            Standing::Kept(_) => {}
            Standing::Refused(_) => return Rejudged::Refused(in_words(decision)),
            Standing::Held | Standing::Moved => return Rejudged::Waits(in_words(decision)),
        }
        let Some(delivery) = delivery else {
            self.job(did, JobReason::Origin, batch);
            return Rejudged::Released("released: its repository is queued to be fetched");
        };
        let refused = |reject: decode::Reject| Rejudged::Refused(reject.to_string());
        let outline = match decode::outline(&delivery.frame) {
            Ok(outline) => outline,
            Err(reject) => return refused(reject),
        };
        match filter::judge(&outline, policy, |did| self.known.contains_key(did)) {
            Ok(Verdict::Keep) => {}
            Ok(_) => return Rejudged::Refused("nothing in it is followed any more".to_owned()),
            Err(reject) => return refused(reject),
        }
        match self.by_outline(policy, delivery, &outline, Pass::Again, batch) {
            Ok(_) => Rejudged::Released("released"),
            Err(reject) => refused(reject),
        }
    }
}

fn in_words(decision: Decision) -> String {
    format!("{}: rule {}: {}", decision.standing.as_str(), decision.rule.number(), decision.rule.says())
}

/// What would become of an entry if it were judged again now, by what is remembered and without asking anybody.
///
/// # Errors
/// When the database does not answer.
pub async fn foresee(
    pool: &PgPool,
    policy: &Policy,
    trust: Trust,
    did: &Did,
    delivery: Option<&Delivery>,
) -> Result<Rejudged, sqlx::Error> {
    let known = load_account(pool, did).await?.map(|known| (did.clone(), known));
    let mut known: super::KnownRepos = known.into_iter().collect();
    for known in known.values_mut().filter(|known| known.who.is_some() || known.missing) {
        known.answered_at = Some(DateTime::<Utc>::MIN_UTC);
    }
    let mut judge = Judge::new((known, Holding::default()), trust, Arc::default(), None);
    let times = (DateTime::<Utc>::MIN_UTC, Utc::now());
    Ok(judge.judge_released(policy, did, delivery, times, &mut Batch::default()))
}
