//! An existing table of identities, as another app keeps them (`userAtprotoIdentities`), read from CSV or SQL.
//!
//! In: bytes of a file. Out: one [`Item`] for each of its lines that is about an identity, with its line number. Always
//! true: every such line comes out, as an entry or as a refusal that says why; a text inside another table's rows is never
//! taken for a row of ours; memory is bounded by one line. Never: a look at the database, an opened secret, the content of a
//! line in a refusal (it may hold one).

mod bytes;
mod columns;
mod copy;
mod csv;
mod insert;
mod lexer;
mod sql;
#[cfg(test)]
mod tests;

use std::io::{self, BufRead};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::event::{Did, Handle};

/// The most bytes that a line, a value or a word may have.
const BYTES_MAX: usize = 256 * 1024;

/// How the file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values, the first line names the columns.
    Csv,
    /// What `pg_dump --data-only` writes, with `COPY` or with `INSERT`.
    Sql,
}

/// Where in the file something stands. Lines are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Lines {
    /// Where it begins.
    pub first: u64,
    /// Where it ends.
    pub last: u64,
}

impl std::fmt::Display for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.first == self.last {
            true => write!(f, "line {}", self.first),
            false => write!(f, "lines {} to {}", self.first, self.last),
        }
    }
}

/// One identity.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub lines: Lines,
    /// The app's name for the user.
    pub user_id: String,
    /// The network account.
    pub did: Did,
    /// Its handle.
    pub handle: Option<Handle>,
    /// The endpoint of its PDS.
    pub pds: String,
    /// Whether the app keeps the account.
    pub custodial: bool,
    /// The account's password in an envelope of the older form; not opened yet.
    pub envelope: Option<String>,
    /// When the link was made.
    pub created_at: Option<DateTime<Utc>>,
    /// The owner has set a password of his own, so the one in the envelope opens nothing any more.
    pub taken_over: bool,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Entry { lines, user_id, did, .. } = self;
        write!(f, "Entry({lines}, {user_id}, {did})")
    }
}

/// Something to be told about lines of the file: why they were refused, or what was left out of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// Where.
    #[serde(flatten)]
    pub lines: Lines,
    /// What. Holds nothing of the lines but valid names of users and accounts.
    pub what: String,
}

impl std::fmt::Display for Remark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.lines, self.what)
    }
}

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// An identity.
    Entry(Box<Entry>),
    /// Nothing that can be taken.
    Refused(Remark),
    /// A word about the file that is no reason to refuse anything.
    Note(Remark),
}

/// Why a file cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It cannot be read at all.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is not what it should be.
    #[error("{0}")]
    Form(String),
}

/// Reads a file. `schema`: of an SQL file, only that schema's table. The iterator ends with the file, or after an error.
pub fn read<'a>(
    input: impl BufRead + 'a,
    format: Format,
    schema: Option<&str>,
) -> Box<dyn Iterator<Item = Result<Item, ImportError>> + 'a> {
    match format {
        Format::Csv => Box::new(csv::Rows::new(input)),
        Format::Sql => Box::new(sql::Rows::new(input, schema)),
    }
}
