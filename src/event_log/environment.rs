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
        found: Environment,
        /// What the process was started as.
        wanted: Environment,
    },
    /// It has not been stamped.
    #[error(
        "this database has no tables of Almanac's yet: `almanac serve`, `almanac replay` or `almanac migrate` make them"
    )]
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
    check(pool, environment).await
}

/// Whether the stamp says `environment`.
pub async fn check(pool: &PgPool, environment: &Environment) -> Result<(), EnvironmentError> {
    let found = stamped(pool).await?;
    if found == *environment { Ok(()) } else { Err(EnvironmentError::Foreign { found, wanted: environment.clone() }) }
}

/// The name on the stamp.
///
/// # Errors
/// [`EnvironmentError::Unstamped`] also for a database without our tables.
pub async fn stamped(pool: &PgPool) -> Result<Environment, EnvironmentError> {
    const UNDEFINED_TABLE: &str = "42P01";
    let name: Option<String> = match sqlx::query_scalar("select name from log.environment").fetch_optional(pool).await {
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(UNDEFINED_TABLE) => None,
        other => other?,
    };
    let name = name.ok_or(EnvironmentError::Unstamped)?;
    Environment::parse(&name).map_err(|error| sqlx::Error::Decode(Box::new(error)).into())
}
