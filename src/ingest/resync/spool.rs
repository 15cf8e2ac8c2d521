//! A whole repository in a file without a name, with an index of 16 bytes a block: how a repository of any size is walked
//! in little memory.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;
use rand::Rng;
use tokio::io::AsyncWriteExt;

use super::trouble::Trouble;
use super::walk::BlockSource;
use crate::decode::check_hash;
use crate::event::Cid;

/// Blocks of more entries would need more memory than a repository may have: 128 MB.
const BLOCKS_MAX: usize = 8_000_000;
/// Bits of an index entry that hold a block's length; the rest holds where it stands.
const LENGTH_BITS: u32 = 24;

/// Where a block stands: the first eight bytes of its digest, then place and length in one number.
type Entry = (u64, u64);

/// A file that takes a CAR.
pub(super) struct SpoolWriter {
    file: tokio::fs::File,
    index: Vec<Entry>,
}

impl SpoolWriter {
    /// A new file in `dir`, which is made when it is not there. Its name is taken away at once, so that nothing is left of
    /// it whatever becomes of this process.
    pub fn create(dir: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let path = dir.join(format!("repo-{}-{:016x}", std::process::id(), rand::rng().next_u64()));
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        std::fs::remove_file(&path)?;
        Ok(SpoolWriter { file: file.into(), index: Vec::new() })
    }

    /// Takes the next bytes of the CAR.
    pub async fn write(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.file.write_all(chunk).await
    }

    /// Notes that a block stands at this byte of the CAR.
    pub fn note(&mut self, cid: &Cid, at: u64, len: usize) -> Result<(), Trouble> {
        if self.index.len() >= BLOCKS_MAX {
            return Err(Trouble::Refused(format!("the repository has more than {BLOCKS_MAX} blocks")));
        }
        if len >> LENGTH_BITS != 0 || at >> (64 - LENGTH_BITS) != 0 {
            return Err(Trouble::Refused(format!("a block of {len} bytes at byte {at}")));
        }
        self.index.push((head_of(cid), at << LENGTH_BITS | len as u64));
        Ok(())
    }

    /// All of it is there.
    pub async fn finish(mut self) -> io::Result<Spool> {
        self.file.flush().await?;
        self.index.sort_unstable();
        Ok(Spool { file: self.file.into_std().await, index: self.index })
    }
}

/// A CAR in a file, block by block.
pub(super) struct Spool {
    file: File,
    index: Vec<Entry>,
}

impl Spool {
    /// The bytes under `cid`, if they are there. A block whose bytes are others is not it: a host may send several.
    fn block(&self, cid: &Cid) -> Result<Option<Bytes>, Trouble> {
        let head = head_of(cid);
        let first = self.index.partition_point(|entry| entry.0 < head);
        for entry in self.index[first..].iter().take_while(|entry| entry.0 == head) {
            let (at, len) = (entry.1 >> LENGTH_BITS, entry.1 & ((1 << LENGTH_BITS) - 1));
            let mut bytes = vec![0; usize::try_from(len).expect("24 bits fit")];
            self.file.read_exact_at(&mut bytes, at)?;
            if check_hash(cid, &bytes).is_ok() {
                return Ok(Some(bytes.into()));
            }
        }
        Ok(None)
    }
}

impl BlockSource for Spool {
    const AT_ONCE: usize = 16;

    async fn get(&mut self, cids: &[Cid]) -> Result<HashMap<Cid, Bytes>, Trouble> {
        let mut found = HashMap::with_capacity(cids.len());
        for cid in cids {
            found.insert(*cid, self.block(cid)?.ok_or(Trouble::Missing(1))?);
        }
        // A walk through hundreds of thousands of blocks waits for nothing else.
        tokio::task::yield_now().await;
        Ok(found)
    }
}

fn head_of(cid: &Cid) -> u64 {
    let (head, _) = cid.digest().split_first_chunk().expect("a digest has 32 bytes");
    u64::from_be_bytes(*head)
}
