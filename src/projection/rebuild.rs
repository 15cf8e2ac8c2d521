//! Folding the whole log into new tables beside the old, and exchanging them.
//!
//! The new tables are copies of the old ones' definitions in schema `calendar_next`. Readers see the old ones until the
//! exchange, which is one short transaction: it waits for the fold under way, folds what arrived meanwhile, and renames.
//! The old tables are dropped after it, each by itself: dropping them together would deadlock with readers that join them.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::projector::{ProjectionError, step};
use crate::event::Position;
use crate::event_log;
use crate::telemetry::crash_point;

/// The tables, in no particular order.
const TABLES: [&str; 7] = ["checkpoint", "words", "accounts", "events", "event_locations", "rsvps", "rsvp_counts"];

/// What a rebuild did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RebuildReport {
    /// Events folded.
    pub events: u64,
    /// The position that the new tables show.
    pub position: Position,
}

/// Rebuilds the index. `progress` is told (position, log's end) after each step. Nobody else may rebuild meanwhile; a
/// `serve` may go on.
///
/// # Errors
/// As the projector's. The old tables stay as they were.
pub async fn rebuild(
    connection: &mut PgConnection,
    mut progress: impl FnMut(Position, Position),
) -> Result<RebuildReport, ProjectionError> {
    drop_old(connection).await?;
    prepare(connection).await?;
    let mut events = 0;
    loop {
        let folded = step(connection, "calendar_next").await?;
        if folded == 0 {
            break;
        }
        events += folded as u64;
        let position =
            sqlx::query_scalar("select position from calendar_next.checkpoint").fetch_one(&mut *connection).await?;
        progress(position, event_log::head(connection).await?);
    }
    sqlx::query("analyze calendar_next.events, calendar_next.rsvps, calendar_next.words, calendar_next.rsvp_counts")
        .execute(&mut *connection)
        .await?;
    let mut tx = connection.begin().await?;
    // The projector takes this row first of all: from here on the old tables stand still.
    sqlx::query("select position from calendar.checkpoint for update").execute(&mut *tx).await?;
    loop {
        let folded = step(&mut tx, "calendar_next").await?;
        if folded == 0 {
            break;
        }
        events += folded as u64;
    }
    let position: Position =
        sqlx::query_scalar("select position from calendar_next.checkpoint").fetch_one(&mut *tx).await?;
    exchange(&mut tx).await?;
    crash_point("rebuild before exchange");
    tx.commit().await?;
    crash_point("rebuild after exchange");
    drop_old(connection).await?;
    progress(position, position);
    Ok(RebuildReport { events, position })
}

/// Empty copies of the tables. What an interrupted rebuild left is thrown away.
async fn prepare(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let mut tx = connection.begin().await?;
    sqlx::query("drop schema if exists calendar_next cascade").execute(&mut *tx).await?;
    sqlx::query("create schema calendar_next").execute(&mut *tx).await?;
    for table in TABLES {
        let statement = format!("create table calendar_next.{table} (like calendar.{table} including all)");
        sqlx::query(AssertSqlSafe(statement)).execute(&mut *tx).await?;
    }
    sqlx::query("insert into calendar_next.checkpoint (position) values (0)").execute(&mut *tx).await?;
    tx.commit().await
}

/// Puts the new tables in the old ones' place, under the old ones' grants.
async fn exchange(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let grants: Vec<String> = sqlx::query_scalar(
        "select format('grant %s on calendar_next.%I to %s', privilege_type, table_name,
             case grantee when 'PUBLIC' then 'public' else quote_ident(grantee) end)
         from information_schema.role_table_grants where table_schema = 'calendar' and grantee <> grantor
         union all
         select format('grant %s on schema calendar_next to %s', a.privilege_type,
             case when a.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end)
         from pg_namespace n, aclexplode(n.nspacl) a
         where n.nspname = 'calendar' and a.grantee <> a.grantor",
    )
    .fetch_all(&mut *connection)
    .await?;
    for grant in grants {
        sqlx::query(AssertSqlSafe(grant)).execute(&mut *connection).await?;
    }
    sqlx::query("alter schema calendar rename to calendar_old").execute(&mut *connection).await?;
    sqlx::query("alter schema calendar_next rename to calendar").execute(&mut *connection).await?;
    Ok(())
}

/// Drops what the exchange replaced. Without `cascade`: a view of somebody's that hangs on the old tables must not vanish in
/// silence.
async fn drop_old(connection: &mut PgConnection) -> Result<(), ProjectionError> {
    let tables = TABLES.iter().map(|table| format!("drop table if exists calendar_old.{table}"));
    for statement in tables.chain(["drop schema if exists calendar_old".to_owned()]) {
        match sqlx::query(AssertSqlSafe(statement)).execute(&mut *connection).await {
            Ok(_) => {}
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("2BP01") => {
                return Err(ProjectionError::OldTablesInUse { by: error.message().to_owned() });
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
