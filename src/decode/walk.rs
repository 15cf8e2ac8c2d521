//! A walk through a signed tree, only where keys of certain beginnings can be.
//!
//! In: the root that somebody signed, prefixes (`community.lexicon.calendar.event/`, `a.b.`), and blocks as they come. Out:
//! which blocks are needed next, and in the end every leaf under the prefixes. Always true: nothing is believed that the
//! root's hash does not vouch for, so that what is missing from the leaves is missing from the repository; memory grows
//! with what is under the prefixes, not with the repository, and never above [`MAX_WALK_NODES`] and [`MAX_WALK_BYTES`].
//! Never: IO; who fetches the blocks, and how, is the caller's business.

use std::collections::BTreeMap;

use super::car::check_hash;
use super::mst::node::{Keys, Link, Node, Place};
use super::{Reason, Reject};
use crate::event::Cid;

/// At most this many nodes are read in one walk. A repository of a million records has some 300,000.
pub const MAX_WALK_NODES: usize = 500_000;
/// The leaves that are found, and what is known of the nodes still needed, may take at most this many bytes together.
pub const MAX_WALK_BYTES: usize = 200_000_000;

/// What is known of a node before it is read.
#[derive(Clone, Debug)]
struct Wanted {
    after: Option<Box<[u8]>>,
    before: Option<Box<[u8]>>,
    layer: Option<u8>,
}

impl Wanted {
    fn bytes(&self) -> usize {
        let key = |key: &Option<Box<[u8]>>| key.as_ref().map_or(0, |key| key.len());
        Cid::LEN + key(&self.after) + key(&self.before)
    }
}

/// The state of a walk. Feed it until it needs nothing more.
#[derive(Clone, Debug)]
pub struct RepoWalk {
    prefixes: Vec<Box<str>>,
    wanted: BTreeMap<Cid, Wanted>,
    /// In the order in which they were found. No key stands in a tree twice: each node's keys lie where its parent has a
    /// place for them.
    leaves: Vec<(Box<str>, Cid)>,
    /// Nodes read or wanted.
    nodes: usize,
    /// What leaves and wanted nodes take.
    bytes: usize,
}

impl RepoWalk {
    /// A walk from the root of a tree (a commit's `data`) towards all keys that begin with one of `prefixes`. The empty
    /// prefix is the whole repository; no prefix is nothing of it.
    pub fn new(root: Cid, prefixes: impl IntoIterator<Item = impl Into<Box<str>>>) -> Self {
        let prefixes: Vec<Box<str>> = prefixes.into_iter().map(Into::into).collect();
        let first = Wanted { after: None, before: None, layer: None };
        let wanted = if prefixes.is_empty() { BTreeMap::new() } else { BTreeMap::from([(root, first)]) };
        RepoWalk { prefixes, wanted, leaves: Vec::new(), nodes: 1, bytes: 0 }
    }

    /// The nodes that must be fed next, in the order of their CIDs. Nothing when the walk is done.
    pub fn needs(&self) -> impl Iterator<Item = Cid> + '_ {
        self.wanted.keys().copied()
    }

    /// Whether this block is needed now.
    pub fn wants(&self, cid: &Cid) -> bool {
        self.wanted.contains_key(cid)
    }

    /// Whether every leaf under the prefixes has been found.
    pub fn is_done(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Takes a block. One that is not needed is ignored.
    ///
    /// # Errors
    /// [`Reason::HashMismatch`], after which the right block can still be fed; [`Reason::NodeShape`],
    /// [`Reason::NodeKey`], [`Reason::NodeLayer`]: the account signed a tree that is none;
    /// [`Reason::TreeTooLarge`].
    pub fn feed(&mut self, cid: &Cid, block: &[u8]) -> Result<(), Reject> {
        if !self.wants(cid) {
            return Ok(());
        }
        check_hash(cid, block)?;
        let Some(wanted) = self.wanted.remove(cid) else { return Ok(()) };
        self.bytes -= wanted.bytes().min(self.bytes);
        // Keys are cut by what they share: written out they rarely take more than the block.
        let mut keys = Keys::with_capacity(block.len() + 256);
        let mut bound = |key: &Option<Box<[u8]>>| key.as_ref().and_then(|key| keys.add(None, key));
        let place = Place { after: bound(&wanted.after), before: bound(&wanted.before), layer: wanted.layer };
        let node = Node::parse(*cid, block, &mut keys, place)?;
        for entry in &node.entries {
            let key = keys.get(entry.key);
            if self.prefixes.iter().any(|prefix| key.starts_with(prefix.as_bytes())) {
                // Keys are ASCII: the node has seen to that.
                let key: Box<str> = String::from_utf8_lossy(key).into();
                self.bytes += key.len() + Cid::LEN;
                self.leaves.push((key, entry.value));
            }
        }
        for gap in 0..=node.entries.len() {
            if let Link::Unread(child) = node.child(gap) {
                let place = node.place_of(gap, place);
                let bound = |key: Option<_>| key.map(|key| Box::<[u8]>::from(keys.get(key)));
                self.want(
                    child,
                    Wanted { after: bound(place.after), before: bound(place.before), layer: place.layer },
                )?;
            }
        }
        match self.bytes > MAX_WALK_BYTES {
            true => Err(Reject::new(Reason::TreeTooLarge, format!("more than {MAX_WALK_BYTES} bytes of leaves"))),
            false => Ok(()),
        }
    }

    /// Notes a child if it can hold a key that is asked for.
    fn want(&mut self, cid: Cid, child: Wanted) -> Result<(), Reject> {
        if !self.prefixes.iter().any(|prefix| may_hold(&child, prefix.as_bytes())) {
            return Ok(());
        }
        self.nodes += 1;
        if self.nodes > MAX_WALK_NODES {
            return Err(Reject::new(Reason::TreeTooLarge, format!("more than {MAX_WALK_NODES} tree nodes")));
        }
        self.bytes += child.bytes();
        match self.wanted.insert(cid, child) {
            None => Ok(()),
            // A node holds at least one key below it, and no key stands in a tree twice.
            Some(_) => Err(Reject::new(Reason::NodeKey, format!("tree node {cid} hangs in two places"))),
        }
    }

    /// The leaves found so far, in the order of their keys: `collection/rkey` and the record's CID. All there are under the
    /// prefixes once [`RepoWalk::is_done`].
    pub fn leaves(&self) -> impl ExactSizeIterator<Item = (&str, Cid)> + '_ {
        let mut leaves: Vec<(&str, Cid)> = self.leaves.iter().map(|(key, cid)| (&**key, *cid)).collect();
        leaves.sort_unstable();
        leaves.into_iter()
    }
}

/// Whether a key that begins with `prefix` can lie strictly between these two.
fn may_hold(child: &Wanted, prefix: &[u8]) -> bool {
    // The least such key is the prefix itself; the greater ones all begin with it until none does.
    child.before.as_ref().is_none_or(|before| prefix < &before[..])
        && child.after.as_ref().is_none_or(|after| &after[..] < prefix || after.starts_with(prefix))
}
