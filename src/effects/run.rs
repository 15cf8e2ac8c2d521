//! The tasks of this room: one that follows the log, and one for each receiver.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::follow::{EffectsError, Step, step};
use super::retry::Retry;
use super::subscription::Subscription;
use super::{metric, post_office, queue};
use crate::db::passes;
use crate::event::{Environment, Position};
use crate::network::Network;

/// Without a word from the appender the log is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// While the index does not show yet what the log holds.
const INDEX_PAUSE: Duration = Duration::from_millis(30);
/// Between attempts to reach a database that is gone.
const DATABASE_PAUSE: Duration = Duration::from_secs(1);
/// For one step.
const PATIENCE: Duration = Duration::from_secs(60);

/// What telling takes.
#[derive(Clone, Debug)]
pub struct Effects {
    /// The database.
    pub pool: PgPool,
    /// The way to receivers.
    pub network: Network,
    /// The environment that this process runs as.
    pub environment: Environment,
    /// Who is told of what.
    pub subscriptions: Arc<[Subscription]>,
    /// When what failed is tried again.
    pub retry: Retry,
}

/// Follows the log and tells, until `ended`. Only the process that appends may run it, after [`prepare`](super::prepare).
/// `head` is told when the log grows.
///
/// # Errors
/// A checkpoint past the log's end, and what a database does not get over by itself. One that is gone is waited for.
pub async fn run(
    effects: Effects,
    mut head: watch::Receiver<Position>,
    mut ended: watch::Receiver<bool>,
) -> Result<(), EffectsError> {
    let effects = Arc::new(effects);
    let mut offices = JoinSet::new();
    let wakes: Vec<Arc<Notify>> = effects.subscriptions.iter().map(|_| Arc::default()).collect();
    for (index, wake) in wakes.iter().enumerate() {
        offices.spawn(post_office::serve(effects.clone(), index, wake.clone(), ended.clone()));
    }
    let outcome = tokio::select! {
        outcome = follow(&effects, &mut head, &wakes) => outcome,
        _gone = ended.wait_for(|ended| *ended) => Ok(()),
    };
    if outcome.is_err() {
        // Whoever does not know any more what is to be told tells nothing.
        offices.shutdown().await;
    }
    while offices.join_next().await.is_some() {}
    outcome
}

async fn follow(
    effects: &Effects,
    head: &mut watch::Receiver<Position>,
    wakes: &[Arc<Notify>],
) -> Result<(), EffectsError> {
    let mut counted: Option<Instant> = None;
    loop {
        head.mark_unchanged();
        if counted.is_none_or(|at| at.elapsed() >= LOOK_EVERY)
            && let Ok(totals) = queue::totals(&effects.pool).await
        {
            metric::totals(totals);
            counted = Some(Instant::now());
        }
        let pause = match one_step(effects).await {
            Ok(done) => {
                if done.queued > 0 {
                    wakes.iter().for_each(|wake| wake.notify_one());
                }
                metric::lag(done.behind);
                match (done.moved, done.behind) {
                    (true, 1..) => continue,
                    (false, 1..) => INDEX_PAUSE,
                    _ => LOOK_EVERY,
                }
            }
            Err(EffectsError::Database(error)) if passes(&error) => {
                tracing::warn!(%error, "the log cannot be followed for effects; tried again");
                DATABASE_PAUSE
            }
            Err(error) => return Err(error),
        };
        tokio::select! {
            changed = head.changed() => if changed.is_err() { sleep(pause).await },
            () = sleep(pause) => {}
        }
    }
}

async fn one_step(effects: &Effects) -> Result<Step, EffectsError> {
    let step = async {
        let mut connection = effects.pool.acquire().await?;
        step(&mut connection, &effects.environment, &effects.subscriptions).await
    };
    timeout(PATIENCE, step).await.unwrap_or_else(|late| Err(sqlx::Error::Io(late.into()).into()))
}
