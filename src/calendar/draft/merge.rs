//! One record out of three: what we last wrote, what we want now, and what is there now.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::{DraftKind, time};

/// A field that both sides changed, each to something else.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldConflict {
    /// Its name in the record.
    pub field: String,
    /// What we wanted; null: that it goes.
    pub ours: Value,
    /// What is there, and stays; null: nothing.
    pub theirs: Value,
}

/// What becomes of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// The record to be written, whole, with its `$type`.
    pub record: Map<String, Value>,
    /// The fields in which it differs from what is there. None: there is nothing to write.
    pub changed: Vec<String>,
    /// The fields that both sides changed: in the record they are as the other side has them.
    pub conflicts: Vec<FieldConflict>,
}

/// Merges field by field, where `base` is what we last wrote and was taken, `draft` what we want now, and `current` what is
/// there now (each without regard to `$type`).
///
/// - A field that is not one of [`DraftKind::fields`] stays as it is in `current`.
/// - A field that we did not change (`draft` as `base`) stays as it is in `current`.
/// - A field that they did not change (`current` as `base`), or changed as we did, is as in `draft`.
/// - A field that both changed stays as it is in `current` and is told as a conflict.
/// - A field of `base` that `draft` has not was removed by us; except `createdAt`, which is only left unsaid.
/// - Without `base` (the record was found) only what `draft` names is ours to change, and nothing conflicts.
/// - Without `current` (there is no record) the record is `draft`.
///
/// Points in time are compared as such, however they are written; and a `subject` without a CID is the same as one with the
/// same URI.
pub fn merge(
    kind: DraftKind,
    base: Option<&Map<String, Value>>,
    draft: &Map<String, Value>,
    current: Option<&Map<String, Value>>,
) -> Merged {
    let empty = Map::new();
    let there = current.unwrap_or(&empty);
    let mut record = there.clone();
    record.insert("$type".to_owned(), Value::String(kind.collection().to_owned()));
    let mut merged = Merged { record, changed: vec![], conflicts: vec![] };
    for &field in kind.fields() {
        let (ours, theirs) = (draft.get(field), there.get(field));
        if current.is_some() {
            let before = base.map_or(theirs, |base| base.get(field));
            let unsaid = ours.is_none() && (field == "createdAt" || base.is_none());
            if unsaid || same(field, ours, before) || same(field, ours, theirs) {
                continue;
            }
            if !same(field, theirs, before) {
                let or_null = |value: Option<&Value>| value.cloned().unwrap_or_default();
                let field = field.to_owned();
                merged.conflicts.push(FieldConflict { field, ours: or_null(ours), theirs: or_null(theirs) });
                continue;
            }
        }
        match ours {
            Some(value) => merged.record.insert(field.to_owned(), value.clone()),
            None => merged.record.remove(field),
        };
        if ours.is_some() || theirs.is_some() {
            merged.changed.push(field.to_owned());
        }
    }
    merged
}

/// Whether two values of a field say the same.
fn same(field: &str, a: Option<&Value>, b: Option<&Value>) -> bool {
    let (Some(a), Some(b)) = (a, b) else { return a.is_none() && b.is_none() };
    match field {
        "createdAt" | "startsAt" | "endsAt" => a == b || moment(a).is_some_and(|a| Some(a) == moment(b)),
        "subject" if a.get("cid").is_none() || b.get("cid").is_none() => a.get("uri") == b.get("uri"),
        _ => a == b,
    }
}

/// The moment that a value tells, if it tells one.
fn moment(value: &Value) -> Option<DateTime<Utc>> {
    time::read(value.as_str()?).ok()
}
