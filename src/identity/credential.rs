//! What our users' accounts entrust to us: one row a secret, sealed for that row.
//!
//! A secret is stored by whoever holds the link's transaction, so that a link and what belongs to it come and go together.
//! An envelope of the older form is read like any other and sealed anew when its secret is stored again or keys are rotated.

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::Serialize;
use sqlx::{PgConnection, PgExecutor};

use super::vault::{Place, Vault, VaultError};

/// Which secret of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialName {
    /// Opens the account at its PDS.
    Password,
    /// Lets us act for some hours at most.
    AccessToken,
    /// Is exchanged, once, for the next pair of tokens.
    RefreshToken,
}

impl CredentialName {
    /// Every name.
    pub const ALL: [Self; 3] = [CredentialName::Password, CredentialName::AccessToken, CredentialName::RefreshToken];

    /// The word in the table. Envelopes are bound to it.
    pub fn as_str(self) -> &'static str {
        match self {
            CredentialName::Password => "password",
            CredentialName::AccessToken => "access_token",
            CredentialName::RefreshToken => "refresh_token",
        }
    }
}

/// Why a secret was not stored or read. Says which row, and what to do; holds nothing of the secret.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The vault did not do it.
    #[error("the {name} of {did} (user {user_id}) cannot be used: {why}")]
    Vault {
        /// Whose.
        user_id: String,
        /// Of which account.
        did: String,
        /// Which secret.
        name: String,
        /// Why.
        why: VaultError,
    },
    /// There is no such link, or not one of an account that we keep, so no secret may be.
    #[error(
        "{did} is not kept by us for user {user_id}, so no secret of it is; `almanac identity link --custodial` says that it is"
    )]
    NotOurs {
        /// The user.
        user_id: String,
        /// The account.
        did: String,
    },
    /// The row says that it is another user's.
    #[error("the {name} of {did} is user {owner}'s, not user {user_id}'s; it was not used")]
    Strange {
        /// Who asked.
        user_id: String,
        /// Of which account.
        did: String,
        /// Which secret.
        name: &'static str,
        /// Whose it is by its row.
        owner: String,
    },
    /// The database did not do it.
    #[error("what is kept of our users' accounts cannot be reached: {0}")]
    Database(#[from] sqlx::Error),
}

impl CredentialError {
    /// What the vault said about a row.
    pub(super) fn vault(place: &Place<'_>, why: VaultError) -> Self {
        let Place { user_id, did, column } = *place;
        CredentialError::Vault { user_id: user_id.to_owned(), did: did.to_owned(), name: column.to_owned(), why }
    }
}

/// Seals a secret into its row, over what was there.
///
/// # Errors
/// [`CredentialError::NotOurs`] when no link says that we keep the account for the user; the vault or the database did not do it.
pub async fn store(
    connection: &mut PgConnection,
    vault: &Vault,
    user_id: &str,
    did: &str,
    name: CredentialName,
    secret: &SecretString,
) -> Result<(), CredentialError> {
    let place = Place { user_id, did, column: name.as_str() };
    let sealed = vault.seal(&place, secret).map_err(|why| CredentialError::vault(&place, why))?;
    // The link is held until the transaction ends: it is neither released nor another user's between this and the commit.
    let done = sqlx::query(
        "insert into identity.credential (user_id, did, name, envelope, key_id)
         select a.user_id, a.did, $3, $4, $5 from identity.account a where a.user_id = $1 and a.did = $2 and a.custodial
         for share
         on conflict (did, name) do update
             set user_id = excluded.user_id, envelope = excluded.envelope, key_id = excluded.key_id, updated_at = now()",
    )
    .bind(user_id)
    .bind(did)
    .bind(name.as_str())
    .bind(sealed.envelope)
    .bind(sealed.key_id)
    .execute(connection)
    .await?;
    if done.rows_affected() == 0 {
        return Err(CredentialError::NotOurs { user_id: user_id.to_owned(), did: did.to_owned() });
    }
    Ok(())
}

/// Reads a secret; `None` when none is held.
///
/// # Errors
/// The row is another user's; it does not open; the database did not do it.
pub async fn load(
    executor: impl PgExecutor<'_>,
    vault: &Vault,
    user_id: &str,
    did: &str,
    name: CredentialName,
) -> Result<Option<SecretString>, CredentialError> {
    let row: Option<(String, String)> =
        sqlx::query_as("select user_id, envelope from identity.credential where did = $1 and name = $2")
            .bind(did)
            .bind(name.as_str())
            .fetch_optional(executor)
            .await?;
    let Some((owner, envelope)) = row else { return Ok(None) };
    if owner != user_id {
        let (user_id, did) = (user_id.to_owned(), did.to_owned());
        return Err(CredentialError::Strange { user_id, did, name: name.as_str(), owner });
    }
    let place = Place { user_id, did, column: name.as_str() };
    let opened = vault.open(&place, &envelope).map_err(|why| CredentialError::vault(&place, why))?;
    Ok(Some(opened.secret))
}

/// Forgets one secret. Whether it was held.
///
/// # Errors
/// The database did not do it.
pub async fn forget(connection: &mut PgConnection, did: &str, name: CredentialName) -> Result<bool, CredentialError> {
    let done = sqlx::query("delete from identity.credential where did = $1 and name = $2")
        .bind(did)
        .bind(name.as_str())
        .execute(connection)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Forgets every secret of an account, and how acting for it went. How many secrets were held.
///
/// # Errors
/// The database did not do it.
pub async fn forget_all(connection: &mut PgConnection, did: &str) -> Result<u64, CredentialError> {
    let done =
        sqlx::query("delete from identity.credential where did = $1").bind(did).execute(&mut *connection).await?;
    sqlx::query("delete from identity.session where did = $1").bind(did).execute(connection).await?;
    Ok(done.rows_affected())
}

/// That a secret is held, and under which key: everything about it but itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Held {
    /// Which secret.
    pub name: String,
    /// The id of the key that its envelope names; `None`: it is of the older form, which names none.
    pub key_id: Option<String>,
    /// When it was stored, or sealed anew.
    pub updated_at: DateTime<Utc>,
}

/// What is held of an account.
///
/// # Errors
/// The database did not do it.
pub async fn held(executor: impl PgExecutor<'_>, did: &str) -> Result<Vec<Held>, sqlx::Error> {
    sqlx::query_as("select name, key_id, updated_at from identity.credential where did = $1 order by name")
        .bind(did)
        .fetch_all(executor)
        .await
}

/// How many secrets name a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct KeyUse {
    /// The id of the key; `None`: envelopes of the older form, which name none.
    pub key_id: Option<String>,
    /// How many.
    pub secrets: i64,
}

/// Which keys are named by secrets, and how often; those of accounts that are being made included.
///
/// # Errors
/// The database did not do it.
pub async fn key_use(executor: impl PgExecutor<'_>) -> Result<Vec<KeyUse>, sqlx::Error> {
    let all = "select key_id, count(*) as secrets
               from (select key_id from identity.credential union all select key_id from identity.pending_account) as kept
               group by key_id order by key_id nulls first";
    sqlx::query_as(all).fetch_all(executor).await
}

/// Keys that are named by secrets and that the ring lacks; without a vault, all that are named, and the older form too. While
/// there are some, acting for their accounts fails.
///
/// # Errors
/// The database did not do it.
pub async fn missing_keys(executor: impl PgExecutor<'_>, vault: Option<&Vault>) -> Result<Vec<KeyUse>, sqlx::Error> {
    let mut uses = key_use(executor).await?;
    if let Some(vault) = vault {
        uses.retain(|named| named.key_id.as_deref().is_some_and(|id| !vault.ring().ids().any(|known| known == id)));
    }
    Ok(uses)
}
