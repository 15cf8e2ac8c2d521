//! The questions that may be asked of the query index.
//!
//! In: a pool and typed parameters. Out: typed rows, ready to be shown.
//! Always true: one page is one statement, so its rows, counts and locations belong together (two statements where
//! rows without a date follow rows with one); every question is bounded in rows, in bytes and in time, whatever was
//! asked; what a caller sends is bound, never made part of a statement.
//! Never: a write, an answer about hidden accounts or deleted records (their rows are not in these tables).

mod events;
mod page;
mod rsvps;
mod run;
mod status;
mod view;
mod word;

pub use events::{EventQuery, EventSort, get_event, list_events};
pub use page::{Limit, Order, Page};
pub use rsvps::{RsvpQuery, list_rsvps};
pub use run::{ACQUIRE_LIMIT, QueryError, STATEMENT_LIMIT_SECONDS, ping};
pub use status::{CursorView, IndexStatus, status};
pub use view::{AuthorView, CountsView, EventView, LinkView, LocationView, ProblemView, RsvpView, SubjectView};
pub use word::{Author, EventMode, EventStatus, RsvpStatus, SearchText};
