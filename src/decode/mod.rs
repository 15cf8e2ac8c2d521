//! Bytes in, meaning or a named reason out.
//!
//! In: frames, CARs and blocks from strangers. Out: an [`Outline`] (cheap, for the filter), then a [`Message`] whose
//! records are slices of the frame; or a [`Reject`], one of a closed set of reasons. Always true: memory is bounded by the
//! input's own size, nesting by [`cbor::MAX_DEPTH`], and every block used has the hash that its CID states. Never: IO, a
//! clock, a panic.

mod ahead;
mod car;
mod car_blocks;
mod car_stream;
pub mod cbor;
mod chain;
mod checks;
mod commit;
mod frame;
mod hash;
mod key;
mod message;
mod mst;
mod multibase;
mod op;
mod read;
mod record;
mod reject;
mod text;
mod usual;
mod walk;

pub use ahead::{AHEAD, outlines, prefetch};
pub use car::{Car, check_hash};
pub use car_blocks::car_blocks;
pub use car_stream::{CarPart, CarStream, MAX_SECTION_BYTES};
pub use chain::{Chain, Head, chain, chain_reject};
pub use checks::{Checks, Level, MAX_REV_AHEAD};
pub use commit::SignedCommit;
pub use frame::{Kind, MAX_FRAME_BYTES, MAX_OPS, Ops, Outline, outline};
pub use key::PublicKey;
pub use message::{Account, Commit, Identity, Message, Notice, Op, Record, Sync};
pub use mst::{EMPTY_TREE, key_layer};
pub use op::{Action, RawOp};
pub use read::{MAX_COMMIT_BLOCKS_BYTES, MAX_DID_BYTES, MAX_SYNC_BLOCKS_BYTES, claims, decode, parse_time};
pub use record::{MAX_RECORD_BYTES, check_record, record_json};
pub use reject::{Layer, Reason, Reject};
pub use walk::{MAX_WALK_BYTES, MAX_WALK_NODES, RepoWalk};
