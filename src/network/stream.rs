//! A repository as it arrives.

use bytes::Bytes;

use super::HostError;

/// The bytes of `com.atproto.sync.getRepo`, unread. Holds its place among the host's requests until it is dropped.
#[derive(Debug)]
pub struct RepoStream {
    length: Option<u64>,
    bytes: u64,
}

impl RepoStream {
    /// The next bytes, `None` after the last. After an error or the end, `None`. Dropping the future loses nothing.
    ///
    /// # Errors
    /// `TooLarge` above the limit that was given, `CutOff` when the answer ends before its end, `Timeout` when nothing
    /// comes for [`idle_timeout`](super::NetworkOptions::idle_timeout). An answer without a length that simply ends
    /// cannot be told from a whole one here: whoever reads the CAR notices.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, HostError> {
        Ok(None)
    }

    /// Bytes so far, after decompression.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many bytes there will be, where the host tells.
    pub fn length(&self) -> Option<u64> {
        self.length
    }
}
