//! From a record's bytes to the rows that show it.

use bytes::Bytes;
use serde_json::Value;

use crate::calendar::{EVENT, EventView, Problem, RSVP, RecordKey, RsvpView, Word, without_nul};
use crate::decode::record_json;
use crate::event::{AtUri, Cid};

/// A record that the index shows, with the address parts that every row has.
pub(super) struct Shown {
    pub uri: String,
    pub key: RecordKey,
    pub cid: Cid,
    pub rev: String,
    pub record: Value,
    pub view: View,
}

/// What the record is.
pub(super) enum View {
    Event(EventView),
    Rsvp(RsvpView),
}

/// The address of a record.
pub(super) fn uri_of(key: &RecordKey) -> String {
    AtUri { did: key.did.clone(), collection: key.collection.clone(), rkey: key.rkey.clone() }.to_string()
}

/// Reads a live record. `None` for collections that have no table; they stay in the log.
pub(super) fn show(key: &RecordKey, word: &Word, record: &Bytes) -> Option<Shown> {
    let cid = word.cid?;
    let collection = key.collection.as_str();
    if collection != EVENT && collection != RSVP {
        return None;
    }
    // What is in the log was checked on its way in; a record that still cannot be read is shown as an empty one.
    let mut json = record_json(record).unwrap_or_else(|reject| {
        tracing::error!(uri = uri_of(key), %reject, "a record in the log cannot be read");
        Value::Object(serde_json::Map::new())
    });
    let had_nul = without_nul(&mut json);
    let mut view = if collection == EVENT {
        View::Event(EventView::read(&json))
    } else {
        View::Rsvp(RsvpView::read(&json, &key.rkey))
    };
    if had_nul {
        let problems = match &mut view {
            View::Event(view) => &mut view.problems,
            View::Rsvp(view) => &mut view.problems,
        };
        let problem = "holds the character U+0000, shown as U+FFFD".to_owned();
        problems.push(Problem { field: String::new(), problem });
    }
    Some(Shown { uri: uri_of(key), key: key.clone(), cid, rev: word.rev.to_string(), record: json, view })
}
