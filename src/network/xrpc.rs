//! The calls to PDSes and relays.
//!
//! <https://atproto.com/specs/xrpc>, <https://atproto.com/specs/sync>

use bytes::Bytes;

use super::{
    HostError, HostErrorKind, LatestCommit, ListedRecord, ListedRepo, Network, Page, RepoDescription, RepoStatus,
    RepoStream, authority,
};
use crate::event::{Cid, Did, Nsid};

/// `endpoint` is a host's address as DID documents and settings write it: `https://host`, without a path.
impl Network {
    fn none<T>(&self, endpoint: &str) -> Result<T, HostError> {
        Err(HostError::new(HostErrorKind::Unreachable, authority(endpoint).unwrap_or_default(), "no connection"))
    }

    /// Where a repository stands.
    ///
    /// # Errors
    /// [`HostError`]; [`repo_problem`](HostError::repo_problem) reads what the host says of the repository.
    pub async fn latest_commit(&self, endpoint: &str, did: &Did) -> Result<LatestCommit, HostError> {
        let _ = did;
        self.none(endpoint)
    }

    /// The blocks with these CIDs, as a CAR, unread: hosts leave out what they do not hold, or refuse the whole
    /// (`BlockNotFound`). At most [`BLOCKS_PER_CALL_MAX`](super::BLOCKS_PER_CALL_MAX) CIDs.
    ///
    /// # Errors
    /// As [`latest_commit`](Self::latest_commit).
    ///
    /// # Panics
    /// With more CIDs, or none: a mistake in this program.
    pub async fn blocks(&self, endpoint: &str, did: &Did, cids: &[Cid]) -> Result<Bytes, HostError> {
        let _ = (did, cids);
        self.none(endpoint)
    }

    /// The whole repository as a CAR, unread, in chunks, up to `bytes_max`.
    ///
    /// # Errors
    /// As [`latest_commit`](Self::latest_commit); what happens later comes from the stream.
    pub async fn repo(&self, endpoint: &str, did: &Did, bytes_max: u64) -> Result<RepoStream, HostError> {
        let _ = (did, bytes_max);
        self.none(endpoint)
    }

    /// What the host says of an account.
    ///
    /// # Errors
    /// As [`latest_commit`](Self::latest_commit).
    pub async fn repo_status(&self, endpoint: &str, did: &Did) -> Result<RepoStatus, HostError> {
        let _ = did;
        self.none(endpoint)
    }

    /// A page of a collection's records, in the order of their keys. Without proof.
    ///
    /// # Errors
    /// As [`latest_commit`](Self::latest_commit).
    pub async fn list_records(
        &self,
        endpoint: &str,
        did: &Did,
        collection: &Nsid,
        cursor: Option<&str>,
    ) -> Result<Page<ListedRecord>, HostError> {
        let _ = (did, collection, cursor);
        self.none(endpoint)
    }

    /// What collections a repository has.
    ///
    /// # Errors
    /// As [`latest_commit`](Self::latest_commit).
    pub async fn describe_repo(&self, endpoint: &str, did: &Did) -> Result<RepoDescription, HostError> {
        let _ = did;
        self.none(endpoint)
    }

    /// A page of the repositories that a PDS or relay has.
    ///
    /// # Errors
    /// [`HostError`].
    pub async fn list_repos(&self, endpoint: &str, cursor: Option<&str>) -> Result<Page<ListedRepo>, HostError> {
        let _ = cursor;
        self.none(endpoint)
    }

    /// A page of the DIDs that, as a relay believes, have records in a collection.
    ///
    /// # Errors
    /// [`HostError`].
    pub async fn list_repos_by_collection(
        &self,
        endpoint: &str,
        collection: &Nsid,
        cursor: Option<&str>,
    ) -> Result<Page<Did>, HostError> {
        let _ = (collection, cursor);
        self.none(endpoint)
    }
}
