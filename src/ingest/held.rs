//! Frames that wait in the database until their account's document was read.
//!
//! A frame is held in the transaction that moves its upstream's cursor and released in the one that handles it. Per account
//! frames keep their order. What is held is bounded per account and in all; what does not fit is not held, and fetching the
//! repository brings it back.

use std::sync::Arc;

use bytes::Bytes;
use metrics::gauge;
use sqlx::{PgConnection, PgPool, Row};

use super::batch::Batch;
use super::known::{Known, Waiting};
use crate::event::{Delivery, Did, Upstream, UpstreamKind};

/// Bytes that may wait for one account.
const ACCOUNT_BYTES_MAX: u64 = 20_000_000;
/// Bytes that may wait in all.
const BYTES_MAX: u64 = 1_000_000_000;
/// Bytes released at a time.
const CHUNK_BYTES: usize = 4_000_000;

/// Who is told how much waits.
#[derive(Clone, Debug, Default)]
pub struct Holding {
    last: i64,
    frames: u64,
    bytes: u64,
}

impl Holding {
    pub(super) fn has_room(&self, waiting: Option<&Waiting>, bytes: usize) -> bool {
        let bytes = bytes as u64;
        self.bytes + bytes <= BYTES_MAX && waiting.map_or(0, |w| w.bytes) + bytes <= ACCOUNT_BYTES_MAX
    }

    pub(super) fn hold(&mut self, did: &Did, known: &mut Known, delivery: &Delivery, batch: &mut Batch) {
        self.last += 1;
        let waiting = known.waiting.get_or_insert_default();
        waiting.last = self.last;
        waiting.frames += 1;
        waiting.bytes += delivery.frame.len() as u64;
        self.frames += 1;
        self.bytes += delivery.frame.len() as u64;
        self.show();
        // A copy: the frame is a piece of the buffer that hundreds were read into, and all of it would wait for the log.
        let frame = Bytes::copy_from_slice(&delivery.frame);
        batch.hold(self.last, did.clone(), Delivery { frame, ..delivery.clone() });
    }

    pub(super) fn release(&mut self, waiting: &mut Waiting, bytes: usize) {
        waiting.frames = waiting.frames.saturating_sub(1);
        waiting.bytes = waiting.bytes.saturating_sub(bytes as u64);
        self.frames = self.frames.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes as u64);
        self.show();
    }

    #[cfg(test)]
    pub(super) fn full() -> Self {
        Holding { bytes: BYTES_MAX, ..Holding::default() }
    }

    fn show(&self) {
        gauge!("almanac_ingest_waiting_frames").set(self.frames as f64);
        gauge!("almanac_ingest_waiting_bytes").set(self.bytes as f64);
    }
}

/// What waited when the process before ended: into `known`, and how much it is.
pub(super) async fn load_waiting(pool: &PgPool, known: &mut super::known::KnownRepos) -> Result<Holding, sqlx::Error> {
    let rows = sqlx::query(
        "select did, max(n) as last, count(*) as frames, sum(octet_length(frame))::bigint as bytes
         from ingest.held group by did",
    )
    .fetch_all(pool)
    .await?;
    let mut holding = Holding::default();
    for row in rows {
        let did = Did::parse(row.try_get("did")?).map_err(|e| sqlx::Error::Decode(Box::new(e)))?;
        let count = |column: &str| -> Result<u64, sqlx::Error> { Ok(row.try_get::<i64, _>(column)?.unsigned_abs()) };
        let waiting =
            Waiting { last: row.try_get("last")?, through: 0, frames: count("frames")?, bytes: count("bytes")? };
        holding.last = holding.last.max(waiting.last);
        holding.frames += waiting.frames;
        holding.bytes += waiting.bytes;
        known.entry(did).or_default().waiting = Some(waiting);
    }
    holding.show();
    Ok(holding)
}

/// Some of the frames of an account that wait after number `after`, in order; none when there are no more.
pub(super) async fn read(pool: &PgPool, did: &Did, after: i64) -> Result<Vec<(i64, Delivery)>, sqlx::Error> {
    let rows = sqlx::query(
        "select n, upstream, upstream_kind, seen_at, live, frame
         from (select *, sum(octet_length(frame)) over (order by n) - octet_length(frame) as before
               from ingest.held where did = $1 and n > $2) as waiting
         where before < $3 order by n limit 1000",
    )
    .bind(did.as_str())
    .bind(after)
    .bind(CHUNK_BYTES as i64)
    .fetch_all(pool)
    .await?;
    let delivery = |row: &sqlx::postgres::PgRow| {
        let kind = UpstreamKind::from_word(row.try_get("upstream_kind")?).unwrap_or(UpstreamKind::Relay);
        let delivery = Delivery {
            upstream: Arc::new(Upstream::new(kind, row.try_get::<String, _>("upstream")?)),
            seen_at: row.try_get("seen_at")?,
            live: row.try_get("live")?,
            frame: Bytes::from(row.try_get::<Vec<u8>, _>("frame")?),
        };
        Ok((row.try_get("n")?, delivery))
    };
    rows.iter().map(delivery).collect()
}

/// Writes what a batch holds and deletes what it released.
pub(super) async fn store(connection: &mut PgConnection, batch: &Batch) -> Result<(), sqlx::Error> {
    if !batch.held.is_empty() {
        let held = &batch.held;
        sqlx::query(
            "insert into ingest.held (n, did, upstream, upstream_kind, seen_at, live, frame)
             select * from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::boolean[], $7::bytea[])
             on conflict (n) do nothing",
        )
        .bind(held.iter().map(|h| h.0).collect::<Vec<_>>())
        .bind(held.iter().map(|h| h.1.as_str()).collect::<Vec<_>>())
        .bind(held.iter().map(|h| &*h.2.upstream.name).collect::<Vec<_>>())
        .bind(held.iter().map(|h| h.2.upstream.kind.as_str()).collect::<Vec<_>>())
        .bind(held.iter().map(|h| h.2.seen_at).collect::<Vec<_>>())
        .bind(held.iter().map(|h| h.2.live).collect::<Vec<_>>())
        .bind(held.iter().map(|h| &h.2.frame[..]).collect::<Vec<_>>())
        .execute(&mut *connection)
        .await?;
    }
    if !batch.released.is_empty() {
        sqlx::query(
            "delete from ingest.held as h using unnest($1::text[], $2::bigint[]) as r (did, through)
             where h.did = r.did and h.n <= r.through",
        )
        .bind(batch.released.keys().map(Did::as_str).collect::<Vec<_>>())
        .bind(batch.released.values().copied().collect::<Vec<_>>())
        .execute(connection)
        .await?;
    }
    Ok(())
}
