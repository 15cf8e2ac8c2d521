//! `purge`: the records of accounts that were deleted long enough ago leave the log.
//!
//! In: how long ago. Out: what was taken of whom. Always true: an account that is not deleted any more keeps everything;
//! an interrupted purge goes on where it was, because what is purged is no longer there to be found; the appender is kept
//! waiting for some hundred rows at a time. The index does not change: it shows nothing of these accounts.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sqlx::{Connection, PgConnection};
use tokio::sync::watch;

use super::stop;
use crate::db::Db;
use crate::event::Did;
use crate::event_log::{self, Purged};
use crate::projection;
use crate::telemetry::crash_point;

/// How often a serving process purges.
const EVERY: std::time::Duration = std::time::Duration::from_secs(3_600);
/// Accounts looked up at a time.
const ACCOUNTS: i64 = 200;
/// Records that lose their bytes in one transaction. The appender waits for it.
const RECORDS: i64 = 500;

/// What a purge did, or would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PurgeReport {
    /// Accounts.
    pub accounts: u64,
    /// Their records.
    pub records: u64,
    /// The bytes of those.
    pub bytes: u64,
}

/// Purges every account that was deleted more than `older_than` ago; with `dry_run` only counts. `told` is told of each
/// account.
pub async fn purge(
    db: &Db,
    older_than: TimeDelta,
    dry_run: bool,
    mut told: impl FnMut(&Did, Purged),
) -> anyhow::Result<PurgeReport> {
    let mut connection = db.connect().await?;
    // To the microsecond, as the database keeps it: it names the run.
    let run_at = DateTime::from_timestamp_micros(Utc::now().timestamp_micros()).expect("now is a time");
    let before = run_at.checked_sub_signed(older_than).unwrap_or(DateTime::<Utc>::MIN_UTC);
    let mut report = PurgeReport::default();
    let mut after: Option<Did> = None;
    loop {
        let dids = projection::deleted_accounts(&mut connection, before, after.as_ref(), ACCOUNTS).await?;
        let Some(last) = dids.last() else { break };
        after = Some(last.clone());
        for did in &dids {
            let purged = if dry_run {
                event_log::purgeable(&mut connection, did).await?
            } else {
                purge_account(&mut connection, did, before, run_at).await?
            };
            if purged.records > 0 {
                report.accounts += 1;
                report.records += purged.records;
                report.bytes += purged.bytes;
                told(did, purged);
            }
        }
    }
    Ok(report)
}

/// Purges every hour until told to stop.
pub async fn keep_purging(db: Db, older_than: TimeDelta, stopped: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = stop::wait(stopped.clone()) => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        let told = |did: &Did, purged: Purged| {
            tracing::info!(%did, records = purged.records, bytes = purged.bytes, "the records of a deleted account left the log");
        };
        tokio::select! {
            () = stop::wait(stopped.clone()) => return,
            purged = purge(&db, older_than, false, told) => if let Err(error) = purged {
                tracing::warn!(%error, "deleted accounts could not be purged; tried again in an hour");
            },
        }
    }
}

async fn purge_account(
    connection: &mut PgConnection,
    did: &Did,
    before: DateTime<Utc>,
    run_at: DateTime<Utc>,
) -> Result<Purged, sqlx::Error> {
    let mut all = Purged::default();
    loop {
        let mut tx = connection.begin().await?;
        event_log::hold_still(&mut tx).await?;
        // Looked at again under the lock: it may have come back since it was found.
        if !projection::is_deleted(&mut tx, did, before).await? {
            return Ok(all);
        }
        let purged = event_log::purge(&mut tx, did, run_at, RECORDS).await?;
        crash_point("purge before commit");
        forget(&mut tx, did).await?;
        tx.commit().await?;
        crash_point("purge between batches");
        all.records += purged.records;
        all.bytes += purged.bytes;
        if purged.records < RECORDS.unsigned_abs() {
            return Ok(all);
        }
    }
}

/// What ingest keeps of the account goes too: frames that wait, words set aside, and how far its repository was known. An
/// account that comes back with the very repository it had must not be taken for one of which everything is here.
async fn forget(connection: &mut PgConnection, did: &Did) -> Result<(), sqlx::Error> {
    for statement in [
        "delete from ingest.held where did = $1",
        "delete from ingest.bystander where did = $1",
        "update ingest.repo set rev = null, data = null, gap_rev = null, state = 'partial', state_since = now()
         where did = $1",
    ] {
        sqlx::query(statement).bind(did.as_str()).execute(&mut *connection).await?;
    }
    Ok(())
}
