//! How patient a subscription is, and whom it trusts.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Settings of a subscription.
#[derive(Clone, Debug)]
pub struct RelayOptions {
    /// For name look-up, TCP, TLS and the websocket upgrade together.
    pub connect_timeout: Duration,
    /// How often to ask the host whether it lives.
    pub ping_interval: Duration,
    /// How long a connection may be silent, pongs included, before it counts as dead. More than `ping_interval`.
    pub dead_after: Duration,
    /// Where frames come a few at a time, how long after reading some the next are left to gather. A record is visible later
    /// by half of it in the mean, and a process that follows the whole network takes a fraction of the CPU time. Zero: every
    /// frame is read as it comes.
    pub rest: Duration,
    /// The shortest pause between attempts. The range that the pause is drawn from doubles with each failure in a row.
    pub backoff_min: Duration,
    /// The longest pause between attempts.
    pub backoff_max: Duration,
    /// A connection that lived this long was a success: the next pause is short again.
    pub stable_after: Duration,
    /// The largest message taken. Above the protocol's 5,000,000 bytes, so that a frame which is too large arrives,
    /// is refused by decode under its own reason and is counted there.
    pub message_bytes_max: usize,
    /// The largest message taken by the connection that follows one which broke on a message above
    /// `message_bytes_max`: the same cursor brings the same message again, and only taking it gets past it.
    pub message_bytes_max_retry: usize,
    /// Certificate authorities trusted beside the web's.
    pub extra_ca: Option<ExtraCa>,
}

impl Default for RelayOptions {
    fn default() -> Self {
        RelayOptions {
            connect_timeout: Duration::from_secs(15),
            ping_interval: Duration::from_secs(20),
            dead_after: Duration::from_secs(60),
            rest: Duration::from_millis(15),
            backoff_min: Duration::from_millis(500),
            backoff_max: Duration::from_secs(60),
            stable_after: Duration::from_secs(30),
            message_bytes_max: 5_100_000,
            message_bytes_max_retry: 16_000_000,
            extra_ca: None,
        }
    }
}

/// Certificates of private authorities, read from a PEM file and found usable.
#[derive(Clone)]
pub struct ExtraCa {
    path: PathBuf,
    certificates: Arc<[CertificateDer<'static>]>,
}

/// A file that holds no usable certificate authority.
#[derive(Debug, thiserror::Error)]
#[error("CA file {}: {why}", path.display())]
pub struct ExtraCaError {
    path: PathBuf,
    why: String,
}

impl ExtraCa {
    /// Reads the certificates of a PEM file.
    pub fn load(path: &Path) -> Result<Self, ExtraCaError> {
        let refuse = |why: String| ExtraCaError { path: path.to_owned(), why };
        let pem = std::fs::read(path).map_err(|error| refuse(error.to_string()))?;
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<_, _>>()
            .map_err(|error| refuse(format!("not readable as PEM: {error}")))?;
        if certificates.is_empty() {
            return Err(refuse("holds no certificate; it must be PEM with a BEGIN CERTIFICATE block".to_owned()));
        }
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots
                .add(certificate.clone())
                .map_err(|error| refuse(format!("holds an unusable certificate: {error}")))?;
        }
        Ok(ExtraCa { path: path.to_owned(), certificates: certificates.into() })
    }

    /// The certificates, each found usable.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }
}

impl std::fmt::Debug for ExtraCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ExtraCa({}, {} certificates)", self.path.display(), self.certificates.len())
    }
}

/// The TLS side of a connection: the web's authorities and the extra ones. Names its crypto provider itself, because
/// the process-wide default panics when nobody has set it or when two crates bring one each.
pub(super) fn tls_config(options: &RelayOptions) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for certificate in options.extra_ca.iter().flat_map(|ca| ca.certificates.iter()) {
        roots.add(certificate.clone())?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
