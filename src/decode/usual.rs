//! A commit as nearly every host writes it, recognised by its layout instead of being parsed.
//!
//! In: a frame after its header. Out: the same outline that [`super::frame`] would read, for about a tenth of the work; or
//! nothing at all for whatever is laid out in another way, however right it is. Always true: what is told here is what the
//! parser would tell; `the_usual_layout_is_read_as_the_parser_reads_it` holds them together. Never: a refusal, an
//! allocation, a byte beyond the last field that an outline has.
//!
//! DAG-CBOR sorts keys by length and then by their bytes, so a commit begins `ops`, `rev`, `seq`, `repo`, `time`, and an
//! operation is `cid`, `path`, perhaps `prev`, `action`. Between the keys stand values whose length the layout fixes, and
//! comparing with what must stand there costs less than asking what does.

use super::op::{Action, RawOp};
use super::text::utf8;
use crate::event::{Cid, Codec, Seq};

/// What an outline tells of a commit.
pub(super) struct Usual<'a> {
    pub seq: Seq,
    pub did: &'a str,
    pub time: &'a str,
    pub first: Option<FirstOp<'a>>,
    /// The operations after the first, each of them seen.
    pub more: &'a [u8],
    pub more_count: u64,
}

/// The first operation, its CIDs left where they are: the filter asks for the path alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct FirstOp<'a> {
    pub path: &'a str,
    action: Action,
    cid: Option<&'a [u8; 32]>,
    prev: Option<&'a [u8; 32]>,
}

impl<'a> FirstOp<'a> {
    #[inline]
    pub fn raw(self) -> RawOp<'a> {
        let cid = |digest: &[u8; 32]| Cid::new(Codec::DagCbor, *digest);
        RawOp { action: self.action, path: self.path, cid: self.cid.map(cid), prev: self.prev.map(cid) }
    }
}

/// Reads the body of a commit.
#[inline]
pub(super) fn commit(body: &[u8]) -> Option<Usual<'_>> {
    let mut rest = Rest(body);
    // Ten fields are required; below 24 their number is in the head itself.
    if !(0xaa..0xb8).contains(&rest.byte()?) {
        return None;
    }
    rest.literal(b"\x63ops")?;
    let count = rest.byte()?.checked_sub(0x80).filter(|count| *count < 24)?;
    let first = if count > 0 { Some(rest.op()?) } else { None };
    let more_count = u64::from(count.saturating_sub(1));
    let more = rest.0;
    for _ in 0..more_count {
        rest.op()?;
    }
    let more = &more[..more.len() - rest.0.len()];
    rest.literal(b"\x63rev\x6d")?;
    rest.chunk::<13>()?;
    rest.literal(b"\x63seq")?;
    let seq = rest.seq()?;
    rest.literal(b"\x64repo")?;
    let did = rest.text()?;
    rest.literal(b"\x64time")?;
    // An empty time is no reason for the parser to stop looking.
    let time = rest.text().filter(|time| !time.is_empty())?;
    Some(Usual { seq, did, time, first, more, more_count })
}

/// The paths of operations that [`commit`] has seen.
#[inline]
pub(super) fn paths(ops: &[u8], count: u64) -> impl Iterator<Item = &str> {
    let mut rest = Rest(ops);
    (0..count).map_while(move |_| rest.op().map(|op| op.path))
}

/// What is not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    #[inline(always)]
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    #[inline(always)]
    fn chunk<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(chunk)
    }

    #[inline(always)]
    fn literal<const N: usize>(&mut self, expected: &[u8; N]) -> Option<()> {
        (self.chunk()? == expected).then_some(())
    }

    /// Text below 256 bytes.
    #[inline(always)]
    fn text(&mut self) -> Option<&'a str> {
        let len = match self.byte()? {
            short @ 0x60..0x78 => short - 0x60,
            0x78 => self.byte().filter(|len| *len >= 24)?,
            _ => return None,
        };
        let (text, rest) = self.0.split_at_checked(usize::from(len))?;
        self.0 = rest;
        utf8(text)
    }

    /// A number that is not negative, in its shortest form. A young PDS counts in few bytes, a relay in eight.
    #[inline(always)]
    fn seq(&mut self) -> Option<Seq> {
        match self.byte()? {
            0x1b => Some(Seq::from_be_bytes(*self.chunk()?)).filter(|seq| *seq > 0xffff_ffff),
            0x1a => Some(Seq::from(u32::from_be_bytes(*self.chunk()?))).filter(|seq| *seq > 0xffff),
            0x19 => Some(Seq::from(u16::from_be_bytes(*self.chunk()?))).filter(|seq| *seq > 0xff),
            0x18 => Some(Seq::from(self.byte()?)).filter(|seq| *seq >= 24),
            small @ 0..24 => Some(Seq::from(small)),
            _ => None,
        }
    }

    /// A link to a DAG-CBOR block: tag 42, 37 bytes, the multibase prefix, and the CID's own head.
    #[inline(always)]
    fn link(&mut self) -> Option<&'a [u8; 32]> {
        self.literal(b"\xd8\x2a\x58\x25\x00\x01\x71\x12\x20")?;
        self.chunk()
    }

    #[inline(always)]
    fn link_or_null(&mut self) -> Option<Option<&'a [u8; 32]>> {
        if self.0.first() == Some(&0xf6) {
            return self.byte().map(|_| None);
        }
        self.link().map(Some)
    }

    #[inline(always)]
    fn op(&mut self) -> Option<FirstOp<'a>> {
        let fields = self.byte()?;
        self.literal(b"\x63cid")?;
        let cid = self.link_or_null()?;
        self.literal(b"\x64path")?;
        let path = self.text()?;
        let prev = match fields {
            0xa3 => None,
            0xa4 => {
                self.literal(b"\x64prev")?;
                self.link_or_null()?
            }
            _ => return None,
        };
        self.literal(b"\x66action\x66")?;
        let action = match self.chunk()? {
            b"create" => Action::Create,
            b"update" => Action::Update,
            b"delete" => Action::Delete,
            _ => return None,
        };
        Some(FirstOp { path, action, cid, prev })
    }
}
