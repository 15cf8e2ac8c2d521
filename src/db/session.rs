//! A session by the name that the server has for it, and the end of one that nobody can reach any more.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

/// Which of the server's sessions a connection is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionId {
    pid: i32,
    // Process ids are used again.
    started: DateTime<Utc>,
}

impl SessionId {
    /// The session of this connection.
    pub async fn of(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let own = "select pid, backend_start from pg_stat_activity where pid = pg_backend_pid()";
        let (pid, started) = sqlx::query_as(own).fetch_one(connection).await?;
        Ok(SessionId { pid, started })
    }

    /// Ends the session, if it is there still, over another connection. When the wire was cut the server does not know it
    /// for a minute or more, and meanwhile keeps the locks of a session that nobody talks to. Only for a session that
    /// the caller itself has given up.
    pub async fn end(&self, other: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let end = "select pg_terminate_backend(pid) from pg_stat_activity where pid = $1 and backend_start = $2";
        let ended: Option<bool> =
            sqlx::query_scalar(end).bind(self.pid).bind(self.started).fetch_optional(other).await?;
        Ok(ended.unwrap_or(false))
    }
}
