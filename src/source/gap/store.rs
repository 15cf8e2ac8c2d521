//! Gaps in the database, and the sweeps that close them.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sqlx::{PgConnection, PgPool};

use super::{Gap, GapKind};
use crate::event::{Upstream, UpstreamKind};

/// A host that says the same at every attempt is noted once in this time.
const AGAIN_AFTER: TimeDelta = TimeDelta::hours(1);

/// A gap that was noted.
#[derive(Clone, Debug, PartialEq, Serialize, sqlx::FromRow)]
pub struct NotedGap {
    /// Rises with each.
    pub id: i64,
    /// Name of the upstream.
    pub upstream: String,
    /// When it was noted.
    pub noted_at: DateTime<Utc>,
    /// A word of [`GapKind`].
    pub kind: String,
    /// The last frame handled before.
    pub seq_before: Option<i64>,
    /// The first frame after.
    pub seq_after: Option<i64>,
    /// The time that the frame before carries.
    pub time_before: Option<DateTime<Utc>>,
    /// The time that the frame after carries.
    pub time_after: Option<DateTime<Utc>>,
    /// For people.
    pub detail: String,
    /// How many accounts were queued because of it.
    pub accounts_queued: i64,
}

/// Notes a gap. Its number, and whether it is new: the same upstream with the same kind of gap after the same frame is
/// noted once an hour.
pub async fn note(connection: &mut PgConnection, gap: &Gap) -> Result<(i64, bool), sqlx::Error> {
    let known: Option<i64> = sqlx::query_scalar(
        "select id from source.gap
         where upstream = $1 and kind = $2 and seq_before is not distinct from $3 and noted_at > now() - $4
         order by id desc limit 1",
    )
    .bind(&*gap.upstream.name)
    .bind(gap.kind.as_str())
    .bind(gap.seq_before)
    .bind(sqlx::postgres::types::PgInterval::try_from(AGAIN_AFTER).expect("whole hours fit an interval"))
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(id) = known {
        return Ok((id, false));
    }
    let id = sqlx::query_scalar(
        "insert into source.gap (upstream, kind, seq_before, seq_after, time_before, time_after, detail)
         values ($1, $2, $3, $4, $5, $6, $7) returning id",
    )
    .bind(&*gap.upstream.name)
    .bind(gap.kind.as_str())
    .bind(gap.seq_before)
    .bind(gap.seq_after)
    .bind(gap.time_before)
    .bind(gap.time_after)
    .bind(&gap.detail)
    .fetch_one(connection)
    .await?;
    Ok((id, true))
}

/// Queues every account that gap `id` of this upstream may concern, and notes how many: all in scope for a relay; for a PDS
/// those that live on it and those of whom nobody knows where they live.
pub async fn sweep(connection: &mut PgConnection, id: i64, upstream: &Upstream) -> Result<u64, sqlx::Error> {
    let host = (upstream.kind == UpstreamKind::Pds).then_some(&*upstream.name);
    let queued = sqlx::query(include_str!("sweep.sql")).bind(host).execute(&mut *connection).await?.rows_affected();
    sqlx::query("update source.gap set accounts_queued = $2 where id = $1")
        .bind(id)
        .bind(i64::try_from(queued).unwrap_or(i64::MAX))
        .execute(connection)
        .await?;
    Ok(queued)
}

/// Notes gaps and sweeps what they concern, in the caller's transaction: the one that moves the cursors past them, so that
/// a process that is killed finds the gap again or has noted it. How many accounts were queued.
pub async fn record(connection: &mut PgConnection, gaps: &[Gap]) -> Result<u64, sqlx::Error> {
    let mut queued = 0;
    for gap in gaps {
        let (id, new) = note(connection, gap).await?;
        // Each start without a cursor leaves its own time unheard, however soon it follows on another.
        if (new || gap.kind == GapKind::NoCursor) && gap.kind.sweeps() {
            queued += sweep(connection, id, &gap.upstream).await?;
        }
        if gap.kind == GapKind::NoCursor {
            tracing::info!(upstream = %gap.upstream.name, accounts_queued = queued, "{}", gap.detail);
        } else if new {
            tracing::warn!(
                upstream = %gap.upstream.name, kind = gap.kind.as_str(), seq_before = gap.seq_before,
                seq_after = gap.seq_after, accounts_queued = queued, "frames may be missing: {}", gap.detail,
            );
        }
    }
    Ok(queued)
}

/// The gaps noted since `since`, the latest first, at most `limit`.
pub async fn recent(pool: &PgPool, since: DateTime<Utc>, limit: i64) -> Result<Vec<NotedGap>, sqlx::Error> {
    sqlx::query_as("select * from source.gap where noted_at >= $1 order by id desc limit $2")
        .bind(since)
        .bind(limit)
        .fetch_all(pool)
        .await
}
