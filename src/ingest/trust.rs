//! What a run takes on trust: where keys come from, and how much of a commit is checked with them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::decode::{Level, PublicKey};
use crate::event::{Did, DidDocument, Verification};

/// Where keys come from.
#[derive(Clone, Debug, Default)]
pub enum Trust {
    /// Nothing is verified beyond structure, limits and hashes.
    #[default]
    Unverified,
    /// Keys out of documents that were given with the frames: a closed world, without a network. An account without one is
    /// refused.
    Given {
        /// How much is checked: not [`Level::None`].
        level: Level,
        /// By account. Shared, because a run may start over.
        who: Arc<HashMap<Did, Given>>,
    },
    /// Keys out of documents that are looked up while frames wait on disk. Everything is checked.
    Resolved,
}

/// What a given document says.
#[derive(Clone, Debug)]
pub struct Given {
    /// The document.
    pub document: DidDocument,
    /// Its key, or why it cannot be used.
    pub key: Result<Arc<PublicKey>, String>,
}

impl Trust {
    /// Trust in documents that were given with the frames; none at all at [`Level::None`].
    pub fn given(level: Level, documents: impl IntoIterator<Item = DidDocument>) -> Self {
        if level == Level::None {
            return Trust::Unverified;
        }
        let given = |document: DidDocument| {
            let key = match &document.key {
                None => Err("its document has no #atproto key".to_owned()),
                Some(text) => PublicKey::read(text).map(Arc::new).map_err(|e| e.to_string()),
            };
            (document.did.clone(), Given { document, key })
        };
        Trust::Given { level, who: Arc::new(documents.into_iter().map(given).collect()) }
    }

    /// How much of a commit is checked.
    pub fn level(&self) -> Level {
        match self {
            Trust::Unverified => Level::None,
            Trust::Given { level, .. } => *level,
            Trust::Resolved => Level::Full,
        }
    }

    /// What a commit that passed was proven to be.
    pub fn verification(&self) -> Verification {
        self.level().verification()
    }

    /// Whether there is a network to ask.
    pub fn asks(&self) -> bool {
        matches!(self, Trust::Resolved)
    }
}
