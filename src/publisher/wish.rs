//! What an app asks for, and why it may be refused before anything is stored.

use crate::calendar::Draft;
use crate::event::AtUri;

use super::{Action, Kind};

/// The longest name that an app may give a record, in bytes.
pub const CLIENT_KEY_BYTES_MAX: usize = 512;

/// A record of one user shall be so, or shall not be.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Whose record: the app's name for the user.
    pub user: String,
    /// What sort of record.
    pub kind: Kind,
    /// The app's own name for the record, 1 to [`CLIENT_KEY_BYTES_MAX`] bytes without control characters. The same user, kind
    /// and name are the same record for ever.
    pub client_key: String,
    /// Whether it shall be or not.
    pub action: Action,
    /// What it shall be; wanted for [`Action::Put`] and for nothing else. Without `createdAt`, a new record gets the moment of
    /// the first wish, and one that is there keeps its own.
    pub draft: Option<Draft>,
    /// The CID of the version that the app edited or looked at. A put whose version is still the PDS's overrides nobody; a
    /// delete of another version is a conflict.
    pub if_match: Option<String>,
    /// A record that is there already and shall have this name from now on.
    pub adopt: Option<AtUri>,
    /// Who asks, when it is not the owner.
    pub acting: Option<Acting>,
}

/// Who asks in another's name. Whoever calls has checked the grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acting {
    /// The app's name for the user who asks.
    pub user: String,
    /// The grant that lets him.
    pub grant_id: i64,
}

/// Why a wish is not stored.
#[derive(Debug, thiserror::Error)]
pub enum WishError {
    /// The user has no account.
    #[error("user {0:?} has no network account here; `almanac identity create` makes one, `identity link` names one")]
    NoAccount(String),
    /// The app's name for the record cannot be one.
    #[error("the client key {0}")]
    ClientKey(&'static str),
    /// A put without a draft, a delete with one, or a draft of another kind.
    #[error("{0}")]
    Draft(&'static str),
    /// There is nothing under that name.
    #[error("{kind} {client_key:?} of user {user:?} was never published; there is nothing to delete")]
    NoRecord {
        /// Whose.
        user: String,
        /// event or rsvp.
        kind: &'static str,
        /// Under which name.
        client_key: String,
    },
    /// The record to adopt is not the user's, or of another collection.
    #[error("{uri} cannot be adopted: it is no {collection} in the repository of {did}")]
    NotTheirs {
        /// What was to be adopted.
        uri: AtUri,
        /// The user's account.
        did: String,
        /// The collection.
        collection: &'static str,
    },
    /// The name belongs to another record, or the record has another name.
    #[error(
        "{0} is published under another client key, or the client key is another record's; delete that, or use its own"
    )]
    Taken(AtUri),
    /// The record is in the repository of an account that the user is not linked with any more.
    #[error(
        "{uri} belongs to an account that user {user:?} is not linked with any more; link it again, or use another client key"
    )]
    OtherAccount {
        /// Whose wish.
        user: String,
        /// The record.
        uri: AtUri,
    },
    /// The database did not do it. Nothing is known to be stored; the same wish can be repeated.
    #[error("the database did not store it: {0}; repeat the same wish")]
    Database(#[from] sqlx::Error),
}

impl WishError {
    /// A closed set of words, for apps and metric labels.
    pub fn as_str(&self) -> &'static str {
        match self {
            WishError::NoAccount(_) => "no_account",
            WishError::ClientKey(_) => "client_key",
            WishError::Draft(_) => "draft",
            WishError::NoRecord { .. } => "no_record",
            WishError::NotTheirs { .. } => "not_theirs",
            WishError::Taken(_) => "taken",
            WishError::OtherAccount { .. } => "other_account",
            WishError::Database(_) => "database",
        }
    }
}

impl Wish {
    /// What can be seen without asking anybody.
    pub(super) fn check(&self) -> Result<(), WishError> {
        if self.client_key.is_empty() || self.client_key.len() > CLIENT_KEY_BYTES_MAX {
            return Err(WishError::ClientKey("must have 1 to 512 bytes"));
        }
        if self.client_key.chars().any(char::is_control) {
            return Err(WishError::ClientKey("must have no control characters"));
        }
        match (self.action, &self.draft) {
            (Action::Put, None) => Err(WishError::Draft("what the record shall be is missing")),
            (Action::Delete, Some(_)) => Err(WishError::Draft("a record to be deleted is not to be anything else")),
            (Action::Put, Some(draft)) if draft.kind().collection() != self.kind.collection() => {
                Err(WishError::Draft("the draft is of another kind than the record"))
            }
            _ => Ok(()),
        }
    }
}
