//! Accounts that are being made: what is kept before the PDS is asked.
//!
//! The password stands in the database, sealed for user and handle, before the first request. When its answer is lost, the
//! account is found again by handle and password, and not made a second time.

use secrecy::SecretString;
use sqlx::{PgConnection, PgPool};

use super::create::CreateError;
use super::vault::{Place, Vault};

/// What its envelope is bound to beside user and handle.
const COLUMN: &str = "pending_password";

/// An account that is being made.
pub(super) struct Pending {
    pub handle: String,
    pub email: String,
    pub password: SecretString,
    /// Whether the PDS may have got the request.
    pub asked: bool,
}

fn place<'a>(user_id: &'a str, handle: &'a str) -> Place<'a> {
    Place { user_id, did: handle, column: COLUMN }
}

/// What is kept of a user's account that is being made.
pub(super) async fn load(pool: &PgPool, vault: &Vault, user_id: &str) -> Result<Option<Pending>, CreateError> {
    let kept = "select handle, email, envelope, asked from identity.pending_account where user_id = $1";
    let kept: Option<(String, String, String, bool)> = sqlx::query_as(kept).bind(user_id).fetch_optional(pool).await?;
    let Some((handle, email, envelope, asked)) = kept else { return Ok(None) };
    let opened = vault.open(&place(user_id, &handle), &envelope);
    let password = opened.map_err(|why| CreateError::Vault { user_id: user_id.to_owned(), why })?.secret;
    Ok(Some(Pending { handle, email, password, asked }))
}

/// Keeps it, over what was kept of this user's.
pub(super) async fn store(pool: &PgPool, vault: &Vault, user_id: &str, pending: &Pending) -> Result<(), CreateError> {
    let sealed = vault.seal(&place(user_id, &pending.handle), &pending.password);
    let sealed = sealed.map_err(|why| CreateError::Vault { user_id: user_id.to_owned(), why })?;
    sqlx::query(
        "insert into identity.pending_account (user_id, handle, email, envelope, key_id, asked)
         values ($1, $2, $3, $4, $5, $6)
         on conflict (user_id) do update set handle = excluded.handle, email = excluded.email,
             envelope = excluded.envelope, key_id = excluded.key_id, asked = excluded.asked, created_at = now()",
    )
    .bind(user_id)
    .bind(&pending.handle)
    .bind(&pending.email)
    .bind(sealed.envelope)
    .bind(sealed.key_id)
    .bind(pending.asked)
    .execute(pool)
    .await?;
    Ok(())
}

/// Forgets it: the account is linked, or was never made.
pub(super) async fn forget(connection: &mut PgConnection, user_id: &str) -> Result<(), sqlx::Error> {
    let gone = "delete from identity.pending_account where user_id = $1";
    sqlx::query(gone).bind(user_id).execute(connection).await?;
    Ok(())
}

/// Seals anew what is not sealed with the key that seals now, so that a key may be taken away after a rotation. How many were.
///
/// # Errors
/// One does not open, or the database did not do it.
pub async fn reseal_pending(pool: &PgPool, vault: &Vault) -> Result<u64, CreateError> {
    let older = "select user_id from identity.pending_account where key_id <> $1 order by user_id limit 1000";
    let users: Vec<String> = sqlx::query_scalar(older).bind(vault.ring().sealing()).fetch_all(pool).await?;
    let mut sealed = 0;
    for user_id in users {
        let mut tx = pool.begin().await?;
        // While the account is being made the row changes; it is looked at again later.
        if !take_turn(&mut tx, &user_id).await? {
            continue;
        }
        if let Some(pending) = load(pool, vault, &user_id).await? {
            store(pool, vault, &user_id, &pending).await?;
            sealed += 1;
        }
        tx.commit().await?;
    }
    Ok(sealed)
}

/// Makes this transaction the only one anywhere that makes an account for the user. Whether it is.
pub(super) async fn take_turn(connection: &mut PgConnection, user_id: &str) -> Result<bool, sqlx::Error> {
    let turn = "select pg_try_advisory_xact_lock(hashtextextended('almanac account ' || $1, 0))";
    sqlx::query_scalar(turn).bind(user_id).fetch_one(connection).await
}
