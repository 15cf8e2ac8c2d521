//! What can go wrong between Almanac and its database, told so that the reader knows what to do.

use super::{embedded::EmbeddedError, install::InstallError};

/// Why a database could not be opened or migrated. Messages name the fix and hold no password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DbError {
    /// The address cannot be read.
    #[error(
        "the database URL cannot be used: {reason}; it should look like postgres://user:password@host:5432/almanac"
    )]
    BadUrl {
        /// What is wrong with it, without the address itself.
        reason: String,
    },
    /// Nobody answers there.
    #[error(
        "cannot connect to {to}: {reason}; check that the server runs and that host, port and firewall let this machine in"
    )]
    CannotConnect {
        /// The address without its password.
        to: String,
        /// What the attempt said.
        reason: String,
    },
    /// The server answers and does not let us in.
    #[error(
        "{to} refuses the login: {reason}; check user name and password in the database URL, and pg_hba.conf on the server"
    )]
    Refused {
        /// The address without its password.
        to: String,
        /// The server's words.
        reason: String,
    },
    /// The server answers and has no such database.
    #[error("{to}: there is no database {database:?}; create it with: createdb --encoding UTF8 {database}")]
    NoSuchDatabase {
        /// The address without its password.
        to: String,
        /// The missing one.
        database: String,
    },
    /// Encryption was asked for, or demanded, and did not come about.
    #[error(
        "no TLS connection to {to}: {reason}; sslmode and sslrootcert in the database URL decide what is demanded of the server"
    )]
    Tls {
        /// The address without its password.
        to: String,
        /// What the attempt said.
        reason: String,
    },
    /// The database was migrated by a later version of this program.
    #[error(
        "the database is newer than this program: it has migration {applied}, and this program knows none after {known}; run the newer version"
    )]
    Newer {
        /// The migration found in the database and unknown here.
        applied: i64,
        /// The last one known here.
        known: i64,
    },
    /// A migration that was applied has another text than the one in this program.
    #[error(
        "migration {version} of the database differs from the one in this program: they come from different builds; use the build that made it, or another database"
    )]
    Foreign {
        /// The migration that differs.
        version: i64,
    },
    /// The private server.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// The installation of a private server.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// A statement or a migration failed.
    #[error("the database failed: {0}")]
    Sql(#[from] sqlx::Error),
    /// A migration failed for another reason than the above.
    #[error("the database could not be migrated: {0}")]
    Migration(sqlx::migrate::MigrateError),
}

impl DbError {
    /// Sorts the failure of an attempt to connect.
    pub(super) fn from_connect(error: sqlx::Error, options: &sqlx::postgres::PgConnectOptions) -> Self {
        let to = super::url::describe(options);
        match error {
            sqlx::Error::Database(error) => {
                let reason = error.message().to_owned();
                match error.code().as_deref() {
                    Some("28P01" | "28000") => Self::Refused { to, reason },
                    Some("3D000") => {
                        let database = options.get_database().unwrap_or_else(|| options.get_username()).to_owned();
                        Self::NoSuchDatabase { to, database }
                    }
                    _ => Self::CannotConnect { to, reason },
                }
            }
            sqlx::Error::Tls(error) => Self::Tls { to, reason: error.to_string() },
            // The handshake's refusals arrive inside an IO error.
            sqlx::Error::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => {
                Self::Tls { to, reason: error.to_string() }
            }
            sqlx::Error::Io(error) => Self::CannotConnect { to, reason: error.to_string() },
            sqlx::Error::Configuration(error) => Self::BadUrl { reason: error.to_string() },
            error => Self::CannotConnect { to, reason: error.to_string() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_is_not_trusted_is_a_matter_of_tls() {
        let refused = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let error = sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::InvalidData, refused));
        let options = "postgres://me:hunter2@db.example/almanac".parse().unwrap();
        let error = DbError::from_connect(error, &options);
        let text = error.to_string();
        assert!(matches!(error, DbError::Tls { .. }), "{text}");
        assert!(text.contains("UnknownIssuer") && text.contains("sslrootcert") && !text.contains("hunter2"), "{text}");
    }
}
