//! Our users' accounts, linked and unlinked, each with its word for the log in the same transaction.

use anyhow::Context;
use sqlx::{PgConnection, PgPool};

use crate::event::{Did, Handle, ListChange};
use crate::identity::{self, LinkError};
use crate::ingest::lists;

/// A link that somebody wants.
#[derive(Clone, Debug)]
pub struct LinkWish {
    /// The app's name for the user.
    pub user_id: String,
    /// The network account.
    pub did: Did,
    /// The endpoint of its PDS.
    pub pds: String,
    /// Its handle.
    pub handle: Option<Handle>,
    /// Whether we hold its credentials.
    pub custodial: bool,
}

/// Links a user with an account, or says anew where it lives. The number of the change.
///
/// # Errors
/// Either is linked with somebody else; the database did not do it.
pub async fn link(pool: &PgPool, wish: &LinkWish, who: &str, why: Option<&str>) -> anyhow::Result<i64> {
    let mut tx = pool.begin().await.context("the link cannot be written")?;
    let number = match link_within(&mut tx, wish, who, why).await {
        Ok(number) => number,
        Err(error @ LinkError::Taken(_)) => return Err(error.into()),
        Err(error) => return Err(anyhow::Error::from(error).context("the link cannot be written")),
    };
    tx.commit().await.context("the link cannot be written")?;
    Ok(number)
}

/// The same, in a transaction of the caller's.
///
/// # Errors
/// As [`link`].
pub async fn link_within(
    connection: &mut PgConnection,
    wish: &LinkWish,
    who: &str,
    why: Option<&str>,
) -> Result<i64, LinkError> {
    let LinkWish { user_id, did, pds, handle, custodial } = wish;
    identity::link(connection, user_id, did, handle.as_ref(), pds, *custodial).await?;
    let told = format!("user {user_id}, on {pds}");
    let why = why.map_or(told.clone(), |why| format!("{why} ({told})"));
    Ok(lists::note(connection, did, ListChange::Link, who, &why).await?)
}

/// A link that was taken away.
#[derive(Clone, Debug)]
pub struct Unlinked {
    /// Whose it was.
    pub user_id: String,
    /// The number of the change.
    pub number: i64,
}

/// Takes the link of an account away; `None` when there was none.
///
/// # Errors
/// The database did not do it.
pub async fn unlink(pool: &PgPool, did: &Did, who: &str, why: Option<&str>) -> anyhow::Result<Option<Unlinked>> {
    let before = identity::of_did(pool, did).await.context("our users' accounts cannot be read")?;
    let mut tx = pool.begin().await.context("the link cannot be taken away")?;
    let gone = identity::unlink(&mut tx, did).await.context("the link cannot be taken away")?;
    let Some(before) = before.filter(|_| gone) else { return Ok(None) };
    let told = format!("it was user {}'s", before.user_id);
    let why = why.map_or(told.clone(), |why| format!("{why} ({told})"));
    let number = lists::note(&mut tx, did, ListChange::Unlink, who, &why).await.context("that cannot be noted")?;
    tx.commit().await.context("the link cannot be taken away")?;
    Ok(Some(Unlinked { user_id: before.user_id, number }))
}
