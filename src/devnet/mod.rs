//! A private network in a box: accounts, repositories and really signed firehose frames, from a seed.
//!
//! In: a seed and a mix. Out: frames as a relay sends them, and beside them the truth of what they say.
//! Always true: the same seed gives the same bytes, on any machine and with any number of threads; time is virtual.
//! Never: uses a line of `decode`, `filter` or the folds. It has its own DAG-CBOR, CAR and tree, so that those rooms are
//! judged by code they do not share.
//!
//! [`Repo::apply`] is the heart: writes in, a signed commit with its covering proof out. [`frames`] puts what happened
//! on the wire, [`Traffic`] decides what happens. `sim` serves it all over HTTP and websockets, with faults.

mod account;
mod calendar;
mod calendar_records;
pub mod car;
pub mod cbor;
mod dice;
pub mod frames;
#[cfg(feature = "runtime")]
mod host;
pub mod keys;
pub mod mst;
mod repo;
#[cfg(feature = "runtime")]
pub mod sim;
mod social;
mod tid;
mod traffic;
mod truth;
mod world;

pub use account::Account;
#[cfg(feature = "runtime")]
pub use host::Host;
pub use repo::{Commit, Head, Op, Repo, Write, WriteError};
pub use tid::Tid;
pub use traffic::{Frame, Mix, Size, Traffic};
pub use truth::Truth;
