//! The address of a database, which carries a password and therefore does not print.

use std::{fmt, str::FromStr};

use sqlx::postgres::PgConnectOptions;

use super::DbError;

/// `postgres://user:password@host:port/database?sslmode=…`, checked when it is made. Neither `Debug` nor `Display` shows
/// it; [`DatabaseUrl::expose`] does.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// The address with its password, for handing it to another process.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The address without its password, for people: `postgres://user@host:port/database`.
    pub fn redacted(&self) -> String {
        match self.options() {
            Ok(options) => describe(&options),
            Err(_) => "postgres://…".to_owned(),
        }
    }

    /// Host, port and database that it leads to. A server that is reached through a socket is on `localhost`.
    pub fn place(&self) -> (String, u16, String) {
        let Ok(options) = self.options() else { return Default::default() };
        let database = options.get_database().unwrap_or_else(|| options.get_username()).to_owned();
        let host = match options.get_socket() {
            Some(_) => "localhost".to_owned(),
            None => options.get_host().to_ascii_lowercase(),
        };
        // A host that is a path is the folder of a socket.
        let host = if host.starts_with('/') { "localhost".to_owned() } else { host };
        (host, options.get_port(), database)
    }

    pub(super) fn options(&self) -> Result<PgConnectOptions, DbError> {
        self.0.parse().map_err(|error: sqlx::Error| DbError::BadUrl { reason: without(&error.to_string(), &self.0) })
    }
}

/// An error text must not repeat the address that it complains about.
fn without(text: &str, secret: &str) -> String {
    text.replace(secret, "…")
}

/// Where options lead, without the password.
pub(super) fn describe(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    match options.get_socket() {
        Some(socket) => format!("database {database} at socket {}", socket.display()),
        None => {
            format!("postgres://{}@{}:{}/{database}", options.get_username(), options.get_host(), options.get_port())
        }
    }
}

impl FromStr for DatabaseUrl {
    type Err = DbError;

    /// Fails when it is not an address that starts with `postgres://` or `postgresql://`, or has a malformed part.
    fn from_str(text: &str) -> Result<Self, DbError> {
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(DbError::BadUrl { reason: "it does not start with postgres://".to_owned() });
        }
        let url = Self(text.to_owned());
        url.options()?;
        Ok(url)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseUrl(…)")
    }
}
