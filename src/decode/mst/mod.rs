//! The Merkle search tree of a repository, as far as the blocks at hand show it.
//!
//! In: hash-checked node blocks and the operations of a commit. Out: whether the signed tree is what these operations, and
//! no others, make of the tree that `prevData` names. Always true: a node is read when it is needed and not before; keys
//! rise strictly over the whole tree as far as it is seen, and stand on the layer that their hash gives them. Never: a
//! node that was not asked for, an encoding of a node that did not change.
//!
//! <https://atproto.com/specs/repository#mst-structure>, <https://atproto.com/specs/sync#commit-validation-mst-inversion>

pub(super) mod node;
mod tree;

pub use node::layer_of as key_layer;

use super::car::Car;
use super::op::{Action, RawOp};
use super::{Reason, Reject};
use crate::event::{Cid, Codec};
use tree::Tree;

/// The tree that holds nothing: `{l: null, e: []}`.
pub const EMPTY_TREE: Cid = Cid::new(
    Codec::DagCbor,
    [
        0x9d, 0xfe, 0xfe, 0x61, 0xdd, 0x76, 0xea, 0x3d, 0xca, 0xe5, 0x02, 0x38, 0x80, 0xb0, 0x83, 0x79, 0xd5, 0x7a,
        0xdf, 0x20, 0x48, 0x2d, 0x6f, 0xdb, 0xe2, 0x75, 0x92, 0x89, 0xf6, 0x47, 0x67, 0x7b,
    ],
);

/// Whether each record that the operations write stands in the signed tree, and none of those that they remove.
///
/// # Errors
/// [`Reason::LeafMismatch`], [`Reason::LeafPresent`], and those of the tree itself.
pub(super) fn check_leaves(car: &Car<'_>, data: Cid, ops: &[RawOp<'_>]) -> Result<(), Reject> {
    if ops.is_empty() {
        return Ok(());
    }
    let mut tree = Tree::open(car, data)?;
    for op in ops {
        match (tree.get(op.path)?, op.cid) {
            (found, Some(cid)) if found != Some(cid) => return Err(other_leaf(op.path, found, cid)),
            (Some(found), None) => return Err(still_there(op.path, found)),
            _ => {}
        }
    }
    Ok(())
}

/// Whether undoing the operations leads from the signed tree to `prev_data`, or to the empty tree where that is not
/// stated. Each operation must state what it replaced or removed.
///
/// # Errors
/// [`Reason::PrevDataMismatch`], [`Reason::PrevDataMissing`], [`Reason::LeafMismatch`], [`Reason::LeafPresent`], and those of
/// the tree itself.
pub(super) fn check_inversion(
    car: &Car<'_>,
    data: Cid,
    ops: &[RawOp<'_>],
    prev_data: Option<Cid>,
) -> Result<(), Reject> {
    let before = if ops.is_empty() { data } else { invert(car, data, ops)? };
    match prev_data {
        Some(prev_data) if prev_data == before => Ok(()),
        None if before == EMPTY_TREE => Ok(()),
        Some(prev_data) => {
            let detail = format!("prevData {prev_data}, but undoing the operations leads to {before}");
            Err(Reject::new(Reason::PrevDataMismatch, detail))
        }
        None => {
            let detail = format!("no prevData, but undoing the operations leads to {before}, not to the empty tree");
            Err(Reject::new(Reason::PrevDataMissing, detail))
        }
    }
}

/// The root of the tree before the operations.
fn invert(car: &Car<'_>, data: Cid, ops: &[RawOp<'_>]) -> Result<Cid, Reject> {
    let mut tree = Tree::open(car, data)?;
    // What was removed comes back first: the blocks that show where it was are those of the signed tree. The order does
    // not change the result, only which nodes are read on the way.
    for action in [Action::Delete, Action::Update, Action::Create] {
        for op in ops.iter().filter(|op| op.action == action) {
            match (action, op.cid, op.prev) {
                (Action::Delete, _, Some(prev)) => tree.insert(op.path, prev)?,
                (Action::Update, Some(cid), Some(prev)) => tree.replace(op.path, cid, prev)?,
                (Action::Create, Some(cid), _) => tree.remove(op.path, cid)?,
                _ => return Err(Reject::new(Reason::OpShape, format!("{} of {}", action.as_str(), op.path))),
            }
        }
    }
    tree.root()
}

#[cold]
fn other_leaf(path: &str, found: Option<Cid>, stated: Cid) -> Reject {
    let found = found.map_or("nothing".to_owned(), |cid| cid.to_string());
    Reject::new(Reason::LeafMismatch, format!("{path}: the operation wrote {stated}, the signed tree holds {found}"))
}

#[cold]
fn still_there(path: &str, found: Cid) -> Reject {
    Reject::new(Reason::LeafPresent, format!("{path} is removed, but the signed tree holds {found}"))
}
