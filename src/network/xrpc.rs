//! The calls to PDSes and relays.
//!
//! <https://atproto.com/specs/xrpc>, <https://atproto.com/specs/sync>

use bytes::Bytes;
use serde_json::Value;
use url::Url;

use super::failure::plain;
use super::http::{Answer, Ask, ContentKind};
use super::options::authority_of;
use super::{
    BLOCKS_PER_CALL_MAX, Call, HostError, HostErrorKind, LatestCommit, ListedRecord, ListedRepo, Network, Page,
    RepoDescription, RepoStatus, RepoStream, metric,
};
use crate::event::{AccountStatus, AtUri, Cid, Did, Handle, Nsid, Rev, Rkey};

/// Entries of a page of records: the most that the method allows.
const RECORDS_PER_PAGE: &str = "100";
/// Entries of a page of repositories: the most that the methods allow.
const REPOS_PER_PAGE: &str = "1000";
const REPOS_BY_COLLECTION_PER_PAGE: &str = "2000";

/// Calls to a host. `endpoint` is its address as DID documents and settings write it: `https://host`, without a path.
impl Network {
    /// Where a repository stands.
    ///
    /// # Errors
    /// [`HostError`]; [`repo_problem`](HostError::repo_problem) reads what the host says of the repository.
    pub async fn latest_commit(&self, endpoint: &str, did: &Did) -> Result<LatestCommit, HostError> {
        let answer = self.json(Call::LatestCommit, endpoint, &[("did", did.as_str())]).await?;
        let cid = answer.read("cid", |text| text.parse().ok())?;
        Ok(LatestCommit { cid, rev: answer.read("rev", |text| Rev::parse(text).ok())? })
    }

    /// The blocks with these CIDs, as a CAR, unread: hosts leave out what they do not hold, or refuse the whole
    /// (`BlockNotFound`). At most [`BLOCKS_PER_CALL_MAX`] CIDs; up to 16 MB of answer.
    ///
    /// # Errors
    /// As [`latest_commit`](Self::latest_commit).
    ///
    /// # Panics
    /// With more CIDs, or none: a mistake in this program.
    pub async fn blocks(&self, endpoint: &str, did: &Did, cids: &[Cid]) -> Result<Bytes, HostError> {
        assert!((1..=BLOCKS_PER_CALL_MAX).contains(&cids.len()), "{} CIDs in one getBlocks", cids.len());
        let cids: Vec<_> = cids.iter().map(Cid::to_string).collect();
        let mut query = vec![("did", did.as_str())];
        query.extend(cids.iter().map(|cid| ("cids", cid.as_str())));
        self.car(ask(Call::Blocks, endpoint, &query)?).await
    }

    /// The signed commit and the nodes of its tree that lead to where a record stands or would stand, as a CAR, unread. Some
    /// hosts answer only for records that there are.
    ///
    /// # Errors
    /// As [`latest_commit`](Self::latest_commit).
    pub async fn record_proof(
        &self,
        endpoint: &str,
        did: &Did,
        collection: &Nsid,
        rkey: &Rkey,
    ) -> Result<Bytes, HostError> {
        let query = [("did", did.as_str()), ("collection", collection.as_str()), ("rkey", rkey.as_str())];
        self.car(ask(Call::RecordProof, endpoint, &query)?).await
    }

    async fn car(&self, ask: Ask) -> Result<Bytes, HostError> {
        let answer = self.inner.http.answer(ask).await?;
        match answer.kind {
            ContentKind::Car | ContentKind::Unsaid => Ok(answer.body),
            _ => Err(HostError::new(HostErrorKind::NotXrpc, answer.host, "answers something else than a CAR")),
        }
    }

    /// The whole repository as a CAR, unread, in chunks, up to `bytes_max`.
    ///
    /// # Errors
    /// As [`latest_commit`](Self::latest_commit); what happens later comes from the stream.
    pub async fn repo(&self, endpoint: &str, did: &Did, bytes_max: u64) -> Result<RepoStream, HostError> {
        let ask = ask(Call::Repo, endpoint, &[("did", did.as_str())])?;
        let watch = metric::Watch::start(Call::Repo);
        let head = match self.inner.http.head(ask).await {
            Ok(head) if matches!(head.kind(), ContentKind::Car | ContentKind::Unsaid) => head,
            other => {
                let error = other.map_or_else(|error| error, |head| head.not_xrpc());
                watch.end(Some(&error));
                return Err(error);
            }
        };
        RepoStream::new(head, watch, bytes_max, self.inner.options.idle_timeout)
    }

    /// What the host says of an account.
    ///
    /// # Errors
    /// As [`latest_commit`](Self::latest_commit).
    pub async fn repo_status(&self, endpoint: &str, did: &Did) -> Result<RepoStatus, HostError> {
        let answer = self.json(Call::RepoStatus, endpoint, &[("did", did.as_str())]).await?;
        let active = answer.value["active"].as_bool().ok_or_else(|| answer.malformed("active"))?;
        let status = AccountStatus::from_wire(active, answer.value["status"].as_str());
        let rev = answer.value["rev"].as_str().and_then(|text| Rev::parse(text).ok());
        Ok(RepoStatus { active, status, rev })
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
        let mut query = vec![("repo", did.as_str()), ("collection", collection.as_str()), ("limit", RECORDS_PER_PAGE)];
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        let mut answer = self.json(Call::ListRecords, endpoint, &query).await?;
        answer.page("records", cursor, |entry| {
            let uri = AtUri::parse(entry["uri"].as_str()?).ok()?;
            let cid = entry["cid"].as_str()?.parse().ok()?;
            let asked_for = uri.did == *did && uri.collection == *collection && entry["value"].is_object();
            asked_for.then(|| ListedRecord { uri, cid, value: entry["value"].take() })
        })
    }

    /// What collections a repository has.
    ///
    /// # Errors
    /// As [`latest_commit`](Self::latest_commit).
    pub async fn describe_repo(&self, endpoint: &str, did: &Did) -> Result<RepoDescription, HostError> {
        let answer = self.json(Call::DescribeRepo, endpoint, &[("repo", did.as_str())]).await?;
        let said = answer.read("did", |text| Did::parse(text).ok())?;
        if said != *did {
            return Err(answer.malformed("did"));
        }
        let collections = answer.value["collections"].as_array().ok_or_else(|| answer.malformed("collections"))?;
        Ok(RepoDescription {
            did: said,
            handle: answer.value["handle"].as_str().and_then(|text| Handle::parse(text).ok()),
            collections: collections.iter().filter_map(|name| Nsid::parse(name.as_str()?).ok()).collect(),
        })
    }

    /// A page of the repositories that a PDS or relay has.
    ///
    /// # Errors
    /// [`HostError`].
    pub async fn list_repos(&self, endpoint: &str, cursor: Option<&str>) -> Result<Page<ListedRepo>, HostError> {
        let mut query = vec![("limit", REPOS_PER_PAGE)];
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        let mut answer = self.json(Call::ListRepos, endpoint, &query).await?;
        answer.page("repos", cursor, |entry| {
            let active = entry["active"].as_bool().unwrap_or(true);
            Some(ListedRepo {
                did: Did::parse(entry["did"].as_str()?).ok()?,
                head: entry["head"].as_str().and_then(|text| text.parse().ok()),
                rev: entry["rev"].as_str().and_then(|text| Rev::parse(text).ok()),
                active,
                status: AccountStatus::from_wire(active, entry["status"].as_str()),
            })
        })
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
        let mut query = vec![("collection", collection.as_str()), ("limit", REPOS_BY_COLLECTION_PER_PAGE)];
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        let mut answer = self.json(Call::ListReposByCollection, endpoint, &query).await?;
        answer.page("repos", cursor, |entry| Did::parse(entry["did"].as_str()?).ok())
    }

    async fn json(&self, call: Call, endpoint: &str, query: &[(&str, &str)]) -> Result<Json, HostError> {
        read_json(call, self.inner.http.answer(ask(call, endpoint, query)?).await?)
    }
}

/// An answer that must be a JSON object.
pub(super) fn read_json(call: Call, answer: Answer) -> Result<Json, HostError> {
    let not_xrpc = |what: &str| {
        Err(HostError::new(HostErrorKind::NotXrpc, answer.host.clone(), format!("answers {what}, not JSON")))
    };
    match answer.kind {
        ContentKind::Html => return not_xrpc("a web page"),
        ContentKind::Car => return not_xrpc("bytes"),
        ContentKind::Json | ContentKind::Other | ContentKind::Unsaid => {}
    }
    match serde_json::from_slice::<Value>(&answer.body) {
        Ok(value) if value.is_object() => Ok(Json { host: answer.host, method: method(call), value }),
        Err(_) if answer.kind != ContentKind::Json => not_xrpc("something else"),
        Ok(_) => Err(HostError::new(HostErrorKind::Malformed, answer.host, "answers JSON that is no object")),
        Err(error) => {
            let detail = format!("answers broken JSON: {}", plain(&error.to_string()));
            Err(HostError::new(HostErrorKind::Malformed, answer.host, detail))
        }
    }
}

fn method(call: Call) -> &'static str {
    match call {
        Call::LatestCommit => "com.atproto.sync.getLatestCommit",
        Call::Blocks => "com.atproto.sync.getBlocks",
        Call::RecordProof => "com.atproto.sync.getRecord",
        Call::Repo => "com.atproto.sync.getRepo",
        Call::RepoStatus => "com.atproto.sync.getRepoStatus",
        Call::ListRecords => "com.atproto.repo.listRecords",
        Call::DescribeRepo => "com.atproto.repo.describeRepo",
        Call::ListRepos => "com.atproto.sync.listRepos",
        Call::ListReposByCollection => "com.atproto.sync.listReposByCollection",
        Call::Record => "com.atproto.repo.getRecord",
        Call::DescribeServer => "com.atproto.server.describeServer",
        Call::CreateAccount => "com.atproto.server.createAccount",
        Call::CreateSession => "com.atproto.server.createSession",
        Call::RefreshSession => "com.atproto.server.refreshSession",
        Call::DeleteSession => "com.atproto.server.deleteSession",
        Call::PutRecord => "com.atproto.repo.putRecord",
        Call::DeleteRecord => "com.atproto.repo.deleteRecord",
        Call::ApplyWrites => "com.atproto.repo.applyWrites",
        Call::CreateInviteCodes => "com.atproto.server.createInviteCodes",
        Call::InviteCodes => "com.atproto.admin.getInviteCodes",
        Call::PlcDocument | Call::WebDocument | Call::WellKnownDid | Call::HandleTxt => {
            unreachable!("no XRPC call")
        }
    }
}

/// The URL of a call. The guard judges it later; here it must be a host's address and nothing more.
pub(super) fn ask(call: Call, endpoint: &str, query: &[(&str, &str)]) -> Result<Ask, HostError> {
    let refuse = |host: &str, why: &str| HostError::new(HostErrorKind::Guard, host, format!("refused to ask: {why}"));
    let mut url = Url::parse(endpoint).map_err(|error| refuse(&plain(endpoint), &error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refuse(&plain(endpoint), "the address is neither https nor http"));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(refuse(&authority_of(&url), "a host's address has no path"));
    }
    url.set_path(&format!("/xrpc/{}", method(call)));
    url.query_pairs_mut().extend_pairs(query);
    Ok(Ask { call, url, host_header: None })
}

/// An answer in JSON, and whose.
pub(super) struct Json {
    host: Box<str>,
    method: &'static str,
    pub(super) value: Value,
}

impl Json {
    fn malformed(&self, field: &str) -> HostError {
        let detail = format!("answers {} without a readable {field:?}", self.method);
        HostError::new(HostErrorKind::Malformed, self.host.clone(), detail)
    }

    fn read<T>(&self, field: &str, read: impl Fn(&str) -> Option<T>) -> Result<T, HostError> {
        self.value[field].as_str().and_then(read).ok_or_else(|| self.malformed(field))
    }

    /// A page, with entries that cannot be read left out.
    fn page<T>(
        &mut self,
        field: &str,
        asked: Option<&str>,
        read: impl Fn(&mut Value) -> Option<T>,
    ) -> Result<Page<T>, HostError> {
        let Value::Array(mut entries) = self.value[field].take() else { return Err(self.malformed(field)) };
        let items: Vec<T> = entries.iter_mut().filter_map(read).collect();
        let cursor = self.value["cursor"].as_str().filter(|cursor| !cursor.is_empty() && Some(*cursor) != asked);
        Ok(Page { unreadable: entries.len() - items.len(), items, cursor: cursor.map(Into::into) })
    }
}
