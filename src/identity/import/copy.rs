//! One line of the data of `COPY … FROM stdin`: values between tabs, `\N` for null.

use super::ImportError;
use super::bytes::Bytes;
use super::columns::Value;
use super::lexer::escaped;

/// The values of a line.
pub(super) fn values(line: &[u8]) -> Result<Vec<Value>, ImportError> {
    line.split(|byte| *byte == b'\t').map(value).collect()
}

fn value(field: &[u8]) -> Result<Value, ImportError> {
    if field == b"\\N" {
        return Ok(None);
    }
    let (mut bytes, mut value) = (Bytes::new(field), Vec::with_capacity(field.len()));
    while let Some(byte) = bytes.next()? {
        match byte {
            b'\\' => value.extend(escaped(&mut bytes)?),
            byte => value.push(byte),
        }
    }
    Ok(Some(value))
}
