//! Which environment a database belongs to: written once, checked at every opening.

use sqlx::PgPool;

use crate::event::Environment;

/// Why a database is not to be used.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// It belongs to another environment.
    #[error(
        "this database belongs to environment `{found}`, but this process runs as `{wanted}`. Use the database of \
         `{wanted}`, or start with `--environment {found}` if that is what you mean"
    )]
    Foreign {
        /// What the database says.
        found: String,
        /// What the process was started as.
        wanted: Environment,
    },
    /// It has not been stamped.
    #[error("this database belongs to no environment yet: `almanac migrate` or `almanac serve` stamp it")]
    Unstamped,
    /// The database did not answer.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Stamps a new database with `environment`, or checks the stamp of an old one.
pub async fn stamp(pool: &PgPool, environment: &Environment) -> Result<(), EnvironmentError> {
    sqlx::query("insert into log.environment (name) values ($1) on conflict do nothing")
        .bind(environment.as_str())
        .execute(pool)
        .await?;
    match stamped(pool).await? {
        found if found == environment.as_str() => Ok(()),
        found => Err(EnvironmentError::Foreign { found, wanted: environment.clone() }),
    }
}

/// The name on the stamp.
pub async fn stamped(pool: &PgPool) -> Result<String, EnvironmentError> {
    let name: Option<String> = sqlx::query_scalar("select name from log.environment").fetch_optional(pool).await?;
    name.ok_or(EnvironmentError::Unstamped)
}
