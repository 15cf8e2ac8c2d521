//! Memory to read into, used again once all frames in it are gone: fresh memory would be zeroed and, where frames are
//! dropped on another thread than they were read on, faulted in page by page each time.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Of one chunk. A parcel ends where its chunk does, so this is also how many frames share the waking of whoever judges
/// them: two hundred.
const CHUNK_BYTES: usize = 1024 * 1024;
/// Chunks that may be waited for. With more of them under way the reader is ahead anyway, and takes fresh memory.
const LENT_MAX: usize = 16;

/// Chunks whose frames are under way, the oldest first.
#[derive(Default)]
pub(super) struct Chunks {
    lent: VecDeque<Bytes>,
}

impl Chunks {
    /// Memory with room for more than `at_least` bytes. What stands in it is of no meaning.
    pub fn take(&mut self, at_least: usize) -> BytesMut {
        if at_least >= CHUNK_BYTES {
            return BytesMut::zeroed(at_least + CHUNK_BYTES);
        }
        match self.lent.pop_front().map(Bytes::try_into_mut) {
            Some(Ok(chunk)) => return chunk,
            Some(Err(chunk)) => self.lent.push_front(chunk),
            None => {}
        }
        BytesMut::zeroed(CHUNK_BYTES)
    }

    /// Notes a chunk of which frames may be under way.
    pub fn lend(&mut self, chunk: Bytes) {
        // Larger ones were for one large frame.
        if chunk.len() != CHUNK_BYTES {
            return;
        }
        if self.lent.len() == LENT_MAX {
            // Somebody keeps a frame of the oldest; the chunk goes when the frame does.
            self.lent.pop_front();
        }
        self.lent.push_back(chunk);
    }
}
