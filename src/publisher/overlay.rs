//! Read-your-writes: a user's records as an app would see them if everything that waits were confirmed.
//!
//! What the log holds of a record, with every intent laid over it that the log has not confirmed, in their order. What the
//! PDS already took is merged as it was merged there, from the draft that was written before it.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::{PgConnection, PgPool, Row};

use super::store::{damaged, uri as uri_of};
use super::{Action, IntentState, Kind};
use crate::calendar::{DraftKind, fill_created_at, merge, record_json};
use crate::event::{AtUri, Position};
use crate::event_log;

/// The most records of one page.
pub const PAGE_MAX: u32 = 100;

/// A record as its author sees it.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Overlaid {
    /// Its address.
    pub uri: String,
    /// The app's name for it; null while it was only found on the PDS.
    pub client_key: Option<String>,
    /// Whether the log has not confirmed what is shown.
    pub unconfirmed: bool,
    /// How far the last intent that is not confirmed is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<IntentState>,
    /// The version, once the PDS gave it one.
    pub cid: Option<String>,
    /// The whole record.
    #[schema(value_type = Object)]
    pub record: Value,
}

/// A page of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct OverlayPage {
    /// In the order of their record keys. What is deleted, or shall be, is not among them.
    pub records: Vec<Overlaid>,
    /// What to ask for the next page with; `None`: there is none.
    pub next: Option<String>,
}

/// An intent that counts for what is shown.
struct Layer {
    action: Action,
    state: IntentState,
    draft: Option<Map<String, Value>>,
    cid: Option<String>,
    created_at: DateTime<Utc>,
}

/// A user's records of one kind: at most `limit` (and [`PAGE_MAX`]) of those whose record key comes after `after`.
///
/// # Errors
/// What the database says, and a log or tables of ours that cannot be understood.
pub async fn list(
    pool: &PgPool,
    user: &str,
    kind: Kind,
    after: Option<&str>,
    limit: u32,
) -> Result<OverlayPage, sqlx::Error> {
    page(pool, user, kind, after, limit, true).await
}

/// The same as the log holds them, without anything that waits.
///
/// # Errors
/// As [`list`].
pub async fn confirmed(
    pool: &PgPool,
    user: &str,
    kind: Kind,
    after: Option<&str>,
    limit: u32,
) -> Result<OverlayPage, sqlx::Error> {
    page(pool, user, kind, after, limit, false).await
}

async fn page(
    pool: &PgPool,
    user: &str,
    kind: Kind,
    after: Option<&str>,
    limit: u32,
    with_waiting: bool,
) -> Result<OverlayPage, sqlx::Error> {
    let limit = limit.clamp(1, PAGE_MAX);
    let mut tx = pool.begin().await?;
    // One moment for rows, intents and log: what is confirmed in between would be laid over itself, or be missing.
    sqlx::query("set transaction isolation level repeatable read, read only").execute(&mut *tx).await?;
    let rows = sqlx::query(
        "select id, did, collection, rkey, client_key, cid, deleted, base from publish.record
         where user_id = $1 and collection = $2 and rkey > $3 order by rkey, id limit $4",
    )
    .bind(user)
    .bind(kind.collection())
    .bind(after.unwrap_or_default())
    .bind(i64::from(limit))
    .fetch_all(&mut *tx)
    .await?;
    let uris = rows.iter().map(uri_of).collect::<Result<Vec<AtUri>, _>>()?;
    let ids = rows.iter().map(|row| row.try_get("id")).collect::<Result<Vec<i64>, _>>()?;
    let mut layers = layers(&mut tx, &ids).await?;
    let mut held = held(&mut tx, &uris).await?;
    drop(tx);
    let next = uris.last().filter(|_| rows.len() == limit as usize).map(|uri| uri.rkey.to_string());
    let mut records = vec![];
    for ((row, uri), id) in rows.iter().zip(uris).zip(ids) {
        if !with_waiting {
            if let Some(Held { cid, record }) = held.remove(&uri) {
                let (uri, client_key) = (uri.to_string(), row.try_get("client_key")?);
                let record = Value::Object(record);
                records.push(Overlaid { uri, client_key, unconfirmed: false, state: None, cid: Some(cid), record });
            }
            continue;
        }
        let (before, waiting) = layers.remove(&id).unwrap_or_default();
        let deleted: bool = row.try_get("deleted")?;
        // A delete that only our row knows of counts as well: it was told by the PDS.
        let held = held.remove(&uri).map(|held| held.record).filter(|_| !deleted || !waiting.is_empty());
        let was_written = waiting.iter().any(|layer| layer.state == IntentState::Acknowledged);
        let base = match before {
            Some(draft) if was_written => Some(draft),
            _ if was_written => None,
            _ => object(row.try_get("base")?),
        };
        let last = waiting.last();
        let state = last.map(|layer| layer.state);
        let cid = match last {
            Some(layer) => layer.cid.clone(),
            None => row.try_get("cid")?,
        };
        if let Some(record) = lay_over(kind, held, base, &waiting) {
            let (uri, record) = (uri.to_string(), Value::Object(record));
            let client_key = row.try_get("client_key")?;
            records.push(Overlaid { uri, client_key, unconfirmed: state.is_some(), state, cid, record });
        }
    }
    Ok(OverlayPage { records, next })
}

/// What becomes of a record by these intents, one after the other.
fn lay_over(
    kind: DraftKind,
    held: Option<Map<String, Value>>,
    base: Option<Map<String, Value>>,
    layers: &[Layer],
) -> Option<Map<String, Value>> {
    let mut shown = (held, base);
    for layer in layers {
        shown = match (layer.action, &layer.draft) {
            (Action::Put, Some(draft)) => {
                let (held, base) = shown;
                let mut record = merge(kind, base.as_ref(), draft, held.as_ref()).record;
                fill_created_at(&mut record, layer.created_at);
                (Some(record), Some(draft.clone()))
            }
            _ => (None, None),
        };
    }
    shown.0
}

type Layers = (Option<Map<String, Value>>, Vec<Layer>);

/// By record: the draft of the last intent that is confirmed, and those that are not, in their order.
async fn layers(connection: &mut PgConnection, records: &[i64]) -> Result<HashMap<i64, Layers>, sqlx::Error> {
    let rows = sqlx::query(
        "select i.record_id, i.action, i.state, i.draft, i.cid, i.created_at from publish.intent i
         where i.record_id = any($1) and (
             i.state in ('wanted', 'attempted', 'acknowledged')
             or i.id = (select max(id) from publish.intent c where c.record_id = i.record_id and c.state = 'confirmed')
         )
         order by i.id",
    )
    .bind(records)
    .fetch_all(connection)
    .await?;
    let mut layers: HashMap<i64, Layers> = HashMap::new();
    for row in rows {
        let (action, state): (&str, &str) = (row.try_get("action")?, row.try_get("state")?);
        let layer = Layer {
            action: Action::from_word(action).ok_or_else(|| damaged(format!("no action {action:?}")))?,
            state: IntentState::from_word(state).ok_or_else(|| damaged(format!("no state {state:?}")))?,
            draft: object(row.try_get("draft")?),
            cid: row.try_get("cid")?,
            created_at: row.try_get("created_at")?,
        };
        let of = layers.entry(row.try_get("record_id")?).or_default();
        if layer.state == IntentState::Confirmed { of.0 = layer.draft } else { of.1.push(layer) }
    }
    Ok(layers)
}

fn object(value: Option<Value>) -> Option<Map<String, Value>> {
    match value {
        Some(Value::Object(map)) => Some(map),
        _ => None,
    }
}

/// A record as the log holds it.
struct Held {
    cid: String,
    record: Map<String, Value>,
}

/// The records as the log holds them.
async fn held(connection: &mut PgConnection, uris: &[AtUri]) -> Result<HashMap<AtUri, Held>, sqlx::Error> {
    let newest = event_log::newest_words(connection, uris, 1).await?;
    let mut places: HashMap<Position, (AtUri, String)> = HashMap::new();
    for (uri, words) in newest.words {
        let Some(word) = words.into_iter().next() else { continue };
        let Some(cid) = word.cid.as_ref().map(ToString::to_string) else { continue };
        let snapshot = newest.snapshots.get(&uri.did).and_then(|snapshot| snapshot.rev.as_ref());
        if snapshot <= word.rev.as_ref() {
            places.insert(word.position, (uri, cid));
        }
    }
    let positions: Vec<Position> = places.keys().copied().collect();
    let bytes = event_log::records_at(connection, &positions).await?;
    let read = |(position, bytes): (Position, bytes::Bytes)| {
        let (uri, cid) = places.remove(&position)?;
        Some((uri, Held { cid, record: object(record_json(&bytes).ok())? }))
    };
    Ok(bytes.into_iter().filter_map(read).collect())
}
