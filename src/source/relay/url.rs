//! Where a firehose is: what a person may type, and the URL that is dialled.

use std::fmt;
use std::str::FromStr;

use crate::event::{Seq, Upstream, UpstreamKind};

const PATH: &str = "/xrpc/com.atproto.sync.subscribeRepos";

/// The address of a relay or PDS: host, port and whether it speaks TLS.
///
/// Good: `bsky.network`, `wss://bsky.network`, `ws://localhost:2583`, `https://pds.example`,
/// `wss://bsky.network/xrpc/com.atproto.sync.subscribeRepos`. Bad: `ftp://x`, `wss://user:pw@host`, `wss://host/?cursor=5`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RelayUrl {
    tls: bool,
    /// As in a URL: IPv6 in brackets.
    host: String,
    port: u16,
}

/// Text that is no address of a firehose: the text, why, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a relay or PDS address: {why}")]
pub struct RelayUrlError {
    text: String,
    why: String,
}

impl RelayUrl {
    /// Reads an address. Without a scheme it is `wss`; `https` and `http` mean `wss` and `ws`.
    pub fn parse(text: &str) -> Result<Self, RelayUrlError> {
        let text = text.trim();
        // The text may hold a password; it is shown only when it cannot.
        let shown = if text.contains('@') { "(address with an @)" } else { text };
        let refuse =
            |why: &str| RelayUrlError { text: shown.chars().take(200).collect(), why: why.chars().take(300).collect() };
        if text.is_empty() {
            return Err(refuse("it is empty; write a host such as bsky.network, or ws://localhost:2583"));
        }
        let full = if text.contains("://") { text.to_owned() } else { format!("wss://{text}") };
        let url = url::Url::parse(&full).map_err(|error| refuse(&error.to_string()))?;
        let tls = match url.scheme() {
            "wss" | "https" => true,
            "ws" | "http" => false,
            other => return Err(refuse(&format!("scheme {other:?} is none of wss, ws, https, http"))),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("a firehose needs no user name or password; leave them out"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refuse("leave out what follows ? or #; where to resume is not part of the address"));
        }
        if !matches!(url.path().trim_end_matches('/'), "" | PATH) {
            return Err(refuse(&format!("path {:?} is not {PATH}; write the host alone", url.path())));
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| refuse("it names no host"))?;
        let port = url.port().unwrap_or(if tls { 443 } else { 80 });
        if port == 0 {
            return Err(refuse("port 0 cannot be dialled"));
        }
        Ok(RelayUrl { tls, host: host.to_ascii_lowercase(), port })
    }

    /// Whether the connection uses TLS.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Host name or address for dialling: IPv6 without brackets.
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `host`, or `host:port` where the port is not the scheme's own: the name of the upstream and the key of its cursor.
    pub fn name(&self) -> String {
        if self.port == if self.tls { 443 } else { 80 } {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The address for XRPC calls: `https://host`, without a final slash.
    pub fn http(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.name())
    }

    /// The upstream that this address is.
    pub fn upstream(&self, kind: UpstreamKind) -> Upstream {
        Upstream::new(kind, self.name())
    }

    /// What to dial to resume after `cursor`, or at the live edge without one.
    ///
    /// <https://atproto.com/specs/event-stream>
    pub fn subscribe(&self, cursor: Option<Seq>) -> String {
        match cursor {
            Some(cursor) => format!("{self}{PATH}?cursor={cursor}"),
            None => format!("{self}{PATH}"),
        }
    }
}

impl fmt::Display for RelayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "wss" } else { "ws" }, self.name())
    }
}

impl FromStr for RelayUrl {
    type Err = RelayUrlError;
    fn from_str(text: &str) -> Result<Self, RelayUrlError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::RelayUrl;

    #[test]
    fn what_people_type_is_understood() {
        for (text, name, dialled) in [
            ("bsky.network", "bsky.network", "wss://bsky.network/xrpc/com.atproto.sync.subscribeRepos?cursor=7"),
            (
                "HTTPS://Bsky.Network/",
                "bsky.network",
                "wss://bsky.network/xrpc/com.atproto.sync.subscribeRepos?cursor=7",
            ),
            (
                "wss://a.example:443/xrpc/com.atproto.sync.subscribeRepos",
                "a.example",
                "wss://a.example/xrpc/com.atproto.sync.subscribeRepos?cursor=7",
            ),
            (
                "ws://localhost:2583",
                "localhost:2583",
                "ws://localhost:2583/xrpc/com.atproto.sync.subscribeRepos?cursor=7",
            ),
            ("localhost:2583", "localhost:2583", "wss://localhost:2583/xrpc/com.atproto.sync.subscribeRepos?cursor=7"),
            ("ws://[::1]:9", "[::1]:9", "ws://[::1]:9/xrpc/com.atproto.sync.subscribeRepos?cursor=7"),
        ] {
            let url = RelayUrl::parse(text).unwrap();
            assert_eq!(url.name(), name, "{text}");
            assert_eq!(url.subscribe(Some(7)), dialled, "{text}");
            assert!(!url.subscribe(None).contains('?'), "{text}");
        }
        assert_eq!(RelayUrl::parse("ws://[::1]:9").unwrap().host(), "::1");
    }

    #[test]
    fn the_rest_is_refused_with_a_reason_and_without_passwords() {
        for bad in
            ["", "ftp://x", "wss://", "wss://host/other", "wss://host/?cursor=5", "ws://h:0", "ws://h:99999", "a b"]
        {
            let error = RelayUrl::parse(bad).unwrap_err().to_string();
            assert!(error.contains("is not a relay or PDS address"), "{bad}: {error}");
        }
        let error = RelayUrl::parse("wss://anna:geheim@host").unwrap_err().to_string();
        assert!(!error.contains("geheim") && error.contains("password"), "{error}");
    }
}
