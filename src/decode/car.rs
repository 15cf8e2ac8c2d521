//! CAR v1 over a slice: where each block lies, and its bytes once their hash has been checked.
//!
//! In: the `blocks` of a frame. Out: blocks by CID, borrowed. Always true: bytes handed out have the hash that their CID
//! states. Never: a copy, a hash of a block that nobody asks for. Format: <https://ipld.io/specs/transport/car/carv1/>.

use sha2::{Digest, Sha256};

use super::cbor::Reader;
use super::{Reason, Reject};
use crate::event::Cid;

/// Above this many blocks look-ups go through a sorted index; below, a scan is quicker.
const SCAN_LIMIT: usize = 32;

struct Block {
    cid: Cid,
    start: usize,
    end: usize,
}

/// The blocks of one CAR.
pub struct Car<'a> {
    bytes: &'a [u8],
    root: Cid,
    blocks: Vec<Block>,
}

impl<'a> Car<'a> {
    /// Finds the blocks without hashing them. Their order does not matter, nor do blocks that nobody uses.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Reject> {
        let (header_len, mut at) = section(bytes, 0)?;
        let root = first_root(&bytes[at..at + header_len])?;
        at += header_len;
        let mut blocks = Vec::with_capacity((bytes.len() / 300).min(256));
        while at < bytes.len() {
            let (len, start) = section(bytes, at)?;
            let end = start + len;
            let cid = Cid::from_prefix(&bytes[start..end]).ok_or_else(|| {
                Reject::new(Reason::CarCid, format!("block at byte {start} of the CAR has no blessed CIDv1"))
            })?;
            blocks.push(Block { cid, start: start + Cid::LEN, end });
            at = end;
        }
        if blocks.len() > SCAN_LIMIT {
            blocks.sort_by_key(|block| block.cid);
        }
        Ok(Car { bytes, root, blocks })
    }

    /// The first root.
    pub fn root(&self) -> Cid {
        self.root
    }

    /// How many blocks it carries.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether it carries no block.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Whether it carries a block under `cid`; its bytes are not looked at.
    pub fn has(&self, cid: &Cid) -> bool {
        self.find(cid).is_some()
    }

    /// The bytes under `cid`, hash-checked. `what` names them in a refusal.
    pub fn block(&self, cid: &Cid, what: &str) -> Result<&'a [u8], Reject> {
        let bytes = self
            .find(cid)
            .ok_or_else(|| Reject::new(Reason::MissingBlock, format!("{what} {cid} is not in the CAR")))?;
        if !is_hash_of(cid, bytes) {
            return Err(Reject::new(Reason::HashMismatch, format!("{what}: the bytes under {cid} have another hash")));
        }
        Ok(bytes)
    }

    /// The bytes under `cid`, whatever their hash.
    pub(super) fn find(&self, cid: &Cid) -> Option<&'a [u8]> {
        let found = if self.blocks.len() > SCAN_LIMIT {
            self.blocks.binary_search_by_key(cid, |block| block.cid).ok().map(|i| &self.blocks[i])
        } else {
            self.blocks.iter().find(|block| block.cid == *cid)
        };
        found.map(|block| &self.bytes[block.start..block.end])
    }
}

fn is_hash_of(cid: &Cid, bytes: &[u8]) -> bool {
    Sha256::digest(bytes)[..] == cid.digest()[..]
}

/// Whether a block from anywhere has the hash that its CID states.
///
/// # Errors
/// [`Reason::HashMismatch`].
pub fn check_hash(cid: &Cid, bytes: &[u8]) -> Result<(), Reject> {
    match is_hash_of(cid, bytes) {
        true => Ok(()),
        false => Err(Reject::new(Reason::HashMismatch, format!("the bytes under {cid} have another hash"))),
    }
}

/// The length of the section at `at`, and where its content starts.
pub(super) fn section(bytes: &[u8], at: usize) -> Result<(usize, usize), Reject> {
    let wrong = |what: &str| Reject::new(Reason::CarLength, format!("{what} at byte {at} of the CAR"));
    let mut len = 0u64;
    // Nothing here is longer than 2,000,000 bytes: four groups of seven bits hold that.
    for (i, &byte) in bytes[at..].iter().take(4).enumerate() {
        len |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            if byte == 0 && i > 0 {
                return Err(wrong("varint that is not in its shortest form"));
            }
            let start = at + i + 1;
            return match usize::try_from(len).ok().filter(|len| *len <= bytes.len() - start) {
                Some(len) => Ok((len, start)),
                None => Err(wrong(&format!("section of {len} bytes, {} there", bytes.len() - start))),
            };
        }
    }
    Err(wrong("length that is cut off or too large"))
}

pub(super) fn first_root(header: &[u8]) -> Result<Cid, Reject> {
    let wrong = |r: Reject| Reject::new(Reason::CarHeader, r.to_string());
    let mut reader = Reader::new(header);
    let (mut version, mut root, mut rooted) = (None, None, false);
    for _ in 0..reader.map().map_err(wrong)? {
        match reader.key().map_err(wrong)? {
            b"version" => version = Some(reader.int().map_err(wrong)?),
            b"roots" => {
                rooted = true;
                for i in 0..reader.array().map_err(wrong)? {
                    let cid = reader.link().map_err(wrong)?;
                    if i == 0 {
                        root = Some(cid);
                    }
                }
            }
            _ => reader.skip().map_err(wrong)?,
        }
    }
    reader.finish().map_err(wrong)?;
    match (version, rooted, root) {
        (Some(1), true, Some(root)) => Ok(root),
        (Some(1), true, None) => Err(Reject::new(Reason::CarRoot, "the CAR has no root")),
        (Some(1), false, _) => Err(Reject::new(Reason::CarHeader, "no roots")),
        (Some(v), ..) => Err(Reject::new(Reason::CarHeader, format!("version {v}"))),
        (None, ..) => Err(Reject::new(Reason::CarHeader, "no version")),
    }
}
