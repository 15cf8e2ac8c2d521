//! A repository: a tree and a signed head. Spec: <https://atproto.com/specs/repository>.
//!
//! In: writes and the revision they happen at. Out: a signed [`Commit`] with all that a `#commit` frame says.
//! Always true: the head is signed by the account's key over the tree as it stands, and revisions rise.
//! Never: keeps records. They are in the commit that wrote them; who must serve them later keeps them.

use std::collections::HashSet;

use super::cbor::{Value, cid_of};
use super::keys::SigningKey;
use super::mst::{Blocks, Mst};
use super::tid::Tid;
use crate::event::Cid;

/// One wish to change a repository. A path is `collection/rkey`; a record is its DAG-CBOR.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// A new record where there is none.
    Create {
        /// Where.
        path: String,
        /// What.
        record: Vec<u8>,
    },
    /// Another record in place of one.
    Update {
        /// Where.
        path: String,
        /// What.
        record: Vec<u8>,
    },
    /// The end of a record.
    Delete {
        /// Where.
        path: String,
    },
}

impl Write {
    /// Where it happens.
    pub fn path(&self) -> &str {
        match self {
            Write::Create { path, .. } | Write::Update { path, .. } | Write::Delete { path } => path,
        }
    }

    /// `create`, `update` or `delete`.
    pub fn action(&self) -> &'static str {
        match self {
            Write::Create { .. } => "create",
            Write::Update { .. } => "update",
            Write::Delete { .. } => "delete",
        }
    }
}

/// What happened to one path in a commit, as a frame tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// `create`, `update` or `delete`.
    pub action: &'static str,
    /// `collection/rkey`.
    pub path: String,
    /// The record now, none for a delete.
    pub cid: Option<Cid>,
    /// The record before, none for a create.
    pub prev: Option<Cid>,
}

/// The signed head of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The revision.
    pub rev: Tid,
    /// The root of the tree.
    pub data: Cid,
    /// The commit's CID.
    pub cid: Cid,
    /// The commit's block.
    pub block: Vec<u8>,
}

/// A commit with all that its frame carries.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The new head.
    pub head: Head,
    /// The revision before, none for the first commit.
    pub since: Option<Tid>,
    /// The root of the tree before, none for the first commit.
    pub prev_data: Option<Cid>,
    /// What happened, in the order of the writes.
    pub ops: Vec<Op>,
    /// The covering proof: nodes of the new tree.
    pub proof: Blocks,
    /// The new records, in the order of the writes.
    pub records: Vec<(Cid, Vec<u8>)>,
}

/// Writes that a repository cannot take. It is unchanged then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// A create where there is a record.
    #[error("{0} exists already")]
    Exists(String),
    /// An update or delete where there is none.
    #[error("{0} does not exist")]
    Missing(String),
    /// Two writes to one path in one commit.
    #[error("{0} is written twice")]
    Twice(String),
    /// A revision not newer than the head's.
    #[error("revision {0} is not newer than the head's")]
    OldRev(Tid),
}

/// A repository.
#[derive(Clone)]
pub struct Repo {
    did: String,
    key: SigningKey,
    tree: Mst,
    head: Option<Head>,
}

impl Repo {
    /// A repository without a commit. The first [`Repo::apply`] makes one, usually with no writes.
    pub fn new(did: impl Into<String>, key: SigningKey) -> Self {
        Repo { did: did.into(), key, tree: Mst::default(), head: None }
    }

    /// A repository with a past: it holds `tree` and was last signed at `rev`.
    pub fn with_past(did: impl Into<String>, key: SigningKey, tree: Mst, rev: Tid) -> Self {
        let mut repo = Repo { did: did.into(), key, tree, head: None };
        repo.head = Some(repo.sign(&repo.tree, rev));
        repo
    }

    /// Whose it is.
    pub fn did(&self) -> &str {
        &self.did
    }

    /// The tree as it stands.
    pub fn tree(&self) -> &Mst {
        &self.tree
    }

    /// The last signed commit, none before the first.
    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// Writes and signs.
    ///
    /// # Errors
    /// [`WriteError`] when the writes do not fit what the repository holds.
    pub fn apply(&mut self, writes: &[Write], rev: Tid) -> Result<Commit, WriteError> {
        if self.head.as_ref().is_some_and(|head| head.rev >= rev) {
            return Err(WriteError::OldRev(rev));
        }
        let mut tree = self.tree.clone();
        let (mut seen, mut ops, mut records) = (HashSet::new(), vec![], vec![]);
        for write in writes {
            let path = write.path();
            if !seen.insert(path) {
                return Err(WriteError::Twice(path.into()));
            }
            let (cid, prev) = match write {
                Write::Create { record, .. } | Write::Update { record, .. } => {
                    let cid = cid_of(record);
                    let prev = tree.insert(path, cid).expect("a repository holds its whole tree");
                    records.push((cid, record.clone()));
                    (Some(cid), prev)
                }
                Write::Delete { .. } => (None, tree.remove(path).expect("a repository holds its whole tree")),
            };
            match (write, prev) {
                (Write::Create { .. }, Some(_)) => return Err(WriteError::Exists(path.into())),
                (Write::Update { .. } | Write::Delete { .. }, None) => return Err(WriteError::Missing(path.into())),
                _ => ops.push(Op { action: write.action(), path: path.into(), cid, prev }),
            }
        }
        let head = self.sign(&tree, rev);
        let proof = tree.proof(seen);
        self.tree = tree;
        let before = self.head.replace(head.clone());
        let (since, prev_data) = before.map_or((None, None), |old| (Some(old.rev), Some(old.data)));
        Ok(Commit { head, since, prev_data, ops, proof, records })
    }

    /// Signs the tree as it stands with another key, at a revision newer than the head's. Returns the new head.
    ///
    /// # Errors
    /// A revision that is not newer.
    pub fn sign_again(&mut self, key: SigningKey, rev: Tid) -> Result<Head, WriteError> {
        if self.head.as_ref().is_some_and(|head| head.rev >= rev) {
            return Err(WriteError::OldRev(rev));
        }
        self.key = key;
        let head = self.sign(&self.tree, rev);
        self.head = Some(head.clone());
        Ok(head)
    }

    /// Signs with another key from the next commit on.
    pub fn set_key(&mut self, key: SigningKey) {
        self.key = key;
    }

    /// Signs `tree` at `rev`: version 3, over the commit without its signature.
    fn sign(&self, tree: &Mst, rev: Tid) -> Head {
        let data = tree.root();
        let mut fields = vec![
            ("did", Value::text(&*self.did)),
            ("version", Value::Int(3)),
            ("data", Value::Link(data)),
            ("rev", Value::Text(rev.to_string())),
            ("prev", Value::Null),
        ];
        let unsigned = Value::map(fields.clone()).encode();
        fields.push(("sig", Value::Bytes(self.key.sign(&unsigned).to_vec())));
        let block = Value::map(fields).encode();
        Head { rev, data, cid: cid_of(&block), block }
    }
}
