//! What people and hosts do: accounts come, write, move, hide and go.
//!
//! In: wishes. Out: changed state, and the news that a real host would send about it, in its order.

use bytes::Bytes;

use super::emit::News;
use super::state::State;
use crate::devnet::keys::{Curve, SigningKey};
use crate::devnet::mst::Mst;
use crate::devnet::world::Happening;
use crate::devnet::{Commit, Tid, Write, WriteError};

/// A wish that the network does not fulfil.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SimError {
    /// There is no such account.
    #[error("nobody is {0}")]
    NoAccount(String),
    /// There is no such host.
    #[error("there is no PDS {0}")]
    NoHost(usize),
    /// Its host lets nobody write to this account.
    #[error("the account is {0}")]
    Hidden(&'static str),
    /// The writes do not fit the repository.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl State {
    pub fn find(&self, did: &str) -> Result<usize, SimError> {
        self.who(did).ok_or_else(|| SimError::NoAccount(did.into()))
    }

    pub fn create_account(&mut self, host: usize) -> Result<usize, SimError> {
        self.create_account_as(host, None)
    }

    /// With this DID, if one is given.
    pub fn create_account_as(&mut self, host: usize, did: Option<&str>) -> Result<usize, SimError> {
        self.hosts.get(host).ok_or(SimError::NoHost(host))?;
        let who = self.world.add_person(None);
        if let Some(did) = did {
            self.world.people[who].account.did = did.to_owned();
        }
        self.enter(who, host, None);
        self.announce_birth(who)?;
        Ok(who)
    }

    /// An account that was born long ago and holds this tree of fillers. It is told of by `#sync` alone.
    pub fn create_old_account(&mut self, host: usize, tree: Mst) -> Result<usize, SimError> {
        self.hosts.get(host).ok_or(SimError::NoHost(host))?;
        let who = self.world.add_person(None);
        let rev = Tid::new((self.now() - 3_600_000_000).unsigned_abs(), self.world.people[who].clock);
        let collections =
            tree.leaves().iter().filter_map(|(path, _)| Some(path.split_once('/')?.0.to_owned())).collect();
        self.enter(who, host, Some((tree, rev)));
        self.actors[who].collections = collections;
        self.introduce(who);
        self.sync(who);
        Ok(who)
    }

    /// An account whose DID is its host's own name.
    pub fn create_web_account(&mut self, host: usize) -> Result<usize, SimError> {
        let url = self.hosts.get(host).ok_or(SimError::NoHost(host))?.url.clone();
        let port = url.rsplit(':').next().unwrap_or_default().to_owned();
        let who = self.world.add_person(None);
        self.world.people[who].account.did = format!("did:web:localhost%3A{port}");
        self.enter(who, host, None);
        self.actors[who].web = true;
        self.hosts[host].web = Some(who);
        self.announce_birth(who)?;
        Ok(who)
    }

    /// As on the reference PDS: identity, account, a commit of nothing, sync.
    fn announce_birth(&mut self, who: usize) -> Result<(), SimError> {
        let handle = Some(self.account(who).handle.clone());
        let host = self.actors[who].host;
        self.emit(who, host, News::Identity(handle));
        self.emit(who, host, News::Account(None));
        self.write(who, &[], None)?;
        self.sync(who);
        Ok(())
    }

    /// One commit. `rev` if it shall be a given one.
    pub fn write(&mut self, who: usize, writes: &[Write], rev: Option<Tid>) -> Result<Commit, SimError> {
        let rev = rev.unwrap_or_else(|| self.next_rev(who));
        let actor = &mut self.actors[who];
        if let Some(status) = actor.status {
            return Err(SimError::Hidden(status));
        }
        actor.remember();
        let commit = actor.repo.apply(writes, rev)?;
        for write in writes {
            match write {
                Write::Create { path, record } | Write::Update { path, record } => {
                    actor.records.insert(path.clone(), Bytes::copy_from_slice(record));
                    if let Some((collection, _)) = path.split_once('/') {
                        actor.collections.insert(collection.into());
                    }
                }
                Write::Delete { path } => drop(actor.records.remove(path)),
            }
        }
        let host = actor.host;
        self.emit(who, host, News::Commit(commit.clone().into()));
        Ok(commit)
    }

    /// A commit so far ahead of the clock.
    pub fn write_ahead(&mut self, who: usize, writes: &[Write], micros: i64) -> Result<Commit, SimError> {
        let rev = Tid::new((self.now() + micros).unsigned_abs(), self.world.people[who].clock);
        let commit = self.write(who, writes, Some(rev))?;
        self.actors[who].ahead = true;
        Ok(commit)
    }

    pub fn sync(&mut self, who: usize) {
        let actor = &self.actors[who];
        if let Some(head) = actor.repo.head().cloned() {
            self.emit(who, actor.host, News::Sync(head));
        }
    }

    pub fn identity(&mut self, who: usize, handle: Option<String>) {
        self.emit(who, self.actors[who].host, News::Identity(handle));
    }

    /// `None` for active. A deleted account stays so.
    pub fn set_status(&mut self, who: usize, status: Option<&'static str>) {
        let actor = &mut self.actors[who];
        let before = actor.status;
        if before == Some("deleted") || before == status {
            return;
        }
        actor.status = status;
        let host = actor.host;
        self.world.people[who].hidden = status;
        if status == Some("deleted") {
            self.actors[who].records.clear();
            let did = self.account(who).did.clone();
            self.hosts[host].stream.forget(&did);
        }
        self.emit(who, host, News::Account(status));
        // A moderator's restoring is told by the account's word alone.
        if status.is_none() && before == Some("deactivated") {
            let handle = Some(self.account(who).handle.clone());
            self.identity(who, handle);
            self.sync(who);
        }
    }

    /// Another handle, which leads back to the account unless it is another's already.
    pub fn set_handle(&mut self, who: usize, handle: &str) {
        let own = |owner: &mut usize| *owner == who;
        let old = std::mem::replace(&mut self.world.people[who].account.handle, handle.into());
        if self.handles.get_mut(&old).is_some_and(own) {
            self.handles.remove(&old);
        }
        self.handles.entry(handle.into()).or_insert(who);
        self.publish_document(who);
        self.identity(who, Some(handle.into()));
    }

    /// Puts what the account is now into the directory.
    pub fn publish_document(&mut self, who: usize) {
        let document = self.account(who).did_document();
        self.actors[who].set_document(Some(document));
    }

    pub fn new_key(&mut self) -> SigningKey {
        let curve = if self.world.dice.permille(300) { Curve::P256 } else { Curve::K256 };
        SigningKey::from_entropy(curve, self.world.dice.bytes())
    }

    /// A new key: the directory first, then the word, then a commit of nothing that the new key signs.
    pub fn rotate_key(&mut self, who: usize) -> Result<(), SimError> {
        let (key, rev) = (self.new_key(), self.next_rev(who));
        self.world.people[who].account.key = key.clone();
        self.publish_document(who);
        let handle = Some(self.account(who).handle.clone());
        let actor = &mut self.actors[who];
        if actor.status.is_some() {
            actor.repo.sign_again(key, rev)?;
            self.identity(who, handle);
        } else {
            actor.repo.set_key(key);
            self.identity(who, handle);
            self.write(who, &[], None)?;
        }
        Ok(())
    }

    /// The account moves with its repository: a new key, the directory, a signed head on the new host, the old host's
    /// farewell, the new host's words.
    pub fn migrate(&mut self, who: usize, to: usize) -> Result<(), SimError> {
        let url = self.hosts.get(to).ok_or(SimError::NoHost(to))?.url.clone();
        let key = self.new_key();
        let rev = self.next_rev(who);
        let account = &mut self.world.people[who].account;
        (account.pds, account.key) = (url, key.clone());
        let actor = &mut self.actors[who];
        let from = std::mem::replace(&mut actor.host, to);
        actor.left.insert(from);
        actor.left.remove(&to);
        actor.remember();
        actor.repo.sign_again(key, rev)?;
        self.publish_document(who);
        let handle = Some(self.account(who).handle.clone());
        self.emit(who, from, News::Account(Some("deactivated")));
        self.emit(who, to, News::Identity(handle));
        if self.actors[who].status.is_none() {
            self.emit(who, to, News::Account(None));
            self.sync(who);
        }
        Ok(())
    }

    /// The directory forgets the account for good.
    pub fn tombstone(&mut self, who: usize) {
        self.actors[who].set_document(None);
        self.identity(who, None);
    }

    /// Does what the generator planned. What no longer fits, because somebody did other things meanwhile, is left out.
    pub fn perform_plans(&mut self) -> Vec<String> {
        let mut trace = vec![];
        while let Some(planned) = self.world.queue.pop_front() {
            let who = planned.who;
            while self.actors.len() <= who {
                let next = self.actors.len();
                let host = self.world.dice.below(self.hosts.len());
                self.enter(next, host, None);
            }
            let host = self.actors[who].host;
            let did = self.account(who).did.clone();
            trace.push(match planned.what {
                Happening::Commit { writes, .. } => {
                    let told: Vec<String> =
                        writes.iter().map(|write| format!("{} {}", write.action(), write.path())).collect();
                    match self.write(who, &writes, None) {
                        Ok(commit) => format!("{did} commit {} [{}]", commit.ops.len(), told.join(", ")),
                        Err(error) => format!("{did} left out [{}]: {error}", told.join(", ")),
                    }
                }
                Happening::Sync => {
                    self.sync(who);
                    format!("{did} sync")
                }
                Happening::Identity { handle } => {
                    if handle.as_ref().is_some_and(|handle| self.handles.get(handle) != Some(&who)) {
                        self.handles.retain(|_, owner| *owner != who);
                        self.handles.extend(handle.clone().map(|handle| (handle, who)));
                        self.publish_document(who);
                    }
                    self.identity(who, handle.clone());
                    format!("{did} identity {}", handle.unwrap_or_default())
                }
                Happening::Account { status, .. } => {
                    // The plan has noted the state already; of an account that is just born nobody has heard.
                    if self.actors[who].status == status {
                        self.emit(who, host, News::Account(status));
                    } else {
                        self.set_status_only(who, status);
                    }
                    format!("{did} account {}", status.unwrap_or("active"))
                }
            });
        }
        trace
    }

    /// As [`State::set_status`], where the words that follow are planned apart.
    fn set_status_only(&mut self, who: usize, status: Option<&'static str>) {
        if status.is_some() {
            self.set_status(who, status);
            return;
        }
        self.actors[who].status = None;
        self.world.people[who].hidden = None;
        self.emit(who, self.actors[who].host, News::Account(None));
    }
}
