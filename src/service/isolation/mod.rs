//! Whether this environment shares anything with others of ours through which a record, a key or a message could get from one
//! into the other.
//!
//! In: this environment's settings and its PDS's env file, and what others tell of themselves in files ([`public`]). Out:
//! [`Check`]s, each with what was compared and how to repair it. Always true: the checks are pure, over [`Facts`]; facts hold
//! no secret, only fingerprints. Never: a request to anybody, a look into a file that another environment's settings name.
//!
//! It stands here and not in `pds`, since most of what is compared are Almanac's own settings, and hosts and handles are
//! matched as ingest matches them (`filter`). What a PDS's env file means is that room's.

mod check;
mod database;
mod facts;
mod fingerprint;
mod other;
mod overlap;
mod own;
mod public;
mod webhook;

#[cfg(test)]
mod tests;

pub use check::{Check, Level, check};
pub use facts::Facts;
pub use fingerprint::{FINGERPRINT_FROM, fingerprint};
pub use other::read as read_other;
pub use own::own;
pub use public::public;
pub use webhook::Of;
