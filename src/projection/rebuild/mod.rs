//! Folding the whole log into new tables beside the old, and exchanging them.
//!
//! The new tables are copies of the old ones' definitions in schema `calendar_next`. They are filled without indices, account
//! by account and over several connections, from the log as it ended when the rebuild began; then the indices are made, and
//! what was appended meanwhile is folded as the projector does it. Readers see the old tables until the exchange, which is one
//! short transaction: it waits for the fold under way, folds what is still missing, and renames. The old tables are dropped
//! after it, each by itself: dropping them together would deadlock with readers that join them.

mod load;
mod rows;
mod tables;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::projector::{ProjectionError, step};
use crate::db::Db;
use crate::event::Position;
use crate::event_log;
use crate::telemetry::crash_point;
use load::{Loader, Pass, Piece};

/// Names the right to rebuild among all advisory locks of a database. Any constant will do, as long as it never changes.
const LOCK: i64 = 0x616c_6d61_7265_6275;
/// How long to wait for the lock: of a process that was killed, the server notices within a second.
const PATIENCE: Duration = Duration::from_secs(5);
/// Otherwise a statement of a process that was killed runs to its end, and holds its locks that long. Postgres before 14 has
/// no such setting, and not every system can do it.
const NOTICE: &str =
    "select set_config(name, '500ms', false) from pg_settings where name = 'client_connection_check_interval'";
/// Pieces that the log is loaded in are about this large: the server sorts each in memory.
const PIECE_EVENTS: i64 = 30_000;
/// More workers than this would take the server from everybody else.
const WORKERS_MAX: usize = 4;
/// What the loading connections need beside what every connection has. Nothing is lost when commits do not wait for the
/// disk: the exchange does, and what comes before it is thrown away if that does not happen.
const LOADING: &str = "set synchronous_commit = off; set search_path = calendar_next; set work_mem = '32MB'; \
     set maintenance_work_mem = '128MB'; set max_parallel_workers_per_gather = 0; \
     set max_parallel_maintenance_workers = 0";

/// What a rebuild did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RebuildReport {
    /// Events folded.
    pub events: u64,
    /// The position that the new tables show.
    pub position: Position,
}

/// How far a rebuild is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RebuildProgress {
    /// So many of the log's events are folded.
    Folded {
        /// How many.
        events: u64,
        /// Of how many.
        of: u64,
    },
    /// So many indices are made.
    Indexed {
        /// How many.
        indices: usize,
        /// Of how many.
        of: usize,
    },
}

/// Rebuilds the index. A `serve` may go on meanwhile.
///
/// Takes one connection, and for each of up to four workers two more. Memory: some megabytes for each worker, and the words
/// and RSVPs of one account; the server sorts in at most 128 MB for each.
///
/// # Errors
/// Another rebuild that is under way, and as the projector's. The old tables stay as they were.
pub async fn rebuild(db: &Db, mut progress: impl FnMut(RebuildProgress)) -> Result<RebuildReport, ProjectionError> {
    let mut connection = connect(db).await?;
    let report = rebuild_alone(db, &mut connection, &mut progress).await;
    // The lock is free once the server has taken leave.
    let _gone = connection.close().await;
    report
}

/// Whether something of somebody else's hangs on the tables: a view would go on showing the old ones after an exchange, and so
/// nobody but the operator decides on one.
pub(super) async fn is_for_the_operator(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    tables::are_in_use(connection).await
}

async fn rebuild_alone(
    db: &Db,
    connection: &mut PgConnection,
    mut progress: impl FnMut(RebuildProgress),
) -> Result<RebuildReport, ProjectionError> {
    be_alone(connection).await?;
    tables::drop_old(connection).await?;
    tables::prepare(connection).await?;
    let head = event_log::head(connection).await?;
    let mut events = load_all(db, connection, head, &mut progress).await?;
    // From here on `head` is what the new tables show.
    sqlx::query("update calendar_next.checkpoint set position = $1").bind(head).execute(&mut *connection).await?;
    sqlx::query("analyze calendar_next.events, calendar_next.rsvps, calendar_next.words, calendar_next.rsvp_counts")
        .execute(&mut *connection)
        .await?;
    loop {
        let folded = step(connection, "calendar_next").await?;
        events += folded.events;
        if folded.is_all {
            break;
        }
        progress(RebuildProgress::Folded { events, of: event_log::head(connection).await?.unsigned_abs() });
    }
    let mut tx = connection.begin().await?;
    // The projector takes this row first of all: from here on the old tables stand still.
    sqlx::query("select position from calendar.checkpoint for update").execute(&mut *tx).await?;
    loop {
        let folded = step(&mut tx, "calendar_next").await?;
        events += folded.events;
        if folded.is_all {
            break;
        }
    }
    let position: Position =
        sqlx::query_scalar("select position from calendar_next.checkpoint").fetch_one(&mut *tx).await?;
    tables::exchange(&mut tx).await?;
    crash_point("rebuild before exchange");
    tx.commit().await?;
    crash_point("rebuild after exchange");
    tables::drop_old(connection).await?;
    Ok(RebuildReport { events, position })
}

async fn be_alone(connection: &mut PgConnection) -> Result<(), ProjectionError> {
    let until = Instant::now() + PATIENCE;
    while !sqlx::query_scalar("select pg_try_advisory_lock($1)").bind(LOCK).fetch_one(&mut *connection).await? {
        if Instant::now() >= until {
            return Err(ProjectionError::RebuildUnderWay);
        }
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

async fn connect(db: &Db) -> Result<PgConnection, sqlx::Error> {
    let mut connection = db.connect().await.map_err(|e| sqlx::Error::Io(std::io::Error::other(e.to_string())))?;
    match sqlx::query(NOTICE).execute(&mut connection).await {
        Ok(_) => {}
        Err(sqlx::Error::Database(error)) => tracing::debug!(%error, "the server cannot notice that a client is gone"),
        Err(error) => return Err(error),
    }
    Ok(connection)
}

async fn connect_to_load(db: &Db) -> Result<PgConnection, sqlx::Error> {
    let mut connection = connect(db).await?;
    sqlx::raw_sql(LOADING).execute(&mut connection).await?;
    Ok(connection)
}

/// Fills the new tables from the log up to `last`, and makes their indices. How many events that was.
async fn load_all(
    db: &Db,
    connection: &mut PgConnection,
    last: Position,
    progress: &mut impl FnMut(RebuildProgress),
) -> Result<u64, ProjectionError> {
    let of = last.unsigned_abs();
    progress(RebuildProgress::Folded { events: 0, of });
    let indices = tables::indices(connection).await?;
    let (of_events, mut others): (Vec<_>, Vec<_>) = indices.into_iter().partition(|index| index.is_key_of("events"));
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get()).min(WORKERS_MAX);
    // A short log is shared out as well.
    let piece = PIECE_EVENTS.min(last / workers as i64).max(1);
    let bounds = event_log::account_bounds(connection, last, piece).await?;
    let froms = std::iter::once(String::new()).chain(bounds.iter().cloned());
    let tos = bounds.iter().cloned().map(Some).chain([None]);
    let pieces: Vec<Piece> = froms.zip(tos).map(|(from, to)| Piece { from, to }).collect();
    let mut loaders = Vec::new();
    let (folded, mut told) = mpsc::unbounded_channel();
    for _ in 0..workers.min(pieces.len()) {
        let (reader, writer) = (connect_to_load(db).await?, connect_to_load(db).await?);
        loaders.push(Loader { reader, writer, last, folded: folded.clone() });
    }
    drop(folded);
    let mut events = 0;
    for pass in [Pass::Events, Pass::Others] {
        let queue = Arc::new(Mutex::new(VecDeque::from(pieces.clone())));
        let mut tasks = JoinSet::new();
        for mut loader in loaders.drain(..) {
            let queue = queue.clone();
            tasks.spawn(async move {
                loop {
                    let piece = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some(piece) = piece else { return Ok(loader) };
                    loader.load(&piece, pass).await?;
                }
            });
        }
        loop {
            tokio::select! {
                Some(more) = told.recv() => {
                    events += more;
                    progress(RebuildProgress::Folded { events, of });
                }
                ended = tasks.join_next() => match ended {
                    Some(ended) => loaders.push(ended.map_err(broken)?.map_err(ProjectionError::Database)?),
                    None => break,
                }
            }
        }
        if pass == Pass::Events {
            for index in &of_events {
                index.make(connection).await?;
            }
        }
    }
    while let Ok(more) = told.try_recv() {
        events += more;
    }
    progress(RebuildProgress::Folded { events, of });
    let all: Vec<_> = of_events.iter().chain(&others).cloned().collect();
    let mut made = of_events.len();
    let mut indexed = |made: usize| progress(RebuildProgress::Indexed { indices: made, of: all.len() });
    indexed(made);
    let mut connections: Vec<PgConnection> =
        loaders.into_iter().flat_map(|loader| [loader.reader, loader.writer]).take(workers).collect();
    // The large ones come first, so that no worker is left with one of them at the end.
    others.sort_by_key(|index| std::cmp::Reverse(index.weight()));
    let (rest, ready): (Vec<_>, Vec<_>) = others.into_iter().partition(|index| index.is_of_the_rest());
    let (mut rest, mut waiting) = (Some(rest), VecDeque::from(ready));
    let mut tasks = JoinSet::new();
    let mut filler = connections.pop().expect("there is a worker");
    tasks.spawn(async move { tables::fill_rest(&mut filler).await.map(|()| (filler, None)) });
    loop {
        while !connections.is_empty()
            && let Some(index) = waiting.pop_front()
        {
            let mut connection = connections.pop().expect("it was looked at");
            tasks.spawn(async move { index.make(&mut connection).await.map(|()| (connection, Some(index))) });
        }
        let Some(ended) = tasks.join_next().await else { break };
        let (connection, index) = ended.map_err(broken)??;
        connections.push(connection);
        match index {
            Some(_) => {
                made += 1;
                indexed(made);
            }
            None => waiting.extend(rest.take().into_iter().flatten()),
        }
    }
    tables::constrain(connection, &all).await?;
    Ok(events)
}

fn broken(error: tokio::task::JoinError) -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::other(error))
}
