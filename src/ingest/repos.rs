//! How far each repository is, for whoever compares.

use std::collections::HashMap;

use sqlx::{PgPool, Row};

use crate::event::{Did, Rev};

/// What is known of one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepoView {
    /// The revision that we hold.
    pub rev: Option<Rev>,
    /// partial | synced | desynchronized | rolled_back
    pub state: Box<str>,
    /// Whether its host withheld it, by the last word that came.
    pub hidden: bool,
}

/// All accounts in scope.
pub async fn load_repos(pool: &PgPool) -> Result<HashMap<Did, RepoView>, sqlx::Error> {
    let rows = sqlx::query("select did, rev, state, hosting_active is false as hidden from ingest.repo")
        .fetch_all(pool)
        .await?;
    let damaged = |e: crate::event::IdentError| sqlx::Error::Decode(Box::new(e));
    rows.iter()
        .map(|row| {
            let did = Did::parse(&row.try_get::<String, _>("did")?).map_err(damaged)?;
            let rev: Option<String> = row.try_get("rev")?;
            let rev = rev.map(|rev| Rev::parse(&rev)).transpose().map_err(damaged)?;
            Ok((
                did,
                RepoView { rev, state: row.try_get::<String, _>("state")?.into(), hidden: row.try_get("hidden")? },
            ))
        })
        .collect()
}
