//! How far the log and the index are, and what they hold.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{PgPool, Row};

use super::run::{QueryError, begin, bounded};

/// The most cursors shown. Live upstreams are a handful; every dump that was ever replayed leaves one too.
const CURSORS_MAX: i64 = 500;

/// How far one upstream is handled.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CursorView {
    /// The upstream's name.
    pub upstream: String,
    /// `relay`, `pds` or `dump`.
    pub kind: String,
    /// Everything up to this frame is handled.
    pub seq: i64,
    /// The time that this frame carries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_time: Option<DateTime<Utc>>,
    /// When the cursor last moved.
    pub updated_at: DateTime<Utc>,
    /// The database's clock minus `event_time`, never below 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_seconds: Option<i64>,
}

/// The state of log and index.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IndexStatus {
    /// The environment stamped on the database; `None` before it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The last position given out; 0 in an empty log.
    pub log_position: i64,
    /// The log is folded up to here.
    pub projection_position: i64,
    /// Visible events.
    pub events: i64,
    /// Visible RSVPs.
    pub rsvps: i64,
    /// The most recently moved first; at most 500.
    pub cursors: Vec<CursorView>,
}

/// The state of log and index. Counts rows: its cost grows with the tables, so callers who answer strangers keep the
/// answer for a moment.
pub async fn status(pool: &PgPool) -> Result<IndexStatus, QueryError> {
    bounded(|| async {
        let mut tx = begin(pool).await?;
        let row = sqlx::query(
            "select (select name from log.environment) as environment,
                (select position from log.head) as log_position,
                (select position from calendar.checkpoint) as projection_position,
                (select count(*) from calendar.events) as events,
                (select count(*) from calendar.rsvps) as rsvps",
        )
        .fetch_one(&mut *tx)
        .await?;
        let cursors = sqlx::query(
            "select upstream, kind, seq, event_time, updated_at,
                greatest(0, floor(extract(epoch from now() - event_time)))::bigint as lag
            from log.cursor order by updated_at desc, upstream limit $1",
        )
        .bind(CURSORS_MAX)
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        let cursors = cursors.iter().map(|row| {
            let event_time: Option<DateTime<Utc>> = row.try_get("event_time")?;
            Ok(CursorView {
                upstream: row.try_get("upstream")?,
                kind: row.try_get("kind")?,
                seq: row.try_get("seq")?,
                event_time,
                updated_at: row.try_get("updated_at")?,
                // `greatest` passes over null and would call an unknown lag 0.
                lag_seconds: event_time.and(row.try_get("lag")?),
            })
        });
        Ok(IndexStatus {
            environment: row.try_get("environment")?,
            log_position: row.try_get("log_position")?,
            projection_position: row.try_get("projection_position")?,
            events: row.try_get("events")?,
            rsvps: row.try_get("rsvps")?,
            cursors: cursors.collect::<Result<_, sqlx::Error>>()?,
        })
    })
    .await
}
