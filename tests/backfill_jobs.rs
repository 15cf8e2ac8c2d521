//! The table of jobs: one per account, fair between hosts, whole after a kill.

mod support;

use std::collections::HashSet;
use std::time::Duration;

use almanac::event::Did;
use almanac::source::backfill::{
    JobRequest, Outcome, Pauses, Reason, Strategy, claim, counts, counts_since, defer, enqueue, fail, failures_since,
    finish, host_answered, host_failed, host_limited, host_pause, now, per_host_since, reset_running, retry_later,
    states_of, troubled_hosts,
};
use sqlx::PgPool;
use support::postgres::TestDb;

fn did(n: usize) -> Did {
    Did::parse(&format!("did:plc:{n:024}")).unwrap()
}

async fn ask(pool: &PgPool, requests: &[JobRequest]) {
    enqueue(&mut pool.acquire().await.unwrap(), requests).await.unwrap();
}

/// DIDs in the order in which they are given out, one by one.
async fn drain(pool: &PgPool) -> Vec<Did> {
    let mut all = vec![];
    while let Some(job) = claim(pool, 1, &[]).await.unwrap().pop() {
        all.push(job.did);
    }
    all
}

#[tokio::test]
async fn the_most_urgent_goes_first_and_an_account_has_one_job() {
    let test = TestDb::fresh().await;
    let pool = test.pool();
    let (a, b, c) = (did(1), did(2), did(3));
    ask(pool, &[JobRequest::new(a.clone(), Reason::FirstStart), JobRequest::new(b.clone(), Reason::Desynchronized)])
        .await;
    // More urgent, then less: the more urgent stays, with its strategy.
    ask(pool, &[JobRequest { strategy: Strategy::Car, ..JobRequest::new(c.clone(), Reason::Asked) }]).await;
    ask(pool, &[JobRequest::new(c.clone(), Reason::Coverage), JobRequest::new(c.clone(), Reason::Gap)]).await;
    let first = claim(pool, 1, &[]).await.unwrap().pop().unwrap();
    assert_eq!((first.did, first.reason, first.strategy, first.attempts), (c, Reason::Asked, Strategy::Car, 1));
    assert_eq!(drain(pool).await, [b, a]);
}

#[tokio::test]
async fn no_job_is_given_out_twice() {
    let test = TestDb::fresh().await;
    let pool = test.pool();
    let requests: Vec<_> = (0..600).map(|n| JobRequest::new(did(n), Reason::FirstStart)).collect();
    ask(pool, &requests).await;
    let workers = (0..6).map(|_| {
        let pool = pool.clone();
        tokio::spawn(async move {
            let mut mine = vec![];
            loop {
                let jobs = claim(&pool, 7, &[]).await.unwrap();
                if jobs.is_empty() {
                    return mine;
                }
                for job in jobs {
                    finish(&pool, &job.did, Outcome::Unchanged, Some("h"), None, (1, 1)).await.unwrap();
                    mine.push(job.did);
                }
            }
        })
    });
    let mut all = vec![];
    for worker in workers.collect::<Vec<_>>() {
        all.extend(worker.await.unwrap());
    }
    assert_eq!(all.len(), 600);
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), 600);
    assert_eq!(counts(pool).await.unwrap().done, 600);
}

#[tokio::test]
async fn what_is_asked_while_a_job_runs_makes_it_run_once_more() {
    let test = TestDb::fresh().await;
    let pool = test.pool();
    ask(pool, &[JobRequest::new(did(1), Reason::Coverage)]).await;
    assert_eq!(claim(pool, 9, &[]).await.unwrap().len(), 1);
    ask(pool, &[JobRequest::new(did(1), Reason::Desynchronized)]).await;
    assert!(claim(pool, 9, &[]).await.unwrap().is_empty(), "it runs already");
    finish(pool, &did(1), Outcome::FetchedSparse, Some("h"), None, (10, 2)).await.unwrap();
    let again = claim(pool, 9, &[]).await.unwrap().pop().unwrap();
    assert_eq!(again.reason, Reason::Desynchronized);
    finish(pool, &did(1), Outcome::Unchanged, Some("h"), None, (0, 0)).await.unwrap();
    assert!(claim(pool, 9, &[]).await.unwrap().is_empty(), "once more, not for ever");
}

#[tokio::test]
async fn an_account_that_enters_by_its_own_job_is_not_fetched_twice() {
    let test = TestDb::fresh().await;
    let pool = test.pool();
    ask(pool, &[JobRequest::new(did(1), Reason::Asked)]).await;
    claim(pool, 1, &[]).await.unwrap();
    ask(pool, &[JobRequest::new(did(1), Reason::NewAccount)]).await;
    finish(pool, &did(1), Outcome::FetchedSparse, Some("h"), None, (10, 2)).await.unwrap();
    assert_eq!(counts(pool).await.unwrap().done, 1);
}

#[tokio::test]
async fn a_transaction_that_is_undone_asks_for_nothing() {
    let test = TestDb::fresh().await;
    let mut tx = test.pool().begin().await.unwrap();
    enqueue(&mut tx, &[JobRequest::new(did(1), Reason::Gap)]).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(counts(test.pool()).await.unwrap().queued, 0);
}

#[tokio::test]
async fn jobs_that_ran_at_a_kill_run_again() {
    let test = TestDb::fresh().await;
    let pool = test.pool();
    ask(pool, &[JobRequest::new(did(1), Reason::Gap), JobRequest::new(did(2), Reason::Gap)]).await;
    claim(pool, 1, &[]).await.unwrap();
    assert_eq!(reset_running(pool).await.unwrap(), 1);
    let jobs = claim(pool, 9, &[]).await.unwrap();
    assert_eq!(jobs.len(), 2);
    assert!(jobs.iter().all(|job| job.attempts == 1), "a kill is no attempt: {jobs:?}");
}

#[tokio::test]
async fn a_parked_host_holds_up_nobody_else() {
    let test = TestDb::fresh().await;
    let pool = test.pool();
    let pauses = Pauses { first: Duration::from_secs(100), ..Pauses::default() };
    ask(pool, &(0..4).map(|n| JobRequest::new(did(n), Reason::Gap)).collect::<Vec<_>>()).await;
    for job in claim(pool, 9, &[]).await.unwrap() {
        let host = if job.did == did(3) { "good" } else { "bad" };
        defer(pool, &job.did, Some(host)).await.unwrap();
    }
    let failure = host_failed(pool, "bad", "no route", &pauses).await.unwrap();
    assert_eq!((failure.failures, failure.given_up), (1, false));
    // Jobs that fail together are one failure.
    assert_eq!(host_failed(pool, "bad", "no route", &pauses).await.unwrap().failures, 1);
    assert!(host_pause(pool, "bad", &pauses).await.unwrap().is_some());
    let jobs = claim(pool, 9, &[]).await.unwrap();
    assert_eq!(jobs.iter().map(|job| &job.did).collect::<Vec<_>>(), [&did(3)]);
    finish(pool, &did(3), Outcome::Unchanged, None, None, (0, 0)).await.unwrap();
    host_answered(pool, "bad").await.unwrap();
    assert_eq!(claim(pool, 9, &[]).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_busy_host_is_left_out() {
    let test = TestDb::fresh().await;
    let pool = test.pool();
    ask(pool, &[JobRequest::new(did(1), Reason::Gap), JobRequest::new(did(2), Reason::Gap)]).await;
    for job in claim(pool, 9, &[]).await.unwrap() {
        defer(pool, &job.did, Some(if job.did == did(1) { "a" } else { "b" })).await.unwrap();
    }
    let jobs = claim(pool, 9, &["a".into()]).await.unwrap();
    assert_eq!(jobs.iter().map(|job| &job.did).collect::<Vec<_>>(), [&did(2)]);
}

/// Lets a job that failed because of its host rest for so long.
async fn fail_until(pool: &PgPool, did: &Did, rest: Duration) {
    sqlx::query("update source.backfill_job set not_before = now() + make_interval(secs => $2) where did = $1 and state = 'failed'")
        .bind(did.as_str())
        .bind(rest.as_secs_f64())
        .execute(pool)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_host_that_fails_on_and_on_is_named_and_asked_again_for_ever() {
    let test = TestDb::fresh().await;
    let pool = test.pool();
    let pauses = Pauses { first: Duration::from_millis(1), max: Duration::from_millis(40), give_up_after: 3 };
    ask(pool, &[JobRequest::new(did(1), Reason::Gap), JobRequest::new(did(2), Reason::Gap)]).await;
    for job in claim(pool, 9, &[]).await.unwrap() {
        defer(pool, &job.did, Some("bad")).await.unwrap();
    }
    let since = now(pool).await.unwrap() - chrono::TimeDelta::hours(1);
    let mut failures = 0;
    while failures < 3 {
        // Waits for the host's pause to end: the job is given out then and not before.
        let Some(job) = claim(pool, 1, &[]).await.unwrap().pop() else { continue };
        let failure = host_failed(pool, "bad", "no route", &pauses).await.unwrap();
        failures = failure.failures;
        match failure.given_up {
            true => {
                fail(pool, &job.did, Outcome::HostUnreachable, Some("bad"), "no route", Some(pauses.max)).await.unwrap()
            }
            false => {
                retry_later(pool, &job.did, Outcome::HostUnreachable, Some("bad"), "no route", Duration::ZERO)
                    .await
                    .unwrap();
            }
        }
    }
    // Both are named: the one that was tried, and the one that only waited.
    let named = failures_since(pool, Reason::Gap, since, 10).await.unwrap();
    assert_eq!(named.len(), 2);
    assert!(named.iter().all(|job| job.outcome.as_deref() == Some("host_unreachable")), "{named:?}");
    let trouble = troubled_hosts(pool).await.unwrap();
    assert_eq!((trouble[0].host.as_str(), trouble[0].failures, trouble[0].jobs), ("bad", 3, 2));
    // Asked again when the pause is over, and all at once when it answers.
    let job = loop {
        if let Some(job) = claim(pool, 1, &[]).await.unwrap().pop() {
            break job;
        }
    };
    finish(pool, &job.did, Outcome::FetchedSparse, Some("bad"), None, (5, 1)).await.unwrap();
    // One that was mentioned again meanwhile, and would rest for a minute, is among them.
    let other = if job.did == did(1) { did(2) } else { did(1) };
    fail_until(pool, &other, Duration::from_secs(3_600)).await;
    ask(pool, &[JobRequest::new(other, Reason::Coverage)]).await;
    host_answered(pool, "bad").await.unwrap();
    assert_eq!(counts(pool).await.unwrap().failed, 0);
    assert_eq!(claim(pool, 9, &[]).await.unwrap().len(), 1);
    assert!(troubled_hosts(pool).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_host_that_asks_for_a_pause_has_not_failed() {
    let test = TestDb::fresh().await;
    let pool = test.pool();
    host_limited(pool, "h", "429", Duration::from_secs(50)).await.unwrap();
    let parked = host_pause(pool, "h", &Pauses::default()).await.unwrap().unwrap();
    assert_eq!((parked.failures, parked.given_up), (0, false));
    // A failure on top counts.
    assert_eq!(host_failed(pool, "h", "gone", &Pauses::default()).await.unwrap().failures, 1);
}

#[tokio::test]
async fn a_failed_job_rests_and_goes_at_once_when_somebody_asks_or_the_account_may_enter() {
    let test = TestDb::fresh().await;
    let pool = test.pool();
    for (n, pause) in [(1, Some(Duration::from_secs(3_600))), (2, None), (3, Some(Duration::from_secs(3_600)))] {
        ask(pool, &[JobRequest::new(did(n), Reason::Gap)]).await;
        claim(pool, 1, &[]).await.unwrap();
        fail(pool, &did(n), Outcome::Refused, Some("h"), "wrong signature", pause).await.unwrap();
    }
    assert!(claim(pool, 9, &[]).await.unwrap().is_empty());
    // Mentioned with a frame: soon, not at once.
    ask(pool, &[JobRequest::new(did(1), Reason::Desynchronized)]).await;
    assert!(claim(pool, 9, &[]).await.unwrap().is_empty());
    let waits: bool = sqlx::query_scalar(
        "select not_before between now() + interval '50 seconds' and now() + interval '70 seconds'
         from source.backfill_job where did = $1",
    )
    .bind(did(1).as_str())
    .fetch_one(pool)
    .await
    .unwrap();
    assert!(waits);
    let reasons = [(1, Reason::Asked), (2, Reason::Asked), (3, Reason::Origin)];
    ask(pool, &reasons.map(|(n, reason)| JobRequest::new(did(n), reason))).await;
    assert_eq!(claim(pool, 9, &[]).await.unwrap().len(), 3);
}

#[tokio::test]
async fn the_summary_adds_up_per_host() {
    let test = TestDb::fresh().await;
    let pool = test.pool();
    let since = now(pool).await.unwrap();
    ask(pool, &(0..5).map(|n| JobRequest::new(did(n), Reason::Asked)).collect::<Vec<_>>()).await;
    ask(pool, &[JobRequest::new(did(9), Reason::Gap)]).await;
    claim(pool, 9, &[]).await.unwrap();
    let ends = [Outcome::FetchedSparse, Outcome::FetchedCar, Outcome::Unchanged, Outcome::Inactive];
    for (n, outcome) in ends.into_iter().enumerate() {
        finish(pool, &did(n), outcome, Some("a"), None, (100, 2)).await.unwrap();
    }
    fail(pool, &did(4), Outcome::Refused, Some("b"), "lies", None).await.unwrap();
    finish(pool, &did(9), Outcome::FetchedCar, Some("a"), None, (1_000, 1_000)).await.unwrap();
    let hosts = per_host_since(pool, Reason::Asked, since).await.unwrap();
    let of = |host: &str| hosts.iter().find(|h| h.host == host).unwrap();
    let a = of("a");
    assert_eq!((a.accounts, a.sparse, a.car, a.unchanged, a.inactive, a.failed), (4, 1, 1, 1, 1, 0));
    assert_eq!((a.bytes, a.records), (400, 8));
    assert_eq!((of("b").accounts, of("b").failed), (1, 1));
    let counts = counts_since(pool, Reason::Asked, since).await.unwrap();
    assert_eq!((counts.done, counts.failed, counts.queued, counts.running), (4, 1, 0, 0));
    let state = states_of(pool, &[did(4).as_str()]).await.unwrap().pop().unwrap();
    assert_eq!((state.state.as_str(), state.error.as_deref()), ("failed", Some("lies")));
}
