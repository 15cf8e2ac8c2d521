//! One object of the input: each field is asked for once, and what nobody asked for is a fault, as it is a slip of the pen.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::super::lenient::kind;
use super::{FieldError, time};
use crate::event::Nsid;

/// More faults than anybody mends in one go.
const MAX_FAULTS: usize = 100;
/// The longest address, in bytes.
const MAX_URI_BYTES: usize = 2048;
/// Addresses that a browser runs instead of opening.
const RUN: [&str; 4] = ["javascript", "vbscript", "data", "blob"];

/// The faults found so far.
#[derive(Default)]
pub(super) struct Faults(Vec<FieldError>);

impl Faults {
    /// Notes a fault. A field's name is the app's, and is cut where it is endless.
    pub fn note(&mut self, field: String, problem: impl Into<String>) {
        if self.0.len() < MAX_FAULTS {
            self.0.push(FieldError { field: field.chars().take(200).collect(), problem: problem.into() });
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn all(self) -> Vec<FieldError> {
        self.0
    }
}

/// The fields of one object of the input.
pub(super) struct Input<'a, 'f> {
    map: &'a Map<String, Value>,
    path: String,
    asked: BTreeSet<&'static str>,
    faults: &'f mut Faults,
}

impl<'a, 'f> Input<'a, 'f> {
    /// `path` names the object; empty for the input itself.
    pub fn new(map: &'a Map<String, Value>, path: String, faults: &'f mut Faults) -> Self {
        Input { map, path, asked: BTreeSet::new(), faults }
    }

    fn name(&self, field: &str) -> String {
        if self.path.is_empty() { field.to_owned() } else { format!("{}.{field}", self.path) }
    }

    /// Notes a fault of a field.
    pub fn fault(&mut self, field: &str, problem: impl Into<String>) {
        let field = self.name(field);
        self.faults.note(field, problem);
    }

    /// A field that is there and not null.
    pub fn get(&mut self, field: &'static str) -> Option<&'a Value> {
        self.asked.insert(field);
        self.map.get(field).filter(|value| !value.is_null())
    }

    /// Says what is left over.
    pub fn refuse_others(&mut self) {
        let known: Vec<_> = self.asked.iter().copied().filter(|name| !name.starts_with('$')).collect();
        let known = known.join(", ");
        for name in self.map.keys().filter(|name| !self.asked.contains(name.as_str())) {
            let field = self.name(name);
            self.faults.note(field, format!("there is no such field; known: {known}"));
        }
    }

    /// `$type` may stand there, if it is the right one.
    pub fn declared(&mut self, wanted: &str) {
        if self.get("$type").is_some_and(|given| given != wanted) {
            self.fault("$type", format!("can only be {wanted}, and need not be there"));
        }
    }

    /// Records on the network are public: nothing that shall not be is taken in.
    pub fn public_only(&mut self) {
        let Some(given) = self.get("visibility") else { return };
        match given.as_str() {
            Some("public") => {}
            Some("private" | "unlisted") => self.fault(
                "visibility",
                "every record on the AT Protocol network is public: anybody can read and copy it, and it cannot be taken \
                 back. What is private or unlisted is not published; keep it in the app",
            ),
            _ => self.fault("visibility", "can only be public"),
        }
    }

    /// Text of at most `max` characters.
    pub fn text(&mut self, field: &'static str, max: usize) -> Option<&'a str> {
        let text = match self.get(field)? {
            Value::String(text) => text.as_str(),
            other => {
                self.fault(field, format!("{} instead of text", kind(other)));
                return None;
            }
        };
        if text.contains('\0') {
            self.fault(field, "holds the character U+0000");
            return None;
        }
        // Bytes first: counting the characters of an endless text takes its time.
        if text.len() > max && text.chars().take(max + 1).count() > max {
            self.fault(field, format!("longer than {max} characters"));
            return None;
        }
        Some(text)
    }

    /// The same, of a field that must be there and say something.
    pub fn required_text(&mut self, field: &'static str, max: usize) -> Option<&'a str> {
        if self.get(field).is_none() {
            self.fault(field, "missing");
            return None;
        }
        let text = self.text(field, max)?;
        if text.trim().is_empty() {
            self.fault(field, "empty");
            return None;
        }
        Some(text)
    }

    /// Yes or no.
    pub fn bool(&mut self, field: &'static str) -> Option<bool> {
        let given = self.get(field)?;
        if given.as_bool().is_none() {
            self.fault(field, format!("{} instead of true or false", kind(given)));
        }
        given.as_bool()
    }

    /// A point in time.
    pub fn time(&mut self, field: &'static str) -> Option<DateTime<Utc>> {
        let text = self.text(field, usize::MAX)?;
        time::read(text).map_err(|problem| self.fault(field, problem)).ok()
    }

    /// A name out of a set: the word of `owner`'s own set (`inperson`), with or without its namespace, or the whole name of
    /// somebody else's (`org.example.defs#moonbase`), as lexicons leave the sets open.
    pub fn token(&mut self, field: &'static str, owner: &str, words: &[&str]) -> Option<String> {
        let text = self.text(field, 400)?;
        let (given_owner, word) = text.split_once('#').unwrap_or((owner, text));
        let ours = given_owner == owner && words.contains(&word);
        let theirs = given_owner != owner
            && Nsid::is_valid(given_owner)
            && (1..=63).contains(&word.len())
            && word.bytes().all(|b| b.is_ascii_alphanumeric());
        if !ours && !theirs {
            let words = words.join(", ");
            self.fault(
                field,
                format!("can be one of {words}, or the whole name of another lexicon's token (NSID#name)"),
            );
            return None;
        }
        Some(format!("{given_owner}#{word}"))
    }

    /// A number of at most `limit` either way, given as a number or as text. Text comes out, as records hold no fractions.
    pub fn decimal(&mut self, field: &'static str, limit: f64) -> Option<String> {
        let text = match self.get(field)? {
            Value::String(text) => text.clone(),
            Value::Number(number) => {
                // `Display` of a float writes out every digit and no exponent. Zero has no sign.
                number.as_f64().map(|n| if n == 0.0 { "0".to_owned() } else { n.to_string() }).unwrap_or_default()
            }
            _ => String::new(),
        };
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let fits = text.len() <= 40
            && digits(whole.strip_prefix('-').unwrap_or(whole))
            && digits(fraction)
            && text.parse::<f64>().is_ok_and(|number| number.abs() <= limit);
        if !fits {
            self.fault(field, format!("not a decimal number between -{limit} and {limit}"));
            return None;
        }
        Some(text)
    }

    /// An address with its scheme, as RFC 3986 has it.
    pub fn required_uri(&mut self, field: &'static str) -> Option<String> {
        let text = self.required_text(field, MAX_URI_BYTES)?;
        let problem = if !text.bytes().all(|b| b.is_ascii_graphic()) {
            "holds spaces or characters beyond ASCII; an address has them percent-encoded"
        } else {
            let (scheme, rest) = text.split_once(':').unwrap_or(("", text));
            let scheme = scheme.to_ascii_lowercase();
            let host = rest.strip_prefix("//").and_then(|rest| rest.split(['/', '?', '#']).next());
            if rest.is_empty()
                || !scheme.starts_with(|c: char| c.is_ascii_lowercase())
                || !scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
            {
                "not an address with its scheme, such as https://example.org/"
            } else if matches!(scheme.as_str(), "http" | "https") && host.is_none_or(str::is_empty) {
                "names no host"
            } else if RUN.contains(&scheme.as_str()) {
                "of a kind that a browser would run; not published"
            } else {
                return Some(text.to_owned());
            }
        };
        self.fault(field, problem);
        None
    }

    /// A list of objects, each read by `one`.
    pub fn list(
        &mut self,
        field: &'static str,
        max: usize,
        one: impl Fn(&mut Input<'_, '_>) -> Option<Map<String, Value>>,
    ) -> Option<Vec<Value>> {
        let items = match self.get(field)? {
            Value::Array(items) => items,
            other => {
                self.fault(field, format!("{} instead of a list", kind(other)));
                return None;
            }
        };
        if items.len() > max {
            self.fault(field, format!("{} items; at most {max}", items.len()));
            return None;
        }
        let read = items.iter().enumerate().filter_map(|(n, item)| self.object(&format!("{field}[{n}]"), item, &one));
        Some(read.collect())
    }

    /// One object below this one.
    pub fn object(
        &mut self,
        name: &str,
        given: &Value,
        one: impl Fn(&mut Input<'_, '_>) -> Option<Map<String, Value>>,
    ) -> Option<Value> {
        let Value::Object(map) = given else {
            self.fault(name, format!("{} instead of an object", kind(given)));
            return None;
        };
        let mut below = Input::new(map, self.name(name), self.faults);
        // What it is decides what may be in it: of something unknown nothing else is said.
        let read = one(&mut below)?;
        below.refuse_others();
        Some(Value::Object(read))
    }
}

/// Sets a field that is there.
pub(super) fn set(map: &mut Map<String, Value>, field: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        map.insert(field.to_owned(), value.into());
    }
}
