//! Handles to DIDs and back.

use super::{HostError, Network};
use crate::event::{Did, DidDocument, Handle};

impl Network {
    /// The DID that a handle leads to: by its TXT record, else by its web host. `Ok(None)` when it leads nowhere.
    ///
    /// # Errors
    /// When nobody can say now.
    pub async fn resolve_handle(&self, handle: &Handle) -> Result<Option<Did>, HostError> {
        let _ = handle;
        Ok(None)
    }

    /// The handle that a document claims and that leads back to its DID, in lower case. `Ok(None)` when it claims none,
    /// or one that leads elsewhere or nowhere.
    ///
    /// # Errors
    /// When nobody can say now: the handle is neither good nor bad then.
    pub async fn verified_handle(&self, document: &DidDocument) -> Result<Option<Handle>, HostError> {
        let Some(handle) = &document.handle else { return Ok(None) };
        let leads_to = self.resolve_handle(handle).await?;
        let lower = || Handle::parse(&handle.as_str().to_ascii_lowercase()).expect("case is no matter of syntax");
        Ok((leads_to.as_ref() == Some(&document.did)).then(lower))
    }
}
