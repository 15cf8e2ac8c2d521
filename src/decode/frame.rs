//! The outline of a frame: kind, seq, DID, and what its operations touch, read from its first few hundred bytes.
//!
//! In: one websocket message. Out: enough to decide whether the rest is worth reading, borrowed. Never: a look at
//! `blocks`, an allocation. A commit's map in canonical order has `ops`, `seq`, `repo` and `time` before `blocks`; in
//! any other order the blocks are stepped over.
//!
//! Frames: <https://atproto.com/specs/event-stream>, kinds: the lexicon `com.atproto.sync.subscribeRepos`.

use super::cbor::Reader;
use super::op::{Action, RawOp};
use super::usual::{self, FirstOp, Usual};
use super::{Reason, Reject};
use crate::event::Seq;

/// A frame may have at most this many bytes.
pub const MAX_FRAME_BYTES: usize = 5_000_000;
/// A commit may have at most this many operations.
pub const MAX_OPS: u64 = 200;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `#commit`: operations on records.
    Commit,
    /// `#sync`: the repository's state, without operations.
    Sync,
    /// `#identity`: handle, keys or host may have changed.
    Identity,
    /// `#account`: the hosting state changed.
    Account,
    /// `#info`: a word from the host about the stream.
    Info,
    /// An error frame (`op: -1`): the host ends the stream.
    Error,
    /// A kind that this version does not know; to be ignored.
    Unknown,
}

/// What is known of a frame before it is decoded.
#[derive(Clone, Debug)]
pub struct Outline<'a> {
    /// What the frame is.
    pub kind: Kind,
    /// The host's number for it. `None` for `#info`, errors and unknown kinds, which have none.
    pub seq: Option<Seq>,
    /// Whose account it is about, unchecked; empty where the kind has none.
    pub did: &'a str,
    /// The time that the frame carries, unchecked; empty where the kind has none.
    pub time: &'a str,
    /// What a commit's operations touch; empty for other kinds.
    pub ops: Ops<'a>,
    /// Where the frame's body starts.
    pub(super) body_at: usize,
}

impl<'a> Outline<'a> {
    #[inline]
    fn usual(Usual { seq, did, time, first, more, more_count }: Usual<'a>) -> Self {
        let ops = Ops { first, unread: more, unread_count: more_count };
        Outline { kind: Kind::Commit, seq: Some(seq), did, time, ops, body_at: COMMIT_HEADER.len() }
    }
}

/// Reads a frame's outline.
///
/// # Errors
/// A frame above [`MAX_FRAME_BYTES`], a commit above [`MAX_OPS`], bytes that are not DAG-CBOR up to the last field read,
/// a known kind without `seq` or DID.
pub fn outline(frame: &[u8]) -> Result<Outline<'_>, Reject> {
    if frame.len() > MAX_FRAME_BYTES {
        return Err(Reject::new(Reason::FrameTooLarge, format!("{} bytes", frame.len())));
    }
    if let Some(body) = frame.strip_prefix(COMMIT_HEADER)
        && let Some(usual) = usual::commit(body)
    {
        return Ok(Outline::usual(usual));
    }
    parse(frame)
}

/// The outline of a frame in whatever order its maps are.
fn parse(frame: &[u8]) -> Result<Outline<'_>, Reject> {
    let mut reader = Reader::new(frame);
    let kind = header(&mut reader)?;
    let body_at = reader.offset();
    let mut outline = Outline { kind, seq: None, did: "", time: "", ops: Ops::default(), body_at };
    let (did_key, has_ops): (&[u8], bool) = match kind {
        Kind::Commit => (b"repo", true),
        Kind::Sync | Kind::Identity | Kind::Account => (b"did", false),
        Kind::Info | Kind::Error | Kind::Unknown => return Ok(outline),
    };
    let (mut has_did, mut missing_ops) = (false, has_ops);
    for _ in 0..reader.map()? {
        let key = reader.key()?;
        match key {
            b"ops" if has_ops => {
                outline.ops = Ops::read(frame, &mut reader)?;
                missing_ops = false;
            }
            b"seq" => outline.seq = Some(reader.int()?),
            b"time" => outline.time = reader.text()?,
            _ if key == did_key => {
                outline.did = reader.text()?;
                has_did = true;
            }
            _ => reader.skip()?,
        }
        if has_did && !missing_ops && outline.seq.is_some() && !outline.time.is_empty() {
            return Ok(outline);
        }
    }
    let missing = if missing_ops {
        "ops"
    } else if outline.seq.is_none() {
        "seq"
    } else if !has_did {
        std::str::from_utf8(did_key).expect("the key is a literal")
    } else {
        return Ok(outline);
    };
    Err(Reject::new(Reason::MissingField, format!("{kind:?} without {missing}")))
}

/// `{"t": "#commit", "op": 1}`, as nearly every frame begins.
const COMMIT_HEADER: &[u8; 15] = b"\xa2\x61t\x67#commit\x62op\x01";

fn header(reader: &mut Reader<'_>) -> Result<Kind, Reject> {
    let wrong = |what: String| Reject::new(Reason::BadHeader, what);
    let (mut op, mut t) = (None, None);
    for _ in 0..reader.map()? {
        match reader.key()? {
            b"op" => once("op of the header", &mut op, reader.int()?)?,
            b"t" => once("t of the header", &mut t, reader.text()?)?,
            _ => reader.skip()?,
        }
    }
    match (op, t) {
        (Some(1), Some("#commit")) => Ok(Kind::Commit),
        (Some(1), Some("#sync")) => Ok(Kind::Sync),
        (Some(1), Some("#identity")) => Ok(Kind::Identity),
        (Some(1), Some("#account")) => Ok(Kind::Account),
        (Some(1), Some("#info")) => Ok(Kind::Info),
        (Some(1), Some(_)) => Ok(Kind::Unknown),
        (Some(1), None) => Err(wrong("a message without a type".to_owned())),
        (Some(-1), _) => Ok(Kind::Error),
        (Some(_), _) => Ok(Kind::Unknown),
        (None, _) => Err(wrong("no op".to_owned())),
    }
}

/// The operations of a commit, read on demand. In the usual layout the first is read with the outline, because most commits
/// have no other.
#[derive(Clone, Debug, Default)]
pub struct Ops<'a> {
    first: Option<FirstOp<'a>>,
    unread: &'a [u8],
    unread_count: u64,
}

impl<'a> Ops<'a> {
    fn read(frame: &'a [u8], reader: &mut Reader<'a>) -> Result<Self, Reject> {
        let count = reader.array()?;
        if count > MAX_OPS {
            return Err(Reject::new(Reason::TooManyOps, format!("{count} operations")));
        }
        let start = reader.offset();
        for _ in 0..count {
            reader.skip()?;
        }
        Ok(Ops { first: None, unread: &frame[start..reader.offset()], unread_count: count })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.unread_count as usize + usize::from(self.first.is_some())
    }

    /// Whether there are none. An empty commit is legal.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Each operation, or why it cannot be read.
    pub fn iter(&self) -> impl Iterator<Item = Result<RawOp<'a>, Reject>> + use<'a> {
        let mut reader = Reader::new(self.unread);
        self.first.map(|op| Ok(op.raw())).into_iter().chain((0..self.unread_count).map(move |_| raw_op(&mut reader)))
    }

    /// Whether the path of one of them is what is asked for. What comes after it is not read.
    ///
    /// # Errors
    /// An operation before it that cannot be read.
    #[inline]
    pub fn any_path(&self, mut asked: impl FnMut(&str) -> bool) -> Result<bool, Reject> {
        if let Some(first) = &self.first {
            return Ok(asked(first.path) || usual::paths(self.unread, self.unread_count).any(asked));
        }
        let mut reader = Reader::new(self.unread);
        for _ in 0..self.unread_count {
            if asked(raw_op(&mut reader)?.path) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The path of each operation that has one, whatever else is wrong with it: what a frame that is refused is about.
    pub fn paths(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let mut reader = Reader::new(self.unread);
        let rest = (0..self.unread_count).map_while(move |_| {
            let mut inside = reader.clone();
            // It was stepped over when the outline was read.
            reader.skip().ok()?;
            Some(path_of(&mut inside))
        });
        self.first.map(|op| op.path).into_iter().chain(rest.flatten())
    }
}

fn path_of<'a>(reader: &mut Reader<'a>) -> Option<&'a str> {
    for _ in 0..reader.map().ok()? {
        if reader.key().ok()? == b"path" {
            return reader.text().ok();
        }
        reader.skip().ok()?;
    }
    None
}

fn raw_op<'a>(reader: &mut Reader<'a>) -> Result<RawOp<'a>, Reject> {
    let (mut action, mut path, mut cid, mut prev) = (None, None, None, None);
    for _ in 0..reader.map()? {
        match reader.key()? {
            b"action" => once("action of an operation", &mut action, reader.text()?)?,
            b"path" => once("path of an operation", &mut path, reader.text()?)?,
            b"cid" => once("cid of an operation", &mut cid, reader.link_or_null()?)?,
            b"prev" => once("prev of an operation", &mut prev, reader.link_or_null()?)?,
            _ => reader.skip()?,
        }
    }
    let path = path.ok_or_else(|| Reject::new(Reason::MissingField, "operation without path"))?;
    let action = match action {
        Some("create") => Action::Create,
        Some("update") => Action::Update,
        Some("delete") => Action::Delete,
        Some(other) => return Err(Reject::new(Reason::OpShape, format!("action {other:?} on {path}"))),
        None => return Err(Reject::new(Reason::MissingField, format!("operation on {path} without action"))),
    };
    Ok(RawOp { action, path, cid: cid.flatten(), prev: prev.flatten() })
}

/// Sets a field that may be there once: two values would let two readers see two frames.
fn once<T>(name: &str, field: &mut Option<T>, value: T) -> Result<(), Reject> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(Reject::new(Reason::DuplicateKey, name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A commit whose `ops` hold what stands here, between its header and its `seq`, `repo` and `time`.
    fn commit(header: &[u8], ops: &[u8]) -> Vec<u8> {
        [header, b"\xa4\x63ops", ops, b"\x63seq\x07\x64repo\x69did:a:b.c\x64time\x61t"].concat()
    }

    const DELETE: &[u8] = b"\xa3\x63cid\xf6\x64path\x65a.b/c\x66action\x66delete";

    #[test]
    fn an_unreadable_operation_does_not_refuse_the_outline() {
        for at in 0..3 {
            let mut ops = [DELETE, DELETE, DELETE];
            ops[at] = b"\xa1\x64path\x07";
            let frame = commit(COMMIT_HEADER, &[b"\x83", &ops.concat()[..]].concat());
            let outline = outline(&frame).unwrap();
            assert_eq!((outline.seq, outline.did, outline.ops.len()), (Some(7), "did:a:b.c", 3));
            let read: Vec<bool> = outline.ops.iter().map(|op| op.is_ok()).collect();
            assert!(outline.ops.any_path(|_| false).is_err(), "{at}");
            assert_eq!(outline.ops.any_path(|_| true).is_ok(), at > 0, "what comes after what is found is not read");
            assert_eq!(read[..=at], [true, true, false][2 - at..], "{at}");
            assert_eq!(outline.ops.paths().collect::<Vec<_>>(), ["a.b/c", "a.b/c"], "{at}");
        }
    }

    #[test]
    fn the_order_of_the_header_does_not_matter() {
        for header in
            [&COMMIT_HEADER[..], b"\xa2\x62op\x01\x61t\x67#commit", b"\xa3\x61t\x67#commit\x61x\x00\x62op\x01"]
        {
            let frame = commit(header, &[b"\x81", DELETE].concat());
            let outline = outline(&frame).unwrap();
            assert_eq!((outline.kind, outline.seq, outline.ops.len()), (Kind::Commit, Some(7), 1));
            assert_eq!(outline.ops.iter().next().unwrap().unwrap().collection(), "a.b");
        }
    }

    const LINK: &[u8] = b"\xd8\x2a\x58\x25\x00\x01\x71\x12\x20................................";

    /// Commits in the order that DAG-CBOR demands, up to the last field that an outline has.
    fn usual_commits() -> Vec<Vec<u8>> {
        let path = b"\x64path\x78\x28community.lexicon.calendar.rsvp/3mxyzabc";
        let create = [b"\xa3\x63cid", LINK, path, b"\x66action\x66create"].concat();
        let update = [b"\xa4\x63cid", LINK, path, b"\x64prev", LINK, b"\x66action\x66update"].concat();
        let delete = b"\xa4\x63cid\xf6\x64path\x65a.b/c\x64prev\xf6\x66action\x66delete".to_vec();
        let commit = |ops: &[&[u8]], seq: &[u8]| {
            let did = b"\x64repo\x78\x20did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";
            let rev = b"\x63rev\x6d3mxyzabcdefgh\x63seq";
            let head = [0x80 + ops.len() as u8];
            let time = b"\x64time\x78\x182026-11-22T00:00:00.000Z\x64rest";
            [COMMIT_HEADER, &b"\xab\x63ops"[..], &head, &ops.concat(), rev, seq, did, time].concat()
        };
        vec![
            commit(&[&create], b"\x1a\x00\x01\x00\x00"),
            commit(&[&update, &delete, &create], b"\x1b\x00\x00\x00\x01\x00\x00\x00\x00"),
            commit(&[], b"\x1a\xff\xff\xff\xff"),
            commit(&[&delete], b"\x19\x01\x00"),
            commit(&[&delete], b"\x18\x18"),
            commit(&[&delete], b"\x17"),
        ]
    }

    fn is_usual(frame: &[u8]) -> bool {
        frame.strip_prefix(COMMIT_HEADER).is_some_and(|body| usual::commit(body).is_some())
    }

    #[test]
    fn the_usual_layout_is_read_as_the_parser_reads_it() {
        let (mut usual, mut unusual) = (0, 0);
        let mut check = |frame: &[u8]| {
            if !is_usual(frame) {
                unusual += 1;
                return;
            }
            usual += 1;
            let told = |outline: Result<Outline<'_>, Reject>| {
                let outline = outline.unwrap_or_else(|reject| panic!("{reject}: {frame:x?}"));
                let ops: Vec<_> = outline.ops.iter().map(|op| format!("{op:?}")).collect();
                let paths: Vec<_> = outline.ops.paths().map(str::to_owned).collect();
                // Asked of each path and of none: all of them are shown, in their order.
                let mut shown = Vec::new();
                let found = outline.ops.any_path(|path| {
                    shown.push(path.to_owned());
                    false
                });
                assert_eq!(found.is_ok_and(|found| !found), ops.iter().all(|op| op.starts_with("Ok")));
                let (did, time) = (outline.did.to_owned(), outline.time.to_owned());
                (outline.kind, outline.seq, did, time, outline.body_at, outline.ops.len(), ops, (paths, shown))
            };
            assert_eq!(told(outline(frame)), told(parse(frame)));
        };
        for frame in usual_commits() {
            assert!(is_usual(&frame), "{frame:x?}");
            for at in 0..frame.len() {
                check(&frame[..at]);
                for byte in 0..=255 {
                    let mut other = frame.clone();
                    other[at] = byte;
                    check(&other);
                    other.insert(at, byte);
                    check(&other);
                }
            }
        }
        assert!(usual > 50_000 && unusual > 50_000, "{usual}, {unusual}");
    }
}
