//! Where wishes come in: each is stored, with its record's key, before anything is tried; then it is tried while the app waits.

use std::sync::Arc;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, Row};
use tokio::time::{Instant, timeout_at};

use super::attempt::{self, LEASE, Place};
use super::audit::{self, AuditEntry, AuditOutcome};
use super::hosts::Hosts;
use super::retry::Trouble;
use super::{
    Action, IntentState, Kind, PublishOptions, PublisherParts, RecordView, Wish, WishError, metric, store, tid,
};
use crate::calendar::fill_created_at;
use crate::event::{AtUri, Did, Rkey};
use crate::identity::{self, Account};
use crate::telemetry::crash_point;

/// Keys that are tried before it is believed that something else is wrong.
const KEYS_MAX: usize = 20;

/// Makes wishes true. Clones share everything.
#[derive(Clone)]
pub struct Publisher {
    pub(super) inner: Arc<Inner>,
}

/// What every part of this room works with.
pub(super) struct Inner {
    pub parts: PublisherParts,
    pub hosts: Hosts,
    /// Told when something may be due.
    pub wake: tokio::sync::Notify,
}

/// A wish as stored, or as it was already.
struct Stored {
    record: i64,
    intent: i64,
    /// The PDS, as far as known when it was stored.
    pds: String,
    /// It is ours to attempt now.
    leased: Option<Place>,
}

impl Publisher {
    /// A publisher. Nothing runs yet: [`wish`](Self::wish) tries once, [`run`](Self::run) goes on.
    pub fn new(parts: PublisherParts) -> Self {
        let hosts = Hosts::new(&parts.options);
        Publisher { inner: Arc::new(Inner { parts, hosts, wake: tokio::sync::Notify::new() }) }
    }

    /// The database.
    pub fn pool(&self) -> &sqlx::PgPool {
        &self.inner.parts.pool
    }

    /// How it was told to work.
    pub fn options(&self) -> &PublishOptions {
        &self.inner.parts.options
    }

    /// Stores a wish and tries it, for at most [`PublishOptions::wait`]. The answer's intent is `acknowledged` when the PDS
    /// took it; `wanted` or `attempted`, with the trouble, when it goes on without the caller: the work is safe then; else it
    /// says why it ended. The same wish again stores nothing and answers how far the first is, unless that was refused or ended
    /// in a conflict. When the caller goes away, what was stored goes on.
    ///
    /// # Errors
    /// [`WishError`]: nothing was stored.
    pub async fn wish(&self, wish: Wish) -> Result<RecordView, WishError> {
        let until = Instant::now() + self.options().wait;
        let stored = self.store(&wish).await;
        metric::wished(stored.as_ref().err());
        let mut stored = stored?;
        crash_point("publish.intent_stored");
        let mut tried = false;
        if let Some(place) = stored.leased.take() {
            self.attempt(stored.intent, place, until).await;
            tried = true;
        } else {
            self.inner.wake.notify_one();
        }
        loop {
            let view = store::by_id(&mut *self.inner.parts.pool.acquire().await?, stored.record).await?;
            let view = view.ok_or_else(|| store::damaged("a record was taken away"))?;
            let untried = |intent: &super::IntentView| {
                intent.id == stored.intent && intent.state.is_open() && intent.trouble.is_none()
            };
            if tried || !view.intent.as_ref().is_some_and(untried) || Instant::now() >= until {
                return Ok(view);
            }
            // An earlier wish of the same record is in the way, and perhaps nobody drains just now.
            let Some(place) = Place::try_take(&self.inner, &stored.pds) else { return Ok(view) };
            match self.lease_first(stored.record).await? {
                Some(intent) => {
                    self.attempt(intent, place, until).await;
                    tried = intent == stored.intent;
                }
                None => {
                    drop(place);
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }
        }
    }

    /// Attempts an intent that is leased, and waits for it until then.
    async fn attempt(&self, intent: i64, place: Place, until: Instant) {
        let inner = self.inner.clone();
        // A task of its own: an app that hangs up does not leave a write in its middle.
        let attempt = tokio::spawn(async move { attempt::run(&inner, intent, place).await });
        let _late = timeout_at(until, attempt).await;
    }

    /// Leases the first open intent of a record, if it is due and nobody is at it.
    async fn lease_first(&self, record: i64) -> Result<Option<i64>, sqlx::Error> {
        sqlx::query_scalar(
            "update publish.intent i set leased_until = clock_timestamp() + make_interval(secs => $2)
             where i.id = (
                     select id from publish.intent where record_id = $1 and state in ('wanted', 'attempted')
                     order by id limit 1
                 )
                 and i.state in ('wanted', 'attempted') and i.next_at <= now()
                 and (i.leased_until is null or i.leased_until <= clock_timestamp())
             returning i.id",
        )
        .bind(record)
        .bind(LEASE.as_secs_f64())
        .fetch_optional(&self.inner.parts.pool)
        .await
    }

    /// A record by the app's name for it.
    ///
    /// # Errors
    /// What the database says.
    pub async fn record(&self, user: &str, kind: Kind, client_key: &str) -> Result<Option<RecordView>, sqlx::Error> {
        let mut connection = self.inner.parts.pool.acquire().await?;
        store::by_client_key(&mut connection, user, kind, client_key).await
    }

    /// At most `limit` of a user's records of one kind, in the order of their record keys, which is that of their making;
    /// `after` is the last key of the page before.
    ///
    /// # Errors
    /// What the database says.
    pub async fn list(
        &self,
        user: &str,
        kind: Kind,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<RecordView>, sqlx::Error> {
        let mut connection = self.inner.parts.pool.acquire().await?;
        store::list(&mut connection, user, kind, after, limit).await
    }

    async fn store(&self, wish: &Wish) -> Result<Stored, WishError> {
        wish.check()?;
        let pool = &self.inner.parts.pool;
        let account = identity::of_user(pool, &wish.user).await?;
        let account = account.ok_or_else(|| WishError::NoAccount(wish.user.clone()))?;
        let did = Did::parse(&account.did).map_err(store::damaged)?;
        if let Some(uri) = &wish.adopt
            && (uri.did != did || uri.collection.as_str() != wish.kind.collection())
        {
            let (did, collection) = (account.did, wish.kind.collection());
            return Err(WishError::NotTheirs { uri: uri.clone(), did, collection });
        }
        let mut transaction = pool.begin().await?;
        // One wish of a name at a time: of two first ones the second finds the first one's record.
        sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 0))")
            .bind(format!("publish.wish {} {} {}", wish.user, wish.kind.collection(), wish.client_key))
            .execute(&mut *transaction)
            .await?;
        let record = match Record::find(&mut transaction, wish).await? {
            Some(record) => record.checked(wish, &did)?,
            None => Record::make(&mut transaction, wish, &account, &did).await?,
        };
        let last = Last::of(&mut transaction, record.id).await?;
        let digest = digest(wish);
        if let Some(last) = &last
            && last.digest == digest
            && !matches!(last.state, IntentState::Refused | IntentState::Conflict)
        {
            let stored = Stored { record: record.id, intent: last.id, pds: account.pds, leased: None };
            transaction.commit().await?;
            return Ok(stored);
        }
        let place = Place::try_take(&self.inner, &account.pds);
        let leases = place.is_some();
        let (intent, leased) = insert(&mut transaction, wish, &record, last.as_ref(), digest, leases).await?;
        transaction.commit().await?;
        Ok(Stored { record: record.id, intent, pds: account.pds, leased: place.filter(|_| leased) })
    }
}

/// While an earlier wish of the same record is in the way.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(50);

/// The row of a record, as far as a wish needs it.
struct Record {
    id: i64,
    did: String,
    rkey: Rkey,
    cid: Option<String>,
    deleted: bool,
    /// It is one that was there before.
    adopted: bool,
}

impl Record {
    async fn find(connection: &mut PgConnection, wish: &Wish) -> Result<Option<Record>, sqlx::Error> {
        let row = sqlx::query(
            "select id, did, rkey, cid, deleted from publish.record
             where user_id = $1 and collection = $2 and client_key = $3 for update",
        );
        let row = row.bind(&wish.user).bind(wish.kind.collection()).bind(&wish.client_key);
        let Some(row) = row.fetch_optional(connection).await? else { return Ok(None) };
        Ok(Some(Record {
            id: row.try_get("id")?,
            did: row.try_get("did")?,
            rkey: Rkey::parse(row.try_get("rkey")?).map_err(store::damaged)?,
            cid: row.try_get("cid")?,
            deleted: row.try_get("deleted")?,
            adopted: false,
        }))
    }

    /// The same, if it is what the wish may be about.
    fn checked(self, wish: &Wish, did: &Did) -> Result<Record, WishError> {
        if self.did != did.as_str() {
            let owner = Did::parse(&self.did).map_err(store::damaged)?;
            let uri = AtUri { did: owner, collection: wish.kind.nsid(), rkey: self.rkey };
            return Err(WishError::OtherAccount { user: wish.user.clone(), uri });
        }
        match &wish.adopt {
            Some(uri) if uri.rkey != self.rkey => Err(WishError::Taken(uri.clone())),
            _ => Ok(self),
        }
    }

    async fn make(
        connection: &mut PgConnection,
        wish: &Wish,
        account: &Account,
        did: &Did,
    ) -> Result<Record, WishError> {
        let collection = wish.kind.collection();
        if let Some(uri) = &wish.adopt {
            // Another user's row can only be one from before the account was linked with this user.
            let row = sqlx::query(
                "insert into publish.record as r (user_id, did, collection, rkey, client_key) values ($1, $2, $3, $4, $5)
                 on conflict (did, collection, rkey) do update
                     set user_id = excluded.user_id, client_key = excluded.client_key, updated_at = now()
                     where r.client_key is null
                 returning id, cid, deleted",
            );
            let row = row.bind(&wish.user).bind(did.as_str()).bind(collection);
            let row = row.bind(uri.rkey.as_str()).bind(&wish.client_key).fetch_optional(connection).await?;
            let row = row.ok_or_else(|| WishError::Taken(uri.clone()))?;
            return Ok(Record {
                id: row.try_get("id")?,
                did: account.did.clone(),
                rkey: uri.rkey.clone(),
                cid: row.try_get("cid")?,
                deleted: row.try_get("deleted")?,
                adopted: true,
            });
        }
        if wish.action == Action::Delete {
            return Err(WishError::NoRecord {
                user: wish.user.clone(),
                kind: match wish.kind {
                    Kind::Event => "event",
                    Kind::Rsvp => "rsvp",
                },
                client_key: wish.client_key.clone(),
            });
        }
        for _ in 0..KEYS_MAX {
            let now = sqlx::query_scalar("select clock_timestamp()").fetch_one(&mut *connection).await?;
            let rkey = tid::rkey(now, rand::random());
            let id: Option<i64> = sqlx::query_scalar(
                "insert into publish.record (user_id, did, collection, rkey, client_key) values ($1, $2, $3, $4, $5)
                 on conflict (did, collection, rkey) do nothing returning id",
            )
            .bind(&wish.user)
            .bind(did.as_str())
            .bind(collection)
            .bind(rkey.as_str())
            .bind(&wish.client_key)
            .fetch_optional(&mut *connection)
            .await?;
            if let Some(id) = id {
                let did = account.did.clone();
                return Ok(Record { id, did, rkey, cid: None, deleted: false, adopted: false });
            }
        }
        Err(store::damaged(format!("{KEYS_MAX} new record keys in a row were taken")).into())
    }
}

/// The last wish of the same record.
struct Last {
    id: i64,
    digest: Vec<u8>,
    state: IntentState,
    action: Action,
    created_at: Option<Value>,
}

impl Last {
    async fn of(connection: &mut PgConnection, record: i64) -> Result<Option<Last>, sqlx::Error> {
        let row = sqlx::query(
            "select id, digest, state, action, draft->'createdAt' as created_at from publish.intent
             where record_id = $1 order by id desc limit 1",
        );
        let Some(row) = row.bind(record).fetch_optional(connection).await? else { return Ok(None) };
        let (state, action): (&str, &str) = (row.try_get("state")?, row.try_get("action")?);
        Ok(Some(Last {
            id: row.try_get("id")?,
            digest: row.try_get("digest")?,
            state: IntentState::from_word(state).ok_or_else(|| store::damaged(format!("no state {state:?}")))?,
            action: Action::from_word(action).ok_or_else(|| store::damaged(format!("no action {action:?}")))?,
            created_at: row.try_get("created_at")?,
        }))
    }
}

/// What two wishes must share to be one: a map of JSON has its keys in order.
fn digest(wish: &Wish) -> Vec<u8> {
    let draft = wish.draft.as_ref().map(|draft| Value::Object(draft.fields().clone()));
    let all = serde_json::json!([wish.action.as_str(), draft, wish.if_match]);
    Sha256::digest(all.to_string().as_bytes()).to_vec()
}

/// Stores the intent, in place of those that were never sent. Whether the attempt is ours.
async fn insert(
    connection: &mut PgConnection,
    wish: &Wish,
    record: &Record,
    last: Option<&Last>,
    digest: Vec<u8>,
    leases: bool,
) -> Result<(i64, bool), sqlx::Error> {
    // What a delete takes away, and what was never there, is made anew. A first wish about a record that is adopted is none
    // of these, whether or not we know its version.
    let gone = last.is_some_and(|last| last.action == Action::Delete && last.state != IntentState::Refused);
    let creates = wish.action == Action::Put
        && !record.adopted
        && (gone || record.deleted || (record.cid.is_none() && !adopted_before(connection, record.id).await?));
    let mut draft: Option<Map<String, Value>> = wish.draft.as_ref().map(|draft| draft.fields().clone());
    if let (true, Some(draft)) = (creates, &mut draft) {
        // Fixed once, so that a repetition after a lost answer is the same record to the byte.
        match last.filter(|_| !gone && !record.deleted).and_then(|last| last.created_at.clone()) {
            Some(created_at) => drop(draft.entry("createdAt").or_insert(created_at)),
            None => fill_created_at(draft, sqlx::query_scalar("select now()").fetch_one(&mut *connection).await?),
        }
    }
    let superseded: Vec<(i64, bool)> = sqlx::query_as(
        "update publish.intent set state = 'superseded', leased_until = null
         where record_id = $1 and state = 'wanted' and not maybe_written
         returning id, acting_user is not null",
    )
    .bind(record.id)
    .fetch_all(&mut *connection)
    .await?;
    for (id, _) in superseded.iter().filter(|(_, acting)| *acting) {
        audit::settled(connection, *id, AuditOutcome::Failed, &[], None).await?;
    }
    let row = sqlx::query(
        "insert into publish.intent (record_id, action, draft, digest, if_match, creates, acting_user, grant_id,
             trouble, trouble_detail, leased_until)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $11, $12,
             case when $9 and not exists (
                 select from publish.intent where record_id = $1 and state in ('wanted', 'attempted')
             ) then clock_timestamp() + make_interval(secs => $10) end)
         returning id, leased_until is not null",
    )
    .bind(record.id)
    .bind(wish.action.as_str())
    .bind(draft.map(Value::Object))
    .bind(digest)
    .bind(&wish.if_match)
    .bind(creates)
    .bind(wish.acting.as_ref().map(|acting| &acting.user))
    .bind(wish.acting.as_ref().map(|acting| acting.grant_id))
    .bind(leases)
    .bind(LEASE.as_secs_f64())
    .bind((!leases).then_some(Trouble::Unreachable.as_str()))
    .bind((!leases).then_some("the PDS did not answer lately, and somebody finds out already when it does again"))
    .fetch_one(&mut *connection)
    .await?;
    let intent = row.try_get(0)?;
    if let Some(acting) = &wish.acting {
        let owner = Did::parse(&record.did).map_err(store::damaged)?;
        let uri = AtUri { did: owner.clone(), collection: wish.kind.nsid(), rkey: record.rkey.clone() }.to_string();
        let entry = AuditEntry { acting_user: &acting.user, owner_did: &owner, uri: &uri, action: wish.action };
        audit::begun(connection, entry, acting.grant_id, intent).await?;
    }
    Ok((intent, row.try_get(1)?))
}

/// Whether the record was there before its first wish: then no wish of it creates.
async fn adopted_before(connection: &mut PgConnection, record: i64) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "select exists (select from publish.intent where record_id = $1) and not coalesce(bool_or(creates), false)
         from publish.intent where record_id = $1",
    )
    .bind(record)
    .fetch_one(connection)
    .await
}
