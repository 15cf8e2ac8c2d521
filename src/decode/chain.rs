//! Whether a commit follows the last one known of its repository.

use super::{Commit, EMPTY_TREE, Reason, Reject, Sync};
use crate::event::{Cid, Rev};

/// Where a repository stood when it was last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its revision.
    pub rev: Rev,
    /// Root of its tree.
    pub data: Cid,
    /// The signed commit, where it was seen.
    pub cid: Option<Cid>,
}

impl From<&Commit> for Head {
    fn from(commit: &Commit) -> Self {
        Head { rev: commit.rev, data: commit.data, cid: Some(commit.cid) }
    }
}

impl From<&Sync> for Head {
    fn from(sync: &Sync) -> Self {
        Head { rev: sync.rev, data: sync.data, cid: Some(sync.cid) }
    }
}

/// How a commit stands to the last known [`Head`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    /// Nothing is known before it: the chain begins here.
    Anchor,
    /// It was made right after the last one.
    Follows,
    /// It is the last one, seen again.
    Duplicate,
    /// Its rev is not newer than the last one's.
    Old,
    /// Newer, but something between is missing.
    Gap {
        /// Whether `since` is the last rev, or not stated, as with some hosts.
        since_fits: bool,
        /// Whether `prevData` is the last tree. Where it is not stated, the tree before was empty.
        prev_data_fits: bool,
    },
}

/// Judges a commit by the last known head. `since` may be absent, because some hosts never state it; `prevData` may only
/// be absent on a repository's first commit, and then means the empty tree.
pub fn chain(last: Option<&Head>, commit: &Commit) -> Chain {
    let Some(last) = last else { return Chain::Anchor };
    let is_same = match last.cid {
        Some(cid) => cid == commit.cid,
        None => (last.rev, last.data) == (commit.rev, commit.data),
    };
    if is_same {
        return Chain::Duplicate;
    }
    if commit.rev <= last.rev {
        return Chain::Old;
    }
    let since_fits = commit.since.is_none_or(|since| since == last.rev);
    let prev_data_fits = commit.prev_data.unwrap_or(EMPTY_TREE) == last.data;
    if since_fits && prev_data_fits { Chain::Follows } else { Chain::Gap { since_fits, prev_data_fits } }
}

/// The refusal for a commit that stands so to the last known head; `None` for those that need none.
pub fn chain_reject(chain: Chain, last: Option<&Head>, commit: &Commit) -> Option<Reject> {
    let last = last?;
    match chain {
        Chain::Anchor | Chain::Follows | Chain::Duplicate => None,
        Chain::Old => {
            let detail = format!("rev {} after {}, and not the same commit", commit.rev, last.rev);
            Some(Reject::new(Reason::RevNotNewer, detail))
        }
        Chain::Gap { since_fits: false, .. } => {
            let since = commit.since.map_or("null".to_owned(), |rev| rev.to_string());
            Some(Reject::new(Reason::ChainBroken, format!("since {since}, but the last rev seen is {}", last.rev)))
        }
        Chain::Gap { .. } => {
            let stated = commit.prev_data.map_or("no prevData".to_owned(), |cid| format!("prevData {cid}"));
            Some(Reject::new(Reason::ChainBroken, format!("{stated}, but the last tree seen is {}", last.data)))
        }
    }
}
