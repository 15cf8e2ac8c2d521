//! Reconciliation: what our own stream shows of the records that we publish or look after.
//!
//! In: the log, from a checkpoint of its own; links; intents that a PDS took. Out: intents that are confirmed, with the place
//! in the log; records that somebody else edited or deleted; records of our users that we did not know (after a lost database,
//! or a link that came later).
//! Always true: a record is matched by its whole AT-URI, of an account that is linked; revisions decide what is newer, never
//! arrival; the log may come before the PDS's answer is stored, or after, or twice, and the end is the same; findings and
//! checkpoint commit together.
//! Never: a request to anybody, a new intent, a change to what is wanted: an echo cannot loop.

mod judge;
mod metric;
mod step;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::{Connection, PgConnection, PgPool, Row};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::store::{damaged, uri as uri_of};
use super::unseen::{Teller, unseen};
use crate::db::passes;
use crate::event::{AtUri, Did, Environment, Position};
use crate::event_log;
use crate::telemetry::crash_point;
use metric::Found;
use step::{COLLECTIONS, settle, touched, users};

pub use metric::register_metrics;

/// Events looked at in one transaction.
const BATCH: i64 = 2_000;
/// Records looked at in one transaction for another reason than an event.
const PAGE: i64 = 500;
/// Accounts that are looked for in the whole log before everything else has its turn again.
const LINKS: i64 = 100;
/// Without a word from the appender it looks this often, also for answers that were stored after their event had come.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often what is unseen is counted.
const COUNT_EVERY: Duration = Duration::from_secs(5);
/// Between attempts to reach a database that is gone.
const DATABASE_PAUSE: Duration = Duration::from_secs(1);
/// For one transaction.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why nothing is confirmed any more.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The checkpoint is past the log's end: the log was replaced, or somebody wrote to our tables.
    #[error(
        "what we publish is followed up to position {checkpoint}, but the log ends at {head}: it belongs to another log. When \
         this log is the right one, `update publish.checkpoint set position = 0` has it looked at anew"
    )]
    AheadOfLog {
        /// Where the table says that it is.
        checkpoint: Position,
        /// Where the log ends.
        head: Position,
    },
    /// The database did not do it.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// What reconciliation takes.
#[derive(Clone, Debug)]
pub struct Reconcile {
    /// The database.
    pub pool: PgPool,
    /// The environment that this process runs as.
    pub environment: Environment,
    /// From when on what the PDS took and the log does not show is told to the operator.
    pub unseen_after: Duration,
}

/// Where the follower is between its rounds.
#[derive(Default)]
struct Rounds {
    /// The last acknowledged intent that was looked up in the log.
    intent: i64,
    /// When it last looked for another reason than an event.
    looked: Option<Instant>,
    counted: Option<Instant>,
    teller: Teller,
}

impl Reconcile {
    /// Follows the log until `ended`. Only the process that appends may run it. `head` is told when the log grows.
    ///
    /// # Errors
    /// A checkpoint past the log's end, and what a database does not get over by itself. One that is gone is waited for.
    pub async fn run(
        self,
        mut head: watch::Receiver<Position>,
        mut ended: watch::Receiver<bool>,
    ) -> Result<(), ReconcileError> {
        tokio::select! {
            outcome = self.follow(&mut head) => outcome,
            _gone = ended.wait_for(|ended| *ended) => Ok(()),
        }
    }

    /// Looks at all that is there now, once.
    ///
    /// # Errors
    /// As [`Reconcile::run`]; a database that is gone is not waited for.
    pub async fn look(&self) -> Result<(), ReconcileError> {
        let mut rounds = Rounds::default();
        while self.round(&mut rounds).await? {}
        Ok(())
    }

    async fn follow(&self, head: &mut watch::Receiver<Position>) -> Result<(), ReconcileError> {
        let mut rounds = Rounds::default();
        loop {
            head.mark_unchanged();
            let pause = match self.round(&mut rounds).await {
                Ok(true) => continue,
                Ok(false) => LOOK_EVERY,
                Err(ReconcileError::Database(error)) if passes(&error) => {
                    tracing::warn!(%error, "the log cannot be followed for what we publish; tried again");
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

    /// Everything once. Whether there is more to do at once.
    async fn round(&self, rounds: &mut Rounds) -> Result<bool, ReconcileError> {
        let round = async {
            let mut connection = self.pool.acquire().await?;
            let mut more = self.events(&mut connection).await?;
            if rounds.looked.is_none_or(|at| at.elapsed() >= LOOK_EVERY) {
                let again = [
                    self.answers(&mut connection, &mut rounds.intent).await?,
                    self.held_back(&mut connection).await?,
                    self.links(&mut connection).await?,
                ];
                rounds.looked = if again.contains(&true) { None } else { Some(Instant::now()) };
                more |= again.contains(&true);
            }
            Ok::<_, ReconcileError>(more)
        };
        let more = timeout(PATIENCE, round).await.unwrap_or_else(|late| Err(sqlx::Error::Io(late.into()).into()))?;
        if rounds.counted.is_none_or(|at| at.elapsed() >= COUNT_EVERY) {
            let unseen = unseen(&self.pool, self.unseen_after).await?;
            metric::unseen(&unseen);
            rounds.teller.tell(&unseen);
            rounds.counted = Some(Instant::now());
        }
        Ok(more)
    }

    /// Looks at the next events. Whether there are more.
    async fn events(&self, connection: &mut PgConnection) -> Result<bool, ReconcileError> {
        let mut tx = connection.begin().await?;
        // The row lock keeps a process that does not know yet that it was replaced from looking at the same time.
        let checkpoint: Position =
            sqlx::query_scalar("select position from publish.checkpoint for update").fetch_one(&mut *tx).await?;
        let head = event_log::head(&mut tx).await?;
        if checkpoint > head {
            return Err(ReconcileError::AheadOfLog { checkpoint, head });
        }
        let events = event_log::told_after(&mut tx, checkpoint, head, BATCH).await?;
        let Some(last) = events.last().map(|told| told.position) else {
            metric::lag(0);
            return Ok(false);
        };
        let (users, uris) = touched(&mut tx, &self.environment, &events).await?;
        let found = settle(&mut tx, &self.environment, &users, uris).await?;
        sqlx::query("update publish.checkpoint set position = $1").bind(last).execute(&mut *tx).await?;
        commit(tx, found).await?;
        metric::lag(head - last);
        Ok(last < head)
    }

    /// Looks up in the log what PDSes took: its event may have come before the answer was stored.
    async fn answers(&self, connection: &mut PgConnection, after: &mut i64) -> Result<bool, ReconcileError> {
        let rows = sqlx::query(
            "select i.id, r.did, r.collection, r.rkey
             from publish.intent i join publish.record r on r.id = i.record_id
             where i.state = 'acknowledged' and i.id > $1 and (
                 exists (
                     select from log.event e
                     where e.did = r.did and e.collection = r.collection and e.rkey = r.rkey and e.rev >= coalesce(i.rev, '')
                 )
                 or exists (
                     select from log.event e
                     where e.did = r.did and e.collection is null and e.kind = 'snapshot' and e.rev >= coalesce(i.rev, '')
                 )
                 or (i.action = 'delete' and i.rev is null)
             )
             order by i.id limit $2",
        )
        .bind(*after)
        .bind(PAGE)
        .fetch_all(&mut *connection)
        .await?;
        // Round and round, so that one that stays as it is stands in nobody's way.
        *after = match rows.last() {
            Some(last) if rows.len() as i64 == PAGE => last.try_get("id")?,
            _ => 0,
        };
        self.look_again(connection, &rows).await?;
        Ok(*after > 0)
    }

    /// Looks again at what waited for the answer to an attempt that is settled by now.
    async fn held_back(&self, connection: &mut PgConnection) -> Result<bool, ReconcileError> {
        let rows = sqlx::query(
            "select r.did, r.collection, r.rkey from publish.record r
             where r.held_back and not exists (
                 select from publish.intent i
                 where i.record_id = r.id and (i.state = 'attempted' or (i.state = 'wanted' and i.maybe_written))
             )
             order by r.id limit $1",
        )
        .bind(PAGE)
        .fetch_all(&mut *connection)
        .await?;
        self.look_again(connection, &rows).await?;
        Ok(rows.len() as i64 == PAGE)
    }

    async fn look_again(&self, connection: &mut PgConnection, rows: &[PgRow]) -> Result<(), ReconcileError> {
        if rows.is_empty() {
            return Ok(());
        }
        let uris = rows.iter().map(uri_of).collect::<Result<BTreeSet<AtUri>, _>>()?;
        let mut tx = connection.begin().await?;
        let users = users(&mut tx, &uris.iter().map(|uri| &uri.did).collect()).await?;
        let found = settle(&mut tx, &self.environment, &users, uris).await?;
        commit(tx, found).await
    }

    /// Looks through the whole log for the records of accounts that were linked since. Whether there may be others.
    async fn links(&self, connection: &mut PgConnection) -> Result<bool, ReconcileError> {
        let next: Vec<(String, String)> = sqlx::query_as(
            "select did, user_id from identity.account a
             where not exists (select from publish.adopted d where d.did = a.did) order by did limit $1",
        )
        .bind(LINKS)
        .fetch_all(&mut *connection)
        .await?;
        let is_last = (next.len() as i64) < LINKS;
        for (did, user) in next {
            let account = Did::parse(&did).map_err(damaged)?;
            self.adopt(connection, &account, HashMap::from([(did, user)])).await?;
        }
        Ok(!is_last)
    }

    async fn adopt(
        &self,
        connection: &mut PgConnection,
        did: &Did,
        users: HashMap<String, String>,
    ) -> Result<(), ReconcileError> {
        let mut after: Option<AtUri> = None;
        loop {
            let mut tx = connection.begin().await?;
            let uris = event_log::records_of(&mut tx, did, &COLLECTIONS, after.as_ref(), PAGE).await?;
            after = uris.last().cloned();
            let is_last = (uris.len() as i64) < PAGE;
            let found = settle(&mut tx, &self.environment, &users, uris.into_iter().collect()).await?;
            if is_last {
                // The link may be gone by now.
                sqlx::query(
                    "insert into publish.adopted (did) select did from identity.account where did = $1 for key share
                     on conflict do nothing",
                )
                .bind(did.as_str())
                .execute(&mut *tx)
                .await?;
            }
            commit(tx, found).await?;
            if is_last {
                return Ok(());
            }
        }
    }
}

async fn commit(tx: sqlx::Transaction<'_, sqlx::Postgres>, found: Found) -> Result<(), ReconcileError> {
    if found.confirmed > 0 {
        crash_point("publish.confirming");
    }
    tx.commit().await?;
    if found.confirmed > 0 {
        crash_point("publish.confirmed");
    }
    metric::found(found);
    Ok(())
}
