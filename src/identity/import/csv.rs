//! CSV (RFC 4180): commas, quotes doubled inside quotes, the first line names the columns.

use std::io::{self, BufRead};

use super::bytes::Bytes;
use super::columns::{Columns, Value};
use super::{BYTES_MAX, ImportError, Item, Lines, Remark};

/// The rows of a CSV file.
pub(super) struct Rows<R> {
    bytes: Bytes<R>,
    columns: Option<Columns>,
    ended: bool,
}

struct Record {
    lines: Lines,
    values: Vec<Value>,
    /// Why it cannot be used.
    broken: Option<&'static str>,
}

impl<R: BufRead> Rows<R> {
    pub fn new(input: R) -> Self {
        Rows { bytes: Bytes::new(input), columns: None, ended: false }
    }

    fn item(&mut self) -> Result<Option<Item>, ImportError> {
        if self.columns.is_none()
            && let Some(note) = self.header()?
        {
            return Ok(Some(note));
        }
        let Some(record) = self.record()? else { return Ok(None) };
        let columns = self.columns.as_ref().expect("the header was read");
        Ok(Some(match record.broken {
            Some(what) => Item::Refused(Remark { lines: record.lines, what: what.to_owned() }),
            None => columns.item(record.lines, &record.values),
        }))
    }

    /// Reads the first line; a word about columns that are not known.
    fn header(&mut self) -> Result<Option<Item>, ImportError> {
        let form = |what: String| ImportError::Form(format!("the first line does not name the columns: {what}"));
        let mut record = self.record()?.ok_or_else(|| form("the file is empty".to_owned()))?;
        if let Some(what) = record.broken {
            return Err(form(what.to_owned()));
        }
        if let Some(Some(first)) = record.values.first_mut()
            && let Some(rest) = first.strip_prefix("\u{feff}".as_bytes())
        {
            *first = rest.to_vec();
        }
        let name = |value: &Value| String::from_utf8_lossy(value.as_deref().unwrap_or_default()).into_owned();
        let names: Vec<String> = record.values.iter().map(name).collect();
        let (columns, unknown) = Columns::named(&names).map_err(|what| form(format!("{what}; commas part them")))?;
        self.columns = Some(columns);
        let what = format!("columns that are left out: {}", unknown.join(", "));
        Ok((!unknown.is_empty()).then_some(Item::Note(Remark { lines: record.lines, what })))
    }

    /// The next record that is not an empty line.
    fn record(&mut self) -> io::Result<Option<Record>> {
        while matches!(self.bytes.peek()?, Some(b'\n' | b'\r')) {
            self.bytes.next()?;
        }
        if self.bytes.peek()?.is_none() {
            return Ok(None);
        }
        let first = self.bytes.line;
        let (mut values, mut size, mut broken) = (Vec::new(), 0, None);
        loop {
            let mut value = Vec::new();
            let mut quoted = self.bytes.take(b'"')?;
            let was_quoted = quoted;
            // The line that the last byte of the record stands in.
            let last = self.bytes.line;
            let ends = loop {
                let line = self.bytes.line;
                match self.bytes.next()? {
                    None if quoted => {
                        broken = Some("a quote that begins in it is not closed");
                        break Some(line);
                    }
                    None => break Some(line.max(last)),
                    Some(b'"') if quoted => match self.bytes.take(b'"')? {
                        true => value.push(b'"'),
                        false => quoted = false,
                    },
                    Some(b'"') if !was_quoted => broken = Some("a quote stands in the middle of a value"),
                    Some(b',') if !quoted => break None,
                    Some(b'\n') if !quoted => break Some(line),
                    Some(b'\r') if !quoted && self.bytes.peek()? == Some(b'\n') => {}
                    Some(_) if was_quoted && !quoted => broken = Some("something follows a quoted value"),
                    Some(byte) if size < BYTES_MAX => {
                        size += 1;
                        value.push(byte);
                    }
                    Some(_) => broken = Some("it is longer than any line of ours; is a quote not closed?"),
                }
            };
            if values.len() < 1000 {
                values.push((was_quoted || !value.is_empty()).then_some(value));
            }
            if let Some(last) = ends {
                return Ok(Some(Record { lines: Lines { first, last }, values, broken }));
            }
        }
    }
}

impl<R: BufRead> Iterator for Rows<R> {
    type Item = Result<Item, ImportError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let item = self.item();
        self.ended = !matches!(item, Ok(Some(_)));
        item.transpose()
    }
}
