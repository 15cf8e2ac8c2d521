//! Finding out whose repositories there are: once on the first start, and every so often to compare all of them.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Runner;
use super::settle::{pause, persist};
use crate::config::Settings;
use crate::event::{Did, Nsid, UpstreamKind};
use crate::filter::{DidRule, Policy};
use crate::ingest::load_repos;
use crate::source::backfill::{
    self, DiscoveryError, JobRequest, Reason, discover_by_collection, discover_pds, enqueue, ever_discovered,
    ever_done, is_discovered,
};

/// The pause after a list could not be read; doubles.
const RETRY_FIRST: Duration = Duration::from_secs(15);
/// The longest such pause.
const RETRY_MAX: Duration = Duration::from_secs(3_600);
/// How often a round of comparing looks whether its jobs are over.
const ROUND_LOOK: Duration = Duration::from_secs(5);

/// A relay or PDS that can be asked whose repositories there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// [`UpstreamKind::Relay`] or [`UpstreamKind::Pds`].
    pub kind: UpstreamKind,
    /// `https://host`.
    pub endpoint: String,
}

/// The places that the settings name.
pub fn places(settings: &Settings) -> Vec<Place> {
    let relays = settings.relays.iter().map(|url| Place { kind: UpstreamKind::Relay, endpoint: url.http() });
    let pdses = settings.pdses.iter().map(|url| Place { kind: UpstreamKind::Pds, endpoint: url.http() });
    relays.chain(pdses).collect()
}

/// What to ask for, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// Why.
    pub reason: Reason,
    /// How urgent the jobs are.
    pub priority: i32,
    /// Leave out lists that were read to their end before.
    pub only_missing: bool,
    /// Only these collections; `None`: all that are followed.
    pub collections: Option<Vec<Nsid>>,
    /// Read the places' lists even where an allowlist says who there is.
    pub lists_always: bool,
}

impl Survey {
    /// All lists of all places, for this reason.
    pub fn of(reason: Reason) -> Self {
        Survey { reason, priority: reason.priority(), only_missing: false, collections: None, lists_always: false }
    }
}

/// One list of one place. `None`: all accounts of a PDS.
type List<'a> = (&'a Place, Option<Nsid>);

/// The lists that tell whose followed records there are. Collections that are followed by prefix are on no list.
fn lists<'a>(places: &'a [Place], policy: &Policy, only: Option<&[Nsid]>) -> (Vec<List<'a>>, Vec<String>) {
    let (names, prefixes): (Vec<String>, Vec<String>) =
        policy.collections.names().into_iter().partition(|name| !name.ends_with('*'));
    let (collections, prefixes) = match only {
        Some(only) => (only.to_vec(), Vec::new()),
        None => (names.iter().filter_map(|name| Nsid::parse(name).ok()).collect(), prefixes),
    };
    let of = |place: &'a Place| -> Vec<List<'a>> {
        match place.kind {
            UpstreamKind::Pds => vec![(place, None)],
            _ => collections.iter().map(|collection| (place, Some(collection.clone()))).collect(),
        }
    };
    (places.iter().flat_map(of).collect(), prefixes)
}

/// Asks every place for every list and makes jobs of what the policy takes. What could not be read is told, by place.
///
/// # Errors
/// When the database does not answer.
pub async fn survey(
    runner: &Runner,
    survey: &Survey,
    mut listed: impl FnMut(u64),
) -> Result<Vec<(String, DiscoveryError)>, sqlx::Error> {
    let (pool, network) = (&runner.resync.pool, &runner.resync.network);
    let policy = runner.resync.policy.load_full();
    let strategy = runner.settings.strategy;
    let request = |did: &Did| {
        let wanted = policy.refuses(did.as_str()).is_none();
        let (reason, priority) = (survey.reason, survey.priority);
        wanted.then(|| JobRequest { did: did.clone(), reason, strategy, priority })
    };
    if policy.dids == DidRule::Allowlist && !survey.lists_always {
        // The list is complete by itself: nobody else may enter.
        let requests: Vec<JobRequest> = policy.named().filter_map(|did| request(&did)).collect();
        listed(requests.len() as u64);
        enqueue(&mut *pool.acquire().await?, &requests).await?;
        return Ok(Vec::new());
    }
    let (lists, prefixes) = lists(&runner.places, &policy, survey.collections.as_deref());
    if !prefixes.is_empty() {
        tracing::warn!(
            prefixes = prefixes.join(", "),
            "relays cannot be asked for collections by prefix: accounts that have only such records are found when they write"
        );
    }
    let followed = |name: &str| match &survey.collections {
        Some(only) => only.iter().any(|collection| collection.as_str() == name),
        None => policy.collections.contains(name),
    };
    // Most accounts are on several lists. One whose job ended while the next list was read would be looked at again for
    // nothing, and be told as unchanged though this survey fetched it.
    let seen: Mutex<HashSet<Did>> = Mutex::default();
    let seen = || seen.lock().unwrap_or_else(PoisonError::into_inner);
    let unseen = |did: &Did| request(did).filter(|_| !seen().contains(did));
    let first_seen = |did: &Did| request(did).filter(|_| seen().insert(did.clone()));
    let (mut total, mut failed) = (0, Vec::new());
    for (place, collection) in lists {
        let name = collection.as_ref().map_or("", Nsid::as_str);
        if survey.only_missing && is_discovered(pool, &place.endpoint, name).await? {
            continue;
        }
        let before = total;
        let page = |accounts: u64| listed(before + accounts);
        let result = match &collection {
            Some(collection) => {
                discover_by_collection(pool, network, &place.endpoint, collection, first_seen, page).await
            }
            // An account lives on one PDS, which has one list.
            None => discover_pds(pool, network, &place.endpoint, followed, unseen, page).await,
        };
        match result {
            Ok(found) => {
                total += found.accounts;
                tracing::info!(place = place.endpoint, collection = name, accounts = found.accounts, "accounts listed");
            }
            Err(DiscoveryError::Database(error)) => return Err(error),
            Err(error) => failed.push((place.endpoint.clone(), error)),
        }
    }
    Ok(failed)
}

/// The first discovery, then a comparison of everything every so often.
pub(super) async fn keep_surveying(runner: Runner, stopped: watch::Receiver<bool>) {
    let pool = &runner.resync.pool;
    let starts = persist(&stopped, || async {
        Ok(ever_discovered(pool).await? || !ever_done(pool).await? && load_repos(pool).await?.is_empty())
    });
    let starts = starts.await.unwrap_or(false);
    let has_lists = !runner.places.is_empty() || runner.resync.policy.load().dids == DidRule::Allowlist;
    if starts && has_lists {
        first_start(&runner, &stopped).await;
    }
    let Some(every) = runner.settings.coverage_every else { return };
    while !pause(every, &stopped).await {
        compare_all(&runner, every, &stopped).await;
    }
}

/// Until every place was asked once; one that does not answer is asked again and again, seldom in the end.
async fn first_start(runner: &Runner, stopped: &watch::Receiver<bool>) {
    let mut rest = RETRY_FIRST;
    loop {
        match survey(runner, &Survey { only_missing: true, ..Survey::of(Reason::FirstStart) }, |_| {}).await {
            Ok(failed) if failed.is_empty() => return,
            Ok(failed) => {
                let unsupported = |error: &DiscoveryError| matches!(error, DiscoveryError::Unsupported { .. });
                for (place, error) in &failed {
                    tracing::warn!(place, "whose repositories there are could not be read: {error}");
                }
                if failed.iter().all(|(_, error)| unsupported(error)) {
                    return;
                }
            }
            Err(error) => tracing::warn!(%error, "whose repositories there are could not be noted"),
        }
        if pause(rest, stopped).await {
            return;
        }
        rest = (rest * 2).min(RETRY_MAX);
    }
}

/// One round: everything listed and everything in scope gets a job; when those are over the gauges say what they found.
async fn compare_all(runner: &Runner, every: Duration, stopped: &watch::Receiver<bool>) {
    let pool = &runner.resync.pool;
    let Some(since) = persist(stopped, || backfill::now(pool)).await else { return };
    let Some(scope) = persist(stopped, || load_repos(pool)).await else { return };
    let (reason, priority) = (Reason::Coverage, Reason::Coverage.priority());
    match survey(runner, &Survey::of(reason), |_| {}).await {
        Ok(failed) => {
            for (place, error) in failed {
                tracing::warn!(place, "whose repositories there are could not be read: {error}");
            }
        }
        Err(error) => tracing::warn!(%error, "whose repositories there are could not be noted"),
    }
    let strategy = runner.settings.strategy;
    let requests: Vec<JobRequest> =
        scope.keys().map(|did| JobRequest { did: did.clone(), reason, strategy, priority }).collect();
    let ask = || async { enqueue(&mut *pool.acquire().await?, &requests).await };
    if persist(stopped, ask).await.is_none() {
        return;
    }
    drop(requests);
    let began = Instant::now();
    loop {
        let Some(counts) = persist(stopped, || backfill::counts_since(pool, reason, since)).await else { return };
        if counts.queued + counts.running == 0 || began.elapsed() > every {
            break;
        }
        if pause(ROUND_LOOK, stopped).await {
            return;
        }
    }
    let Some(ends) = persist(stopped, || backfill::ends_since(pool, reason, since)).await else { return };
    let known: HashSet<&str> = scope.keys().map(Did::as_str).collect();
    let (mut missing, mut behind, mut unreachable) = (0, 0, 0);
    for (did, outcome) in &ends {
        match outcome.as_str() {
            "fetched_sparse" | "fetched_car" | "fetched_list" if known.contains(did.as_str()) => behind += 1,
            "fetched_sparse" | "fetched_car" | "fetched_list" => missing += 1,
            "unchanged" | "inactive" | "tombstoned" | "not_allowed" => {}
            _ => unreachable += 1,
        }
    }
    let checked = ends.len() as u64;
    backfill::show_coverage(checked, missing, behind, unreachable, chrono::Utc::now());
    tracing::info!(checked, missing, behind, unreachable, "all accounts compared with their hosts");
}
