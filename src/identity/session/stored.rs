//! Tokens as they are kept: sealed, with the number of the renewal that they are from.

use sqlx::{PgConnection, PgPool};

use super::token::Tokens;
use super::{Account, ActError};
use crate::identity::credential::{self, CredentialError, CredentialName};
use crate::identity::vault::Vault;

impl From<CredentialError> for ActError {
    fn from(error: CredentialError) -> Self {
        ActError::Ours(error.to_string())
    }
}

/// The tokens of an account; `None` when none are kept, or not both.
pub(super) async fn load(pool: &PgPool, vault: &Vault, account: &Account) -> Result<Option<Tokens>, ActError> {
    // One look at all rows: tokens of one renewal with the number of another would be taken for newer than they are.
    let mut tx = pool.begin_with("begin isolation level repeatable read read only").await?;
    let tokens = read(&mut tx, vault, account).await?;
    tx.commit().await?;
    Ok(tokens)
}

/// The same in a transaction in which nobody else writes them.
pub(super) async fn read(
    connection: &mut PgConnection,
    vault: &Vault,
    account: &Account,
) -> Result<Option<Tokens>, ActError> {
    let Account { user_id, did, .. } = account;
    let generation = generation(&mut *connection, did).await?;
    let access = credential::load(&mut *connection, vault, user_id, did, CredentialName::AccessToken).await?;
    let refresh = credential::load(&mut *connection, vault, user_id, did, CredentialName::RefreshToken).await?;
    Ok(access.zip(refresh).map(|(access, refresh)| Tokens::stored(access, refresh, generation)))
}

/// The number of the last renewal; 0: there was none.
pub(super) async fn generation(executor: impl sqlx::PgExecutor<'_>, did: &str) -> Result<i64, sqlx::Error> {
    let number = "select generation from identity.session where did = $1";
    Ok(sqlx::query_scalar(number).bind(did).fetch_optional(executor).await?.unwrap_or(0))
}

/// Keeps tokens, under the number that they carry.
pub(in crate::identity) async fn store(
    connection: &mut PgConnection,
    vault: &Vault,
    (user_id, did): (&str, &str),
    tokens: &Tokens,
) -> Result<(), CredentialError> {
    for (name, secret) in
        [(CredentialName::AccessToken, &tokens.access), (CredentialName::RefreshToken, &tokens.refresh)]
    {
        credential::store(&mut *connection, vault, user_id, did, name, secret).await?;
    }
    sqlx::query(
        "insert into identity.session (did, access_until, refresh_until, generation) values ($1, $2, $3, $4)
         on conflict (did) do update set access_until = excluded.access_until, refresh_until = excluded.refresh_until,
             generation = excluded.generation",
    )
    .bind(did)
    .bind(tokens.access_until)
    .bind(tokens.refresh_until)
    .bind(tokens.generation)
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes this transaction the only one anywhere that renews the tokens of the account. Whether it is; it ends with the
/// transaction, and with the process.
pub(super) async fn take_turn(connection: &mut PgConnection, did: &str) -> Result<bool, sqlx::Error> {
    let turn = "select pg_try_advisory_xact_lock(hashtextextended('almanac session ' || $1, 0))";
    sqlx::query_scalar(turn).bind(did).fetch_one(connection).await
}
