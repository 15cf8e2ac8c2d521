//! Writes in another's name: who, on whose authority, what changed, and which version came of it.
//!
//! A row is begun in the transaction that stores the intent ([`begun`]) and completed in the one that ends it ([`settled`]), so
//! that no such write is without its row. A refusal has a row of its own ([`refused`]).

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{PgConnection, PgPool, QueryBuilder};

use super::intent::Action;
use crate::event::Did;

/// What became of a write in another's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditOutcome {
    /// A grant allowed it; how it ended is not known yet.
    Allowed,
    /// No grant allowed it, or the grant ended before it was written.
    Refused,
    /// The PDS took it.
    Written,
    /// The owner, or somebody else with the owner's rights, changed the same meanwhile.
    Conflict,
    /// It was not written, for a reason other than the grant.
    Failed,
}

impl AuditOutcome {
    /// The word as stored.
    pub fn as_str(self) -> &'static str {
        match self {
            AuditOutcome::Allowed => "allowed",
            AuditOutcome::Refused => "refused",
            AuditOutcome::Written => "written",
            AuditOutcome::Conflict => "conflict",
            AuditOutcome::Failed => "failed",
        }
    }
}

/// A write in another's name, as it begins.
#[derive(Clone, Copy, Debug)]
pub struct AuditEntry<'a> {
    /// Who wants to write.
    pub acting_user: &'a str,
    /// In whose name.
    pub owner_did: &'a Did,
    /// The record's AT-URI; of a record that is not there yet and was refused, `at://DID/COLLECTION`.
    pub uri: &'a str,
    /// What shall happen to it.
    pub action: Action,
}

/// Begins the row of a write that a grant allows. In the transaction that stores the intent.
///
/// # Errors
/// What the database says.
pub async fn begun(
    connection: &mut PgConnection,
    entry: AuditEntry<'_>,
    grant_id: i64,
    intent_id: i64,
) -> Result<(), sqlx::Error> {
    insert(connection, entry, AuditOutcome::Allowed, Some(grant_id), Some(intent_id)).await
}

/// Notes that somebody wanted to write in another's name and was not let.
///
/// # Errors
/// What the database says.
pub async fn refused(connection: &mut PgConnection, entry: AuditEntry<'_>) -> Result<(), sqlx::Error> {
    insert(connection, entry, AuditOutcome::Refused, None, None).await
}

async fn insert(
    connection: &mut PgConnection,
    entry: AuditEntry<'_>,
    outcome: AuditOutcome,
    grant_id: Option<i64>,
    intent_id: Option<i64>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into publish.audit (acting_user, owner_did, uri, action, grant_id, intent_id, outcome)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(entry.acting_user)
    .bind(entry.owner_did.as_str())
    .bind(entry.uri)
    .bind(entry.action.as_str())
    .bind(grant_id)
    .bind(intent_id)
    .bind(outcome.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

/// Completes the row of an intent that ended: in the transaction that writes its last state. `changed`: names of the record's
/// fields. Nothing happens for an intent of the record's owner, which has no row, and for one that was completed before.
///
/// # Errors
/// What the database says.
pub async fn settled(
    connection: &mut PgConnection,
    intent_id: i64,
    outcome: AuditOutcome,
    changed: &[String],
    cid: Option<&str>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update publish.audit set outcome = $2, changed = $3, cid = $4 where intent_id = $1 and outcome = 'allowed'",
    )
    .bind(intent_id)
    .bind(outcome.as_str())
    .bind(changed)
    .bind(cid)
    .execute(connection)
    .await?;
    Ok(())
}

/// One row, as people and apps see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct AuditRow {
    /// Its number.
    pub id: i64,
    /// When it was wished or refused.
    pub at: DateTime<Utc>,
    /// Who wrote, or wanted to.
    pub acting_user: String,
    /// In whose name.
    pub owner_did: String,
    /// The record; without a key where none was chosen.
    pub uri: String,
    /// put | delete.
    pub action: String,
    /// The grant that allowed it; null: none did.
    pub grant_id: Option<i64>,
    /// The intent; null: it came to none.
    pub intent_id: Option<i64>,
    /// The fields that changed.
    pub changed: Vec<String>,
    /// allowed | refused | written | conflict | failed.
    pub outcome: String,
    /// The version that came of it.
    pub cid: Option<String>,
}

/// Which rows.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuditQuery<'a> {
    /// Those in the name of this account.
    pub owner_did: Option<&'a Did>,
    /// Those of this record.
    pub uri: Option<&'a str>,
    /// Those before this number.
    pub before: Option<i64>,
    /// How many at most.
    pub limit: i64,
}

/// Rows, the latest first.
///
/// # Errors
/// What the database says.
pub async fn rows(pool: &PgPool, query: AuditQuery<'_>) -> Result<Vec<AuditRow>, sqlx::Error> {
    let mut sql = QueryBuilder::new(
        "select id, at, acting_user, owner_did, uri, action, grant_id, intent_id, changed, outcome, cid
         from publish.audit where true",
    );
    if let Some(did) = query.owner_did {
        sql.push(" and owner_did = ").push_bind(did.as_str());
    }
    if let Some(uri) = query.uri {
        sql.push(" and uri = ").push_bind(uri);
    }
    if let Some(before) = query.before {
        sql.push(" and id < ").push_bind(before);
    }
    sql.push(" order by id desc limit ").push_bind(query.limit);
    sql.build_query_as().fetch_all(pool).await
}
