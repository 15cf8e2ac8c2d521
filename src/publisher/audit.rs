//! Writes in another's name: who, on whose authority, what changed, and which version came of it.
//!
//! The database itself begins a row with the intent and completes it when the intent ends (triggers on `publish.intent`): no
//! statement can write in another's name and leave none. A refusal, which has no intent, is noted by [`refused`].

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{PgConnection, PgPool, QueryBuilder};

use super::intent::Action;
use crate::event::Did;

/// A write in another's name that was not let.
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

/// Notes that somebody wanted to write in another's name and was not let.
///
/// # Errors
/// What the database says.
pub async fn refused(connection: &mut PgConnection, entry: AuditEntry<'_>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into publish.audit (acting_user, owner_did, uri, action, outcome) values ($1, $2, $3, $4, 'refused')",
    )
    .bind(entry.acting_user)
    .bind(entry.owner_did.as_str())
    .bind(entry.uri)
    .bind(entry.action.as_str())
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
    /// allowed (how it ends is not known yet) | refused | written | conflict | failed | superseded.
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
