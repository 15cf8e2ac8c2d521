//! DIDs to documents.

use std::sync::Arc;
use std::time::Duration;

use super::{IdentityError, Network};
use crate::event::{Did, DidDocument};

/// How old an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// As old as [`document_fresh`](super::NetworkOptions::document_fresh) allows; while nobody can say what the
    /// document is now, up to [`document_stale`](super::NetworkOptions::document_stale).
    Cached,
    /// At most this old.
    NotOlderThan(Duration),
    /// Asked for after this call began. For `#identity` events and failed signatures.
    Now,
}

impl Network {
    /// The document of a DID.
    ///
    /// # Errors
    /// [`IdentityError`]; only `Unreachable` may differ a moment later.
    pub async fn did_document(&self, did: &Did, freshness: Freshness) -> Result<Arc<DidDocument>, IdentityError> {
        let _ = (did, freshness);
        Err(IdentityError::NotFound)
    }

    /// Forgets what is known of a DID.
    pub fn forget(&self, did: &Did) {
        let _ = did;
    }
}
