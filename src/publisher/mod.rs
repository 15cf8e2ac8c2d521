//! What our users want published becomes records on their PDS, and our own stream confirms it.
//!
//! In: wishes (a record shall be so, or shall not be), and the log. Out: intents, and how far each is.
//! Always true: an intent is stored, with its record's key, before the first attempt; the intents of one record are attempted
//! in their order; a repetition makes no second record; only the log confirms; times are the database's; what the PDS holds
//! wins over what we wanted, and what lost is kept and told.
//! Never: a write to a PDS that is not this environment's, a write because of something in the log, a field of somebody
//! else's lost, a record matched by anything less than its whole AT-URI.

mod attempt;
pub mod audit;
mod batch;
mod budget;
mod desk;
mod drain;
mod failure;
pub mod grants;
mod hosts;
mod intent;
mod job;
mod look;
mod metric;
mod options;
pub mod overlay;
mod overview;
pub mod reconcile;
mod record;
mod retry;
mod store;
mod subject;
mod tid;
mod unseen;
mod wish;

pub use crate::identity::MayWrite;
pub use desk::Publisher;
pub use intent::{Action, Conflict, IntentState, IntentView, Kind, RecordView};
pub use look::{due_now, intent, list, record};
pub use metric::register_metrics;
pub use options::{PublishOptions, PublisherParts};
pub use overview::{AuditLine, IntentEntry, Published, PublishedRecord, Publishing, published, publishing};
pub use retry::{Trouble, Verdict, Who};
pub use unseen::{Unseen, unseen};
pub use wish::{Acting, CLIENT_KEY_BYTES_MAX, Wish, WishError};
