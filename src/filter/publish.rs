//! To which PDSes this environment may write.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Places;
use crate::event::{Environment, EnvironmentKind};

/// Why nothing is written to a PDS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishRefusal {
    /// What was given is no host.
    #[error("{0:?} is not the address of a PDS; wanted is https://host or https://host:port")]
    Address(String),
    /// The host is another environment's.
    #[error("`{host}` is declared for `{environment}`, and nothing of `{own}` is written there (origin.hosts)")]
    Elsewhere {
        /// The host.
        host: String,
        /// Whose it is.
        environment: Environment,
        /// Ours.
        own: Environment,
    },
    /// Hosts are declared for this environment, and this one is not among them.
    #[error("`{host}` is not declared for `{own}`; if it is to be written to, add `{host}={own}` to origin.hosts")]
    Undeclared {
        /// The host.
        host: String,
        /// Ours.
        own: Environment,
    },
    /// No host is declared for this environment.
    #[error(
        "no host is declared for `{own}` ({kind}), so nothing is written to `{host}`; if it is to be written to, add \
         `{host}={own}` to origin.hosts"
    )]
    NoneDeclared {
        /// The host.
        host: String,
        /// Ours.
        own: Environment,
        /// What it is for.
        kind: EnvironmentKind,
    },
}

impl Places {
    /// Whether this environment may write to a PDS, given as URL or `host[:port]`: only to hosts that are declared for it.
    /// Where none is, a development environment may write to hosts on this machine or in a private network, as long as
    /// nobody else's environment has them, and production nowhere. What a name leads to is not asked: a host is private by
    /// its address, or by a name that never leads elsewhere (`localhost`, `.localhost`, `.test`; RFC 6761).
    ///
    /// # Errors
    /// [`PublishRefusal`], with what to declare.
    pub fn may_publish(&self, pds: &str, own: &Environment, kind: EnvironmentKind) -> Result<(), PublishRefusal> {
        let host = host_of(pds).ok_or_else(|| PublishRefusal::Address(pds.chars().take(120).collect()))?;
        let (own, host) = (own.clone(), host.to_ascii_lowercase());
        match self.host(&host) {
            Some(environment) if *environment == own => return Ok(()),
            Some(environment) => {
                return Err(PublishRefusal::Elsewhere { host, environment: environment.clone(), own });
            }
            None => {}
        }
        if self.hosts().any(|(_, environment)| *environment == own) {
            return Err(PublishRefusal::Undeclared { host, own });
        }
        if kind == EnvironmentKind::Development && is_private(&host) {
            return Ok(());
        }
        Err(PublishRefusal::NoneDeclared { host, own, kind })
    }
}

/// `host[:port]` of an address that holds nothing else but a scheme. Strict, because whoever asks the host may read an odd
/// address in another way than we do.
fn host_of(pds: &str) -> Option<&str> {
    let rest = pds.strip_prefix("https://").or_else(|| pds.strip_prefix("http://")).unwrap_or(pds);
    let host = rest.strip_suffix('/').unwrap_or(rest);
    let (name, port) = match host.strip_prefix('[') {
        Some(v6) => {
            let (v6, port) = v6.split_once(']')?;
            v6.parse::<Ipv6Addr>().ok()?;
            ("", port)
        }
        None => host.find(':').map_or((host, ""), |colon| host.split_at(colon)),
    };
    let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    let is_port = |port: &str| port.is_empty() || port.strip_prefix(':').is_some_and(|p| p.parse::<u16>().is_ok());
    let named = host.starts_with('[') || !name.trim_matches('.').is_empty();
    (named && is_name(name) && is_port(port)).then_some(host)
}

/// Whether a host is on this machine or in a private network, as far as its name tells.
fn is_private(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    match name.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => is_private_v4(ip),
        Ok(IpAddr::V6(ip)) => match ip.to_ipv4_mapped() {
            Some(v4) => is_private_v4(v4),
            None => ip.is_loopback() || ip.is_unique_local(),
        },
        Err(_) => matches!(name.trim_end_matches('.').rsplit('.').next(), Some("localhost" | "test")),
    }
}

fn is_private_v4(ip: Ipv4Addr) -> bool {
    ip.is_loopback() || ip.is_private()
}

#[cfg(test)]
mod tests {
    use super::*;
    use EnvironmentKind::{Development, Production};

    fn environment(name: &str) -> Environment {
        Environment::parse(name).unwrap()
    }

    #[track_caller]
    fn check(hosts: &[&str], own: &str, kind: EnvironmentKind, pds: &str, wanted: Option<&str>) {
        let places = Places::parse(hosts.iter().copied(), []).unwrap();
        let refused = places.may_publish(pds, &environment(own), kind).err().map(|refusal| match refusal {
            PublishRefusal::Address(_) => "address",
            PublishRefusal::Elsewhere { .. } => "elsewhere",
            PublishRefusal::Undeclared { .. } => "undeclared",
            PublishRefusal::NoneDeclared { .. } => "none declared",
        });
        assert_eq!(refused, wanted, "{own} {kind}, {hosts:?}: {pds}");
    }

    #[test]
    fn only_declared_hosts_are_written_to() {
        let hosts = ["pds.example.org=production", "*.dev.example.org=dev", "127.0.0.1:2583=dev"];
        for (own, kind, pds, wanted) in [
            ("production", Production, "https://pds.example.org", None),
            ("production", Production, "https://PDS.example.org:443/", None),
            ("production", Production, "https://pds.dev.example.org", Some("elsewhere")),
            ("production", Production, "http://localhost:2583", Some("elsewhere")),
            ("production", Production, "https://bsky.social", Some("undeclared")),
            ("production", Production, "http://localhost:2584", Some("undeclared")),
            ("dev", Development, "https://pds.dev.example.org", None),
            ("dev", Development, "http://localhost:2583", None),
            ("dev", Development, "https://pds.example.org", Some("elsewhere")),
            ("dev", Development, "https://bsky.social", Some("undeclared")),
            // Private, but others are declared.
            ("dev", Development, "http://localhost:2584", Some("undeclared")),
        ] {
            check(&hosts, own, kind, pds, wanted);
        }
    }

    #[test]
    fn without_a_declared_host_only_development_writes_and_only_to_private_hosts() {
        for private in [
            "http://localhost:2583",
            "localhost",
            "http://pds.localhost:2583",
            "https://pds.test",
            "http://127.0.0.1:2583",
            "http://127.9.9.9",
            "http://[::1]:2583",
            "http://[::ffff:10.0.0.1]",
            "http://[fd00::1]",
            "http://10.1.2.3",
            "http://172.16.0.1",
            "http://192.168.1.1:2583/",
        ] {
            check(&[], "dev", Development, private, None);
            check(&[], "production", Production, private, Some("none declared"));
            // What an environment is for counts, not what it is called.
            check(&[], "dev", Production, private, Some("none declared"));
        }
        for public in [
            "https://bsky.social",
            "https://localhost.example.org",
            "https://pds.test.example.org",
            "http://8.8.8.8",
            "http://172.32.0.1",
            "http://169.254.169.254",
            "http://0.0.0.0",
            "http://[2606:4700::1111]",
            "http://[::ffff:8.8.8.8]",
            // Some readers take these for 127.0.0.1.
            "http://2130706433",
            "http://0x7f.1",
        ] {
            check(&[], "dev", Development, public, Some("none declared"));
        }
        // Declared for others only: the same as none, but theirs are theirs.
        let theirs = ["localhost:2583=staging"];
        check(&theirs, "dev", Development, "http://127.0.0.1:2583", Some("elsewhere"));
        check(&theirs, "dev", Development, "http://127.0.0.1:2584", None);
        check(&theirs, "dev", Development, "https://bsky.social", Some("none declared"));
    }

    #[test]
    fn an_address_that_can_be_read_in_two_ways_is_refused() {
        for odd in [
            "",
            "https://",
            "https://.",
            "ftp://pds.example.org",
            "https://pds.example.org/xrpc",
            "https://pds.example.org?x",
            "https://pds.example.org#x",
            "https://pds.example.org@evil.test",
            "https://evil.test\\@pds.example.org",
            "https://evil.test/@pds.example.org",
            "https://pds.example.org:443:443",
            "https://pds.example.org:99999",
            "https://pds.example.org:",
            "https://pds.example.org ",
            "https://pds.exam\tple.org",
            "https://pds。example.org",
            "https://[::1",
            "https://[pds.example.org]",
            "https://[::1]pds.example.org",
            "https://https://pds.example.org",
        ] {
            check(&["pds.example.org=production"], "production", Production, odd, Some("address"));
        }
    }

    #[test]
    fn a_refusal_says_what_to_declare() {
        let places = Places::parse(["pds.example.org=production"], []).unwrap();
        let refusal = places.may_publish("https://new.example.org", &environment("production"), Production);
        assert!(refusal.unwrap_err().to_string().contains("`new.example.org=production` to origin.hosts"));
        let refusal = places.may_publish("https://new.example.org", &environment("dev"), Development).unwrap_err();
        assert!(refusal.to_string().contains("`new.example.org=dev` to origin.hosts"), "{refusal}");
        assert!(refusal.to_string().contains("`dev` (development)"), "{refusal}");
    }
}
