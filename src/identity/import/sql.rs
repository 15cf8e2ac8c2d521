//! SQL as `pg_dump` writes it: the rows of our table, in whichever schema; everything else is passed over.

use std::io::BufRead;

use super::columns::Columns;
use super::lexer::{Lexer, Token};
use super::{ImportError, Item, Lines, Remark, copy, insert};

/// The table, as it is called and as it would be called in snake case.
const TABLES: [&str; 2] = ["useratprotoidentities", "user_atproto_identities"];

/// The rows of an SQL file.
pub(super) struct Rows<R> {
    lexer: Lexer<R>,
    schema: Option<String>,
    place: Place,
    /// Whether the table was met.
    met: bool,
    ended: bool,
}

/// Where in the file we are.
enum Place {
    /// Between statements.
    Between,
    /// In the data of a `COPY`; `None`: of another table.
    Copy { columns: Option<Columns>, began: u64 },
    /// In the rows of an `INSERT`; `None`: it names no columns.
    Insert { columns: Option<Columns> },
}

/// A table, as a statement names it.
struct Table {
    schema: Option<String>,
    name: String,
}

impl<R: BufRead> Rows<R> {
    pub fn new(input: R, schema: Option<&str>) -> Self {
        let schema = schema.map(str::to_owned);
        Rows { lexer: Lexer::new(input), schema, place: Place::Between, met: false, ended: false }
    }

    fn item(&mut self) -> Result<Option<Item>, ImportError> {
        loop {
            let item = match &self.place {
                Place::Between => match self.statement()? {
                    Statement::End if self.met => return Ok(None),
                    Statement::End => {
                        let of =
                            self.schema.as_ref().map_or(String::new(), |schema| format!(" of the schema {schema:?}"));
                        let what = format!("there is no COPY or INSERT of a table userAtprotoIdentities{of} in it");
                        return Err(ImportError::Form(what));
                    }
                    Statement::Passed => None,
                    Statement::Told(item) => Some(item),
                },
                Place::Copy { .. } => self.copied()?,
                Place::Insert { .. } => self.inserted()?,
            };
            if item.is_some() {
                return Ok(item);
            }
        }
    }

    fn token(&mut self) -> Result<Option<(u64, Token)>, ImportError> {
        self.lexer.token()
    }

    /// The next piece of a statement that is not over.
    fn needed(&mut self, first: u64) -> Result<(u64, Token), ImportError> {
        let cut = || ImportError::Form(format!("line {first}: the statement that begins there does not end"));
        self.token()?.ok_or_else(cut)
    }

    fn statement(&mut self) -> Result<Statement, ImportError> {
        let Some((first, token)) = self.token()? else { return Ok(Statement::End) };
        if token == Token::Sign(b';') {
            return Ok(Statement::Passed);
        }
        if token.is_word("copy") {
            return self.copy(first);
        }
        if token.is_word("insert") {
            let (_, into) = self.needed(first)?;
            if into.is_word("into") {
                return self.insert(first);
            }
            if into == Token::Sign(b';') {
                return Ok(Statement::Passed);
            }
        }
        let set = token.is_word("set");
        let rest = self.pass(first, 4)?;
        if set && rest.first().is_some_and(|token| token.is_word("standard_conforming_strings")) {
            self.lexer.backslashes = rest.iter().any(|token| token.is_word("off"));
        }
        Ok(Statement::Passed)
    }

    /// Passes over the rest of a statement; the first pieces of it.
    fn pass(&mut self, first: u64, keep: usize) -> Result<Vec<Token>, ImportError> {
        let mut kept = Vec::new();
        loop {
            match self.needed(first)?.1 {
                Token::Sign(b';') => return Ok(kept),
                token if kept.len() < keep => kept.push(token),
                _ => {}
            }
        }
    }

    /// The table that a statement names, and the first piece behind it.
    fn table(&mut self, first: u64) -> Result<(Table, Token), ImportError> {
        let mut parts = Vec::new();
        loop {
            match self.needed(first)?.1 {
                Token::Word(part) | Token::Name(part) => parts.push(part),
                other => return Ok((Table { schema: None, name: String::new() }, other)),
            }
            let (_, next) = self.needed(first)?;
            if next != Token::Sign(b'.') {
                let name = parts.pop().unwrap_or_default();
                return Ok((Table { schema: parts.pop(), name }, next));
            }
        }
    }

    fn is_ours(&self, table: &Table) -> bool {
        let wanted = self.schema.is_none() || self.schema == table.schema;
        wanted && TABLES.contains(&table.name.to_lowercase().as_str())
    }

    /// The names between brackets whose opening one was read.
    fn names(&mut self, first: u64) -> Result<Vec<String>, ImportError> {
        let mut names = Vec::new();
        loop {
            match self.needed(first)?.1 {
                Token::Word(name) | Token::Name(name) if names.len() < 1000 => names.push(name),
                Token::Sign(b')') => return Ok(names),
                _ => {}
            }
        }
    }

    /// The columns of a statement about our table, and a word about those that are not known.
    fn columns(&mut self, first: u64, names: &[String]) -> Result<(Columns, Option<Item>), ImportError> {
        let (columns, unknown) =
            Columns::named(names).map_err(|what| ImportError::Form(format!("line {first}: {what}")))?;
        let lines = Lines { first, last: self.lexer.bytes.line };
        let what = format!("columns that are left out: {}", unknown.join(", "));
        Ok((columns, (!unknown.is_empty()).then_some(Item::Note(Remark { lines, what }))))
    }

    fn copy(&mut self, first: u64) -> Result<Statement, ImportError> {
        let (table, mut next) = self.table(first)?;
        let ours = self.is_ours(&table);
        let mut names = Vec::new();
        if next == Token::Sign(b'(') {
            names = self.names(first)?;
            next = self.needed(first)?.1;
        }
        let mut words = vec![next];
        if words[0] != Token::Sign(b';') {
            words.extend(self.pass(first, 16)?);
        }
        let from_here = words.windows(2).any(|pair| pair[0].is_word("from") && pair[1].is_word("stdin"));
        if !from_here {
            return Ok(Statement::Passed);
        }
        // The data begins on the next line.
        self.lexer.bytes.rest_of_line()?;
        if !ours {
            self.place = Place::Copy { columns: None, began: first };
            return Ok(Statement::Passed);
        }
        self.met = true;
        if words.len() > 2 {
            let what = "COPY with options; write the file with `pg_dump --data-only`, or as CSV and give --format csv";
            return Err(ImportError::Form(format!("line {first}: {what}")));
        }
        let (columns, note) = self.columns(first, &names)?;
        self.place = Place::Copy { columns: Some(columns), began: first };
        Ok(note.map_or(Statement::Passed, Statement::Told))
    }

    /// One line of the data of a `COPY`.
    fn copied(&mut self) -> Result<Option<Item>, ImportError> {
        let Place::Copy { columns, began } = &self.place else { return Ok(None) };
        let Some(line) = self.lexer.bytes.rest_of_line()? else {
            let what = format!("line {began}: the COPY that begins there has no end (`\\.`); is the file cut off?");
            return Err(ImportError::Form(what));
        };
        if line.bytes == b"\\." {
            self.place = Place::Between;
            return Ok(None);
        }
        let Some(columns) = columns else { return Ok(None) };
        let lines = Lines { first: line.number, last: line.number };
        if line.cut {
            let what = "it is longer than any line of ours".to_owned();
            return Ok(Some(Item::Refused(Remark { lines, what })));
        }
        Ok(Some(columns.item(lines, &copy::values(&line.bytes)?)))
    }

    fn insert(&mut self, first: u64) -> Result<Statement, ImportError> {
        let (table, mut next) = self.table(first)?;
        if !self.is_ours(&table) {
            if next != Token::Sign(b';') {
                self.pass(first, 0)?;
            }
            return Ok(Statement::Passed);
        }
        self.met = true;
        let (mut columns, mut note) = (None, None);
        if next == Token::Sign(b'(') {
            let names = self.names(first)?;
            let (named, told) = self.columns(first, &names)?;
            (columns, note) = (Some(named), told);
            next = self.needed(first)?.1;
        }
        // OVERRIDING SYSTEM VALUE may stand before.
        while !next.is_word("values") {
            if matches!(next, Token::Sign(_) | Token::Text(_)) || next.is_word("select") {
                return Err(ImportError::Form(format!("line {first}: an INSERT without VALUES cannot be read")));
            }
            next = self.needed(first)?.1;
        }
        self.place = Place::Insert { columns };
        Ok(note.map_or(Statement::Passed, Statement::Told))
    }

    /// One row of an `INSERT`.
    fn inserted(&mut self) -> Result<Option<Item>, ImportError> {
        let line = self.lexer.bytes.line;
        match self.needed(line)? {
            (_, Token::Sign(b',')) => Ok(None),
            (first, Token::Sign(b'(')) => {
                let Place::Insert { columns } = &self.place else { return Ok(None) };
                Ok(Some(match insert::values(&mut self.lexer, first)? {
                    Err(remark) => Item::Refused(remark),
                    Ok((lines, values)) => {
                        let columns = match columns {
                            Some(columns) => Ok(columns.clone()),
                            None => Columns::unnamed(values.len()),
                        };
                        match columns {
                            Ok(columns) => columns.item(lines, &values),
                            Err(what) => Item::Refused(Remark { lines, what }),
                        }
                    }
                }))
            }
            (_, Token::Sign(b';')) => {
                self.place = Place::Between;
                Ok(None)
            }
            // What follows the rows, such as ON CONFLICT, is about another database.
            (first, _) => {
                self.pass(first, 0)?;
                self.place = Place::Between;
                Ok(None)
            }
        }
    }
}

/// What came of a statement.
enum Statement {
    /// There is none any more.
    End,
    /// It is over, or its rows follow.
    Passed,
    /// The same, and there is something to tell.
    Told(Item),
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
