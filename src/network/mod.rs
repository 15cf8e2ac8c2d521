//! Everything that is asked of other people's hosts over HTTP and DNS: XRPC calls to PDSes and relays, DID documents,
//! handles.
//!
//! In: an endpoint that somebody else chose, and what to ask. Out: typed answers, or a [`HostError`] that tells whether
//! asking again may help; DID documents, or an [`IdentityError`].
//! Always true: every URL and every address behind a name is judged before it is connected to, redirects included;
//! every answer has an end in bytes and in time; a host gets no more requests at once and per second than
//! [`HostLimits`] says, and none while it asked for a pause or failed often; a DID is resolved once at a time however
//! many ask; memory does not grow with the number of hosts or DIDs.
//! Never: a CAR or CBOR read, a signature checked, a word written to a database, a request that changes something (but for
//! [`Network::post`], to addresses of the operator's own, and [`Network::act`], with rights that the host itself gave), a proxy from the environment (it would resolve names in our
//! place), a retry that the caller did not ask for.

mod act;
mod answers;
mod call;
mod did;
mod documents;
mod failure;
mod gate;
mod guard;
mod handle;
mod http;
mod metric;
mod names;
mod options;
mod post;
mod stream;
mod xrpc;

use std::sync::Arc;

pub use act::Rights;
pub use answers::{LatestCommit, ListedRecord, ListedRepo, Page, RepoDescription, RepoStatus};
pub use call::{BLOCKS_PER_CALL_MAX, Call};
pub use documents::Freshness;
pub use failure::{HostError, HostErrorKind, IdentityError, RepoProblem};
pub use metric::register_metrics;
pub use options::{AddressError, HostLimits, HostOverride, NetworkOptions, PLC_DEFAULT, ServiceUrl, authority};
pub use post::{PostAnswer, PostError, PostUrl};
pub use stream::RepoStream;

/// The way to all hosts. Clones share limits and caches: make one per process.
///
/// Every future here may be dropped at any time; what it held is given back.
#[derive(Clone)]
pub struct Network {
    inner: Arc<Inner>,
}

struct Inner {
    options: NetworkOptions,
    names: Arc<names::Names>,
    http: http::Http,
    documents: documents::Documents,
}

/// A network that cannot be set up: a certificate or limit that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the network cannot be set up: {0}")]
pub struct NetworkSetupError(String);

impl Network {
    /// Sets up clients, name service and caches. Asks nobody yet. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// A certificate authority or limit that cannot be used.
    pub fn new(options: NetworkOptions) -> Result<Self, NetworkSetupError> {
        for limits in [options.host, options.directory] {
            let per_second = limits.requests_per_second;
            if limits.concurrency == 0 || !per_second.is_normal() || per_second < 1e-6 || limits.burst.is_nan() {
                return Err(NetworkSetupError(format!("limits that let nothing through: {limits:?}")));
            }
        }
        let names = Arc::new(names::Names::new(&options.dns));
        let http = http::Http::new(&options, names.clone())?;
        let documents = documents::Documents::new(&options);
        Ok(Network { inner: Arc::new(Inner { options, names, http, documents }) })
    }
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Network({})", self.inner.options.plc.as_str())
    }
}
