//! The side door into ingest: what jobs found out about one account, for the one write path.
//!
//! In: findings of resyncs and identity look-ups. Out: the same, in the queue that ingest reads beside its deliveries.
//! Always true: the queue is short, so whoever finds faster than the log takes waits.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use tokio::sync::{mpsc, oneshot};

use crate::event::{
    AccountStatus, Cid, Decision, Delivery, Did, DidDocument, Handle, ListChange, Nsid, Rev, Rkey, Upstream,
    Verification,
};

/// Findings that wait for ingest at most. Each is bounded: see [`Finding::Records`].
const QUEUE: usize = 8;

/// One record of a repository.
#[derive(Clone, Debug)]
pub struct FoundRecord {
    /// Of which collection.
    pub collection: Nsid,
    /// Under which key.
    pub rkey: Rkey,
    /// CID of `record`.
    pub cid: Cid,
    /// The record's DAG-CBOR bytes.
    pub record: Bytes,
}

/// What is found out about a handle that a document claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundHandle {
    /// It leads back to the DID.
    Leads(Handle),
    /// It leads elsewhere or nowhere, or none is claimed.
    Nowhere,
    /// Nobody can say now: what was known stays.
    Unsaid,
}

/// What was found out about one account.
#[derive(Debug)]
pub enum Finding {
    /// Some of the followed records that its repository holds at `rev`. Whoever sends it keeps each below 1,000 records and
    /// about 4 MB. Every one of them is true by itself, so they may enter the log before the rest is known.
    Records {
        /// The document of the account whose repository it is.
        document: Arc<DidDocument>,
        /// At which revision.
        rev: Rev,
        /// The host that was asked.
        upstream: Arc<Upstream>,
        /// [`Verification::Snapshot`] or [`Verification::Listed`].
        verification: Verification,
        /// What it holds.
        records: Vec<FoundRecord>,
    },
    /// All that it holds at `rev` was told; the rest is gone.
    Complete {
        /// Whose repository.
        did: Did,
        /// At which revision.
        rev: Rev,
        /// Root of its tree; `None` when the host only listed records.
        data: Option<Cid>,
        /// The host that was asked.
        upstream: Arc<Upstream>,
        /// [`Verification::Snapshot`] or [`Verification::Listed`].
        verification: Verification,
        /// Records that the log holds as live and the repository does not hold.
        gone: Vec<(Nsid, Rkey)>,
        /// Before the host was asked. It showed the account then or later.
        asked_at: DateTime<Utc>,
        /// Completed once all of this account is in the log.
        stored: oneshot::Sender<()>,
    },
    /// The host shows exactly the revision that we hold.
    Unchanged {
        /// Whose repository.
        did: Did,
        /// The host's revision.
        rev: Rev,
        /// The host that was asked.
        upstream: Arc<Upstream>,
        /// Before the host was asked. It showed the account then or later.
        asked_at: DateTime<Utc>,
        /// Completed once that is noted.
        stored: oneshot::Sender<()>,
    },
    /// The host shows an older revision than we hold: it was restored from a backup, or the address leads elsewhere.
    RolledBack {
        /// Whose repository.
        did: Did,
        /// Completed once that is noted.
        stored: oneshot::Sender<()>,
    },
    /// The hosting state, as the host itself tells it when asked.
    Account {
        /// Whose.
        did: Did,
        /// Whether its content may be shown.
        active: bool,
        /// Why, or why not.
        status: AccountStatus,
        /// When it was asked.
        time: DateTime<Utc>,
        /// The host.
        upstream: Arc<Upstream>,
    },
    /// The DID document was read.
    Identity {
        /// What it says.
        document: Arc<DidDocument>,
        /// What looking in both directions said of its handle.
        handle: FoundHandle,
        /// When it was read. What was read before the document that is known counts for nothing.
        time: DateTime<Utc>,
    },
    /// The directory answers that there is no such DID, or that it was given up.
    NoIdentity {
        /// Whose.
        did: Did,
        /// In the directory's words.
        why: String,
    },
    /// The directory said once that there is no such DID: it is asked again before that is believed.
    Doubted {
        /// Whose.
        did: Did,
    },
    /// An account was offered and is not fetched for whose it is.
    Refused {
        /// Whose.
        did: Did,
        /// Why.
        decision: Decision,
        /// Who offered it.
        upstream: Arc<Upstream>,
        /// Where it lives, if that is known.
        pds: Option<Box<str>>,
    },
    /// An entry of quarantine that somebody asked to have judged again.
    Released {
        /// Its number in quarantine.
        id: i64,
        /// Whose.
        did: Did,
        /// The frame, not live: nothing follows from it. `None` when only an account was offered.
        delivery: Option<Delivery>,
        /// When that was asked, by this process's clock: whose it is is looked up after that.
        asked_at: DateTime<Utc>,
    },
    /// Somebody changed who may enter; the policy knows it already.
    ListChanged {
        /// The number of the change.
        n: i64,
        /// Whose entry; [`Did::service`] for a whole file.
        did: Did,
        /// What was done.
        change: ListChange,
        /// By whom.
        who: String,
        /// Why.
        why: String,
        /// When.
        time: DateTime<Utc>,
    },
    /// Frames that waited for the account's document, which was told before them.
    Held {
        /// Whose.
        did: Did,
        /// Some of them, in order, each with its number; none when there are no more.
        frames: Vec<(i64, Delivery)>,
    },
}

/// Ingest ended; nobody takes findings any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ingest has ended")]
pub struct IngestEnded;

/// Where findings are handed in.
#[derive(Clone, Debug)]
pub struct Inlet(mpsc::Sender<Finding>);

impl Inlet {
    /// Hands one in; waits while ingest is busy.
    ///
    /// # Errors
    /// When ingest has ended.
    pub async fn send(&self, finding: Finding) -> Result<(), IngestEnded> {
        self.0.send(finding).await.map_err(|_| IngestEnded)
    }
}

/// The other end, for ingest.
pub type Findings = mpsc::Receiver<Finding>;

/// A new side door.
pub fn inlet() -> (Inlet, Findings) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (Inlet(sender), receiver)
}

/// What ingest asks, and what it is told.
#[derive(Debug)]
pub struct Inquiries {
    /// Told whose documents are to be looked up, once the frames that wait for them are in the database.
    pub asks: mpsc::UnboundedSender<Did>,
    /// What jobs found out. Ingest ends when nobody can send deliveries or findings any more.
    pub findings: Findings,
}

impl Inquiries {
    /// Of nobody: deliveries are all there is.
    pub fn none() -> Self {
        Inquiries { asks: mpsc::unbounded_channel().0, findings: inlet().1 }
    }
}
