//! Reading fields that strangers wrote: what can be read is, the rest is listed.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

/// The longest text that is taken for the name of something: more than the longest NSID with a fragment.
const MAX_TOKEN_BYTES: usize = 400;

/// Something in a record that could not be read, or only with doubt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Path of the field: `startsAt`, `locations[0].latitude`.
    pub field: String,
    /// What is the matter, for people.
    pub problem: String,
}

/// The fields of one object, with the problems found so far.
pub(super) struct Fields<'a, 'p> {
    map: &'a Map<String, Value>,
    path: String,
    problems: &'p mut Vec<Problem>,
}

impl<'a, 'p> Fields<'a, 'p> {
    /// `path` names the object within its record; empty for the record itself.
    pub fn new(map: &'a Map<String, Value>, path: &str, problems: &'p mut Vec<Problem>) -> Self {
        Fields { map, path: path.to_owned(), problems }
    }

    fn name(&self, field: &str) -> String {
        if self.path.is_empty() { field.to_owned() } else { format!("{}.{field}", self.path) }
    }

    /// Notes a problem.
    pub fn note(&mut self, field: &str, problem: impl Into<String>) {
        let field = self.name(field);
        self.problems.push(Problem { field, problem: problem.into() });
    }

    /// A field that is there and not null.
    pub fn get(&self, field: &str) -> Option<&'a Value> {
        self.map.get(field).filter(|value| !value.is_null())
    }

    /// A text field that may be absent. Anything but text is a problem.
    pub fn text(&mut self, field: &str) -> Option<String> {
        match self.get(field)? {
            Value::String(text) => Some(text.clone()),
            other => {
                let kind = kind(other);
                self.note(field, format!("{kind} instead of text"));
                None
            }
        }
    }

    /// A text field that names one of a set. One that is too long to be a name is not taken: it could not be a column that
    /// is searched, because a database index holds no more.
    pub fn token(&mut self, field: &str) -> Option<String> {
        let text = self.text(field)?;
        if text.len() > MAX_TOKEN_BYTES {
            self.note(field, format!("{} bytes; not taken as a name", text.len()));
            return None;
        }
        Some(text)
    }

    /// A text field whose absence is a problem.
    pub fn required_text(&mut self, field: &str) -> Option<String> {
        if self.get(field).is_none() {
            self.note(field, "missing");
        }
        self.text(field)
    }

    /// A yes-or-no field that may be absent.
    pub fn bool(&mut self, field: &str) -> Option<bool> {
        match self.get(field)? {
            Value::Bool(value) => Some(*value),
            other => {
                let kind = kind(other);
                self.note(field, format!("{kind} instead of true or false"));
                None
            }
        }
    }

    /// A point in time that may be absent. One without a zone is taken as UTC and listed.
    pub fn time(&mut self, field: &str) -> Option<DateTime<Utc>> {
        let text = self.text(field)?;
        match read_time(&text) {
            Some((time, None)) => Some(time),
            Some((time, Some(doubt))) => {
                self.note(field, doubt);
                Some(time)
            }
            None => {
                self.note(field, "not a point in time");
                None
            }
        }
    }

    /// A number written as text, as the location lexicons want it. `"0"` is a value; a bare integer is taken and listed.
    pub fn degrees(&mut self, field: &str, limit: f64) -> Option<f64> {
        let number = match self.get(field)? {
            Value::String(text) => text.trim().parse::<f64>().ok(),
            Value::Number(number) => {
                self.note(field, "a number instead of text");
                number.as_f64()
            }
            _ => None,
        };
        match number {
            Some(degrees) if degrees.abs() <= limit => Some(degrees),
            _ => {
                self.note(field, format!("not a number of degrees between -{limit} and {limit}"));
                None
            }
        }
    }

    /// A list that may be absent; at most `max` of its items are looked at.
    pub fn list(&mut self, field: &str, max: usize) -> &'a [Value] {
        match self.get(field) {
            None => &[],
            Some(Value::Array(items)) => {
                if items.len() > max {
                    self.note(field, format!("{} items; only the first {max} are indexed", items.len()));
                }
                &items[..items.len().min(max)]
            }
            Some(other) => {
                let kind = kind(other);
                self.note(field, format!("{kind} instead of a list"));
                &[]
            }
        }
    }
}

/// A value's kind, for messages.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Reads a point in time; the second part says what is doubtful about it. Years of four digits only: others have no form in
/// the protocol, and not every one of them fits a database.
fn read_time(given: &str) -> Option<(DateTime<Utc>, Option<&'static str>)> {
    parse_time(given).filter(|(time, _)| (0..=9999).contains(&time.year()))
}

fn parse_time(given: &str) -> Option<(DateTime<Utc>, Option<&'static str>)> {
    let text = given.trim();
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        // RFC 3339 allows a space, lower case and an unknown zone; the protocol's datetime allows none of them.
        let as_asked = given.len() == text.len()
            && text.as_bytes().get(10) == Some(&b'T')
            && !text.ends_with('z')
            && !text.ends_with("-00:00");
        return Some((time.with_timezone(&Utc), (!as_asked).then_some("not written as the protocol's datetime")));
    }
    const WITHOUT_ZONE: [&str; 4] =
        ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
    for format in WITHOUT_ZONE {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, format) {
            return Some((time.and_utc(), Some("no time zone; taken as UTC")));
        }
    }
    const WITH_ZONE: [&str; 3] = ["%Y-%m-%dT%H:%M%:z", "%Y-%m-%d %H:%M:%S%.f%:z", "%Y-%m-%dT%H:%M:%S%.f%z"];
    for format in WITH_ZONE {
        if let Ok(time) = DateTime::parse_from_str(text, format) {
            return Some((time.with_timezone(&Utc), Some("not written as RFC 3339")));
        }
    }
    if let Ok(time) = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%MZ") {
        return Some((time.and_utc(), Some("not written as RFC 3339")));
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some((date.and_hms_opt(0, 0, 0)?.and_utc(), Some("a date without a time; taken as midnight UTC")))
}

/// Replaces the character U+0000, which Postgres cannot hold, by U+FFFD. Returns whether there was one.
pub(super) fn without_nul(value: &mut Value) -> bool {
    match value {
        Value::String(text) if text.contains('\0') => {
            *text = text.replace('\0', "\u{fffd}");
            true
        }
        Value::Array(items) => items.iter_mut().fold(false, |found, item| without_nul(item) | found),
        Value::Object(map) => {
            let mut found = map.values_mut().fold(false, |found, item| without_nul(item) | found);
            if map.keys().any(|key| key.contains('\0')) {
                found = true;
                *map = std::mem::take(map).into_iter().map(|(k, v)| (k.replace('\0', "\u{fffd}"), v)).collect();
            }
            found
        }
        _ => false,
    }
}
