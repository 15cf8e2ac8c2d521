//! What calendar records mean: lenient reading, and the fold of events into what the index holds.
//!
//! In: records in JSON form, and logged events. Out: typed views with a list of what could not be read, and the state of
//! words and accounts after an event. Always true: folding in any order, any number of times, ends in one state; a record
//! is never dropped because a field of it is odd. Never: IO, a clock, a decision about who may see what beyond
//! [`AccountState::hidden`].

mod event;
mod fold;
mod lenient;
mod location;
mod record;
mod rsvp;

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
