//! The plain formats: a length and a frame, repeated.

use std::io::{ErrorKind, Read};

use bytes::{Bytes, BytesMut};

use super::{DumpProblem, FRAME_BYTES_MAX};

/// How much is read at a time, and about how much one allocation serves.
const READ_BYTES: usize = 256 * 1024;

/// Cuts frames out of a stream. Frames share the buffer they were read into.
pub(super) struct FramesReader {
    input: Box<dyn Read + Send>,
    buffer: BytesMut,
    /// Where in the (decompressed) stream `buffer` begins.
    at: u64,
}

impl FramesReader {
    pub fn new(input: Box<dyn Read + Send>) -> Self {
        FramesReader { input, buffer: BytesMut::new(), at: 0 }
    }

    /// The next frame; `None` where the stream ends between two frames.
    pub fn next(&mut self) -> Option<Result<Bytes, DumpProblem>> {
        match self.fill(4) {
            Ok(0) => return None,
            Ok(have) if have < 4 => return Some(Err(self.truncated())),
            Ok(_) => {}
            Err(problem) => return Some(Err(problem)),
        }
        let [a, b, c, d] = [self.buffer[0], self.buffer[1], self.buffer[2], self.buffer[3]];
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if length > FRAME_BYTES_MAX {
            return Some(Err(DumpProblem::FrameLength { at: self.at, length: length as u64 }));
        }
        match self.fill(4 + length) {
            Ok(have) if have < 4 + length => return Some(Err(self.truncated())),
            Ok(_) => {}
            Err(problem) => return Some(Err(problem)),
        }
        let frame = self.buffer.split_to(4 + length).freeze().slice(4..);
        self.at += 4 + length as u64;
        Some(Ok(frame))
    }

    fn truncated(&self) -> DumpProblem {
        DumpProblem::Truncated { at: self.at + self.buffer.len() as u64, from: self.at }
    }

    /// Reads until the buffer holds `wanted` bytes or the stream ends; returns how many it holds.
    fn fill(&mut self, wanted: usize) -> Result<usize, DumpProblem> {
        while self.buffer.len() < wanted {
            let have = self.buffer.len();
            // Grows by what was really read, not by what a length claims.
            self.buffer.resize(have + READ_BYTES, 0);
            let read = self.input.read(&mut self.buffer[have..]);
            self.buffer.truncate(have + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // What zstd says of a compressed stream without its end.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(self.truncated()),
                Err(error) => {
                    return Err(DumpProblem::Io { at: self.at + self.buffer.len() as u64, why: error.to_string() });
                }
            }
        }
        Ok(self.buffer.len())
    }
}
