//! How acting for accounts goes: kept, so that trouble shows before anything is to be published.

use chrono::{DateTime, Utc};
use metrics::{counter, gauge};
use serde::Serialize;
use sqlx::{PgExecutor, PgPool};

use crate::telemetry::{register_counter, register_gauge};

const SESSIONS: &str = "almanac_identity_sessions";
const RENEWALS: &str = "almanac_identity_renewals_total";
/// The words of the table.
const WORDS: [&str; 4] = ["untried", "ok", "unreachable", "dead"];

/// The pause after an account was found dead, in seconds; it doubles with each further try.
const PAUSE_FIRST: i32 = 60;
/// The longest.
const PAUSE_MAX: i32 = 3_600;

/// How acting for one custodial account goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Health {
    /// The app's name for the user.
    pub user_id: String,
    /// The network account.
    pub did: String,
    /// Where it lives.
    pub pds: String,
    /// `untried`, `ok`, `unreachable` (it is tried again by itself) or `dead` (somebody has to do something).
    pub health: String,
    /// What happened, and what to do.
    pub detail: Option<String>,
    /// When that was found.
    pub health_at: Option<DateTime<Utc>>,
    /// When the access token ends, by its own word.
    pub access_until: Option<DateTime<Utc>>,
    /// The same of the refresh token.
    pub refresh_until: Option<DateTime<Utc>>,
    /// When it was last acted for, to within some minutes.
    pub used_at: Option<DateTime<Utc>>,
    /// Of a dead one: from when on it is tried again.
    pub retry_at: Option<DateTime<Utc>>,
}

/// How acting for one account goes; `None` when it is not custodial or not linked.
///
/// # Errors
/// The database did not do it.
pub async fn of(executor: impl PgExecutor<'_>, did: &str) -> Result<Option<Health>, sqlx::Error> {
    sqlx::query_as(
        "select a.user_id, a.did, a.pds, coalesce(s.health, 'untried') as health, s.health_detail as detail, s.health_at,
             s.access_until, s.refresh_until, s.used_at, s.retry_at
         from identity.account a left join identity.session s using (did)
         where a.custodial and a.did = $1",
    )
    .bind(did)
    .fetch_optional(executor)
    .await
}

/// Accounts in trouble first, then by user; at most so many.
///
/// # Errors
/// The database did not do it.
pub async fn list(executor: impl PgExecutor<'_>, limit: i64) -> Result<Vec<Health>, sqlx::Error> {
    sqlx::query_as(
        "select a.user_id, a.did, a.pds, coalesce(s.health, 'untried') as health, s.health_detail as detail, s.health_at,
             s.access_until, s.refresh_until, s.used_at, s.retry_at
         from identity.account a left join identity.session s using (did)
         where a.custodial
         order by array_position(array['dead', 'unreachable', 'untried', 'ok'], coalesce(s.health, 'untried')), a.user_id
         limit $1",
    )
    .bind(limit)
    .fetch_all(executor)
    .await
}

/// How many custodial accounts there are of each health; every word is there.
///
/// # Errors
/// The database did not do it.
pub async fn counts(executor: impl PgExecutor<'_>) -> Result<Vec<(&'static str, i64)>, sqlx::Error> {
    let counted: Vec<(String, i64)> = sqlx::query_as(
        "select coalesce(s.health, 'untried'), count(*)
         from identity.account a left join identity.session s using (did) where a.custodial group by 1",
    )
    .fetch_all(executor)
    .await?;
    let count = |word: &str| counted.iter().find(|(health, _)| health == word).map_or(0, |(_, count)| *count);
    Ok(WORDS.into_iter().map(|word| (word, count(word))).collect())
}

/// Describes the metrics of sessions and puts every series at zero.
pub fn register_metrics() {
    register_gauge(SESSIONS, "Custodial accounts, by how acting for them goes.", &[("health", &WORDS)]);
    let labels: &[(&str, &[&str])] = &[("by", &["refresh", "login"]), ("outcome", &["ok", "refused", "failed"])];
    register_counter(RENEWALS, "Tokens of accounts renewed, by what with and how it ended.", labels);
}

/// Puts the numbers into the gauges.
///
/// # Errors
/// The database did not do it.
pub async fn refresh_gauges(pool: &PgPool) -> Result<(), sqlx::Error> {
    for (word, count) in counts(pool).await? {
        gauge!(SESSIONS, "health" => word).set(count as f64);
    }
    Ok(())
}

pub(super) fn count_renewal(by: &'static str, outcome: &'static str) {
    counter!(RENEWALS, "by" => by, "outcome" => outcome).increment(1);
}

/// Acting for it went well.
pub(in crate::identity) async fn note_ok(
    executor: impl PgExecutor<'_>,
    did: &str,
    used: bool,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into identity.session as s (did, health, health_at, used_at)
         select did, 'ok', now(), case when $2 then now() end from identity.account where did = $1
         on conflict (did) do update set health = 'ok', health_detail = null, refusals = 0, retry_at = null,
             health_at = case when s.health = 'ok' then s.health_at else now() end,
             used_at = case when $2 then now() else s.used_at end",
    )
    .bind(did)
    .bind(used)
    .execute(executor)
    .await?;
    Ok(())
}

/// The host did not answer as it should. A dead account stays dead: nothing new was heard of it.
pub(super) async fn note_unreachable(
    executor: impl PgExecutor<'_>,
    did: &str,
    detail: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into identity.session as s (did, health, health_detail, health_at)
         select did, 'unreachable', $2, now() from identity.account where did = $1
         on conflict (did) do update set health = 'unreachable', health_detail = excluded.health_detail, health_at = now()
         where s.health <> 'dead'",
    )
    .bind(did)
    .bind(detail)
    .execute(executor)
    .await?;
    Ok(())
}

/// The account does not let us in. The pause grows once for each time that it was tried, however many callers heard of it.
pub(super) async fn note_dead(executor: impl PgExecutor<'_>, did: &str, detail: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into identity.session as s (did, health, health_detail, health_at, refusals, retry_at)
         select did, 'dead', $2, now(), 1, now() + make_interval(secs => $3) from identity.account where did = $1
         on conflict (did) do update set health = 'dead', health_detail = excluded.health_detail, health_at = now(),
             refusals = case when s.health = 'dead' then s.refusals else 1 end,
             retry_at = case when s.health = 'dead' then s.retry_at else excluded.retry_at end",
    )
    .bind(did)
    .bind(detail)
    .bind(f64::from(PAUSE_FIRST))
    .execute(executor)
    .await?;
    Ok(())
}

/// Whether a dead account may be tried now: its pause is over, or somebody stored a password since. Whoever may has the next
/// pause begun, so that of many callers and processes one tries.
pub(super) async fn claim_try(executor: impl PgExecutor<'_>, did: &str) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "update identity.session s set health_at = now(), refusals = least(refusals + 1, 20),
             retry_at = now() + make_interval(secs => least($2 * power(2, least(refusals, 20)), $3))
         where did = $1 and health = 'dead' and (retry_at is null or retry_at <= now() or exists (
             select from identity.credential c where c.did = s.did and c.name = 'password' and c.updated_at > s.health_at))",
    )
    .bind(did)
    .bind(f64::from(PAUSE_FIRST))
    .bind(f64::from(PAUSE_MAX))
    .execute(executor)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// What is kept of a dead account; `None` when it is not dead.
pub(super) async fn dead_detail(executor: impl PgExecutor<'_>, did: &str) -> Result<Option<String>, sqlx::Error> {
    let dead = "select coalesce(health_detail, '') from identity.session where did = $1 and health = 'dead'";
    sqlx::query_scalar(dead).bind(did).fetch_optional(executor).await
}

/// Accounts worth a look before somebody needs them, the most urgent first: never tried; acted for within a week and soon
/// without a token; unreachable for five minutes; dead with their pause over.
pub(super) async fn due(pool: &PgPool, soon_seconds: f64, limit: i64) -> Result<Vec<super::Account>, sqlx::Error> {
    sqlx::query_as(
        "select a.* from identity.account a left join identity.session s using (did)
         where a.custodial and (
             s.did is null or s.health = 'untried'
             or s.health = 'ok' and s.used_at > now() - interval '7 days'
                 and s.access_until < now() + make_interval(secs => $1)
             or s.health = 'unreachable' and s.health_at < now() - interval '5 minutes'
             or s.health = 'dead' and s.retry_at <= now())
         order by array_position(array['ok', 'unreachable', 'untried', 'dead'], coalesce(s.health, 'untried')),
             s.health_at nulls first
         limit $2",
    )
    .bind(soon_seconds)
    .bind(limit)
    .fetch_all(pool)
    .await
}
