//! The signed commit object of a repository, as a block of a CAR.
//!
//! <https://atproto.com/specs/repository#commit-objects>

use std::ops::Range;

use super::cbor::{Reader, check_canonical, put_head};
use super::{PublicKey, Reason, Reject};
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
    /// The signature: 64 bytes when it is sound, see [`SignedCommit::verify`].
    pub sig: &'a [u8],
    block: &'a [u8],
    /// Where the map's first entry begins.
    entries_at: usize,
    /// How many entries the map has.
    entries: u64,
    /// Where the entry of the signature stands.
    sig_at: Range<usize>,
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
        let entries = reader.map().map_err(shape)?;
        let entries_at = reader.offset();
        for _ in 0..entries {
            let entry_at = reader.offset();
            match reader.key().map_err(shape)? {
                b"did" => did = Some(reader.text().map_err(shape)?),
                b"rev" => rev = Some(reader.text().map_err(shape)?),
                b"sig" => sig = Some((reader.bytes().map_err(shape)?, entry_at..reader.offset())),
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
        let did = Did::parse(did.ok_or_else(|| missing("did"))?).map_err(ident)?;
        let rev = Rev::parse(rev.ok_or_else(|| missing("rev"))?).map_err(ident)?;
        let data = data.ok_or_else(|| missing("data"))?;
        let (sig, sig_at) = sig.ok_or_else(|| missing("sig"))?;
        Ok(SignedCommit { did, rev, data, sig, block, entries_at, entries, sig_at })
    }

    /// The bytes that were signed: the commit without its signature. All other entries are in them, also those that this
    /// version does not know. Cutting an entry out of a canonical map leaves a canonical map, once its head is lowered.
    pub fn unsigned(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.block.len());
        put_head(&mut out, super::cbor::MAP, self.entries - 1);
        out.extend_from_slice(&self.block[self.entries_at..self.sig_at.start]);
        out.extend_from_slice(&self.block[self.sig_at.end..]);
        out
    }

    /// Whether `key` signed this commit.
    ///
    /// # Errors
    /// [`Reason::SignatureLength`], [`Reason::HighS`], [`Reason::BadSignature`].
    pub fn verify(&self, key: &PublicKey) -> Result<(), Reject> {
        key.verify(&self.unsigned(), self.sig)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A commit object: a map of these entries in this order.
    fn object(entries: &[&[u8]]) -> Vec<u8> {
        let mut out = vec![];
        put_head(&mut out, super::super::cbor::MAP, entries.len() as u64);
        out.extend(entries.concat());
        out
    }

    #[test]
    fn only_the_signature_is_cut_out() {
        let data = [&b"\x64data\xd8\x2a\x58\x25\x00\x01\x71\x12\x20"[..], &[7; 32]].concat();
        let named: [&[u8]; 6] = [
            b"\x63did\x69did:a:b.c",
            b"\x63rev\x6d3n2uyhpluwr2l",
            b"\x63sig\x42ab",
            &data,
            b"\x64prev\xf6",
            b"\x67version\x03",
        ];
        // Unknown entries before, after and between, and so many that the map's head has two bytes with the signature
        // and one without.
        let first: &[u8] = b"\x61x\xa1\x63sig\x01";
        let more: Vec<Vec<u8>> =
            (0..17).map(|i| format!("\x68unheard{}\x01", (b'a' + i) as char).into_bytes()).collect();
        let more: Vec<&[u8]> = more.iter().map(Vec::as_slice).collect();
        for (before, after) in [(&[][..], &[][..]), (&[first][..], &[][..]), (&[first][..], &more[..])] {
            let all = [before, &named[..], after].concat();
            let without: Vec<&[u8]> = all.iter().copied().filter(|entry| !entry.starts_with(b"\x63sig")).collect();
            let block = object(&all);
            let commit = SignedCommit::parse(&block).unwrap();
            assert_eq!(commit.sig, b"ab");
            assert_eq!(commit.unsigned(), object(&without));
        }
        assert_eq!(more.len() + named.len() + 1, 24, "the last case crosses the border between the two heads");
    }
}
