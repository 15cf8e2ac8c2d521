//! Two networks that meet: one relay that carries the accounts of both, documents in both directories, accounts that move
//! between them or live in both.
//!
//! Always true: each network keeps its own hosts, directory and truth; an account that moved away stays behind as a
//! deactivated one. Never: one lock taken while another is held, but by a leak, which leads one way.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value as Json;

use super::Sim;
use super::accounts::SimError;
use super::emit::News;
use super::state::{Actor, State};
use crate::devnet::Account;

/// An account with all that it holds, on its way to another network.
struct Luggage {
    account: Account,
    actor: Box<Actor>,
}

impl Sim {
    /// From now on the other network's relay also carries what accounts of this one do, under its own numbers, and lists
    /// them. The other directory does not know them.
    ///
    /// # Panics
    /// When the other leaks into this one: one of the two relays serves both.
    pub fn leak_into(&self, other: &Sim) {
        let back = other.shared.lock().carriers.iter().any(|carrier| Arc::ptr_eq(carrier, &self.shared));
        assert!(!back && !Arc::ptr_eq(&self.shared, &other.shared), "a leak leads one way");
        self.shared.lock().carriers.push(other.shared.clone());
    }

    /// The document that this directory has of the account.
    ///
    /// # Errors
    /// When nobody here is called so. So do the other wishes where who they name is not there.
    pub fn document(&self, did: &str) -> Result<Option<Json>, SimError> {
        let state = self.shared.lock();
        Ok(state.actors[state.find(did)?].document.clone())
    }

    /// Puts the document that this directory has of the account into the other's, as it stands.
    pub fn copy_document(&self, did: &str, other: &Sim) -> Result<(), SimError> {
        let document = self.document(did)?;
        let mut state = other.shared.lock();
        match (state.who(did), document) {
            (Some(who), document) => state.actors[who].set_document(document),
            (None, Some(document)) => drop(state.copied.insert(did.to_owned(), document)),
            (None, None) => drop(state.copied.remove(did)),
        }
        Ok(())
    }

    /// The account's document names this PDS of the same network from now on, though the account stays where it is.
    pub fn name_pds(&self, did: &str, host: usize) -> Result<(), SimError> {
        let mut state = self.shared.lock();
        state.check_host(host)?;
        let who = state.find(did)?;
        state.world.people[who].account.pds = state.hosts[host].url.clone();
        state.publish_document(who);
        let handle = Some(state.account(who).handle.clone());
        state.identity(who, handle);
        Ok(())
    }

    /// An account of the DID of another network's account, with a key, a handle and a repository of its own.
    pub fn create_namesake(&self, did: &str, host: usize) -> Result<(), SimError> {
        let mut state = self.shared.lock();
        state.create_account_as(host, Some(did)).map(|_| ())
    }

    /// A PDS of the other network gets a copy of the account as it stands, key and all, as one does that is restored from
    /// this network's backup. The other directory says that it lives there.
    pub fn restore_on(&self, did: &str, other: &Sim, host: usize) -> Result<(), SimError> {
        let luggage = self.shared.lock().copy_of(did)?;
        let mut state = other.shared.lock();
        state.check_host(host)?;
        state.receive(luggage, host);
        Ok(())
    }

    /// The account moves to a PDS of the other network, with its repository and a new key, by an operation that both
    /// directories have. Here it stays behind, deactivated.
    pub fn move_to(&self, did: &str, other: &Sim, host: usize) -> Result<(), SimError> {
        other.shared.lock().check_host(host)?;
        let luggage = {
            let mut state = self.shared.lock();
            let luggage = state.copy_of(did)?;
            let who = state.find(did)?;
            state.set_status(who, Some("deactivated"));
            luggage
        };
        let document = {
            let mut state = other.shared.lock();
            let who = state.receive(luggage, host);
            let (key, rev) = (state.new_key(), state.next_rev(who));
            state.world.people[who].account.key = key.clone();
            state.actors[who].repo.sign_again(key, rev)?;
            state.publish_document(who);
            state.actors[who].document.clone()
        };
        {
            let mut state = self.shared.lock();
            let who = state.find(did)?;
            state.actors[who].set_document(document);
        }
        let mut state = other.shared.lock();
        let who = state.find(did)?;
        let handle = Some(state.account(who).handle.clone());
        state.identity(who, handle);
        state.emit(who, host, News::Account(None));
        state.sync(who);
        Ok(())
    }

    /// Every frame that a relay or PDS still keeps, as its subscribers get them.
    pub fn frames(&self, place: super::Place) -> Vec<Bytes> {
        let mut state = self.shared.lock();
        state.stream(place).map(|stream| stream.kept()).unwrap_or_default()
    }
}

impl State {
    fn check_host(&self, host: usize) -> Result<(), SimError> {
        self.hosts.get(host).map(|_| ()).ok_or(SimError::NoHost(host))
    }

    fn copy_of(&self, did: &str) -> Result<Luggage, SimError> {
        let who = self.find(did)?;
        Ok(Luggage { account: self.account(who).clone(), actor: Box::new(self.actors[who].clone()) })
    }

    /// The account lives on this PDS from now on, whoever had its DID here before.
    fn receive(&mut self, luggage: Luggage, host: usize) -> usize {
        let Luggage { account, actor } = luggage;
        let who = self.who(&account.did).unwrap_or_else(|| {
            let who = self.world.add_person(None);
            self.world.people[who].account.did.clone_from(&account.did);
            self.enter(who, host, None);
            who
        });
        let url = self.hosts[host].url.clone();
        let old = std::mem::replace(&mut self.world.people[who].account, Account { pds: url, ..account });
        self.handles.retain(|handle, owner| *owner != who || *handle != old.handle);
        self.handles.insert(self.account(who).handle.clone(), who);
        self.world.people[who].hidden = None;
        let left = std::mem::take(&mut self.actors[who].left);
        let (log, document) = (std::mem::take(&mut self.actors[who].log), self.actors[who].document.take());
        self.actors[who] = Actor { host, left, status: None, log, document, ..*actor };
        self.publish_document(who);
        who
    }
}
