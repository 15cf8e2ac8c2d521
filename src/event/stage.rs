//! One type per stage of the flow, from raw bytes to a place in the log.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::{Cid, Decision, Did, Environment, Handle, ListChange, Nsid, Origin, OriginRule, Rev, Rkey};

/// A host's own number for a frame: strictly rising per host, gaps are legal, meaningless between hosts.
pub type Seq = i64;

/// A place in the log: 1 for the first event, rising by exactly 1.
pub type Position = i64;

/// What sort of thing a delivery came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamKind {
    /// A relay: carries many hosts' repositories.
    Relay,
    /// A PDS, connected to directly.
    Pds,
    /// A recorded dump.
    Dump,
    /// The directory that DID documents come from: of handles, not of frames.
    Directory,
}

impl UpstreamKind {
    /// The word as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            UpstreamKind::Relay => "relay",
            UpstreamKind::Pds => "pds",
            UpstreamKind::Dump => "dump",
            UpstreamKind::Directory => "directory",
        }
    }

    /// Reads a stored word.
    pub fn from_word(word: &str) -> Option<Self> {
        [UpstreamKind::Relay, UpstreamKind::Pds, UpstreamKind::Dump, UpstreamKind::Directory]
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }
}

/// Where deliveries come from: cursors and metrics are kept per upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Upstream {
    /// What sort of thing it is.
    pub kind: UpstreamKind,
    /// Its name: `host[:port]` of a relay or PDS, or the name of a dump. The key of its cursor.
    pub name: Box<str>,
    /// The environment that it is declared for; `None` when nobody declared any.
    pub declared: Option<Environment>,
}

impl Upstream {
    /// An upstream that is declared for no environment.
    pub fn new(kind: UpstreamKind, name: impl Into<Box<str>>) -> Self {
        Upstream { kind, name: name.into(), declared: None }
    }

    /// The same, declared for an environment.
    pub fn declared(self, environment: Option<Environment>) -> Self {
        Upstream { declared: environment, ..self }
    }
}

/// Raw bytes as a source handed them over: one firehose frame, with where and when it was seen. Unparsed.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Which upstream it came through.
    pub upstream: Arc<Upstream>,
    /// When it was seen. From a dump that records it, the time of recording; else the time of reading.
    pub seen_at: DateTime<Utc>,
    /// Whether it came from a stream that runs now. Replays and backfills are not live and cause no effects.
    pub live: bool,
    /// One websocket binary message, exactly as received.
    pub frame: Bytes,
}

/// The hosting state of an account, as `#account` events tell it.
///
/// <https://atproto.com/specs/account#hosting-status>
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AccountStatus {
    /// In use.
    Active,
    /// Switched off by its owner.
    Deactivated,
    /// Removed for good by its owner.
    Deleted,
    /// Hidden by its host for the time being.
    Suspended,
    /// Hidden by its host.
    Takendown,
    /// The host has trouble keeping up with the repository.
    Desynchronized,
    /// The host limits the account.
    Throttled,
    /// A word this version does not know, or none beside `active: false`.
    Other,
}

impl AccountStatus {
    /// Reads the wire word; without one, `active` alone decides.
    pub fn from_wire(active: bool, status: Option<&str>) -> Self {
        match status {
            None if active => AccountStatus::Active,
            Some("active") => AccountStatus::Active,
            Some("deactivated") => AccountStatus::Deactivated,
            Some("deleted") => AccountStatus::Deleted,
            Some("suspended") => AccountStatus::Suspended,
            Some("takendown") => AccountStatus::Takendown,
            Some("desynchronized") => AccountStatus::Desynchronized,
            Some("throttled") => AccountStatus::Throttled,
            _ => AccountStatus::Other,
        }
    }

    /// The word as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            AccountStatus::Active => "active",
            AccountStatus::Deactivated => "deactivated",
            AccountStatus::Deleted => "deleted",
            AccountStatus::Suspended => "suspended",
            AccountStatus::Takendown => "takendown",
            AccountStatus::Desynchronized => "desynchronized",
            AccountStatus::Throttled => "throttled",
            AccountStatus::Other => "other",
        }
    }
}

/// What happened in or to one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whose account.
    pub did: Did,
    /// What happened.
    pub body: Body,
}

/// The kinds of event that the log knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// The repository holds this record as of `rev`. Create, update and snapshot row alike.
    Put {
        /// Of which collection.
        collection: Nsid,
        /// Under which key.
        rkey: Rkey,
        /// The revision that wrote it, or the snapshot's.
        rev: Rev,
        /// CID of `record`.
        cid: Cid,
        /// The record's DAG-CBOR bytes, verbatim: a slice of the frame. Empty when they were purged from the log.
        record: Bytes,
    },
    /// The repository holds no such record as of `rev`.
    Delete {
        /// Of which collection.
        collection: Nsid,
        /// Under which key.
        rkey: Rkey,
        /// The revision that removed it.
        rev: Rev,
    },
    /// What the repository holds at `rev` follows as `Put`s of that rev; all else of this account is gone.
    Snapshot {
        /// The revision it shows.
        rev: Rev,
    },
    /// The account's hosting state changed.
    Account {
        /// Whether its content may be shown.
        active: bool,
        /// Why, or why not.
        status: AccountStatus,
        /// When, by the event's own word.
        time: DateTime<Utc>,
    },
    /// The account's identity may have changed.
    Identity {
        /// The handle, as the stream claims it or as looking in both directions showed it. `None` when the stream names
        /// none; `handle.invalid` when none leads back to the account.
        handle: Option<Handle>,
        /// When, by the event's own word.
        time: DateTime<Utc>,
    },
    /// What the account's records may do here changed: they are hidden, or shown again.
    Origin {
        /// The new verdict.
        decision: Decision,
        /// When it was given.
        time: DateTime<Utc>,
    },
    /// Somebody changed who may enter. Of a whole file the account is [`Did::service`].
    List {
        /// What was done.
        change: ListChange,
        /// Who did it.
        who: String,
        /// Why, in their words.
        why: String,
        /// When.
        time: DateTime<Utc>,
    },
}

impl Body {
    /// The kind's name as stored in the log.
    pub fn kind(&self) -> &'static str {
        match self {
            Body::Put { .. } => "put",
            Body::Delete { .. } => "delete",
            Body::Snapshot { .. } => "snapshot",
            Body::Account { .. } => "account",
            Body::Identity { .. } => "identity",
            Body::Origin { .. } => "origin",
            Body::List { .. } => "list",
        }
    }
}

/// What was proven of an event before it entered the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verification {
    /// Nothing beyond structure, limits and hashes.
    None,
    /// The account's key signed the commit; whether its operations are all that changed was not looked at.
    Signature,
    /// Signed, and the operations are exactly what leads from the tree before to the signed one.
    Full,
    /// Read from the signed tree of the whole repository.
    Snapshot,
    /// As the host listed it, without a proof.
    Listed,
}

impl Verification {
    /// Every level there is.
    pub const ALL: [Verification; 5] =
        [Verification::None, Verification::Signature, Verification::Full, Verification::Snapshot, Verification::Listed];

    /// Reads a stored word.
    pub fn from_word(word: &str) -> Option<Self> {
        Verification::ALL.into_iter().find(|level| level.as_str() == word)
    }

    /// The word as stored in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Verification::None => "none",
            Verification::Signature => "signature",
            Verification::Full => "full",
            Verification::Snapshot => "snapshot",
            Verification::Listed => "listed",
        }
    }
}

/// An event that passed the filter, with all that ingest found out about it: what the log will keep.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The event.
    pub event: Event,
    /// The environment it entered.
    pub environment: Environment,
    /// Whose it is. Of an event about an account that is refused: whose it was, or would be.
    pub origin: Origin,
    /// Which rule said so; `None` of what is about no account.
    pub rule: Option<OriginRule>,
    /// The account's PDS, by its document; `None` when nobody read one.
    pub pds: Option<Box<str>>,
    /// The commit that wrote it; `None` when no commit was read.
    pub commit: Option<Cid>,
    /// What was proven of it. Account and identity words are never signed.
    pub verification: Verification,
    /// Through which upstream it came.
    pub upstream: Arc<Upstream>,
    /// That upstream's number for the frame; `None` for a snapshot's rows.
    pub seq: Option<Seq>,
    /// When the frame was seen.
    pub seen_at: DateTime<Utc>,
    /// Whether it came from a stream that ran then.
    pub live: bool,
}

/// An event in the log.
#[derive(Clone, Debug)]
pub struct Logged {
    /// Its place.
    pub position: Position,
    /// The event.
    pub event: Event,
    /// That upstream's number for the frame.
    pub seq: Option<Seq>,
    /// When the frame was seen.
    pub seen_at: DateTime<Utc>,
}
