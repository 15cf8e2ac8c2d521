//! What hosts answer, typed.

use serde_json::Value;

use crate::event::{AccountStatus, AtUri, Cid, Did, Handle, Nsid, Rev};

/// `com.atproto.sync.getLatestCommit`: where a repository stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatestCommit {
    /// The commit.
    pub cid: Cid,
    /// Its revision.
    pub rev: Rev,
}

/// `com.atproto.sync.getRepoStatus`: what the host says of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepoStatus {
    /// Whether its content may be shown.
    pub active: bool,
    /// Why, or why not.
    pub status: AccountStatus,
    /// The repository's revision, where the host tells it.
    pub rev: Option<Rev>,
}

/// One record as `com.atproto.repo.listRecords` shows it: nothing proves it.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedRecord {
    /// Where it is. Its DID and collection are those that were asked for.
    pub uri: AtUri,
    /// Its CID, as claimed.
    pub cid: Cid,
    /// Its content, in the JSON form of the data model.
    pub value: Value,
}

/// One repository as `com.atproto.sync.listRepos` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedRepo {
    /// Whose.
    pub did: Did,
    /// Its commit.
    pub head: Option<Cid>,
    /// Its revision.
    pub rev: Option<Rev>,
    /// Whether its content may be shown. Hosts that do not say mean yes.
    pub active: bool,
    /// Why, or why not.
    pub status: AccountStatus,
}

/// `com.atproto.repo.describeRepo`, as far as it tells what is in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepoDescription {
    /// Whose.
    pub did: Did,
    /// The handle that the host believes in.
    pub handle: Option<Handle>,
    /// The collections that hold records. Names that are no NSIDs are left out.
    pub collections: Vec<Nsid>,
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// What is on it. Entries that cannot be read are left out and counted in `unreadable`.
    pub items: Vec<T>,
    /// How many entries could not be read.
    pub unreadable: usize,
    /// What asks for the next page. `None` on the last one, and where the host repeats the cursor that was asked with.
    pub cursor: Option<Box<str>>,
}
