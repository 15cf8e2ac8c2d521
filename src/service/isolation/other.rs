//! What another environment tells of itself: a file as `config show --public` prints it, or its settings file.
//!
//! Read leniently, since its Almanac may be a newer one: what is not understood becomes a note. Secrets in it become
//! fingerprints, and no file that it names is opened.

use std::path::Path;

use toml::{Table, Value};

use super::facts::{ADMIN_TOKEN, ADMIN_TOKEN_FILE, Facts};
use super::overlap::is_plain;
use super::webhook::Of;
use super::{database, overlap};
use crate::config::{ConfigError, KEYS, fingerprint, parse_toml};
use crate::event::{Environment, EnvironmentKind};
use crate::network::PLC_DEFAULT;
use crate::source::relay::RelayUrl;

/// A settings file is a few kilobytes.
const BYTES_MAX: u64 = 10_000_000;

/// Reads a file.
///
/// # Errors
/// One that cannot be read, is no TOML, or does not name its environment.
pub fn read(path: &Path) -> Result<Facts, ConfigError> {
    let refuse = |why: String| ConfigError::File { path: path.to_owned(), why };
    if std::fs::metadata(path).is_ok_and(|file| file.len() > BYTES_MAX) {
        return Err(refuse(format!("it is larger than {BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| refuse(e.to_string()))?;
    let table = parse_toml(&text).map_err(&refuse)?;
    facts(&table).map_err(refuse)
}

/// What a table says.
pub(super) fn facts(table: &Table) -> Result<Facts, String> {
    let mut file = File { table, notes: Vec::new() };
    let environment = file.text("environment").ok_or(
        "it does not name its environment; have it printed where that runs: almanac config show --public".to_owned(),
    )?;
    let environment = Environment::parse(&environment).map_err(|e| e.to_string())?;
    let kind = file.text("environment_kind").map(|kind| kind.parse());
    let wrong_kind = matches!(kind, Some(Err(_)));
    let kind = kind.and_then(Result::ok).unwrap_or_else(|| EnvironmentKind::of(&environment));
    let plc = file.text("network.plc").unwrap_or_else(|| PLC_DEFAULT.to_owned());
    let mut facts = Facts::new(environment, kind, &plc);
    if wrong_kind {
        facts.note("environment_kind");
    }

    let upstreams = |file: &mut File<'_>, facts: &mut Facts, setting: &str| -> Vec<String> {
        let urls = file.list(setting).unwrap_or_default();
        let read = urls.iter().map(|url| overlap::host(&RelayUrl::parse(url).ok()?.name()));
        let read: Option<Vec<String>> = read.collect();
        read.unwrap_or_else(|| {
            facts.note(setting);
            Vec::new()
        })
    };
    facts.relays = upstreams(&mut file, &mut facts, "source.relays").into_iter().collect();
    let declared = own_entries(&mut file, &mut facts, "origin.hosts");
    facts.add_declared(declared.iter().filter_map(|host| overlap::host(host)));
    let pdses = upstreams(&mut file, &mut facts, "source.pdses");
    facts.pds_hosts.extend(pdses);
    for host in file.list("isolation.pds_hosts").unwrap_or_default() {
        facts.add_pds("isolation.pds_hosts", &host);
    }
    for handle in own_entries(&mut file, &mut facts, "origin.handles") {
        facts.add_handle("origin.handles", &handle);
    }
    for handle in file.list("isolation.handle_domains").unwrap_or_default() {
        facts.add_handle("isolation.handle_domains", &handle);
    }
    facts.plc_written = file.text("isolation.plc");
    let set = |file: &mut File<'_>, setting: &str| file.list(setting).map(|list| list.into_iter().collect());
    facts.crawlers = set(&mut file, "isolation.crawlers");
    facts.mail_hosts = set(&mut file, "isolation.mail_hosts");
    facts.webhook_hosts = set(&mut file, "isolation.webhook_hosts");
    facts.database = file.text("isolation.database").or_else(|| {
        let url = at(table, "database_url").and_then(Value::as_str);
        let folder = at(table, "data_dir").and_then(Value::as_str);
        url.map_or_else(|| folder.and_then(database::of_folder), database::of_url)
    });
    for entry in file.list("isolation.fingerprints").unwrap_or_default() {
        match fingerprint(&entry) {
            Some(read) => drop(facts.fingerprints.insert(read)),
            None => facts.note("isolation.fingerprints"),
        }
    }
    for (name, hook) in table.get("webhooks").and_then(Value::as_table).into_iter().flatten() {
        match hook.as_table() {
            Some(hook) => facts.add_webhook_table(name, hook, Of::Them),
            None => facts.note("webhooks"),
        }
    }
    if let Some(token) = at(table, ADMIN_TOKEN).and_then(Value::as_str) {
        facts.add_secret("admin_token", token);
    }
    if at(table, ADMIN_TOKEN_FILE).is_some() {
        facts.note_file(ADMIN_TOKEN_FILE);
    }
    facts.notes.extend(file.notes);
    unknown("", table, &mut facts.notes);
    facts.notes.sort();
    facts.notes.dedup();
    Ok(facts)
}

/// The places that `PLACE=ENVIRONMENT` entries declare for the file's own environment.
fn own_entries(file: &mut File<'_>, facts: &mut Facts, setting: &str) -> Vec<String> {
    let mut places = Vec::new();
    for entry in file.list(setting).unwrap_or_default() {
        match entry.split_once('=') {
            Some((place, environment)) if environment.trim() == facts.environment.as_str() => {
                places.push(place.trim().to_owned());
            }
            Some(_) => {}
            None => facts.note(setting),
        }
    }
    places
}

/// The public values of a file.
struct File<'a> {
    table: &'a Table,
    notes: Vec<String>,
}

impl File<'_> {
    fn text(&mut self, setting: &str) -> Option<String> {
        match at(self.table, setting)? {
            Value::String(text) if may_be_shown(text) => Some(text.clone()),
            _ => {
                self.wrong(setting);
                None
            }
        }
    }

    fn list(&mut self, setting: &str) -> Option<Vec<String>> {
        let read = match at(self.table, setting)? {
            Value::String(text) => Some(vec![text.clone()]),
            Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        let read = read.filter(|list| list.iter().all(|text| may_be_shown(text)));
        if read.is_none() {
            self.wrong(setting);
        }
        read
    }

    fn wrong(&mut self, setting: &str) {
        self.notes.push(format!("`{setting}` holds something else than expected"));
    }
}

/// What has an account in it, or could move a terminal's cursor, is not shown.
fn may_be_shown(text: &str) -> bool {
    is_plain(text) && !text.contains('@')
}

fn at<'a>(table: &'a Table, setting: &str) -> Option<&'a Value> {
    match setting.split_once('.') {
        Some((outer, inner)) => table.get(outer)?.as_table()?.get(inner),
        None => table.get(setting),
    }
}

/// Notes settings that this version does not have.
fn unknown(prefix: &str, table: &Table, notes: &mut Vec<String>) {
    for (name, value) in table {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        let known = [ADMIN_TOKEN, ADMIN_TOKEN_FILE].contains(&path.as_str()) || KEYS.iter().any(|key| key.name == path);
        match value {
            _ if known || path == "webhooks" => {}
            Value::Table(inner) if KEYS.iter().any(|key| key.name.starts_with(&format!("{path}."))) => {
                unknown(&path, inner, notes);
            }
            _ if is_plain(&path) => notes.push(format!("`{path}` is no setting of this version")),
            _ => notes.push("a setting with an odd name".to_owned()),
        }
    }
}
