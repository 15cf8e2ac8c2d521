//! How events came in: what is asked before anything is done about them. Their records are asked for apart.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool, Row, postgres::PgRow};

use crate::event::{AtUri, Did, Nsid, Origin, OriginRule, Position, Rkey, Verification};

/// An event without its record, and how it came in. A word that this version does not know is `None`: whoever decides by it
/// decides as if nothing were known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its place.
    pub position: Position,
    /// The environment that it entered.
    pub environment: String,
    /// put, delete, snapshot, account, identity, origin or list.
    pub kind: String,
    /// Whose account.
    pub did: Did,
    /// Of which collection, for puts and deletes. The same for the fields below.
    pub collection: Option<Nsid>,
    /// Under which key.
    pub rkey: Option<Rkey>,
    /// The revision that wrote or removed it.
    pub rev: Option<String>,
    /// The CID of a put.
    pub cid: Option<String>,
    /// Whose it was.
    pub origin: Option<Origin>,
    /// The rule that said so.
    pub rule: Option<OriginRule>,
    /// What was proven of it.
    pub verification: Option<Verification>,
    /// Whether it came from a stream that ran then.
    pub live: bool,
    /// The first upstream that brought it.
    pub upstream: String,
    /// When it was seen.
    pub seen_at: DateTime<Utc>,
}

impl Told {
    /// The record that it is about, if it is about one.
    pub fn uri(&self) -> Option<AtUri> {
        Some(AtUri { did: self.did.clone(), collection: self.collection.clone()?, rkey: self.rkey.clone()? })
    }
}

const FIELDS: &str = "position, environment, kind, did, collection, rkey, rev, cid, origin, origin_rule, verification, live, upstream, seen_at";

/// At most `limit` events after `position` and up to `last`, in order.
///
/// # Errors
/// [`sqlx::Error::Decode`] when a row of our own log cannot be understood.
pub async fn told_after(
    connection: &mut PgConnection,
    position: Position,
    last: Position,
    limit: i64,
) -> Result<Vec<Told>, sqlx::Error> {
    let query =
        format!("select {FIELDS} from log.event where position > $1 and position <= $2 order by position limit $3");
    let rows = sqlx::query(sqlx::AssertSqlSafe(query)).bind(position).bind(last).bind(limit);
    rows.fetch_all(connection).await?.iter().map(told).collect()
}

/// The event at one position.
///
/// # Errors
/// As [`told_after`].
pub async fn told_at(connection: &mut PgConnection, position: Position) -> Result<Option<Told>, sqlx::Error> {
    let query = sqlx::AssertSqlSafe(format!("select {FIELDS} from log.event where position = $1"));
    let row = sqlx::query(query).bind(position).fetch_optional(connection).await?;
    row.as_ref().map(told).transpose()
}

/// The events about one record, in order.
///
/// # Errors
/// As [`told_after`].
pub async fn told_about(pool: &PgPool, uri: &AtUri) -> Result<Vec<Told>, sqlx::Error> {
    let query =
        format!("select {FIELDS} from log.event where did = $1 and collection = $2 and rkey = $3 order by position");
    let rows = sqlx::query(sqlx::AssertSqlSafe(query))
        .bind(uri.did.as_str())
        .bind(uri.collection.as_str())
        .bind(uri.rkey.as_str());
    rows.fetch_all(pool).await?.iter().map(told).collect()
}

/// The newest words about several records, and the latest snapshot of each of their accounts.
#[derive(Clone, Debug, Default)]
pub struct NewestWords {
    /// Puts and deletes, by record; those of one record from the highest revision down.
    pub words: HashMap<AtUri, Vec<Told>>,
    /// The snapshot of the highest revision, by account.
    pub snapshots: HashMap<Did, Told>,
}

/// At most `each` of the words about each of these records, those of the highest revisions.
///
/// # Errors
/// As [`told_after`].
pub async fn newest_words(
    connection: &mut PgConnection,
    uris: &[AtUri],
    each: i64,
) -> Result<NewestWords, sqlx::Error> {
    let mut newest = NewestWords::default();
    let dids: Vec<&str> = uris.iter().map(|uri| uri.did.as_str()).collect();
    // Snapshots first: the rows of one are appended with it, so that whoever sees it sees them as well.
    let snapshots = format!(
        "select {FIELDS} from (select distinct on (did) * from log.event
         where did = any($1) and collection is null and kind = 'snapshot' order by did, rev desc) as latest"
    );
    for row in sqlx::query(sqlx::AssertSqlSafe(snapshots)).bind(&dids).fetch_all(&mut *connection).await? {
        let told = told(&row)?;
        newest.snapshots.insert(told.did.clone(), told);
    }
    let words = format!(
        "select {FIELDS} from unnest($1::text[], $2::text[], $3::text[]) as asked (of_did, of_collection, of_rkey)
         cross join lateral (
             select * from log.event where did = of_did and collection = of_collection and rkey = of_rkey
             order by rev desc, cid desc nulls last, position desc limit $4
         ) as word"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(words))
        .bind(&dids)
        .bind(uris.iter().map(|uri| uri.collection.as_str()).collect::<Vec<_>>())
        .bind(uris.iter().map(|uri| uri.rkey.as_str()).collect::<Vec<_>>())
        .bind(each);
    for row in rows.fetch_all(connection).await? {
        let told = told(&row)?;
        if let Some(uri) = told.uri() {
            newest.words.entry(uri).or_default().push(told);
        }
    }
    for words in newest.words.values_mut() {
        words.sort_by(|a, b| (&b.rev, &b.cid, b.position).cmp(&(&a.rev, &a.cid, a.position)));
    }
    Ok(newest)
}

/// At most `limit` of the records of an account, in these collections, that the log has a word about, in order; after `after`.
///
/// # Errors
/// As [`told_after`].
pub async fn records_of(
    connection: &mut PgConnection,
    did: &Did,
    collections: &[&str],
    after: Option<&AtUri>,
    limit: i64,
) -> Result<Vec<AtUri>, sqlx::Error> {
    let (collection, rkey) = after.map_or(("", ""), |uri| (uri.collection.as_str(), uri.rkey.as_str()));
    let rows: Vec<(String, String)> = sqlx::query_as(
        "select distinct collection, rkey from log.event
         where did = $1 and collection = any($2) and (collection, rkey) > ($3, $4) order by collection, rkey limit $5",
    )
    .bind(did.as_str())
    .bind(collections)
    .bind(collection)
    .bind(rkey)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    let damaged = |e: crate::event::IdentError| sqlx::Error::Decode(format!("log.event of {did}: {e}").into());
    let uri = |(collection, rkey): (String, String)| {
        Ok(AtUri {
            did: did.clone(),
            collection: Nsid::parse(&collection).map_err(damaged)?,
            rkey: Rkey::parse(&rkey).map_err(damaged)?,
        })
    };
    rows.into_iter().map(uri).collect()
}

fn told(row: &PgRow) -> Result<Told, sqlx::Error> {
    let position: Position = row.try_get("position")?;
    let damaged =
        |e: crate::event::IdentError| sqlx::Error::Decode(format!("log.event at position {position}: {e}").into());
    let text = |column: &str| row.try_get::<Option<&str>, _>(column);
    let rule: Option<i16> = row.try_get("origin_rule")?;
    Ok(Told {
        position,
        environment: row.try_get("environment")?,
        kind: row.try_get("kind")?,
        did: Did::parse(row.try_get("did")?).map_err(damaged)?,
        collection: text("collection")?.map(Nsid::parse).transpose().map_err(damaged)?,
        rkey: text("rkey")?.map(Rkey::parse).transpose().map_err(damaged)?,
        rev: row.try_get("rev")?,
        cid: row.try_get("cid")?,
        origin: text("origin")?.and_then(Origin::from_word),
        rule: rule.and_then(|rule| u8::try_from(rule).ok()).and_then(OriginRule::from_number),
        verification: text("verification")?.and_then(Verification::from_word),
        live: row.try_get("live")?,
        upstream: row.try_get("upstream")?,
        seen_at: row.try_get("seen_at")?,
    })
}
