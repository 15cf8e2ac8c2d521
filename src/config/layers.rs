//! Putting the four layers on top of each other.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::key::{Form, KEYS, Key, OTHER_VARIABLES};
use super::webhooks::Tables;
use crate::db::embedded;
use crate::event::Environment;

/// Settings that cannot be used: which, and what to write instead.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("settings file {}: {why}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A key or variable that no setting has.
    #[error("{place}: unknown setting `{name}`{hint}; `almanac config show` lists all settings")]
    Unknown {
        /// The file, or the environment.
        place: String,
        /// As it was written.
        name: String,
        /// What was meant, perhaps.
        hint: String,
    },
    /// Something that this process is told to use belongs to another environment of ours.
    #[error(
        "setting `{setting}`: {what} belongs to the environment `{declared}` by origin.hosts, and this process is `{environment}`: \
         take it out of `{setting}`, correct origin.hosts, or run as --environment {declared}"
    )]
    Elsewhere {
        /// Which setting or flag names it.
        setting: &'static str,
        /// What it names.
        what: String,
        /// Whose it is.
        declared: Environment,
        /// What this process runs as.
        environment: Environment,
    },
    /// A value that does not fit.
    #[error("setting `{name}` ({place}): {why}")]
    Value {
        /// Which.
        name: &'static str,
        /// Where it came from.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// A value of a webhook that does not fit.
    #[error("webhook `{webhook}` ({place}): `{field}`: {why}")]
    Webhook {
        /// Which webhook.
        webhook: String,
        /// Which of its values.
        field: &'static str,
        /// Where it came from.
        place: String,
        /// What is wrong with it.
        why: String,
    },
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody said.
    Default,
    /// The settings file.
    File(PathBuf),
    /// A variable.
    Variable(&'static str),
    /// The command line.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::File(path) => write!(f, "{}", path.display()),
            Source::Variable(name) => write!(f, "${name}"),
            Source::Flag(name) => write!(f, "--{name}"),
        }
    }
}

/// One effective setting, for people.
#[derive(Clone, Debug, Serialize)]
pub struct Shown {
    /// Its name.
    pub key: Cow<'static, str>,
    /// Its value; withheld when it is a secret, `None` when it is unset.
    pub value: Option<String>,
    /// Where it came from.
    pub source: String,
    /// What it is for.
    pub help: &'static str,
}

/// The values of all settings, each with where it came from, and the tables of the webhooks.
#[derive(Clone, Debug)]
pub struct Layers(BTreeMap<&'static str, (Vec<String>, Source)>, Tables);

impl Layers {
    /// Reads defaults, then `file`, then `variables`, then `flags` (by the setting's name and the flag's).
    ///
    /// # Errors
    /// A file that cannot be read or is no TOML, an unknown key in it, an unknown `ALMANAC_*` variable.
    pub fn read(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
        flags: impl IntoIterator<Item = (&'static str, &'static str, Vec<String>)>,
    ) -> Result<Self, ConfigError> {
        let mut layers = Layers(BTreeMap::new(), Tables::default());
        for key in KEYS {
            if let Some(default) = key.default {
                layers.0.insert(key.name, (split(key, default), Source::Default));
            }
        }
        if let Some(path) = file {
            layers.add_file(path)?;
        }
        for (name, value) in variables {
            // An empty variable is how people unset one.
            if !name.starts_with("ALMANAC_") || OTHER_VARIABLES.contains(&name.as_str()) || value.is_empty() {
                continue;
            }
            let known = KEYS.iter().find(|key| key.variable == name);
            let key = known.ok_or_else(|| unknown("environment variable", &name, KEYS.iter().map(|k| k.variable)))?;
            layers.0.insert(key.name, (split(key, &value), Source::Variable(key.variable)));
        }
        for (name, flag, values) in flags {
            layers.0.insert(name, (values, Source::Flag(flag)));
        }
        layers.add_derived();
        Ok(layers)
    }

    /// Defaults that depend on the machine or on other settings.
    fn add_derived(&mut self) {
        let data_dir = embedded::default_data_dir().display().to_string();
        self.0.entry("data_dir").or_insert((vec![data_dir], Source::Default));
        // Whoever gives an allowlist wants nobody else, unless he says so.
        let listed = !self.list("filter.allow").is_empty() || self.text("filter.allow_file").is_some();
        let rule = if listed { "allowlist" } else { "network" };
        self.0.entry("filter.dids").or_insert((vec![rule.to_owned()], Source::Default));
    }

    fn add_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let refuse = |why: String| ConfigError::File { path: path.to_owned(), why };
        let text = std::fs::read_to_string(path).map_err(|e| refuse(e.to_string()))?;
        let mut table = parse_toml(&text).map_err(refuse)?;
        self.1 = Tables::take(path.to_owned(), &mut table)?;
        let mut flat = Vec::new();
        flatten("", table, &mut flat);
        for (name, value) in flat {
            let known = KEYS.iter().find(|key| key.name == name);
            let key = known.ok_or_else(|| unknown(&path.display().to_string(), &name, KEYS.iter().map(|k| k.name)))?;
            let values = match (key.form, value) {
                (_, toml::Value::String(text)) => vec![text],
                // `true` and `8` are as good as `"true"` and `"8"`.
                (Form::Text, toml::Value::Boolean(given)) => vec![given.to_string()],
                (Form::Text, toml::Value::Integer(given)) => vec![given.to_string()],
                (Form::List, toml::Value::Array(items)) => items
                    .into_iter()
                    .map(|item| match item {
                        toml::Value::String(text) => Ok(text),
                        other => Err(refuse(format!("`{name}` holds {} instead of text", other.type_str()))),
                    })
                    .collect::<Result<_, _>>()?,
                (form, other) => {
                    let wanted = if form == Form::List { "a list of texts" } else { "text in quotes" };
                    return Err(refuse(format!("`{name}` is {}, but must be {wanted}", other.type_str())));
                }
            };
            self.0.insert(key.name, (values, Source::File(path.to_owned())));
        }
        Ok(())
    }

    /// The value of a text setting, if it is set.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(|(values, _)| values.first()).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// The value of a list setting.
    pub fn list(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], |(values, _)| values)
    }

    /// The tables `[webhooks.NAME]` as they stand in the file, secrets included.
    pub fn webhook_tables(&self) -> impl Iterator<Item = (&str, &toml::Table)> {
        self.1.all()
    }

    /// The tables `[webhooks.NAME]`.
    pub(super) fn webhooks(&self) -> &Tables {
        &self.1
    }

    /// Whether somebody said what the value is.
    pub fn is_set(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|(_, source)| *source != Source::Default)
    }

    /// An error about a value.
    pub fn refuse(&self, name: &'static str, why: impl fmt::Display) -> ConfigError {
        let place = self.0.get(name).map_or("unset".to_owned(), |(_, source)| source.to_string());
        ConfigError::Value { name, place, why: why.to_string() }
    }

    /// Every setting for people.
    pub fn shown(&self) -> Vec<Shown> {
        let shown = |key: &Key| {
            let (value, source) = match self.0.get(key.name) {
                None => (None, "unset".to_owned()),
                Some((_, source)) if key.secret => (Some("(set, not shown)".to_owned()), source.to_string()),
                Some((values, source)) => {
                    let values: Vec<_> = values.iter().map(|value| harmless(key, value)).collect();
                    (Some(values.join(", ")), source.to_string())
                }
            };
            Shown { key: key.name.into(), value, source, help: key.help }
        };
        let webhook = |(key, value, source, help): (String, String, String, _)| Shown {
            key: key.into(),
            value: Some(value),
            source,
            help,
        };
        KEYS.iter().map(shown).chain(self.1.shown().map(webhook)).collect()
    }
}

/// Reads a settings file's text. An error tells the line by its number and does not repeat it: a secret may stand there.
///
/// # Errors
/// What is wrong, and where.
pub fn parse_toml(text: &str) -> Result<toml::Table, String> {
    text.parse().map_err(|e: toml::de::Error| {
        let before = e.span().and_then(|span| text.get(..span.start));
        let line = before.map_or(String::new(), |before| format!(", line {}", before.matches('\n').count() + 1));
        format!("not valid TOML{line}: {}", e.message())
    })
}

/// What may be shown of a value.
fn harmless(key: &Key, value: &str) -> String {
    // A secret that somebody took for its own fingerprint.
    if key.name == "isolation.fingerprints" && super::isolation::fingerprint(value).is_none() {
        return "(no fingerprint, not shown)".to_owned();
    }
    without_account(value)
}

/// An address in a setting that holds a user name and password by mistake is shown without them: settings are shown also
/// when they are refused.
fn without_account(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else { return value.to_owned() };
    // A password may hold a slash that nobody escaped.
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://…@{host}"),
        None => value.to_owned(),
    }
}

fn split(key: &Key, text: &str) -> Vec<String> {
    match key.form {
        Form::Text => vec![text.to_owned()],
        Form::List => text.split(',').map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect(),
    }
}

/// `[filter] dids = …` becomes `filter.dids`.
fn flatten(prefix: &str, table: toml::Table, into: &mut Vec<(String, toml::Value)>) {
    for (name, value) in table {
        let path = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        match value {
            toml::Value::Table(inner) => flatten(&path, inner, into),
            value => into.push((path, value)),
        }
    }
}

pub(super) fn unknown(place: &str, name: &str, known: impl Iterator<Item = &'static str>) -> ConfigError {
    let near = known.map(|k| (distance(k, name), k)).min().filter(|(d, _)| *d <= 3);
    let hint = near.map_or(String::new(), |(_, k)| format!(" (did you mean `{k}`?)"));
    ConfigError::Unknown { place: place.to_owned(), name: name.to_owned(), hint }
}

/// How many letters must change to turn one word into the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let cost = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
