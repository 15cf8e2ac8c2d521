//! Which URLs and addresses may be asked: every one of them was chosen by somebody else.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use super::options::{NetworkOptions, authority_of};

/// Which addresses may stand behind a host's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Those of the public internet.
    Public,
    /// Any: the operator said so.
    Any,
}

/// The rule, as the settings have it.
pub(super) struct Guard {
    allow_private: bool,
    named: HashSet<String>,
}

impl Guard {
    pub fn new(options: &NetworkOptions, plc: &Url) -> Self {
        let named = options.named.iter().map(|name| one_loopback(name));
        let overrides = options.host_overrides.iter().map(|o| one_loopback(&authority_of(&o.base)));
        let plc = one_loopback(&authority_of(plc));
        Guard { allow_private: options.allow_private, named: named.chain(overrides).chain([plc]).collect() }
    }

    /// Whether private hosts and everything that development needs are allowed everywhere.
    pub fn allows_private(&self) -> bool {
        self.allow_private
    }

    /// Judges a URL that is about to be asked; `from` redirects to it. Gives the addresses that its name may have.
    pub fn judge(&self, url: &Url, from: Option<&Url>) -> Result<Reach, String> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("the scheme {:?} is neither https nor http", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("the URL holds a user name or password".to_owned());
        }
        if url.port() == Some(0) {
            return Err("port 0 cannot be asked".to_owned());
        }
        if from.is_some_and(|from| from.scheme() == "https" && url.scheme() == "http") {
            return Err("it redirects from https to http".to_owned());
        }
        // A stranger may not lead us to a host that is trusted by name: that trust is for whom the operator asks.
        let authority = one_loopback(&authority_of(url));
        let named =
            self.named.contains(&authority) && from.is_none_or(|from| one_loopback(&authority_of(from)) == authority);
        if self.allow_private || named {
            return Ok(Reach::Any);
        }
        if url.scheme() == "http" {
            return Err("plain http is only for hosts that the settings name or allow".to_owned());
        }
        let refused = |what: &dyn std::fmt::Display| Err(format!("{what} is not an address of the public internet"));
        match url.host() {
            None => Err("the URL names no host".to_owned()),
            Some(Host::Ipv4(ip)) if !is_public(ip.into()) => refused(&ip),
            Some(Host::Ipv6(ip)) if !is_public(ip.into()) => refused(&ip),
            Some(Host::Domain(name)) if is_localhost(name) => refused(&name),
            Some(_) => Ok(Reach::Public),
        }
    }
}

/// `localhost` and what is under it, which never leave this machine.
pub(super) fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case("localhost"))
}

/// The three ways to write this machine, as one.
fn one_loopback(authority: &str) -> String {
    let authority = authority.to_ascii_lowercase();
    for loopback in ["127.0.0.1", "[::1]"] {
        match authority.strip_prefix(loopback) {
            Some("") => return "localhost".to_owned(),
            Some(port) if port.starts_with(':') => return format!("localhost{port}"),
            _ => {}
        }
    }
    authority
}

/// Whether an address is one of the public internet, of one host, and in use.
///
/// <https://www.iana.org/assignments/iana-ipv4-special-registry>,
/// <https://www.iana.org/assignments/iana-ipv6-special-registry>
pub(super) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    !matches!(
        ip.octets(),
        [0 | 10 | 127, ..] // this network, private, loopback
        | [100, 64..=127, ..] // shared by carriers
        | [169, 254, ..] // link-local, where clouds keep their credentials
        | [172, 16..=31, ..] // private
        | [192, 0, 0 | 2, _] // protocol assignments, documentation
        | [192, 88, 99, _] // relays of 6to4
        | [192, 168, ..] // private
        | [198, 18 | 19, ..] // benchmarks
        | [198, 51, 100, _] // documentation
        | [203, 0, 113, _] // documentation
        | [224..=255, ..] // multicast, reserved, broadcast
    )
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let inner = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match ip.segments() {
        // IPv4 in other clothes: mapped, and through NAT64, which networks without IPv4 need.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => inner(high, low),
        // Protocol assignments, Teredo and ORCHID among them.
        [0x2001, 0x0000..=0x01ff, ..] => false,
        // Documentation.
        [0x2001, 0x0db8, ..] | [0x3fff, 0x0000..=0x0fff, ..] => false,
        // 6to4: any IPv4 address in other clothes, and out of use.
        [0x2002, ..] => false,
        // All else that is public today is global unicast; loopback, unspecified, ULA, link-local and multicast are not.
        [first, ..] => first >> 13 == 0b001,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::ServiceUrl;

    #[test]
    fn private_addresses_are_known_in_all_their_clothes() {
        for refused in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "fc00::1",
            "fdff::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "5f00::1",
        ] {
            assert!(!is_public(refused.parse().unwrap()), "{refused}");
        }
        for public in [
            "1.1.1.1",
            "100.63.0.1",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00::1",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
            "2001:200::1",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    fn guard(allow_private: bool, named: &[&str]) -> Guard {
        let named = named.iter().map(|name| (*name).into()).collect();
        let options = NetworkOptions { allow_private, named, ..NetworkOptions::default() };
        let plc = ServiceUrl::parse("http://localhost:2582").unwrap();
        Guard::new(&options, &plc.as_str().parse().unwrap())
    }

    #[track_caller]
    fn check(guard: &Guard, from: Option<&str>, url: &str, wanted: Option<Reach>) {
        let from = from.map(|from| from.parse().unwrap());
        let judged = guard.judge(&url.parse().unwrap(), from.as_ref());
        assert_eq!(judged.as_ref().ok(), wanted.as_ref(), "{url}: {judged:?}");
    }

    #[test]
    fn strangers_are_asked_on_the_public_internet_over_tls() {
        let guard = guard(false, &["pds.mine:3000"]);
        for url in ["https://pds.example", "https://pds.example:8443/x", "https://1.1.1.1", "https://[2606:4700::1111]"]
        {
            check(&guard, None, url, Some(Reach::Public));
        }
        for url in [
            "http://pds.example",
            "ftp://pds.example",
            "file:///etc/passwd",
            "https://user@pds.example",
            "https://:pw@pds.example",
            "https://localhost",
            "https://LOCALHOST.:8443",
            "https://x.localhost",
            "https://127.0.0.1",
            "https://2130706433",
            "https://0x7f.1",
            "https://[::ffff:7f00:1]",
            "https://pds.example:0",
        ] {
            check(&guard, None, url, None);
        }
    }

    #[test]
    fn named_hosts_may_be_anywhere_but_nobody_may_lead_us_there() {
        let guard = guard(false, &["pds.mine:3000", "127.0.0.1:2583"]);
        for url in ["http://localhost:2582/did", "http://127.0.0.1:2582", "http://[::1]:2583", "https://pds.mine:3000"]
        {
            check(&guard, None, url, Some(Reach::Any));
        }
        check(&guard, None, "http://localhost:2584", None);
        check(&guard, None, "http://127.0.0.10:2582", None);
        check(&guard, Some("https://pds.example"), "https://localhost:2582", None);
        check(&guard, Some("https://pds.example"), "http://localhost:2582", None);
        check(&guard, Some("http://127.0.0.1:2582/a"), "http://localhost:2582/b", Some(Reach::Any));
    }

    #[test]
    fn tls_is_never_given_up_on_the_way() {
        for guard in [guard(false, &[]), guard(true, &[])] {
            check(&guard, Some("https://a.example"), "http://b.example", None);
            check(&guard, Some("https://a.example"), "gopher://b.example", None);
        }
        check(&guard(true, &[]), Some("http://a.example"), "http://10.0.0.1", Some(Reach::Any));
        check(&guard(false, &[]), Some("https://a.example"), "https://b.example", Some(Reach::Public));
        check(&guard(false, &[]), Some("https://a.example"), "https://169.254.169.254/latest", None);
    }
}
