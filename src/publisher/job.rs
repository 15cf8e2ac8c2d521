//! An intent that is leased for an attempt, and what is stored of the attempt. Every statement leaves alone what somebody else
//! settled meanwhile.

use std::time::Duration;

use serde_json::{Map, Value};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row};

use super::audit::{self, AuditOutcome};
use super::budget::{self, Reservation, Reserved};
use super::failure::{Failure, Stop};
use super::retry::{Trouble, Verdict};
use super::{Acting, Action, PublishOptions, store};
use crate::calendar::DraftKind;
use crate::event::AtUri;

/// What an attempt is about.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub id: i64,
    /// Whose, by the app's name.
    pub user: String,
    pub uri: AtUri,
    pub kind: DraftKind,
    /// The PDS of the account, if the user is linked with it.
    pub pds: Option<String>,
    pub action: Action,
    /// What the record shall be; what is completed before it is sent (the version that an RSVP answers to) is stored, so that
    /// a repetition sends the same.
    pub draft: Map<String, Value>,
    pub if_match: Option<String>,
    /// The record is to be made.
    pub creates: bool,
    /// An attempt may have reached the PDS without our hearing the answer.
    pub maybe_written: bool,
    /// Attempts that failed.
    pub attempts: u32,
    /// The version that the PDS held when the job was loaded, as far as known.
    pub known_cid: Option<String>,
    pub deleted: bool,
    /// The draft that the PDS took last.
    pub base: Option<Map<String, Value>>,
    /// The draft that was sent last, by this intent or one before.
    pub sent: Option<Map<String, Value>>,
    /// Who asked and by which grant, when it is not the owner.
    pub acting: Option<Acting>,
    /// The fields that the attempt changed, for the audit.
    pub changed: Vec<String>,
}

/// What the PDS made of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    /// The version that is there now; none after a delete.
    pub cid: Option<String>,
    /// The revision that wrote it, if the PDS said so.
    pub rev: Option<String>,
}

/// Reads leased intents, in their order. Those that are settled are left out.
pub(super) async fn load(pool: &PgPool, ids: &[i64]) -> Result<Vec<Job>, sqlx::Error> {
    let rows = sqlx::query(
        "select i.id, i.action, i.draft, i.if_match, i.creates, i.maybe_written, i.attempts,
             i.acting_user, i.grant_id, r.user_id, r.did, r.collection, r.rkey, r.cid as known_cid, r.base, r.deleted, a.pds,
             (select draft from publish.intent s
              where s.record_id = r.id and s.id <= i.id and s.action = 'put' and s.maybe_written
              order by s.id desc limit 1) as sent
         from publish.intent i
         join publish.record r on r.id = i.record_id
         left join identity.account a on a.did = r.did and a.user_id = r.user_id
         where i.id = any($1) and i.state in ('wanted', 'attempted')
         order by i.id",
    );
    rows.bind(ids).fetch_all(pool).await?.iter().map(job).collect()
}

fn job(row: &PgRow) -> Result<Job, sqlx::Error> {
    let uri = store::uri(row)?;
    let action: &str = row.try_get("action")?;
    let map = |column: &str| -> Result<Option<Map<String, Value>>, sqlx::Error> {
        match row.try_get::<Option<Value>, _>(column)? {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(_) => Err(store::damaged(format!("{column} is no object"))),
        }
    };
    Ok(Job {
        id: row.try_get("id")?,
        user: row.try_get("user_id")?,
        kind: DraftKind::of(uri.collection.as_str())
            .ok_or_else(|| store::damaged(format!("collection {}", uri.collection)))?,
        uri,
        pds: row.try_get("pds")?,
        action: Action::from_word(action).ok_or_else(|| store::damaged(format!("no action {action:?}")))?,
        draft: map("draft")?.unwrap_or_default(),
        if_match: row.try_get("if_match")?,
        creates: row.try_get("creates")?,
        maybe_written: row.try_get("maybe_written")?,
        attempts: u32::try_from(row.try_get::<i32, _>("attempts")?).unwrap_or_default(),
        known_cid: row.try_get("known_cid")?,
        deleted: row.try_get("deleted")?,
        base: map("base")?,
        sent: map("sent")?,
        acting: match (row.try_get("acting_user")?, row.try_get("grant_id")?) {
            (Some(user), Some(grant_id)) => Some(Acting { user, grant_id }),
            (None, None) => None,
            _ => return Err(store::damaged("an intent in another's name without a grant, or the other way round")),
        },
        changed: Vec::new(),
    })
}

impl Job {
    /// Whether a record that is not there is made, and not missed.
    pub fn makes_it(&self) -> bool {
        self.creates && (self.known_cid.is_none() || self.deleted)
    }
}

/// Notes, before they are sent, that these may be written from now on, and takes the points for them, in one transaction. How
/// many of them, from the first on, the budget allows: at least one. Jobs of one account.
///
/// # Errors
/// Nothing left of the budget; an intent that somebody else settled.
pub(super) async fn sending(
    pool: &PgPool,
    jobs: &[&Job],
    points: u32,
    options: &PublishOptions,
) -> Result<(usize, Reserved), Stop> {
    let Some(first) = jobs.first() else { return Err(Stop::Gone) };
    let mut transaction = pool.begin().await?;
    let did = first.uri.did.as_str();
    let (writes, reserved) = match budget::reserve(&mut transaction, did, points, jobs.len(), options).await? {
        Reservation::Granted { writes, reserved } => (writes, reserved),
        Reservation::SpentFor(pause) => {
            let detail = "the account's budget of this hour or day is spent".to_owned();
            return Err(Failure { told: pause, ..Failure::new(Trouble::Budget, detail) }.into());
        }
    };
    let (mut ids, mut drafts) = (Vec::new(), Vec::new());
    for job in &jobs[..writes] {
        ids.push(job.id);
        drafts.push((job.action == Action::Put).then(|| Value::Object(job.draft.clone())));
    }
    let marked = sqlx::query(
        "update publish.intent i
         set state = 'attempted', maybe_written = true, attempted_at = now(), draft = d.draft
         from unnest($1::bigint[], $2::jsonb[]) d (id, draft)
         where i.id = d.id and i.state in ('wanted', 'attempted')",
    );
    let marked = marked.bind(&ids).bind(&drafts).execute(&mut *transaction).await?;
    if marked.rows_affected() != writes as u64 {
        // Superseded in this moment: nothing is sent, and nothing taken.
        return Err(Stop::Gone);
    }
    transaction.commit().await?;
    Ok((writes, reserved))
}

/// The PDS took these. Seconds since each was wished, for those that nobody settled meanwhile.
///
/// # Errors
/// What the database says: nothing of it is stored then.
pub(super) async fn acknowledged(pool: &PgPool, done: &[(Job, Done)]) -> Result<Vec<f64>, sqlx::Error> {
    if done.iter().all(|(job, _)| job.acting.is_none()) {
        // One statement is a transaction of its own.
        return store_acknowledged(&mut *pool.acquire().await?, done).await;
    }
    let mut transaction = pool.begin().await?;
    let seconds = store_acknowledged(&mut transaction, done).await?;
    for (job, done) in done {
        let (outcome, cid) = (AuditOutcome::Written, done.cid.as_deref());
        audit::settled(&mut transaction, job.id, outcome, &job.changed, cid).await?;
    }
    transaction.commit().await?;
    Ok(seconds)
}

async fn store_acknowledged(connection: &mut PgConnection, done: &[(Job, Done)]) -> Result<Vec<f64>, sqlx::Error> {
    let (mut ids, mut cids, mut revs) = (Vec::new(), Vec::new(), Vec::new());
    let (mut drafts, mut known) = (Vec::new(), Vec::new());
    for (job, done) in done {
        ids.push(job.id);
        cids.push(done.cid.as_deref());
        revs.push(done.rev.as_deref());
        drafts.push((job.action == Action::Put).then(|| Value::Object(job.draft.clone())));
        known.push(job.known_cid.as_deref());
    }
    // The log may have told of a later version already: by its rev, or, where the PDS named none, because the row changed.
    sqlx::query_scalar(
        "with done as (
             update publish.intent i
             set state = 'acknowledged', cid = d.cid, rev = d.rev, attempts = attempts + 1, acknowledged_at = now(),
                 leased_until = null, trouble = null, trouble_detail = null
             from unnest($1::bigint[], $2::text[], $3::text[], $4::jsonb[], $5::text[]) d (id, cid, rev, draft, known)
             where i.id = d.id and i.state in ('wanted', 'attempted')
             returning i.id, i.record_id, i.created_at, i.action, i.creates, d.cid, d.rev, d.draft, d.known
         ), later as (
             -- What was wished after a record's making, when that was not done yet, does not make it again.
             update publish.intent i set creates = false
             from done
             where done.creates and i.record_id = done.record_id and i.id > done.id and i.creates
                 and i.state in ('wanted', 'attempted')
                 and not exists (
                     select from publish.intent d
                     where d.record_id = i.record_id and d.id > done.id and d.id < i.id and d.action = 'delete'
                         and d.state in ('wanted', 'attempted')
                 )
         ), fresh as (
             select r.id, done.rev, done.cid, done.action,
                 case when done.rev is null then r.cid is not distinct from done.known
                     else r.rev is null or r.rev <= done.rev end as is_newest
             from done join publish.record r on r.id = done.record_id
         )
         update publish.record r
         set base = done.draft, updated_at = now(),
             cid = case when fresh.is_newest then done.cid else r.cid end,
             rev = case when fresh.is_newest then coalesce(done.rev, r.rev) else r.rev end,
             deleted = case when fresh.is_newest then done.action = 'delete' else r.deleted end
         from done join fresh on fresh.id = done.record_id
         where r.id = done.record_id
         returning extract(epoch from now() - done.created_at)::float8",
    )
    .bind(&ids)
    .bind(&cids)
    .bind(&revs)
    .bind(&drafts)
    .bind(&known)
    .fetch_all(connection)
    .await
}

/// It was not done: tried again after `pause`, or, without one, ended in `ended`.
pub(super) async fn failed(
    pool: &PgPool,
    job: &Job,
    failure: &Failure,
    next: Result<Duration, &'static str>,
) -> Result<(), sqlx::Error> {
    let state = match next {
        Ok(_) if job.maybe_written => "attempted",
        Ok(_) => "wanted",
        Err(ended) => ended,
    };
    let mut transaction = pool.begin().await?;
    sqlx::query(
        "update publish.intent
         set state = $2, maybe_written = $3, attempts = attempts + $4, next_at = now() + make_interval(secs => $5),
             leased_until = null, trouble = $6, trouble_detail = $7, conflict = $8
         where id = $1 and state in ('wanted', 'attempted')",
    )
    .bind(job.id)
    .bind(state)
    .bind(job.maybe_written)
    .bind(i32::from(failure.is_an_attempt()))
    .bind(next.unwrap_or_default().as_secs_f64())
    .bind(failure.trouble.as_str())
    .bind(&failure.detail)
    .bind(&failure.conflict)
    .execute(&mut *transaction)
    .await?;
    if next.is_err() && job.acting.is_some() {
        let outcome = match (failure.trouble, failure.trouble.verdict()) {
            (Trouble::NoGrant, _) => AuditOutcome::Refused,
            (_, Verdict::Conflict) => AuditOutcome::Conflict,
            _ => AuditOutcome::Failed,
        };
        audit::settled(&mut transaction, job.id, outcome, &[], None).await?;
    }
    transaction.commit().await
}

/// The same trouble for everything of the account that is due: each would find the same.
pub(super) async fn failed_beside(
    pool: &PgPool,
    job: &Job,
    failure: &Failure,
    pause: Duration,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update publish.intent i
         set next_at = now() + make_interval(secs => $3), trouble = $4, trouble_detail = $5
         from publish.record r
         where r.id = i.record_id and r.did = $2 and i.id <> $1 and i.state in ('wanted', 'attempted')
             and i.next_at <= now() and (i.leased_until is null or i.leased_until <= now())",
    )
    .bind(job.id)
    .bind(job.uri.did.as_str())
    .bind(pause.as_secs_f64())
    .bind(failure.trouble.as_str())
    .bind(&failure.detail)
    .execute(pool)
    .await?;
    Ok(())
}
