//! Frames by the generator, and the tools to break exactly one thing in them.

use almanac::decode::Reason;
use almanac::devnet::cbor::{Value, cid_of};
use almanac::devnet::keys::{Curve, SigningKey};
use almanac::devnet::{Commit, Repo, Tid, Write, frames};
use almanac::event::Cid;
use ciborium::Value as Cv;

/// Whose frames these are.
pub const DID: &str = "did:plc:ma2formed2ma2formed2ma2f";
/// Where the record is that most of them write: in a collection that is followed.
pub const PATH: &str = "community.lexicon.calendar.event/3n2uyhpluwr2l";
/// The number of every frame under test.
pub const SEQ: i64 = 500;
/// The time of every frame: 2026-11-22T00:00:00Z.
pub const MICROS: u64 = 1_795_305_600_000_000;

/// One frame with what must become of it.
pub struct Case {
    pub name: &'static str,
    pub frame: Vec<u8>,
    /// Lines that `almanac decode` prints for it.
    pub prints: usize,
    pub refused: Option<Refused>,
}

/// How a frame is refused.
pub struct Refused {
    pub reason: Reason,
    /// As far as the outline could be read.
    pub seq: Option<i64>,
    pub did: Option<String>,
    /// Whether the filter lets a replay see it: of a commit only the operations in followed collections are looked at.
    pub in_replay: bool,
}

/// Refused after its outline was read, so that its number and account are known.
pub fn refused(name: &'static str, reason: Reason, frame: Vec<u8>) -> Case {
    let refused = Refused { reason, seq: Some(SEQ), did: Some(DID.into()), in_replay: true };
    Case { name, frame, prints: 0, refused: Some(refused) }
}

/// Refused by its outline.
pub fn unread(name: &'static str, reason: Reason, frame: Vec<u8>) -> Case {
    let refused = Refused { reason, seq: None, did: None, in_replay: true };
    Case { name, frame, prints: 0, refused: Some(refused) }
}

pub fn accepted(name: &'static str, prints: usize, frame: Vec<u8>) -> Case {
    Case { name, frame, prints, refused: None }
}

impl Case {
    pub fn of(mut self, did: &str) -> Self {
        self.refused.as_mut().unwrap().did = Some(did.into());
        self
    }

    pub fn not_in_replay(mut self) -> Self {
        self.refused.as_mut().unwrap().in_replay = false;
        self
    }
}

pub fn stamp(seq: i64) -> frames::Stamp<'static> {
    frames::Stamp { seq, did: DID, micros: MICROS as i64 }
}

/// A repository with one commit of nothing.
pub fn repo() -> Repo {
    let mut repo = Repo::new(DID, SigningKey::from_entropy(Curve::K256, [7; 32]));
    repo.apply(&[], Tid::new(MICROS - 10, 0)).unwrap();
    repo
}

/// A calendar event.
pub fn event() -> Vec<u8> {
    let text = |t: &str| Value::text(t);
    Value::map([
        ("$type", text("community.lexicon.calendar.event")),
        ("name", text("Harbour walk")),
        ("createdAt", text("2026-11-22T00:00:00.000Z")),
        ("startsAt", text("2026-12-01T18:00:00.000Z")),
    ])
    .encode()
}

/// The commit that creates this record.
pub fn commit_of(record: &[u8]) -> Commit {
    repo().apply(&[Write::Create { path: PATH.into(), record: record.to_vec() }], Tid::new(MICROS, 0)).unwrap()
}

pub fn commit() -> Commit {
    commit_of(&event())
}

/// The frame of a commit that was changed.
pub fn commit_with(change: impl FnOnce(&mut Commit)) -> Vec<u8> {
    let mut commit = commit();
    change(&mut commit);
    frames::commit(stamp(SEQ), &commit)
}

pub fn good_commit() -> Vec<u8> {
    commit_with(|_| {})
}

pub fn good_sync() -> Vec<u8> {
    frames::sync(stamp(SEQ), &commit().head)
}

pub fn good_account() -> Vec<u8> {
    frames::account(stamp(SEQ), true, None)
}

pub fn good_identity() -> Vec<u8> {
    frames::identity(stamp(SEQ), Some("anna.example.com"))
}

/// Commits an object in place of the signed one, under its right CID.
pub fn commit_object(block: Vec<u8>) -> Vec<u8> {
    commit_with(|commit| {
        commit.head.cid = cid_of(&block);
        commit.head.block = block;
    })
}

/// The commit object's fields, changed. Its signature is no longer right, which is not looked at here.
pub fn commit_object_with(change: impl FnOnce(&mut Fields)) -> Vec<u8> {
    let mut object: Cv = ciborium::from_reader(&commit().head.block[..]).unwrap();
    change(&mut Fields(object.as_map_mut().unwrap()));
    commit_object(encode(&object))
}

/// A map's fields.
pub struct Fields<'a>(pub &'a mut Vec<(Cv, Cv)>);

impl Fields<'_> {
    fn at(&self, key: &str) -> Option<usize> {
        self.0.iter().position(|(k, _)| k.as_text() == Some(key))
    }

    /// Replaces a field, or adds it at the end.
    pub fn set(&mut self, key: &str, value: impl Into<Cv>) {
        match self.at(key) {
            Some(at) => self.0[at].1 = value.into(),
            None => self.0.push((key.into(), value.into())),
        }
    }

    pub fn remove(&mut self, key: &str) {
        let at = self.at(key).unwrap_or_else(|| panic!("no field {key}"));
        self.0.remove(at);
    }

    pub fn get(&mut self, key: &str) -> &mut Cv {
        let at = self.at(key).unwrap_or_else(|| panic!("no field {key}"));
        &mut self.0[at].1
    }
}

pub fn encode(value: &Cv) -> Vec<u8> {
    let mut bytes = vec![];
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes
}

fn split(frame: &[u8]) -> (Cv, Cv) {
    let mut rest = frame;
    let header = ciborium::from_reader(&mut rest).unwrap();
    (header, ciborium::from_reader(&mut rest).unwrap())
}

/// The frame with its header and body changed.
pub fn with(frame: &[u8], change: impl FnOnce(&mut Fields, &mut Fields)) -> Vec<u8> {
    let (mut header, mut body) = split(frame);
    assert_eq!([encode(&header), encode(&body)].concat(), frame, "what is not changed stays as it was");
    change(&mut Fields(header.as_map_mut().unwrap()), &mut Fields(body.as_map_mut().unwrap()));
    [encode(&header), encode(&body)].concat()
}

/// The frame with one field of its body replaced, or added at the end.
pub fn with_field(frame: &[u8], key: &str, value: impl Into<Cv>) -> Vec<u8> {
    with(frame, |_, body| body.set(key, value))
}

pub fn without_field(frame: &[u8], key: &str) -> Vec<u8> {
    with(frame, |_, body| body.remove(key))
}

/// The frame with bytes that no CBOR library writes as the value of a field of its body.
pub fn with_raw(frame: &[u8], key: &str, raw: &[u8]) -> Vec<u8> {
    const MARK: &str = "\u{1}here\u{1}";
    splice(with_field(frame, key, MARK), &encode(&MARK.into()), raw)
}

/// Replaces the one occurrence of `old`.
pub fn splice(bytes: Vec<u8>, old: &[u8], new: &[u8]) -> Vec<u8> {
    let at: Vec<usize> = (0..=bytes.len() - old.len()).filter(|at| bytes[*at..].starts_with(old)).collect();
    assert_eq!(at.len(), 1, "one place to change");
    [&bytes[..at[0]], new, &bytes[at[0] + old.len()..]].concat()
}

/// Where the body starts.
pub fn body_at(frame: &[u8]) -> usize {
    encode(&split(frame).0).len()
}

pub fn link(cid: &Cid) -> Cv {
    raw_link(&cid.to_bytes())
}

/// A link to whatever these bytes are.
pub fn raw_link(cid: &[u8]) -> Cv {
    Cv::Tag(42, Box::new(Cv::Bytes([&[0], cid].concat())))
}

/// A CAR in parts: header, then sections of CID and block.
pub struct Car {
    pub header: Vec<u8>,
    pub sections: Vec<Vec<u8>>,
}

impl Car {
    /// Takes the CAR out of a frame.
    pub fn of(frame: &[u8]) -> Car {
        let (_, body) = split(frame);
        let blocks = body.as_map().unwrap().iter().find(|(k, _)| k.as_text() == Some("blocks")).unwrap().1.clone();
        let mut rest = &blocks.as_bytes().unwrap()[..];
        let mut next = || {
            let mut len = 0usize;
            let mut shift = 0;
            while let Some((&byte, after)) = rest.split_first() {
                rest = after;
                len |= usize::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    let (section, after) = rest.split_at(len);
                    rest = after;
                    return Some(section.to_vec());
                }
            }
            None
        };
        let header = next().unwrap();
        Car { header, sections: std::iter::from_fn(next).collect() }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![];
        for part in std::iter::once(&self.header).chain(&self.sections) {
            out.extend(varint(part.len()));
            out.extend(part);
        }
        out
    }

    /// The section that holds this block.
    pub fn section(&mut self, cid: &Cid) -> &mut Vec<u8> {
        let cid = cid.to_bytes();
        self.sections.iter_mut().find(|section| section.starts_with(&cid)).expect("the block is in the CAR")
    }
}

pub fn varint(mut n: usize) -> Vec<u8> {
    let mut out = vec![];
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out
}

/// The good commit with its CAR changed.
pub fn with_car(change: impl FnOnce(&mut Car)) -> Vec<u8> {
    let frame = good_commit();
    let mut car = Car::of(&frame);
    assert_eq!(with_field(&frame, "blocks", Cv::Bytes(car.encode())), frame, "what is not changed stays as it was");
    change(&mut car);
    with_field(&frame, "blocks", Cv::Bytes(car.encode()))
}

/// `n` arrays in each other, and a number.
pub fn nested(n: usize) -> Vec<u8> {
    [vec![0x81; n], vec![0x01]].concat()
}
