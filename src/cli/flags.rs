//! Flags that several commands share, and the settings that follow from them.

use std::path::PathBuf;

use crate::config::{ConfigError, Layers, Settings};
use crate::telemetry::init_logging;

/// One flag as a layer of settings: the setting, the flag, its values.
pub(super) type Flag = (&'static str, &'static str, Vec<String>);

/// Flags that every command takes.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Global {
    /// Settings file (TOML); `almanac config show` lists what it may say
    #[arg(long, global = true, value_name = "FILE", env = "ALMANAC_CONFIG")]
    config: Option<PathBuf>,
    /// Where the private database, dumps and keys live
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Use this Postgres instead of a private one: postgres://user:password@host/database
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
    /// The environment that this process runs as
    #[arg(long, global = true, value_name = "NAME")]
    environment: Option<String>,
    /// What log lines on stderr look like: text or json
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<String>,
}

impl Global {
    /// All layers, with a command's own flags on top.
    pub fn layers(&self, more: impl IntoIterator<Item = Flag>) -> Result<Layers, ConfigError> {
        let path = |path: &PathBuf| path.display().to_string();
        let own = [
            ("data_dir", "data-dir", self.data_dir.as_ref().map(path)),
            ("database_url", "database-url", self.database_url.clone()),
            ("environment", "environment", self.environment.clone()),
            ("log.format", "log-format", self.log_format.clone()),
        ];
        let own = own.into_iter().filter_map(|(name, flag, value)| Some((name, flag, vec![value?])));
        Layers::read(self.config.as_deref(), std::env::vars(), own.chain(more))
    }

    /// The settings, checked; also sets up logging.
    pub fn settings(&self, more: impl IntoIterator<Item = Flag>) -> anyhow::Result<Settings> {
        let layers = self.layers(more)?;
        let settings = Settings::check(&layers)?;
        init_logging(settings.log_format, settings.log_filter.as_deref())
            .map_err(|why| layers.refuse("log.filter", why))?;
        Ok(settings)
    }
}

/// Flags that say what is taken in.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Filter {
    /// Keep this collection, or prefix (`community.lexicon.*`); may be repeated [default: calendar events and RSVPs]
    #[arg(long = "collection", value_name = "NSID")]
    collections: Vec<String>,
    /// Keep only these accounts; may be repeated
    #[arg(long, value_name = "DID")]
    allow: Vec<String>,
    /// Keep only the accounts in this file, one DID a line; read again when it changes
    #[arg(long, value_name = "FILE")]
    allow_file: Option<PathBuf>,
    /// Never keep these accounts; may be repeated
    #[arg(long, value_name = "DID")]
    deny: Vec<String>,
    /// Never keep the accounts in this file; read again when it changes
    #[arg(long, value_name = "FILE")]
    deny_file: Option<PathBuf>,
    /// Whose records to keep: network (everybody but the denied) or allowlist [default: allowlist when one is given]
    #[arg(long, value_name = "RULE")]
    dids: Option<String>,
}

impl Filter {
    /// As a layer of settings.
    pub fn flags(&self) -> Vec<Flag> {
        let path = |path: &Option<PathBuf>| path.iter().map(|p| p.display().to_string()).collect::<Vec<_>>();
        let all = [
            ("filter.collections", "collection", self.collections.clone()),
            ("filter.allow", "allow", self.allow.clone()),
            ("filter.allow_file", "allow-file", path(&self.allow_file)),
            ("filter.deny", "deny", self.deny.clone()),
            ("filter.deny_file", "deny-file", path(&self.deny_file)),
            ("filter.dids", "dids", self.dids.iter().cloned().collect()),
        ];
        all.into_iter().filter(|(_, _, values)| !values.is_empty()).collect()
    }
}

/// Flags that say how much of a live stream's commits is verified, and with whose keys.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Verifying {
    /// How much of commits is checked: none (structure, limits, hashes), signature, or full (also that the operations are
    /// all that changed)
    #[arg(long, value_name = "LEVEL")]
    verify: Option<String>,
    /// JSON object of DID to DID document (also .zst): the keys to verify with, instead of looking them up
    #[arg(long, value_name = "FILE")]
    did_docs: Option<PathBuf>,
}

impl Verifying {
    /// As a layer of settings.
    pub fn flags(&self) -> Vec<Flag> {
        let all = [
            ("verify.level", "verify", self.verify.iter().cloned().collect::<Vec<_>>()),
            ("verify.did_docs", "did-docs", self.did_docs.iter().map(|p| p.display().to_string()).collect()),
        ];
        all.into_iter().filter(|(_, _, values)| !values.is_empty()).collect()
    }
}

/// Flags that say where accounts are looked up.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Reaching {
    /// The directory of did:plc [default: https://plc.directory]
    #[arg(long, value_name = "URL")]
    plc: Option<String>,
    /// Let accounts name hosts at private addresses and without TLS (development)
    #[arg(long)]
    allow_private: bool,
    /// Where hosts under a suffix really are, such as *.test=127.0.0.1:2583 (development); may be repeated
    #[arg(long = "host-override", value_name = "SUFFIX=AUTHORITY")]
    host_overrides: Vec<String>,
}

impl Reaching {
    /// As a layer of settings.
    pub fn flags(&self) -> Vec<Flag> {
        let all = [
            ("network.plc", "plc", self.plc.iter().cloned().collect::<Vec<_>>()),
            (
                "network.allow_private",
                "allow-private",
                self.allow_private.then(|| "true".to_owned()).into_iter().collect(),
            ),
            ("network.host_overrides", "host-override", self.host_overrides.clone()),
        ];
        all.into_iter().filter(|(_, _, values)| !values.is_empty()).collect()
    }
}
