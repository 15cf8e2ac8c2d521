//! CAR v1 over a slice: where each block lies, and its bytes once their hash has been checked.
//!
//! In: the `blocks` of a frame. Out: blocks by CID, borrowed. Always true: bytes handed out have the hash that their CID
//! states. Never: a copy, a hash of a block that nobody asks for. Format: <https://ipld.io/specs/transport/car/carv1/>.

use super::cbor::Reader;
use super::hash::sha256;
use super::{Reason, Reject};
use crate::event::Cid;

/// Above this many blocks look-ups go through buckets; below, a scan is quicker.
const SCAN_LIMIT: usize = 32;

/// Where a block lies. Its CID stands right before it.
#[derive(Clone, Copy, Default)]
struct Block {
    /// The first bytes of its CID's digest: by them nearly every other block is told apart.
    head: u64,
    start: u32,
    end: u32,
}

/// The blocks of one CAR.
pub struct Car<'a> {
    bytes: &'a [u8],
    root: Cid,
    /// In their order, or where there are many, by bucket.
    blocks: Vec<Block>,
    /// Where there are many: where the blocks of each bucket begin, and after the last one, where they end. A bucket is what
    /// the first bits of the digest say. A digest is evenly spread, so a bucket has one block or two; a CAR that crams all
    /// into one bucket costs a scan of at most its own length for each look-up.
    buckets: Vec<u32>,
}

impl<'a> Car<'a> {
    /// Finds the blocks without hashing them. Their order does not matter, nor do blocks that nobody uses.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Reject> {
        if u32::try_from(bytes.len()).is_err() {
            return Err(Reject::new(Reason::CarLength, format!("a CAR of {} bytes", bytes.len())));
        }
        let (header_len, mut at) = section(bytes, 0)?;
        let root = first_root(&bytes[at..at + header_len])?;
        at += header_len;
        let mut blocks = Vec::with_capacity((bytes.len() / 300).min(16_384));
        let mut warmed = at;
        while at < bytes.len() {
            if at >= warmed {
                warmed = warm(bytes, at);
            }
            let (len, start) = section(bytes, at)?;
            let end = start + len;
            let cid = Cid::from_prefix(&bytes[start..end]).ok_or_else(|| {
                Reject::new(Reason::CarCid, format!("block at byte {start} of the CAR has no blessed CIDv1"))
            })?;
            // They fit: the whole CAR does.
            blocks.push(Block { head: head(&cid), start: (start + Cid::LEN) as u32, end: end as u32 });
            at = end;
        }
        let mut car = Car { bytes, root, blocks, buckets: vec![] };
        if car.blocks.len() > SCAN_LIMIT {
            car.sort_into_buckets();
        }
        Ok(car)
    }

    fn sort_into_buckets(&mut self) {
        let buckets = self.blocks.len().next_power_of_two();
        self.buckets = vec![0; buckets + 1];
        let bucket = |block: &Block| bucket(block.head, buckets);
        // Counted one further, so that the running sum is where each bucket begins.
        for block in &self.blocks {
            self.buckets[bucket(block) + 1] += 1;
        }
        for at in 1..self.buckets.len() {
            self.buckets[at] += self.buckets[at - 1];
        }
        let mut next = self.buckets.clone();
        let mut sorted = vec![Block::default(); self.blocks.len()];
        for block in &self.blocks {
            let place = &mut next[bucket(block)];
            sorted[*place as usize] = *block;
            *place += 1;
        }
        self.blocks = sorted;
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
        self.unchecked(cid).is_some()
    }

    /// The bytes under `cid`, hash-checked. `what` names them in a refusal.
    pub fn block(&self, cid: &Cid, what: &str) -> Result<&'a [u8], Reject> {
        let bytes = self
            .unchecked(cid)
            .ok_or_else(|| Reject::new(Reason::MissingBlock, format!("{what} {cid} is not in the CAR")))?;
        if !is_hash_of(cid, bytes) {
            return Err(Reject::new(Reason::HashMismatch, format!("{what}: the bytes under {cid} have another hash")));
        }
        Ok(bytes)
    }

    /// The bytes under `cid`, whatever their hash: for those who check it themselves, as [`RepoWalk`](super::RepoWalk) does.
    /// Of two blocks under one CID it is the first.
    pub fn unchecked(&self, cid: &Cid) -> Option<&'a [u8]> {
        let sought = head(cid);
        let candidates = match self.buckets.len().checked_sub(1) {
            None => &self.blocks[..],
            Some(buckets) => {
                let at = bucket(sought, buckets);
                &self.blocks[self.buckets[at] as usize..self.buckets[at + 1] as usize]
            }
        };
        let written = cid.to_bytes();
        let is_it = |block: &&Block| {
            let start = block.start as usize;
            block.head == sought && self.bytes[start - Cid::LEN..start] == written
        };
        candidates.iter().find(is_it).map(|block| &self.bytes[block.start as usize..block.end as usize])
    }
}

#[inline]
fn head(cid: &Cid) -> u64 {
    u64::from_be_bytes(*cid.digest().first_chunk().expect("a digest has 32 bytes"))
}

/// Which of so many buckets, a power of two above one: the first bits.
#[inline]
fn bucket(head: u64, buckets: usize) -> usize {
    (head >> (u64::BITS - buckets.ilog2())) as usize
}

/// Reads one byte of each cache line of the next few kilobytes, and says where they end. Each section tells where the next
/// one begins, so that where the bytes are not in the cache, every section would wait for memory in its turn; reads that do
/// not depend on each other wait together.
fn warm(bytes: &[u8], at: usize) -> usize {
    const LINE: usize = 64;
    const AHEAD: usize = 8 * 1024;
    let end = bytes.len().min(at + AHEAD);
    std::hint::black_box(bytes[at..end].iter().step_by(LINE).fold(0, |sum, byte| sum ^ byte));
    end
}

fn is_hash_of(cid: &Cid, bytes: &[u8]) -> bool {
    sha256(bytes) == *cid.digest()
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
#[inline]
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Codec;

    /// A CAR of these blocks, one byte each, under CIDs that are not theirs.
    fn car(cids: &[Cid]) -> Vec<u8> {
        let header = [&b"\x3a\xa2\x65roots\x81\xd8\x2a\x58\x25\x00"[..], &cids[0].to_bytes(), b"\x67version\x01"];
        let blocks = cids.iter().enumerate().map(|(n, cid)| [&[37][..], &cid.to_bytes(), &[n as u8]].concat());
        [header.concat(), blocks.collect::<Vec<_>>().concat()].concat()
    }

    #[track_caller]
    fn check(count: usize, digest: fn(usize) -> [u8; 32]) {
        let cids: Vec<Cid> = (0..count).map(|n| Cid::new(Codec::DagCbor, digest(n))).collect();
        let bytes = car(&cids);
        let car = Car::parse(&bytes).unwrap();
        assert_eq!((car.len(), car.root()), (count, cids[0]));
        for (n, cid) in cids.iter().enumerate() {
            assert_eq!(car.unchecked(cid), Some(&[n as u8][..]), "{n} of {count}");
            assert_eq!(car.block(cid, "it").unwrap_err().reason, Reason::HashMismatch);
            assert!(!car.has(&Cid::new(Codec::Raw, *cid.digest())), "the codec is a part of the CID");
        }
        assert!(!car.has(&Cid::new(Codec::DagCbor, digest(count))));
    }

    #[test]
    fn every_block_is_found_however_many_there_are_and_however_alike() {
        for count in [1, 2, SCAN_LIMIT, SCAN_LIMIT + 1, 64, 65, 200] {
            check(count, |n| sha256(&[n as u8, 1]));
            // All in one bucket: told apart by the last byte alone, or by the first that a bucket does not look at.
            check(count, |n| std::array::from_fn(|at| if at == 31 { n as u8 } else { 7 }));
            check(count, |n| std::array::from_fn(|at| if at == 7 { n as u8 } else { 0xff }));
        }
    }

    #[test]
    fn of_two_blocks_under_one_cid_it_is_the_first() {
        for count in [2, 40] {
            let cids = vec![Cid::new(Codec::DagCbor, [9; 32]); count];
            let bytes = car(&cids);
            assert_eq!(Car::parse(&bytes).unwrap().unchecked(&cids[0]), Some(&[0][..]));
        }
    }
}
