//! Settings as the program uses them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::TimeDelta;

use super::age::parse_age;
use super::backfill::{self, BackfillSettings};
use super::identity::{self, IdentitySettings, OwnPds};
use super::isolation::{self, IsolationSettings};
use super::layers::{ConfigError, Layers};
use super::publish::{self, PublishSettings};
use super::token::TokenFrom;
use super::webhooks::{self, EffectsSettings};
use crate::api::admin::AdminToken;
use crate::db::{DatabaseUrl, Target};
use crate::decode::Level;
use crate::event::{Did, Environment, EnvironmentKind};
use crate::filter::{CollectionSet, DidRule, DidSet, Places, Policy};
use crate::network::{NetworkOptions, authority};
use crate::source::relay::{ExtraCa, RelayUrl};
use crate::telemetry::LogFormat;

/// Every setting, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Stamped on the database and on every event.
    pub environment: Environment,
    /// Whether somebody named it; else it is the default.
    pub environment_named: bool,
    /// What the environment is for.
    pub environment_kind: EnvironmentKind,
    /// Where the private database, dumps and keys live.
    pub data_dir: PathBuf,
    /// Where the database is.
    pub database: Target,
    /// What log lines look like.
    pub log_format: LogFormat,
    /// Which log lines are written.
    pub log_filter: Option<String>,
    /// Address of the XRPC queries.
    pub listen_public: SocketAddr,
    /// Address of health and metrics.
    pub listen_admin: SocketAddr,
    /// What opens the admin listener's writing side; see [`Settings::admin_token`].
    admin_token: Option<TokenFrom>,
    /// Relays to follow.
    pub relays: Vec<RelayUrl>,
    /// PDSes to follow directly.
    pub pdses: Vec<RelayUrl>,
    /// Further certificate authorities to trust.
    pub extra_ca: Option<ExtraCa>,
    /// How much of commits is verified; `None`: what fits the command.
    pub verify: Option<Level>,
    /// DID documents that are used instead of looking them up.
    pub did_docs: Option<PathBuf>,
    /// How other people's hosts are asked. The relays and PDSes above and our own PDS are named in it.
    pub network: NetworkOptions,
    /// Files of the lists, watched while serving.
    pub allow_file: Option<PathBuf>,
    /// The same for the deny list.
    pub deny_file: Option<PathBuf>,
    /// How long after an account was deleted its records leave the log.
    pub purge_after: TimeDelta,
    /// How long refused records are kept.
    pub quarantine_keep: TimeDelta,
    /// Beyond this many bytes the oldest of them go.
    pub quarantine_bytes_max: u64,
    /// How repositories are compared and fetched.
    pub backfill: BackfillSettings,
    /// Who is told of what happens.
    pub effects: EffectsSettings,
    /// Which hosts and handles belong to which environment.
    pub places: Arc<Places>,
    /// The env file of this environment's PDS. It is read only by what asks for it.
    pub pds_env_file: Option<PathBuf>,
    /// The PDS on which accounts are made for our users.
    pub own_pds: OwnPds,
    /// What seals the secrets of our users' accounts.
    pub identity: IdentitySettings,
    /// How wishes are carried out.
    pub publish: PublishSettings,
    /// What other environments may know of this one.
    pub isolation: IsolationSettings,
    collections: CollectionSet,
    dids: DidRule,
    allow: Vec<Did>,
    deny: Vec<Did>,
}

impl Settings {
    /// Checks all values.
    ///
    /// # Errors
    /// The first value that does not fit, with its name, where it came from, and what would fit.
    pub fn check(layers: &Layers) -> Result<Self, ConfigError> {
        let parse = |name: &'static str| layers.text(name);
        let environment = parse("environment").unwrap_or("local");
        let environment = Environment::parse(environment)
            .map_err(|e| layers.refuse("environment", format!("{e}; write it like `production` or `dev-anna`")))?;
        let environment_kind = match parse("environment_kind") {
            Some(kind) => {
                kind.parse().map_err(|e: String| layers.refuse("environment_kind", format!("{kind:?}: {e}")))?
            }
            None => EnvironmentKind::of(&environment),
        };
        let data_dir = parse("data_dir").ok_or_else(|| layers.refuse("data_dir", "empty"))?;
        let data_dir = std::path::absolute(data_dir).map_err(|e| layers.refuse("data_dir", e))?;
        let database = match parse("database_url") {
            Some(url) => Target::Url(url.parse::<DatabaseUrl>().map_err(|e| layers.refuse("database_url", e))?),
            None => Target::Embedded { data_dir: data_dir.clone() },
        };
        let address = |name: &'static str| -> Result<SocketAddr, ConfigError> {
            let text = layers.text(name).unwrap_or_default();
            text.parse().map_err(|_| layers.refuse(name, format!("{text:?} is not an address such as 127.0.0.1:8600")))
        };
        let urls = |name: &'static str| -> Result<Vec<RelayUrl>, ConfigError> {
            layers.list(name).iter().map(|url| RelayUrl::parse(url).map_err(|e| layers.refuse(name, e))).collect()
        };
        let dids = |name: &'static str| -> Result<Vec<Did>, ConfigError> {
            layers.list(name).iter().map(|did| Did::parse(did).map_err(|e| layers.refuse(name, e))).collect()
        };
        let rule = match parse("filter.dids") {
            Some("allowlist") => DidRule::Allowlist,
            Some("network") => DidRule::Network,
            other => {
                let other = other.unwrap_or_default();
                return Err(layers.refuse("filter.dids", format!("{other:?} is neither `network` nor `allowlist`")));
            }
        };
        let collections = CollectionSet::parse(layers.list("filter.collections"))
            .map_err(|e| layers.refuse("filter.collections", e))?;
        if collections.names().is_empty() {
            return Err(layers.refuse("filter.collections", "at least one collection must be followed"));
        }
        let places = Places::parse(layers.list("origin.hosts"), layers.list("origin.handles"))
            .map_err(|e| layers.refuse("origin.hosts", e))?;
        let log_format = parse("log.format").unwrap_or("text");
        let (relays, pdses) = (urls("source.relays")?, urls("source.pdses")?);
        let extra_ca = parse("source.ca_file")
            .map(|path| ExtraCa::load(Path::new(path)).map_err(|e| layers.refuse("source.ca_file", e)))
            .transpose()?;
        let own_pds = identity::own_pds(layers)?;
        let named = relays.iter().chain(&pdses).map(|url| url.name().into());
        let network = NetworkOptions {
            named: named.chain(own_pds.url.as_deref().and_then(authority)).collect(),
            extra_roots: extra_ca.iter().flat_map(ExtraCa::certificates).cloned().collect(),
            ..super::network::options(layers)?
        };
        Ok(Settings {
            environment_kind,
            environment_named: layers.is_set("environment"),
            data_dir,
            database,
            log_format: log_format.parse().map_err(|e| layers.refuse("log.format", e))?,
            log_filter: parse("log.filter").map(str::to_owned),
            listen_public: address("listen.public")?,
            listen_admin: address("listen.admin")?,
            admin_token: TokenFrom::settings(layers)?,
            verify: parse("verify.level")
                .map(|word| {
                    Level::from_word(word).ok_or_else(|| layers.refuse("verify.level", "none, signature or full"))
                })
                .transpose()?,
            did_docs: parse("verify.did_docs").map(PathBuf::from),
            relays,
            pdses,
            extra_ca,
            network,
            allow_file: parse("filter.allow_file").map(PathBuf::from),
            deny_file: parse("filter.deny_file").map(PathBuf::from),
            purge_after: parse_age(parse("accounts.purge_after").unwrap_or_default())
                .map_err(|e| layers.refuse("accounts.purge_after", e))?,
            quarantine_keep: parse_age(parse("quarantine.keep").unwrap_or_default())
                .map_err(|e| layers.refuse("quarantine.keep", e))?,
            quarantine_bytes_max: parse("quarantine.bytes_max")
                .unwrap_or_default()
                .parse()
                .map_err(|_| layers.refuse("quarantine.bytes_max", "a whole number of bytes, such as 1000000000"))?,
            backfill: backfill::settings(layers)?,
            effects: webhooks::settings(layers, &environment, &places)?,
            environment,
            places: Arc::new(places),
            pds_env_file: parse("pds.env_file").map(PathBuf::from),
            own_pds,
            identity: identity::identity(layers)?,
            publish: publish::settings(layers)?,
            isolation: isolation::settings(layers)?,
            collections,
            dids: rule,
            allow: dids("filter.allow")?,
            deny: dids("filter.deny")?,
        })
    }

    /// What opens the admin listener's writing side, if that is set. A file is read now: only the process that serves needs
    /// to be able to read it.
    ///
    /// # Errors
    /// A token file that cannot be read, or holds no usable token.
    pub fn admin_token(&self) -> Result<Option<AdminToken>, ConfigError> {
        self.admin_token.as_ref().map(TokenFrom::token).transpose()
    }

    /// The accounts that the settings themselves list: allowed, and denied.
    pub fn listed(&self) -> (&[Did], &[Did]) {
        (&self.allow, &self.deny)
    }

    /// The policy as it is now: settings and what stands in the list files.
    ///
    /// # Errors
    /// A list file that cannot be read, or a line of it that is no DID.
    pub fn policy(&self) -> Result<Policy, ConfigError> {
        Ok(Policy {
            allowed: Arc::new(with_file(&self.allow, self.allow_file.as_deref())?),
            denied: Arc::new(with_file(&self.deny, self.deny_file.as_deref())?),
            places: self.places.clone(),
            ..Policy::new(self.environment.clone(), self.collections.clone(), self.dids)
        })
    }
}

fn with_file(dids: &[Did], file: Option<&Path>) -> Result<DidSet, ConfigError> {
    let Some(path) = file else { return Ok(dids.iter().collect()) };
    let refuse = |why: String| ConfigError::File { path: path.to_owned(), why };
    let text = std::fs::read_to_string(path).map_err(|e| refuse(e.to_string()))?;
    Policy::parse_list(dids, &text).map_err(|e| refuse(e.to_string()))
}
