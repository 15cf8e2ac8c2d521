//! Account and identity words of accounts out of scope.
//!
//! An account's first calendar record can arrive after the word that its account was switched off, or after the only word
//! that names its handle. So the latest word of either kind is set aside for every account, and enters the log when the
//! account comes into scope. Words are ordered as the fold orders them.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, PgPool, Row};

use crate::event::{
    AccountStatus, Body, Did, Environment, Event, Handle, Observed, Origin, Upstream, UpstreamKind, Verification,
};

/// How long a word waits for its account to come into scope. Longer than any host's window for resuming.
const KEEP: TimeDelta = TimeDelta::days(7);

/// Sets words aside.
pub(super) async fn store(connection: &mut PgConnection, words: &[Observed]) -> Result<(), sqlx::Error> {
    if words.is_empty() {
        return Ok(());
    }
    let parts: Vec<Parts<'_>> = words.iter().map(Parts::of).collect();
    sqlx::query(include_str!("bystander.sql"))
        .bind(words.iter().map(|w| w.event.did.as_str()).collect::<Vec<_>>())
        .bind(words.iter().map(|w| w.event.body.kind()).collect::<Vec<_>>())
        .bind(parts.iter().map(|p| p.active).collect::<Vec<_>>())
        .bind(parts.iter().map(|p| p.status).collect::<Vec<_>>())
        .bind(parts.iter().map(|p| p.handle).collect::<Vec<_>>())
        .bind(parts.iter().map(|p| p.time).collect::<Vec<_>>())
        .bind(words.iter().map(|w| &*w.upstream.name).collect::<Vec<_>>())
        .bind(words.iter().map(|w| w.upstream.kind.as_str()).collect::<Vec<_>>())
        .bind(words.iter().map(|w| w.seq).collect::<Vec<_>>())
        .bind(words.iter().map(|w| w.seen_at).collect::<Vec<_>>())
        .bind(words.iter().map(|w| w.live).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// Takes the words about accounts that came into scope, for the log.
pub(super) async fn take(
    connection: &mut PgConnection,
    entered: &[Did],
    environment: &Environment,
) -> Result<Vec<Observed>, sqlx::Error> {
    if entered.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query("delete from ingest.bystander where did = any($1) returning *")
        .bind(entered.iter().map(Did::as_str).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    let damaged = |e: crate::event::IdentError| sqlx::Error::Decode(Box::new(e));
    let mut words = Vec::with_capacity(rows.len());
    for row in rows {
        let time: DateTime<Utc> = row.try_get("event_time")?;
        let body = if row.try_get::<String, _>("kind")? == "account" {
            let active = row.try_get("active")?;
            let status: Option<String> = row.try_get("status")?;
            Body::Account { active, status: AccountStatus::from_wire(active, status.as_deref()), time }
        } else {
            let handle: Option<String> = row.try_get("handle")?;
            Body::Identity { handle: handle.map(|h| Handle::parse(&h)).transpose().map_err(damaged)?, time }
        };
        let kind = UpstreamKind::from_word(&row.try_get::<String, _>("upstream_kind")?).unwrap_or(UpstreamKind::Relay);
        words.push(Observed {
            event: Event { did: Did::parse(&row.try_get::<String, _>("did")?).map_err(damaged)?, body },
            environment: environment.clone(),
            origin: Origin::Network,
            rule: None,
            pds: None,
            commit: None,
            verification: Verification::None,
            upstream: Arc::new(Upstream::new(kind, row.try_get::<String, _>("upstream")?)),
            seq: row.try_get("seq")?,
            seen_at: row.try_get("seen_at")?,
            live: row.try_get("live")?,
        });
    }
    Ok(words)
}

/// Forgets words that have waited long enough.
pub(super) async fn prune(pool: &PgPool) -> Result<u64, sqlx::Error> {
    let done = sqlx::query("delete from ingest.bystander where stored_at < now() - $1")
        .bind(sqlx::postgres::types::PgInterval::try_from(KEEP).expect("whole days fit an interval"))
        .execute(pool)
        .await?;
    Ok(done.rows_affected())
}

struct Parts<'a> {
    active: Option<bool>,
    status: Option<&'static str>,
    handle: Option<&'a str>,
    time: Option<DateTime<Utc>>,
}

impl<'a> Parts<'a> {
    fn of(word: &'a Observed) -> Self {
        match &word.event.body {
            Body::Account { active, status, time } => {
                Parts { active: Some(*active), status: Some(status.as_str()), handle: None, time: Some(*time) }
            }
            Body::Identity { handle, time } => {
                Parts { active: None, status: None, handle: handle.as_ref().map(Handle::as_str), time: Some(*time) }
            }
            _ => Parts { active: None, status: None, handle: None, time: None },
        }
    }
}
