//! The wishes that a [`Sim`] fulfils.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::accounts::SimError;
use super::faults::{At, Fault, FaultId, FaultReport, Place, When};
use super::state::Served;
use super::truth::NetworkTruth;
use super::{Sim, filler};
use crate::devnet::calendar_records;
use crate::devnet::{Commit, Write, calendar};
use crate::event::Cid;

impl Sim {
    /// A new account on this PDS, with the frames of its birth. Returns its DID.
    ///
    /// # Errors
    /// When there is no such PDS. So do the other wishes where what they name is not there.
    pub fn create_account(&self, host: usize) -> Result<String, SimError> {
        let mut state = self.shared.lock();
        let who = state.create_account(host)?;
        Ok(state.account(who).did.clone())
    }

    /// An account with a past of so many likes, posts, reposts and follows, as real ones have. It is told of by `#sync`.
    pub fn create_old_account(&self, host: usize, fillers: usize) -> Result<String, SimError> {
        let mut state = self.shared.lock();
        let now = state.world.now();
        let tree = filler::tree(&mut state.world.dice, now, fillers);
        let who = state.create_old_account(host, tree)?;
        Ok(state.account(who).did.clone())
    }

    /// An account with so many records of so many bytes each outside the calendar. It is told of by `#sync`.
    pub fn create_heavy_account(&self, host: usize, records: usize, bytes: usize) -> Result<String, SimError> {
        let mut state = self.shared.lock();
        let tree = filler::bulk_tree(state.world.now(), records, bytes);
        let who = state.create_old_account(host, tree)?;
        Ok(state.account(who).did.clone())
    }

    /// A new `did:web` account, whose document this PDS serves: at most one for each.
    pub fn create_web_account(&self, host: usize) -> Result<String, SimError> {
        let mut state = self.shared.lock();
        let who = state.create_web_account(host)?;
        Ok(state.account(who).did.clone())
    }

    /// One commit with these writes.
    pub fn write(&self, did: &str, writes: &[Write]) -> Result<Commit, SimError> {
        let mut state = self.shared.lock();
        let who = state.find(did)?;
        state.write(who, writes, None)
    }

    /// One commit whose revision is so far ahead of the clock, and all later ones with it. Beyond 5 minutes readers refuse
    /// the repository: the truth tells it as unreachable.
    pub fn write_ahead(&self, did: &str, writes: &[Write], ahead: Duration) -> Result<Commit, SimError> {
        let mut state = self.shared.lock();
        let who = state.find(did)?;
        state.write_ahead(who, writes, ahead.as_micros() as i64)
    }

    /// A new calendar event. Returns its path and CID.
    pub fn create_event(&self, did: &str) -> Result<(String, Cid), SimError> {
        self.create_record(did, calendar::EVENT, |world| {
            let now = world.now();
            calendar_records::event(&mut world.dice, now)
        })
    }

    /// A new RSVP to an event, whose URI is given with its CID. Returns its path and CID.
    pub fn create_rsvp(&self, did: &str, uri: &str, cid: Cid) -> Result<(String, Cid), SimError> {
        self.create_record(did, calendar::RSVP, |world| {
            let now = world.now();
            calendar_records::rsvp(&mut world.dice, now, uri, cid)
        })
    }

    fn create_record(
        &self,
        did: &str,
        collection: &str,
        record: impl FnOnce(&mut crate::devnet::world::World) -> Vec<u8>,
    ) -> Result<(String, Cid), SimError> {
        let mut state = self.shared.lock();
        let who = state.find(did)?;
        let path = format!("{collection}/{}", state.world.rkey(who));
        let record = record(&mut state.world);
        let cid = crate::devnet::cbor::cid_of(&record);
        state.write(who, &[Write::Create { path: path.clone(), record }], None)?;
        Ok((path, cid))
    }

    /// Another calendar event under the path of one. Returns its CID.
    pub fn update_event(&self, did: &str, path: &str) -> Result<Cid, SimError> {
        let mut state = self.shared.lock();
        let who = state.find(did)?;
        let now = state.world.now();
        let record = calendar_records::event(&mut state.world.dice, now);
        let cid = crate::devnet::cbor::cid_of(&record);
        state.write(who, &[Write::Update { path: path.into(), record }], None)?;
        Ok(cid)
    }

    /// The end of a record.
    pub fn delete_record(&self, did: &str, path: &str) -> Result<Commit, SimError> {
        self.write(did, &[Write::Delete { path: path.into() }])
    }

    /// A `#sync` of the repository as it stands.
    pub fn sync(&self, did: &str) -> Result<(), SimError> {
        let mut state = self.shared.lock();
        let who = state.find(did)?;
        state.sync(who);
        Ok(())
    }

    /// Sets the account's state: `None` is active, else `deactivated`, `suspended`, `takendown`, `deleted`, `throttled` or
    /// `desynchronized`. Whoever comes back from `deactivated` also sends `#identity` and `#sync`. Deleted is for ever.
    pub fn set_status(&self, did: &str, status: Option<&'static str>) -> Result<(), SimError> {
        let mut state = self.shared.lock();
        let who = state.find(did)?;
        state.set_status(who, status);
        Ok(())
    }

    /// Another handle. It leads to the account, unless it is somebody else's: then the document lies.
    pub fn set_handle(&self, did: &str, handle: &str) -> Result<(), SimError> {
        let mut state = self.shared.lock();
        let who = state.find(did)?;
        state.set_handle(who, handle);
        Ok(())
    }

    /// A new signing key: in the directory, told by `#identity`, and used by a commit of nothing.
    pub fn rotate_key(&self, did: &str) -> Result<(), SimError> {
        let mut state = self.shared.lock();
        let who = state.find(did)?;
        state.rotate_key(who)
    }

    /// Moves the account to another PDS, with a new key.
    pub fn migrate(&self, did: &str, to: usize) -> Result<(), SimError> {
        let mut state = self.shared.lock();
        let who = state.find(did)?;
        state.migrate(who, to)
    }

    /// Ends the DID in the directory, which answers 410 then.
    pub fn tombstone(&self, did: &str) -> Result<(), SimError> {
        let mut state = self.shared.lock();
        let who = state.find(did)?;
        state.tombstone(who);
        Ok(())
    }

    /// Arms a fault.
    pub fn fault(&self, fault: Fault, at: At, when: When) -> FaultId {
        self.shared.lock().faults.arm(fault, at, when)
    }

    /// How often a fault fired.
    pub fn fired(&self, fault: FaultId) -> u64 {
        self.shared.lock().faults.fired(fault)
    }

    /// Ends a fault.
    pub fn end_fault(&self, fault: FaultId) {
        self.shared.lock().faults.disarm(fault);
    }

    /// Ends every fault, and sends the frames that waited for a next one.
    pub fn end_faults(&self) {
        let mut state = self.shared.lock();
        state.faults.disarm_all();
        state.flush();
    }

    /// Every fault that was armed, and how often it fired.
    pub fn faults(&self) -> Vec<FaultReport> {
        self.shared.lock().faults.reports()
    }

    /// How long this server thinks before it answers a request.
    pub fn set_latency(&self, place: Place, latency: Duration) {
        let mut state = self.shared.lock();
        match place {
            Place::Plc | Place::Handles => state.plc_latency = latency,
            Place::Relay => state.relay.latency = latency,
            Place::Pds(host) => state.hosts[host].latency = latency,
        }
    }

    /// Moves the clock of the network against that of the machine.
    pub fn set_clock_offset_micros(&self, micros: i64) {
        self.shared.lock().clock_offset_micros = micros;
    }

    /// Cuts every subscriber of a relay or PDS.
    pub fn cut(&self, place: Place) {
        if let Some(stream) = self.shared.lock().stream(place) {
            stream.cut();
        }
    }

    /// Lets a relay or PDS forget all but its last `keep` frames: older cursors are outdated then.
    pub fn shrink_window(&self, place: Place, keep: usize) {
        if let Some(stream) = self.shared.lock().stream(place) {
            stream.shrink(keep);
        }
    }

    /// Lets a relay or PDS begin its numbers at 1 again and forget its frames.
    pub fn reset_sequence(&self, place: Place) {
        if let Some(stream) = self.shared.lock().stream(place) {
            stream.reset();
        }
    }

    /// The last number that a relay or PDS gave out; 0 for the directory.
    pub fn last_seq(&self, place: Place) -> i64 {
        self.shared.lock().stream(place).map_or(0, |stream| stream.last_seq())
    }

    /// What the servers had to do, by method. The directory counts as `plc`.
    pub fn served(&self) -> BTreeMap<String, Served> {
        self.shared.lock().served.clone()
    }

    /// The DIDs of all accounts, in the order of their creation.
    pub fn dids(&self) -> Vec<String> {
        let state = self.shared.lock();
        (0..state.actors.len()).map(|who| state.account(who).did.clone()).collect()
    }

    /// The handle that the account claims.
    pub fn handle(&self, did: &str) -> Result<String, SimError> {
        let state = self.shared.lock();
        Ok(state.account(state.find(did)?).handle.clone())
    }

    /// On which PDS the account is.
    pub fn host_of(&self, did: &str) -> Result<usize, SimError> {
        let state = self.shared.lock();
        Ok(state.actors[state.find(did)?].host)
    }

    /// The bytes of a record that the repository holds.
    pub fn record(&self, did: &str, path: &str) -> Option<Bytes> {
        let state = self.shared.lock();
        state.actors[state.who(did)?].record(path)
    }

    /// What everything really is right now.
    pub fn truth(&self) -> NetworkTruth {
        NetworkTruth::of(&self.shared.lock())
    }
}
