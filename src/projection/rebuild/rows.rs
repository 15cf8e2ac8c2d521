//! Rows in the binary form of COPY, as the tables' columns stand in [`super::load`].
//!
//! <https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS>

use chrono::{DateTime, TimeZone, Utc};
use serde::Serialize;
use sqlx::PgConnection;

/// What every stream of rows begins with: signature, flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// A table is sent what has gathered when it is this much.
const FULL: usize = 1 << 20;

/// Rows of one table on their way.
pub(super) struct Rows {
    statement: String,
    fields: i16,
    bytes: Vec<u8>,
}

impl Rows {
    /// For these columns, separated by commas, of a table.
    pub fn of(table: &str, columns: &str) -> Self {
        let fields = i16::try_from(columns.split(',').count()).expect("a table has few columns");
        let statement = format!("copy {table} ({columns}) from stdin (format binary)");
        Rows { statement, fields, bytes: HEADER.to_vec() }
    }

    /// Begins a row; as many fields follow as there are columns.
    pub fn row(&mut self) -> Row<'_> {
        self.bytes.extend_from_slice(&self.fields.to_be_bytes());
        Row(&mut self.bytes)
    }

    /// Sends what has gathered when it is much.
    pub async fn flush_full(&mut self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.bytes.len() >= FULL { self.flush(connection).await } else { Ok(()) }
    }

    /// Sends what has gathered.
    pub async fn flush(&mut self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.bytes.len() == HEADER.len() {
            return Ok(());
        }
        self.bytes.extend_from_slice(&(-1i16).to_be_bytes());
        let mut copy = connection.copy_in_raw(&self.statement).await?;
        copy.send(self.bytes.as_slice()).await?;
        copy.finish().await?;
        self.bytes.truncate(HEADER.len());
        Ok(())
    }
}

/// A row under way.
pub(super) struct Row<'a>(&'a mut Vec<u8>);

impl Row<'_> {
    fn bytes(self, value: &[u8]) -> Self {
        let length = i32::try_from(value.len()).expect("a record has at most 1,000,000 bytes");
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(value);
        self
    }

    fn null(self) -> Self {
        self.0.extend_from_slice(&(-1i32).to_be_bytes());
        self
    }

    pub fn text(self, value: &str) -> Self {
        self.bytes(value.as_bytes())
    }

    pub fn maybe_text(self, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.text(value),
            None => self.null(),
        }
    }

    pub fn bigint(self, value: Option<i64>) -> Self {
        match value {
            Some(value) => self.bytes(&value.to_be_bytes()),
            None => self.null(),
        }
    }

    pub fn integer(self, value: i32) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    pub fn boolean(self, value: Option<bool>) -> Self {
        match value {
            Some(value) => self.bytes(&[u8::from(value)]),
            None => self.null(),
        }
    }

    pub fn double(self, value: Option<f64>) -> Self {
        match value {
            Some(value) => self.bytes(&value.to_be_bytes()),
            None => self.null(),
        }
    }

    pub fn time(self, value: Option<DateTime<Utc>>) -> Self {
        self.bigint(value.map(micros))
    }

    pub fn json(self, value: &impl Serialize) -> Self {
        let at = self.0.len();
        // The length is known afterwards; the one byte is the version of the form.
        self.0.extend_from_slice(&[0, 0, 0, 0, 1]);
        serde_json::to_writer(&mut *self.0, value).expect("a list of plain fields is JSON");
        let length = i32::try_from(self.0.len() - at - 4).expect("a record has at most 1,000,000 bytes");
        self.0[at..at + 4].copy_from_slice(&length.to_be_bytes());
        self
    }
}

/// A time as Postgres holds it: microseconds since 2000, cut as the driver cuts it, so that both ways of writing a row agree
/// about which of two times is the later.
pub(super) fn micros(time: DateTime<Utc>) -> i64 {
    let epoch = Utc.with_ymd_and_hms(2000, 1, 1, 0, 0, 0).single().expect("a date");
    (time - epoch).num_microseconds().expect("a time that was read has a year of four digits")
}
