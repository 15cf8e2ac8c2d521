//! From a signed commit to the followed records, whoever has the blocks.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use super::rows::Rows;
use super::trouble::Trouble;
use super::{Target, check_rev, key_of};
use crate::decode::{RepoWalk, SignedCommit};
use crate::event::{Cid, Nsid, Rev, Rkey};
use crate::filter::CollectionSet;

/// Who has blocks.
pub(super) trait BlockSource {
    /// How many are best asked for at once.
    const AT_ONCE: usize;

    /// This block, hash-checked, if it is there without asking.
    fn at_hand(&self, _cid: &Cid) -> Option<Bytes> {
        None
    }

    /// These blocks, hash-checked.
    ///
    /// # Errors
    /// [`Trouble::Missing`] unless all of them are there.
    fn get(&mut self, cids: &[Cid]) -> impl Future<Output = Result<HashMap<Cid, Bytes>, Trouble>> + Send;
}

/// What the signed head of a repository says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub rev: Rev,
    pub data: Cid,
}

/// Reads the commit under `cid` and checks that it is the account's, signed by its key. What is `proven` already needs no
/// second proof: an account that moved keeps its last commit, signed with a key that is no longer its own, until it writes.
pub(super) async fn read_head(
    source: &mut impl BlockSource,
    cid: Cid,
    target: &Target,
    proven: Option<(Rev, Cid)>,
) -> Result<Head, Trouble> {
    let blocks = source.get(&[cid]).await?;
    let block = blocks.get(&cid).ok_or(Trouble::Missing(1))?;
    let refuse = |reject: crate::decode::Reject| Trouble::Refused(format!("the commit {cid}: {reject}"));
    let commit = SignedCommit::parse(block).map_err(refuse)?;
    if commit.did != target.did {
        return Err(Trouble::Refused(format!("the commit {cid} is of {}", commit.did)));
    }
    check_rev(commit.rev)?;
    if proven != Some((commit.rev, commit.data)) {
        commit.verify(&key_of(&target.document)?).map_err(refuse)?;
    }
    Ok(Head { rev: commit.rev, data: commit.data })
}

/// Walks the tree towards followed collections and tells every record there.
pub(super) async fn read_tree<S: BlockSource>(
    source: &mut S,
    data: Cid,
    prefixes: Vec<String>,
    rows: &mut Rows<'_>,
) -> Result<(), Trouble> {
    let refuse = |reject: crate::decode::Reject| Trouble::Refused(format!("the tree {data}: {reject}"));
    let mut walk = RepoWalk::new(data, prefixes);
    while !walk.is_done() {
        let needs: Vec<Cid> = walk.needs().take(S::AT_ONCE).collect();
        // What is there leads further down, so that all that it leads to is asked for in one go.
        let at_hand: Vec<(Cid, Bytes)> = needs.iter().filter_map(|cid| Some((*cid, source.at_hand(cid)?))).collect();
        if !at_hand.is_empty() {
            for (cid, block) in at_hand {
                walk.feed(&cid, &block).map_err(refuse)?;
            }
            continue;
        }
        let blocks = source.get(&needs).await?;
        for cid in &needs {
            walk.feed(cid, blocks.get(cid).ok_or(Trouble::Missing(1))?).map_err(refuse)?;
        }
    }
    let leaves: Vec<(&str, Cid)> = walk.leaves().collect();
    for some in leaves.chunks(S::AT_ONCE) {
        // Two records may be the same, under different keys.
        let mut cids: Vec<Cid> = some.iter().map(|(_, cid)| *cid).collect();
        cids.sort_unstable();
        cids.dedup();
        let blocks = source.get(&cids).await?;
        for (path, cid) in some {
            // A slice keeps the answer that it is cut from alive as long as it waits; a copy lets go of the rest.
            let record = Bytes::copy_from_slice(blocks.get(cid).ok_or(Trouble::Missing(1))?);
            rows.add(path, *cid, record).await?;
        }
    }
    Ok(())
}

/// The least and the greatest key that a followed record can have, among collections that are followed by name.
pub(super) fn edges(collections: &CollectionSet) -> Vec<(Nsid, Rkey)> {
    let names = collections.names().into_iter().filter_map(|name| Nsid::parse(&name).ok());
    // In the order of their keys, in which the slash after the collection counts.
    let names: BTreeMap<String, Nsid> = names.map(|name| (format!("{name}/"), name)).collect();
    let edge = |name: &Nsid, rkey| (name.clone(), Rkey::parse(rkey).expect("a literal that is a key"));
    let (first, last) = (names.values().next(), names.values().next_back());
    first.map(|name| edge(name, "-")).into_iter().chain(last.map(|name| edge(name, "~"))).collect()
}

/// The beginnings of the keys of followed records.
pub(super) fn prefixes(collections: &CollectionSet) -> Vec<String> {
    let prefix = |name: String| match name.strip_suffix('*') {
        Some(prefix) => prefix.to_owned(),
        None => format!("{name}/"),
    };
    collections.names().into_iter().map(prefix).collect()
}
