//! The follower that keeps the tables up to date.

use std::time::{Duration, Instant};

use metrics::{gauge, histogram};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tokio::sync::watch;
use tokio::time::timeout;

use super::fold::fold;
use super::rebuild;
use crate::db::{Db, SessionId, passes};
use crate::event::Position;
use crate::event_log;
use crate::telemetry::{crash_point, register_gauge, register_histogram};

/// Events folded in one transaction.
pub(super) const BATCH: i64 = 2_000;
/// Without a word from the appender the log is looked at this often, because another process may append too.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A step without an end for this long is given up with its connection: the wire may be cut without a word. The next attempt
/// may take twice as long, so that a database that is only slow is not asked the same for ever.
const PATIENCE: Duration = Duration::from_secs(15);
/// The longest that patience grows.
const PATIENCE_MAX: Duration = Duration::from_secs(600);
/// The longest pause between attempts to reach a database that is gone.
const RETRY_MAX: Duration = Duration::from_secs(2);

/// Why the tables cannot be kept up to date.
#[derive(Debug, thiserror::Error)]
pub enum ProjectionError {
    /// The checkpoint is past the log's end: the log was replaced, or somebody wrote to our tables.
    #[error(
        "the index is folded up to position {checkpoint}, but the log ends at {head}: the index belongs to another log. \
         `almanac rebuild` makes it anew from this log"
    )]
    AheadOfLog {
        /// Where the tables say they are.
        checkpoint: Position,
        /// Where the log ends.
        head: Position,
    },
    /// Somebody's views or foreign keys hang on tables that a rebuild has replaced.
    #[error(
        "the tables that a rebuild replaced are kept in schema calendar_old, because something depends on them: {by}. Make \
         that anew on schema calendar, drop the old one, and rebuild again"
    )]
    OldTablesInUse {
        /// What Postgres says.
        by: String,
    },
    /// Two rebuilds would write into the same new tables.
    #[error("another rebuild of this index is under way: wait until it has ended, or stop it")]
    RebuildUnderWay,
    /// The database did not do it.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Up to which position the tables are folded.
pub async fn checkpoint(pool: &PgPool) -> Result<Position, sqlx::Error> {
    sqlx::query_scalar("select position from calendar.checkpoint").fetch_one(pool).await
}

/// Keeps the tables of schema `calendar` up to date.
pub struct Projector {
    /// Where.
    pub db: Db,
    /// When the last word is in the log and at least so many events, and as many as were folded before, are still to be folded,
    /// the tables are made anew: less work in all, and over several connections. `None`: never, because what follows the log
    /// as long as it runs may be told to end at any time, and half a rebuild is nothing.
    pub rebuild_from: Option<i64>,
    /// Told whether the tables are kept up to date, or why not.
    pub health: Box<dyn Fn(Result<(), String>) + Send + Sync>,
}

impl Projector {
    /// Below this a rebuild saves less than a few seconds.
    pub const REBUILD_FROM: i64 = 50_000;

    /// Follows the log until `head`'s sender is gone and everything up to its last word is folded. A database that is
    /// gone is waited for.
    pub async fn run(self, mut head: watch::Receiver<Position>) -> Result<(), ProjectionError> {
        let mut pause = Duration::from_millis(50);
        let mut line = Line { db: &self.db, open: None, old: None, patience: PATIENCE };
        let mut may_rebuild = true;
        loop {
            let last = head.has_changed().is_err();
            let stepped = async {
                if last && std::mem::take(&mut may_rebuild) {
                    self.rebuild_if_far_behind().await?;
                }
                line.step().await
            };
            match stepped.await {
                Ok(folded) => {
                    pause = Duration::from_millis(50);
                    if !folded.is_all {
                        continue;
                    }
                    (self.health)(Ok(()));
                    if last {
                        return Ok(());
                    }
                }
                Err(ProjectionError::Database(error)) if passes(&error) => {
                    tracing::warn!(%error, "the index cannot be written; tried again");
                    (self.health)(Err(format!("the index cannot be written: {error}")));
                    line.hang_up();
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                    continue;
                }
                Err(error) => return Err(error),
            }
            tokio::select! {
                _ = head.changed() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    async fn rebuild_if_far_behind(&self) -> Result<(), ProjectionError> {
        let Some(from) = self.rebuild_from else { return Ok(()) };
        let folded = checkpoint(self.db.pool()).await?;
        let mut connection = self.db.pool().acquire().await?;
        let missing = event_log::head(&mut connection).await? - folded;
        if missing < from.max(folded) || rebuild::is_for_the_operator(&mut connection).await? {
            return Ok(());
        }
        drop(connection);
        tracing::info!(missing, folded, "the index is made anew: that takes less than folding what is missing");
        match rebuild::rebuild(&self.db, |_| {}).await {
            Ok(_) => Ok(()),
            // Whoever does it does it for this process too; what it leaves out is folded as ever.
            Err(ProjectionError::RebuildUnderWay) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The projector's own connection, made anew when it broke.
struct Line<'a> {
    db: &'a Db,
    open: Option<(PgConnection, SessionId)>,
    /// The session that was given up: it may hold the lock on the checkpoint as long as the server believes in it.
    old: Option<SessionId>,
    patience: Duration,
}

impl Line<'_> {
    async fn step(&mut self) -> Result<Folded, ProjectionError> {
        if self.open.is_none() {
            self.open = Some(self.dial().await?);
        }
        let (connection, _) = self.open.as_mut().expect("it was opened above");
        match timeout(self.patience, step(connection, "calendar")).await {
            Ok(folded) => {
                let folded = folded?;
                self.patience = PATIENCE;
                Ok(folded)
            }
            Err(_) => {
                let late = no_answer(self.patience);
                self.patience = (self.patience * 2).min(PATIENCE_MAX);
                Err(late.into())
            }
        }
    }

    async fn dial(&mut self) -> Result<(PgConnection, SessionId), sqlx::Error> {
        let mut connection =
            self.db.connect().await.map_err(|e| sqlx::Error::Io(std::io::Error::other(e.to_string())))?;
        let greet = async {
            if let Some(old) = &self.old {
                old.end(&mut connection).await?;
            }
            SessionId::of(&mut connection).await
        };
        let session = timeout(PATIENCE, greet).await.unwrap_or_else(|_| Err(no_answer(PATIENCE)))?;
        self.old = None;
        Ok((connection, session))
    }

    fn hang_up(&mut self) {
        if let Some((_, session)) = self.open.take() {
            self.old = Some(session);
        }
    }
}

fn no_answer(limit: Duration) -> sqlx::Error {
    let what = format!("no answer within {} s", limit.as_secs());
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, what))
}

/// What a step did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Folded {
    /// How many events it folded.
    pub events: u64,
    /// Whether the log held no more when it ended. Whoever appends after that says so.
    pub is_all: bool,
}

/// Folds the next events into the tables of `schema`, in one transaction.
pub(super) async fn step(connection: &mut PgConnection, schema: &str) -> Result<Folded, ProjectionError> {
    let started = Instant::now();
    let mut tx = connection.begin().await?;
    // The row lock keeps a second process, or the swap of a rebuild, from folding at the same time.
    let checkpoint = format!(
        "select position from {schema}.checkpoint, set_config('search_path', '{schema}', true) for update of checkpoint"
    );
    let position: Position = sqlx::query_scalar(AssertSqlSafe(checkpoint)).fetch_one(&mut *tx).await?;
    let events = event_log::read(&mut tx, position, BATCH).await?;
    let Some(last) = events.last().map(|logged| logged.position) else {
        let head = event_log::head(&mut tx).await?;
        if position > head {
            return Err(ProjectionError::AheadOfLog { checkpoint: position, head });
        }
        gauge!("almanac_projection_lag_events").set(0.0);
        // What was appended between the two looks is folded by the next step.
        return Ok(Folded { events: 0, is_all: position == head });
    };
    fold(&mut tx, &events).await?;
    crash_point("projection before checkpoint");
    sqlx::query("update checkpoint set position = $1").bind(last).execute(&mut *tx).await?;
    crash_point("projection after checkpoint");
    let head = event_log::head(&mut tx).await?;
    tx.commit().await?;
    crash_point("projection after commit");
    gauge!("almanac_projection_position_events").set(last as f64);
    gauge!("almanac_projection_lag_events").set((head - last).max(0) as f64);
    histogram!("almanac_projection_batch_events").record(events.len() as f64);
    histogram!("almanac_projection_fold_seconds").record(started.elapsed().as_secs_f64());
    Ok(Folded { events: events.len() as u64, is_all: last == head })
}

/// Describes this room's metrics and makes every series exist at zero.
pub fn register_metrics() {
    register_gauge("almanac_projection_position_events", "The log position up to which the index is folded", &[]);
    register_gauge("almanac_projection_lag_events", "Events in the log that the index does not show yet", &[]);
    register_histogram("almanac_projection_batch_events", "Events folded in one transaction", &[]);
    register_histogram("almanac_projection_fold_seconds", "Duration of one transaction", &[]);
}
