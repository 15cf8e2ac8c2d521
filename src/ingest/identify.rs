//! Looking up the documents of accounts whose frames wait, or who said "look again".
//!
//! In: DIDs, from ingest. Out: findings: who they are, and the frames that waited for it. Always true: an account whose
//! directory or host cannot be reached is asked again with growing pauses, for as long as ingest runs; its frames wait
//! meanwhile, and so do those of one of our users who moved, until the new host confirms it. Never: a frame let go without
//! an answer.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rand::RngExt;
use sqlx::PgPool;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::held;
use super::inlet::{Finding, FoundHandle, Inlet};
use super::standing::decide_by_document;
use crate::event::{AccountStatus, Did, DidDocument, Standing};
use crate::filter::Policy;
use crate::network::{Freshness, IdentityError, Network};
use crate::telemetry::{LogBudget, crash_point};

/// Look-ups at once. The network keeps to less for each host.
const AT_ONCE: usize = 64;
/// The shortest time between two look-ups of one account: a host that sends bad signatures must not make us ask for ever.
const APART: Duration = Duration::from_secs(2);
/// The shortest and the longest pause after a failure.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// A directory may not know for some seconds what was just made.
const NOT_FOUND_TRIES: u32 = 3;

static TROUBLE: std::sync::LazyLock<LogBudget> = std::sync::LazyLock::new(|| LogBudget::new(10));

/// Looks accounts up.
pub struct Identifier {
    /// Whom to ask.
    pub network: Network,
    /// Where frames wait.
    pub pool: PgPool,
    /// Where findings go.
    pub inlet: Inlet,
    /// Who is asked for.
    pub asks: mpsc::UnboundedReceiver<Did>,
    /// What to take in.
    pub policy: Arc<ArcSwap<Policy>>,
    /// Told that one of our users lives on another PDS by now, by its endpoint. The policy knows it when this returns.
    pub on_move: OnMove,
}

/// Writes down that one of our users lives on another PDS by now. An error says why that cannot be done yet.
pub type OnMove = Arc<dyn Fn(Did, Box<str>) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

impl Identifier {
    /// Works until `stop` turns true, or nobody asks any more.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let desk = Arc::new(Desk {
            network: self.network,
            pool: self.pool,
            inlet: self.inlet,
            policy: self.policy,
            on_move: self.on_move,
            slots: Semaphore::new(AT_ONCE),
        });
        let mut tasks = JoinSet::new();
        let mut last: HashMap<Did, Instant> = HashMap::new();
        loop {
            let did = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                _ = tasks.join_next(), if !tasks.is_empty() => continue,
                did = self.asks.recv() => did,
            };
            let Some(did) = did else { break };
            let now = Instant::now();
            if last.len() > 10_000 {
                last.retain(|_, at| now.duration_since(*at) < APART);
            }
            let at = last.get(&did).map_or(now, |at| (*at + APART).max(now));
            last.insert(did.clone(), at);
            let desk = desk.clone();
            tasks.spawn(async move { desk.look_up(did, at).await });
        }
        tasks.shutdown().await;
    }
}

struct Desk {
    network: Network,
    pool: PgPool,
    inlet: Inlet,
    policy: Arc<ArcSwap<Policy>>,
    on_move: OnMove,
    slots: Semaphore,
}

impl Desk {
    /// Asks until there is an answer, and tells it. Ends early when ingest has ended.
    async fn look_up(&self, did: Did, mut at: Instant) {
        let mut failures = 0u32;
        loop {
            sleep_until(at).await;
            let answer = {
                let _slot = self.slots.acquire().await.expect("the semaphore is never closed");
                self.ask(&did, failures).await
            };
            match answer {
                Answer::Told => return,
                Answer::Later(why) => {
                    if let Some(permit) = TROUBLE.take("identity") {
                        tracing::warn!(%did, suppressed = permit.suppressed, "who this is cannot be found out now: {why}");
                    }
                    let longest = PAUSE.1.min(PAUSE.0 * 2u32.saturating_pow(failures.min(16)));
                    failures += 1;
                    at = Instant::now() + longest.mul_f64(rand::rng().random_range(0.5..1.0));
                }
            }
        }
    }

    async fn ask(&self, did: &Did, failures: u32) -> Answer {
        let (document, time) = match self.network.did_document_read(did, Freshness::Now).await {
            Ok(read) => read,
            Err(IdentityError::NotFound) if failures + 1 < NOT_FOUND_TRIES => {
                return Answer::Later(IdentityError::NotFound.to_string());
            }
            Err(error @ (IdentityError::NotFound | IdentityError::Tombstoned | IdentityError::Unsupported(_))) => {
                let told = self.inlet.send(Finding::NoIdentity { did: did.clone(), why: error.to_string() }).await;
                return if told.is_err() { Answer::Told } else { self.let_go(did).await };
            }
            Err(error) => return Answer::Later(error.to_string()),
        };
        let (handle, unsaid) = match self.network.verified_handle(&document).await {
            Ok(Some(handle)) => (FoundHandle::Leads(handle), None),
            Ok(None) => (FoundHandle::Nowhere, None),
            // The key is known all the same: frames need not wait for the handle.
            Err(error) => (FoundHandle::Unsaid, Some(error.to_string())),
        };
        crash_point("identity found before told");
        if self.inlet.send(Finding::Identity { document: document.clone(), handle, time }).await.is_err() {
            return Answer::Told;
        }
        crash_point("identity told before held frames");
        if decide_by_document(&self.policy.load(), &document).standing == Standing::Moved
            && let Err(why) = self.confirm_move(&document).await
        {
            return Answer::Later(why);
        }
        match self.let_go(did).await {
            Answer::Told => unsaid.map_or(Answer::Told, Answer::Later),
            later => later,
        }
    }

    /// Hands in the frames that waited.
    async fn let_go(&self, did: &Did) -> Answer {
        match held::read(&self.pool, did, i64::MIN).await {
            Ok(frames) => {
                let _ended = self.inlet.send(Finding::Held { did: did.clone(), frames }).await;
                Answer::Told
            }
            Err(error) => Answer::Later(error.to_string()),
        }
    }

    /// One of our users lives elsewhere, by a document just read. The host that it names must know the account too.
    async fn confirm_move(&self, document: &DidDocument) -> Result<(), String> {
        let did = &document.did;
        let pds = document.pds.as_deref().ok_or("its document names no PDS")?;
        let status = self.network.repo_status(pds, did).await;
        let status = status.map_err(|e| format!("it moved to {pds}, which does not confirm that: {e}"))?;
        if !status.active && matches!(status.status, AccountStatus::Deleted | AccountStatus::Deactivated) {
            return Err(format!("it moved to {pds}, where it is {}", status.status.as_str()));
        }
        (self.on_move)(did.clone(), pds.into()).await?;
        tracing::info!(%did, pds, "one of our users moved to another PDS");
        Ok(())
    }
}

enum Answer {
    /// It was told, or nobody listens any more.
    Told,
    Later(String),
}
