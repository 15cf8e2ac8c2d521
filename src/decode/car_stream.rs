//! A CAR v1 in pieces of any size, as `getRepo` answers it: one section at a time.
//!
//! In: chunks as they come off a socket. Out: the root, then each block with where its bytes stand in the CAR. Always
//! true: what is kept between two chunks is at most one section; nothing is allocated because a length claims it. Never: IO,
//! a hash: what is used of the blocks is for the caller to check ([`check_hash`](super::check_hash)).

use bytes::{Buf, Bytes, BytesMut};

use super::car::first_root;
use super::{Reason, Reject};
use crate::event::Cid;

/// A section (CID and block) may have at most this many bytes. Records have at most 1,000,000; nodes stay far below.
pub const MAX_SECTION_BYTES: usize = 2_000_000;

/// What comes next in a CAR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CarPart {
    /// The header with its first root. Always the first part, and only that.
    Root(Cid),
    /// A block. Its bytes are not hash-checked.
    Block {
        /// Under which CID.
        cid: Cid,
        /// Where its first byte stands, counted from the start of the CAR.
        at: u64,
        /// Its bytes: a slice of the chunk where that holds them whole, else a copy.
        bytes: Bytes,
    },
}

/// Reads a CAR chunk by chunk: [`CarStream::push`], then [`CarStream::next_part`] until it has nothing more, and so on;
/// after the last chunk [`CarStream::finish`].
#[derive(Debug, Default)]
pub struct CarStream {
    /// What the last chunk left, if a section began in it: no longer than one section.
    partial: BytesMut,
    /// What has not been looked at.
    chunk: Bytes,
    /// Where the next section starts in the CAR.
    at: u64,
    is_after_header: bool,
}

impl CarStream {
    /// Before the first byte.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next chunk. Take all parts out of the one before first; what was left of it is copied otherwise.
    pub fn push(&mut self, chunk: Bytes) {
        if !self.chunk.is_empty() {
            self.partial.extend_from_slice(&self.chunk);
        }
        self.chunk = chunk;
    }

    /// How many bytes of the CAR have been handed out as parts.
    pub fn offset(&self) -> u64 {
        self.at
    }

    /// The next part, or `None` until another chunk comes.
    ///
    /// # Errors
    /// [`Reason::CarLength`], [`Reason::CarHeader`], [`Reason::CarRoot`], [`Reason::CarCid`]. Nothing can be read after one.
    pub fn next_part(&mut self) -> Result<Option<CarPart>, Reject> {
        loop {
            if self.partial.is_empty() {
                // Whole sections of a chunk are slices of it.
                let Some((head, len)) = self.section_at(&self.chunk)?.filter(|(h, l)| h + l <= self.chunk.len()) else {
                    self.partial.extend_from_slice(&std::mem::take(&mut self.chunk));
                    return Ok(None);
                };
                self.chunk.advance(head);
                let section = self.chunk.split_to(len);
                return self.part(head, section).map(Some);
            }
            if let Some((head, len)) = self.section_at(&self.partial)? {
                let missing = (head + len).saturating_sub(self.partial.len());
                let now = missing.min(self.chunk.len());
                self.partial.extend_from_slice(&self.chunk.split_to(now));
                if now < missing {
                    return Ok(None);
                }
                self.partial.advance(head);
                let section = self.partial.split_to(len).freeze();
                return self.part(head, section).map(Some);
            }
            // A length cut in two.
            if self.chunk.is_empty() {
                return Ok(None);
            }
            let next = self.chunk.split_to(1);
            self.partial.extend_from_slice(&next);
        }
    }

    /// Whether the CAR may end here.
    ///
    /// # Errors
    /// [`Reason::CarHeader`] when not even the header came, [`Reason::CarLength`] when a section is cut off.
    pub fn finish(&self) -> Result<(), Reject> {
        if !self.is_after_header {
            return Err(Reject::new(Reason::CarHeader, "the CAR ends before its header does"));
        }
        if self.partial.is_empty() && self.chunk.is_empty() {
            return Ok(());
        }
        let there = self.partial.len() + self.chunk.len();
        let detail = format!("the CAR ends {there} bytes into the section at byte {}", self.at);
        Err(Reject::new(Reason::CarLength, detail))
    }

    /// How long the length of the section is that starts here, and the section. `None` when the length is cut off.
    fn section_at(&self, bytes: &[u8]) -> Result<Option<(usize, usize)>, Reject> {
        let wrong = |what: String| Reject::new(Reason::CarLength, format!("{what} at byte {} of the CAR", self.at));
        let mut len = 0usize;
        for (i, &byte) in bytes.iter().enumerate() {
            len |= usize::from(byte & 0x7f) << (7 * i);
            if len > MAX_SECTION_BYTES || i == 3 && byte & 0x80 != 0 {
                return Err(wrong(format!("section of more than {MAX_SECTION_BYTES} bytes")));
            }
            if byte & 0x80 == 0 {
                if byte == 0 && i > 0 {
                    return Err(wrong("varint that is not in its shortest form".into()));
                }
                return Ok(Some((i + 1, len)));
            }
        }
        Ok(None)
    }

    fn part(&mut self, head: usize, mut section: Bytes) -> Result<CarPart, Reject> {
        let start = self.at + head as u64;
        let end = start + section.len() as u64;
        let part = if self.is_after_header {
            let cid = Cid::from_prefix(&section).ok_or_else(|| {
                Reject::new(Reason::CarCid, format!("block at byte {start} of the CAR has no blessed CIDv1"))
            })?;
            section.advance(Cid::LEN);
            CarPart::Block { cid, at: start + Cid::LEN as u64, bytes: section }
        } else {
            self.is_after_header = true;
            CarPart::Root(first_root(&section)?)
        };
        self.at = end;
        Ok(part)
    }
}
