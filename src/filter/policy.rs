//! What an environment takes in, as plain data.

use std::collections::HashMap;
use std::sync::Arc;

use super::{DidSet, Places};
use crate::event::{Did, Environment, Nsid};

/// Text in a policy that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Neither an NSID nor `prefix.*`.
    #[error("{0:?} is neither a collection (`community.lexicon.calendar.event`) nor a prefix (`community.lexicon.*`)")]
    Collection(String),
    /// A line of a DID list that is no DID.
    #[error("line {line}: {text:?} is not a DID; each line holds one DID, `#` starts a comment")]
    List {
        /// 1-based.
        line: usize,
        /// What stands there, cut to 120 characters.
        text: String,
    },
}

/// Which collections are followed: by name, or by prefix (`community.lexicon.*`).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CollectionSet {
    exact: Vec<Box<str>>,
    /// With their final dot.
    prefixes: Vec<Box<str>>,
}

impl CollectionSet {
    /// Reads names and prefixes.
    pub fn parse<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Result<Self, PolicyError> {
        let mut set = CollectionSet::default();
        for name in names {
            let name = name.as_ref();
            if let Some(prefix) = name.strip_suffix('*') {
                // `a.b.` of `a.b.*` must be the start of some NSID.
                if !prefix.ends_with('.') || !Nsid::is_valid(&format!("{prefix}x.x")) {
                    return Err(PolicyError::Collection(name.to_owned()));
                }
                set.prefixes.push(prefix.into());
            } else if Nsid::is_valid(name) {
                set.exact.push(name.into());
            } else {
                return Err(PolicyError::Collection(name.to_owned()));
            }
        }
        Ok(set)
    }

    /// Whether a collection is followed.
    #[inline]
    pub fn contains(&self, collection: &str) -> bool {
        self.exact.iter().any(|name| **name == *collection)
            || self.prefixes.iter().any(|prefix| collection.starts_with(&**prefix))
    }

    /// Whether a record's path, `collection/rkey`, lies in a followed collection. A path without a slash is all collection.
    ///
    /// The slash is not looked for: it must stand right behind a name, and in nearly all paths something else stands there.
    #[inline]
    pub fn covers(&self, path: &str) -> bool {
        let is_in = |name: &str| match path.as_bytes().get(name.len()) {
            Some(b'/') => path.as_bytes().starts_with(name.as_bytes()),
            Some(_) => false,
            None => path == name,
        };
        self.exact.iter().any(|name| is_in(name)) || self.prefixes.iter().any(|prefix| path.starts_with(&**prefix))
    }

    /// The names and prefixes, as they were given.
    pub fn names(&self) -> Vec<String> {
        let prefixes = self.prefixes.iter().map(|prefix| format!("{prefix}*"));
        self.exact.iter().map(|name| name.to_string()).chain(prefixes).collect()
    }
}

/// Whose records are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DidRule {
    /// Everybody's but those on the deny list.
    Network,
    /// Only those on the allowlist.
    Allowlist,
}

impl DidRule {
    /// The word in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            DidRule::Network => "network",
            DidRule::Allowlist => "allowlist",
        }
    }
}

/// What one environment takes in.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Stamped on every event.
    pub environment: Environment,
    /// Which records.
    pub collections: CollectionSet,
    /// Whose records.
    pub dids: DidRule,
    /// The allowlist of settings and file. In `network` mode its accounts are in scope before their first record.
    pub allowed: Arc<DidSet>,
    /// The deny list of settings and file: never taken, whatever else holds.
    pub denied: Arc<DidSet>,
    /// Entries made at run time, beside the lists: whether the account is allowed, else it is denied.
    pub entries: Arc<HashMap<Did, bool>>,
    /// Our users' accounts, with the PDS on which each is known to live.
    pub own: Arc<HashMap<Did, Box<str>>>,
    /// Which hosts and handles belong to which environment.
    pub places: Arc<Places>,
}

impl Policy {
    /// What an environment takes in that knows nobody and nothing yet.
    pub fn new(environment: Environment, collections: CollectionSet, dids: DidRule) -> Self {
        Policy {
            environment,
            collections,
            dids,
            allowed: Arc::default(),
            denied: Arc::default(),
            entries: Arc::default(),
            own: Arc::default(),
            places: Arc::default(),
        }
    }

    /// Whether the account is denied, by a list or by an entry.
    pub fn denies(&self, did: &str) -> bool {
        self.entries.get(did) == Some(&false) || self.denied.contains(did)
    }

    /// Whether the account is allowed by a list or by an entry. It may be denied all the same.
    pub fn allows(&self, did: &str) -> bool {
        self.entries.get(did) == Some(&true) || self.allowed.contains(did)
    }

    /// Whether the account is in scope before its first record: it is allowed, or one of our users.
    pub fn names(&self, did: &str) -> bool {
        self.allows(did) || self.own.contains_key(did)
    }

    /// Whether only accounts enter that are named, and some are.
    pub fn names_anybody(&self) -> bool {
        let named = !self.allowed.is_empty() || !self.own.is_empty() || self.entries.values().any(|allowed| *allowed);
        self.dids == DidRule::Allowlist && named
    }

    /// Every account that is named.
    pub fn named(&self) -> impl Iterator<Item = Did> {
        let entered = self.entries.iter().filter(|(_, allowed)| **allowed).map(|(did, _)| did.clone());
        self.allowed.iter().chain(entered).chain(self.own.keys().cloned())
    }

    /// Whether nothing of the account may enter, whoever it turns out to be. What is refused for who it is only shows once its
    /// document was read: see [`super::decide`].
    pub fn refuses(&self, did: &str) -> Option<super::DropReason> {
        if self.denies(did) {
            return Some(super::DropReason::Denied);
        }
        match self.dids {
            DidRule::Allowlist if !self.names(did) => Some(super::DropReason::NotAllowed),
            _ => None,
        }
    }

    /// Reads a list: one DID a line, `#` starts a comment, empty lines are ignored. `dids` come in beside it.
    pub fn parse_list(dids: &[Did], text: &str) -> Result<DidSet, PolicyError> {
        let entries = text.lines().enumerate().map(|(i, line)| (i, line.split('#').next().unwrap_or_default().trim()));
        let mut wrong = None;
        let listed = entries.filter(|(_, entry)| !entry.is_empty()).map_while(|(i, entry)| {
            if Did::is_valid(entry) {
                return Some(entry);
            }
            wrong = Some(PolicyError::List { line: i + 1, text: entry.chars().take(120).collect() });
            None
        });
        let set = dids.iter().map(Did::as_str).chain(listed).collect();
        wrong.map_or(Ok(set), Err)
    }
}
