//! Which value of a line is what, and what the values say.

use chrono::{DateTime, NaiveDateTime, Utc};

use super::{Entry, Item, Lines, Remark};
use crate::event::{Did, Handle};
use crate::identity::endpoint;

/// A value; `None`: null.
pub(super) type Value = Option<Vec<u8>>;

/// What a line can hold, in the order of the table as it was made: for files that do not name their columns.
const KNOWN: [Column; 10] = [
    Column::Id,
    Column::User,
    Column::Did,
    Column::Handle,
    Column::Pds,
    Column::Credentials,
    Column::Custodial,
    Column::CreatedAt,
    Column::UpdatedAt,
    Column::TakeOwnership,
];
/// How many of those the table had at first.
const KNOWN_FIRST: usize = 9;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Id,
    User,
    Did,
    Handle,
    Pds,
    Credentials,
    Custodial,
    CreatedAt,
    UpdatedAt,
    TakeOwnership,
    Unknown,
}

impl Column {
    fn name(self) -> &'static str {
        match self {
            Column::Id => "id",
            Column::User => "userUlid",
            Column::Did => "did",
            Column::Handle => "handle",
            Column::Pds => "pdsUrl",
            Column::Credentials => "pdsCredentials",
            Column::Custodial => "isCustodial",
            Column::CreatedAt => "createdAt",
            Column::UpdatedAt => "updatedAt",
            Column::TakeOwnership => "takeOwnershipStatus",
            Column::Unknown => "?",
        }
    }

    /// By its name, in camel case or snake case.
    fn of(name: &str) -> Self {
        let plain = |name: &str| name.trim().replace('_', "").to_ascii_lowercase();
        let name = plain(name);
        KNOWN.into_iter().find(|column| plain(column.name()) == name).unwrap_or(Column::Unknown)
    }
}

/// The columns of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    columns: Vec<Column>,
}

impl Columns {
    /// By their names, and the names that are not known. The error names what is missing.
    pub fn named(names: &[String]) -> Result<(Self, Vec<String>), String> {
        let columns: Vec<Column> = names.iter().map(|name| Column::of(name)).collect();
        for column in KNOWN {
            if columns.iter().filter(|other| **other == column).count() > 1 {
                return Err(format!("the column {} is there twice", column.name()));
            }
        }
        let needed = [Column::User, Column::Did, Column::Pds, Column::Custodial];
        let missing: Vec<&str> =
            needed.into_iter().filter(|column| !columns.contains(column)).map(Column::name).collect();
        if !missing.is_empty() {
            return Err(format!("the columns {} are missing", missing.join(", ")));
        }
        let unknown = names.iter().zip(&columns).filter(|(_, column)| **column == Column::Unknown);
        // Names come from the file: shortened, and without what a terminal would obey.
        let shown = |name: &str| name.chars().take(60).filter(|c| !c.is_control()).collect();
        let unknown = unknown.map(|(name, _)| shown(name)).collect();
        Ok((Columns { columns }, unknown))
    }

    /// Of lines that name none, by how many values they have.
    pub fn unnamed(count: usize) -> Result<Self, String> {
        match count {
            KNOWN_FIRST | 10 => Ok(Columns { columns: KNOWN[..count].to_vec() }),
            _ => Err(format!(
                "it names no columns and has {count} values, not the {KNOWN_FIRST} or 10 of the table as it is known; \
                 write the file with `pg_dump --column-inserts`"
            )),
        }
    }

    /// What a line says.
    pub fn item(&self, lines: Lines, values: &[Value]) -> Item {
        match self.entry(lines, values) {
            Ok(entry) => Item::Entry(Box::new(entry)),
            Err(what) => Item::Refused(Remark { lines, what }),
        }
    }

    fn entry(&self, lines: Lines, values: &[Value]) -> Result<Entry, String> {
        if values.len() != self.columns.len() {
            return Err(format!("it has {} values for {} columns", values.len(), self.columns.len()));
        }
        let text = |column: Column| -> Result<Option<&str>, String> {
            let Some(at) = self.columns.iter().position(|other| *other == column) else { return Ok(None) };
            let Some(value) = &values[at] else { return Ok(None) };
            let text = std::str::from_utf8(value).map_err(|_| format!("{} is not UTF-8", column.name()))?;
            // `char(26)` is filled up with blanks.
            Ok(Some(text.trim()).filter(|text| !text.is_empty()))
        };
        let needed = |column: Column| text(column)?.ok_or_else(|| format!("{} is empty", column.name()));
        let user_id = needed(Column::User)?;
        if user_id.chars().count() > 500 || user_id.chars().any(char::is_control) {
            return Err("userUlid is longer than 500 characters or has control characters".to_owned());
        }
        let did = Did::parse(needed(Column::Did)?).map_err(|_| "did is no DID")?;
        let handle = text(Column::Handle)?.map(Handle::parse).transpose().map_err(|_| "handle is no handle")?;
        let pds = endpoint(needed(Column::Pds)?)
            .map_err(|_| "pdsUrl is not the endpoint of a PDS, such as https://pds.example.org")?;
        let custodial = match needed(Column::Custodial)?.to_ascii_lowercase().as_str() {
            "t" | "true" | "1" | "yes" => true,
            "f" | "false" | "0" | "no" => false,
            _ => return Err("isCustodial is neither true nor false".to_owned()),
        };
        let created_at = match text(Column::CreatedAt)? {
            Some(text) => Some(moment(text).ok_or("createdAt is not a time such as 2026-05-01 12:00:00")?),
            None => None,
        };
        Ok(Entry {
            lines,
            user_id: user_id.to_owned(),
            did,
            handle,
            pds,
            custodial,
            envelope: text(Column::Credentials)?.map(str::to_owned),
            created_at,
            taken_over: text(Column::TakeOwnership)? == Some("confirmed"),
        })
    }
}

/// A time as Postgres writes it; without a zone it is UTC.
fn moment(text: &str) -> Option<DateTime<Utc>> {
    let with_zone = ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f %#z"];
    let without = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"];
    let zoned = with_zone.iter().find_map(|form| DateTime::parse_from_str(text, form).ok());
    let zoned = zoned.or_else(|| DateTime::parse_from_rfc3339(text).ok()).map(|at| at.with_timezone(&Utc));
    zoned.or_else(|| without.iter().find_map(|form| Some(NaiveDateTime::parse_from_str(text, form).ok()?.and_utc())))
}
