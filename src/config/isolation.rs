//! The settings under `isolation.`: what other environments may know of this one, beside what other settings say.

use super::layers::{ConfigError, Layers};
use crate::filter::Places;

/// Public facts, each for when no file tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IsolationSettings {
    /// PDSes of this environment.
    pub pds_hosts: Vec<String>,
    /// Suffixes of the handles that they give out.
    pub handle_domains: Vec<String>,
    /// Relays that they ask to crawl them; `None`: nobody said.
    pub crawlers: Option<Vec<String>>,
    /// The directory to which they write.
    pub plc: Option<String>,
    /// Where the database is, instead of what `database_url` and `data_dir` say.
    pub database: Option<String>,
    /// Hosts that webhooks call; `None`: nobody said.
    pub webhook_hosts: Option<Vec<String>>,
    /// Hosts through which mail is sent; `None`: nobody said.
    pub mail_hosts: Option<Vec<String>>,
    /// Fingerprints of secrets, by name.
    pub fingerprints: Vec<(String, String)>,
}

/// Reads them.
pub(super) fn settings(layers: &Layers) -> Result<IsolationSettings, ConfigError> {
    let said = |name: &'static str| -> Result<Option<Vec<String>>, ConfigError> {
        let entries = layers.list(name);
        match entries.iter().any(|entry| entry.contains('@')) {
            true => Err(layers.refuse(name, "leave out user names and passwords")),
            false => Ok(layers.is_set(name).then(|| entries.to_vec())),
        }
    };
    let places = |name: &'static str| -> Result<Vec<String>, ConfigError> {
        let entries = layers.list(name);
        Places::parse(entries.iter().map(|entry| format!("{entry}=x")), [])
            .map_err(|_| layers.refuse(name, "each entry is a host or a suffix alone, such as pds.example.org"))?;
        Ok(entries.to_vec())
    };
    let public = |name: &'static str| -> Result<Option<String>, ConfigError> {
        match layers.text(name) {
            Some(text) if text.contains('@') => Err(layers.refuse(name, "leave out the user name and password")),
            text => Ok(text.map(str::to_owned)),
        }
    };
    let fingerprints = layers.list("isolation.fingerprints").iter().enumerate().map(|(i, entry)| {
        // What was put here by mistake may be a secret: it is not repeated.
        fingerprint(entry).ok_or_else(|| {
            layers.refuse(
                "isolation.fingerprints",
                format!("entry {} is not NAME=DIGITS with 16 digits of 0-9a-f", i + 1),
            )
        })
    });
    Ok(IsolationSettings {
        pds_hosts: places("isolation.pds_hosts")?,
        handle_domains: places("isolation.handle_domains")?,
        crawlers: said("isolation.crawlers")?,
        plc: public("isolation.plc")?,
        database: public("isolation.database")?,
        webhook_hosts: said("isolation.webhook_hosts")?,
        mail_hosts: said("isolation.mail_hosts")?,
        fingerprints: fingerprints.collect::<Result<_, _>>()?,
    })
}

/// `name=0123456789abcdef`, read.
pub fn fingerprint(entry: &str) -> Option<(String, String)> {
    let (name, digits) = entry.split_once('=')?;
    let is_digits = digits.len() == 16 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let is_name = !name.is_empty()
        && name.len() <= 100
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':' | b'[' | b']'));
    (is_name && is_digits).then(|| (name.to_owned(), digits.to_owned()))
}
