//! What we know of one repository before its host is asked.

use sqlx::{PgConnection, Row};

use crate::event::{Cid, Did, Rev};

/// A row of `ingest.repo`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Whether the account is in scope.
    pub in_scope: bool,
    /// The revision that we hold.
    pub rev: Option<Rev>,
    /// The root of its tree.
    pub data: Option<Cid>,
    /// Whether everything up to that revision is here.
    pub synced: bool,
    /// The endpoint of its host, as last read.
    pub pds: Option<String>,
    /// The handle that leads back to it, in lower case.
    pub handle: Option<String>,
    /// Its signing key as last read, as `did:key:…`.
    pub signing_key: Option<String>,
    /// The directory did not know it when it was asked last.
    pub missing: bool,
    /// Whether its records may enter, by the last verdict.
    pub kept: bool,
}

impl Known {
    pub async fn load(connection: &mut PgConnection, did: &Did) -> Result<Self, sqlx::Error> {
        let row = sqlx::query(
            "select rev, data, state, pds, lower(handle) as handle, signing_key, identity_missing,
                 coalesce(standing_kept, false) as kept
             from ingest.repo where did = $1",
        )
        .bind(did.as_str())
        .fetch_optional(connection)
        .await?;
        let Some(row) = row else { return Ok(Known::default()) };
        let rev: Option<String> = row.try_get("rev")?;
        let rev = rev.map(|rev| Rev::parse(&rev)).transpose().map_err(|e| sqlx::Error::Decode(Box::new(e)))?;
        let data: Option<String> = row.try_get("data")?;
        let data = data.map(|data| data.parse()).transpose().map_err(|e| sqlx::Error::Decode(Box::new(e)))?;
        Ok(Known {
            in_scope: true,
            rev,
            data,
            synced: row.try_get::<String, _>("state")? == "synced",
            pds: row.try_get("pds")?,
            handle: row.try_get("handle")?,
            signing_key: row.try_get("signing_key")?,
            missing: row.try_get("identity_missing")?,
            kept: row.try_get("kept")?,
        })
    }
}

impl Known {
    /// Revision and tree that we hold as a whole: signed with the key that counted when it came.
    pub fn proven(&self) -> Option<(Rev, Cid)> {
        self.rev.zip(self.data).filter(|_| self.synced)
    }
}

/// Whether an account is in scope.
pub(super) async fn in_scope(connection: &mut PgConnection, did: &Did) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from ingest.repo where did = $1)")
        .bind(did.as_str())
        .fetch_one(connection)
        .await
}
