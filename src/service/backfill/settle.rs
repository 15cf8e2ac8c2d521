//! One job from claim to end, and what each sort of trouble does to it: the one table of that.

use std::time::Duration;

use chrono::Utc;
use rand::RngExt;
use tokio::sync::watch;

use super::{Busy, DATABASE_PAUSE, Runner, name_of};
use crate::db::passes;
use crate::ingest::resync::{Disposal, Report, Trouble};
use crate::service::stop;
use crate::source::backfill::{
    Job, Outcome, count_outcome, defer, fail, finish, host_answered, host_failed, host_limited, host_pause, retry_later,
};
use crate::telemetry::{LogBudget, crash_point};

/// How often an account's own trouble is tried to get over before it is named a failure.
const ATTEMPTS: i32 = 4;
/// The same for hosts that ask for pauses.
const ATTEMPTS_LIMITED: i32 = 12;
/// The pause after an account's first trouble; each further one waits four times as long.
const PAUSE_FIRST: Duration = Duration::from_secs(3);
/// How long a failed job rests at first; doubles with every further failure.
const REST_FIRST: Duration = Duration::from_secs(3_600);
/// The first rest of an account that its directory denies; each further one lasts four times as long.
const REST_DENIED: Duration = Duration::from_secs(15);
/// The longest rest.
const REST_MAX: Duration = Duration::from_secs(24 * 3_600);

/// Strangers' mishaps may fill counters, not disks.
static FAILURES: std::sync::LazyLock<LogBudget> = std::sync::LazyLock::new(|| LogBudget::new(20));

/// Does one job and notes how it ended.
pub(super) async fn work(runner: Runner, job: Job, busy: Busy, stopped: watch::Receiver<bool>) {
    let pool = &runner.resync.pool;
    crash_point("job claimed");
    if let Some(refusal) = runner.resync.shuts_out(&job.did) {
        if let Err(trouble) = runner.resync.refuse(&job.did, refusal).await {
            return settle_trouble(&runner, &job, None, trouble, &stopped).await;
        }
        persist(&stopped, || finish(pool, &job.did, Outcome::NotAllowed, None, None, (0, 0))).await;
        count_outcome(Outcome::NotAllowed);
        return;
    }
    let target = match runner.resync.locate(&job.did, job.reason).await {
        Ok(target) => target,
        Err(trouble) => return settle_trouble(&runner, &job, None, trouble, &stopped).await,
    };
    let host = target.host.clone();
    // The host may be known only now; a job that came here for nothing makes room for others.
    match persist(&stopped, || host_pause(pool, &host, &runner.settings.pauses)).await {
        None => return,
        Some(Some(parked)) if parked.given_up => {
            let rest = (parked.parked_until - Utc::now()).to_std().unwrap_or_default();
            let error = format!("{host} failed {} times in a row and is left alone", parked.failures);
            persist(&stopped, || fail(pool, &job.did, Outcome::HostUnreachable, Some(&host), &error, Some(rest))).await;
            count_outcome(Outcome::HostUnreachable);
            return;
        }
        Some(Some(_)) => {
            persist(&stopped, || defer(pool, &job.did, Some(&host))).await;
            return;
        }
        Some(None) => {}
    }
    let Some(_seat) = busy.sit(&host, runner.settings.per_host) else {
        persist(&stopped, || defer(pool, &job.did, Some(&host))).await;
        return;
    };
    let strategy = match job.strategy {
        crate::source::backfill::Strategy::Auto => runner.settings.strategy,
        asked => asked,
    };
    match runner.resync.run(target, job.reason, strategy).await {
        Ok(report) => settle_report(&runner, &job, &host, report, &stopped).await,
        Err(trouble) => settle_trouble(&runner, &job, Some(&host), trouble, &stopped).await,
    }
}

async fn settle_report(runner: &Runner, job: &Job, host: &str, report: Report, stopped: &watch::Receiver<bool>) {
    let pool = &runner.resync.pool;
    crash_point("resync stored before job done");
    if !report.detours.is_empty() {
        tracing::debug!(job = name_of(job), outcome = %report.outcome, detours = report.detours.join("; "), "fetched by a detour");
    }
    let moved = (report.bytes, report.records);
    persist(stopped, || finish(pool, &job.did, report.outcome, Some(host), report.rev, moved)).await;
    persist(stopped, || host_answered(pool, host)).await;
    count_outcome(report.outcome);
}

async fn settle_trouble(
    runner: &Runner,
    job: &Job,
    host: Option<&str>,
    trouble: Trouble,
    stopped: &watch::Receiver<bool>,
) {
    let (pool, did) = (&runner.resync.pool, &job.did);
    let (outcome, words) = (trouble.outcome(), trouble.to_string());
    // A directory that does not answer is a host like any other.
    let host = trouble.host().or(host);
    if outcome.is_good() {
        persist(stopped, || finish(pool, did, outcome, host, None, (0, 0))).await;
        count_outcome(outcome);
        return;
    }
    match (trouble.disposal(), host) {
        (Disposal::Ours, _) => {
            tracing::warn!(job = name_of(job), "a job waits for our own side: {words}");
            persist(stopped, || defer(pool, did, host)).await;
            pause(DATABASE_PAUSE, stopped).await;
        }
        (Disposal::HostFailed, Some(host)) => {
            let Some(failure) = persist(stopped, || host_failed(pool, host, &words, &runner.settings.pauses)).await
            else {
                return;
            };
            let rest = (failure.parked_until - Utc::now()).to_std().unwrap_or_default();
            if failure.given_up {
                give_up(runner, job, outcome, Some(host), &words, rest, stopped).await;
            } else {
                persist(stopped, || retry_later(pool, did, outcome, Some(host), &words, rest)).await;
            }
        }
        (Disposal::HostLimited, Some(host)) => {
            let rest = match &trouble {
                Trouble::Host(error) | Trouble::Identity(crate::network::IdentityError::Unreachable(error)) => {
                    error.pause()
                }
                _ => Duration::ZERO,
            };
            let rest = rest.max(Duration::from_millis(500));
            persist(stopped, || host_limited(pool, host, &words, rest)).await;
            if job.attempts >= ATTEMPTS_LIMITED {
                give_up(
                    runner,
                    job,
                    outcome,
                    Some(host),
                    &words,
                    growing(REST_FIRST, job.attempts - ATTEMPTS_LIMITED, 2),
                    stopped,
                )
                .await;
            } else {
                persist(stopped, || retry_later(pool, did, outcome, Some(host), &words, rest)).await;
            }
        }
        (Disposal::Retry, _) if job.attempts < ATTEMPTS => {
            let rest = growing(PAUSE_FIRST, job.attempts - 1, 4);
            persist(stopped, || retry_later(pool, did, outcome, host, &words, rest)).await;
        }
        (Disposal::Denied, _) => {
            let rest = growing(REST_DENIED, job.attempts - 1, 4);
            give_up(runner, job, outcome, host, &words, rest, stopped).await;
        }
        _ => {
            let rest = growing(REST_FIRST, job.attempts - 1, 2);
            give_up(runner, job, outcome, host, &words, rest, stopped).await;
        }
    }
}

/// Names the failure. Accounts in scope are tried again for ever, seldom; of others nothing is held that could be wrong.
async fn give_up(
    runner: &Runner,
    job: &Job,
    outcome: Outcome,
    host: Option<&str>,
    words: &str,
    rest: Duration,
    stopped: &watch::Receiver<bool>,
) {
    let pool = &runner.resync.pool;
    let in_scope = runner.resync.in_scope(&job.did).await.unwrap_or(true);
    let settled = matches!(outcome, Outcome::NotFound | Outcome::IdentityUnresolved | Outcome::HostError);
    let rest = (in_scope || !settled).then_some(rest);
    if let Some(permit) = FAILURES.take(outcome.as_str()) {
        tracing::warn!(
            job = name_of(job), host, outcome = %outcome, suppressed = permit.suppressed,
            "a repository cannot be compared with its host: {words}"
        );
    }
    persist(stopped, || fail(pool, &job.did, outcome, host, words, rest)).await;
    count_outcome(outcome);
}

/// `first` times `factor` to the power of `times`, at most a day, with a quarter of jitter.
fn growing(first: Duration, times: i32, factor: u32) -> Duration {
    let times = u32::try_from(times.clamp(0, 12)).expect("it is clamped");
    let whole = first.saturating_mul(factor.saturating_pow(times)).min(REST_MAX);
    whole.mul_f64(rand::rng().random_range(0.875..1.125))
}

/// Asks the database until it answers. `None` when the process is told to stop first, or when it will not do what is
/// asked: then the job stays marked as running, and the next start takes it up.
pub(super) async fn persist<T, F: Future<Output = Result<T, sqlx::Error>>>(
    stopped: &watch::Receiver<bool>,
    ask: impl Fn() -> F,
) -> Option<T> {
    loop {
        match ask().await {
            Ok(value) => return Some(value),
            Err(error) if passes(&error) => tracing::warn!(%error, "a job cannot be noted; tried again"),
            Err(error) => {
                tracing::error!(%error, "a job cannot be noted");
                return None;
            }
        }
        if pause(DATABASE_PAUSE, stopped).await {
            return None;
        }
    }
}

/// Waits. Whether the process was told to stop meanwhile.
pub(super) async fn pause(pause: Duration, stopped: &watch::Receiver<bool>) -> bool {
    tokio::select! {
        () = stop::wait(stopped.clone()) => true,
        () = tokio::time::sleep(pause) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_denied_is_asked_for_often_at_first_and_seldom_in_the_end() {
        let rests = |until: u64| {
            let rest = |times| growing(REST_DENIED, times, 4).as_secs();
            let mut times = (0..).scan(0, |time, times| {
                *time += rest(times);
                Some(*time)
            });
            times.position(|time| time > until).expect("they go on")
        };
        assert!(rests(60) >= 1 && rests(600) >= 3, "{} {}", rests(60), rests(600));
        assert!(rests(86_400) <= 7, "{}", rests(86_400));
    }

    #[test]
    fn rests_grow_and_end_at_a_day() {
        let hours = |times| growing(REST_FIRST, times, 2).as_secs_f64() / 3600.0;
        assert!((0.8..1.2).contains(&hours(0)), "{}", hours(0));
        assert!((3.4..4.6).contains(&hours(2)), "{}", hours(2));
        for times in [10, 1_000, i32::MAX] {
            assert!((20.0..27.1).contains(&hours(times)), "{}", hours(times));
        }
    }
}
