//! One attempt, from the lease to what is stored of it.
//!
//! Whoever dies in its middle leaves a lease that ends; the next attempt reads what the PDS holds before it writes.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::Duration;

use sqlx::PgPool;
use tokio::time::sleep;

use super::desk::Inner;
use super::failure::{Failure, Stop};
use super::hosts::Seen;
use super::job::{self, Done, Job};
use super::record::Way;
use super::retry::{Pauses, Trouble, Verdict};
use super::{batch, metric};
use crate::db::passes;
use crate::telemetry::{LogBudget, crash_point};

/// How long a lease holds without a word from its holder: after so long the intents of a process that was killed go on.
pub(super) const LEASE: Duration = Duration::from_secs(15);
/// How often its holder renews it.
const RENEW_EVERY: Duration = Duration::from_secs(4);
/// Between attempts to store an outcome in a database that is away. Past the lease somebody else finds out what became of it.
const DATABASE_PAUSE: Duration = Duration::from_millis(250);
const DATABASE_TRIES: usize = 40;
/// What a PDS's return lets go at once is spread over this time.
const RETURN_SPREAD: Duration = Duration::from_secs(2);

static REFUSALS: LazyLock<LogBudget> = LazyLock::new(|| LogBudget::new(10));

/// An attempt's place among those at its host. Given back when it is dropped.
pub(super) struct Place {
    inner: Arc<Inner>,
    pds: String,
    given_back: bool,
}

impl Place {
    /// Takes one.
    pub fn take(inner: &Arc<Inner>, pds: &str) -> Self {
        inner.hosts.begin(pds);
        Place { inner: inner.clone(), pds: pds.to_owned(), given_back: false }
    }

    /// Takes one for an attempt that somebody waits for; none at a host that is away.
    pub fn try_take(inner: &Arc<Inner>, pds: &str) -> Option<Self> {
        inner.hosts.try_begin(pds).then(|| Place { inner: inner.clone(), pds: pds.to_owned(), given_back: false })
    }

    /// Gives it back with what was found out. Whether the host came back after it was away.
    fn give_back(mut self, seen: Seen) -> bool {
        self.given_back = true;
        self.inner.hosts.end(&self.pds, seen)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.given_back {
            self.inner.hosts.end(&self.pds, Seen::Nothing);
        }
    }
}

/// Attempts an intent that is leased, and, where that serves, what else of its account waits to be made.
pub(super) async fn run(inner: &Arc<Inner>, id: i64, place: Place) {
    let attempt = Attempt { inner, leased: Mutex::new(vec![id]), seen: Mutex::new(Seen::Nothing) };
    let outcome = tokio::select! {
        outcome = attempt.carry_out(id) => outcome,
        never = attempt.keep_leases() => match never {},
    };
    if let Err(error) = outcome {
        tracing::warn!(%error, intent = id, "an intent's attempt ends without the database; it goes on when its lease ends");
    }
    let seen = *locked(&attempt.seen);
    let pds = place.pds.clone();
    if place.give_back(seen) {
        tracing::info!(%pds, "the PDS is back; what waits for it goes on");
        if let Err(error) = let_go(&inner.parts.pool, &pds).await {
            tracing::debug!(%error, %pds, "what waits for the PDS goes on when its pauses end");
        }
    }
    inner.wake.notify_one();
}

struct Attempt<'a> {
    inner: &'a Inner,
    leased: Mutex<Vec<i64>>,
    seen: Mutex<Seen>,
}

impl Attempt<'_> {
    fn pool(&self) -> &PgPool {
        &self.inner.parts.pool
    }

    fn note(&self, seen: Seen) {
        if seen != Seen::Nothing {
            *locked(&self.seen) = seen;
        }
    }

    async fn keep_leases(&self) -> Infallible {
        loop {
            sleep(RENEW_EVERY).await;
            let leases = locked(&self.leased).clone();
            let renewed = sqlx::query(
                "update publish.intent set leased_until = clock_timestamp() + make_interval(secs => $2)
                 where id = any($1) and state in ('wanted', 'attempted') and leased_until is not null",
            );
            if let Err(error) = renewed.bind(leases).bind(LEASE.as_secs_f64()).execute(self.pool()).await {
                tracing::debug!(%error, "leases are not renewed");
            }
        }
    }

    async fn carry_out(&self, id: i64) -> Result<(), sqlx::Error> {
        let Some(job) = job::load(self.pool(), &[id]).await?.pop() else { return Ok(()) };
        let way = match self.way(&job).await {
            Ok(way) => way,
            Err(failure) => return self.settle(job, Err(failure.into())).await,
        };
        let mut jobs = vec![job];
        if batch::takes_part(&jobs[0]) {
            let more = batch::lease_more(self.pool(), &jobs[0]).await?;
            if !more.is_empty() {
                locked(&self.leased).extend(&more);
                jobs.extend(job::load(self.pool(), &more).await?);
                let sorted = way.make(jobs).await;
                jobs = sorted.left;
                if !sorted.done.is_empty() {
                    self.note(Seen::Up);
                    // What did not fit has its turn later, behind other accounts.
                    self.release(std::mem::take(&mut jobs)).await?;
                    self.acknowledged(&sorted.done).await?;
                }
                // Before what failed is settled: of a trouble of the account's all of it is told.
                self.release(sorted.given_back).await?;
                for (job, stop) in sorted.failed {
                    self.settle(job, Err(stop)).await?;
                }
            }
        }
        let mut jobs = jobs.into_iter();
        while let Some(mut job) = jobs.next() {
            let outcome = way.carry_out(&mut job).await;
            if let Err(Stop::Failed(failure)) = &outcome
                && (failure.is_of_the_account() || !matches!(failure.seen, Seen::Up | Seen::Nothing))
            {
                // The others would find the same.
                self.release(jobs.by_ref().collect()).await?;
            }
            self.settle(job, outcome).await?;
        }
        Ok(())
    }

    /// The way to the account's PDS, if we may write there and can act for it.
    async fn way(&self, job: &Job) -> Result<Way<'_>, Failure> {
        let parts = &self.inner.parts;
        let not_linked = || {
            let detail = format!("user {:?} is not linked with {}", job.user, job.uri.did);
            Failure::new(Trouble::NoAccount, detail)
        };
        let may_write = |pds: &str| (parts.may_write)(pds).map_err(|why| Failure::new(Trouble::NotOurs, why));
        // Before anything is asked of that PDS: a sign-in would show it the account's password.
        may_write(job.pds.as_deref().ok_or_else(not_linked)?)?;
        let session = parts.sessions.session_for(&job.user).await;
        // Signing in is no write: whatever became of it, nothing of the intent was sent.
        let session = session.map_err(|e| Failure { unknown: false, never_sent: true, ..Failure::from(&e) })?;
        if session.account().did != job.uri.did.as_str() {
            return Err(not_linked());
        }
        may_write(&session.account().pds)?;
        Ok(Way { inner: self.inner, session })
    }

    /// Stores what became of one.
    async fn settle(&self, job: Job, outcome: Result<Done, Stop>) -> Result<(), sqlx::Error> {
        let failure = match outcome {
            Ok(done) => {
                self.note(Seen::Up);
                return self.acknowledged(&[(job, done)]).await;
            }
            Err(Stop::Gone) => return Ok(()),
            Err(Stop::Database(error)) => return Err(error),
            Err(Stop::Failed(failure)) => *failure,
        };
        locked(&self.leased).retain(|id| *id != job.id);
        self.note(failure.seen);
        metric::failed(failure.trouble);
        let options = &self.inner.parts.options;
        let pauses = Pauses { first: options.retry_first, max: options.retry_max };
        let next = failure.trouble.pause(job.attempts + 1, pauses, failure.told, rand::random());
        let next = match (next, failure.trouble.verdict()) {
            (Some(pause), _) => Ok(pause),
            (None, Verdict::Conflict) => Err("conflict"),
            (None, _) => Err("refused"),
        };
        let (trouble, detail) = (failure.trouble.as_str(), &failure.detail);
        if let Some(permit) = REFUSALS.take(trouble) {
            let (uri, suppressed) = (&job.uri, permit.suppressed);
            match next {
                Ok(pause) => {
                    tracing::info!(%uri, trouble, detail, ?pause, suppressed, "not published yet; tried again")
                }
                Err(ended) => tracing::warn!(%uri, trouble, detail, suppressed, "not published: {ended}"),
            }
        }
        again(|| Box::pin(job::failed(self.pool(), &job, &failure, next))).await?;
        if let (true, Ok(pause)) = (failure.is_of_the_account(), next) {
            job::failed_beside(self.pool(), &job, &failure, pause).await?;
        }
        Ok(())
    }

    async fn acknowledged(&self, done: &[(Job, Done)]) -> Result<(), sqlx::Error> {
        for seconds in again(|| Box::pin(job::acknowledged(self.pool(), done))).await? {
            metric::acknowledged(seconds);
        }
        locked(&self.leased).retain(|id| !done.iter().any(|(job, _)| job.id == *id));
        crash_point("publish.acknowledged");
        Ok(())
    }

    /// Gives back what was leased and not tried.
    async fn release(&self, jobs: Vec<Job>) -> Result<(), sqlx::Error> {
        if jobs.is_empty() {
            return Ok(());
        }
        let (ids, maybe_written): (Vec<i64>, Vec<bool>) = jobs.iter().map(|job| (job.id, job.maybe_written)).unzip();
        locked(&self.leased).retain(|id| !ids.contains(id));
        sqlx::query(
            "update publish.intent i
             set leased_until = null, maybe_written = d.maybe_written,
                 state = case when d.maybe_written then 'attempted' else 'wanted' end
             from unnest($1::bigint[], $2::bool[]) d (id, maybe_written)
             where i.id = d.id and i.state in ('wanted', 'attempted')",
        )
        .bind(ids)
        .bind(maybe_written)
        .execute(self.pool())
        .await?;
        Ok(())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

type Storing<'a, T> = Pin<Box<dyn Future<Output = Result<T, sqlx::Error>> + Send + 'a>>;

/// Stores an outcome, also when the database comes and goes.
async fn again<'a, T>(store: impl Fn() -> Storing<'a, T>) -> Result<T, sqlx::Error> {
    for _ in 1..DATABASE_TRIES {
        match store().await {
            Err(error) if passes(&error) => sleep(DATABASE_PAUSE).await,
            other => return other,
        }
    }
    store().await
}

/// What waits because its PDS was away goes on, spread over a little time.
async fn let_go(pool: &PgPool, pds: &str) -> Result<(), sqlx::Error> {
    let words: Vec<&str> =
        Trouble::ALL.iter().filter(|trouble| trouble.is_of_the_host()).map(|trouble| trouble.as_str()).collect();
    sqlx::query(
        "update publish.intent i set next_at = least(i.next_at, now() + random() * make_interval(secs => $3))
         from publish.record r join identity.account a on a.did = r.did
         where r.id = i.record_id and a.pds = $1 and i.state in ('wanted', 'attempted') and i.trouble = any($2)
             and i.next_at > now()",
    )
    .bind(pds)
    .bind(words)
    .bind(RETURN_SPREAD.as_secs_f64())
    .execute(pool)
    .await?;
    Ok(())
}
