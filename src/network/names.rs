//! Names to addresses and texts. Addresses are judged here, in the same step that the connection is made from: between
//! a check and a second look-up a name could change its mind.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::failure::plain;
use super::guard::{Reach, is_localhost, is_public};

/// Why a name gave no address that may be asked.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum NameError {
    /// The name service says that there is none.
    #[error("the name {0} has no address")]
    NoSuchHost(String),
    /// It has none but private ones.
    #[error("the name {name} leads to {address}, which is not an address of the public internet")]
    Refused { name: String, address: IpAddr },
    /// The name service does not answer in time.
    #[error("the name service did not answer in time")]
    Timeout,
    /// The name service fails.
    #[error("the name service failed: {0}")]
    Failed(String),
}

impl NameError {
    fn of(name: &str, error: &NetError) -> Self {
        match error {
            // "No records" with another code than these two is what a name server says that is out of order.
            error if error.is_nx_domain() || (error.is_no_records_found() && !says_failure(error)) => {
                NameError::NoSuchHost(plain(name))
            }
            NetError::Timeout => NameError::Timeout,
            error => NameError::Failed(plain(&error.to_string())),
        }
    }
}

/// Whether "no records" came with a code that means trouble rather than absence.
fn says_failure(error: &NetError) -> bool {
    use hickory_resolver::net::DnsError;
    use hickory_resolver::proto::op::ResponseCode;
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => {
            !matches!(none.response_code, ResponseCode::NoError | ResponseCode::NXDomain)
        }
        _ => false,
    }
}

/// The name service.
pub(super) struct Names {
    resolver: Result<TokioResolver, String>,
    /// Whether these are the system's own servers: then the system may know further names by other means.
    system: bool,
}

impl Names {
    /// With these servers, or the system's.
    pub fn new(servers: &[SocketAddr]) -> Self {
        let built = if servers.is_empty() {
            TokioResolver::builder_tokio()
        } else {
            let servers = servers.iter().map(|server| {
                let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
                (udp.port, tcp.port) = (server.port(), server.port());
                NameServerConfig::new(server.ip(), true, vec![udp, tcp])
            });
            let config = ResolverConfig::from_parts(None, vec![], servers.collect());
            Ok(TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()))
        };
        let resolver = built.and_then(|mut builder| {
            tune(builder.options_mut());
            builder.build()
        });
        // Without a name server the rest still works: whoever names hosts by address needs none.
        Names { resolver: resolver.map_err(|e| plain(&e.to_string())), system: servers.is_empty() }
    }

    fn resolver(&self) -> Result<&TokioResolver, NameError> {
        self.resolver.as_ref().map_err(|why| NameError::Failed(format!("no name server is set up: {why}")))
    }

    /// The addresses of a host that may be asked, at least one.
    pub async fn addresses(&self, host: &str, reach: Reach) -> Result<Vec<IpAddr>, NameError> {
        // Never a question for a name server (RFC 6761).
        let found = if is_localhost(host) {
            vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
        } else {
            match self.look_up(host).await {
                Err(error) if reach == Reach::Any && self.system => system_addresses(host).await.ok_or(error)?,
                other => other?,
            }
        };
        let Some(first) = found.first().copied() else { return Err(NameError::NoSuchHost(plain(host))) };
        let allowed: Vec<_> = found.into_iter().filter(|ip| reach == Reach::Any || is_public(*ip)).collect();
        if allowed.is_empty() {
            return Err(NameError::Refused { name: plain(host), address: first });
        }
        Ok(allowed)
    }

    async fn look_up(&self, host: &str) -> Result<Vec<IpAddr>, NameError> {
        let found = self.resolver()?.lookup_ip(host).await;
        Ok(found.map_err(|error| NameError::of(host, &error))?.iter().collect())
    }

    /// The texts of a name, each put together from its pieces. None when it has none.
    pub async fn texts(&self, name: &str) -> Result<Vec<String>, NameError> {
        let lookup = match self.resolver()?.lookup(name, RecordType::TXT).await {
            Ok(lookup) => lookup,
            Err(NetError::Proto(_)) if name.len() > 254 => return Ok(vec![]),
            Err(error) => {
                return match NameError::of(name, &error) {
                    NameError::NoSuchHost(_) => Ok(vec![]),
                    other => Err(other),
                };
            }
        };
        let text = |data: &RData| match data {
            RData::TXT(txt) => Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned()),
            _ => None,
        };
        Ok(lookup.answers().iter().filter_map(|record| text(&record.data)).collect())
    }
}

fn tune(options: &mut ResolverOpts) {
    options.timeout = Duration::from_secs(4);
    options.attempts = 2;
    options.cache_size = 4_096;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.max_active_requests = 512;
    // A handle that was set a moment ago is asked for at once, and again soon when it is not there.
    options.positive_max_ttl = Some(Duration::from_secs(300));
    options.negative_max_ttl = Some(Duration::from_secs(10));
}

/// Names that the system knows without DNS, such as those of a container's neighbours.
async fn system_addresses(host: &str) -> Option<Vec<IpAddr>> {
    let found: Vec<_> = tokio::net::lookup_host((host, 0)).await.ok()?.map(|address| address.ip()).collect();
    (!found.is_empty()).then_some(found)
}

/// The name service as connections use it.
pub(super) struct JudgedNames {
    pub names: Arc<Names>,
    pub reach: Reach,
}

impl Resolve for JudgedNames {
    fn resolve(&self, name: Name) -> Resolving {
        let (names, reach) = (self.names.clone(), self.reach);
        Box::pin(async move {
            let found = names.addresses(name.as_str(), reach).await?;
            // The port is the URL's.
            Ok(Box::new(found.into_iter().map(|ip| SocketAddr::new(ip, 0))) as Addrs)
        })
    }
}
