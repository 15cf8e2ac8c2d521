//! The append-only log in Postgres: one appender, gapless positions, cursors that never lead their data.
//!
//! In: observed events with the cursors they justify. Out: logged events, read from a position on. Always true: positions
//! rise by exactly one in the order of appending; log rows and cursors commit together; the same observation appended
//! twice is there once; the database belongs to one environment. Never: a look at what a
//! record means; a change to a row that is there, but for [`purge`], which takes away the record bytes of deleted accounts.

mod appender;
mod environment;
mod live_records;
mod purge;
mod reader;
mod told;

pub use appender::{Appended, Appender, CursorMark, LogError, Transaction};
pub use environment::{EnvironmentError, check, stamp, stamped};
pub use live_records::live_records_without;
pub use purge::{PurgeEntry, Purged, hold_still, purge, purgeable, purges_of};
pub use reader::{Part, account_bounds, head, of_accounts, read, records_at};
pub use told::{NewestWords, Told, newest_words, records_of, told_about, told_after, told_at};
