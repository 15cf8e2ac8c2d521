//! How publishing stands, for the operator; and what is known of one record that we publish.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::PgPool;

use super::unseen::{Unseen, unseen};
use crate::event::AtUri;

/// The most intents, and the most entries of the audit, that are shown of one record.
const ROWS_MAX: i64 = 100;

/// How publishing stands.
#[derive(Clone, Debug, Serialize)]
pub struct Publishing {
    /// Intents by state.
    pub intents: BTreeMap<String, i64>,
    /// Records that we publish or look after.
    pub records: i64,
    /// What PDSes took and our own stream has not shown for too long.
    pub unseen: Unseen,
    /// Events of the log that were not looked at for our records yet.
    pub reconcile_lag: i64,
}

/// Looks how publishing stands. `unseen_after`: from when on something is unseen for too long.
///
/// # Errors
/// What the database says.
pub async fn publishing(pool: &PgPool, unseen_after: Duration) -> Result<Publishing, sqlx::Error> {
    let intents: Vec<(String, i64)> =
        sqlx::query_as("select state, count(*) from publish.intent group by state").fetch_all(pool).await?;
    Ok(Publishing {
        intents: intents.into_iter().collect(),
        records: sqlx::query_scalar("select count(*) from publish.record").fetch_one(pool).await?,
        unseen: unseen(pool, unseen_after).await?,
        reconcile_lag: sqlx::query_scalar(
            "select head.position - checkpoint.position from log.head as head, publish.checkpoint as checkpoint",
        )
        .fetch_one(pool)
        .await?,
    })
}

/// What is known of a record that we publish or look after.
#[derive(Clone, Debug, Serialize)]
pub struct Published {
    /// The row.
    #[serde(flatten)]
    pub record: PublishedRecord,
    /// What was wished of it, the latest first, at most 100.
    pub intents: Vec<IntentEntry>,
    /// What others did in its owner's name, the latest first, at most 100.
    pub audit: Vec<AuditLine>,
}

/// The row of a record.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct PublishedRecord {
    /// Its number.
    pub id: i64,
    /// Whose.
    pub user_id: String,
    /// The app's name for it; null while it was only found on the PDS.
    pub client_key: Option<String>,
    /// The version on the PDS, as far as known.
    pub cid: Option<String>,
    /// Its revision.
    pub rev: Option<String>,
    /// It is known not to be there any more.
    pub deleted: bool,
    /// The last word of the log about it.
    pub seen_position: Option<i64>,
    /// The log shows a version that an attempt without an answer may have made.
    pub held_back: bool,
    /// When somebody changed or deleted it otherwise than through us.
    pub edited_elsewhere_at: Option<DateTime<Utc>>,
    /// The version that that made; null: none, it was deleted.
    pub edited_elsewhere_cid: Option<String>,
}

/// A wish.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct IntentEntry {
    /// Its number.
    pub id: i64,
    /// put or delete.
    pub action: String,
    /// How far it is.
    pub state: String,
    /// How often it was tried.
    pub attempts: i32,
    /// Whether an attempt may have reached the PDS without our hearing the answer.
    pub maybe_written: bool,
    /// Why it is not done.
    pub trouble: Option<String>,
    /// The same in words.
    pub trouble_detail: Option<String>,
    /// The fields that both sides changed.
    pub conflict: Option<Value>,
    /// The version that it made.
    pub cid: Option<String>,
    /// The revision that wrote it.
    pub rev: Option<String>,
    /// Who asked, when it was not the owner.
    pub acting_user: Option<String>,
    /// When it was wished.
    pub created_at: DateTime<Utc>,
    /// When the PDS took it.
    pub acknowledged_at: Option<DateTime<Utc>>,
    /// When our stream showed it.
    pub confirmed_at: Option<DateTime<Utc>>,
    /// Where in the log.
    pub confirmed_position: Option<i64>,
}

/// A write in another's name.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct AuditLine {
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub acting_user: String,
    /// What was done.
    pub action: String,
    /// By which grant; null: refused for the lack of one.
    pub grant_id: Option<i64>,
    /// Which intent it became.
    pub intent_id: Option<i64>,
    /// The fields that changed.
    pub changed: Vec<String>,
    /// What came of it.
    pub outcome: String,
    /// The version that it made.
    pub cid: Option<String>,
}

/// Tells what is known of a record. `None`: it is none that we publish or look after.
///
/// # Errors
/// What the database says.
pub async fn published(pool: &PgPool, uri: &AtUri) -> Result<Option<Published>, sqlx::Error> {
    let record: Option<PublishedRecord> = sqlx::query_as(
        "select id, user_id, client_key, cid, rev, deleted, seen_position, held_back, edited_elsewhere_at,
             edited_elsewhere_cid
         from publish.record where did = $1 and collection = $2 and rkey = $3",
    )
    .bind(uri.did.as_str())
    .bind(uri.collection.as_str())
    .bind(uri.rkey.as_str())
    .fetch_optional(pool)
    .await?;
    let Some(record) = record else { return Ok(None) };
    let intents = sqlx::query_as(
        "select id, action, state, attempts, maybe_written, trouble, trouble_detail, conflict, cid, rev, acting_user,
             created_at, acknowledged_at, confirmed_at, confirmed_position
         from publish.intent where record_id = $1 order by id desc limit $2",
    )
    .bind(record.id)
    .bind(ROWS_MAX)
    .fetch_all(pool)
    .await?;
    let audit = sqlx::query_as(
        "select at, acting_user, action, grant_id, intent_id, changed, outcome, cid
         from publish.audit where owner_did = $1 and uri = $2 order by id desc limit $3",
    )
    .bind(uri.did.as_str())
    .bind(uri.to_string())
    .bind(ROWS_MAX)
    .fetch_all(pool)
    .await?;
    Ok(Some(Published { record, intents, audit }))
}
