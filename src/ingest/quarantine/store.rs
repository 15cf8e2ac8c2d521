//! Writing what a batch refused, and what became of what was judged again: in the batch's transaction.

use std::collections::HashMap;

use sqlx::{PgConnection, Row};

use super::space::{ROW_BYTES, Space};
use super::{Quarantined, Rejudged};

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::ingest) struct Stored {
    /// Bytes of new rows.
    pub bytes: u64,
    /// Frames for which there was no room.
    pub overflow: u64,
}

impl Quarantined {
    fn weight(&self) -> u64 {
        self.frame.as_ref().map_or(0, |frame| frame.len() as u64) + ROW_BYTES
    }
}

/// Writes both. Whoever commits tells [`Space`] what was taken: an attempt that fails takes nothing.
pub(in crate::ingest) async fn store(
    connection: &mut PgConnection,
    quarantined: &[Quarantined],
    rejudged: &[(i64, Rejudged)],
    space: &Space,
) -> Result<Stored, sqlx::Error> {
    let mut stored = Stored::default();
    if !quarantined.is_empty() {
        let mut index: HashMap<[u8; 16], usize> = HashMap::new();
        // One row may be written once in a statement.
        let mut rows: Vec<([u8; 16], &Quarantined, i64)> = Vec::new();
        for refused in quarantined {
            let digest = refused.digest();
            match index.get(&digest) {
                Some(at) => rows[*at].2 += 1,
                None => {
                    index.insert(digest, rows.len());
                    rows.push((digest, refused, 1));
                }
            }
        }
        let mut left = space.left();
        let (fitting, rest): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(_, refused, _)| {
            let fits = refused.weight() <= left;
            left -= if fits { refused.weight() } else { 0 };
            fits
        });
        let bytes = insert(connection, &fitting).await?;
        let overflow = count_up(connection, &rest).await?;
        stored = Stored { bytes, overflow };
    }
    tell(connection, rejudged).await?;
    Ok(stored)
}

/// The bytes of rows that were not there before.
async fn insert(connection: &mut PgConnection, rows: &[([u8; 16], &Quarantined, i64)]) -> Result<u64, sqlx::Error> {
    if rows.is_empty() {
        return Ok(0);
    }
    fn column<T>(rows: &[([u8; 16], &Quarantined, i64)], get: impl Fn(&Quarantined) -> T) -> Vec<T> {
        rows.iter().map(|(_, refused, _)| get(refused)).collect()
    }
    let written = sqlx::query(
        "insert into ingest.quarantine as q (digest, times, did, reason, rule, detail, paths, rev, commit_cid, upstream,
             upstream_kind, declared, seq, seen_at, live, pds, frame)
         select digest, times, did, reason, rule, detail, string_to_array(paths, E'\\n'), rev, commit_cid, upstream,
             upstream_kind, declared, seq, seen_at, live, pds, frame
         from unnest($1::bytea[], $2::bigint[], $3::text[], $4::text[], $5::smallint[], $6::text[], $7::text[], $8::text[],
             $9::text[], $10::text[], $11::text[], $12::text[], $13::bigint[], $14::timestamptz[], $15::boolean[],
             $16::text[], $17::bytea[])
             as r (digest, times, did, reason, rule, detail, paths, rev, commit_cid, upstream, upstream_kind, declared, seq,
                 seen_at, live, pds, frame)
         on conflict (digest) do update set times = q.times + excluded.times,
             -- One that was released is in quarantine again.
             frame = coalesce(q.frame, excluded.frame),
             quarantined_at = case when q.released_at is null then q.quarantined_at else now() end,
             release_outcome = case when q.released_at is null then q.release_outcome end,
             released_at = null
         returning digest, xmax = 0 as is_new",
    )
    .bind(rows.iter().map(|row| row.0.to_vec()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.2).collect::<Vec<_>>())
    .bind(column(rows, |r| r.did.to_string()))
    .bind(column(rows, |r| r.reason))
    .bind(column(rows, |r| r.rule.map(|rule| i16::from(rule.number()))))
    .bind(column(rows, |r| r.detail.clone()))
    // Control characters were taken out of them.
    .bind(column(rows, |r| r.paths.join("\n")))
    .bind(column(rows, |r| r.rev.clone()))
    .bind(column(rows, |r| r.commit_cid.clone()))
    .bind(column(rows, |r| r.upstream.to_string()))
    .bind(column(rows, |r| r.upstream_kind.as_str()))
    .bind(column(rows, |r| r.declared.clone()))
    .bind(column(rows, |r| r.seq))
    .bind(column(rows, |r| r.seen_at))
    .bind(column(rows, |r| r.live))
    .bind(column(rows, |r| r.pds.as_deref().map(str::to_owned)))
    .bind(rows.iter().map(|row| row.1.frame.as_deref()).collect::<Vec<Option<&[u8]>>>())
    .fetch_all(connection)
    .await?;
    let weights: HashMap<&[u8], u64> =
        rows.iter().map(|(digest, refused, _)| (&digest[..], refused.weight())).collect();
    let mut bytes = 0;
    for row in written {
        if row.try_get("is_new")? {
            bytes += weights.get(row.try_get::<&[u8], _>("digest")?).copied().unwrap_or_default();
        }
    }
    Ok(bytes)
}

/// Counts up rows that are there. How many frames had none.
async fn count_up(connection: &mut PgConnection, rows: &[([u8; 16], &Quarantined, i64)]) -> Result<u64, sqlx::Error> {
    if rows.is_empty() {
        return Ok(0);
    }
    let counted: i64 = sqlx::query_scalar(
        "with counted as (
             update ingest.quarantine q set times = q.times + r.times
             from unnest($1::bytea[], $2::bigint[]) as r (digest, times) where q.digest = r.digest returning r.times)
         select coalesce(sum(times), 0)::bigint from counted",
    )
    .bind(rows.iter().map(|row| row.0.to_vec()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.2).collect::<Vec<_>>())
    .fetch_one(connection)
    .await?;
    Ok((rows.iter().map(|row| row.2).sum::<i64>() - counted).unsigned_abs())
}

/// Notes what became of what was judged again. Whatever waits is still asked for; what was released keeps its row until it is
/// old, without the frame, which is in the log.
async fn tell(connection: &mut PgConnection, rejudged: &[(i64, Rejudged)]) -> Result<(), sqlx::Error> {
    if rejudged.is_empty() {
        return Ok(());
    }
    let last: HashMap<i64, &Rejudged> = rejudged.iter().map(|(id, outcome)| (*id, outcome)).collect();
    let (ids, outcomes): (Vec<i64>, Vec<&Rejudged>) = last.into_iter().unzip();
    sqlx::query(
        "update ingest.quarantine q set release_outcome = r.outcome,
             release_asked_at = case when r.waits then q.release_asked_at end,
             released_at = case when r.released then now() end,
             frame = case when not r.released then q.frame end
         from unnest($1::bigint[], $2::text[], $3::boolean[], $4::boolean[]) as r (id, outcome, waits, released)
         where q.id = r.id and q.release_asked_at is not null",
    )
    .bind(ids)
    .bind(outcomes.iter().map(|outcome| outcome.words()).collect::<Vec<_>>())
    .bind(outcomes.iter().map(|outcome| matches!(outcome, Rejudged::Waits(_))).collect::<Vec<_>>())
    .bind(outcomes.iter().map(|outcome| matches!(outcome, Rejudged::Released(_))).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}
