//! One repository compared with its host, and fetched where it differs.
//!
//! In: a job. Out: findings for ingest, and what became of it. Always true: what is told as a snapshot was signed by the key
//! of the account's DID document, and every block of it has the hash that the tree names; memory is bounded whatever the
//! host sends; a run that is cut short at any point, and done again, ends the same. Never: a lock held while something is
//! fetched. Live events that arrive meanwhile enter the log as they come: words are ranked by revision, so a snapshot
//! cannot undo what is newer than itself.
//!
//! Which strategy is tried, and what it falls back to, is said by `plan` and `Trouble::falls_back`.

mod car;
mod json_record;
mod known;
mod list;
mod rows;
mod sparse;
mod spool;
mod trouble;
mod walk;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;
use tokio::sync::oneshot;

pub use json_record::encode_record;
pub use trouble::{Disposal, Trouble};

use self::known::Known;
use self::rows::Rows;
use crate::decode::PublicKey;
use crate::event::{
    AccountStatus, Cid, Decision, Did, DidDocument, OriginRule, Refusal, Rev, Standing, Upstream, UpstreamKind,
    Verification,
};
use crate::event_log::live_records_without;
use crate::filter::{DropReason, Policy};
use crate::ingest::inlet::{Finding, FoundHandle, Inlet};
use crate::ingest::standing::{decide_by_document, decide_missing};
use crate::network::{Freshness, HostError, IdentityError, LatestCommit, Network, RepoProblem, authority};
use crate::source::backfill::{Outcome, Reason, Strategy, record_fetch};
use crate::telemetry::crash_point;

/// How long finding out where a handle leads may hold up everything else about its account.
const HANDLE_PATIENCE: Duration = Duration::from_secs(5);
/// A document is this fresh at least when there is a reason to doubt.
const DOUBTED: Duration = Duration::from_secs(300);
/// What a host says against an account is checked with a document no older than this.
const LATELY: Duration = Duration::from_secs(5);
/// How often a repository that is written to is read anew.
const RESTARTS: u32 = 3;

/// What a resync works with.
#[derive(Clone)]
pub struct Resync {
    /// For looking at what we hold.
    pub pool: PgPool,
    /// The way to hosts.
    pub network: Network,
    /// Where findings go.
    pub inlet: Inlet,
    /// Which collections, whose.
    pub policy: Arc<ArcSwap<Policy>>,
    /// Where whole repositories lie for a moment.
    pub spool_dir: PathBuf,
    /// Repositories above this are not fetched whole.
    pub repo_bytes_max: u64,
    /// Accounts are compared with documents no older than this.
    pub document_age_max: Duration,
}

/// Where an account lives.
#[derive(Clone, Debug)]
pub struct Target {
    /// Which account.
    pub did: Did,
    /// `host` or `host:port`: the key of per-host limits.
    pub host: Box<str>,
    document: Arc<DidDocument>,
    read_at: DateTime<Utc>,
    endpoint: Box<str>,
    upstream: Arc<Upstream>,
}

/// What a look at a repository did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// The revision that the host shows.
    pub rev: Option<Rev>,
    /// Bytes of the repository that came over the wire.
    pub bytes: u64,
    /// Followed records that it holds.
    pub records: u64,
    /// What went wrong on the way, when something else worked.
    pub detours: Vec<String>,
}

impl Report {
    fn of(outcome: Outcome) -> Self {
        Report { outcome, rev: None, bytes: 0, records: 0, detours: Vec::new() }
    }
}

/// What was read of a repository, before it is said to be complete.
struct Snapshot<'a> {
    rows: Rows<'a>,
    rev: Rev,
    data: Option<Cid>,
    verification: Verification,
}

impl Resync {
    /// Why the policy does not take this account, whoever it turns out to be.
    pub fn shuts_out(&self, did: &Did) -> Option<Refusal> {
        match self.policy.load().refuses(did.as_str()) {
            None => None,
            Some(DropReason::Denied) => Some(Refusal::Denied),
            Some(_) => Some(Refusal::NotAllowed),
        }
    }

    /// Whether the account is in scope.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn in_scope(&self, did: &Did) -> Result<bool, Trouble> {
        Ok(known::in_scope(&mut *self.pool.acquire().await?, did).await?)
    }

    /// Finds out where an account lives.
    ///
    /// # Errors
    /// [`Trouble`] about its identity; a DID that does not exist, or of which that is said, is told to ingest as well.
    pub async fn locate(&self, did: &Did, reason: Reason) -> Result<Target, Trouble> {
        let freshness = match reason {
            Reason::FirstStart | Reason::NewAccount => Freshness::Cached,
            // An #identity event may have been missed too.
            Reason::Coverage | Reason::Gap => Freshness::NotOlderThan(self.document_age_max),
            Reason::Desynchronized | Reason::Reactivated | Reason::Asked | Reason::Origin => {
                Freshness::NotOlderThan(DOUBTED)
            }
        };
        match self.document(did, freshness).await {
            Ok(target) => self.let_in(target).await,
            Err(Trouble::Identity(IdentityError::NotFound)) => self.not_found(did).await,
            Err(Trouble::Identity(error)) if error == IdentityError::Tombstoned => {
                self.tell_missing(did, &error).await?;
                Err(error.into())
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// The directory denies an account. Of one in scope it is asked now, whatever is remembered; when it says the same
    /// once more, whoever looks accounts up settles it: nobody is hidden over an answer that was wrong for a moment.
    async fn not_found(&self, did: &Did) -> Result<Target, Trouble> {
        let known = Known::load(&mut *self.pool.acquire().await?, did).await?;
        if known.in_scope {
            match self.document(did, Freshness::NotOlderThan(LATELY)).await {
                Ok(target) => return self.let_in(target).await,
                Err(Trouble::Identity(IdentityError::NotFound)) => {}
                Err(trouble) => return Err(trouble),
            }
        }
        if known.in_scope && !known.missing {
            self.send(Finding::Doubted { did: did.clone() }).await?;
        } else {
            self.tell_missing(did, &IdentityError::NotFound).await?;
        }
        Err(IdentityError::NotFound.into())
    }

    async fn tell_missing(&self, did: &Did, error: &IdentityError) -> Result<(), Trouble> {
        self.send(Finding::NoIdentity { did: did.clone(), why: error.to_string() }).await?;
        self.tell_refused(did, decide_missing(&self.policy.load(), did), None).await
    }

    /// Nothing is asked of the host of an account whose records may not enter.
    async fn let_in(&self, target: Target) -> Result<Target, Trouble> {
        let decision = decide_by_document(&self.policy.load(), &target.document);
        match decision.standing {
            Standing::Kept(_) => return Ok(target),
            Standing::Refused(_) => {
                self.tell_identity(&target, Some(FoundHandle::Unsaid)).await?;
                self.tell_refused(&target.did, decision, Some(&target)).await?;
            }
            Standing::Held | Standing::Moved => {}
        }
        Err(Trouble::ShutOut(decision))
    }

    /// Tells ingest that an account was offered and is not fetched.
    pub async fn refuse(&self, did: &Did, refusal: Refusal) -> Result<(), Trouble> {
        let rule = if refusal == Refusal::Denied { OriginRule::DenyList } else { OriginRule::AllowlistMode };
        self.tell_refused(did, Decision { standing: Standing::Refused(refusal), rule }, None).await
    }

    async fn tell_refused(&self, did: &Did, decision: Decision, target: Option<&Target>) -> Result<(), Trouble> {
        let upstream = target.map_or_else(
            || Arc::new(Upstream::new(UpstreamKind::Directory, "backfill")),
            |target| target.upstream.clone(),
        );
        let pds = target.map(|target| target.endpoint.clone());
        self.send(Finding::Refused { did: did.clone(), decision, upstream, pds }).await
    }

    async fn document(&self, did: &Did, freshness: Freshness) -> Result<Target, Trouble> {
        let (document, read_at) = self.network.did_document_read(did, freshness).await?;
        let endpoint = document.pds.clone().ok_or(Trouble::Incomplete("PDS"))?;
        let host = authority(&endpoint).ok_or(Trouble::Incomplete("PDS that can be asked"))?;
        let upstream = Arc::new(Upstream::new(UpstreamKind::Pds, host.clone()));
        Ok(Target { did: did.clone(), host, document, read_at, endpoint, upstream })
    }

    /// Compares the repository with what we hold, and fetches it where it differs. Returns when ingest has it.
    ///
    /// # Errors
    /// [`Trouble`]; records found before are in the log, and true by themselves.
    pub async fn run(&self, target: Target, reason: Reason, strategy: Strategy) -> Result<Report, Trouble> {
        match self.attempt(&target, reason, strategy).await {
            // A document that is no longer true looks like this: the account moved, or changed its key.
            Err(trouble) if is_about_identity(&trouble) => {
                let fresh = self.let_in(self.document(&target.did, Freshness::Now).await?).await?;
                if fresh.endpoint == target.endpoint && fresh.document.key == target.document.key {
                    return Err(trouble);
                }
                self.attempt(&fresh, reason, strategy).await
            }
            result => result,
        }
    }

    async fn attempt(&self, target: &Target, reason: Reason, strategy: Strategy) -> Result<Report, Trouble> {
        let known = Known::load(&mut *self.pool.acquire().await?, &target.did).await?;
        // What is compared every few hours tells its identity only when that changed.
        let key = key_of(&target.document).ok().map(|key| key.to_did_key());
        let claims = target.document.handle.as_ref().map(|handle| handle.as_str().to_ascii_lowercase());
        let news = reason != Reason::Coverage
            // By its document it may enter, by the last verdict not: ingest must hear of it before it takes anything.
            || !known.kept
            || known.pds.as_deref() != Some(&*target.endpoint)
            || known.signing_key != key
            || known.handle != claims;
        let looked = async {
            let handle = match news {
                true => tokio::time::timeout(HANDLE_PATIENCE, self.network.verified_handle(&target.document)).await,
                false => return None,
            };
            Some(match handle {
                Ok(Ok(Some(handle))) => FoundHandle::Leads(handle),
                Ok(Ok(None)) => FoundHandle::Nowhere,
                Ok(Err(_)) | Err(_) => FoundHandle::Unsaid,
            })
        };
        let asked_at = Utc::now();
        let (handle, latest) = tokio::join!(looked, self.network.latest_commit(&target.endpoint, &target.did));
        if known.in_scope && handle.is_some() {
            self.tell_identity(target, handle.clone()).await?;
        }
        let latest = match latest {
            Ok(latest) => latest,
            Err(error) => return self.withheld(target, error).await,
        };
        if let Some(ours) = known.rev {
            if latest.rev < ours {
                return self.rolled_back(target, latest.rev, ours).await;
            }
            if latest.rev == ours && known.synced && reason != Reason::Reactivated {
                let (stored, done) = oneshot::channel();
                let (did, upstream) = (target.did.clone(), target.upstream.clone());
                self.send(Finding::Unchanged { did, rev: latest.rev, upstream, asked_at, stored }).await?;
                done.await.map_err(|_| Trouble::NotTaken)?;
                return Ok(Report { rev: Some(latest.rev), ..Report::of(Outcome::Unchanged) });
            }
        }
        // An account that is not in scope yet enters with its first record: only then there is somebody to be told about.
        let handle = handle.filter(|_| !known.in_scope);
        self.fetch(target, (latest, asked_at), &known, strategy, handle).await
    }

    /// Tries the strategies in order, and tells ingest that all is there once one of them got through.
    async fn fetch<'a>(
        &'a self,
        target: &'a Target,
        (mut latest, asked_at): (LatestCommit, DateTime<Utc>),
        known: &Known,
        asked: Strategy,
        handle: Option<FoundHandle>,
    ) -> Result<Report, Trouble> {
        let (mut detours, mut bytes, mut restarts) = (Vec::new(), 0, 0);
        let proven = known.proven();
        let mut plan = trouble::plan(asked).iter().copied().peekable();
        while let Some(strategy) = plan.peek().copied() {
            let mut moved = 0;
            let result = match strategy {
                Strategy::Sparse | Strategy::Auto => self.sparse(target, latest, proven, &mut moved).await,
                Strategy::Car => self.car(target, proven, &mut moved).await,
                Strategy::List => self.list(target, latest, &mut moved).await,
            };
            bytes += moved;
            record_fetch(strategy, moved, result.as_ref().map_or(0, |snapshot| snapshot.rows.records()));
            match result {
                Ok(snapshot) => {
                    if let Some(ours) = known.rev.filter(|ours| snapshot.rev < *ours) {
                        return self.rolled_back(target, snapshot.rev, ours).await;
                    }
                    let (rev, records, unusable) = (snapshot.rev, snapshot.rows.records(), snapshot.rows.unusable());
                    self.complete(target, snapshot, handle, asked_at).await?;
                    if unusable > 0 {
                        detours.push(format!("{unusable} records cannot be used"));
                    }
                    let outcome = match strategy {
                        Strategy::Car => Outcome::FetchedCar,
                        Strategy::List => Outcome::FetchedList,
                        Strategy::Sparse | Strategy::Auto => Outcome::FetchedSparse,
                    };
                    return Ok(Report { outcome, rev: Some(rev), bytes, records, detours });
                }
                Err(trouble) => {
                    detours.push(format!("{strategy}: {trouble}"));
                    // Blocks that are gone may only mean that the repository moved on: then the same again.
                    let head = match trouble {
                        Trouble::Missing(_) | Trouble::MovedOn | Trouble::Host(_) if restarts < RESTARTS => {
                            self.network.latest_commit(&target.endpoint, &target.did).await.ok()
                        }
                        _ => None,
                    };
                    match head {
                        Some(head) if head.rev > latest.rev => {
                            restarts += 1;
                            latest = head;
                        }
                        _ => {
                            plan.next();
                            if plan.peek().is_none() || !trouble.falls_back(strategy) {
                                return Err(trouble);
                            }
                        }
                    }
                }
            }
        }
        unreachable!("a plan has a strategy, and its last one returns")
    }

    /// What the repository no longer holds is looked up only now, when all of it is known.
    async fn complete(
        &self,
        target: &Target,
        mut snapshot: Snapshot<'_>,
        handle: Option<FoundHandle>,
        asked_at: DateTime<Utc>,
    ) -> Result<(), Trouble> {
        snapshot.rows.flush().await?;
        self.tell_identity(target, handle).await?;
        let gone = {
            let mut connection = self.pool.acquire().await?;
            let holds = |collection: &str, rkey: &str| snapshot.rows.holds(collection, rkey);
            live_records_without(&mut connection, &target.did, snapshot.rev, holds).await?
        };
        crash_point("resync before complete");
        let (stored, done) = oneshot::channel();
        self.send(Finding::Complete {
            did: target.did.clone(),
            rev: snapshot.rev,
            data: snapshot.data,
            upstream: target.upstream.clone(),
            verification: snapshot.verification,
            gone,
            asked_at,
            stored,
        })
        .await?;
        done.await.map_err(|_| Trouble::NotTaken)
    }

    async fn rolled_back(&self, target: &Target, theirs: Rev, ours: Rev) -> Result<Report, Trouble> {
        let (stored, done) = oneshot::channel();
        self.send(Finding::RolledBack { did: target.did.clone(), stored }).await?;
        done.await.map_err(|_| Trouble::NotTaken)?;
        Err(Trouble::RolledBack { theirs, ours })
    }

    async fn tell_identity(&self, target: &Target, handle: Option<FoundHandle>) -> Result<(), Trouble> {
        let Some(handle) = handle else { return Ok(()) };
        self.send(Finding::Identity { document: target.document.clone(), handle, time: target.read_at }).await
    }

    /// The host does not show the repository. When the host that the account lives on by now says so, that is the answer.
    async fn withheld(&self, target: &Target, error: HostError) -> Result<Report, Trouble> {
        let Some(problem) = error.repo_problem() else { return Err(error.into()) };
        // Who moves leaves an account behind that is switched off.
        let fresh = self.document(&target.did, Freshness::NotOlderThan(LATELY)).await?;
        if fresh.endpoint != target.endpoint {
            return Err(Trouble::Elsewhere);
        }
        let (active, status) = match self.network.repo_status(&target.endpoint, &target.did).await {
            Ok(status) => (status.active, status.status),
            // Deleted accounts are unknown to their host. Should it find the account again, all of it is fetched anew.
            Err(asked) if problem == RepoProblem::NotFound => match asked.repo_problem() {
                Some(RepoProblem::NotFound) => (false, AccountStatus::Deleted),
                _ => return Err(error.into()),
            },
            // Old hosts do not know getRepoStatus; the error's name says it too.
            Err(_) => {
                let status = match problem {
                    RepoProblem::Takendown => AccountStatus::Takendown,
                    RepoProblem::Suspended => AccountStatus::Suspended,
                    _ => AccountStatus::Deactivated,
                };
                (false, status)
            }
        };
        if active {
            return Err(error.into());
        }
        let (did, upstream) = (target.did.clone(), target.upstream.clone());
        self.send(Finding::Account { did, active, status, time: Utc::now(), upstream }).await?;
        Ok(Report::of(Outcome::Inactive))
    }

    async fn send(&self, finding: Finding) -> Result<(), Trouble> {
        self.inlet.send(finding).await.map_err(|_| Trouble::IngestEnded)
    }
}

/// Whether a newer DID document may be what is missing.
fn is_about_identity(trouble: &Trouble) -> bool {
    match trouble {
        Trouble::Host(error) => error.not_before.is_none() && !error.passes(),
        Trouble::Refused(_) | Trouble::Elsewhere => true,
        _ => false,
    }
}

/// A revision so far ahead of the clock is nobody's.
fn check_rev(rev: Rev) -> Result<(), Trouble> {
    let latest = (Utc::now() + TimeDelta::minutes(5)).timestamp_micros();
    if rev.micros() > latest.unsigned_abs() {
        return Err(Trouble::Refused(format!("revision {rev} lies in the future")));
    }
    Ok(())
}

/// The key that the document names.
fn key_of(document: &DidDocument) -> Result<PublicKey, Trouble> {
    let text = document.key.as_ref().ok_or(Trouble::Incomplete("signing key"))?;
    PublicKey::read(text).map_err(|e| Trouble::Refused(format!("the signing key of the DID document: {e}")))
}
