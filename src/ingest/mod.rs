//! The only place where source, decode, filter and event_log meet.
//!
//! In: deliveries, and what jobs found out about accounts. Out: observed events in the log, each upstream's cursor, and what
//! is remembered per repository; a [`Tally`] of everything that went no further. Always true: a cursor moves in the
//! transaction that appends what it covers; what is refused or dropped is counted under a reason; nothing enters that was
//! not verified as far as [`Trust`] says; the same deliveries in any order, doubled, or through several upstreams leave the
//! same records in the log, and the same latest word of either kind about each account. Never: a second write path, a
//! request to a host while a frame waits in memory.
//!
//! [`Judge`] turns deliveries and findings into a [`Batch`] without waiting for anything; [`Ingest::run`] moves batches to
//! the log; [`Identifier`] looks up the documents of accounts whose frames wait; `resync` compares repositories with their
//! hosts.

mod ahead;
mod batch;
mod bystander;
mod findings;
mod held;
mod identify;
mod inlet;
mod judge;
mod known;
pub mod lists;
mod pipeline;
pub mod quarantine;
mod refused;
mod release;
mod repos;
pub mod resync;
mod scope;
mod sighting;
mod standing;
mod tally;
mod trust;

pub use batch::Batch;
pub use held::Holding;
pub use identify::{Identifier, OnMove};
pub use inlet::{Finding, Findings, FoundHandle, FoundRecord, IngestEnded, Inlet, Inquiries, inlet};
pub use judge::{HostWord, Judge, SeqRange};
pub use known::{Hosting, Known, KnownRepos, RepoState, Waiting, Who};
pub use pipeline::{Ingest, IngestError, Report, Sink};
pub use release::foresee;
pub use repos::{RepoView, load_repos};
pub use scope::{Cursor, Cursors, load_account, load_cursors, load_known, load_scope, queue_incomplete};
pub use standing::{decide_over, identity_of};
pub use tally::{Tally, quarantine_reasons, register_metrics};
pub use trust::{Given, Trust};

#[cfg(all(test, feature = "devnet"))]
mod tests;
