//! Whose a record is, and whether it may enter: twelve rules over plain facts, of which the first that holds decides.
//!
//! Fails closed: an account of which nothing is known enters only where nobody is asked who accounts are
//! ([`Identity::NotAsked`]), and then as what it says it is. The manual has the table of rules; [`OriginRule`] numbers them.

use super::places::same_host;
use super::{DidRule, Policy};
use crate::event::{Decision, Environment, Origin, OriginRule, Refusal, Standing};

/// What this environment's directory says about an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity<'a> {
    /// Its document.
    Found {
        /// The endpoint of its PDS, if it names one.
        pds: Option<&'a str>,
        /// The handle that it claims. Whether it leads back does not matter: a claim to be foreign is believed.
        handle: Option<&'a str>,
    },
    /// There is none, or it was given up.
    Missing,
    /// The directory, or the host of a did:web, cannot be reached, or was not asked yet.
    Unreachable,
    /// Nobody is asked in this run: frames are taken at their word.
    NotAsked,
}

/// What is known when the verdict is given.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Whose record.
    pub did: &'a str,
    /// The environment that the upstream, dump or job is declared for, if it is.
    pub declared: Option<&'a Environment>,
    /// The PDS that is followed directly and sent it, as `host[:port]`.
    pub through_pds: Option<&'a str>,
    /// Who the account is.
    pub identity: Identity<'a>,
    /// The verdict of before, for when nobody can say.
    pub before: Option<Decision>,
}

/// The verdict.
pub fn decide(facts: &Facts<'_>, policy: &Policy) -> Decision {
    rules(facts, policy)
        .unwrap_or(Decision { standing: Standing::Refused(Refusal::NotAllowed), rule: OriginRule::AllowlistMode })
}

fn rules(facts: &Facts<'_>, policy: &Policy) -> Option<Decision> {
    let is = |rule: OriginRule, standing: Standing| Some(Decision { standing, rule });
    let refused = |rule: OriginRule, refusal: Refusal| is(rule, Standing::Refused(refusal));
    let kept = |rule: OriginRule, origin: Origin| is(rule, Standing::Kept(origin));
    let foreign = |environment: Option<&Environment>| environment.is_some_and(|e| *e != policy.environment);

    if foreign(facts.declared) {
        return refused(OriginRule::DeclaredElsewhere, Refusal::Foreign);
    }
    let (pds, handle) = match facts.identity {
        Identity::Found { pds, handle } => (pds, handle),
        _ => (None, None),
    };
    let identified = matches!(facts.identity, Identity::Found { .. });
    if let Some(through) = facts.through_pds
        && identified
        && !pds.is_some_and(|pds| same_host(pds, through))
    {
        return refused(OriginRule::WrongHost, Refusal::WrongHost);
    }
    if policy.denies(facts.did) {
        return refused(OriginRule::DenyList, Refusal::Denied);
    }
    if facts.identity == Identity::Missing {
        return refused(OriginRule::NoIdentity, Refusal::Unknown);
    }
    if facts.identity == Identity::Unreachable {
        let standing = facts.before.map(|before| before.standing).filter(|standing| standing.is_decided());
        return is(OriginRule::Unreachable, standing.unwrap_or(Standing::Held));
    }
    if foreign(pds.and_then(|pds| policy.places.host(pds))) || foreign(handle.and_then(|h| policy.places.handle(h))) {
        return refused(OriginRule::ForeignPlace, Refusal::Foreign);
    }
    let here = pds.is_some_and(|pds| policy.places.host(pds) == Some(&policy.environment));
    if let Some(recorded) = policy.own.get(facts.did) {
        // Where nobody is asked, the table is all there is.
        let at_home = !identified || here || pds.is_some_and(|pds| same_host(pds, recorded));
        return match at_home {
            true => kept(OriginRule::OwnAccount, Origin::Own),
            false => is(OriginRule::OwnMoved, Standing::Moved),
        };
    }
    if here {
        return match policy.dids {
            DidRule::Network => kept(OriginRule::OwnHostStranger, Origin::OwnHostStranger),
            DidRule::Allowlist if policy.allows(facts.did) => kept(OriginRule::AllowList, Origin::Network),
            DidRule::Allowlist => refused(OriginRule::OwnHostStranger, Refusal::OwnHostStranger),
        };
    }
    if policy.allows(facts.did) {
        return kept(OriginRule::AllowList, Origin::Network);
    }
    if policy.dids == DidRule::Network {
        return kept(OriginRule::NetworkMode, Origin::Network);
    }
    None
}
