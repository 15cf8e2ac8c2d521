//! What an app hands in becomes the fields of a record, as the lexicons want them; and what becomes of a record when two
//! sides changed it.
//!
//! In: typed input as JSON. Out: a [`Draft`], or every fault of the input at once, each with the field it is in; and, of a
//! draft and two versions of a record, the record to be written ([`merge`]).
//! Always true: what comes out conforms to `schemas/community/lexicon`, and reading it once more gives the same draft; a
//! field of somebody else's survives every merge; a field that both sides changed stays as the other side has it, and is told.
//! Never: a field that the input did not ask for, a floating-point number in a record, a guess at a time zone.

mod event;
mod input;
mod location;
mod merge;
mod rsvp;
mod time;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

pub use merge::{FieldConflict, Merged, merge};

use super::{EVENT, RSVP};
use crate::event::{AtUri, Cid, Nsid};
use input::{Faults, Input};

/// The largest draft as JSON, in bytes. A PDS of the reference kind takes requests of 150 KiB, and what other apps keep in
/// the same record must fit beside it.
pub const MAX_DRAFT_BYTES: usize = 100_000;

/// What a draft is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DraftKind {
    /// `community.lexicon.calendar.event`.
    Event,
    /// `community.lexicon.calendar.rsvp`.
    Rsvp,
}

impl DraftKind {
    /// Of a collection's name.
    pub fn of(collection: &str) -> Option<Self> {
        [DraftKind::Event, DraftKind::Rsvp].into_iter().find(|kind| kind.collection() == collection)
    }

    /// The collection, which is the record's `$type`.
    pub fn collection(self) -> &'static str {
        match self {
            DraftKind::Event => EVENT,
            DraftKind::Rsvp => RSVP,
        }
    }

    /// The collection as a name of the network's.
    pub fn nsid(self) -> Nsid {
        Nsid::parse(self.collection()).expect("a constant")
    }

    /// The fields of a record that are an app's to write. All others are somebody else's and are left alone.
    pub fn fields(self) -> &'static [&'static str] {
        match self {
            DraftKind::Event => &[
                "createdAt",
                "description",
                "endsAt",
                "locations",
                "mode",
                "name",
                "rsvpExpected",
                "startsAt",
                "status",
                "uris",
            ],
            DraftKind::Rsvp => &["createdAt", "status", "subject"],
        }
    }
}

/// A fault of the input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct FieldError {
    /// Path of the field: `startsAt`, `locations[0].latitude`. Empty: the input as a whole.
    pub field: String,
    /// What is the matter and what would be right, for people.
    pub problem: String,
}

/// The fields of a record as an app wants them.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    kind: DraftKind,
    fields: Map<String, Value>,
}

impl Draft {
    /// Reads an app's input.
    ///
    /// ```
    /// use almanac::calendar::{Draft, DraftKind};
    /// let draft = Draft::read(DraftKind::Event, &serde_json::json!({ "name": "Meetup", "mode": "inperson" })).unwrap();
    /// assert_eq!(draft.fields()["mode"], "community.lexicon.calendar.event#inperson");
    /// let faults = Draft::read(DraftKind::Event, &serde_json::json!({ "nmae": "Meetup" })).unwrap_err();
    /// let fields: Vec<_> = faults.iter().map(|fault| fault.field.as_str()).collect();
    /// assert_eq!(fields, ["name", "nmae"]);
    /// ```
    ///
    /// # Errors
    /// Every fault that the input has, in the order of its fields.
    pub fn read(kind: DraftKind, input: &Value) -> Result<Draft, Vec<FieldError>> {
        let mut faults = Faults::default();
        let Value::Object(map) = input else {
            faults.note(String::new(), format!("{} instead of an object", super::lenient::kind(input)));
            return Err(faults.all());
        };
        let mut fields = Input::new(map, String::new(), &mut faults);
        fields.declared(kind.collection());
        fields.public_only();
        let record = match kind {
            DraftKind::Event => event::read(&mut fields),
            DraftKind::Rsvp => rsvp::read(&mut fields),
        };
        fields.refuse_others();
        let bytes = serde_json::to_vec(&record).map_or(0, |bytes| bytes.len());
        if bytes > MAX_DRAFT_BYTES {
            faults.note(String::new(), format!("{bytes} bytes as a record; at most {MAX_DRAFT_BYTES}"));
        }
        if faults.is_empty() { Ok(Draft { kind, fields: record }) } else { Err(faults.all()) }
    }

    /// What it is of.
    pub fn kind(&self) -> DraftKind {
        self.kind
    }

    /// The fields as they stand in a record, without `$type`.
    pub fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    /// The event that an RSVP answers to.
    pub fn subject(&self) -> Option<AtUri> {
        AtUri::parse(self.fields.get("subject")?.get("uri")?.as_str()?).ok()
    }

    /// Whether an RSVP names its event without the version that it answers to. A record needs one: see [`Draft::pin`].
    pub fn needs_pin(&self) -> bool {
        self.fields.get("subject").is_some_and(|subject| subject.get("cid").is_none())
    }

    /// Names the version that an RSVP answers to, where the app named none.
    pub fn pin(&mut self, cid: &Cid) {
        if let Some(Value::Object(subject)) = self.fields.get_mut("subject") {
            subject.entry("cid").or_insert_with(|| Value::String(cid.to_string()));
        }
    }

    /// A whole new record of these fields. `created_at` counts where the app said nothing else.
    pub fn record(&self, created_at: DateTime<Utc>) -> Map<String, Value> {
        let mut record = merge(self.kind, None, &self.fields, None).record;
        fill_created_at(&mut record, created_at);
        record
    }
}

/// Gives a record that has none the moment of its making, which the lexicon wants of every event.
pub fn fill_created_at(record: &mut Map<String, Value>, created_at: DateTime<Utc>) {
    record.entry("createdAt").or_insert_with(|| Value::String(time::written(created_at)));
}
