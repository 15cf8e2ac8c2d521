//! What can be wrong with a dump.

use std::path::PathBuf;

/// A dump that cannot be opened: which, why, and what is accepted.
#[derive(Debug, thiserror::Error)]
#[error("dump {}: {why}", path.display())]
pub struct DumpOpenError {
    pub(super) path: PathBuf,
    pub(super) why: String,
}

/// Something wrong inside a dump. Only [`is_end`](DumpProblem::is_end) tells whether frames may follow; either way
/// the frames before it are good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DumpProblem {
    /// The dump ends in the middle of something, as when its recorder was killed.
    #[error("truncated at byte {at}: what begins at byte {from} is incomplete")]
    Truncated {
        /// Where the bytes end.
        at: u64,
        /// Where the incomplete thing begins.
        from: u64,
    },
    /// A chunk that cannot be used was skipped.
    #[error("the chunk at byte {at} was skipped: {why}")]
    ChunkSkipped {
        /// Where it begins.
        at: u64,
        /// What is wrong with it.
        why: String,
    },
    /// A length that no frame has; what follows cannot be found.
    #[error("the frame at byte {at} claims {length} bytes, more than {} are not believed", super::FRAME_BYTES_MAX)]
    FrameLength {
        /// Where the length stands; in a compressed dump, counted after decompression.
        at: u64,
        /// What it says.
        length: u64,
    },
    /// Bytes that are not what the format has there; what follows cannot be found.
    #[error("broken at byte {at}: {why}")]
    Broken {
        /// Where.
        at: u64,
        /// What was found.
        why: String,
    },
    /// The file could not be read.
    #[error("not readable at byte {at}: {why}")]
    Io {
        /// How far it was read.
        at: u64,
        /// What the system says.
        why: String,
    },
}

impl DumpProblem {
    /// Whether nothing can follow.
    pub fn is_end(&self) -> bool {
        !matches!(self, DumpProblem::ChunkSkipped { .. })
    }

    /// Whether it is only a tail that was never written: all that was recorded completely has been read.
    pub fn is_truncation(&self) -> bool {
        matches!(self, DumpProblem::Truncated { .. })
    }
}
