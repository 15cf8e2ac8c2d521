//! Everything that the network lists compared with everything that we hold, without changing anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{StreamExt, stream};

use super::{Asked, Place, Runner};
use crate::event::{Did, Nsid, Rev, UpstreamKind};
use crate::filter::DidRule;
use crate::ingest::{RepoView, load_repos};
use crate::network::{Freshness, authority};
use crate::source::backfill::{DiscoveryError, list_by_collection, list_pds, looked_at};

/// One account that is not as its host shows it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// Which one.
    pub did: Did,
    /// missing | partial | desynchronized | behind | rolled_back | unreachable | shown (though its host withholds it) |
    /// hidden (though its host shows it)
    pub kind: &'static str,
    /// Its host, if it is known.
    pub host: Option<Box<str>>,
    /// The revision that we hold.
    pub ours: Option<String>,
    /// The revision that the host shows.
    pub theirs: Option<String>,
    /// For people.
    pub detail: Option<String>,
}

/// What a comparison found.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Coverage {
    /// Accounts looked at.
    pub checked: u64,
    /// Of these, exactly as their host shows them.
    pub same: u64,
    /// Of these, withheld by their host.
    pub inactive: u64,
    /// The rest, in the order of their DIDs.
    pub differences: Vec<Difference>,
    /// Places whose lists could not be read: accounts that only they know were not looked at.
    pub unlisted: BTreeMap<String, String>,
}

enum Found {
    Same,
    Inactive,
    Differs(Difference),
}

/// Compares. `done` counts accounts looked at, `total` those there are.
///
/// # Errors
/// When the database does not answer.
pub async fn compare(runner: &Runner, done: &AtomicU64, total: &AtomicU64) -> Result<Coverage, sqlx::Error> {
    let policy = runner.resync.policy.load_full();
    let mut coverage = Coverage::default();
    let (mut dids, unlisted) = candidates(runner, &Asked::default()).await;
    coverage.unlisted = unlisted.into_iter().collect();
    let repos = load_repos(&runner.resync.pool).await?;
    let looked_at = looked_at(&runner.resync.pool).await?;
    dids.extend(repos.keys().cloned());
    dids.retain(|did| policy.refuses(did.as_str()).is_none());
    total.store(dids.len() as u64, Ordering::Relaxed);
    let look = |did: Did| {
        let (ours, seen) = (repos.get(&did).cloned(), looked_at.get(&did).copied());
        async move {
            let found = one(runner, did, ours, seen).await;
            done.fetch_add(1, Ordering::Relaxed);
            found
        }
    };
    let mut looks = stream::iter(dids).map(look).buffer_unordered(runner.settings.workers.max(16));
    while let Some(found) = looks.next().await {
        coverage.checked += 1;
        match found {
            Found::Same => coverage.same += 1,
            Found::Inactive => coverage.inactive += 1,
            Found::Differs(difference) => coverage.differences.push(difference),
        }
    }
    drop(looks);
    coverage.differences.sort_by(|a, b| a.did.cmp(&b.did));
    Ok(coverage)
}

/// Whose repositories would be looked at, by the lists of all places, and the places that did not tell.
pub async fn candidates(runner: &Runner, asked: &Asked) -> (BTreeSet<Did>, Vec<(String, String)>) {
    let policy = runner.resync.policy.load_full();
    let (mut dids, mut unlisted): (BTreeSet<Did>, Vec<_>) = (asked.dids.iter().cloned().collect(), Vec::new());
    let lists_always = !asked.places.is_empty() || !asked.collections.is_empty();
    if !dids.is_empty() {
        // Named, and nobody else.
    } else if policy.dids == DidRule::Allowlist && !lists_always {
        dids.extend(policy.named());
    } else {
        let collections = match asked.collections.is_empty() {
            true => policy.collections.names().iter().filter_map(|name| Nsid::parse(name).ok()).collect(),
            false => asked.collections.clone(),
        };
        let places = if asked.places.is_empty() { &runner.places } else { &asked.places };
        for place in places {
            if let Err(error) = list(runner, place, &collections, |found| dids.extend(found)).await {
                unlisted.push((place.endpoint.clone(), error.to_string()));
            }
        }
    }
    dids.retain(|did| policy.refuses(did.as_str()).is_none());
    (dids, unlisted)
}

async fn list(
    runner: &Runner,
    place: &Place,
    collections: &[Nsid],
    mut found: impl FnMut(Vec<Did>),
) -> Result<(), DiscoveryError> {
    let (network, policy) = (&runner.resync.network, runner.resync.policy.load_full());
    if place.kind == UpstreamKind::Pds {
        return list_pds(network, &place.endpoint, |c| policy.collections.contains(c), found).await;
    }
    for collection in collections {
        list_by_collection(network, &place.endpoint, collection, &mut found).await?;
    }
    Ok(())
}

/// `seen`: the revision at which a job looked at it last.
async fn one(runner: &Runner, did: Did, ours: Option<RepoView>, seen: Option<Rev>) -> Found {
    let network = &runner.resync.network;
    let mut difference = Difference { did, kind: "unreachable", host: None, ours: None, theirs: None, detail: None };
    difference.ours = ours.as_ref().and_then(|repo| repo.rev).map(|rev: Rev| rev.to_string());
    let document = match network.did_document(&difference.did, Freshness::Cached).await {
        Ok(document) => document,
        Err(crate::network::IdentityError::Tombstoned) => return Found::Inactive,
        Err(error) => {
            difference.detail = Some(error.to_string());
            return Found::Differs(difference);
        }
    };
    let Some(pds) = &document.pds else {
        difference.detail = Some("the DID document names no PDS".to_owned());
        return Found::Differs(difference);
    };
    difference.host = authority(pds);
    let latest = match network.latest_commit(pds, &difference.did).await {
        Ok(latest) => latest,
        Err(error) if error.repo_problem().is_some() => {
            if ours.is_none_or(|repo| repo.hidden) {
                return Found::Inactive;
            }
            (difference.kind, difference.detail) = ("shown", Some(error.to_string()));
            return Found::Differs(difference);
        }
        Err(error) => {
            difference.detail = Some(error.to_string());
            return Found::Differs(difference);
        }
    };
    difference.theirs = Some(latest.rev.to_string());
    difference.kind = match ours.as_ref().and_then(|repo| Some((repo.rev?, &*repo.state))) {
        // A relay may list who holds nothing followed any more.
        None if ours.is_none() && seen == Some(latest.rev) => return Found::Same,
        None => "missing",
        _ if ours.as_ref().is_some_and(|repo| repo.hidden) => "hidden",
        Some((rev, "synced")) if rev == latest.rev => return Found::Same,
        Some((rev, _)) if rev > latest.rev => "rolled_back",
        Some((_, "partial")) => "partial",
        Some((_, "desynchronized")) => "desynchronized",
        Some((_, "rolled_back")) => "rolled_back",
        Some(_) => "behind",
    };
    Found::Differs(difference)
}
