//! The cheapest way that proves everything: from the signed commit down the tree, only towards followed records. A
//! repository of any size costs a few kilobytes beside its followed records.
//!
//! Level by level that would be ten rounds of requests. Hosts that can prove the absence of a record give all nodes on the
//! way to it at once: so the two edges of what is followed are asked for first, which leaves the few levels between them.
//! Where that fails nothing is lost but two requests.

use std::collections::HashMap;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::rows::Rows;
use super::trouble::Trouble;
use super::walk::{BlockSource, edges, prefixes, read_head, read_tree};
use super::{Resync, Snapshot, Target};
use crate::decode::{car_blocks, check_hash};
use crate::event::{Cid, Nsid, Rev, Rkey, Verification};
use crate::network::{LatestCommit, Network};

/// CIDs in one request: their URL stays below what proxies take.
const CIDS_PER_CALL: usize = 80;
/// Requests at once for one repository; the host's own limit counts beside it.
const CALLS_AT_ONCE: usize = 3;

impl Resync {
    /// Reads the followed part of the tree that `latest` signs. `moved` counts bytes over the wire.
    pub(super) async fn sparse<'a>(
        &'a self,
        target: &'a Target,
        latest: LatestCommit,
        proven: Option<(Rev, Cid)>,
        moved: &mut u64,
    ) -> Result<Snapshot<'a>, Trouble> {
        let collections = self.policy.load().collections.clone();
        let mut source = HostBlocks { network: &self.network, target, moved, at_hand: HashMap::new() };
        source.read_ahead(&edges(&collections)).await;
        let head = read_head(&mut source, latest.cid, target, proven).await?;
        // The reference PDS gives a repository that moved there a revision that nobody signed.
        if head.rev != latest.rev && proven != Some((head.rev, head.data)) {
            let what = format!("the host says that {} is revision {}, but it is {}", latest.cid, latest.rev, head.rev);
            return Err(Trouble::Refused(what));
        }
        let verification = Verification::Snapshot;
        let mut rows = Rows::new(&self.inlet, &target.document, &target.upstream, head.rev, verification);
        read_tree(&mut source, head.data, prefixes(&collections), &mut rows).await?;
        Ok(Snapshot { rows, rev: head.rev, data: Some(head.data), verification })
    }
}

struct HostBlocks<'a> {
    network: &'a Network,
    target: &'a Target,
    moved: &'a mut u64,
    /// Blocks that came before they were asked for, hash-checked.
    at_hand: HashMap<Cid, Bytes>,
}

impl HostBlocks<'_> {
    /// Takes what the host gives to prove what stands at these keys. Whatever goes wrong shows again, and is dealt with, when
    /// the blocks are asked for by CID.
    async fn read_ahead(&mut self, keys: &[(Nsid, Rkey)]) {
        let (network, target) = (self.network, self.target);
        let ask = |(collection, rkey): &(Nsid, Rkey)| {
            let (collection, rkey) = (collection.clone(), rkey.clone());
            async move { network.record_proof(&target.endpoint, &target.did, &collection, &rkey).await }
        };
        for answer in join_all(keys.iter().map(ask)).await.into_iter().flatten() {
            *self.moved += answer.len() as u64;
            for (cid, range) in car_blocks(&answer).unwrap_or_default() {
                let bytes = answer.slice(range);
                if check_hash(&cid, &bytes).is_ok() {
                    self.at_hand.insert(cid, bytes);
                }
            }
        }
    }
}

impl BlockSource for HostBlocks<'_> {
    const AT_ONCE: usize = CIDS_PER_CALL * CALLS_AT_ONCE;

    fn at_hand(&self, cid: &Cid) -> Option<Bytes> {
        self.at_hand.get(cid).cloned()
    }

    async fn get(&mut self, cids: &[Cid]) -> Result<HashMap<Cid, Bytes>, Trouble> {
        let (network, target) = (self.network, self.target);
        let mut found = HashMap::with_capacity(cids.len());
        found.extend(cids.iter().filter_map(|cid| Some((*cid, self.at_hand(cid)?))));
        let asked: Vec<Cid> = cids.iter().filter(|cid| !found.contains_key(cid)).copied().collect();
        let calls: Vec<Vec<Cid>> = asked.chunks(CIDS_PER_CALL).map(<[Cid]>::to_vec).collect();
        let answers: Vec<Bytes> = stream::iter(calls)
            .map(|cids| async move { network.blocks(&target.endpoint, &target.did, &cids).await })
            .buffered(CALLS_AT_ONCE)
            .try_collect()
            .await?;
        for answer in answers {
            *self.moved += answer.len() as u64;
            let blocks = car_blocks(&answer).map_err(|reject| Trouble::Refused(format!("getBlocks: {reject}")))?;
            for (cid, range) in blocks {
                let bytes = answer.slice(range);
                if cids.contains(&cid) && !found.contains_key(&cid) {
                    check_hash(&cid, &bytes).map_err(|reject| Trouble::Refused(format!("getBlocks: {reject}")))?;
                    found.insert(cid, bytes);
                }
            }
        }
        match cids.len() - found.len() {
            0 => Ok(found),
            missing => Err(Trouble::Missing(missing)),
        }
    }
}
