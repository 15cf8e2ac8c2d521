//! How much is asked of other people's hosts, and which addresses may be asked at all.

use std::net::SocketAddr;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use url::Url;

use super::failure::plain;

/// The public directory of `did:plc`.
pub const PLC_DEFAULT: &str = "https://plc.directory";

/// An address in the settings that cannot be used: the text, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?}: {why}")]
pub struct AddressError {
    text: String,
    why: String,
}

impl AddressError {
    pub(super) fn new(text: &str, why: impl Into<String>) -> Self {
        // The text may hold a password; it is shown only when it cannot.
        let shown = if text.contains('@') { "(address with an @)".to_owned() } else { plain(text) };
        AddressError { text: shown, why: why.into() }
    }
}

/// `host` or `host:port` of a URL, lower case, without the port where it is the scheme's own: the key of per-host limits.
///
/// ```
/// assert_eq!(almanac::network::authority("https://Pds.example:443/x").as_deref(), Some("pds.example"));
/// assert_eq!(almanac::network::authority("http://[::1]:2583").as_deref(), Some("[::1]:2583"));
/// assert_eq!(almanac::network::authority("ftp://pds.example"), None);
/// ```
pub fn authority(url: &str) -> Option<Box<str>> {
    let url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    Some(authority_of(&url))
}

pub(super) fn authority_of(url: &Url) -> Box<str> {
    let host = url.host_str().unwrap_or_default().trim_end_matches('.');
    match url.port() {
        Some(port) => format!("{host}:{port}").into(),
        None => host.into(),
    }
}

/// A service's address in the settings: `http` or `https`, host, port, nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceUrl(Url);

impl ServiceUrl {
    /// Reads an address. Without a scheme it is `https`. Good: `https://plc.directory`, `http://localhost:2582`. Bad:
    /// `ftp://x`, `https://user:pw@host`, `https://host/path`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let refuse = |why: String| AddressError::new(text, why);
        let text = text.trim();
        let full = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let url = Url::parse(&full).map_err(|e| refuse(e.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refuse(format!("scheme {:?} is neither https nor http", url.scheme())));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("leave out the user name and password".to_owned()));
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(refuse("write scheme, host and port alone, without a path".to_owned()));
        }
        Ok(ServiceUrl(url))
    }

    /// The URL, without a final slash.
    pub fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    pub(super) fn url(&self) -> &Url {
        &self.0
    }
}

/// Where hosts under a suffix really are, in a development environment.
///
/// A real PDS on a developer's machine serves the handles of its accounts by the `Host` header, and no DNS knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostOverride {
    /// `.test`: a dot and the suffix.
    pub(super) suffix: Box<str>,
    /// `http://127.0.0.1:2583`.
    pub(super) base: Url,
}

impl HostOverride {
    /// Reads `*.SUFFIX=HOST:PORT`, such as `*.test=127.0.0.1:2583`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let refuse = |why: &str| AddressError::new(text, format!("{why}; write it like *.test=127.0.0.1:2583"));
        let (pattern, place) = text.split_once('=').ok_or_else(|| refuse("it has no ="))?;
        let suffix = pattern.trim().strip_prefix('*').unwrap_or_default().to_ascii_lowercase();
        if suffix.len() < 2 || !suffix.starts_with('.') || suffix.ends_with('.') || suffix.contains("..") {
            return Err(refuse("the part before = is no suffix"));
        }
        let base = ServiceUrl::parse(&format!("http://{}", place.trim()))
            .map_err(|_| refuse("the part after = is no host and port"))?;
        Ok(HostOverride { suffix: suffix.into(), base: base.0 })
    }
}

/// How much is asked of one host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HostLimits {
    /// Requests at once, answers still being read included. At least 1.
    pub concurrency: usize,
    /// Requests per second in the long run. More than 0.
    pub requests_per_second: f64,
    /// Requests that may be made at once after a quiet time. At least 1.
    pub burst: f64,
}

/// Settings of [`Network`](super::Network).
#[derive(Clone, Debug)]
pub struct NetworkOptions {
    /// The directory of `did:plc`.
    pub plc: ServiceUrl,
    /// Whether private, loopback and link-local addresses, plain `http` and handles under `.test` may be asked.
    pub allow_private: bool,
    /// Authorities (`host` or `host:port`, as [`authority`] writes them) that the operator named himself: always asked,
    /// wherever they are, with `http` too. The directory's own is added by [`Network::new`](super::Network::new).
    pub named: Vec<Box<str>>,
    /// Where hosts under a suffix really are.
    pub host_overrides: Vec<HostOverride>,
    /// Name servers. Empty: those of the system.
    pub dns: Vec<SocketAddr>,
    /// Certificate authorities trusted beside the web's.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// How much is asked of a host.
    pub host: HostLimits,
    /// How much is asked of the directory.
    pub directory: HostLimits,
    /// How much is asked of a host with the rights of our users' accounts or of its operator.
    pub acting: HostLimits,
    /// The longest pause of such requests after a host failed: what our users want published waits for it.
    pub acting_backoff_max: Duration,
    /// For TCP and TLS.
    pub connect_timeout: Duration,
    /// For a small answer as a whole, redirects included.
    pub answer_timeout: Duration,
    /// For the next bytes of an answer that is streamed.
    pub idle_timeout: Duration,
    /// How long a DID document is fresh for [`Freshness::Cached`](super::Freshness::Cached).
    pub document_fresh: Duration,
    /// How long a document that is no longer fresh may stand in while nobody can say what it is now.
    pub document_stale: Duration,
    /// How long the word that there is no such DID is believed.
    pub not_found_fresh: Duration,
    /// How long after a failed resolution the next is not tried.
    pub unreachable_fresh: Duration,
    /// Memory for DID documents, in bytes.
    pub cache_bytes_max: u64,
    /// A pause that the host asked for is cut to this.
    pub pause_max: Duration,
    /// The shortest pause after a host failed several times in a row. Doubles with each further failure.
    pub backoff_min: Duration,
    /// The longest pause after a host failed.
    pub backoff_max: Duration,
    /// A pause that ends this soon is waited for; a longer one fails the call at once.
    pub wait_max: Duration,
}

impl Default for NetworkOptions {
    fn default() -> Self {
        NetworkOptions {
            plc: ServiceUrl::parse(PLC_DEFAULT).expect("a constant"),
            allow_private: false,
            named: Vec::new(),
            host_overrides: Vec::new(),
            dns: Vec::new(),
            extra_roots: Vec::new(),
            // The reference PDS gives an address 3,000 requests in 5 minutes: what one burst and the pace amount to.
            host: HostLimits { concurrency: 4, requests_per_second: 6.0, burst: 1_200.0 },
            directory: HostLimits { concurrency: 16, requests_per_second: 100.0, burst: 1_000.0 },
            // The accounts' own budgets bound what is written; this bounds what one host has to do at once.
            acting: HostLimits { concurrency: 8, requests_per_second: 100.0, burst: 1_000.0 },
            acting_backoff_max: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(30),
            document_fresh: Duration::from_secs(24 * 3_600),
            document_stale: Duration::from_secs(7 * 24 * 3_600),
            not_found_fresh: Duration::from_secs(300),
            unreachable_fresh: Duration::from_secs(5),
            cache_bytes_max: 32_000_000,
            pause_max: Duration::from_secs(900),
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(60),
            wait_max: Duration::from_secs(3),
        }
    }
}
