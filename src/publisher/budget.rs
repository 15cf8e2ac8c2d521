//! What an account may still write: points, counted here, because a PDS that limits forgets what it took from whom.
//!
//! <https://docs.bsky.app/docs/advanced-guides/rate-limits>: 3 for a record made, 2 for one changed, 1 for one deleted.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, PgPool};

use super::PublishOptions;

/// For a record that is made.
pub(super) const CREATE: u32 = 3;
/// For one that is changed.
pub(super) const PUT: u32 = 2;
/// For one that is deleted.
pub(super) const DELETE: u32 = 1;

/// What was taken of a budget, so that it can be given back.
#[derive(Clone, Debug)]
pub(super) struct Reserved {
    minute: DateTime<Utc>,
    points: u32,
}

/// Whether there is something left.
#[derive(Clone, Debug)]
pub(super) enum Reservation {
    /// For so many writes it was taken: at least one.
    Granted { writes: usize, reserved: Reserved },
    /// Nothing was taken; so long until a write fits.
    SpentFor(Duration),
}

/// Takes `points` for each of up to `writes` writes, before they are sent. Whoever takes for the same account waits until the
/// transaction ends, so that no two take the same.
pub(super) async fn reserve(
    connection: &mut PgConnection,
    did: &str,
    points: u32,
    writes: usize,
    options: &PublishOptions,
) -> Result<Reservation, sqlx::Error> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 1))").bind(did).execute(&mut *connection).await?;
    // A slice counts until its last moment has left the window.
    let slices: Vec<(DateTime<Utc>, i32)> = sqlx::query_as(
        "select minute, points from publish.spent
         where did = $1 and minute > now() - interval '1 day 1 minute' order by minute desc",
    )
    .bind(did)
    .fetch_all(&mut *connection)
    .await?;
    let (now, minute): (DateTime<Utc>, DateTime<Utc>) =
        sqlx::query_as("select now(), date_trunc('minute', now())").fetch_one(&mut *connection).await?;
    let hour = Window { span: TimeDelta::minutes(61), points: options.points_per_hour };
    let day = Window { span: TimeDelta::minutes(24 * 60 + 1), points: options.points_per_day };
    let fits = hour.left(&slices, now).min(day.left(&slices, now)) / points;
    if fits == 0 {
        let until = hour.frees(&slices, now, points).max(day.frees(&slices, now, points));
        return Ok(Reservation::SpentFor((until - now).to_std().unwrap_or_default()));
    }
    let writes = writes.min(fits as usize);
    let points = points * u32::try_from(writes).unwrap_or(u32::MAX);
    sqlx::query(
        "with old as (
             delete from publish.spent where did = $1 and minute <= now() - interval '1 day 1 minute'
         )
         insert into publish.spent as s (did, minute, points) values ($1, $2, $3)
         on conflict (did, minute) do update set points = s.points + excluded.points",
    )
    .bind(did)
    .bind(minute)
    .bind(i32::try_from(points).unwrap_or(i32::MAX))
    .execute(connection)
    .await?;
    Ok(Reservation::Granted { writes, reserved: Reserved { minute, points } })
}

/// Gives back what was taken for something that certainly did not arrive.
pub(super) async fn give_back(pool: &PgPool, did: &str, reserved: &Reserved) -> Result<(), sqlx::Error> {
    sqlx::query("update publish.spent set points = greatest(0, points - $3) where did = $1 and minute = $2")
        .bind(did)
        .bind(reserved.minute)
        .bind(i32::try_from(reserved.points).unwrap_or(i32::MAX))
        .execute(pool)
        .await?;
    Ok(())
}

struct Window {
    span: TimeDelta,
    points: u32,
}

impl Window {
    fn inside<'a>(
        &'a self,
        slices: &'a [(DateTime<Utc>, i32)],
        now: DateTime<Utc>,
    ) -> impl Iterator<Item = (DateTime<Utc>, u32)> + 'a {
        let slices = slices.iter().filter(move |(minute, _)| *minute > now - self.span);
        slices.map(|(minute, points)| (*minute, u32::try_from(*points).unwrap_or_default()))
    }

    fn left(&self, slices: &[(DateTime<Utc>, i32)], now: DateTime<Utc>) -> u32 {
        self.points.saturating_sub(self.inside(slices, now).map(|(_, points)| points).sum())
    }

    /// When `wanted` points fit: as soon as the slices that are then still in the window leave so much. `slices` begin with
    /// the newest.
    fn frees(&self, slices: &[(DateTime<Utc>, i32)], now: DateTime<Utc>, wanted: u32) -> DateTime<Utc> {
        if wanted > self.points {
            return now + self.span;
        }
        let mut spent = 0;
        for (minute, points) in self.inside(slices, now) {
            spent += points;
            if spent + wanted > self.points {
                return minute + self.span;
            }
        }
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_frees_when_enough_has_left_it() {
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let ago = |minutes: i64| now - TimeDelta::minutes(minutes);
        let hour = Window { span: TimeDelta::minutes(61), points: 10 };
        let slices = [(ago(1), 4), (ago(20), 3), (ago(50), 2), (ago(70), 100)];
        assert_eq!(hour.left(&slices, now), 1);
        assert_eq!(hour.frees(&slices, now, 1), now);
        assert_eq!(hour.frees(&slices, now, 3), ago(50) + TimeDelta::minutes(61));
        assert_eq!(hour.frees(&slices, now, 4), ago(20) + TimeDelta::minutes(61));
        assert_eq!(hour.frees(&slices, now, 7), ago(1) + TimeDelta::minutes(61));
        assert_eq!(hour.left(&[(ago(1), 40)], now), 0, "over it after the setting was lowered");
    }
}
