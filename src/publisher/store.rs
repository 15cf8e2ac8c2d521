//! The rows as people and apps see them.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::retry::Trouble;
use super::{Action, IntentState, IntentView, Kind, RecordView};
use crate::event::{AtUri, Did, Nsid, Rkey};

/// A record with its last intent.
const VIEW: &str = "
select r.user_id, r.did, r.collection, r.rkey, r.client_key, r.cid, r.rev, r.deleted, r.edited_elsewhere_at,
    i.id, i.action, i.state, i.cid as made_cid, i.rev as made_rev, i.trouble, i.trouble_detail, i.conflict, i.attempts,
    i.next_at, i.created_at, i.acknowledged_at, i.confirmed_at, i.confirmed_position
from publish.record r
left join lateral (select * from publish.intent where record_id = r.id order by id desc limit 1) i on true
";

/// A record by its number.
pub(super) async fn by_id(connection: &mut PgConnection, record: i64) -> Result<Option<RecordView>, sqlx::Error> {
    let query = AssertSqlSafe(format!("{VIEW} where r.id = $1"));
    sqlx::query(query).bind(record).fetch_optional(connection).await?.as_ref().map(view).transpose()
}

/// A record by the app's name for it.
pub(super) async fn by_client_key(
    connection: &mut PgConnection,
    user: &str,
    kind: Kind,
    client_key: &str,
) -> Result<Option<RecordView>, sqlx::Error> {
    let query = AssertSqlSafe(format!("{VIEW} where r.user_id = $1 and r.collection = $2 and r.client_key = $3"));
    let row = sqlx::query(query).bind(user).bind(kind.collection()).bind(client_key);
    row.fetch_optional(connection).await?.as_ref().map(view).transpose()
}

/// A user's records of one kind in the order of their keys, after the key `after`.
pub(super) async fn list(
    connection: &mut PgConnection,
    user: &str,
    kind: Kind,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<RecordView>, sqlx::Error> {
    let query = AssertSqlSafe(format!(
        "{VIEW} where r.user_id = $1 and r.collection = $2 and r.rkey > $3 order by r.rkey, r.id limit $4"
    ));
    let rows = sqlx::query(query).bind(user).bind(kind.collection()).bind(after.unwrap_or_default());
    rows.bind(i64::from(limit)).fetch_all(connection).await?.iter().map(view).collect()
}

/// An intent by its number.
pub(super) async fn intent_by_id(connection: &mut PgConnection, id: i64) -> Result<Option<IntentView>, sqlx::Error> {
    let row = sqlx::query(
        "select r.did, r.collection, r.rkey, i.action, i.state, i.cid as made_cid, i.rev as made_rev, i.trouble,
             i.trouble_detail, i.conflict, i.attempts, i.next_at, i.created_at, i.acknowledged_at, i.confirmed_at,
             i.confirmed_position
         from publish.intent i join publish.record r on r.id = i.record_id where i.id = $1",
    );
    let row = row.bind(id).fetch_optional(connection).await?;
    row.map(|row| intent(&row, id, &uri(&row)?)).transpose()
}

/// Of what we stored ourselves.
pub(super) fn damaged(what: impl std::fmt::Display) -> sqlx::Error {
    sqlx::Error::Decode(format!("schema publish: {what}").into())
}

/// The address of a row's record.
pub(super) fn uri(row: &PgRow) -> Result<AtUri, sqlx::Error> {
    Ok(AtUri {
        did: Did::parse(row.try_get("did")?).map_err(damaged)?,
        collection: Nsid::parse(row.try_get("collection")?).map_err(damaged)?,
        rkey: Rkey::parse(row.try_get("rkey")?).map_err(damaged)?,
    })
}

fn view(row: &PgRow) -> Result<RecordView, sqlx::Error> {
    let uri = uri(row)?;
    let intent = match row.try_get::<Option<i64>, _>("id")? {
        Some(id) => Some(intent(row, id, &uri)?),
        None => None,
    };
    Ok(RecordView {
        user: row.try_get("user_id")?,
        client_key: row.try_get("client_key")?,
        uri,
        cid: row.try_get("cid")?,
        rev: row.try_get("rev")?,
        deleted: row.try_get("deleted")?,
        edited_elsewhere_at: row.try_get("edited_elsewhere_at")?,
        intent,
    })
}

fn intent(row: &PgRow, id: i64, uri: &AtUri) -> Result<IntentView, sqlx::Error> {
    let (action, state): (&str, &str) = (row.try_get("action")?, row.try_get("state")?);
    let state = IntentState::from_word(state).ok_or_else(|| damaged(format!("no state {state:?}")))?;
    let trouble: Option<String> = row.try_get("trouble")?;
    let advice = trouble.as_deref().and_then(Trouble::from_word).map(|trouble| trouble.advice().to_owned());
    Ok(IntentView {
        id,
        uri: uri.clone(),
        action: Action::from_word(action).ok_or_else(|| damaged(format!("no action {action:?}")))?,
        state,
        cid: row.try_get("made_cid")?,
        rev: row.try_get("made_rev")?,
        trouble,
        detail: row.try_get("trouble_detail")?,
        advice,
        conflict: row.try_get::<Option<Value>, _>("conflict")?,
        attempts: row.try_get("attempts")?,
        next_at: row.try_get::<Option<DateTime<Utc>>, _>("next_at")?.filter(|_| state.is_open()),
        created_at: row.try_get("created_at")?,
        acknowledged_at: row.try_get("acknowledged_at")?,
        confirmed_at: row.try_get("confirmed_at")?,
        confirmed_position: row.try_get("confirmed_position")?,
    })
}
