//! Reading the part of the folded state that a batch of events touches.

use std::collections::{HashMap, HashSet};

use sqlx::{PgConnection, Row, postgres::PgRow};

use crate::calendar::{AccountState, RecordKey, State, Word, Words};
use crate::event::{AccountStatus, Body, Cid, Did, Handle, Logged, Nsid, Refusal, Rev, Rkey};

/// The state before `events`: the words about the records they touch, and their accounts.
pub(super) async fn state_before(connection: &mut PgConnection, events: &[Logged]) -> Result<State, sqlx::Error> {
    let mut dids = HashSet::new();
    let mut keys = HashSet::new();
    for logged in events {
        let did = &logged.event.did;
        dids.insert(did.as_str());
        if let Body::Put { collection, rkey, .. } | Body::Delete { collection, rkey, .. } = &logged.event.body {
            keys.insert((did.as_str(), collection.as_str(), rkey.as_str()));
        }
    }
    let accounts = accounts(connection, &dids.into_iter().collect::<Vec<_>>()).await?;
    let rows = sqlx::query(
        "select w.* from unnest($1::text[], $2::text[], $3::text[]) as k (did, collection, rkey)
         join words w using (did, collection, rkey)",
    )
    .bind(keys.iter().map(|k| k.0).collect::<Vec<_>>())
    .bind(keys.iter().map(|k| k.1).collect::<Vec<_>>())
    .bind(keys.iter().map(|k| k.2).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    Ok(State { words: rows.iter().map(word).collect::<Result<_, _>>()?, accounts })
}

/// At most `limit` words of one account in the order of their keys, after `after`.
pub(super) async fn words_of(
    connection: &mut PgConnection,
    did: &Did,
    after: Option<&RecordKey>,
    limit: i64,
) -> Result<Vec<(RecordKey, Word)>, sqlx::Error> {
    let (collection, rkey) = after.map_or(("", ""), |key| (key.collection.as_str(), key.rkey.as_str()));
    let rows = sqlx::query(
        "select * from words where did = $1 and (collection, rkey) > ($2, $3) order by collection, rkey limit $4",
    )
    .bind(did.as_str())
    .bind(collection)
    .bind(rkey)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.iter().map(word).collect::<Result<Words, _>>().map(|words| {
        let mut words: Vec<_> = words.into_iter().collect();
        words.sort_by(|a, b| a.0.cmp(&b.0));
        words
    })
}

async fn accounts(connection: &mut PgConnection, dids: &[&str]) -> Result<HashMap<Did, AccountState>, sqlx::Error> {
    let rows = sqlx::query("select * from accounts where did = any($1)").bind(dids).fetch_all(connection).await?;
    rows.iter().map(account).collect()
}

fn damaged(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

fn word(row: &PgRow) -> Result<(RecordKey, Word), sqlx::Error> {
    let key = RecordKey {
        did: Did::parse(row.try_get("did")?).map_err(damaged)?,
        collection: Nsid::parse(row.try_get("collection")?).map_err(damaged)?,
        rkey: Rkey::parse(row.try_get("rkey")?).map_err(damaged)?,
    };
    let cid: Option<&str> = row.try_get("cid")?;
    let word = Word {
        rev: Rev::parse(row.try_get("rev")?).map_err(damaged)?,
        cid: cid.map(str::parse::<Cid>).transpose().map_err(damaged)?,
        position: row.try_get("position")?,
    };
    Ok((key, word))
}

fn account(row: &PgRow) -> Result<(Did, AccountState), sqlx::Error> {
    let active = row.try_get("active")?;
    let handle: Option<&str> = row.try_get("handle")?;
    let snapshot: Option<&str> = row.try_get("snapshot_rev")?;
    let spoken = |time: &str, seq: &str| -> Result<Option<_>, sqlx::Error> {
        let time: Option<chrono::DateTime<chrono::Utc>> = row.try_get(time)?;
        let seq: Option<i64> = row.try_get(seq)?;
        Ok(time.map(|time| (time, seq.unwrap_or_default())))
    };
    let state = AccountState {
        handle: handle.map(Handle::parse).transpose().map_err(damaged)?,
        handle_spoken: spoken("handle_time", "handle_seq")?,
        active,
        status: AccountStatus::from_wire(active, Some(row.try_get("status")?)),
        status_spoken: spoken("status_time", "status_seq")?,
        snapshot: snapshot.map(Rev::parse).transpose().map_err(damaged)?,
        refused: row.try_get::<Option<&str>, _>("refused")?.and_then(Refusal::from_word),
        standing_at: row.try_get("standing_time")?,
    };
    Ok((Did::parse(row.try_get("did")?).map_err(damaged)?, state))
}
