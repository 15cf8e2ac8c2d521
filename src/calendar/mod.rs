//! What calendar records mean: lenient reading, and the fold of events into what the index holds; strict writing of our own.
//!
//! In: records in JSON form, logged events, and what apps want published. Out: typed views with a list of what could not be
//! read, the state of words and accounts after an event, and drafts with every fault told. Always true: folding in any order, any number of times, ends in one state; a record
//! is never dropped because a field of it is odd. Never: IO, a clock, a decision about who may see what beyond
//! [`AccountState::hidden`].

mod draft;
mod event;
mod fold;
mod lenient;
mod location;
mod record;
mod rsvp;

pub use draft::{Draft, DraftKind, FieldConflict, FieldError, MAX_DRAFT_BYTES, Merged, fill_created_at, merge};
pub use event::{EventView, Link};
pub use fold::{AccountState, RecordKey, State, Word, Words};
pub use lenient::Problem;
pub use location::Location;
pub use record::{Record, View, record_json};
pub use rsvp::{Answer, RsvpView};

/// The collection of calendar events.
pub const EVENT: &str = "community.lexicon.calendar.event";
/// The collection of answers to events.
pub const RSVP: &str = "community.lexicon.calendar.rsvp";

#[cfg(test)]
mod tests;
