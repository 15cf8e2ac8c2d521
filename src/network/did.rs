//! DIDs to documents: where to ask, and what the answer means.
//!
//! <https://atproto.com/specs/did>, <https://web.plc.directory/spec/v0.1/did-plc>, <https://w3c-ccg.github.io/did-method-web/>

use serde_json::Value;
use url::Url;

use super::http::{Ask, ContentKind};
use super::{Call, HostError, HostErrorKind, IdentityError, Inner};
use crate::event::{Did, DidDocument, Handle};

impl Inner {
    /// Asks whoever is responsible for the DID.
    pub(super) async fn fetch_document(&self, did: &Did) -> Result<DidDocument, IdentityError> {
        let ask = self.document_ask(did)?;
        let call = ask.call;
        match self.http.answer(ask).await {
            Ok(answer) => {
                let unusable = |why: String| match call {
                    // What the directory answers for all DIDs is no word about this one.
                    Call::PlcDocument => IdentityError::Unreachable(HostError::new(
                        HostErrorKind::NotXrpc,
                        answer.host.clone(),
                        format!("not a directory of did:plc: {why}"),
                    )),
                    _ => IdentityError::Malformed(why.into()),
                };
                if answer.kind == ContentKind::Html {
                    return Err(unusable("a web page instead of a document".to_owned()));
                }
                let document: Value =
                    serde_json::from_slice(&answer.body).map_err(|e| unusable(format!("no JSON: {e}")))?;
                DidDocument::from_json(did, &document).map_err(|e| IdentityError::Malformed(e.to_string().into()))
            }
            Err(error) => Err(match (&error.kind, call) {
                (HostErrorKind::Status { code: 404, .. }, _) => IdentityError::NotFound,
                (HostErrorKind::Status { code: 410, .. }, Call::PlcDocument) => IdentityError::Tombstoned,
                (HostErrorKind::Status { code: 410, .. }, _) => IdentityError::NotFound,
                (HostErrorKind::TooLarge, Call::WebDocument) => IdentityError::Malformed(error.detail),
                _ => IdentityError::Unreachable(error),
            }),
        }
    }

    fn document_ask(&self, did: &Did) -> Result<Ask, IdentityError> {
        let unsupported = |why: &str| IdentityError::Unsupported(why.into());
        let text = did.as_str();
        if let Some(id) = text.strip_prefix("did:plc:") {
            if id.len() != 24 || !id.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7')) {
                return Err(unsupported("a did:plc has 24 characters from a to z and 2 to 7"));
            }
            let mut url = self.options.plc.url().clone();
            url.set_path(text);
            return Ok(Ask { call: Call::PlcDocument, url, host_header: None });
        }
        let Some(id) = text.strip_prefix("did:web:") else {
            return Err(unsupported("neither did:plc nor did:web"));
        };
        let host = WebHost::read(id).map_err(unsupported)?;
        let (url, host_header) = self.web_url(&host).ok_or_else(|| unsupported("no host can be read from it"))?;
        Ok(Ask { call: Call::WebDocument, url, host_header })
    }

    fn web_url(&self, host: &WebHost) -> Option<(Url, Option<Box<str>>)> {
        const PATH: &str = "/.well-known/did.json";
        let bare = match host.port {
            None => host.name.clone(),
            Some(port) => format!("{}:{port}", host.name),
        };
        if host.port.is_none()
            && let Some(base) = self.overridden(&host.name)
        {
            return Some((base.join(PATH).ok()?, Some(bare.into())));
        }
        // The guard refuses it unless the settings name or allow it.
        let scheme = if host.name == "localhost" { "http" } else { "https" };
        Some((Url::parse(&format!("{scheme}://{bare}{PATH}")).ok()?, None))
    }

    /// Where a host is by the settings, if they say so.
    pub(super) fn overridden(&self, host: &str) -> Option<&Url> {
        let host = host.to_ascii_lowercase();
        self.options.host_overrides.iter().find(|o| host.ends_with(&*o.suffix)).map(|o| &o.base)
    }
}

/// The host that a `did:web` names.
#[derive(Debug, PartialEq, Eq)]
struct WebHost {
    name: String,
    port: Option<u16>,
}

impl WebHost {
    /// Reads what follows `did:web:`. The protocol knows no paths, and ports for `localhost` alone.
    fn read(id: &str) -> Result<Self, &'static str> {
        if id.contains(':') {
            return Err("a did:web with a path is not used in this protocol");
        }
        let (name, port) = match id.split_once('%') {
            None => (id, None),
            Some((name, rest)) => {
                let digits = rest.strip_prefix("3A").or_else(|| rest.strip_prefix("3a"));
                let digits = digits.filter(|digits| (1..=5).contains(&digits.len()) && !digits.starts_with('0'));
                let port = digits.filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
                let port: u16 = port.and_then(|port| port.parse().ok()).ok_or("only a port may follow the host")?;
                (name, Some(port))
            }
        };
        let name = name.to_ascii_lowercase();
        match port {
            Some(_) if name != "localhost" => Err("only localhost may have a port"),
            // The syntax of a handle is that of a domain name with a dot whose last part is no number.
            _ if name != "localhost" && !Handle::is_valid(&name) => Err("the host is no domain name"),
            _ => Ok(WebHost { name, port }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::WebHost;

    #[test]
    fn odd_forms_of_did_web_are_refused_without_a_panic() {
        let read = |id: &str| WebHost::read(id).map(|host| (host.name, host.port));
        assert_eq!(read("example.com"), Ok(("example.com".to_owned(), None)));
        assert_eq!(read("Example.COM"), Ok(("example.com".to_owned(), None)));
        assert_eq!(read("localhost"), Ok(("localhost".to_owned(), None)));
        assert_eq!(read("localhost%3A8080"), Ok(("localhost".to_owned(), Some(8080))));
        assert_eq!(read("localhost%3a1"), Ok(("localhost".to_owned(), Some(1))));
        for odd in [
            "example.com%3A8080",
            "localhost%3A",
            "localhost%3A0",
            "localhost%3A65536",
            "localhost%3A-1",
            "localhost%3A080",
            "localhost%3A80%3A81",
            "localhost%2F..",
            "localhost%",
            "localhost%3",
            "%3A80",
            "example.com:user:alice",
            "localhost:8080",
            "127.0.0.1",
            "1.2.3.4%3A80",
            "0x7f.1",
            "intranet",
            "exa_mple.com",
            "example.com.",
            ".example.com",
            "example..com",
            "xn--%C3%A9.com",
            "-a.com",
            "example.com%40evil.com",
        ] {
            assert!(WebHost::read(odd).is_err(), "{odd}");
        }
    }
}
