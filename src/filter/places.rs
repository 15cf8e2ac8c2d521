//! Which environment of ours a host or a handle belongs to.

use crate::event::Environment;

/// An entry that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlacesError {
    /// No `=`, or nothing on one side of it.
    #[error(
        "{0:?} is not PLACE=ENVIRONMENT, such as `pds.dev.example.org=dev`, `*.staging.example.org=staging` or `127.0.0.1:2583=dev`"
    )]
    Form(String),
    /// What stands behind the `=`.
    #[error("{entry:?}: {why}")]
    Environment {
        /// The whole entry.
        entry: String,
        /// What is wrong with the name.
        why: String,
    },
    /// The same place for two environments.
    #[error("{place:?} is declared for `{first}` and for `{second}`; a place belongs to one environment")]
    Twice {
        /// Which.
        place: String,
        /// Declared first.
        first: Environment,
        /// Declared again.
        second: Environment,
    },
}

/// One declared host or handle suffix.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    /// In lower case; without `*.` when it stands for everything below.
    name: Box<str>,
    below: bool,
    environment: Environment,
}

impl Place {
    fn matches(&self, name: &str) -> bool {
        let Some(rest) = name.strip_suffix(&*self.name) else { return false };
        if self.below { rest.ends_with('.') } else { rest.is_empty() }
    }
}

/// The hosts and handles that are declared for an environment: relays, PDSes and directories by host, accounts by handle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    hosts: Vec<Place>,
    handles: Vec<Place>,
}

impl Places {
    /// Reads entries `PLACE=ENVIRONMENT`. A host is `name`, `name:port` or `*.suffix`, and without a port stands for every
    /// port; a handle is a suffix such as `.dev.example.org`, or one whole handle.
    ///
    /// # Errors
    /// [`PlacesError`], with the entry.
    pub fn parse<S: AsRef<str>>(
        hosts: impl IntoIterator<Item = S>,
        handles: impl IntoIterator<Item = S>,
    ) -> Result<Self, PlacesError> {
        let read = |entries: &mut dyn Iterator<Item = S>| -> Result<Vec<Place>, PlacesError> {
            let mut places: Vec<Place> = Vec::new();
            for entry in entries {
                let place = place(entry.as_ref())?;
                if let Some(old) = places.iter().find(|old| (&old.name, old.below) == (&place.name, place.below)) {
                    if old.environment != place.environment {
                        return Err(PlacesError::Twice {
                            place: entry.as_ref().to_owned(),
                            first: old.environment.clone(),
                            second: place.environment,
                        });
                    }
                    continue;
                }
                places.push(place);
            }
            // The more exact one decides: a whole name before a suffix, a longer name before a shorter one.
            places.sort_by_key(|place| (place.below, std::cmp::Reverse(place.name.len())));
            Ok(places)
        };
        Ok(Places { hosts: read(&mut hosts.into_iter())?, handles: read(&mut handles.into_iter())? })
    }

    /// The environment of a host, given as `host`, `host:port` or an URL; `None` when it is nobody's of ours.
    pub fn host(&self, host: &str) -> Option<&Environment> {
        if self.hosts.is_empty() {
            return None;
        }
        let (name, port) = authority(host);
        let full = if port.is_empty() { name.clone() } else { format!("{name}:{port}") };
        let hit = |place: &&Place| place.matches(&full) || place.matches(&name);
        self.hosts.iter().find(hit).map(|place| &place.environment)
    }

    /// The environment of a handle.
    pub fn handle(&self, handle: &str) -> Option<&Environment> {
        if self.handles.is_empty() {
            return None;
        }
        let handle = handle.to_ascii_lowercase();
        self.handles.iter().find(|place| place.matches(&handle)).map(|place| &place.environment)
    }

    /// Every host entry, as text and environment: `*.suffix` where it stands for everything below.
    pub fn hosts(&self) -> impl Iterator<Item = (String, &Environment)> {
        self.hosts.iter().map(shown)
    }

    /// Every handle entry, the same way.
    pub fn handles(&self) -> impl Iterator<Item = (String, &Environment)> {
        self.handles.iter().map(shown)
    }
}

fn shown(place: &Place) -> (String, &Environment) {
    let star = if place.below { "*." } else { "" };
    (format!("{star}{}", place.name), &place.environment)
}

fn place(entry: &str) -> Result<Place, PlacesError> {
    let form = || PlacesError::Form(entry.to_owned());
    let (name, environment) = entry.split_once('=').ok_or_else(form)?;
    let name = name.trim().to_ascii_lowercase();
    let (name, below) = match name.strip_prefix("*.").or_else(|| name.strip_prefix('.')) {
        Some(suffix) => (suffix.to_owned(), true),
        None => (name, false),
    };
    if name.is_empty() || name.contains(['*', '/', '=', ' ', '@']) {
        return Err(form());
    }
    let environment = Environment::parse(environment.trim())
        .map_err(|e| PlacesError::Environment { entry: entry.to_owned(), why: e.to_string() })?;
    // `localhost:2583` and `127.0.0.1:2583` are one host.
    let name = match authority(&name) {
        (host, port) if port.is_empty() => host,
        (host, port) => format!("{host}:{port}"),
    };
    Ok(Place { name: name.into(), below, environment })
}

/// Host and port of an URL, or of `host[:port]`, in lower case. The names of loopback count as one, and the ports that TLS
/// and HTTP have by default as none.
fn authority(text: &str) -> (String, String) {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    // A browser's reading of URLs takes `\\` for `/`: whoever asks the host that stands before it must be judged by that one.
    let authority = rest.split(['/', '\\', '?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    let authority = authority.rsplit_once('@').map_or(authority.as_str(), |(_, host)| host);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (host, port),
        _ => (authority, ""),
    };
    let host = match host.trim_end_matches('.') {
        "localhost" | "[::1]" => "127.0.0.1",
        host => host,
    };
    let port = if matches!(port, "443" | "80") { "" } else { port };
    (host.to_owned(), port.to_owned())
}

/// Whether two addresses name the same host and port. An empty one names none.
pub fn same_host(a: &str, b: &str) -> bool {
    let (a, b) = (authority(a), authority(b));
    !a.0.is_empty() && a == b
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        Places::parse(
            [
                "pds.example.org=production",
                "*.dev.example.org=dev",
                "127.0.0.1:2583=dev",
                "special.dev.example.org=staging",
            ],
            [".dev.example.org=dev", "boss.example.org=production"],
        )
        .unwrap()
    }

    #[test]
    fn a_host_belongs_to_whom_it_is_declared_for() {
        let places = places();
        for (host, environment) in [
            ("pds.example.org", Some("production")),
            ("https://PDS.example.org/", Some("production")),
            // Without a port the entry stands for every port.
            ("pds.example.org:8443", Some("production")),
            ("pds.dev.example.org", Some("dev")),
            ("https://a.b.dev.example.org", Some("dev")),
            ("special.dev.example.org", Some("staging")),
            ("http://localhost:2583", Some("dev")),
            ("127.0.0.1:2584", None),
            ("dev.example.org", None),
            ("xdev.example.org", None),
            ("pds.example.org.evil.test", None),
            ("https://pds.example.org@evil.test", None),
            ("https://evil.test\\@pds.example.org", None),
            ("", None),
        ] {
            assert_eq!(places.host(host).map(Environment::as_str), environment, "{host}");
        }
    }

    #[test]
    fn a_handle_belongs_to_its_suffix() {
        let places = places();
        for (handle, environment) in [
            ("anna.dev.example.org", Some("dev")),
            ("Anna.Dev.Example.org", Some("dev")),
            ("boss.example.org", Some("production")),
            ("dev.example.org", None),
            ("annadev.example.org", None),
        ] {
            assert_eq!(places.handle(handle).map(Environment::as_str), environment, "{handle}");
        }
    }

    #[test]
    fn entries_that_say_nothing_or_two_things_are_refused() {
        for entry in
            ["pds.example.org", "=dev", "*=dev", "a b=dev", "https://pds.example.org=dev", "pds.example.org=D e v"]
        {
            assert!(Places::parse([entry], []).is_err(), "{entry}");
        }
        let twice = Places::parse(["a.example=dev", "A.example=staging"], []);
        assert!(matches!(twice, Err(PlacesError::Twice { .. })), "{twice:?}");
        assert!(Places::parse(["a.example=dev", "a.example=dev"], []).is_ok());
    }

    #[test]
    fn hosts_are_compared_with_their_ports() {
        for (a, b) in [
            ("https://pds.example.org", "pds.example.org"),
            ("https://PDS.example.org/", "pds.example.org:443"),
            ("http://localhost:2583", "127.0.0.1:2583"),
            ("http://127.0.0.1:2583", "localhost:2583"),
        ] {
            assert!(same_host(a, b), "{a} {b}");
        }
        for (a, b) in [
            ("", "pds.example.org"),
            ("https://other.example.org", "pds.example.org"),
            ("https://pds.example.org:8443", "pds.example.org"),
            ("http://localhost:2583", "localhost:2584"),
            ("https://pds.example.org@evil.example", "pds.example.org"),
        ] {
            assert!(!same_host(a, b), "{a} {b}");
        }
    }
}
