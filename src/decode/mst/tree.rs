//! A tree whose nodes are read from a CAR when they are needed, and the three ways to undo an operation on it.
//!
//! Nodes live in one list and are named by their number; changing one forgets its CID and those of the nodes above it, so
//! that [`Tree::root`] encodes these alone. A tree that refused something is not to be used again.

use super::node::{Entry, Key, Keys, Link, Node, Place, is_key, layer_of};
use super::{EMPTY_TREE, other_leaf, still_there};
use crate::decode::car::{Car, check_hash};
use crate::decode::hash::sha256;
use crate::decode::{Reason, Reject};
use crate::event::{Cid, Codec};

/// A leaf to be put in.
#[derive(Clone, Copy)]
struct Leaf {
    key: Key,
    value: Cid,
    layer: u8,
}

pub struct Tree<'a, 'c> {
    car: &'c Car<'a>,
    keys: Keys,
    nodes: Vec<Node>,
    root: Link,
    /// The layer of the root; 0 for the empty tree.
    top: u8,
}

impl<'a, 'c> Tree<'a, 'c> {
    /// Reads the root.
    pub fn open(car: &'c Car<'a>, root: Cid) -> Result<Self, Reject> {
        let mut tree = Tree {
            car,
            keys: Keys::with_capacity(4096),
            nodes: Vec::with_capacity(car.len() + 8),
            root: Link::None,
            top: 0,
        };
        if let Some(number) = tree.read(Link::Unread(root), Place::default())?
            && !tree.node(number).entries.is_empty()
        {
            tree.top = tree.node(number).layer;
            tree.root = Link::Node(number);
        }
        Ok(tree)
    }

    fn node(&self, number: u32) -> &Node {
        &self.nodes[number as usize]
    }

    /// To change a node. Its CID is forgotten.
    fn change(&mut self, number: u32) -> &mut Node {
        let node = &mut self.nodes[number as usize];
        node.cid = None;
        node
    }

    fn push(&mut self, node: Node) -> u32 {
        self.nodes.push(node);
        (self.nodes.len() - 1) as u32
    }

    /// The number of the node that hangs here, which is read unless it has been. The caller puts the number where the
    /// link was.
    fn read(&mut self, link: Link, place: Place) -> Result<Option<u32>, Reject> {
        match link {
            Link::None => Ok(None),
            Link::Node(number) => Ok(Some(number)),
            Link::Unread(cid) => {
                let block = self
                    .car
                    .unchecked(&cid)
                    .ok_or_else(|| Reject::new(Reason::MissingNode, format!("tree node {cid} is not in the CAR")))?;
                check_hash(&cid, block)?;
                let node = Node::parse(cid, block, &mut self.keys, place)?;
                Ok(Some(self.push(node)))
            }
        }
    }

    fn key(&mut self, path: &str) -> Result<Key, Reject> {
        let key = if is_key(path.as_bytes()) { self.keys.add(None, path.as_bytes()) } else { None };
        key.ok_or_else(|| Reject::new(Reason::BadField, format!("path {path:?} is not collection/rkey")))
    }

    /// The record under `path`.
    pub fn get(&mut self, path: &str) -> Result<Option<Cid>, Reject> {
        let (mut link, mut place) = (self.root, Place::default());
        let mut parent: Option<(u32, usize)> = None;
        while let Some(number) = self.read(link, place)? {
            if let Some((parent, gap)) = parent {
                // The same node, now read: no change.
                self.nodes[parent as usize].set_child(gap, Link::Node(number));
            }
            let node = self.node(number);
            match node.find(&self.keys, path.as_bytes()) {
                Ok(at) => return Ok(Some(node.entries[at].value)),
                Err(gap) => {
                    (link, place) = (node.child(gap), node.place_of(gap, place));
                    parent = Some((number, gap));
                }
            }
        }
        Ok(None)
    }

    /// Undoes a create: `cid` must be there, and is taken out.
    pub fn remove(&mut self, path: &str, cid: Cid) -> Result<(), Reject> {
        self.root = self.remove_below(self.root, path, cid, Place::default())?;
        Ok(())
    }

    /// Undoes an update: `cid` must be there, and `prev` takes its place.
    pub fn replace(&mut self, path: &str, cid: Cid, prev: Cid) -> Result<(), Reject> {
        self.root = self.replace_below(self.root, path, (cid, prev), Place::default())?;
        Ok(())
    }

    /// Undoes a delete: nothing may be there, and `prev` is put in.
    pub fn insert(&mut self, path: &str, prev: Cid) -> Result<(), Reject> {
        let key = self.key(path)?;
        let leaf = Leaf { key, value: prev, layer: layer_of(path.as_bytes()) };
        if matches!(self.root, Link::None) {
            self.top = leaf.layer;
        }
        if leaf.layer <= self.top {
            self.root = self.insert_below(self.root, self.top, leaf, Place::default())?;
            return Ok(());
        }
        let (left, right) = self.split(self.root, leaf.key, Place::default())?;
        let left = self.raise(left, self.top, leaf.layer - 1);
        let right = self.raise(right, self.top, leaf.layer - 1);
        let entries = vec![Entry { key, value: prev, right }];
        self.root = Link::Node(self.push(Node { layer: leaf.layer, left, entries, cid: None }));
        self.top = leaf.layer;
        Ok(())
    }

    fn remove_below(&mut self, link: Link, path: &str, cid: Cid, place: Place) -> Result<Link, Reject> {
        let Some(number) = self.read(link, place)? else { return Err(other_leaf(path, None, cid)) };
        let node = self.node(number);
        match node.find(&self.keys, path.as_bytes()) {
            Ok(at) => {
                let found = node.entries[at].value;
                if found != cid {
                    return Err(other_leaf(path, Some(found), cid));
                }
                let sides = (node.place_of(at, place), node.place_of(at + 1, place));
                let (left, right) = (node.child(at), node.child(at + 1));
                let merged = self.merge((left, sides.0), (right, sides.1))?;
                let node = self.change(number);
                node.entries.remove(at);
                node.set_child(at, merged);
            }
            Err(gap) => {
                let below = self.remove_below(node.child(gap), path, cid, node.place_of(gap, place))?;
                self.change(number).set_child(gap, below);
            }
        }
        Ok(self.unless_empty(number))
    }

    fn replace_below(&mut self, link: Link, path: &str, (cid, prev): (Cid, Cid), place: Place) -> Result<Link, Reject> {
        let Some(number) = self.read(link, place)? else { return Err(other_leaf(path, None, cid)) };
        let node = self.node(number);
        match node.find(&self.keys, path.as_bytes()) {
            Ok(at) => {
                let found = node.entries[at].value;
                if found != cid {
                    return Err(other_leaf(path, Some(found), cid));
                }
                self.change(number).entries[at].value = prev;
            }
            Err(gap) => {
                let below = self.replace_below(node.child(gap), path, (cid, prev), node.place_of(gap, place))?;
                self.change(number).set_child(gap, below);
            }
        }
        Ok(Link::Node(number))
    }

    /// Puts a leaf into what hangs at a place on layer `at`, not below the leaf's own.
    fn insert_below(&mut self, link: Link, at: u8, leaf: Leaf, place: Place) -> Result<Link, Reject> {
        let Some(number) = self.read(link, place)? else {
            let entries = vec![Entry { key: leaf.key, value: leaf.value, right: Link::None }];
            let alone = self.push(Node { layer: leaf.layer, left: Link::None, entries, cid: None });
            return Ok(self.raise(Link::Node(alone), leaf.layer, at));
        };
        let node = self.node(number);
        let gap = match node.find(&self.keys, self.keys.get(leaf.key)) {
            Ok(there) => {
                let path = String::from_utf8_lossy(self.keys.get(leaf.key));
                return Err(still_there(&path, node.entries[there].value));
            }
            Err(gap) => gap,
        };
        let (child, child_place) = (node.child(gap), node.place_of(gap, place));
        if at > leaf.layer {
            let below = self.insert_below(child, at - 1, leaf, child_place)?;
            self.change(number).set_child(gap, below);
        } else {
            let (left, right) = self.split(child, leaf.key, child_place)?;
            let node = self.change(number);
            node.entries.insert(gap, Entry { key: leaf.key, value: leaf.value, right });
            node.set_child(gap, left);
        }
        Ok(Link::Node(number))
    }

    /// Hangs what stands on layer `from` below as many leafless nodes as it takes to stand on layer `to`.
    fn raise(&mut self, link: Link, from: u8, to: u8) -> Link {
        if matches!(link, Link::None) {
            return link;
        }
        (from + 1..=to)
            .fold(link, |left, layer| Link::Node(self.push(Node { layer, left, entries: vec![], cid: None })))
    }

    /// Cuts what hangs here at a key that it does not hold.
    fn split(&mut self, link: Link, key: Key, place: Place) -> Result<(Link, Link), Reject> {
        let Some(number) = self.read(link, place)? else { return Ok((Link::None, Link::None)) };
        let node = self.node(number);
        let gap = match node.find(&self.keys, self.keys.get(key)) {
            Err(gap) => gap,
            Ok(there) => {
                let path = String::from_utf8_lossy(self.keys.get(key));
                return Err(still_there(&path, node.entries[there].value));
            }
        };
        let (below_left, below_right) = self.split(node.child(gap), key, node.place_of(gap, place))?;
        let node = self.change(number);
        let right = Node { layer: node.layer, left: below_right, entries: node.entries.split_off(gap), cid: None };
        node.set_child(gap, below_left);
        let right = self.push(right);
        Ok((self.unless_empty(number), self.unless_empty(right)))
    }

    /// Joins two neighbours of one layer.
    fn merge(&mut self, left: (Link, Place), right: (Link, Place)) -> Result<Link, Reject> {
        // One alone moves as it is, and need not be read.
        match (left.0, right.0) {
            (Link::None, one) | (one, Link::None) => return Ok(one),
            _ => {}
        }
        let (Some(a), Some(b)) = (self.read(left.0, left.1)?, self.read(right.0, right.1)?) else {
            return Ok(Link::None);
        };
        let last = self.node(a).entries.len();
        let seam_left = (self.node(a).child(last), self.node(a).place_of(last, left.1));
        let seam_right = (self.node(b).left, self.node(b).place_of(0, right.1));
        let seam = self.merge(seam_left, seam_right)?;
        let mut moved = std::mem::take(&mut self.change(b).entries);
        let node = self.change(a);
        node.set_child(last, seam);
        node.entries.append(&mut moved);
        Ok(self.unless_empty(a))
    }

    fn unless_empty(&self, number: u32) -> Link {
        let node = self.node(number);
        match node.entries.is_empty() && matches!(node.left, Link::None) {
            true => Link::None,
            false => Link::Node(number),
        }
    }

    /// The CID of the root as the tree stands now.
    pub fn root(&mut self) -> Result<Cid, Reject> {
        let (mut root, mut place) = (self.root, Place::default());
        // No tree begins with nodes that hold nothing but a child.
        while let Link::Node(number) = root
            && self.node(number).entries.is_empty()
        {
            place = self.node(number).place_of(0, place);
            root = self.read(self.node(number).left, place)?.map_or(Link::None, Link::Node);
        }
        match root {
            Link::None => Ok(EMPTY_TREE),
            // The root has been read from the start, and what took its place above.
            Link::Unread(cid) => Ok(cid),
            Link::Node(number) => Ok(self.hash(number, &mut Vec::with_capacity(1024))),
        }
    }

    /// The CID of a node. Encodes it, and what is below it, where that changed.
    fn hash(&mut self, number: u32, buffer: &mut Vec<u8>) -> Cid {
        if let Some(cid) = self.node(number).cid {
            return cid;
        }
        for gap in 0..=self.node(number).entries.len() {
            if let Link::Node(child) = self.node(number).child(gap) {
                self.hash(child, buffer);
            }
        }
        buffer.clear();
        self.node(number).encode(&self.keys, |child| self.node(child).cid, buffer);
        let cid = Cid::new(Codec::DagCbor, sha256(buffer));
        self.nodes[number as usize].cid = Some(cid);
        cid
    }
}
