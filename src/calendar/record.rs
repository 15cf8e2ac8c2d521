//! From a record's bytes to what it means.

use serde_json::Value;

use super::event::EventView;
use super::lenient::{Problem, without_nul};
use super::rsvp::RsvpView;
use super::{EVENT, RSVP};
use crate::decode::{self, Reject};
use crate::event::{Nsid, Rkey};

/// What a calendar record is.
#[derive(Clone, Debug, PartialEq)]
pub enum View {
    /// A `community.lexicon.calendar.event`.
    Event(EventView),
    /// A `community.lexicon.calendar.rsvp`.
    Rsvp(RsvpView),
}

/// A calendar record: in JSON form that Postgres can hold, and as far as it can be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The whole record. The character U+0000 is shown as U+FFFD.
    pub json: Value,
    /// What it says.
    pub view: View,
}

impl Record {
    /// Reads a record's bytes. `None` for collections that are not calendar's.
    ///
    /// # Errors
    /// Bytes that are no record; ingest lets none through.
    pub fn read(collection: &Nsid, rkey: &Rkey, bytes: &[u8]) -> Result<Option<Record>, Reject> {
        let is_event = collection.as_str() == EVENT;
        if !is_event && collection.as_str() != RSVP {
            return Ok(None);
        }
        let mut json = decode::record_json(bytes)?;
        let had_nul = without_nul(&mut json);
        let mut view =
            if is_event { View::Event(EventView::read(&json)) } else { View::Rsvp(RsvpView::read(&json, rkey)) };
        if had_nul {
            let problem = "holds the character U+0000, shown as U+FFFD".to_owned();
            view.problems_mut().push(Problem { field: String::new(), problem });
        }
        Ok(Some(Record { json, view }))
    }
}

/// Any record in the data model's JSON form, whatever its collection.
///
/// # Errors
/// Bytes that are no record; ingest lets none through.
pub fn record_json(bytes: &[u8]) -> Result<Value, Reject> {
    decode::record_json(bytes)
}

impl View {
    fn problems_mut(&mut self) -> &mut Vec<Problem> {
        match self {
            View::Event(view) => &mut view.problems,
            View::Rsvp(view) => &mut view.problems,
        }
    }
}
