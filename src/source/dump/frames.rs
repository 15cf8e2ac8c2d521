//! The plain formats: a length and a frame, repeated.

use std::io::{ErrorKind, Read};

use bytes::Bytes;

use super::chunks::Chunks;
use super::{DumpProblem, FRAME_BYTES_MAX};

/// Cuts frames out of a stream. Frames share the chunk they were read into.
pub(super) struct FramesReader {
    input: Box<dyn Read + Send>,
    chunks: Chunks,
    /// What was read last. Only the bytes before `filled` are of the stream; those before `cut` were handed out.
    chunk: Bytes,
    cut: usize,
    filled: usize,
    /// Where in the (decompressed) stream `cut` is.
    at: u64,
}

/// What stands at the cut.
enum Next {
    /// A whole frame of this many bytes, after the four of its length.
    Frame(usize),
    /// Not all of it yet.
    Part,
    /// A length that is not believed.
    Unbelieved(usize),
}

impl FramesReader {
    pub fn new(input: Box<dyn Read + Send>) -> Self {
        FramesReader { input, chunks: Chunks::default(), chunk: Bytes::new(), cut: 0, filled: 0, at: 0 }
    }

    /// The next frame; `None` where the stream ends between two frames.
    pub fn next(&mut self) -> Option<Result<Bytes, DumpProblem>> {
        loop {
            match self.peek() {
                Next::Frame(length) => {
                    let start = self.cut + 4;
                    self.cut = start + length;
                    self.at += 4 + length as u64;
                    return Some(Ok(self.chunk.slice(start..self.cut)));
                }
                Next::Unbelieved(length) => {
                    return Some(Err(DumpProblem::FrameLength { at: self.at, length: length as u64 }));
                }
                Next::Part => {}
            }
            match self.refill() {
                Ok(true) => {}
                Ok(false) if self.cut == self.filled => return None,
                Ok(false) => return Some(Err(self.truncated())),
                Err(problem) => return Some(Err(problem)),
            }
        }
    }

    /// Whether the next call of `next` answers without reading.
    pub fn is_ahead(&self) -> bool {
        !matches!(self.peek(), Next::Part)
    }

    fn peek(&self) -> Next {
        let ready = &self.chunk[self.cut..self.filled];
        let Some((length, rest)) = ready.split_first_chunk::<4>() else { return Next::Part };
        let length = u32::from_le_bytes(*length) as usize;
        match length {
            _ if length > FRAME_BYTES_MAX => Next::Unbelieved(length),
            _ if length <= rest.len() => Next::Frame(length),
            _ => Next::Part,
        }
    }

    fn truncated(&self) -> DumpProblem {
        DumpProblem::Truncated { at: self.end(), from: self.at }
    }

    /// Where the bytes that were read end.
    fn end(&self) -> u64 {
        self.at + (self.filled - self.cut) as u64
    }

    /// Reads once, behind what is left of the chunk; `false` at the end of the stream. Frames of a slow stream do not wait
    /// until a chunk is full.
    fn refill(&mut self) -> Result<bool, DumpProblem> {
        let left = self.filled - self.cut;
        // Grows by what was really read, not by what a length claims.
        let mut next = self.chunks.take(left * 2);
        next[..left].copy_from_slice(&self.chunk[self.cut..self.filled]);
        let read = loop {
            match self.input.read(&mut next[left..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // What zstd says of a compressed stream without its end.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(self.truncated()),
                Err(error) => return Err(DumpProblem::Io { at: self.end(), why: error.to_string() }),
                Ok(read) => break read,
            }
        };
        let last = std::mem::replace(&mut self.chunk, next.freeze());
        self.chunks.lend(last);
        (self.cut, self.filled) = (0, left + read);
        Ok(read > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes in pieces of `step`.
    struct Slow {
        bytes: Vec<u8>,
        at: usize,
        step: usize,
    }

    impl Read for Slow {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            let count = self.step.min(into.len()).min(self.bytes.len() - self.at);
            into[..count].copy_from_slice(&self.bytes[self.at..self.at + count]);
            self.at += count;
            Ok(count)
        }
    }

    fn frames() -> Vec<Vec<u8>> {
        let lengths = [0, 1, 5, 700_000, 3, 262_140, 262_144, 0, 100_000, 100_000, 100_000];
        lengths.iter().enumerate().map(|(n, length)| (0..*length).map(|i| (i * 31 + n) as u8).collect()).collect()
    }

    #[test]
    fn frames_come_out_whole_however_they_were_read_and_whoever_keeps_them() {
        let frames = frames();
        let bytes: Vec<u8> = frames.iter().flat_map(|f| [&(f.len() as u32).to_le_bytes()[..], f].concat()).collect();
        for step in [7_777, 300_000, usize::MAX] {
            for keep in [true, false] {
                let slow = Slow { bytes: bytes.clone(), at: 0, step };
                let mut reader = FramesReader::new(Box::new(slow));
                let mut kept = Vec::new();
                for round in 0.. {
                    let Some(frame) = reader.next() else {
                        assert_eq!(round, frames.len());
                        break;
                    };
                    let frame = frame.unwrap();
                    assert_eq!(frame, frames[round], "frame {round} in steps of {step}");
                    // A chunk that was lent must not be written to while one of its frames is kept.
                    if keep {
                        kept.push(frame);
                    }
                }
                kept.iter().zip(&frames).for_each(|(kept, frame)| assert_eq!(kept, frame));
            }
        }
    }

    #[test]
    fn a_stream_that_ends_within_a_frame_says_where() {
        for end in [2, 4, 6] {
            let bytes = [&3u32.to_le_bytes()[..], b"abc", &3u32.to_le_bytes(), b"de"].concat()[..7 + end].to_vec();
            let mut reader = FramesReader::new(Box::new(Slow { bytes, at: 0, step: 5 }));
            assert_eq!(reader.next().unwrap().unwrap(), "abc");
            let problem = reader.next().unwrap().unwrap_err();
            assert_eq!(problem, DumpProblem::Truncated { at: 7 + end as u64, from: 7 });
        }
    }
}
