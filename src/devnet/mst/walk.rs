//! Walks over a whole tree, for those who serve it: every block in the order of a depth-first walk, or a few by CID.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Child, Mst, Node};
use crate::event::Cid;

/// What stands in a tree: its nodes and, each in its place, the records.
#[derive(Clone, Debug)]
pub enum Part {
    /// A node and its block.
    Node(Cid, Vec<u8>),
    /// A record's key and CID. The tree does not hold its block.
    Record(Arc<str>, Cid),
}

impl Part {
    /// Its CID.
    pub fn cid(&self) -> Cid {
        match self {
            Part::Node(cid, _) | Part::Record(_, cid) => *cid,
        }
    }
}

impl Mst {
    /// Everything in depth-first order: a node, then what is below and beside its leaves from left to right.
    pub fn depth_first(&self) -> Vec<Part> {
        fn walk(node: &Node, out: &mut Vec<Part>) {
            out.push(Part::Node(node.cid(), node.encode()));
            for (i, child) in node.children.iter().enumerate() {
                if let Child::Node(next) = child {
                    walk(next, out);
                }
                if let Some(leaf) = node.leaves.get(i) {
                    out.push(Part::Record(leaf.key.clone(), leaf.value));
                }
            }
        }
        let mut out = vec![];
        walk(&self.root, &mut out);
        out
    }

    /// The nodes and records with these CIDs. Of several records with one CID the first key is told.
    pub fn find_blocks(&self, wanted: &HashSet<Cid>) -> Vec<Part> {
        let (mut left, mut out, mut todo) = (wanted.clone(), vec![], vec![&self.root]);
        while let Some(node) = todo.pop().filter(|_| !left.is_empty()) {
            let cid = node.cid();
            if left.remove(&cid) {
                out.push(Part::Node(cid, node.encode()));
            }
            for leaf in &node.leaves {
                if left.remove(&leaf.value) {
                    out.push(Part::Record(leaf.key.clone(), leaf.value));
                }
            }
            todo.extend(node.children.iter().rev().filter_map(|c| if let Child::Node(n) = c { Some(n) } else { None }));
        }
        out
    }
}
