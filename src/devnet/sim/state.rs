//! Everything the simulated network knows, in one place and under one lock.
//!
//! Always true: accounts stand in the order of their creation and at the same numbers as in the generator's world; what a
//! server has to say is decided here, how it says it elsewhere.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value as Json;

use super::Shared;
use super::emit::Held;
use super::faults::{Faults, Place};
use super::filler;
use super::stream::Stream;
use crate::devnet::mst::{Mst, Part};
use crate::devnet::world::World;
use crate::devnet::{Account, Repo, Tid};
use crate::event::Cid;

/// How many earlier trees a repository remembers, for `getRepo` with `since`.
const HISTORY: usize = 32;

/// An account where it is, and its repository.
#[derive(Clone)]
pub(super) struct Actor {
    pub repo: Repo,
    /// Records by path, but the fillers', which are made when asked for.
    pub records: BTreeMap<String, Bytes>,
    /// Every collection that it ever wrote to.
    pub collections: BTreeSet<String>,
    /// Its PDS.
    pub host: usize,
    /// PDSes that it left, and that still know it as deactivated.
    pub left: BTreeSet<usize>,
    /// `None` while active.
    pub status: Option<&'static str>,
    /// What its DID resolves to; `None` for a tombstone.
    pub document: Option<Json>,
    /// What it resolved to before the last change.
    pub document_before: Option<Json>,
    /// Every document there was, oldest first.
    pub log: Vec<Json>,
    /// Whether the DID is `did:web`.
    pub web: bool,
    /// Trees of the past with their revisions.
    pub history: VecDeque<(Tid, Mst)>,
    /// Signed further ahead of the clock than readers accept.
    pub ahead: bool,
}

impl Actor {
    /// The bytes of the record under this key, if the tree holds it.
    pub fn record(&self, path: &str) -> Option<Bytes> {
        self.repo.tree().get(path).ok()??;
        Some(self.record_of(path))
    }

    fn record_of(&self, path: &str) -> Bytes {
        self.records.get(path).cloned().unwrap_or_else(|| filler::record(path).into())
    }

    /// A part of the tree with its block.
    pub fn block(&self, part: Part) -> (Cid, Bytes) {
        match part {
            Part::Node(cid, block) => (cid, block.into()),
            Part::Record(path, cid) => (cid, self.record_of(&path)),
        }
    }

    /// The blocks with these CIDs, and those that the repository does not hold.
    pub fn blocks(&self, wanted: &HashSet<Cid>) -> (Vec<(Cid, Bytes)>, Vec<Cid>) {
        let mut found: Vec<(Cid, Bytes)> =
            self.repo.tree().find_blocks(wanted).into_iter().map(|part| self.block(part)).collect();
        if let Some(head) = self.repo.head().filter(|head| wanted.contains(&head.cid)) {
            found.push((head.cid, head.block.clone().into()));
        }
        let have: HashSet<Cid> = found.iter().map(|(cid, _)| *cid).collect();
        (found, wanted.iter().filter(|cid| !have.contains(cid)).copied().collect())
    }

    /// Remembers the tree as it stands, before it changes.
    pub fn remember(&mut self) {
        if let Some(head) = self.repo.head() {
            self.history.push_back((head.rev, self.repo.tree().clone()));
            if self.history.len() > HISTORY {
                self.history.pop_front();
            }
        }
    }

    /// Another document from now on.
    pub fn set_document(&mut self, document: Option<Json>) {
        self.log.extend(document.clone());
        self.document_before = std::mem::replace(&mut self.document, document);
    }
}

/// A PDS.
pub(super) struct HostState {
    pub url: String,
    pub stream: Stream,
    pub held: Option<Held>,
    pub latency: Duration,
    /// The account whose `did:web` document it serves.
    pub web: Option<usize>,
}

/// What the relay believes of an account.
#[derive(Clone)]
pub(super) struct RelayView {
    pub active: bool,
    pub status: Option<&'static str>,
    pub head: Option<(Cid, Tid)>,
    pub collections: BTreeSet<String>,
}

impl Default for RelayView {
    /// What a relay was never told it takes for active.
    fn default() -> Self {
        RelayView { active: true, status: None, head: None, collections: BTreeSet::new() }
    }
}

/// Guests of a relay are numbered from here on, behind all accounts of its own network.
const GUESTS_FROM: usize = 1 << 32;

pub(super) struct RelayState {
    pub stream: Stream,
    pub held: Option<Held>,
    pub latency: Duration,
    /// By number of the account.
    pub views: BTreeMap<usize, RelayView>,
    /// Accounts of other networks that it carries too, by DID, in the order in which it first heard of them.
    pub guests: Vec<(String, RelayView)>,
}

impl RelayState {
    pub fn guest(&mut self, did: &str) -> &mut RelayView {
        let at = self.guests.iter().position(|(guest, _)| guest == did).unwrap_or_else(|| {
            self.guests.push((did.to_owned(), RelayView::default()));
            self.guests.len() - 1
        });
        &mut self.guests[at].1
    }
}

pub(super) struct State {
    pub world: World,
    pub actors: Vec<Actor>,
    pub by_did: HashMap<String, usize>,
    /// Which account a handle leads to.
    pub handles: HashMap<String, usize>,
    pub hosts: Vec<HostState>,
    pub relay: RelayState,
    /// Documents that the directory has from another network's, of accounts that are not of this one.
    pub copied: BTreeMap<String, Json>,
    /// Networks whose relays carry these accounts too.
    pub carriers: Vec<Arc<Shared>>,
    pub plc_latency: Duration,
    pub faults: Faults,
    /// The clock of this network minus that of the machine, in microseconds.
    pub clock_offset_micros: i64,
    /// How many requests and bytes of answers each server had, by method.
    pub served: BTreeMap<String, Served>,
}

/// What the servers had to do for one method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Requests.
    pub requests: u64,
    /// Bytes of bodies, faults apart.
    pub bytes: u64,
}

impl State {
    /// Microseconds since 1970, as this network sees it.
    pub fn now(&self) -> i64 {
        chrono::Utc::now().timestamp_micros() + self.clock_offset_micros
    }

    /// A revision newer than the account's last, of the present if that is newer too.
    pub fn next_rev(&self, who: usize) -> Tid {
        let last = self.actors[who].repo.head().map_or(0, |head| head.rev.micros() + 1);
        Tid::new(last.max(self.now().unsigned_abs()), self.world.people[who].clock)
    }

    pub fn account(&self, who: usize) -> &Account {
        &self.world.people[who].account
    }

    pub fn who(&self, did: &str) -> Option<usize> {
        self.by_did.get(did).copied()
    }

    /// What the relay believes of everybody that it carries, with their numbers and DIDs.
    pub fn relay_views(&self) -> impl Iterator<Item = (usize, &str, &RelayView)> {
        let own = self.relay.views.iter().map(|(who, view)| (*who, &*self.account(*who).did, view));
        let guests = self.relay.guests.iter().enumerate();
        own.chain(guests.map(|(n, (did, view))| (GUESTS_FROM + n, &**did, view)))
    }

    /// What the relay believes of one account: where two networks know it, what it shows.
    pub fn relay_view(&self, did: &str) -> Option<&RelayView> {
        self.relay_views().filter(|(_, of, _)| *of == did).map(|(_, _, view)| view).max_by_key(|view| view.active)
    }

    pub fn stream(&mut self, place: Place) -> Option<&mut Stream> {
        match place {
            Place::Plc | Place::Handles => None,
            Place::Relay => Some(&mut self.relay.stream),
            Place::Pds(host) => self.hosts.get_mut(host).map(|host| &mut host.stream),
        }
    }

    pub fn latency(&self, place: Place) -> Duration {
        match place {
            Place::Plc | Place::Handles => self.plc_latency,
            Place::Relay => self.relay.latency,
            Place::Pds(host) => self.hosts[host].latency,
        }
    }

    /// An account of the world that has no repository here gets one on `host`.
    pub fn enter(&mut self, who: usize, host: usize, tree: Option<(Mst, Tid)>) {
        let url = self.hosts[host].url.clone();
        let account = &mut self.world.people[who].account;
        account.pds = url;
        let repo = match tree {
            Some((tree, rev)) => Repo::with_past(account.did.clone(), account.key.clone(), tree, rev),
            None => Repo::new(account.did.clone(), account.key.clone()),
        };
        let document = account.did_document();
        self.by_did.insert(account.did.clone(), who);
        self.handles.insert(account.handle.clone(), who);
        debug_assert_eq!(self.actors.len(), who);
        self.actors.push(Actor {
            repo,
            records: BTreeMap::new(),
            collections: BTreeSet::new(),
            host,
            left: BTreeSet::new(),
            status: None,
            log: vec![document.clone()],
            document: Some(document),
            document_before: None,
            web: false,
            history: VecDeque::new(),
            ahead: false,
        });
    }

    /// Tells the relay of an account whose frames it saw long ago.
    pub fn introduce(&mut self, who: usize) {
        let actor = &self.actors[who];
        let head = actor.repo.head().map(|head| (head.cid, head.rev));
        let view = RelayView { active: true, status: None, head, collections: actor.collections.clone() };
        self.relay.views.insert(who, view);
    }
}
