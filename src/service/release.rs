//! A user takes the account over: what we hold of it is forgotten, the link stays.

use anyhow::Context;
use sqlx::PgPool;

use crate::event::{Did, ListChange};
use crate::identity::{self, Account, credential};
use crate::ingest::lists;

/// Custody that was given back.
#[derive(Clone, Debug)]
pub struct Released {
    /// How many secrets were forgotten.
    pub secrets: u64,
    /// The number of the change.
    pub number: i64,
}

/// Forgets every secret of an account and says in its link that we do not keep it any more; `None` when we did not.
///
/// # Errors
/// The database did not do it: nothing is forgotten then.
pub async fn release(
    pool: &PgPool,
    account: &Account,
    who: &str,
    why: Option<&str>,
) -> anyhow::Result<Option<Released>> {
    const CANNOT: &str = "the account cannot be released";
    let did = Did::parse(&account.did).context(CANNOT)?;
    let mut tx = pool.begin().await.context(CANNOT)?;
    // The link first: whoever stores a secret holds it, and finds after this that there is nothing to be kept.
    if !identity::release(&mut tx, &did).await.context(CANNOT)? {
        return Ok(None);
    }
    let secrets = credential::forget_all(&mut tx, &account.did).await.context(CANNOT)?;
    let told = format!("user {}, on {}: released, {secrets} secrets forgotten", account.user_id, account.pds);
    let why = why.map_or(told.clone(), |why| format!("{why} ({told})"));
    let number = lists::note(&mut tx, &did, ListChange::Link, who, &why).await.context(CANNOT)?;
    tx.commit().await.context(CANNOT)?;
    Ok(Some(Released { secrets, number }))
}
