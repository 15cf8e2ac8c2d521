//! Which other upstreams carried a commit: the log keeps an event once, under the first one that brought it.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, PgPool};

use crate::event::{Did, Rev, Seq, Upstream};

/// How long it is kept who carried what.
const KEEP: TimeDelta = TimeDelta::days(30);

/// One upstream carried one commit.
#[derive(Clone, Debug)]
pub(super) struct Sighting {
    pub did: Did,
    pub rev: Rev,
    pub upstream: Arc<Upstream>,
    pub seq: Option<Seq>,
    pub seen_at: DateTime<Utc>,
    pub live: bool,
}

/// Writes those of a batch. The first time that an upstream carried a commit stays.
pub(super) async fn store(connection: &mut PgConnection, sightings: &[Sighting]) -> Result<(), sqlx::Error> {
    if sightings.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into ingest.sighting (did, rev, upstream, upstream_kind, seq, seen_at, live)
         select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::timestamptz[], $7::boolean[])
         on conflict do nothing",
    )
    .bind(sightings.iter().map(|s| s.did.as_str()).collect::<Vec<_>>())
    .bind(sightings.iter().map(|s| s.rev.to_string()).collect::<Vec<_>>())
    .bind(sightings.iter().map(|s| &*s.upstream.name).collect::<Vec<_>>())
    .bind(sightings.iter().map(|s| s.upstream.kind.as_str()).collect::<Vec<_>>())
    .bind(sightings.iter().map(|s| s.seq).collect::<Vec<_>>())
    .bind(sightings.iter().map(|s| s.seen_at).collect::<Vec<_>>())
    .bind(sightings.iter().map(|s| s.live).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets those that are old.
pub(super) async fn prune(pool: &PgPool) -> Result<(), sqlx::Error> {
    sqlx::query("delete from ingest.sighting where seen_at < $1").bind(Utc::now() - KEEP).execute(pool).await?;
    Ok(())
}
