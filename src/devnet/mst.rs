//! The Merkle Search Tree of a repository, whole and in memory. Spec: <https://atproto.com/specs/repository#mst-structure>.
//!
//! In: keys (`collection/rkey`) with record CIDs. Out: root CID, node blocks, and the blocks that prove a commit.
//! Always true: the shape depends on the set of leaves alone, never on the order of the writes.
//! Nodes are shared between copies of a tree and copied when written (`Arc`), so that a clone costs nothing and a
//! thousand repositories can grow out of one. Each node remembers its CID until it is written.
//! Never: decodes a block.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256};

use super::cbor::{cid_of, put_bytes, put_head, put_int, put_link, put_null, put_text};
use crate::event::Cid;

mod walk;

pub use walk::Part;

/// Blocks by CID.
pub type Blocks = BTreeMap<Cid, Vec<u8>>;

/// A node that this (pruned) tree does not hold, and that the operation would have to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the tree was pruned and node {0} is not in it")]
pub struct MissingNode(pub Cid);

/// The layer of a key: the number of leading zero bits of its SHA-256, counted in pairs.
pub fn key_height(key: &[u8]) -> u8 {
    let mut height = 0;
    for byte in Sha256::digest(key) {
        height += byte.leading_zeros() as u8 / 2;
        if byte != 0 {
            break;
        }
    }
    height
}

/// Length in bytes of the longest common prefix.
pub fn common_prefix_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

#[derive(Clone, Debug)]
struct Leaf {
    key: Arc<str>,
    value: Cid,
}

/// What hangs between two leaves of a node.
#[derive(Clone, Debug)]
enum Child {
    None,
    Node(Arc<Node>),
    /// Known by CID only: see [`Mst::prune`].
    Stub(Cid),
}

/// One node. `children` is always one longer than `leaves`: child `i` holds what sorts before leaf `i`.
#[derive(Clone, Debug)]
struct Node {
    height: u8,
    leaves: Vec<Leaf>,
    children: Vec<Child>,
    cid: OnceLock<Cid>,
}

impl Child {
    fn cid(&self) -> Option<Cid> {
        match self {
            Child::None => None,
            Child::Node(node) => Some(node.cid()),
            Child::Stub(cid) => Some(*cid),
        }
    }

    fn loaded(self) -> Result<Option<Node>, MissingNode> {
        match self {
            Child::None => Ok(None),
            Child::Node(node) => Ok(Some(Arc::unwrap_or_clone(node))),
            Child::Stub(cid) => Err(MissingNode(cid)),
        }
    }

    /// Hangs this child below as many empty nodes as it takes to stand at `height`.
    fn raised_to(self, from: u8, height: u8) -> Child {
        if matches!(self, Child::None) {
            return self;
        }
        (from + 1..=height).fold(self, |child, h| Child::Node(Arc::new(Node::new(h, vec![], vec![child]))))
    }
}

impl Node {
    fn new(height: u8, leaves: Vec<Leaf>, children: Vec<Child>) -> Self {
        debug_assert_eq!(children.len(), leaves.len() + 1);
        Node { height, leaves, children, cid: OnceLock::new() }
    }

    fn cid(&self) -> Cid {
        *self.cid.get_or_init(|| cid_of(&self.encode()))
    }

    /// The block: `{l, e: [{p, k, v, t}]}` with each key cut by what it shares with the one before.
    fn encode(&self) -> Vec<u8> {
        let link_or_null = |out: &mut Vec<u8>, child: &Child| match child.cid() {
            Some(cid) => put_link(out, &cid),
            None => put_null(out),
        };
        let mut out = Vec::with_capacity(64 + self.leaves.len() * 128);
        put_head(&mut out, 5, 2);
        put_text(&mut out, "e");
        put_head(&mut out, 4, self.leaves.len() as u64);
        let mut before: &[u8] = &[];
        for (leaf, right) in self.leaves.iter().zip(&self.children[1..]) {
            let key = leaf.key.as_bytes();
            let shared = common_prefix_len(before, key);
            put_head(&mut out, 5, 4);
            put_text(&mut out, "k");
            put_bytes(&mut out, &key[shared..]);
            put_text(&mut out, "p");
            put_int(&mut out, shared as i64);
            put_text(&mut out, "t");
            link_or_null(&mut out, right);
            put_text(&mut out, "v");
            put_link(&mut out, &leaf.value);
            before = key;
        }
        put_text(&mut out, "l");
        link_or_null(&mut out, &self.children[0]);
        out
    }

    /// Where `key` is, or between which leaves it would be.
    fn find(&self, key: &str) -> Result<usize, usize> {
        self.leaves.binary_search_by(|leaf| leaf.key.as_bytes().cmp(key.as_bytes()))
    }

    fn into_child(self) -> Child {
        if self.leaves.is_empty() && matches!(self.children[0], Child::None) {
            Child::None
        } else {
            Child::Node(Arc::new(self))
        }
    }
}

/// Cuts a subtree at a key that it does not hold.
fn split(child: Child, key: &str) -> Result<(Child, Child), MissingNode> {
    let Some(mut node) = child.loaded()? else { return Ok((Child::None, Child::None)) };
    let at = node.find(key).unwrap_or_else(|gap| gap);
    let right_leaves = node.leaves.split_off(at);
    let mut right_children = node.children.split_off(at);
    let (l, r) = split(std::mem::replace(&mut right_children[0], Child::None), key)?;
    node.children.push(l);
    right_children[0] = r;
    let right = Node::new(node.height, right_leaves, right_children);
    let left = Node::new(node.height, node.leaves, node.children);
    Ok((left.into_child(), right.into_child()))
}

/// Joins two neighbouring subtrees of one height.
fn merge(left: Child, right: Child) -> Result<Child, MissingNode> {
    match (left, right) {
        (Child::None, other) | (other, Child::None) => Ok(other),
        (left, right) => {
            let (Some(mut a), Some(mut b)) = (left.loaded()?, right.loaded()?) else { return Ok(Child::None) };
            let seam =
                merge(a.children.pop().unwrap_or(Child::None), std::mem::replace(&mut b.children[0], Child::None))?;
            b.children[0] = seam;
            a.leaves.append(&mut b.leaves);
            a.children.append(&mut b.children);
            Ok(Node::new(a.height, a.leaves, a.children).into_child())
        }
    }
}

/// Puts a leaf of layer `height` into a subtree that stands at `at_height`, or replaces its value.
fn insert(child: Child, at_height: u8, leaf: Leaf, height: u8) -> Result<(Child, Option<Cid>), MissingNode> {
    let Some(mut node) = child.loaded()? else {
        let alone = Node::new(height, vec![leaf], vec![Child::None, Child::None]);
        return Ok((alone.into_child().raised_to(height, at_height), None));
    };
    node.cid = OnceLock::new();
    let old = match node.find(&leaf.key) {
        Ok(at) => Some(std::mem::replace(&mut node.leaves[at].value, leaf.value)),
        Err(gap) => {
            let below = std::mem::replace(&mut node.children[gap], Child::None);
            if height == at_height {
                let (l, r) = split(below, &leaf.key)?;
                node.leaves.insert(gap, leaf);
                node.children[gap] = l;
                node.children.insert(gap + 1, r);
                None
            } else {
                let (below, old) = insert(below, at_height - 1, leaf, height)?;
                node.children[gap] = below;
                old
            }
        }
    };
    Ok((node.into_child(), old))
}

/// Takes a leaf out of a subtree.
fn remove(child: Child, key: &str) -> Result<(Child, Option<Cid>), MissingNode> {
    let Some(mut node) = child.loaded()? else { return Ok((Child::None, None)) };
    node.cid = OnceLock::new();
    let old = match node.find(key) {
        Ok(at) => {
            let leaf = node.leaves.remove(at);
            let right = node.children.remove(at + 1);
            let left = std::mem::replace(&mut node.children[at], Child::None);
            node.children[at] = merge(left, right)?;
            Some(leaf.value)
        }
        Err(gap) => {
            let (below, old) = remove(std::mem::replace(&mut node.children[gap], Child::None), key)?;
            node.children[gap] = below;
            old
        }
    };
    Ok((node.into_child(), old))
}

/// Builds the subtree over sorted leaves, standing at `height`.
fn build(leaves: &[(Leaf, u8)], height: u8) -> Child {
    if leaves.is_empty() {
        return Child::None;
    }
    let (mut own, mut children, mut from) = (vec![], vec![], 0);
    let below = |range: &[(Leaf, u8)]| if height == 0 { Child::None } else { build(range, height - 1) };
    for (i, (leaf, leaf_height)) in leaves.iter().enumerate() {
        if *leaf_height == height {
            children.push(below(&leaves[from..i]));
            own.push(leaf.clone());
            from = i + 1;
        }
    }
    children.push(below(&leaves[from..]));
    Node::new(height, own, children).into_child()
}

/// A tree. Cloning shares every node.
#[derive(Clone, Debug)]
pub struct Mst {
    root: Arc<Node>,
}

impl Default for Mst {
    fn default() -> Self {
        Mst { root: Arc::new(Node::new(0, vec![], vec![Child::None])) }
    }
}

impl Mst {
    /// The tree over these leaves, in any order. Of a key given twice the last value counts.
    pub fn from_leaves<K: Into<Arc<str>>>(leaves: impl IntoIterator<Item = (K, Cid)>) -> Self {
        let sorted: BTreeMap<Arc<str>, Cid> = leaves.into_iter().map(|(k, v)| (k.into(), v)).collect();
        let leaves: Vec<(Leaf, u8)> = sorted
            .into_iter()
            .map(|(key, value)| {
                let height = key_height(key.as_bytes());
                (Leaf { key, value }, height)
            })
            .collect();
        let height = leaves.iter().map(|(_, h)| *h).max().unwrap_or(0);
        Self::of(build(&leaves, height)).unwrap_or_default()
    }

    /// A tree whose root is `child`, with leafless nodes at the top cut away; the empty tree for no child.
    fn of(child: Child) -> Result<Self, MissingNode> {
        let Some(mut node) = child.loaded()? else { return Ok(Self::default()) };
        while node.leaves.is_empty() {
            let below = std::mem::replace(&mut node.children[0], Child::None);
            match below.loaded()? {
                Some(next) => node = next,
                None => return Ok(Self::default()),
            }
        }
        Ok(Mst { root: Arc::new(node) })
    }

    fn is_empty(&self) -> bool {
        self.root.leaves.is_empty()
    }

    /// The CID of the root node.
    pub fn root(&self) -> Cid {
        self.root.cid()
    }

    /// The CID of the record under `key`.
    ///
    /// # Errors
    /// Where the tree was pruned on the way to it.
    pub fn get(&self, key: &str) -> Result<Option<Cid>, MissingNode> {
        let mut node = &self.root;
        loop {
            match node.find(key) {
                Ok(at) => return Ok(Some(node.leaves[at].value)),
                Err(gap) => match &node.children[gap] {
                    Child::None => return Ok(None),
                    Child::Stub(cid) => return Err(MissingNode(*cid)),
                    Child::Node(next) => node = next,
                },
            }
        }
    }

    /// Writes a record's CID under `key` and returns the one that stood there.
    ///
    /// # Errors
    /// Where the tree was pruned of a node it takes; the tree is as before then.
    pub fn insert(&mut self, key: &str, value: Cid) -> Result<Option<Cid>, MissingNode> {
        let (leaf, height) = (Leaf { key: key.into(), value }, key_height(key.as_bytes()));
        let top = self.root.height;
        let root = if self.is_empty() { Child::None } else { Child::Node(self.root.clone()) };
        let (root, old) = if matches!(root, Child::None) || height <= top {
            insert(root, top.max(height), leaf, height)?
        } else {
            let (l, r) = split(root, key)?;
            let children = vec![l.raised_to(top, height - 1), r.raised_to(top, height - 1)];
            (Node::new(height, vec![leaf], children).into_child(), None)
        };
        *self = Self::of(root)?;
        Ok(old)
    }

    /// Takes `key` out and returns the record's CID that stood there.
    ///
    /// # Errors
    /// Where the tree was pruned of a node it takes; the tree is as before then.
    pub fn remove(&mut self, key: &str) -> Result<Option<Cid>, MissingNode> {
        let (root, old) = remove(Child::Node(self.root.clone()), key)?;
        *self = Self::of(root)?;
        Ok(old)
    }

    /// Adds to `out` the blocks that a commit touching `key` must carry, so that a reader without the rest of the tree
    /// can undo the operation: the path down to the key (or to where it would be), and where the key is present the
    /// nodes beside it that taking it out would join.
    pub fn prove(&self, key: &str, out: &mut Blocks) {
        let mut node = &self.root;
        loop {
            out.entry(node.cid()).or_insert_with(|| node.encode());
            match node.find(key) {
                Ok(at) => {
                    Self::prove_spine(&node.children[at], out, |n| n.children.last());
                    Self::prove_spine(&node.children[at + 1], out, |n| n.children.first());
                    return;
                }
                Err(gap) => match &node.children[gap] {
                    Child::Node(next) => node = next,
                    Child::None | Child::Stub(_) => return,
                },
            }
        }
    }

    fn prove_spine(child: &Child, out: &mut Blocks, next: fn(&Node) -> Option<&Child>) {
        let mut child = Some(child);
        while let Some(Child::Node(node)) = child {
            out.entry(node.cid()).or_insert_with(|| node.encode());
            child = next(node);
        }
    }

    /// The covering proof of a commit that touched these keys. This is the tree after the commit.
    pub fn proof<'a>(&self, keys: impl IntoIterator<Item = &'a str>) -> Blocks {
        let mut out = Blocks::new();
        out.insert(self.root(), self.root.encode());
        keys.into_iter().for_each(|key| self.prove(key, &mut out));
        out
    }

    /// Every node block of the tree.
    pub fn blocks(&self) -> Blocks {
        let mut out = Blocks::new();
        let mut todo = vec![&self.root];
        while let Some(node) = todo.pop() {
            out.insert(node.cid(), node.encode());
            todo.extend(node.children.iter().filter_map(|c| if let Child::Node(n) = c { Some(n) } else { None }));
        }
        out
    }

    /// The leaves in key order, as far as the tree holds its nodes.
    pub fn leaves(&self) -> Vec<(Arc<str>, Cid)> {
        fn walk(node: &Node, out: &mut Vec<(Arc<str>, Cid)>) {
            for (i, child) in node.children.iter().enumerate() {
                if let Child::Node(next) = child {
                    walk(next, out);
                }
                if let Some(leaf) = node.leaves.get(i) {
                    out.push((leaf.key.clone(), leaf.value));
                }
            }
        }
        let mut out = vec![];
        walk(&self.root, &mut out);
        out
    }

    /// The same tree as someone sees it who has only these blocks. The root stays in any case.
    pub fn prune(&self, keep: &HashSet<Cid>) -> Self {
        fn walk(node: &Node, keep: &HashSet<Cid>) -> Arc<Node> {
            let children = node.children.iter().map(|child| match child {
                Child::Node(next) if keep.contains(&next.cid()) => Child::Node(walk(next, keep)),
                Child::Node(next) => Child::Stub(next.cid()),
                other => other.clone(),
            });
            Arc::new(Node::new(node.height, node.leaves.clone(), children.collect()))
        }
        Mst { root: walk(&self.root, keep) }
    }
}
