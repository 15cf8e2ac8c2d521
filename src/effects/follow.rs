//! The follower: reads the log on from its checkpoint, asks the gate, and queues what may be told.

use std::collections::{BTreeMap, HashMap};

use sha2::{Digest, Sha256};
use sqlx::{Connection, PgConnection, PgPool};

use super::gate::{Account, Facts, Suppressed, judge};
use super::metric;
use super::subscription::Subscription;
use crate::event::{Environment, Position};
use crate::event_log::{self, Told};

/// Events looked at in one transaction.
const BATCH: i64 = 2_000;

/// Why nothing is told any more.
#[derive(Debug, thiserror::Error)]
pub enum EffectsError {
    /// The checkpoint is past the log's end: the log was replaced, or somebody wrote to our tables.
    #[error(
        "effects are followed up to position {checkpoint}, but the log ends at {head}: they belong to another log. When this \
         log is the right one, `truncate effects.checkpoint, effects.subscription` has them begin anew at its end"
    )]
    AheadOfLog {
        /// Where the table says that they are.
        checkpoint: Position,
        /// Where the log ends.
        head: Position,
    },
    /// The database did not do it.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Makes sure that there is a checkpoint, and a beginning for every subscription: the log's end, the first time. Call it
/// before anything is appended, so that everything from then on is looked at.
///
/// # Errors
/// The database did not do it.
pub async fn prepare(connection: &mut PgConnection, subscriptions: &[Subscription]) -> Result<(), sqlx::Error> {
    let mut tx = connection.begin().await?;
    sqlx::query("insert into effects.checkpoint (position) select position from log.head on conflict do nothing")
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "insert into effects.subscription (name, since_position)
         select name, head.position from unnest($1::text[]) as names (name), log.head as head
         on conflict do nothing",
    )
    .bind(subscriptions.iter().map(|subscription| &*subscription.name).collect::<Vec<_>>())
    .execute(&mut *tx)
    .await?;
    tx.commit().await
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Deliveries that are new.
    pub queued: u64,
    /// Events of the log that are not looked at yet.
    pub behind: i64,
    /// Whether it looked at any.
    pub moved: bool,
}

/// Looks at the next events, as far as the index shows them, in one transaction.
pub(super) async fn step(
    connection: &mut PgConnection,
    environment: &Environment,
    subscriptions: &[Subscription],
) -> Result<Step, EffectsError> {
    let mut tx = connection.begin().await?;
    // The row lock keeps a process that does not know yet that it was replaced from looking at the same time.
    let checkpoint: Position =
        sqlx::query_scalar("select position from effects.checkpoint for update").fetch_one(&mut *tx).await?;
    let head = event_log::head(&mut tx).await?;
    if checkpoint > head {
        return Err(EffectsError::AheadOfLog { checkpoint, head });
    }
    // With nobody to tell it goes to the end, so that a subscription that comes back is not told what it missed on purpose.
    let (last, rows) = if subscriptions.is_empty() {
        (head, Rows::default())
    } else {
        let shown: Position =
            sqlx::query_scalar("select position from calendar.checkpoint").fetch_one(&mut *tx).await?;
        let events = event_log::told_after(&mut tx, checkpoint, shown, BATCH).await?;
        let last = events.last().map_or(checkpoint, |told| told.position);
        (last, decide(&mut tx, environment, subscriptions, &events).await?)
    };
    if last == checkpoint {
        return Ok(Step { queued: 0, behind: head - checkpoint, moved: false });
    }
    let queued = rows.insert(&mut tx).await?;
    sqlx::query("update effects.checkpoint set position = $1").bind(last).execute(&mut *tx).await?;
    tx.commit().await?;
    rows.suppressed.iter().for_each(|(reason, events)| metric::suppressed(*reason, *events));
    metric::queued(queued);
    Ok(Step { queued, behind: head - last, moved: true })
}

/// Deliveries by column, as UNNEST takes them, and the count of what is not told.
#[derive(Default)]
struct Rows {
    id: Vec<String>,
    subscription: Vec<String>,
    position: Vec<Position>,
    did: Vec<String>,
    uri: Vec<Option<String>>,
    suppressed: BTreeMap<Suppressed, u64>,
}

async fn decide(
    connection: &mut PgConnection,
    environment: &Environment,
    subscriptions: &[Subscription],
    events: &[Told],
) -> Result<Rows, sqlx::Error> {
    let accounts = accounts(connection, events.iter().map(|told| told.did.as_str()).collect()).await?;
    let since = beginnings(connection).await?;
    let mut rows = Rows::default();
    for told in events {
        let account = accounts.get(told.did.as_str()).copied().unwrap_or_default();
        let facts = Facts::of(told, account);
        for subscription in subscriptions {
            // One without a beginning has not begun.
            let since = since.get(&*subscription.name).copied().unwrap_or(Position::MAX);
            match judge(&facts, environment, subscription, since) {
                Err(reason) => *rows.suppressed.entry(reason).or_default() += 1,
                Ok(_) => {
                    rows.id.push(delivery_id(&subscription.name, told));
                    rows.subscription.push(subscription.name.to_string());
                    rows.position.push(told.position);
                    rows.did.push(told.did.to_string());
                    rows.uri.push(told.uri().map(|uri| uri.to_string()));
                }
            }
        }
    }
    Ok(rows)
}

impl Rows {
    async fn insert(&self, connection: &mut PgConnection) -> Result<u64, sqlx::Error> {
        if self.id.is_empty() {
            return Ok(0);
        }
        // What has its id already is the same change of the same record: it was told, or will be.
        let done = sqlx::query(
            "insert into effects.delivery (id, subscription, position, did, uri)
             select * from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[])
             on conflict do nothing",
        )
        .bind(&self.id)
        .bind(&self.subscription)
        .bind(&self.position)
        .bind(&self.did)
        .bind(&self.uri)
        .execute(connection)
        .await?;
        Ok(done.rows_affected())
    }
}

/// The id under which a change is told to a subscription: made of what it is about, so that it is the same in a database that
/// was restored from a backup.
fn delivery_id(subscription: &str, told: &Told) -> String {
    let mut hash = Sha256::new();
    let uri = told.uri().map(|uri| uri.to_string()).unwrap_or_default();
    let (rev, cid) = (told.rev.as_deref().unwrap_or_default(), told.cid.as_deref().unwrap_or_default());
    for part in [told.environment.as_str(), subscription, &told.kind, &uri, rev, cid] {
        hash.update((part.len() as u32).to_be_bytes());
        hash.update(part.as_bytes());
    }
    format!("msg_{}", data_encoding::BASE32_NOPAD.encode(&hash.finalize()[..20]).to_ascii_lowercase())
}

/// How these accounts stand in the index. Who is not in it was never spoken of, and stands well.
pub(super) async fn accounts(
    connection: &mut PgConnection,
    dids: Vec<&str>,
) -> Result<HashMap<String, Account>, sqlx::Error> {
    let rows: Vec<(String, bool, bool)> = sqlx::query_as(
        "select did, refused is not null, hidden from calendar.accounts where did = any($1) and (hidden or refused is not null)",
    )
    .bind(dids)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|(did, refused, hidden)| (did, Account { refused, hidden })).collect())
}

/// From where on each subscription is served.
pub(super) async fn beginnings(connection: &mut PgConnection) -> Result<HashMap<String, Position>, sqlx::Error> {
    let rows: Vec<(String, Position)> =
        sqlx::query_as("select name, since_position from effects.subscription").fetch_all(connection).await?;
    Ok(rows.into_iter().collect())
}

/// Up to where the log was looked at; `None` when it never was.
pub(super) async fn checkpoint(pool: &PgPool) -> Result<Option<Position>, sqlx::Error> {
    sqlx::query_scalar("select position from effects.checkpoint").fetch_optional(pool).await
}
