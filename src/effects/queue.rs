//! The table of deliveries: what is due, what became of it, and what an operator sees and does.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgPool;

use crate::event::{AtUri, Position};

/// What people are told of an error, in characters.
const ERROR_MAX: usize = 500;

/// A delivery that is due.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Due {
    pub id: String,
    pub position: Position,
    pub attempts: i32,
}

/// At most `limit` deliveries that may be sent now, but those under way: of each account the first that waits, and none while
/// the subscription is paused.
pub(super) async fn due(
    pool: &PgPool,
    subscription: &str,
    under_way: &[String],
    limit: i64,
) -> Result<Vec<Due>, sqlx::Error> {
    sqlx::query_as(
        "select id, position, attempts from effects.delivery as next
         where subscription = $1 and state = 'pending' and next_at <= now() and id <> all($2)
             and not exists (
                 select from effects.delivery as before
                 where before.subscription = next.subscription and before.did = next.did
                     and before.state = 'pending' and before.position < next.position
             )
             and not exists (select from effects.subscription where name = $1 and paused_until > now())
         order by next_at, position
         limit $3",
    )
    .bind(subscription)
    .bind(under_way)
    .bind(limit)
    .fetch_all(pool)
    .await
}

/// It was taken.
pub(super) async fn delivered(pool: &PgPool, id: &str, status: u16) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update effects.delivery
         set state = 'delivered', attempts = attempts + 1, last_status = $2, last_error = null, delivered_at = now()
         where id = $1 and state = 'pending'",
    )
    .bind(id)
    .bind(i32::from(status))
    .execute(pool)
    .await?;
    Ok(())
}

/// An attempt failed. Without a `pause` it was the last, and the delivery is a dead letter.
pub(super) async fn failed(
    pool: &PgPool,
    id: &str,
    status: Option<u16>,
    error: &str,
    pause: Option<Duration>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update effects.delivery
         set state = case when $4::float8 is null then 'dead' else state end, attempts = attempts + 1, last_status = $2,
             last_error = $3, next_at = now() + make_interval(secs => coalesce($4, 0))
         where id = $1 and state = 'pending'",
    )
    .bind(id)
    .bind(status.map(i32::from))
    .bind(short(error))
    .bind(pause.map(|pause| pause.as_secs_f64()))
    .execute(pool)
    .await?;
    Ok(())
}

/// It is not sent, because that may not be any more: a dead letter without a further attempt.
pub(super) async fn given_up(pool: &PgPool, id: &str, why: &str) -> Result<(), sqlx::Error> {
    sqlx::query("update effects.delivery set state = 'dead', last_error = $2 where id = $1 and state = 'pending'")
        .bind(id)
        .bind(short(why))
        .execute(pool)
        .await?;
    Ok(())
}

/// Makes dead letters of what waits for longer than `lifetime` and is not under way. How many.
pub(super) async fn expire(
    pool: &PgPool,
    subscription: &str,
    under_way: &[String],
    lifetime: Duration,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(
        "update effects.delivery
         set state = 'dead', last_error = concat_ws('; ', 'not delivered in time', last_error)
         where subscription = $1 and state = 'pending' and queued_at < now() - make_interval(secs => $2) and id <> all($3)",
    )
    .bind(subscription)
    .bind(lifetime.as_secs_f64())
    .bind(under_way)
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}

/// Leaves a receiver alone: for a while, or with `None` until somebody resumes it.
pub(super) async fn pause(
    pool: &PgPool,
    subscription: &str,
    pause: Option<Duration>,
    reason: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update effects.subscription
         set paused_until = greatest(paused_until, coalesce(now() + make_interval(secs => $2), timestamptz '9999-12-31 00:00Z')),
             pause_reason = $3
         where name = $1 and (paused_until is null or paused_until < '9999-01-01')",
    )
    .bind(subscription)
    .bind(pause.map(|pause| pause.as_secs_f64()))
    .bind(short(reason))
    .execute(pool)
    .await?;
    Ok(())
}

/// Fit to be stored: Postgres holds no character U+0000.
fn short(text: &str) -> String {
    text.chars().take(ERROR_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// How all deliveries stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, sqlx::FromRow)]
pub(super) struct Totals {
    pub pending: i64,
    pub dead: i64,
    pub oldest_seconds: f64,
}

pub(super) async fn totals(pool: &PgPool) -> Result<Totals, sqlx::Error> {
    sqlx::query_as(
        "select count(*) as pending, (select count(*) from effects.delivery where state = 'dead') as dead,
             coalesce(extract(epoch from now() - min(queued_at)), 0)::float8 as oldest_seconds
         from effects.delivery where state = 'pending'",
    )
    .fetch_one(pool)
    .await
}

/// How one subscription stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Standing {
    /// Its name.
    pub name: String,
    /// It is told of what entered after this position.
    pub since_position: Position,
    /// Until when its receiver is left alone; the year 9999: until somebody resumes it.
    pub paused_until: Option<DateTime<Utc>>,
    /// Why.
    pub pause_reason: Option<String>,
    /// Deliveries that wait.
    pub pending: i64,
    /// Deliveries that were taken.
    pub delivered: i64,
    /// Dead letters.
    pub dead: i64,
    /// Since when the oldest one waits.
    pub oldest_pending_at: Option<DateTime<Utc>>,
    /// When one was taken last.
    pub last_delivered_at: Option<DateTime<Utc>>,
}

/// How every subscription stands that ever was, by name; and how many events of the log were not looked at yet.
///
/// # Errors
/// The database did not answer.
pub async fn standings(pool: &PgPool) -> Result<(i64, Vec<Standing>), sqlx::Error> {
    let lag =
        "select coalesce((select head.position - done.position from log.head as head, effects.checkpoint as done), 0)";
    let lag = sqlx::query_scalar(lag).fetch_one(pool).await?;
    let rows = sqlx::query_as(
        "select s.name, s.since_position, case when s.paused_until > now() then s.paused_until end as paused_until,
             case when s.paused_until > now() then s.pause_reason end as pause_reason,
             count(*) filter (where d.state = 'pending') as pending,
             count(*) filter (where d.state = 'delivered') as delivered,
             count(*) filter (where d.state = 'dead') as dead,
             min(d.queued_at) filter (where d.state = 'pending') as oldest_pending_at,
             max(d.delivered_at) as last_delivered_at
         from effects.subscription as s left join effects.delivery as d on d.subscription = s.name
         group by s.name
         order by s.name",
    )
    .fetch_all(pool)
    .await?;
    Ok((lag, rows))
}

/// A delivery that nobody took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct DeadLetter {
    /// The webhook-id.
    pub id: String,
    /// To whom.
    pub subscription: String,
    /// Of which event.
    pub position: Position,
    /// About which record.
    pub uri: Option<String>,
    /// How often it was sent.
    pub attempts: i32,
    /// The status of the last answer.
    pub last_status: Option<i32>,
    /// Why it is dead.
    pub last_error: Option<String>,
    /// When it was queued first.
    pub created_at: DateTime<Utc>,
}

/// At most `limit` dead letters, of one subscription or of all, the latest first.
///
/// # Errors
/// The database did not answer.
pub async fn dead_letters(
    pool: &PgPool,
    subscription: Option<&str>,
    limit: i64,
) -> Result<Vec<DeadLetter>, sqlx::Error> {
    sqlx::query_as(
        "select id, subscription, position, uri, attempts, last_status, last_error, created_at
         from effects.delivery where state = 'dead' and ($1::text is null or subscription = $1)
         order by position desc, subscription limit $2",
    )
    .bind(subscription)
    .bind(limit)
    .fetch_all(pool)
    .await
}

/// Queues dead letters again, from the first attempt on: those with these ids, or with `None` all. Gives the ids of those that
/// were dead. Whether they may be told is asked again when they are sent.
///
/// # Errors
/// The database did not answer.
pub async fn requeue(pool: &PgPool, ids: Option<&[String]>) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "update effects.delivery set state = 'pending', attempts = 0, next_at = now(), queued_at = now()
         where state = 'dead' and ($1::text[] is null or id = any($1)) returning id",
    )
    .bind(ids)
    .fetch_all(pool)
    .await
}

/// Ends the pause of a subscription. Whether there is such a subscription.
///
/// # Errors
/// The database did not answer.
pub async fn resume(pool: &PgPool, subscription: &str) -> Result<bool, sqlx::Error> {
    let done = sqlx::query("update effects.subscription set paused_until = null, pause_reason = null where name = $1")
        .bind(subscription)
        .execute(pool)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// A delivery, for who asks what became of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Delivery {
    /// The webhook-id.
    pub id: String,
    /// To whom.
    pub subscription: String,
    /// Of which event.
    pub position: Position,
    /// pending, delivered or dead.
    pub state: String,
    /// How often it was sent.
    pub attempts: i32,
    /// When it is sent next, if it waits.
    pub next_at: Option<DateTime<Utc>>,
    /// The status of the last answer.
    pub last_status: Option<i32>,
    /// What went wrong the last time.
    pub last_error: Option<String>,
    /// When it was queued first.
    pub created_at: DateTime<Utc>,
    /// When it was taken.
    pub delivered_at: Option<DateTime<Utc>>,
}

/// Every delivery about one record, in the order of the log.
///
/// # Errors
/// The database did not answer.
pub async fn deliveries_about(pool: &PgPool, uri: &AtUri) -> Result<Vec<Delivery>, sqlx::Error> {
    sqlx::query_as(
        "select id, subscription, position, state, attempts, case when state = 'pending' then next_at end as next_at,
             last_status, last_error, created_at, delivered_at
         from effects.delivery where uri = $1 order by position, subscription",
    )
    .bind(uri.to_string())
    .fetch_all(pool)
    .await
}
