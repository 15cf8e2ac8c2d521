//! Whether one account's records may enter, and everything that this was decided from.
//!
//! In: what is stored of the account, the policy in force, and its document when it is looked up now. Out: the verdict of the
//! same function that judges records, the facts, and what would change it. Never: a word written.

use std::sync::Arc;

use anyhow::Context;
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgPool;

use super::super::policy::Policies;
use crate::config::Settings;
use crate::event::{Decision, Did, DidDocument, Environment, OriginRule, Standing};
use crate::filter::{self, DidRule, Identity, Policy};
use crate::identity::{self, Account};
use crate::ingest::lists::{self, Entry};
use crate::ingest::{Known, Trust, decide_over, identity_of, load_account};
use crate::network::IdentityError;

/// What looking an account up now said.
pub type Looked = Result<Arc<DidDocument>, IdentityError>;

/// A verdict, for people.
#[derive(Clone, Debug, Serialize)]
pub struct Ruling {
    /// A word of [`Standing`].
    pub standing: &'static str,
    /// Whether records enter.
    pub kept: bool,
    /// The rule's number.
    pub rule: u8,
    /// What the rule says.
    pub says: &'static str,
}

impl From<Decision> for Ruling {
    fn from(decision: Decision) -> Self {
        Ruling {
            standing: decision.standing.as_str(),
            kept: decision.standing.is_kept(),
            rule: decision.rule.number(),
            says: decision.rule.says(),
        }
    }
}

/// The last verdict about an account that was stored; `None` when there is none, as of an account never seen.
///
/// # Errors
/// The database does not answer.
pub async fn stored(pool: &PgPool, did: &Did) -> anyhow::Result<Option<Ruling>> {
    let known = load_account(pool, did).await.context("what is remembered of the account cannot be read")?;
    Ok(known.and_then(|known| known.verdict).map(|(decision, _)| decision.into()))
}

/// What the verdict was made of.
#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    /// What this environment is called.
    pub environment: String,
    /// `network` or `allowlist`.
    pub mode: &'static str,
    /// Whether anything is remembered of the account.
    pub seen: bool,
    /// What is known of its DID document: `read`, `none` (there is none, or it was given up), `not_read`, `unreachable`, or
    /// `not_asked` where nobody is asked who accounts are.
    pub document: &'static str,
    /// Whether it was looked up for this answer.
    pub looked_up_now: bool,
    /// Why that failed.
    pub look_up_error: Option<String>,
    /// When the document was read.
    pub read_at: Option<DateTime<Utc>>,
    /// Where: the PLC directory, or the host of a did:web.
    pub directory: Option<String>,
    /// The endpoint of its PDS.
    pub pds: Option<String>,
    /// The environment of ours that this host is declared for.
    pub pds_environment: Option<String>,
    /// The handle that it claims.
    pub claimed_handle: Option<String>,
    /// The environment of ours that this handle is declared for.
    pub handle_environment: Option<String>,
    /// What allows it: `settings`, `file PATH`, `entry`.
    pub allowed_by: Vec<String>,
    /// What denies it, the same way.
    pub denied_by: Vec<String>,
    /// What was entered about it at run time.
    pub entry: Option<Entry>,
    /// Which user of ours it belongs to.
    pub link: Option<Account>,
    /// The last verdict that was stored, and since when it holds.
    pub stored: Option<Stored>,
}

/// A verdict that was stored.
#[derive(Clone, Debug, Serialize)]
pub struct Stored {
    /// Which.
    #[serde(flatten)]
    pub ruling: Ruling,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// Everything about one account's standing.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// Whose.
    pub did: String,
    /// The verdict now.
    #[serde(flatten)]
    pub ruling: Ruling,
    /// What it was made of.
    pub facts: Facts,
    /// What is not known and would count.
    pub missing: Vec<&'static str>,
    /// What lists, links and mode say alone, as if nobody could be asked who the account is; given while that is not known.
    pub by_lists_alone: Option<Ruling>,
    /// What would change the verdict.
    pub would_change: Vec<String>,
}

/// Explains the standing of an account. `looked`: what its document says now, when that was looked up.
///
/// # Errors
/// The database does not answer.
pub async fn explain(
    pool: &PgPool,
    settings: &Settings,
    policies: &Policies,
    trust: &Trust,
    did: &Did,
    looked: Option<Looked>,
) -> anyhow::Result<Explanation> {
    let policy = policies.current().load_full();
    let known = load_account(pool, did).await.context("what is remembered of the account cannot be read")?;
    let entry = lists::entry(pool, did).await.context("the entries cannot be read")?;
    let link = identity::of_did(pool, did).await.context("our users' accounts cannot be read")?;
    Ok(Case { settings, policy: &policy, trust, did, known: known.as_ref(), looked: looked.as_ref() }
        .explain(entry, link))
}

/// One account, as far as it is known.
struct Case<'a> {
    settings: &'a Settings,
    policy: &'a Policy,
    trust: &'a Trust,
    did: &'a Did,
    known: Option<&'a Known>,
    looked: Option<&'a Looked>,
}

impl<'a> Case<'a> {
    fn identity(&self) -> Identity<'a> {
        match self.looked {
            Some(Ok(document)) => Identity::Found {
                pds: document.pds.as_deref(),
                handle: document.handle.as_ref().map(|handle| handle.as_str()),
            },
            Some(Err(IdentityError::NotFound | IdentityError::Tombstoned | IdentityError::Unsupported(_))) => {
                Identity::Missing
            }
            Some(Err(_)) => Identity::Unreachable,
            None => identity_of(self.known, self.trust, self.did.as_str()),
        }
    }

    fn decide(&self, identity: Identity<'_>) -> Decision {
        let before = self.known.and_then(|known| known.verdict).map(|(decision, _)| decision);
        let did = self.did.as_str();
        decide_over(&filter::Facts { did, declared: None, through_pds: None, identity, before }, self.policy)
    }

    fn explain(&self, entry: Option<Entry>, link: Option<Account>) -> Explanation {
        let identity = self.identity();
        let decision = self.decide(identity);
        let facts = self.facts(identity, entry, link);
        let unknown = identity == Identity::Unreachable;
        let mut missing = Vec::new();
        if unknown {
            missing.push("its DID document: where it lives and which handle it claims");
        }
        if !facts.seen {
            missing.push("a followed record of it: nothing is remembered of the account");
        }
        Explanation {
            did: self.did.to_string(),
            ruling: decision.into(),
            missing,
            by_lists_alone: unknown.then(|| self.decide(Identity::NotAsked).into()),
            would_change: self.would_change(decision, &facts),
            facts,
        }
    }

    fn facts(&self, identity: Identity<'_>, entry: Option<Entry>, link: Option<Account>) -> Facts {
        let (pds, handle) = match identity {
            Identity::Found { pds, handle } => (pds, handle),
            _ => (None, None),
        };
        let who = self.known.and_then(|known| known.who.as_ref()).filter(|_| self.looked.is_none());
        let document = match identity {
            Identity::Found { .. } => "read",
            Identity::Missing => "none",
            Identity::NotAsked => "not_asked",
            Identity::Unreachable if self.looked.is_some() => "unreachable",
            Identity::Unreachable => "not_read",
        };
        let (policy, did) = (self.policy, self.did);
        let text = |environment: Option<&Environment>| environment.map(|environment| environment.to_string());
        let by = |list: &str, dids: &[Did], file: Option<&std::path::PathBuf>, listed: bool| {
            let in_settings = dids.contains(did);
            let mut by = Vec::new();
            if in_settings {
                by.push("settings".to_owned());
            } else if listed {
                by.push(file.map_or("settings".to_owned(), |file| format!("file {}", file.display())));
            }
            if entry.as_ref().is_some_and(|entry| entry.list == list) {
                by.push("entry".to_owned());
            }
            by
        };
        let (allow, deny) = self.settings.listed();
        Facts {
            environment: policy.environment.to_string(),
            mode: policy.dids.as_str(),
            seen: self.known.is_some(),
            document,
            looked_up_now: self.looked.is_some(),
            look_up_error: self.looked.and_then(|looked| looked.as_ref().err()).map(ToString::to_string),
            read_at: match self.looked {
                Some(looked) => looked.is_ok().then(Utc::now),
                None => who.map(|who| who.read_at),
            },
            directory: who.and_then(|who| who.directory.as_deref()).map(str::to_owned),
            pds: pds.map(str::to_owned),
            pds_environment: text(pds.and_then(|pds| policy.places.host(pds))),
            claimed_handle: handle.map(str::to_owned),
            handle_environment: text(handle.and_then(|handle| policy.places.handle(handle))),
            allowed_by: by("allow", allow, self.settings.allow_file.as_ref(), policy.allowed.contains(did.as_str())),
            denied_by: by("deny", deny, self.settings.deny_file.as_ref(), policy.denied.contains(did.as_str())),
            entry,
            link,
            stored: self
                .known
                .and_then(|known| known.verdict)
                .map(|(decision, since)| Stored { ruling: decision.into(), since }),
        }
    }

    fn would_change(&self, decision: Decision, facts: &Facts) -> Vec<String> {
        let did = self.did;
        let place = facts.pds.as_deref().unwrap_or("URL");
        let take_off = |by: &[String], setting: &str| -> Vec<String> {
            let one = |by: &String| match by.as_str() {
                "entry" => format!("`almanac origin forget {did}` takes the entry back"),
                "settings" => format!("taking it out of the setting {setting}, and a restart"),
                file => format!("taking it out of {file}"),
            };
            by.iter().map(one).collect()
        };
        let deny = || format!("`almanac origin deny {did} --why …` keeps it out");
        let allow = || format!("`almanac origin allow {did} --why …` lets it in");
        let link = || format!("`almanac identity link USER {did} --pds {place}` makes it one of our users'");
        let mut all = match decision.rule {
            OriginRule::DeclaredElsewhere => vec!["the upstream being declared for this environment".to_owned()],
            OriginRule::WrongHost => vec!["its DID document naming the PDS that speaks for it".to_owned()],
            OriginRule::DenyList => {
                let mut all = take_off(&facts.denied_by, "filter.deny");
                all.push("nothing else: no other list, link or place outweighs the deny list".to_owned());
                all
            }
            OriginRule::NoIdentity => vec![
                "this environment's directory knowing it: that is asked again when it writes, every 10 minutes at most"
                    .to_owned(),
            ],
            OriginRule::Unreachable => vec![
                "its document being read: that is tried when it writes, and goes on until somebody answers".to_owned(),
            ],
            OriginRule::ForeignPlace => {
                let mut all = Vec::new();
                let elsewhere = |environment: &&String| **environment != facts.environment;
                if let Some(environment) = facts.pds_environment.as_ref().filter(elsewhere) {
                    all.push(format!("moving away from {place}, which origin.hosts declares for {environment}"));
                }
                if let Some(environment) = facts.handle_environment.as_ref().filter(elsewhere) {
                    let handle = facts.claimed_handle.as_deref().unwrap_or_default();
                    all.push(format!(
                        "claiming another handle than {handle}, which origin.handles declares for {environment}"
                    ));
                }
                all.push("nothing that is entered here: no allowlist outweighs that".to_owned());
                all
            }
            OriginRule::OwnAccount => {
                vec![deny(), format!("`almanac identity unlink {did}` makes it nobody's of ours")]
            }
            OriginRule::OwnMoved => vec![
                format!("{place} confirming that the account lives there: that is asked by itself"),
                format!("`almanac identity link USER {did} --pds {place}`, if that is where it lives"),
                deny(),
            ],
            OriginRule::OwnHostStranger if decision.standing.is_kept() => {
                vec![deny(), link(), "filter.dids = allowlist, unless it is on the allowlist".to_owned()]
            }
            OriginRule::OwnHostStranger | OriginRule::AllowlistMode => vec![allow(), link()],
            OriginRule::AllowList => {
                let mut all = vec![deny()];
                if self.policy.dids == DidRule::Allowlist {
                    all.extend(take_off(&facts.allowed_by, "filter.allow"));
                }
                all
            }
            OriginRule::NetworkMode => {
                vec![deny(), "filter.dids = allowlist, unless it is on the allowlist".to_owned()]
            }
        };
        if decision.standing == Standing::Held || facts.document == "not_read" {
            all.push("`almanac origin explain --resolve` looks the document up now".to_owned());
        }
        all
    }
}
