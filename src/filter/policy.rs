//! What an environment takes in, as plain data.

use std::collections::HashSet;

use super::DropReason;
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
    /// The allowlist. In `network` mode its accounts are in scope before their first record.
    pub allowed: HashSet<Did>,
    /// Never taken, whatever else holds.
    pub denied: HashSet<Did>,
}

impl Policy {
    /// Why nothing of this account may enter, if so.
    pub fn refuses(&self, did: &str) -> Option<DropReason> {
        if self.denied.contains(did) {
            return Some(DropReason::Denied);
        }
        match self.dids {
            DidRule::Allowlist if !self.allowed.contains(did) => Some(DropReason::NotAllowed),
            _ => None,
        }
    }

    /// Whether the allowlist says who there is, and names anybody.
    pub fn names_anybody(&self) -> bool {
        self.dids == DidRule::Allowlist && !self.allowed.is_empty()
    }

    /// Whether the allowlist names this account.
    pub fn names(&self, did: &str) -> bool {
        self.allowed.contains(did)
    }

    /// Reads a list: one DID a line, `#` starts a comment, empty lines are ignored.
    pub fn parse_list(text: &str) -> Result<HashSet<Did>, PolicyError> {
        let mut dids = HashSet::new();
        for (i, line) in text.lines().enumerate() {
            let entry = line.split('#').next().unwrap_or_default().trim();
            if entry.is_empty() {
                continue;
            }
            let did = Did::parse(entry)
                .map_err(|_| PolicyError::List { line: i + 1, text: entry.chars().take(120).collect() })?;
            dids.insert(did);
        }
        Ok(dids)
    }
}
