//! Handles to DIDs and back.
//!
//! <https://atproto.com/specs/handle#handle-resolution>

use std::collections::BTreeSet;

use url::Url;

use super::http::Ask;
use super::names::NameError;
use super::{Call, HostError, HostErrorKind, Inner, Network, metric};
use crate::event::{Did, DidDocument, Handle};

/// Top-level names that lead nowhere on the internet. `.test` is for development.
const RESERVED: &[&str] = &["local", "localhost", "invalid", "example", "onion", "internal", "alt", "arpa", "test"];

impl Network {
    /// The DID that a handle leads to: by its TXT record, else by its web host. `Ok(None)` when it leads nowhere, or by
    /// TXT to several.
    ///
    /// # Errors
    /// When nobody can say now.
    pub async fn resolve_handle(&self, handle: &Handle) -> Result<Option<Did>, HostError> {
        let name = handle.as_str().to_ascii_lowercase();
        let top = name.rsplit('.').next().unwrap_or_default();
        if RESERVED.contains(&top)
            && !(top == "test" && self.inner.http.guard().allows_private())
            && self.inner.overridden(&name).is_none()
        {
            return Ok(None);
        }
        if self.inner.overridden(&name).is_some() {
            return self.inner.did_by_web(&name).await;
        }
        match self.inner.did_by_text(&name).await {
            Ok(Texts::One(did)) => Ok(Some(did)),
            Ok(Texts::Several) => Ok(None),
            Ok(Texts::None) => self.inner.did_by_web(&name).await,
            // Its web host may know; when it does not, the TXT record that could not be read may.
            Err(error) => match self.inner.did_by_web(&name).await {
                Ok(Some(did)) => Ok(Some(did)),
                _ => Err(error),
            },
        }
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

/// What the TXT records of a handle say.
#[derive(Debug, PartialEq, Eq)]
enum Texts {
    None,
    One(Did),
    Several,
}

impl Texts {
    fn read(texts: &[String]) -> Self {
        let mut dids = texts.iter().filter_map(|text| Did::parse(text.strip_prefix("did=")?.trim()).ok());
        let found: BTreeSet<Did> = dids.by_ref().collect();
        let several = found.len() > 1;
        match found.into_iter().next() {
            None => Texts::None,
            Some(_) if several => Texts::Several,
            Some(did) => Texts::One(did),
        }
    }
}

impl Inner {
    async fn did_by_text(&self, name: &str) -> Result<Texts, HostError> {
        let watch = metric::Watch::start(Call::HandleTxt);
        let answer =
            tokio::time::timeout(self.options.answer_timeout, self.names.texts(&format!("_atproto.{name}."))).await;
        let result = match answer.unwrap_or(Err(NameError::Timeout)) {
            Ok(texts) => Ok(Texts::read(&texts)),
            Err(error) => {
                let kind = match error {
                    NameError::Timeout => HostErrorKind::Timeout,
                    _ => HostErrorKind::Unreachable,
                };
                Err(HostError::new(kind, name, format!("TXT of the handle: {error}")))
            }
        };
        watch.end(result.as_ref().err());
        result
    }

    async fn did_by_web(&self, name: &str) -> Result<Option<Did>, HostError> {
        const PATH: &str = "/.well-known/atproto-did";
        let base = self.overridden(name).cloned();
        let host_header = base.as_ref().map(|_| name.into());
        let url = base.map_or_else(|| Url::parse(&format!("https://{name}")), Ok).and_then(|base| base.join(PATH));
        // A name such as `a.0x1` is a handle by its syntax and an address by the web's.
        let Ok(url) = url else { return Ok(None) };
        match self.http.answer(Ask { call: Call::WellKnownDid, url, host_header }).await {
            // A web page, or whatever a host answers for every path, is no DID.
            Ok(answer) => Ok(std::str::from_utf8(&answer.body).ok().and_then(|text| Did::parse(text.trim()).ok())),
            Err(error) => match error.kind {
                HostErrorKind::Status { code: 400 | 404 | 410, .. }
                | HostErrorKind::NoSuchHost
                | HostErrorKind::TooLarge
                | HostErrorKind::Guard => Ok(None),
                _ => Err(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_disagree_are_no_answer() {
        let read = |texts: &[&str]| Texts::read(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        let one = || Texts::One(Did::parse("did:plc:a").unwrap());
        assert_eq!(read(&[]), Texts::None);
        assert_eq!(read(&["v=spf1", "did=", "did=nonsense", "did:plc:a"]), Texts::None);
        assert_eq!(read(&["did=did:plc:a"]), one());
        assert_eq!(read(&["v=spf1", "did=did:plc:a ", "did=did:plc:a"]), one());
        assert_eq!(read(&["did=did:plc:a", "did=did:plc:b"]), Texts::Several);
    }
}
