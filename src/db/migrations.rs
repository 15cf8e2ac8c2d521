//! Bringing a database to the shape this program knows. Never goes backwards.

use sqlx::{
    PgConnection,
    migrate::{MigrateError, Migrator},
};

use super::DbError;

static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// Applies what is missing. Two processes may do so at once: an advisory lock makes one wait for the other. The lock
/// belongs to the session and is not released on an error, which is why the connection is consumed.
pub(super) async fn run(mut connection: PgConnection) -> Result<(), DbError> {
    let known = MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0);
    let result = MIGRATOR.run_direct(None, &mut connection, false).await;
    drop(connection);
    result.map_err(|error| match error {
        MigrateError::VersionMissing(applied) => DbError::Newer { applied, known },
        MigrateError::VersionMismatch(version) => DbError::Foreign { version },
        MigrateError::Execute(error) => DbError::Sql(error),
        error => DbError::Migration(error),
    })
}
