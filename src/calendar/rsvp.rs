//! An answer to an event as the index shows it.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::lenient::{Fields, Problem};
use crate::event::{AtUri, Rev, Rkey};

/// What an RSVP says, as far as counting goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Will be there.
    Going,
    /// May be there.
    Interested,
    /// Will not be there.
    NotGoing,
    /// A word that the lexicon does not know, or none.
    Other,
}

impl Answer {
    /// Reads a status token, with or without its namespace.
    pub fn of(status: Option<&str>) -> Answer {
        let word = status.map(|s| s.strip_prefix("community.lexicon.calendar.rsvp#").unwrap_or(s));
        match word {
            Some("going") => Answer::Going,
            Some("interested") => Answer::Interested,
            Some("notgoing") => Answer::NotGoing,
            _ => Answer::Other,
        }
    }
}

/// What can be read of a `community.lexicon.calendar.rsvp` record.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct RsvpView {
    /// The event answered to.
    pub subject_uri: Option<AtUri>,
    /// The CID of that event which the record pins, as given.
    pub subject_cid: Option<String>,
    /// The token as given; unknown ones are legal.
    pub status: Option<String>,
    /// When its author says it was created.
    pub created_at: Option<DateTime<Utc>>,
    /// What decides between several RSVPs of one account to one event: the latest wins, then the greatest key.
    pub decided_at: Option<DateTime<Utc>>,
    /// What could not be read, or only with doubt.
    pub problems: Vec<Problem>,
}

impl RsvpView {
    /// Reads a record in JSON form. `rkey` stands in for a missing `createdAt`, as far as it is a TID.
    pub fn read(record: &Value, rkey: &Rkey) -> RsvpView {
        let mut view = RsvpView::default();
        let mut problems = Vec::new();
        let Value::Object(map) = record else { return view };
        let mut fields = Fields::new(map, "", &mut problems);
        if fields.get("status").is_none() {
            fields.note("status", "missing");
        }
        view.status = fields.token("status");
        // The published lexicon has no createdAt on an RSVP, yet most writers set it: its absence is no problem.
        view.created_at = fields.time("createdAt");
        match fields.get("subject") {
            Some(Value::Object(subject)) => {
                let mut fields = Fields::new(subject, "subject", &mut problems);
                view.subject_cid = fields.required_text("cid");
                if let Some(uri) = fields.required_text("uri") {
                    match AtUri::parse(&uri) {
                        Ok(uri) if uri.did.as_str().len() <= crate::decode::MAX_DID_BYTES => {
                            view.subject_uri = Some(uri);
                        }
                        _ => fields.note("uri", "not the AT-URI of a record by DID"),
                    }
                }
            }
            Some(_) => fields.note("subject", "not a reference of uri and cid"),
            None => fields.note("subject", "missing"),
        }
        let key_time = Rev::parse(rkey.as_str()).ok().and_then(|tid| i64::try_from(tid.micros()).ok());
        view.decided_at = view.created_at.or_else(|| key_time.and_then(DateTime::from_timestamp_micros));
        view.problems = problems;
        view
    }
}
