//! The tokens with which apps are let in.
//!
//! In: names, scopes, and what a request shows. Out: who is asking, and what he may. Always true: only the hash of a token is
//! stored, so a copy of the database opens nothing; a token is looked up at each request, so that one that was revoked or has
//! expired lets nobody in from that moment on. Never: the text of a token in a log line, an error or `Debug`.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use data_encoding::BASE64URL_NOPAD;
use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, PgPool};

/// What every token begins with, so that people and scanners of leaked secrets know one when they see it.
const PREFIX: &str = "alm_";
/// Random bytes of a token.
const RANDOM_BYTES: usize = 32;
/// Characters of a token.
const LENGTH: usize = PREFIX.len() + 43;
/// The longest name of a token, in characters.
const NAME_MAX: usize = 100;

/// What a token allows. A closed set; none implies another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// See users, records and intents.
    Read,
    /// Write and delete events and RSVPs of any user.
    Publish,
    /// See, make and take back grants; see the audit.
    Grants,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Scope; 3] = [Scope::Read, Scope::Publish, Scope::Grants];

    /// The word as stored and given.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Publish => "publish",
            Scope::Grants => "grants",
        }
    }
}

impl std::str::FromStr for Scope {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let known = Scope::ALL.into_iter().find(|scope| scope.as_str() == word);
        known.ok_or_else(|| format!("{word:?} is no scope; there are read, publish and grants"))
    }
}

/// The text of a token that was just made. It is told once.
pub struct TokenText(String);

impl TokenText {
    fn new() -> Self {
        let random: [u8; RANDOM_BYTES] = rand::random();
        TokenText(format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&random)))
    }

    /// For the one who asked for it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenText(…)")
    }
}

/// A token as the operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct TokenRow {
    /// Its number.
    pub id: i64,
    /// What it is called.
    pub name: String,
    /// Words of [`Scope`].
    pub scopes: Vec<String>,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: DateTime<Utc>,
    /// From when on it lets nobody in.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it let somebody in last, to a minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it was taken back.
    pub revoked_at: Option<DateTime<Utc>>,
    /// Whether it lets anybody in now.
    pub in_force: bool,
}

const COLUMNS: &str = "id, name, scopes, created_by, created_at, expires_at, last_used_at, revoked_at, \
     (revoked_at is null and (expires_at is null or expires_at > now())) as in_force";

/// Why a token was not made.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// A name that cannot be, or no scope.
    #[error("{0}")]
    Invalid(String),
    /// There is one of this name, perhaps revoked: names are not used twice, so that old log lines stay true.
    #[error("there is a token called {0:?} already; `almanac tokens list` shows it")]
    Taken(String),
    /// The database did not do it.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Makes a token. `lasts`: how long it lets anybody in.
///
/// # Errors
/// [`TokenError`].
pub async fn create(
    pool: &PgPool,
    name: &str,
    scopes: &[Scope],
    lasts: Option<TimeDelta>,
    by: &str,
) -> Result<(TokenRow, TokenText), TokenError> {
    let odd = name.is_empty() || name.chars().count() > NAME_MAX || name.chars().any(|c| c.is_control());
    if odd || name.trim() != name || name.bytes().all(|b| b.is_ascii_digit()) {
        return Err(TokenError::Invalid(format!(
            "a token's name has 1 to {NAME_MAX} visible characters, no space at its ends, and is no number"
        )));
    }
    if scopes.is_empty() {
        return Err(TokenError::Invalid("a token without a scope opens nothing".to_owned()));
    }
    if lasts.is_some_and(|lasts| lasts <= TimeDelta::zero()) {
        return Err(TokenError::Invalid("a token that lasts no time opens nothing".to_owned()));
    }
    let mut scopes = scopes.to_vec();
    scopes.sort_unstable();
    scopes.dedup();
    let text = TokenText::new();
    let row = sqlx::query_as(AssertSqlSafe(format!(
        "insert into api.token (name, sha256, scopes, created_by, expires_at)
         values ($1, $2, $3, $4, now() + make_interval(secs => $5)) on conflict (name) do nothing returning {COLUMNS}"
    )))
    .bind(name)
    .bind(hash(text.reveal()))
    .bind(scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>())
    .bind(by)
    .bind(lasts.map(|lasts| lasts.num_milliseconds() as f64 / 1e3))
    .fetch_optional(pool)
    .await?;
    Ok((row.ok_or_else(|| TokenError::Taken(name.to_owned()))?, text))
}

/// Every token, by name.
///
/// # Errors
/// What the database says.
pub async fn list(pool: &PgPool) -> Result<Vec<TokenRow>, sqlx::Error> {
    sqlx::query_as(AssertSqlSafe(format!("select {COLUMNS} from api.token order by name"))).fetch_all(pool).await
}

/// Takes a token back, by its name or number. None: there is no such.
///
/// # Errors
/// What the database says.
pub async fn revoke(pool: &PgPool, name_or_id: &str) -> Result<Option<TokenRow>, sqlx::Error> {
    sqlx::query_as(AssertSqlSafe(format!(
        "update api.token set revoked_at = coalesce(revoked_at, now()) where name = $1 or id::text = $1 returning {COLUMNS}"
    )))
    .bind(name_or_id)
    .fetch_optional(pool)
    .await
}

/// Who is asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The token's name.
    pub name: String,
    scopes: Vec<Scope>,
}

impl Caller {
    /// Whether the token allows it.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
}

/// Why nobody is let in.
#[derive(Debug, thiserror::Error)]
pub enum Unknown {
    /// It is no token of this service.
    #[error("this is no token of this service; `almanac tokens create` makes one")]
    Token,
    /// It was taken back.
    #[error("this token was revoked")]
    Revoked,
    /// Its time is over.
    #[error("this token has expired")]
    Expired,
    /// The database did not say.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Who shows this token. Found by its hash: how long that takes tells nothing about the tokens that there are.
///
/// # Errors
/// [`Unknown`].
pub async fn caller(pool: &PgPool, text: &str) -> Result<Caller, Unknown> {
    // What cannot be one is not looked up.
    if text.len() != LENGTH || !text.starts_with(PREFIX) {
        return Err(Unknown::Token);
    }
    type Row = (i64, String, Vec<String>, bool, bool, bool);
    let row: Option<Row> = sqlx::query_as(
        "select id, name, scopes, revoked_at is not null, coalesce(expires_at <= now(), false),
             coalesce(last_used_at < now() - interval '1 minute', true)
         from api.token where sha256 = $1",
    )
    .bind(hash(text))
    .fetch_optional(pool)
    .await?;
    let (id, name, scopes, revoked, expired, note) = row.ok_or(Unknown::Token)?;
    if revoked {
        return Err(Unknown::Revoked);
    }
    if expired {
        return Err(Unknown::Expired);
    }
    if note {
        // Asked again under the row's lock: of many requests in the same moment one writes.
        sqlx::query(
            "update api.token set last_used_at = now()
             where id = $1 and coalesce(last_used_at < now() - interval '1 minute', true)",
        )
        .bind(id)
        .execute(pool)
        .await?;
    }
    // A word that this version does not know allows nothing.
    Ok(Caller { name, scopes: scopes.iter().filter_map(|word| word.parse().ok()).collect() })
}

fn hash(text: &str) -> Vec<u8> {
    Sha256::digest(text).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_long_random_and_does_not_print() {
        let (one, two) = (TokenText::new(), TokenText::new());
        assert_ne!(one.reveal(), two.reveal());
        assert_eq!(one.reveal().len(), LENGTH);
        assert!(one.reveal().starts_with("alm_"));
        assert!(one.reveal().bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
        assert_eq!(format!("{one:?}"), "TokenText(…)");
    }

    #[test]
    fn scopes_are_a_closed_set() {
        for scope in Scope::ALL {
            assert_eq!(scope.as_str().parse(), Ok(scope));
        }
        assert!("admin".parse::<Scope>().unwrap_err().contains("read, publish and grants"));
    }
}
