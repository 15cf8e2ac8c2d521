//! One transaction of reconciliation: some records, what the log holds about them, and what follows.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{PgConnection, Row};

use super::judge::{Heard, Intent, Known, Verdict, Word, counts, judge};
use super::metric::{self, Found};
use crate::calendar::{DraftKind, EVENT, RSVP, merge, record_json};
use crate::event::{AtUri, Did, Environment, Position, Rev};
use crate::event_log::{self, NewestWords, Told};
use crate::publisher::store::{damaged, uri as uri_of};
use crate::publisher::{Action, IntentState};

/// Records judged in one statement each.
const CHUNK: usize = 500;
/// Words looked at of one record: what is older than so many is passed by.
const WORDS_MAX: i64 = 200;

/// The collections that are ours to publish.
pub(super) const COLLECTIONS: [&str; 2] = [EVENT, RSVP];

/// The accounts among `dids` that are linked, with their users.
pub(super) async fn users(
    connection: &mut PgConnection,
    dids: &BTreeSet<&Did>,
) -> Result<HashMap<String, String>, sqlx::Error> {
    let dids: Vec<&str> = dids.iter().map(|did| did.as_str()).collect();
    let rows: Vec<(String, String)> = sqlx::query_as("select did, user_id from identity.account where did = any($1)")
        .bind(dids)
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().collect())
}

/// Judges these records, which are of linked accounts, in the caller's transaction.
pub(super) async fn settle(
    connection: &mut PgConnection,
    environment: &Environment,
    users: &HashMap<String, String>,
    uris: BTreeSet<AtUri>,
) -> Result<Found, sqlx::Error> {
    let uris: Vec<AtUri> = uris.into_iter().filter(|uri| users.contains_key(uri.did.as_str())).collect();
    let mut found = Found::default();
    for chunk in uris.chunks(CHUNK) {
        found += settle_chunk(connection, environment, users, chunk).await?;
    }
    Ok(found)
}

/// A row of ours.
struct OurRow {
    id: i64,
    known: Known,
}

async fn settle_chunk(
    connection: &mut PgConnection,
    environment: &Environment,
    users: &HashMap<String, String>,
    uris: &[AtUri],
) -> Result<Found, sqlx::Error> {
    let rows = rows(connection, uris).await?;
    let intents = intents(connection, rows.values().map(|row| row.id).collect()).await?;
    let told = event_log::newest_words(connection, uris, WORDS_MAX).await?;
    let head = event_log::head(connection).await?;
    let (mut adopted, mut verdicts) = (Adopted::default(), vec![]);
    for uri in uris {
        let heard = heard(&told, uri, environment, head);
        match rows.get(uri) {
            Some(row) => {
                let none = vec![];
                verdicts.push((row, judge(&row.known, intents.get(&row.id).unwrap_or(&none), &heard)));
            }
            // Only what is there now is looked after.
            None => {
                if let (Some(Word { rev, cid: Some(cid), position }), Some(user)) =
                    (heard.last(None), users.get(uri.did.as_str()))
                {
                    adopted.add(user, uri, rev, cid, position);
                }
            }
        }
    }
    let given_up = given_up(connection, &verdicts).await?;
    let mut changes = Changes::default();
    for (row, mut verdict) in verdicts {
        if given_up.contains(&row.id) {
            verdict.elsewhere = None;
        }
        changes.add(row, verdict);
    }
    Ok(Found { adopted: adopted.store(connection).await?, ..changes.store(connection).await? })
}

/// The records whose new version is what an intent of ours had sent before it ended in a refusal or a conflict: nobody else
/// made that.
async fn given_up(connection: &mut PgConnection, verdicts: &[(&OurRow, Verdict)]) -> Result<HashSet<i64>, sqlx::Error> {
    let elsewhere = verdicts.iter().filter(|(_, verdict)| verdict.elsewhere.is_some());
    let places: HashMap<i64, (Position, bool)> =
        elsewhere.filter_map(|(row, verdict)| Some((row.id, (verdict.place?, verdict.known.deleted)))).collect();
    if places.is_empty() {
        return Ok(HashSet::new());
    }
    let rows: Vec<(i64, String, String, Option<Value>)> = sqlx::query_as(
        "select distinct on (i.record_id) i.record_id, r.collection, i.action, i.draft
         from publish.intent i join publish.record r on r.id = i.record_id
         where i.record_id = any($1) and i.maybe_written and i.state in ('refused', 'conflict')
         order by i.record_id, i.id desc",
    )
    .bind(places.keys().copied().collect::<Vec<_>>())
    .fetch_all(&mut *connection)
    .await?;
    let mut found = HashSet::new();
    for (id, collection, action, draft) in rows {
        let (place, deleted) = places[&id];
        let is_it = match (action.as_str(), draft, DraftKind::of(&collection)) {
            ("delete", _, _) => deleted,
            (_, Some(Value::Object(draft)), Some(kind)) if !deleted => {
                let bytes = event_log::records_at(connection, &[place]).await?.remove(&place);
                match bytes.map(|bytes| record_json(&bytes)) {
                    Some(Ok(Value::Object(record))) => merge(kind, None, &draft, Some(&record)).changed.is_empty(),
                    _ => false,
                }
            }
            _ => false,
        };
        if is_it {
            found.insert(id);
        }
    }
    Ok(found)
}

/// What counts of the log's words about a record.
fn heard(told: &NewestWords, uri: &AtUri, environment: &Environment, head: Position) -> Heard {
    let word = |told: &Told| counts(told, environment).is_ok().then(|| Word::of(told)).flatten();
    let words = told.words.get(uri).into_iter().flatten().filter_map(word).collect();
    let snapshot = told.snapshots.get(&uri.did).and_then(word).map(|word| (word.rev, word.position));
    Heard { words, snapshot, head }
}

/// Our rows of these records, locked, in one order for all.
async fn rows(connection: &mut PgConnection, uris: &[AtUri]) -> Result<HashMap<AtUri, OurRow>, sqlx::Error> {
    let rows = sqlx::query(
        "select r.id, r.did, r.collection, r.rkey, r.cid, r.rev, r.deleted, r.seen_position, r.held_back
         from publish.record r
         join unnest($1::text[], $2::text[], $3::text[]) as asked (did, collection, rkey) using (did, collection, rkey)
         order by r.id for update of r",
    )
    .bind(uris.iter().map(|uri| uri.did.as_str()).collect::<Vec<_>>())
    .bind(uris.iter().map(|uri| uri.collection.as_str()).collect::<Vec<_>>())
    .bind(uris.iter().map(|uri| uri.rkey.as_str()).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    let row = |row: &sqlx::postgres::PgRow| {
        let known = Known {
            cid: row.try_get("cid")?,
            rev: rev(row.try_get("rev")?)?,
            deleted: row.try_get("deleted")?,
            seen: row.try_get("seen_position")?,
            held_back: row.try_get("held_back")?,
        };
        Ok((uri_of(row)?, OurRow { id: row.try_get("id")?, known }))
    };
    rows.iter().map(row).collect()
}

fn rev(text: Option<String>) -> Result<Option<Rev>, sqlx::Error> {
    text.map(|text| Rev::parse(&text)).transpose().map_err(damaged)
}

/// The intents that matter, by record and in their order: those that are open or acknowledged, and the last that were settled by a
/// write.
async fn intents(connection: &mut PgConnection, records: Vec<i64>) -> Result<HashMap<i64, Vec<Intent>>, sqlx::Error> {
    let rows = sqlx::query(
        "select i.id, i.record_id, i.action, i.state, i.maybe_written, i.cid, i.rev, i.acknowledged_at, i.confirmed_position
         from publish.intent i
         where i.record_id = any($1) and (
             i.state in ('wanted', 'attempted', 'acknowledged')
             or i.id = (select max(id) from publish.intent w where w.record_id = i.record_id and w.state = 'confirmed')
             or i.id = (
                 select max(id) from publish.intent w
                 where w.record_id = i.record_id and w.state = 'conflict' and w.cid is not null
             )
         )
         order by i.id",
    )
    .bind(records)
    .fetch_all(connection)
    .await?;
    let mut intents: HashMap<i64, Vec<Intent>> = HashMap::new();
    for row in rows {
        let (action, state): (&str, &str) = (row.try_get("action")?, row.try_get("state")?);
        intents.entry(row.try_get("record_id")?).or_default().push(Intent {
            id: row.try_get("id")?,
            action: Action::from_word(action).ok_or_else(|| damaged(format!("no action {action:?}")))?,
            state: IntentState::from_word(state).ok_or_else(|| damaged(format!("no state {state:?}")))?,
            maybe_written: row.try_get("maybe_written")?,
            cid: row.try_get("cid")?,
            rev: rev(row.try_get("rev")?)?,
            acknowledged_at: row.try_get::<Option<DateTime<Utc>>, _>("acknowledged_at")?,
            confirmed_position: row.try_get("confirmed_position")?,
        });
    }
    Ok(intents)
}

/// What changes of records and intents that are there, by column, as UNNEST takes it.
#[derive(Default)]
struct Changes {
    intent: Vec<i64>,
    place: Vec<Position>,
    id: Vec<i64>,
    cid: Vec<Option<String>>,
    rev: Vec<Option<String>>,
    deleted: Vec<bool>,
    seen: Vec<Option<Position>>,
    held_back: Vec<bool>,
    elsewhere: Vec<bool>,
    found: Found,
}

impl Changes {
    fn add(&mut self, row: &OurRow, verdict: Verdict) {
        for (intent, place) in verdict.confirmed {
            self.intent.push(intent);
            self.place.push(place);
        }
        match &verdict.elsewhere {
            Some(Some(_)) => self.found.edited += 1,
            Some(None) => self.found.deleted += 1,
            None if verdict.known == row.known => return,
            None => {}
        }
        self.id.push(row.id);
        self.cid.push(verdict.known.cid);
        self.rev.push(verdict.known.rev.map(|rev| rev.to_string()));
        self.deleted.push(verdict.known.deleted);
        self.seen.push(verdict.known.seen);
        self.held_back.push(verdict.known.held_back);
        self.elsewhere.push(verdict.elsewhere.is_some());
    }

    async fn store(mut self, connection: &mut PgConnection) -> Result<Found, sqlx::Error> {
        if !self.intent.is_empty() {
            let done = sqlx::query(
                "update publish.intent i
                 set state = 'confirmed', confirmed_at = clock_timestamp(), confirmed_position = place
                 from unnest($1::bigint[], $2::bigint[]) as seen (id, place)
                 where i.id = seen.id and i.state = 'acknowledged'",
            )
            .bind(&self.intent)
            .bind(&self.place)
            .execute(&mut *connection)
            .await?;
            self.found.confirmed = done.rows_affected();
        }
        if !self.id.is_empty() {
            sqlx::query(
                "update publish.record r
                 set cid = now.cid, rev = now.rev, deleted = now.deleted, seen_position = now.seen,
                     held_back = now.held_back, updated_at = clock_timestamp(),
                     edited_elsewhere_at = case when elsewhere then clock_timestamp() else r.edited_elsewhere_at end,
                     edited_elsewhere_cid = case when elsewhere then now.cid else r.edited_elsewhere_cid end
                 from unnest($1::bigint[], $2::text[], $3::text[], $4::boolean[], $5::bigint[], $6::boolean[], $7::boolean[])
                     as now (id, cid, rev, deleted, seen, held_back, elsewhere)
                 where r.id = now.id",
            )
            .bind(&self.id)
            .bind(&self.cid)
            .bind(&self.rev)
            .bind(&self.deleted)
            .bind(&self.seen)
            .bind(&self.held_back)
            .bind(&self.elsewhere)
            .execute(connection)
            .await?;
        }
        Ok(self.found)
    }
}

/// Records that become ours to look after, by column.
#[derive(Default)]
struct Adopted {
    user: Vec<String>,
    did: Vec<String>,
    collection: Vec<String>,
    rkey: Vec<String>,
    cid: Vec<String>,
    rev: Vec<String>,
    position: Vec<Position>,
}

impl Adopted {
    fn add(&mut self, user: &str, uri: &AtUri, rev: Rev, cid: String, position: Position) {
        self.user.push(user.to_owned());
        self.did.push(uri.did.to_string());
        self.collection.push(uri.collection.to_string());
        self.rkey.push(uri.rkey.to_string());
        self.cid.push(cid);
        self.rev.push(rev.to_string());
        self.position.push(position);
    }

    async fn store(self, connection: &mut PgConnection) -> Result<u64, sqlx::Error> {
        if self.did.is_empty() {
            return Ok(0);
        }
        // A wish may have made the row in between: then it is the app's, with its name for it.
        let done = sqlx::query(
            "insert into publish.record (user_id, did, collection, rkey, cid, rev, seen_position)
             select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[])
             on conflict (did, collection, rkey) do nothing",
        )
        .bind(self.user)
        .bind(self.did)
        .bind(self.collection)
        .bind(self.rkey)
        .bind(self.cid)
        .bind(self.rev)
        .bind(self.position)
        .execute(connection)
        .await?;
        Ok(done.rows_affected())
    }
}

/// The records that these events may be about, of linked accounts; and how many events say nothing, by reason.
pub(super) async fn touched(
    connection: &mut PgConnection,
    environment: &Environment,
    events: &[Told],
) -> Result<(HashMap<String, String>, BTreeSet<AtUri>), sqlx::Error> {
    let is_ours = |told: &&Told| match &told.collection {
        Some(collection) => COLLECTIONS.contains(&collection.as_str()),
        None => told.kind == "snapshot",
    };
    let events: Vec<&Told> = events.iter().filter(is_ours).collect();
    let users = users(connection, &events.iter().map(|told| &told.did).collect()).await?;
    let mut uris = BTreeSet::new();
    let mut whole = BTreeSet::new();
    for told in events.into_iter().filter(|told| users.contains_key(told.did.as_str())) {
        match (counts(told, environment), told.uri()) {
            (Err(reason), _) => metric::ignored(reason),
            (Ok(()), Some(uri)) => drop(uris.insert(uri)),
            (Ok(()), None) => drop(whole.insert(told.did.as_str())),
        }
    }
    if !whole.is_empty() {
        // What a snapshot does not show is told by no row of its own.
        let rows = sqlx::query("select did, collection, rkey from publish.record where did = any($1)")
            .bind(whole.into_iter().collect::<Vec<_>>())
            .fetch_all(connection)
            .await?;
        for row in rows {
            uris.insert(uri_of(&row)?);
        }
    }
    Ok((users, uris))
}
