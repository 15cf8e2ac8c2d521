//! The only place where source, decode, filter and event_log meet.
//!
//! In: deliveries. Out: observed events in the log, each upstream's cursor, and what is known per repository; a
//! [`Tally`] of everything that went no further. Always true: a cursor moves in the transaction that appends what it
//! covers; what is refused or dropped is counted under a reason; the same deliveries in any order, doubled, or through
//! several upstreams leave the same records in the log, and the same latest word of either kind about each account. Never: a second write path, IO other than the database.
//!
//! [`Judge`] turns deliveries into a [`Batch`] without waiting for anything; [`Ingest::run`] moves batches to the log.

mod batch;
mod bystander;
mod inlet;
mod judge;
mod pipeline;
mod repos;
pub mod resync;
mod scope;
mod tally;

pub use batch::Batch;
pub use inlet::{Finding, Findings, FoundRecord, IngestEnded, Inlet, inlet};
pub use judge::{HostWord, Judge, SeqRange};
pub use pipeline::{Ingest, IngestError, Report, Sink};
pub use repos::{RepoView, load_repos};
pub use scope::{Cursor, Cursors, load_cursors, load_scope};
pub use tally::{Tally, register_metrics};
