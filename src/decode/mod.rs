//! Bytes in, meaning or a named reason out.
//!
//! In: frames, CARs and blocks from strangers. Out: an [`Outline`] (cheap, for the filter), then a [`Message`] whose
//! records are slices of the frame; or a [`Reject`], one of a closed set of reasons. Always true: memory is bounded by the
//! input's own size, nesting by [`cbor::MAX_DEPTH`], and every block used has the hash that its CID states. Never: IO, a
//! clock, a panic.

mod car;
pub mod cbor;
mod commit;
mod frame;
mod message;
mod record;
mod reject;

pub use car::Car;
pub use commit::SignedCommit;
pub use frame::{Action, Kind, MAX_FRAME_BYTES, MAX_OPS, Ops, Outline, RawOp, outline};
pub use message::{
    Account, Commit, Identity, MAX_COMMIT_BLOCKS_BYTES, MAX_DID_BYTES, MAX_SYNC_BLOCKS_BYTES, Message, Notice, Op,
    Record, Sync, decode, parse_time,
};
pub use record::{MAX_RECORD_BYTES, check_record, record_json};
pub use reject::{Layer, Reason, Reject};
