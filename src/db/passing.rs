//! Which errors of a database go away by themselves.

/// Whether an error is of the sort that goes away: the server is gone, restarts, is full, has become a replica, or asks to
/// try again. Others say that we sent what it cannot take or hold what we cannot read; the same again would never end.
pub fn passes(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => error.code().is_some_and(|code| state_passes(&code)),
        sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) => false,
        _ => true,
    }
}

/// SQLSTATE classes: connection, rollback (deadlock, serialization), resources, an object in use, operator intervention,
/// system; and a server that only reads, as after a failover.
fn state_passes(code: &str) -> bool {
    ["08", "40", "53", "55", "57", "58"].iter().any(|class| code.starts_with(class)) || code == "25006"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_gets_over_passes_and_what_we_sent_wrong_does_not() {
        for code in ["57P01", "57P03", "08006", "40P01", "53300", "55P03", "58030", "25006"] {
            assert!(state_passes(code), "{code}");
        }
        // Out of range, not in an index, no such column, a constraint.
        for code in ["22008", "54000", "42703", "23505", "25001"] {
            assert!(!state_passes(code), "{code}");
        }
        assert!(passes(&sqlx::Error::PoolTimedOut));
        assert!(!passes(&sqlx::Error::Decode("a damaged row".into())));
    }
}
