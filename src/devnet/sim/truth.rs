//! What the network really is, and how far somebody's picture of it is from that.
//!
//! In: the state of the network; what an index shows, as plain data. Out: the [`Difference`]s, empty when the picture is
//! right. What is reachable must be shown exactly; what is not must carry a named state.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::faults::Place;
use super::state::State;
use crate::event::Cid;

/// The truth of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountTruth {
    /// Why nobody can read it with proof, if nobody can: its host or document is gone for ever, or its revisions are
    /// beyond what readers accept.
    pub unreachable: Option<&'static str>,
    /// Whether its host shows it.
    pub active: bool,
    /// Why not.
    pub status: Option<&'static str>,
    /// The handle, if it leads back to the account.
    pub handle: Option<String>,
    /// The base URL of its PDS.
    pub pds: String,
    /// The number of its PDS.
    pub host: usize,
    /// The revision of its head.
    pub rev: Option<String>,
    /// The root of its tree.
    pub data: Option<Cid>,
    /// What it holds beyond fillers: `collection/rkey` and CID. A deleted account holds nothing.
    pub records: BTreeMap<String, Cid>,
}

/// The truth of all accounts, by DID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkTruth {
    /// By DID.
    pub accounts: BTreeMap<String, AccountTruth>,
}

/// What somebody's index shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// The records that it shows to everybody: AT-URI and CID.
    pub records: BTreeMap<String, String>,
    /// What it says of accounts, by DID.
    pub accounts: BTreeMap<String, ShownAccount>,
}

/// What an index says of one account. A field that is `None` is not compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShownAccount {
    /// Whether it is active.
    pub active: Option<bool>,
    /// Its status, `active` for one that is.
    pub status: Option<String>,
    /// Its verified handle; `Some(None)` for none.
    pub handle: Option<Option<String>>,
    /// The last revision that was taken in.
    pub rev: Option<String>,
    /// The root of the tree that goes with it.
    pub data: Option<String>,
    /// The named state of an account that could not be brought up to date: anything, as long as it is there.
    pub trouble: Option<String>,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// The record stands in an account that everybody may see, and is not shown.
    Missing {
        /// AT-URI.
        uri: String,
        /// Its CID.
        cid: String,
    },
    /// A record is shown that nobody should see, and why not.
    Extra {
        /// AT-URI.
        uri: String,
        /// Its CID.
        cid: String,
        /// Why it should not be seen.
        because: String,
    },
    /// Another version of the record is shown.
    Stale {
        /// AT-URI.
        uri: String,
        /// What is shown.
        shown: String,
        /// What is true.
        truth: String,
    },
    /// Something said of the account is wrong.
    Account {
        /// Whose.
        did: String,
        /// `active`, `status`, `handle`, `rev` or `data`.
        field: &'static str,
        /// What is shown.
        shown: String,
        /// What is true.
        truth: String,
    },
    /// An account that nobody can read carries no named state.
    Unnamed {
        /// Whose.
        did: String,
        /// Why nobody can read it.
        because: &'static str,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Missing { uri, cid } => write!(f, "{uri} is not shown (it stands, with {cid})"),
            Difference::Extra { uri, cid, because } => write!(f, "{uri} is shown with {cid}, but {because}"),
            Difference::Stale { uri, shown, truth } => write!(f, "{uri} is shown with {shown}, but is {truth}"),
            Difference::Account { did, field, shown, truth } => {
                write!(f, "{did}: {field} is shown as {shown}, but is {truth}")
            }
            Difference::Unnamed { did, because } => write!(f, "{did} has no named state, but {because}"),
        }
    }
}

impl NetworkTruth {
    pub(super) fn of(state: &State) -> Self {
        let accounts = (0..state.actors.len()).map(|who| {
            let (account, actor) = (state.account(who), &state.actors[who]);
            let home = Place::Pds(actor.host);
            let directory = if actor.web { home } else { Place::Plc };
            let unreachable = if actor.ahead {
                Some("its revisions are in the future")
            } else if actor.document.is_none() {
                Some("its DID is tombstoned")
            } else if state.faults.is_shut(directory, &account.did) {
                Some("its DID does not resolve")
            } else if state.faults.is_shut(home, &account.did) {
                Some("its PDS does not answer")
            } else {
                None
            };
            let cid = |path: &String| Some((path.clone(), actor.repo.tree().get(path).ok()??));
            let truth = AccountTruth {
                unreachable,
                active: actor.status.is_none(),
                status: actor.status,
                handle: (state.handles.get(&account.handle) == Some(&who)).then(|| account.handle.clone()),
                pds: account.pds.clone(),
                host: actor.host,
                rev: actor.repo.head().map(|head| head.rev.to_string()),
                data: actor.repo.head().map(|head| head.data),
                records: actor.records.keys().filter_map(cid).collect(),
            };
            (account.did.clone(), truth)
        });
        NetworkTruth { accounts: accounts.collect() }
    }

    /// Everything about `collections` in which the picture differs. Of accounts that are not in it only the records are
    /// compared.
    pub fn compare(&self, shown: &Shown, collections: &[&str]) -> Vec<Difference> {
        let mut found = vec![];
        let mut rightful = BTreeSet::new();
        let counts = |path: &str| path.split_once('/').is_some_and(|(collection, _)| collections.contains(&collection));
        for (did, truth) in &self.accounts {
            let said = shown.accounts.get(did);
            if let Some(because) = truth.unreachable {
                if said.is_none_or(|said| said.trouble.is_none()) && truth.records.keys().any(|path| counts(path)) {
                    found.push(Difference::Unnamed { did: did.clone(), because });
                }
                continue;
            }
            found.extend(said.map(|said| wrong_words(did, truth, said)).into_iter().flatten());
            for (path, cid) in truth.records.iter().filter(|(path, _)| counts(path)) {
                let (uri, cid) = (format!("at://{did}/{path}"), cid.to_string());
                let visible = truth.active || may_stay_visible(truth.status);
                match shown.records.get(&uri) {
                    Some(shown) if visible && *shown != cid => {
                        found.push(Difference::Stale { uri: uri.clone(), shown: shown.clone(), truth: cid });
                    }
                    None if truth.active => found.push(Difference::Missing { uri: uri.clone(), cid }),
                    _ => {}
                }
                if visible {
                    rightful.insert(uri);
                }
            }
        }
        for (uri, cid) in shown.records.iter().filter(|(uri, _)| !rightful.contains(*uri)) {
            let did = uri.strip_prefix("at://").and_then(|rest| rest.split('/').next()).unwrap_or_default();
            let because = match self.accounts.get(did) {
                // What was read before it was out of reach may stay.
                Some(truth) if truth.unreachable.is_some() => continue,
                Some(truth) if !truth.active => format!("the account is {}", truth.status.unwrap_or("not active")),
                Some(_) => "there is no such record".to_owned(),
                None => "there is no such account".to_owned(),
            };
            found.push(Difference::Extra { uri: uri.clone(), cid: cid.clone(), because });
        }
        found.sort();
        found
    }

    /// A picture that is right: what an index should show of these collections.
    pub fn shown(&self, collections: &[&str]) -> Shown {
        let mut shown = Shown::default();
        for (did, truth) in &self.accounts {
            if truth.active {
                let own = truth
                    .records
                    .iter()
                    .filter(|(path, _)| collections.iter().any(|c| path.split('/').next() == Some(c)));
                shown.records.extend(own.map(|(path, cid)| (format!("at://{did}/{path}"), cid.to_string())));
            }
            let account = ShownAccount {
                active: Some(truth.active),
                status: Some(truth.status.unwrap_or("active").to_owned()),
                handle: Some(truth.handle.clone()),
                rev: truth.rev.clone(),
                data: truth.data.map(|data| data.to_string()),
                trouble: truth.unreachable.map(str::to_owned),
            };
            shown.accounts.insert(did.clone(), account);
        }
        shown
    }
}

/// States in which a host limits an account that readers may go on showing.
fn may_stay_visible(status: Option<&str>) -> bool {
    matches!(status, Some("throttled" | "desynchronized"))
}

fn wrong_words(did: &str, truth: &AccountTruth, said: &ShownAccount) -> Vec<Difference> {
    let mut found = vec![];
    let mut compare = |field, shown: Option<String>, truth: String| {
        if let Some(shown) = shown.filter(|shown| *shown != truth) {
            found.push(Difference::Account { did: did.to_owned(), field, shown, truth });
        }
    };
    // A host's own troubles show in no answer that readers need; whoever missed the word goes on as before.
    if !may_stay_visible(truth.status) {
        compare("active", said.active.map(|active| active.to_string()), truth.active.to_string());
        compare("status", said.status.clone(), truth.status.unwrap_or("active").to_owned());
    }
    let none = || "none".to_owned();
    // Nobody can ask a hidden account's host for the rest.
    if truth.active {
        let handle = said.handle.clone().map(|handle| handle.unwrap_or_else(none));
        compare("handle", handle, truth.handle.clone().unwrap_or_else(none));
        compare("rev", said.rev.clone(), truth.rev.clone().unwrap_or_else(none));
        compare("data", said.data.clone(), truth.data.map_or_else(none, |data| data.to_string()));
    }
    found
}
