//! The whole repository, streamed into a file and walked there.

use std::time::{Duration, Instant};

use super::rows::Rows;
use super::spool::SpoolWriter;
use super::trouble::Trouble;
use super::walk::{prefixes, read_head, read_tree};
use super::{Resync, Snapshot, Target};
use crate::decode::{CarPart, CarStream};
use crate::event::{Cid, Rev, Verification};

/// After this long a host must have been this fast, or it would hold a worker for days by a byte every half minute.
const GRACE: Duration = Duration::from_secs(60);
/// Bytes per second.
const SLOWEST: f64 = 4_000.0;

impl Resync {
    /// Fetches the repository and reads what is followed of it. `moved` counts bytes over the wire.
    pub(super) async fn car<'a>(
        &'a self,
        target: &'a Target,
        proven: Option<(Rev, Cid)>,
        moved: &mut u64,
    ) -> Result<Snapshot<'a>, Trouble> {
        let mut stream = self.network.repo(&target.endpoint, &target.did, self.repo_bytes_max).await?;
        let mut spool = SpoolWriter::create(&self.spool_dir)?;
        let (mut car, mut root) = (CarStream::new(), None);
        let started = Instant::now();
        let refuse = |reject: crate::decode::Reject| Trouble::Refused(format!("getRepo: {reject}"));
        while let Some(chunk) = stream.next_chunk().await? {
            *moved += chunk.len() as u64;
            spool.write(&chunk).await?;
            car.push(chunk);
            while let Some(part) = car.next_part().map_err(refuse)? {
                match part {
                    CarPart::Root(cid) => root = Some(cid),
                    CarPart::Block { cid, at, bytes } => spool.note(&cid, at, bytes.len())?,
                }
            }
            let elapsed = started.elapsed();
            if elapsed > GRACE && (*moved as f64) < SLOWEST * elapsed.as_secs_f64() {
                return Err(Trouble::TooSlow { bytes: *moved, seconds: elapsed.as_secs() });
            }
        }
        drop(stream);
        let root = match (car.finish(), root) {
            (Ok(()), Some(root)) => root,
            _ => return Err(Trouble::CutShort { bytes: *moved }),
        };
        let mut spool = spool.finish().await?;
        let head = read_head(&mut spool, root, target, proven).await?;
        let verification = Verification::Snapshot;
        let mut rows = Rows::new(&self.inlet, &target.document, &target.upstream, head.rev, verification);
        let prefixes = prefixes(&self.policy.load().collections);
        read_tree(&mut spool, head.data, prefixes, &mut rows).await?;
        Ok(Snapshot { rows, rev: head.rev, data: Some(head.data), verification })
    }
}
