//! What is remembered of each account in scope: its repository's head, whether all of it is here, who it is.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use crate::decode::PublicKey;
use crate::event::{AccountStatus, Cid, Decision, Did, Handle, Refusal, Rev, Seq};

/// How complete what the log holds of a repository is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RepoState {
    /// Followed since its anchor; what was there before is not fetched.
    #[default]
    Partial,
    /// Everything up to its head is in the log.
    Synced,
    /// Revisions are missing before its head.
    Desynchronized,
    /// Its host shows an older revision than the log holds.
    RolledBack,
}

impl RepoState {
    /// Every state there is.
    pub const ALL: [RepoState; 4] =
        [RepoState::Partial, RepoState::Synced, RepoState::Desynchronized, RepoState::RolledBack];

    /// The word as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            RepoState::Partial => "partial",
            RepoState::Synced => "synced",
            RepoState::Desynchronized => "desynchronized",
            RepoState::RolledBack => "rolled_back",
        }
    }

    /// Reads a stored word.
    pub fn from_word(word: &str) -> Option<Self> {
        RepoState::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// Who an account is, by its DID document.
#[derive(Clone, Debug)]
pub struct Who {
    /// What signs its commits; `None` when the document has no key that can be read.
    pub key: Option<Arc<PublicKey>>,
    /// The endpoint of its PDS.
    pub pds: Option<Box<str>>,
    /// The handle that leads back to it.
    pub handle: Option<Handle>,
    /// The handle that its document claims.
    pub claims: Option<Handle>,
    /// Where the document was read: the PLC directory, or the host of a did:web.
    pub directory: Option<Box<str>>,
    /// When the document was read.
    pub read_at: DateTime<Utc>,
}

/// Frames of one account that wait in the database for its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// The number of the last one.
    pub last: i64,
    /// The number of the last one that was let go since frames wait.
    pub through: i64,
    /// How many.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The last word about an account's hosting state that was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hosting {
    /// By its own time, cut to its arrival, then by the host's number.
    pub spoken: (DateTime<Utc>, Seq),
    /// Whether its content may be shown.
    pub active: bool,
    /// Why, or why not.
    pub status: AccountStatus,
}

impl Hosting {
    /// A clock that runs ahead by more than this is cut to arrival, so that it holds an account in no state for ever.
    pub const AHEAD: TimeDelta = TimeDelta::minutes(5);
}

/// What is remembered of one account.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Revision and data CID of the last commit judged.
    pub head: Option<(Rev, Cid)>,
    /// How complete the log is.
    pub state: RepoState,
    /// The revision that a snapshot must have reached to close the gap.
    pub gap: Option<Rev>,
    /// Who it is, once that was looked up.
    pub who: Option<Who>,
    /// The directory does not know it, or not any more.
    pub missing: bool,
    /// The last verdict about whether its records may enter, and when it was given. Never the lack of one.
    pub verdict: Option<(Decision, DateTime<Utc>)>,
    /// An `#identity` event is not followed up yet.
    pub identity_due: bool,
    /// Its hosting state; `None` while no word about it came.
    pub hosting: Option<Hosting>,
    /// Frames that wait.
    pub waiting: Option<Waiting>,
    /// A look-up of its identity is under way.
    pub asked: bool,
    /// Its past is to be fetched once the frames that wait were let go. Not stored: whoever starts asks for all that is not
    /// complete.
    pub is_new: bool,
    /// A job was told that nobody knows it, and comes again by itself. Not stored.
    pub doubted: bool,
    /// When the last one had an answer, whatever it was, since this process remembers.
    pub answered_at: Option<DateTime<Utc>>,
    /// For what frames of it went to quarantine last, since this process remembers.
    pub set_aside: Option<Refusal>,
}

impl Known {
    /// Whether the host withheld it by its last word.
    pub fn is_hidden(&self) -> bool {
        self.hosting.is_some_and(|hosting| !hosting.active)
    }

    /// Moves the head of a repository that nobody verifies: the latest revision counts.
    pub fn saw(&mut self, rev: Rev, data: Cid) {
        if self.head.is_none_or(|(last, _)| last < rev) {
            self.head = Some((rev, data));
        }
    }
}

/// All accounts in scope.
pub type KnownRepos = HashMap<Did, Known>;
