//! An operation of a commit as its frame states it.

use crate::event::Cid;

/// What an operation does to its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Writes a record that was not there.
    Create,
    /// Replaces a record.
    Update,
    /// Removes a record.
    Delete,
}

impl Action {
    /// The wire word.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Create => "create",
            Action::Update => "update",
            Action::Delete => "delete",
        }
    }
}

/// One operation as the frame states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawOp<'a> {
    /// What it does.
    pub action: Action,
    /// `collection/rkey`, unchecked.
    pub path: &'a str,
    /// The record's CID; `None` when it is removed.
    pub cid: Option<Cid>,
    /// The CID it replaces or removes, where the host states it.
    pub prev: Option<Cid>,
}

impl<'a> RawOp<'a> {
    /// The part of the path before the slash; the whole path when there is none.
    pub fn collection(&self) -> &'a str {
        let end = memchr::memchr(b'/', self.path.as_bytes()).unwrap_or(self.path.len());
        &self.path[..end]
    }
}
