//! A strict DAG-CBOR reader over a slice.
//!
//! In: bytes from a stranger. Out: the parts of one value, borrowed, or the rule they broke. Never: recursion deeper
//! than [`MAX_DEPTH`], an allocation that a claimed length could size, a panic.
//!
//! Two degrees of strictness. Everywhere: definite lengths, shortest forms, text keys, no floats, no tag but 42, no
//! simple value but false, true and null. Where the protocol hashes bytes (records, commits, tree nodes) also canonical
//! maps: [`check_canonical`]. Rules: <https://ipld.io/specs/codecs/dag-cbor/spec/>, <https://atproto.com/specs/data-model>.

use super::text::utf8;
use super::{Reason, Reject};
use crate::event::Cid;

/// How deep values may nest. Real records stay below 20.
pub const MAX_DEPTH: usize = 64;

/// CBOR's major types, as DAG-CBOR uses them.
pub(super) const UINT: u8 = 0;
const NINT: u8 = 1;
pub(super) const BYTES: u8 = 2;
const TEXT: u8 = 3;
pub(super) const ARRAY: u8 = 4;
pub(super) const MAP: u8 = 5;
const TAG: u8 = 6;
const SIMPLE: u8 = 7;

const NULL: u64 = 22;

/// Reads values one after the other.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes, at: 0 }
    }

    /// Offset of the next byte.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// Whether every byte has been read.
    pub fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Steps over exactly these bytes if they are next.
    #[inline]
    pub fn take_if(&mut self, expected: &[u8]) -> bool {
        let found = self.bytes[self.at..].starts_with(expected);
        self.at += if found { expected.len() } else { 0 };
        found
    }

    /// Refuses bytes after the value.
    pub fn finish(&self) -> Result<(), Reject> {
        if self.is_at_end() {
            return Ok(());
        }
        Err(self.reject(Reason::TrailingBytes, format!("{} more", self.bytes.len() - self.at)))
    }

    #[cold]
    fn reject(&self, reason: Reason, what: impl AsRef<str>) -> Reject {
        Reject::new(reason, format!("{} at byte {}", what.as_ref(), self.at))
    }

    /// The initial byte and its argument.
    #[inline]
    fn head(&mut self) -> Result<(u8, u64), Reject> {
        let Some(&initial) = self.bytes.get(self.at) else {
            return Err(self.reject(Reason::Truncated, "value expected"));
        };
        let major = initial >> 5;
        let info = initial & 31;
        if info < 24 {
            if major == SIMPLE && !(20..=22).contains(&info) {
                return Err(self.reject(Reason::SimpleValue, format!("simple value {info}")));
            }
            self.at += 1;
            return Ok((major, u64::from(info)));
        }
        // The length of nearly every identifier, link and time has this form.
        if let (24, Some(&value @ 24..)) = (info, self.bytes.get(self.at + 1))
            && major != SIMPLE
        {
            self.at += 2;
            return Ok((major, u64::from(value)));
        }
        self.long_head(major, info)
    }

    fn long_head(&mut self, major: u8, info: u8) -> Result<(u8, u64), Reject> {
        if major == SIMPLE {
            return Err(match info {
                24 => self.reject(Reason::SimpleValue, "two-byte simple value"),
                25..=27 => self.reject(Reason::Float, "floating-point number"),
                31 => self.reject(Reason::IndefiniteLength, "break"),
                _ => self.reject(Reason::ReservedByte, format!("additional information {info}")),
            });
        }
        let width = match info {
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            31 if matches!(major, BYTES | TEXT | ARRAY | MAP) => {
                return Err(self.reject(Reason::IndefiniteLength, "indefinite length"));
            }
            _ => return Err(self.reject(Reason::ReservedByte, format!("additional information {info}"))),
        };
        let Some(digits) = self.bytes.get(self.at + 1..self.at + 1 + width) else {
            return Err(self.reject(Reason::Truncated, "argument cut off"));
        };
        let value = digits.iter().fold(0u64, |sum, &b| sum << 8 | u64::from(b));
        let shortest = match width {
            1 => value >= 24,
            2 => value > 0xff,
            4 => value > 0xffff,
            _ => value > 0xffff_ffff,
        };
        if !shortest {
            return Err(self.reject(Reason::NotShortest, format!("{value} written in {width} bytes")));
        }
        self.at += 1 + width;
        Ok((major, value))
    }

    /// `len` bytes of content.
    #[inline]
    fn take(&mut self, len: u64) -> Result<&'a [u8], Reject> {
        let rest = &self.bytes[self.at..];
        match usize::try_from(len).ok().and_then(|len| rest.get(..len)) {
            Some(taken) => {
                self.at += taken.len();
                Ok(taken)
            }
            None => Err(self.reject(Reason::Truncated, format!("{len} bytes claimed, {} there", rest.len()))),
        }
    }

    #[inline]
    fn expect(&mut self, wanted: u8, name: &str) -> Result<u64, Reject> {
        let start = self.at;
        let (major, value) = self.head()?;
        if major == wanted {
            return Ok(value);
        }
        self.at = start;
        Err(self.reject(Reason::UnexpectedType, format!("{name} expected, major type {major} found")))
    }

    /// The number of entries of a map whose keys and values follow. Bounded by the bytes that are there.
    pub fn map(&mut self) -> Result<u64, Reject> {
        let len = self.expect(MAP, "map")?;
        self.bounded(len, 2)
    }

    /// The number of items of an array that follow. Bounded by the bytes that are there.
    pub fn array(&mut self) -> Result<u64, Reject> {
        let len = self.expect(ARRAY, "array")?;
        self.bounded(len, 1)
    }

    fn bounded(&self, len: u64, bytes_each: u64) -> Result<u64, Reject> {
        let left = (self.bytes.len() - self.at) as u64;
        if len > left / bytes_each {
            return Err(self.reject(Reason::Truncated, format!("{len} entries claimed, {left} bytes there")));
        }
        Ok(len)
    }

    /// A text string.
    #[inline]
    pub fn text(&mut self) -> Result<&'a str, Reject> {
        let len = self.expect(TEXT, "text")?;
        let bytes = self.take(len)?;
        utf8(bytes).ok_or_else(|| self.reject(Reason::NotUtf8, "text that is not UTF-8 before"))
    }

    /// A map key, as bytes: keys are compared to known ones, so their UTF-8 is left unchecked here.
    #[inline]
    pub fn key(&mut self) -> Result<&'a [u8], Reject> {
        let start = self.at;
        let (major, len) = self.head()?;
        if major != TEXT {
            self.at = start;
            return Err(self.reject(Reason::KeyNotText, format!("key of major type {major}")));
        }
        self.take(len)
    }

    /// A byte string.
    pub fn bytes(&mut self) -> Result<&'a [u8], Reject> {
        let len = self.expect(BYTES, "bytes")?;
        self.take(len)
    }

    /// An integer within the data model's signed 64 bits.
    #[inline]
    pub fn int(&mut self) -> Result<i64, Reject> {
        let start = self.at;
        let (major, value) = self.head()?;
        let signed = i64::try_from(value);
        match (major, signed) {
            (UINT, Ok(value)) => Ok(value),
            // CBOR writes -1 - value; both fit, because -1 - i64::MAX = i64::MIN.
            (NINT, Ok(value)) => Ok(-1 - value),
            (UINT | NINT, Err(_)) => Err(self.reject(Reason::IntegerRange, "integer beyond 64 signed bits before")),
            _ => {
                self.at = start;
                Err(self.reject(Reason::UnexpectedType, format!("integer expected, major type {major} found")))
            }
        }
    }

    /// A boolean.
    pub fn bool(&mut self) -> Result<bool, Reject> {
        match self.expect(SIMPLE, "boolean")? {
            20 => Ok(false),
            21 => Ok(true),
            _ => Err(self.reject(Reason::UnexpectedType, "boolean expected, null found")),
        }
    }

    /// Reads a null if one is next.
    pub fn null(&mut self) -> bool {
        let is_null = self.bytes.get(self.at) == Some(&(SIMPLE << 5 | NULL as u8));
        self.at += usize::from(is_null);
        is_null
    }

    /// A link: tag 42 over a CID.
    pub fn link(&mut self) -> Result<Cid, Reject> {
        let tag = self.expect(TAG, "link")?;
        self.link_after_tag(tag)
    }

    fn link_after_tag(&mut self, tag: u64) -> Result<Cid, Reject> {
        if tag != 42 {
            return Err(self.reject(Reason::ForeignTag, format!("tag {tag}")));
        }
        let bytes = self.bytes()?;
        // A link is the identity multibase prefix 0x00 and the binary CID.
        let cid = bytes.strip_prefix(&[0]).and_then(Cid::from_bytes);
        cid.ok_or_else(|| self.reject(Reason::BadLink, "not a blessed CID before"))
    }

    /// A link, or null.
    pub fn link_or_null(&mut self) -> Result<Option<Cid>, Reject> {
        if self.null() { Ok(None) } else { self.link().map(Some) }
    }

    /// Steps over one value of any type; maps may be in any order.
    pub fn skip(&mut self) -> Result<(), Reject> {
        self.walk(MAX_DEPTH, false)
    }

    /// Steps over one value that must be in canonical form.
    pub fn skip_canonical(&mut self) -> Result<(), Reject> {
        self.walk(MAX_DEPTH, true)
    }

    /// `depth` levels are still allowed. `canonical` also demands sorted, unique keys and UTF-8 that is right.
    fn walk(&mut self, depth: usize, canonical: bool) -> Result<(), Reject> {
        let (major, value) = self.head()?;
        match major {
            UINT | NINT if canonical && i64::try_from(value).is_err() => {
                return Err(self.reject(Reason::IntegerRange, "integer beyond 64 signed bits before"));
            }
            BYTES => {
                self.take(value)?;
            }
            TEXT => {
                let bytes = self.take(value)?;
                if canonical && utf8(bytes).is_none() {
                    return Err(self.reject(Reason::NotUtf8, "text that is not UTF-8 before"));
                }
            }
            TAG => {
                self.link_after_tag(value)?;
            }
            ARRAY | MAP if depth == 0 => {
                return Err(self.reject(Reason::TooDeep, format!("nested deeper than {MAX_DEPTH}")));
            }
            ARRAY => {
                for _ in 0..self.bounded(value, 1)? {
                    self.walk(depth - 1, canonical)?;
                }
            }
            MAP => {
                let mut last: Option<&[u8]> = None;
                for _ in 0..self.bounded(value, 2)? {
                    let key = self.key()?;
                    if canonical {
                        self.check_key(last, key)?;
                        last = Some(key);
                    }
                    self.walk(depth - 1, canonical)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn check_key(&self, last: Option<&[u8]>, key: &[u8]) -> Result<(), Reject> {
        let name = || String::from_utf8_lossy(key);
        if utf8(key).is_none() {
            return Err(self.reject(Reason::NotUtf8, "map key that is not UTF-8 before"));
        }
        match last.map(|last| (last.len(), last).cmp(&(key.len(), key))) {
            None | Some(std::cmp::Ordering::Less) => Ok(()),
            Some(std::cmp::Ordering::Equal) => Err(self.reject(Reason::DuplicateKey, format!("key {:?}", name()))),
            Some(std::cmp::Ordering::Greater) => Err(self.reject(Reason::KeyOrder, format!("key {:?}", name()))),
        }
    }
}

/// Whether `bytes` are exactly one value in canonical DAG-CBOR within the data model of AT Protocol.
pub fn check_canonical(bytes: &[u8]) -> Result<(), Reject> {
    let mut reader = Reader::new(bytes);
    reader.skip_canonical()?;
    reader.finish()
}

/// Appends a type and its argument in the shortest form.
#[inline]
pub(super) fn put_head(out: &mut Vec<u8>, major: u8, value: u64) {
    let major = major << 5;
    match value {
        0..24 => out.push(major | value as u8),
        24..0x100 => out.extend([major | 24, value as u8]),
        0x100..0x1_0000 => {
            out.push(major | 25);
            out.extend((value as u16).to_be_bytes());
        }
        0x1_0000..0x1_0000_0000 => {
            out.push(major | 26);
            out.extend((value as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 27);
            out.extend(value.to_be_bytes());
        }
    }
}

/// Appends a link, or null.
#[inline]
pub(super) fn put_link_or_null(out: &mut Vec<u8>, cid: Option<&Cid>) {
    match cid {
        None => out.push(SIMPLE << 5 | NULL as u8),
        Some(cid) => {
            // Tag 42 over 37 bytes, the first of them the identity multibase prefix.
            out.extend_from_slice(&[0xd8, 42, 0x58, 37, 0]);
            out.extend_from_slice(&cid.to_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_written_as_they_are_read() {
        for value in [0, 23, 24, 0xff, 0x100, 0xffff, 0x1_0000, 0xffff_ffff, 0x1_0000_0000, i64::MAX as u64] {
            let mut out = vec![];
            put_head(&mut out, UINT, value);
            assert_eq!(Reader::new(&out).int(), Ok(value as i64));
        }
    }

    #[track_caller]
    fn check(hex: &str, expected: Result<(), Reason>) {
        let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
        assert_eq!(check_canonical(&bytes).map_err(|r| r.reason), expected, "{hex}");
    }

    #[test]
    fn each_rule_has_its_reason() {
        check("a2616101616202", Ok(()));
        check("a2616201616102", Err(Reason::KeyOrder));
        check("a2616101616102", Err(Reason::DuplicateKey));
        check("a10101", Err(Reason::KeyNotText));
        check("1817", Err(Reason::NotShortest));
        check("1818", Ok(()));
        check("190017", Err(Reason::NotShortest));
        check("1b00000000ffffffff", Err(Reason::NotShortest));
        check("1b7fffffffffffffff", Ok(()));
        check("1b8000000000000000", Err(Reason::IntegerRange));
        check("3b7fffffffffffffff", Ok(()));
        check("9f01ff", Err(Reason::IndefiniteLength));
        check("7f6161ff", Err(Reason::IndefiniteLength));
        check("fb3ff0000000000000", Err(Reason::Float));
        check("f97e00", Err(Reason::Float));
        check("f7", Err(Reason::SimpleValue));
        check("f8ff", Err(Reason::SimpleValue));
        check("ff", Err(Reason::IndefiniteLength));
        check("1c", Err(Reason::ReservedByte));
        check("c100", Err(Reason::ForeignTag));
        check("d82a4100", Err(Reason::BadLink));
        check("61ff", Err(Reason::NotUtf8));
        check("6261", Err(Reason::Truncated));
        check("9b7fffffffffffffff", Err(Reason::Truncated));
        check("0101", Err(Reason::TrailingBytes));
        check("", Err(Reason::Truncated));
    }

    #[test]
    fn depth_is_bounded_exactly() {
        let nested = |n: usize| [vec![0x81; n], vec![0x01]].concat();
        assert!(check_canonical(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(check_canonical(&nested(MAX_DEPTH + 1)).unwrap_err().reason, Reason::TooDeep);
        assert_eq!(check_canonical(&nested(1_000_000)).unwrap_err().reason, Reason::TooDeep);
    }
}
