//! Recorded dumps: one container format written and read, two plain ones read.
//!
//! In: a file, or standard input. Out: frames in the order recorded, with upstream and time where the format has them.
//! Always true: the frames that can be read are read. A dump whose writer was killed ends with a problem that tells
//! where, not with an error; a chunk whose checksum is wrong is skipped and reported. Memory does not grow with the file.
//! Never: looks into a frame.
//!
//! The container is MCAP (<https://mcap.dev/spec>): chunks compressed with zstd under a CRC, an index at the end. One
//! channel per upstream: topic = its name, metadata `kind` and `url`; one message per frame, log time = when it was seen.
//! The plain formats are `{u32 little-endian length, frame}` repeated, as it is or compressed with zstd.

mod chunks;
mod format;
mod frames;
mod item;
mod mcap_read;
mod mcap_write;
mod problem;
mod reader;

pub use format::DumpFormat;
pub use item::{DumpFrame, DumpInfo};
pub use mcap_write::{DumpWriter, RecordError};
pub use problem::{DumpOpenError, DumpProblem};
pub use reader::DumpReader;

/// The longest frame that is believed. A length above it is no frame but a broken file; a frame between the
/// protocol's 5,000,000 bytes and this is handed on, for decode to refuse.
pub(crate) const FRAME_BYTES_MAX: usize = 16_000_000;

/// The name of our metadata record, and the prefix of those that name an upstream.
const METADATA: &str = "almanac";
const METADATA_UPSTREAM: &str = "almanac.upstream";
