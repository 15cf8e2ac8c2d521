//! The signed commit object of a repository, as a block of a CAR.
//!
//! <https://atproto.com/specs/repository#commit-objects>

use super::cbor::{Reader, check_canonical};
use super::{Reason, Reject};
use crate::event::{Cid, Did, Rev};

/// What a commit object says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCommit<'a> {
    /// Whose repository.
    pub did: Did,
    /// Its revision.
    pub rev: Rev,
    /// Root of its tree of records.
    pub data: Cid,
    /// The signature: 64 bytes when it is sound, unchecked here.
    pub sig: &'a [u8],
}

impl<'a> SignedCommit<'a> {
    /// Reads a commit block.
    ///
    /// # Errors
    /// Bytes that are not canonical DAG-CBOR, missing fields, another version than 3, identifiers that are none.
    pub fn parse(block: &'a [u8]) -> Result<Self, Reject> {
        check_canonical(block)?;
        let shape = |r: Reject| Reject::new(Reason::BlockShape, format!("commit object: {r}"));
        let missing = |name: &str| Reject::new(Reason::BlockShape, format!("commit object without {name}"));
        let mut reader = Reader::new(block);
        let (mut did, mut rev, mut data, mut sig, mut version) = (None, None, None, None, None);
        for _ in 0..reader.map().map_err(shape)? {
            match reader.key().map_err(shape)? {
                b"did" => did = Some(reader.text().map_err(shape)?),
                b"rev" => rev = Some(reader.text().map_err(shape)?),
                b"sig" => sig = Some(reader.bytes().map_err(shape)?),
                b"data" => data = Some(reader.link().map_err(shape)?),
                b"version" => version = Some(reader.int().map_err(shape)?),
                _ => reader.skip().map_err(shape)?,
            }
        }
        match version {
            Some(3) => {}
            Some(other) => return Err(Reject::new(Reason::CommitVersion, format!("version {other}"))),
            None => return Err(missing("version")),
        }
        let ident = |e: crate::event::IdentError| Reject::new(Reason::BlockShape, format!("commit object: {e}"));
        Ok(SignedCommit {
            did: Did::parse(did.ok_or_else(|| missing("did"))?).map_err(ident)?,
            rev: Rev::parse(rev.ok_or_else(|| missing("rev"))?).map_err(ident)?,
            data: data.ok_or_else(|| missing("data"))?,
            sig: sig.ok_or_else(|| missing("sig"))?,
        })
    }
}
