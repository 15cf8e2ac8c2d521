//! Whose an account is: the verdict of [`filter::decide`] over what is remembered of it, and what follows when it changes.
//!
//! The verdict is asked for every record. When it differs from the one before, the log is told: the account's rows are hidden
//! or shown again by that event, and what was missed meanwhile is fetched.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::batch::Batch;
use super::judge::{Judge, no_handle};
use super::known::Known;
use super::trust::Trust;
use crate::event::{
    Body, Cid, Decision, Delivery, Did, DidDocument, Event, Observed, Origin, OriginRule, Seq, Standing, Upstream,
    UpstreamKind, Verification,
};
use crate::filter::{self, Facts, Identity, Policy};
use crate::source::backfill::Reason as JobReason;

/// Whose an event is, as the log will say it.
#[derive(Clone, Debug)]
pub(super) struct Stamp {
    pub decision: Decision,
    pub pds: Option<Box<str>>,
}

/// Where an event came from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way<'a> {
    pub upstream: &'a Arc<Upstream>,
    pub seq: Option<Seq>,
    pub seen_at: DateTime<Utc>,
    pub live: bool,
}

impl<'a> Way<'a> {
    pub fn of(delivery: &'a Delivery, seq: Option<Seq>) -> Self {
        Way { upstream: &delivery.upstream, seq, seen_at: delivery.seen_at, live: delivery.live }
    }

    /// Of what a job found out.
    pub fn found(upstream: &'a Arc<Upstream>, now: DateTime<Utc>) -> Self {
        Way { upstream, seq: None, seen_at: now, live: false }
    }
}

impl Stamp {
    pub fn observe(
        &self,
        policy: &Policy,
        did: &Did,
        body: Body,
        way: Way<'_>,
        verification: Verification,
        commit: Option<Cid>,
    ) -> Observed {
        Observed {
            event: Event { did: did.clone(), body },
            environment: policy.environment.clone(),
            origin: self.decision.standing.kept().unwrap_or(Origin::Network),
            rule: Some(self.decision.rule),
            pds: self.pds.clone(),
            commit,
            verification,
            upstream: way.upstream.clone(),
            seq: way.seq,
            seen_at: way.seen_at,
            live: way.live,
        }
    }
}

/// The verdict about an account whose document was just read.
pub(super) fn decide_by_document(policy: &Policy, document: &DidDocument) -> Decision {
    let identity = Identity::Found {
        pds: document.pds.as_deref(),
        handle: document.handle.as_ref().map(|handle| handle.as_str()),
    };
    let facts = Facts { did: document.did.as_str(), declared: None, through_pds: None, identity, before: None };
    filter::decide(&facts, policy)
}

/// The verdict about an account that the directory does not know.
pub(super) fn decide_missing(policy: &Policy, did: &Did) -> Decision {
    let identity = Identity::Missing;
    filter::decide(&Facts { did: did.as_str(), declared: None, through_pds: None, identity, before: None }, policy)
}

/// Who an account is, by what is remembered of it and by what this run takes on trust.
pub fn identity_of<'a>(known: Option<&'a Known>, trust: &'a Trust, did: &str) -> Identity<'a> {
    if known.is_some_and(|known| known.missing) {
        return Identity::Missing;
    }
    if let Some(who) = known.and_then(|known| known.who.as_ref()) {
        // A handle that leads back is claimed too.
        let handle = who.claims.as_ref().or(who.handle.as_ref());
        return Identity::Found { pds: who.pds.as_deref(), handle: handle.map(|handle| handle.as_str()) };
    }
    match trust {
        Trust::Unverified => Identity::NotAsked,
        Trust::Given { who, .. } => who.get(did).map_or(Identity::NotAsked, |given| Identity::Found {
            pds: given.document.pds.as_deref(),
            handle: given.document.handle.as_ref().map(|handle| handle.as_str()),
        }),
        Trust::Resolved => Identity::Unreachable,
    }
}

/// The verdict over these facts. While nobody can say who the account is, what was decided before keeps the rule that decided
/// it.
pub fn decide_over(facts: &Facts<'_>, policy: &Policy) -> Decision {
    let decision = filter::decide(facts, policy);
    let is_old = decision.rule == OriginRule::Unreachable && decision.standing.is_decided();
    facts.before.filter(|_| is_old).unwrap_or(decision)
}

impl Judge {
    fn identity<'a>(&'a self, did: &str) -> Identity<'a> {
        identity_of(self.known.get(did), &self.trust, did)
    }

    /// The verdict about an account, and about what came through `delivery` if it did.
    pub(super) fn decide(&self, policy: &Policy, delivery: Option<&Delivery>, did: &str) -> Decision {
        let upstream = delivery.map(|delivery| &delivery.upstream);
        let declared = upstream.and_then(|upstream| match upstream.kind {
            UpstreamKind::Relay | UpstreamKind::Pds => {
                upstream.declared.as_ref().or(policy.places.host(&upstream.name))
            }
            UpstreamKind::Dump | UpstreamKind::Directory => upstream.declared.as_ref(),
        });
        let direct = delivery.filter(|d| d.upstream.kind == UpstreamKind::Pds && self.trust.asks());
        let facts = Facts {
            did,
            declared,
            through_pds: direct.map(|delivery| &*delivery.upstream.name),
            identity: self.identity(did),
            before: self.known.get(did).and_then(|known| known.verdict).map(|(decision, _)| decision),
        };
        decide_over(&facts, policy)
    }

    /// How events of an account are stamped under this verdict.
    pub(super) fn stamp(&self, did: &str, decision: Decision) -> Stamp {
        let pds = match self.identity(did) {
            Identity::Found { pds, .. } => pds.map(Into::into),
            _ => None,
        };
        Stamp { decision, pds }
    }

    /// Takes the verdict about an account in scope again, and follows it.
    pub(super) fn settle(&mut self, policy: &Policy, did: &Did, now: DateTime<Utc>, batch: &mut Batch) -> Decision {
        let decision = self.decide(policy, None, did.as_str());
        self.settle_as(policy, did, decision, now, batch);
        decision
    }

    /// Follows a verdict about an account in scope.
    pub(super) fn settle_as(
        &mut self,
        policy: &Policy,
        did: &Did,
        decision: Decision,
        now: DateTime<Utc>,
        batch: &mut Batch,
    ) {
        let known = self.known.get_mut(did).expect("the account is in scope");
        let before = known.verdict.map(|(decision, _)| decision);
        if !decision.standing.is_decided() || before == Some(decision) {
            return;
        }
        known.verdict = Some((decision, now));
        batch.touched(did, known);
        let is_kept = decision.standing.is_kept();
        let changes = match before {
            Some(before) => before.standing != decision.standing,
            // Of an older version's account rows may be there.
            None => !is_kept && known.head.is_some(),
        };
        let enters = is_kept && !before.is_some_and(|before| before.standing.is_kept());
        if enters {
            batch.entered.push(did.clone());
        }
        if !changes {
            return;
        }
        let returns = enters && before.is_some();
        let handle = known.who.as_ref().map(|who| who.handle.clone().unwrap_or_else(no_handle));
        tracing::info!(
            %did, was = before.map_or("undecided", |before| before.standing.as_str()), is = decision.standing.as_str(),
            rule = decision.rule.number(), "the verdict about an account changed: {}", decision.rule.says()
        );
        let stamp = self.stamp(did.as_str(), decision);
        let own = Arc::new(Upstream::new(UpstreamKind::Directory, "origin"));
        let way = Way::found(&own, now);
        let mut keep = |body: Body| batch.keep(stamp.observe(policy, did, body, way, Verification::None, None));
        keep(Body::Origin { decision, time: now });
        if returns {
            if let Some(handle) = handle {
                keep(Body::Identity { handle: Some(handle), time: now });
            }
            self.job(did, JobReason::Origin, batch);
        }
    }

    /// Takes the verdict about every account in scope again, after the lists changed.
    pub(super) fn reconsider(&mut self, policy: &Policy, now: DateTime<Utc>, batch: &mut Batch) {
        let changed: Vec<(Did, Decision)> = self
            .known
            .iter()
            .filter_map(|(did, known)| {
                let decision = self.decide(policy, None, did.as_str());
                let is_new = known.verdict.is_none_or(|(before, _)| before != decision);
                (is_new && decision.standing.is_decided()).then(|| (did.clone(), decision))
            })
            .collect();
        for (did, decision) in changed {
            self.settle_as(policy, &did, decision, now, batch);
        }
    }

    /// Whether the account's records may enter now, as far as is known without asking.
    pub(super) fn keeps(&self, policy: &Policy, did: &str) -> bool {
        matches!(self.decide(policy, None, did).standing, Standing::Kept(_))
    }
}
