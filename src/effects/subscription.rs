//! Who is told, and of what.

use super::sign::Secret;
use crate::event::{Did, Origin};
use crate::network::PostUrl;

/// What an event does to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The repository holds it, new or changed.
    Put,
    /// The repository no longer holds it.
    Delete,
}

impl Kind {
    /// Both.
    pub const ALL: [Kind; 2] = [Kind::Put, Kind::Delete];

    /// The word in settings and in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Put => "put",
            Kind::Delete => "delete",
        }
    }

    /// Reads such a word.
    pub fn from_word(word: &str) -> Option<Self> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// Of what a subscription wants to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Collections, or prefixes that end in `.*`; empty: all that are followed.
    pub collections: Vec<Box<str>>,
    /// Whose records: by default our users' and the network's, but not those of strangers on our own hosts.
    pub origins: Vec<Origin>,
    /// Puts, deletes, or both.
    pub kinds: Vec<Kind>,
    /// Accounts; empty: all.
    pub dids: Vec<Did>,
}

impl Default for Wanted {
    fn default() -> Self {
        Wanted {
            collections: Vec::new(),
            origins: vec![Origin::Own, Origin::Network],
            kinds: Kind::ALL.to_vec(),
            dids: Vec::new(),
        }
    }
}

impl Wanted {
    /// Whether it wants to hear of this collection.
    pub fn has_collection(&self, collection: &str) -> bool {
        let is = |wanted: &str| match wanted.strip_suffix(".*") {
            Some(prefix) => collection.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.')),
            None => wanted == collection,
        };
        self.collections.is_empty() || self.collections.iter().any(|wanted| is(wanted))
    }
}

/// One receiver.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Its name in the settings: what its deliveries are kept under.
    pub name: Box<str>,
    /// Where it listens.
    pub url: PostUrl,
    /// What its deliveries are signed with, each: one, or several while they are exchanged. Never empty.
    pub secrets: Vec<Secret>,
    /// What it is told of.
    pub wanted: Wanted,
}
