//! What goes on by itself: everything that is due is attempted, a bounded number at once, each account and host in its turn.
//!
//! Any number of processes share the work by leases.

use std::collections::HashSet;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::attempt::{self, LEASE, Place};
use super::{Publisher, metric};

/// Without a word that something is, what is due is looked for this often: pauses end, and other processes store wishes.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The shortest while between two looks that find nothing.
const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// How often what is open is counted.
const COUNT_EVERY: Duration = Duration::from_secs(5);
/// What is under way when the process is told to stop has this long. What is cut goes on elsewhere when its lease ends.
const GRACE: Duration = Duration::from_secs(5);

/// An intent that is leased.
#[derive(sqlx::FromRow)]
struct Claimed {
    id: i64,
    did: String,
    pds: String,
}

impl Publisher {
    /// Attempts what is due until `ended`. As many processes as like may do it on one database. One that is gone is waited for.
    pub async fn run(&self, mut ended: watch::Receiver<bool>) {
        let workers = self.options().workers.max(1);
        let mut tasks: JoinSet<String> = JoinSet::new();
        let mut busy: HashSet<String> = HashSet::new();
        let mut count_at = Instant::now();
        loop {
            if Instant::now() >= count_at {
                self.count().await;
                count_at = Instant::now() + COUNT_EVERY;
            }
            let claimed = match workers - tasks.len().min(workers) {
                0 => Vec::new(),
                free => match self.claim(&busy, free).await {
                    Ok(claimed) => claimed,
                    Err(error) => {
                        tracing::debug!(%error, "what is due to be published cannot be read; tried again");
                        Vec::new()
                    }
                },
            };
            let found = !claimed.is_empty();
            for Claimed { id, did, pds } in claimed {
                busy.insert(did.clone());
                let (inner, place) = (self.inner.clone(), Place::take(&self.inner, &pds));
                tasks.spawn(async move {
                    attempt::run(&inner, id, place).await;
                    did
                });
            }
            if !found {
                sleep(LOOK_PAUSE).await;
            }
            let pause = self.inner.hosts.next_probe().map_or(LOOK_EVERY, |probe| probe.clamp(LOOK_PAUSE, LOOK_EVERY));
            tokio::select! {
                _gone = ended.wait_for(|ended| *ended) => break,
                Some(done) = tasks.join_next() => {
                    // A panic is told where it happened; its account is attempted again at the next start, or elsewhere.
                    if let Ok(did) = done {
                        busy.remove(&did);
                    }
                }
                () = self.inner.wake.notified() => {}
                () = sleep(pause) => {}
            }
        }
        let _late = timeout(GRACE, async { while tasks.join_next().await.is_some() {} }).await;
    }

    async fn claim(&self, busy: &HashSet<String>, free: usize) -> Result<Vec<Claimed>, sqlx::Error> {
        let (hosts, room): (Vec<String>, Vec<i32>) = self.inner.hosts.room().into_iter().unzip();
        let workers = i64::try_from(self.options().workers).unwrap_or(i64::MAX);
        sqlx::query_as(include_str!("claim.sql"))
            .bind(busy.iter().collect::<Vec<_>>())
            .bind(hosts)
            .bind(room)
            .bind(workers)
            .bind(i64::try_from(free).unwrap_or(i64::MAX))
            .bind(LEASE.as_secs_f64())
            .fetch_all(&self.inner.parts.pool)
            .await
    }

    /// Sets the gauges.
    async fn count(&self) {
        metric::hosts_down(self.inner.hosts.down());
        let counted: Result<(i64, i64, i64, f64), sqlx::Error> = sqlx::query_as(
            "select count(*) filter (where state = 'wanted'), count(*) filter (where state = 'attempted'),
                 (select count(*) from publish.intent where state = 'acknowledged'),
                 coalesce(extract(epoch from now() - min(created_at)), 0)::float8
             from publish.intent where state in ('wanted', 'attempted')",
        )
        .fetch_one(&self.inner.parts.pool)
        .await;
        if let Ok((wanted, attempted, acknowledged, oldest)) = counted {
            metric::intents([wanted, attempted, acknowledged], oldest);
        }
    }
}
