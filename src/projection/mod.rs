//! The query index: follows the log, folds what it reads, and remembers how far.
//!
//! In: logged events. Out: the tables of schema `calendar`, and the queries that the API may ask of them. Always true: the
//! checkpoint moves in the transaction that writes what it covers; the tables are a function of the log up to the
//! checkpoint; a rebuild ends in the same tables. Never: an effect on the world, a change to the log.

mod checksum;
mod deleted;
mod fold;
mod load;
mod projector;
pub mod query;
mod rebuild;
mod rows;
mod settle;
mod trace;
mod write;

pub use checksum::checksum;
pub use deleted::{deleted_accounts, is_deleted};
pub use projector::{ProjectionError, Projector, checkpoint, register_metrics};
pub use rebuild::{RebuildProgress, RebuildReport, rebuild};
pub use trace::{Trace, TraceWord, trace};
