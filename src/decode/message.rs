//! What frames mean: commits, syncs, identity and account events, infos and errors, as typed messages.

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::op::Action;
use crate::event::{AccountStatus, Cid, Did, Handle, Nsid, Rev, Rkey, Seq};

/// A frame's meaning.
#[derive(Clone, Debug)]
pub enum Message {
    /// `#commit`
    Commit(Commit),
    /// `#sync`
    Sync(Sync),
    /// `#identity`
    Identity(Identity),
    /// `#account`
    Account(Account),
    /// `#info`
    Info(Notice),
    /// An error frame: the host ends the stream.
    Error(Notice),
    /// A kind that this version does not know.
    Unknown,
}

/// A `#commit`.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Whose repository.
    pub did: Did,
    /// The revision it made.
    pub rev: Rev,
    /// The revision before, if the host states it.
    pub since: Option<Rev>,
    /// The CID of the signed commit object.
    pub cid: Cid,
    /// Root of the tree after it.
    pub data: Cid,
    /// Root of the tree before it, if the host states it.
    pub prev_data: Option<Cid>,
    /// The host's number.
    pub seq: Seq,
    /// The frame's time; the revision's own when the frame has none that can be read.
    pub time: DateTime<Utc>,
    /// The operations in the collections that were asked for.
    pub ops: Vec<Op>,
}

/// One operation of a commit.
#[derive(Clone, Debug)]
pub struct Op {
    /// What it does.
    pub action: Action,
    /// In which collection.
    pub collection: Nsid,
    /// Under which key.
    pub rkey: Rkey,
    /// The record written; `None` for a delete.
    pub record: Option<Record>,
}

/// A record as an operation writes it.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its CID.
    pub cid: Cid,
    /// Its bytes, a slice of the frame, hash-checked and canonical.
    pub bytes: Bytes,
}

/// A `#sync`.
#[derive(Clone, Debug)]
pub struct Sync {
    /// Whose repository.
    pub did: Did,
    /// Its revision.
    pub rev: Rev,
    /// The CID of the signed commit object.
    pub cid: Cid,
    /// Root of its tree.
    pub data: Cid,
    /// The host's number.
    pub seq: Seq,
    /// The frame's time; the revision's own when the frame has none that can be read.
    pub time: DateTime<Utc>,
}

/// An `#identity`.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Whose.
    pub did: Did,
    /// The handle as the host wrote it.
    pub handle: Option<Box<str>>,
    /// The host's number.
    pub seq: Seq,
    /// When.
    pub time: DateTime<Utc>,
}

impl Identity {
    /// The handle, if it is one. `handle.invalid` is how hosts write "none that checks out".
    pub fn known_handle(&self) -> Option<Handle> {
        self.handle.as_deref().and_then(|h| Handle::parse(h).ok()).filter(|h| h.as_str() != "handle.invalid")
    }
}

/// An `#account`.
#[derive(Clone, Debug)]
pub struct Account {
    /// Whose.
    pub did: Did,
    /// Whether its content may be shown.
    pub active: bool,
    /// The status word as the host wrote it.
    pub status: Option<Box<str>>,
    /// The host's number.
    pub seq: Seq,
    /// When.
    pub time: DateTime<Utc>,
}

impl Account {
    /// The status as this version understands it.
    pub fn known_status(&self) -> AccountStatus {
        AccountStatus::from_wire(self.active, self.status.as_deref())
    }
}

/// The name and text of an `#info` or an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// `OutdatedCursor`, `FutureCursor`, `ConsumerTooSlow`, …
    pub name: Box<str>,
    /// For people; at most 300 characters.
    pub message: Box<str>,
}
