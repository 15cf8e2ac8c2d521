//! Who may write in whose name.
//!
//! In: grants (an account lets a user of ours write one of its events, or all of them, until some moment) and wishes of
//! somebody who is not the record's owner. Out: the grant that allows it, or a refusal. Always true: it is asked when the wish
//! comes and again at each attempt, against the table itself, so that a revocation counts at once; every refusal leaves a row
//! in the audit. Never: an RSVP in another's name.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{PgConnection, PgPool, QueryBuilder};

use super::audit::{self, AuditEntry};
use super::intent::{Action, Kind};
use crate::event::{AtUri, Did};

/// The longest name of a user, in characters.
const USER_MAX: usize = 256;

/// A grant as people and apps see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow, utoipa::ToSchema)]
pub struct Grant {
    /// Its number.
    pub id: i64,
    /// Whose records.
    pub grantor_did: String,
    /// Who may write them.
    pub grantee_user: String,
    /// The one event; null: all events of the grantor, also new ones.
    pub event_uri: Option<String>,
    /// When it ends; null: when it is revoked.
    pub expires_at: Option<DateTime<Utc>>,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: DateTime<Utc>,
    /// Who took it back.
    pub revoked_by: Option<String>,
    /// When.
    pub revoked_at: Option<DateTime<Utc>>,
    /// Whether it counts now.
    pub in_force: bool,
}

/// A grant to be made.
#[derive(Clone, Debug)]
pub struct NewGrant<'a> {
    /// Whose records.
    pub grantor: &'a Did,
    /// Who may write them.
    pub grantee_user: &'a str,
    /// The one event; `None`: all events.
    pub event: Option<&'a AtUri>,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
    /// Who makes it.
    pub by: &'a str,
}

/// Why a grant was not made or not taken back.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// It makes no sense: why.
    #[error("{0}")]
    Invalid(String),
    /// The database did not do it.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Why somebody may not write in another's name.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// RSVPs say what their owner does, and nobody else can.
    #[error("an RSVP is its owner's own word: no grant lets another user write it")]
    Rsvp,
    /// No grant covers it, or the one that did has ended.
    #[error("{acting_user} may not write {what} in the name of {owner}: {why}")]
    NoGrant {
        /// Who wanted to write.
        acting_user: String,
        /// In whose name.
        owner: Did,
        /// Which record.
        what: String,
        /// What is missing.
        why: &'static str,
    },
    /// The database did not say.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

const COLUMNS: &str = "id, grantor_did, grantee_user, event_uri, expires_at, created_by, created_at, revoked_by, revoked_at, \
     (revoked_at is null and (expires_at is null or expires_at > now())) as in_force";

/// Makes a grant. One that says the same and is in force is answered instead of a second.
///
/// # Errors
/// [`GrantError::Invalid`]: an event of another account, something that is no event, an end that has passed.
pub async fn create(pool: &PgPool, new: NewGrant<'_>) -> Result<Grant, GrantError> {
    let grantee = new.grantee_user;
    let odd = grantee.is_empty() || grantee.chars().count() > USER_MAX || grantee.chars().any(char::is_control);
    if odd {
        return Err(GrantError::Invalid(format!("the grantee must be 1 to {USER_MAX} visible characters")));
    }
    if let Some(event) = new.event {
        if event.did != *new.grantor {
            return Err(GrantError::Invalid(format!("{event} is not a record of {}", new.grantor)));
        }
        if event.collection.as_str() != Kind::Event.collection() {
            return Err(GrantError::Invalid(format!(
                "{event} is no event: grants are for {}",
                Kind::Event.collection()
            )));
        }
    }
    let event = new.event.map(AtUri::to_string);
    let mut transaction = pool.begin().await?;
    let over: bool = sqlx::query_scalar("select coalesce($1 <= now(), false)")
        .bind(new.expires_at)
        .fetch_one(&mut *transaction)
        .await?;
    if over {
        return Err(GrantError::Invalid("the grant would have ended before it began".to_owned()));
    }
    // Two that make the same grant at once make one.
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('publish.grant ' || $1, 0))")
        .bind(new.grantor.as_str())
        .execute(&mut *transaction)
        .await?;
    let same: Option<Grant> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "select {COLUMNS} from publish.grant where grantor_did = $1 and grantee_user = $2
             and event_uri is not distinct from $3 and expires_at is not distinct from $4
             and revoked_at is null and (expires_at is null or expires_at > now()) order by id limit 1"
    )))
    .bind(new.grantor.as_str())
    .bind(grantee)
    .bind(&event)
    .bind(new.expires_at)
    .fetch_optional(&mut *transaction)
    .await?;
    let grant = match same {
        Some(grant) => grant,
        None => {
            sqlx::query_as(sqlx::AssertSqlSafe(format!(
                "insert into publish.grant (grantor_did, grantee_user, event_uri, expires_at, created_by)
                 values ($1, $2, $3, $4, $5) returning {COLUMNS}"
            )))
            .bind(new.grantor.as_str())
            .bind(grantee)
            .bind(&event)
            .bind(new.expires_at)
            .bind(new.by)
            .fetch_one(&mut *transaction)
            .await?
        }
    };
    transaction.commit().await?;
    Ok(grant)
}

/// Takes a grant back; `of`: only if it is this account's. The grant, or none when there is no such. One that was taken back
/// before stays as it was.
///
/// # Errors
/// What the database says.
pub async fn revoke(pool: &PgPool, id: i64, of: Option<&Did>, by: &str) -> Result<Option<Grant>, sqlx::Error> {
    sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "update publish.grant set revoked_at = coalesce(revoked_at, now()), revoked_by = coalesce(revoked_by, $3)
         where id = $1 and grantor_did = coalesce($2, grantor_did) returning {COLUMNS}"
    )))
    .bind(id)
    .bind(of.map(Did::as_str))
    .bind(by)
    .fetch_optional(pool)
    .await
}

/// Grants of an account, to a user, or all; the latest first. `before`: only those with a smaller number.
///
/// # Errors
/// What the database says.
pub async fn list(
    pool: &PgPool,
    grantor: Option<&Did>,
    grantee_user: Option<&str>,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Grant>, sqlx::Error> {
    let mut sql = QueryBuilder::new(format!("select {COLUMNS} from publish.grant where true"));
    if let Some(did) = grantor {
        sql.push(" and grantor_did = ").push_bind(did.as_str());
    }
    if let Some(user) = grantee_user {
        sql.push(" and grantee_user = ").push_bind(user);
    }
    if let Some(before) = before {
        sql.push(" and id < ").push_bind(before);
    }
    sql.push(" order by id desc limit ").push_bind(limit);
    sql.build_query_as().fetch_all(pool).await
}

/// Whether a user may write a record in the name of its owner: the number of the grant that says so. `uri`: the record;
/// `None`: a new one, for which only a grant for all events will do. A refusal is put into the audit.
///
/// # Errors
/// [`Refused`].
pub async fn check(
    pool: &PgPool,
    owner: &Did,
    acting_user: &str,
    kind: Kind,
    action: Action,
    uri: Option<&AtUri>,
) -> Result<i64, Refused> {
    let what = uri.map_or_else(|| format!("at://{owner}/{}", kind.collection()), AtUri::to_string);
    let refusal = match kind {
        Kind::Rsvp => Refused::Rsvp,
        Kind::Event => {
            // The widest and longest first: the least likely to end while the wish waits.
            let grant: Option<i64> = sqlx::query_scalar(
                "select id from publish.grant where grantor_did = $1 and grantee_user = $2
                     and (event_uri is null or event_uri = $3)
                     and revoked_at is null and (expires_at is null or expires_at > now())
                 order by event_uri is not null, expires_at desc nulls first, id limit 1",
            )
            .bind(owner.as_str())
            .bind(acting_user)
            .bind(uri.map(AtUri::to_string))
            .fetch_optional(pool)
            .await?;
            match grant {
                Some(grant) => return Ok(grant),
                None => no_grant(owner, acting_user, &what, "no grant for it is in force"),
            }
        }
    };
    let mut connection = pool.acquire().await?;
    audit::refused(&mut connection, AuditEntry { acting_user, owner_did: owner, uri: &what, action }).await?;
    Err(refusal)
}

/// The same of a wish: it must be allowed on the record that has the client key, and on the one that shall have it (`adopt`).
///
/// # Errors
/// [`Refused`].
pub async fn authorize(
    pool: &PgPool,
    owner: &Did,
    acting_user: &str,
    kind: Kind,
    action: Action,
    known: Option<&AtUri>,
    adopt: Option<&AtUri>,
) -> Result<i64, Refused> {
    let grant = check(pool, owner, acting_user, kind, action, known.or(adopt)).await?;
    if known.is_some() && adopt.is_some() && known != adopt {
        check(pool, owner, acting_user, kind, action, adopt).await?;
    }
    Ok(grant)
}

/// Whether the grant under which a wish was taken still covers its record. To be asked before each attempt: what was revoked
/// while the wish waited is not written, even where another grant would do, because the audit names the one it began with.
///
/// # Errors
/// [`Refused`]. The audit's row is the caller's to complete: it ends the intent.
pub async fn still(
    connection: &mut PgConnection,
    grant_id: i64,
    acting_user: &str,
    uri: &AtUri,
) -> Result<(), Refused> {
    if uri.collection.as_str() != Kind::Event.collection() {
        return Err(Refused::Rsvp);
    }
    let row: Option<(bool, bool, bool)> = sqlx::query_as(
        "select revoked_at is not null, coalesce(expires_at <= now(), false),
             grantor_did = $2 and grantee_user = $3 and (event_uri is null or event_uri = $4)
         from publish.grant where id = $1",
    )
    .bind(grant_id)
    .bind(uri.did.as_str())
    .bind(acting_user)
    .bind(uri.to_string())
    .fetch_optional(connection)
    .await?;
    let why = match row {
        Some((false, false, true)) => return Ok(()),
        Some((true, _, _)) => "the grant was revoked while the wish waited",
        Some((false, true, _)) => "the grant ended while the wish waited",
        Some((false, false, false)) | None => "the grant does not cover it",
    };
    Err(no_grant(&uri.did, acting_user, &uri.to_string(), why))
}

fn no_grant(owner: &Did, acting_user: &str, what: &str, why: &'static str) -> Refused {
    Refused::NoGrant { acting_user: acting_user.to_owned(), owner: owner.clone(), what: what.to_owned(), why }
}
