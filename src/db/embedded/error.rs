//! Why a private server could not be had.

use std::{io, path::PathBuf};

/// What stands in the way of a private server. Messages name the fix.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// No Postgres on this machine.
    #[error(
        "no PostgreSQL found (looked in {looked}). Any of these helps: run `almanac postgres install`, which puts one \
         into the data directory; install Debian's package `postgresql`; set ALMANAC_PG_BIN to the directory that \
         holds `postgres` and `initdb`; or use a server of your own with --database-url"
    )]
    NoBinaries {
        /// The places, separated by commas.
        looked: String,
    },
    /// `ALMANAC_PG_BIN` leads nowhere.
    #[error(
        "ALMANAC_PG_BIN is {path}, and {problem}; set it to the directory that holds `postgres` and `initdb`, or unset it"
    )]
    WrongBinaries {
        /// Its value.
        path: PathBuf,
        /// What is missing there.
        problem: String,
    },
    /// The files were made by another major version.
    #[error(
        "the database in {data_dir} was made by PostgreSQL {wanted}, and only other versions were found ({found}); \
         install version {wanted} (Debian: postgresql-{wanted}), or choose another --data-dir"
    )]
    OtherVersion {
        /// Almanac's data directory.
        data_dir: PathBuf,
        /// The major version of the files.
        wanted: u32,
        /// Versions and places.
        found: String,
    },
    /// The account that runs the server cannot get there.
    #[error(
        "PostgreSQL refuses to run as root and is run as user {user:?}, who cannot reach {path} because of the \
         permissions of {culprit}; allow it with: chmod o+x {culprit}, or choose another place ({instead})"
    )]
    Unreachable {
        /// The account.
        user: String,
        /// What it must reach.
        path: PathBuf,
        /// The directory on the way that shuts it out.
        culprit: PathBuf,
        /// How to choose another.
        instead: &'static str,
    },
    /// The files belong to somebody else.
    #[error("{path} belongs to user {owner:?}; run almanac as that user, or choose another --data-dir")]
    NotOurs {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: String,
    },
    /// `initdb` failed.
    #[error("initdb could not make a new database in {path}: {output}")]
    Initdb {
        /// Where.
        path: PathBuf,
        /// Its last words.
        output: String,
    },
    /// The server ended instead of becoming ready.
    #[error("PostgreSQL did not start ({outcome}): {words} (log: {log})")]
    DidNotStart {
        /// Exit status, or how long it was waited for.
        outcome: String,
        /// The end of its log.
        words: String,
        /// The whole log.
        log: PathBuf,
    },
    /// Another process has the server and it does not become ready.
    #[error(
        "another almanac process{owner} owns the server in {data_dir}, which has not become ready within {seconds} s; see {log}"
    )]
    OwnerNotReady {
        /// ` (process N)` when it is known.
        owner: String,
        /// Almanac's data directory.
        data_dir: PathBuf,
        /// How long it was waited for.
        seconds: u64,
        /// The server's log.
        log: PathBuf,
    },
    /// A server from an earlier run does not end.
    #[error(
        "a PostgreSQL server from an earlier run (process {pid}) still uses {path} and does not stop; stop it with: kill -QUIT {pid}"
    )]
    OrphanRemains {
        /// Its process id.
        pid: i32,
        /// The server's files.
        path: PathBuf,
    },
    /// The supervising thread has ended.
    #[error("the private server was stopped")]
    Stopped,
    /// The operating system refused something.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// A verb.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl EmbeddedError {
    pub(super) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}
