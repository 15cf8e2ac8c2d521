//! How a question reaches Postgres: within limits of time, and with its failures sorted by whose they are.

use std::future::Future;
use std::time::Duration;

use sqlx::{PgPool, Postgres, Transaction};

/// How long a question waits for a connection. A pool whose server is gone goes on trying to connect for as long as
/// its own limit says, which may be half a minute; nobody who asks over HTTP waits that long.
pub const ACQUIRE_LIMIT: Duration = Duration::from_secs(2);

/// How long Postgres works on one statement before it gives up, in seconds. Postgres itself keeps this limit, because
/// a statement whose asker has gone away would otherwise run on.
pub const STATEMENT_LIMIT_SECONDS: u32 = 5;

/// A question as a whole: the backstop when the server neither answers nor goes away.
const QUESTION_LIMIT: Duration = Duration::from_secs(8);

const BEGIN: &str = "begin transaction read only; set local statement_timeout = '5s'";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The caller asked for something that cannot be asked.
    #[error("{parameter}: {message}")]
    Invalid {
        /// Which parameter, by its name in the API.
        parameter: &'static str,
        /// What is wrong with it and what would be right.
        message: String,
    },
    /// The database cannot be reached or is going down. Asking again later may help.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The statement took longer than [`STATEMENT_LIMIT_SECONDS`]. Asking for less may help.
    #[error("the database did not finish within {STATEMENT_LIMIT_SECONDS} s")]
    TooSlow,
    /// Anything else that Postgres or the driver says: a fault of ours.
    #[error(transparent)]
    Database(sqlx::Error),
}

impl QueryError {
    pub(super) fn invalid(parameter: &'static str, message: impl Into<String>) -> Self {
        QueryError::Invalid { parameter, message: message.into() }
    }
}

impl From<sqlx::Error> for QueryError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        match &error {
            E::Io(_) | E::Tls(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed | E::BeginFailed => {
                QueryError::Unavailable(error.to_string())
            }
            E::Database(db) => match db.code().as_deref() {
                Some("57014") => QueryError::TooSlow,
                // Shutting down, crashed or starting up; out of connections; connection failures.
                Some("57P01" | "57P02" | "57P03" | "53300") => QueryError::Unavailable(db.message().to_owned()),
                Some(code) if code.starts_with("08") => QueryError::Unavailable(db.message().to_owned()),
                _ => QueryError::Database(error),
            },
            _ => QueryError::Database(error),
        }
    }
}

/// A read-only transaction under the statement limit.
pub(super) async fn begin(pool: &PgPool) -> Result<Transaction<'static, Postgres>, QueryError> {
    match tokio::time::timeout(ACQUIRE_LIMIT, pool.begin_with(BEGIN)).await {
        Ok(begun) => Ok(begun?),
        Err(_) => Err(QueryError::Unavailable(format!("no connection within {} s", ACQUIRE_LIMIT.as_secs()))),
    }
}

/// How often a question is asked again that met a rebuild's exchange of the tables.
const REPEATS: usize = 3;

/// Asks within the limit of a whole question, and again when the tables were exchanged meanwhile.
pub(super) async fn bounded<T, F>(question: impl Fn() -> F) -> Result<T, QueryError>
where
    F: Future<Output = Result<T, QueryError>>,
{
    let repeated = async {
        for _ in 0..REPEATS {
            match question().await {
                Err(error) if met_exchange(&error) => {}
                answer => return answer,
            }
        }
        question().await
    };
    match tokio::time::timeout(QUESTION_LIMIT, repeated).await {
        Ok(answer) => answer,
        Err(_) => Err(QueryError::Unavailable(format!("no answer within {} s", QUESTION_LIMIT.as_secs()))),
    }
}

/// Whether a question may have failed because the tables under it were exchanged: a deadlock with their removal, or a
/// name or number that was theirs.
fn met_exchange(error: &QueryError) -> bool {
    let QueryError::Database(sqlx::Error::Database(db)) = error else { return false };
    matches!(db.code().as_deref(), Some("40P01" | "40001" | "42P01" | "3F000" | "XX000"))
}

/// Whether the database answers at all, within [`ACQUIRE_LIMIT`].
pub async fn ping(pool: &PgPool) -> Result<(), QueryError> {
    match tokio::time::timeout(ACQUIRE_LIMIT, sqlx::query("select 1").execute(pool)).await {
        Ok(answer) => Ok(answer.map(|_| ())?),
        Err(_) => Err(QueryError::Unavailable(format!("no answer within {} s", ACQUIRE_LIMIT.as_secs()))),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_statement_limit_is_the_documented_one() {
        assert!(super::BEGIN.contains(&format!("statement_timeout = '{}s'", super::STATEMENT_LIMIT_SECONDS)));
    }
}
