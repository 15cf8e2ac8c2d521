//! Ways to obtain a [`Delivery`](crate::event::Delivery): a relay's or PDS's websocket, a recorded dump; and the jobs of
//! fetching what no stream will bring again ([`backfill`]).
//!
//! In: sockets and files. Out: raw frames with where and when they were seen, through a queue that is bounded in
//! frames and bytes, so that back-pressure reaches the socket; and dumps, written and read.
//! Always true: a frame leaves here exactly as it came, in the order it came, and memory stays bounded whatever a host
//! or a file does. A host that fails is tried again for ever; a damaged dump is read as far as it can be.
//! Never: looks into a frame. Which cursor to resume at is the caller's word; [`gap`] tells where frames may be missing.

pub mod backfill;
pub mod dump;
pub mod gap;
mod metric;
mod parcel;
mod queue;
pub mod relay;

pub use metric::describe_metrics;
pub use parcel::Parcel;
pub use queue::{DeliveryReceiver, DeliverySender, QueueClosed, QueueDepth, QueueLimits, delivery_queue};
