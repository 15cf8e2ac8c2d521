//! Bytes of a file, one at a time, with the number of the line.

use std::io::{self, BufRead};

use super::BYTES_MAX;

pub(super) struct Bytes<R> {
    input: R,
    /// Of the next byte, from 1.
    pub line: u64,
}

/// One line without its end.
pub(super) struct Line {
    pub number: u64,
    pub bytes: Vec<u8>,
    /// It was longer than anything of ours; the rest was passed over.
    pub cut: bool,
}

impl<R: BufRead> Bytes<R> {
    pub fn new(input: R) -> Self {
        Bytes { input, line: 1 }
    }

    /// The next byte, left where it is.
    pub fn peek(&mut self) -> io::Result<Option<u8>> {
        loop {
            match self.input.fill_buf() {
                Ok(bytes) => return Ok(bytes.first().copied()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The next byte.
    pub fn next(&mut self) -> io::Result<Option<u8>> {
        let byte = self.peek()?;
        if let Some(byte) = byte {
            self.input.consume(1);
            self.line += u64::from(byte == b'\n');
        }
        Ok(byte)
    }

    /// Takes the next byte if it is this one.
    pub fn take(&mut self, wanted: u8) -> io::Result<bool> {
        let there = self.peek()? == Some(wanted);
        if there {
            self.next()?;
        }
        Ok(there)
    }

    /// The rest of the line, without its end; `None` at the end of the file.
    pub fn rest_of_line(&mut self) -> io::Result<Option<Line>> {
        if self.peek()?.is_none() {
            return Ok(None);
        }
        let mut line = Line { number: self.line, bytes: Vec::new(), cut: false };
        while let Some(byte) = self.next()? {
            if byte == b'\n' {
                break;
            }
            match line.bytes.len() < BYTES_MAX {
                true => line.bytes.push(byte),
                false => line.cut = true,
            }
        }
        if line.bytes.last() == Some(&b'\r') {
            line.bytes.pop();
        }
        Ok(Some(line))
    }
}
