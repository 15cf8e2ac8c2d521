//! The one appender of a database, and the transaction in which it appends.
//!
//! A session advisory lock makes it the only one; the name it leaves in `log.head` lets it find out, after its connection
//! broke, whether another has led in between. Positions are given out in the transaction, from the locked head row.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use sqlx::{Connection, PgConnection};

use crate::db::SessionId;
use crate::event::{Body, Observed, Position, Seq, Upstream};

/// Names this database's appender among all advisory locks. Any constant will do, as long as it never changes.
const LOCK: i64 = 0x616c_6d61_6e61_6301;

/// Why nothing was appended.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Another process appends to this database now.
    #[error("another process has taken over as the appender of this database")]
    Replaced,
    /// The database did not do it. Appending the same again is safe.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// How far one upstream is handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CursorMark {
    /// Which upstream.
    pub upstream: Arc<Upstream>,
    /// Everything up to this frame is handled.
    pub seq: Seq,
    /// The time that this frame carries.
    pub event_time: Option<DateTime<Utc>>,
}

/// What an append did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Events that are new in the log.
    pub new: u64,
    /// Events that were there already, or twice in the batch.
    pub duplicates: u64,
    /// The log's last position now.
    pub head: Position,
}

/// The only process that may append.
pub struct Appender {
    connection: PgConnection,
    session: SessionId,
    name: String,
}

impl Appender {
    /// Tries to become the appender over this connection, under a name that no other process has. `None` while another
    /// process is. The lock lives as long as the connection.
    pub async fn try_lead(mut connection: PgConnection, name: &str) -> Result<Option<Appender>, LogError> {
        if !try_lock(&mut connection).await? {
            return Ok(None);
        }
        let session = SessionId::of(&mut connection).await?;
        sqlx::query("update log.head set leader = $1").bind(name).execute(&mut connection).await?;
        Ok(Some(Appender { connection, session, name: name.to_owned() }))
    }

    /// Goes on over a new connection after the old one, whose session was `old`, broke. `None` while the server still
    /// holds the lock for another session. When that may be our own old one, which the server does not know to be dead, it
    /// is told to end it.
    ///
    /// # Errors
    /// [`LogError::Replaced`] when another process has appended in between: what this one remembers may be stale.
    pub async fn try_resume(
        mut connection: PgConnection,
        name: &str,
        old: &SessionId,
    ) -> Result<Option<Appender>, LogError> {
        let leader: Option<String> =
            sqlx::query_scalar("select leader from log.head").fetch_one(&mut connection).await?;
        if leader.as_deref() != Some(name) {
            return Err(LogError::Replaced);
        }
        if !try_lock(&mut connection).await? {
            old.end(&mut connection).await?;
            return Ok(None);
        }
        // Another process may have come and gone between the two statements.
        let leader: Option<String> =
            sqlx::query_scalar("select leader from log.head").fetch_one(&mut connection).await?;
        if leader.as_deref() != Some(name) {
            return Err(LogError::Replaced);
        }
        let session = SessionId::of(&mut connection).await?;
        Ok(Some(Appender { connection, session, name: name.to_owned() }))
    }

    /// The session that holds the lock.
    pub fn session(&self) -> &SessionId {
        &self.session
    }

    /// Starts a transaction. Dropping it undoes it.
    pub async fn begin(&mut self) -> Result<Transaction<'_>, LogError> {
        let mut tx = self.connection.begin().await?;
        let head: Option<Position> = sqlx::query_scalar("select position from log.head where leader = $1 for update")
            .bind(&self.name)
            .fetch_optional(&mut *tx)
            .await?;
        let head = head.ok_or(LogError::Replaced)?;
        Ok(Transaction { tx, head })
    }

    /// Whether the connection still answers.
    pub async fn ping(&mut self) -> Result<(), LogError> {
        Ok(self.connection.ping().await?)
    }
}

async fn try_lock(connection: &mut PgConnection) -> Result<bool, LogError> {
    Ok(sqlx::query_scalar("select pg_try_advisory_lock($1)").bind(LOCK).fetch_one(connection).await?)
}

/// An append under way: rows, cursors and whatever else must hold together with them.
pub struct Transaction<'a> {
    tx: sqlx::Transaction<'a, sqlx::Postgres>,
    head: Position,
}

impl Transaction<'_> {
    /// The connection, for what the caller's own tables must say in the same transaction.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.tx
    }

    /// Appends events in this order, leaving out those that are there already.
    pub async fn append(&mut self, events: &[Observed]) -> Result<Appended, LogError> {
        if events.is_empty() {
            return Ok(Appended { new: 0, duplicates: 0, head: self.head });
        }
        let rows = Columns::of(events);
        let new: i64 = sqlx::query_scalar(include_str!("append.sql"))
            .bind(self.head)
            .bind(rows.dedup)
            .bind(rows.environment)
            .bind(rows.kind)
            .bind(rows.did)
            .bind(rows.collection)
            .bind(rows.rkey)
            .bind(rows.rev)
            .bind(rows.cid)
            .bind(rows.record)
            .bind(rows.active)
            .bind(rows.status)
            .bind(rows.handle)
            .bind(rows.event_time)
            .bind(rows.origin)
            .bind(rows.upstream)
            .bind(rows.seq)
            .bind(rows.seen_at)
            .bind(rows.live)
            .bind(rows.verification)
            .bind(rows.origin_rule)
            .bind(rows.commit_cid)
            .bind(rows.pds)
            .bind(rows.detail)
            .fetch_one(&mut *self.tx)
            .await?;
        self.head += new;
        let new = u64::try_from(new).expect("a count is not negative");
        Ok(Appended { new, duplicates: events.len() as u64 - new, head: self.head })
    }

    /// Moves cursors. A cursor may move back: a host whose numbers start again is followed, not argued with.
    pub async fn move_cursors(&mut self, marks: &[CursorMark]) -> Result<(), LogError> {
        if marks.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "insert into log.cursor (upstream, kind, seq, event_time, updated_at)
             select u, k, s, t, now() from unnest($1::text[], $2::text[], $3::bigint[], $4::timestamptz[]) as m (u, k, s, t)
             on conflict (upstream) do update set kind = excluded.kind, seq = excluded.seq,
                 event_time = coalesce(excluded.event_time, log.cursor.event_time), updated_at = now()",
        )
        .bind(marks.iter().map(|m| &*m.upstream.name).collect::<Vec<_>>())
        .bind(marks.iter().map(|m| m.upstream.kind.as_str()).collect::<Vec<_>>())
        .bind(marks.iter().map(|m| m.seq).collect::<Vec<_>>())
        .bind(marks.iter().map(|m| m.event_time).collect::<Vec<_>>())
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Makes it last. After an error nobody knows whether it did: append the same again.
    pub async fn commit(self) -> Result<Position, LogError> {
        self.tx.commit().await?;
        Ok(self.head)
    }
}

/// What makes two observations the same event: for records the revision and what it did, whoever carried it; for account
/// and identity words, which no revision orders, also the host's number, so that which of two carriers came first cannot
/// change the fold.
fn dedup_key(observed: &Observed) -> [u8; 16] {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u32).to_be_bytes());
        hash.update(bytes);
    };
    part(observed.event.body.kind().as_bytes());
    part(observed.event.did.as_str().as_bytes());
    match &observed.event.body {
        Body::Put { collection, rkey, rev, cid, .. } => {
            part(collection.as_str().as_bytes());
            part(rkey.as_str().as_bytes());
            part(rev.to_string().as_bytes());
            part(&cid.to_bytes());
        }
        Body::Delete { collection, rkey, rev } => {
            part(collection.as_str().as_bytes());
            part(rkey.as_str().as_bytes());
            part(rev.to_string().as_bytes());
        }
        Body::Snapshot { rev } => part(rev.to_string().as_bytes()),
        Body::Account { active, status, time } => {
            part(&[u8::from(*active)]);
            part(status.as_str().as_bytes());
            part(&time.timestamp_micros().to_be_bytes());
            part(&observed.seq.unwrap_or_default().to_be_bytes());
        }
        Body::Identity { handle, time } => {
            part(handle.as_ref().map_or("", |h| h.as_str()).as_bytes());
            part(&time.timestamp_micros().to_be_bytes());
            part(&observed.seq.unwrap_or_default().to_be_bytes());
        }
        Body::Origin { decision, time } => {
            part(&[u8::from(decision.standing.is_kept()), decision.rule.number()]);
            part(decision.standing.as_str().as_bytes());
            part(&time.timestamp_micros().to_be_bytes());
        }
        Body::List { change, who, why, time } => {
            part(change.as_str().as_bytes());
            part(who.as_bytes());
            part(why.as_bytes());
            part(&time.timestamp_micros().to_be_bytes());
        }
    }
    let digest = hash.finalize();
    digest[..16].try_into().expect("SHA-256 gives 32 bytes")
}

/// The batch by column, as UNNEST takes it.
#[derive(Default)]
struct Columns<'a> {
    dedup: Vec<Vec<u8>>,
    environment: Vec<&'a str>,
    kind: Vec<&'static str>,
    did: Vec<&'a str>,
    collection: Vec<Option<&'a str>>,
    rkey: Vec<Option<&'a str>>,
    rev: Vec<Option<String>>,
    cid: Vec<Option<String>>,
    record: Vec<Option<&'a [u8]>>,
    active: Vec<Option<bool>>,
    status: Vec<Option<&'static str>>,
    handle: Vec<Option<&'a str>>,
    event_time: Vec<Option<DateTime<Utc>>>,
    origin: Vec<&'static str>,
    upstream: Vec<&'a str>,
    seq: Vec<Option<Seq>>,
    seen_at: Vec<DateTime<Utc>>,
    live: Vec<bool>,
    verification: Vec<&'static str>,
    origin_rule: Vec<Option<i16>>,
    commit_cid: Vec<Option<String>>,
    pds: Vec<Option<&'a str>>,
    detail: Vec<Option<serde_json::Value>>,
}

impl<'a> Columns<'a> {
    fn of(events: &'a [Observed]) -> Self {
        let mut columns = Columns::default();
        for observed in events {
            let body = &observed.event.body;
            let (mut collection, mut rkey, mut rev, mut cid, mut record) = (None, None, None, None, None);
            let (mut active, mut status, mut handle, mut time) = (None, None, None, None);
            let mut detail = None;
            match body {
                Body::Put { collection: c, rkey: k, rev: r, cid: i, record: bytes } => {
                    (collection, rkey, rev) = (Some(c.as_str()), Some(k.as_str()), Some(r.to_string()));
                    (cid, record) = (Some(i.to_string()), Some(&bytes[..]));
                }
                Body::Delete { collection: c, rkey: k, rev: r } => {
                    (collection, rkey, rev) = (Some(c.as_str()), Some(k.as_str()), Some(r.to_string()));
                }
                Body::Snapshot { rev: r } => rev = Some(r.to_string()),
                Body::Account { active: a, status: s, time: t } => {
                    (active, status, time) = (Some(*a), Some(s.as_str()), Some(*t));
                }
                Body::Identity { handle: h, time: t } => {
                    (handle, time) = (h.as_ref().map(|h| h.as_str()), Some(*t));
                }
                Body::Origin { decision, time: t } => {
                    let standing = decision.standing;
                    (active, status, time) = (Some(standing.is_kept()), Some(standing.as_str()), Some(*t));
                }
                Body::List { change, who, why, time: t } => {
                    (status, time) = (Some(change.as_str()), Some(*t));
                    detail = Some(serde_json::json!({ "who": who, "why": why }));
                }
            }
            columns.dedup.push(dedup_key(observed).to_vec());
            columns.environment.push(observed.environment.as_str());
            columns.kind.push(body.kind());
            columns.did.push(observed.event.did.as_str());
            columns.collection.push(collection);
            columns.rkey.push(rkey);
            columns.rev.push(rev);
            columns.cid.push(cid);
            columns.record.push(record);
            columns.active.push(active);
            columns.status.push(status);
            columns.handle.push(handle);
            columns.event_time.push(time);
            columns.origin.push(observed.origin.as_str());
            columns.upstream.push(&observed.upstream.name);
            columns.seq.push(observed.seq);
            columns.seen_at.push(observed.seen_at);
            columns.live.push(observed.live);
            columns.verification.push(observed.verification.as_str());
            columns.origin_rule.push(observed.rule.map(|rule| i16::from(rule.number())));
            columns.commit_cid.push(observed.commit.map(|cid| cid.to_string()));
            columns.pds.push(observed.pds.as_deref());
            columns.detail.push(detail);
        }
        columns
    }
}
