//! What may be known of an environment by the operators of another.

use std::collections::BTreeSet;

use super::fingerprint::fingerprint;
use super::overlap;
use crate::event::{Environment, EnvironmentKind};
use crate::network;

/// Begins the names of fingerprints of a webhook's whole URL; its host follows.
pub(super) const WEBHOOK_URL: &str = "webhook_url.";
/// Begins the names of fingerprints of accounts at mail servers.
pub(super) const MAIL: [&str; 2] = ["pds_mail", "pds_moderation_mail"];

/// The setting that holds the admin listener's token.
pub(super) const ADMIN_TOKEN: &str = "listen.admin_token";
/// And the one that names a file that holds it.
pub(super) const ADMIN_TOKEN_FILE: &str = "listen.admin_token_file";

/// Facts about one environment. They hold no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its name.
    pub environment: Environment,
    /// What it is for.
    pub kind: EnvironmentKind,
    /// Its PDSes: `host`, `host:port` or `*.suffix`.
    pub pds_hosts: BTreeSet<String>,
    /// Its handles: suffixes with a dot, or whole handles.
    pub handles: BTreeSet<String>,
    /// Relays that it follows.
    pub relays: BTreeSet<String>,
    /// The directory in which it looks accounts up.
    pub plc_read: String,
    /// The directory to which its PDSes write; `None`: not known.
    pub plc_written: Option<String>,
    /// Relays that its PDSes ask to crawl them; `None`: not known.
    pub crawlers: Option<BTreeSet<String>>,
    /// Where its database is: `postgres://host:port/database` or `private://machine/folder`; `None`: not known.
    pub database: Option<String>,
    /// Hosts that its webhooks call; `None`: not known.
    pub webhook_hosts: Option<BTreeSet<String>>,
    /// Hosts through which it sends mail; `None`: not known.
    pub mail_hosts: Option<BTreeSet<String>>,
    /// Names and fingerprints of its secrets.
    pub fingerprints: BTreeSet<(String, String)>,
    /// Secrets that are too short to have a fingerprint, by name.
    pub too_short: Vec<String>,
    /// What could not be understood, for people.
    pub notes: Vec<String>,
}

impl Facts {
    /// An environment of which nothing is known.
    pub fn new(environment: Environment, kind: EnvironmentKind, plc_read: &str) -> Self {
        Facts {
            environment,
            kind,
            pds_hosts: BTreeSet::new(),
            handles: BTreeSet::new(),
            relays: BTreeSet::new(),
            plc_read: plc_read.to_owned(),
            plc_written: None,
            crawlers: None,
            database: None,
            webhook_hosts: None,
            mail_hosts: None,
            fingerprints: BTreeSet::new(),
            too_short: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Adds a PDS. What is no host is noted under `setting`.
    pub(super) fn add_pds(&mut self, setting: &str, entry: &str) {
        match overlap::host(entry) {
            Some(host) => drop(self.pds_hosts.insert(host)),
            None => self.note(setting),
        }
    }

    /// Adds a handle or a suffix of handles.
    pub(super) fn add_handle(&mut self, setting: &str, entry: &str) {
        match overlap::handle(entry) {
            Some(handle) => drop(self.handles.insert(handle)),
            None => self.note(setting),
        }
    }

    /// Adds whom a webhook calls, and the fingerprint of its URL, which may hold a token.
    pub(super) fn add_webhook(&mut self, name: &str, url: &str) {
        let hosts = self.webhook_hosts.get_or_insert_default();
        match network::authority(url) {
            Some(host) => {
                hosts.insert(host.to_string());
                // A short URL is no secret, and where it goes is told anyway.
                self.fingerprints.extend(fingerprint(url).map(|digits| (format!("{WEBHOOK_URL}{host}"), digits)));
            }
            None => self.note(&format!("webhooks.{name}.url")),
        }
    }

    /// Adds the fingerprint of a secret, or the note that it is too short to have one.
    pub(super) fn add_secret(&mut self, name: &str, secret: &str) {
        match fingerprint(secret) {
            Some(digits) => drop(self.fingerprints.insert((name.to_owned(), digits))),
            None => self.too_short.push(name.to_owned()),
        }
    }

    /// Notes that a setting was not understood. Its value is not repeated.
    pub(super) fn note(&mut self, setting: &str) {
        self.notes.push(format!("`{setting}` holds something else than expected"));
    }

    /// Notes that another environment's settings name a file that holds a secret.
    pub(super) fn note_file(&mut self, setting: &str) {
        self.notes.push(format!("the file of `{setting}` is not looked for here"));
    }

    /// Adds hosts that are declared for the environment, but for its relays and directory: hosts of all kinds are declared in
    /// one list. To be called when these two are known.
    pub(super) fn add_declared(&mut self, hosts: impl IntoIterator<Item = String>) {
        let plc = network::authority(&self.plc_read).and_then(|host| overlap::host(&host));
        let pdses = hosts.into_iter().filter(|host| !self.relays.contains(host) && plc.as_ref() != Some(host));
        self.pds_hosts.extend(pdses);
    }
}
