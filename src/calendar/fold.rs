//! The fold: logged events change words and accounts, in any order, to one end.
//!
//! Per record the word with the highest rev counts and a delete keeps its rev as a tombstone. A record is live when its
//! last word is a put that is not older than the account's latest snapshot. Account and identity words have no rev: the
//! latest by the event's own time, then seq, counts (of verdicts about its origin: the latest); a time ahead of its arrival by more than five minutes is cut to that.
//! Of the same word twice the later in the log counts: the earlier one's record bytes may have been purged. Which of the
//! two came first changes nothing else, as their CID is the same.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::event::{AccountStatus, Body, Cid, Did, Handle, Logged, Nsid, Position, Refusal, Rev, Rkey, Seq};

/// The handle of an account that no handle leads back to. An identity word with it says so after looking; one without any
/// handle says "look again".
///
/// <https://atproto.com/specs/handle#additional-non-syntax-restrictions>
const NO_HANDLE: &str = "handle.invalid";

/// One record's place.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordKey {
    /// Whose repository.
    pub did: Did,
    /// Which collection.
    pub collection: Nsid,
    /// Which record.
    pub rkey: Rkey,
}

/// The last word about a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// The revision that spoke it.
    pub rev: Rev,
    /// The record's CID; `None` when it was deleted.
    pub cid: Option<Cid>,
    /// Where in the log it stands.
    pub position: Position,
}

impl Word {
    /// What orders words. The CID breaks a tie that no honest repository makes, so that order of arrival never does; the
    /// position decides only between words that say the same.
    fn rank(&self) -> (Rev, Option<Cid>, Position) {
        (self.rev, self.cid, self.position)
    }
}

/// When a word about an account was spoken: its own time, then the host's number.
type Spoken = (DateTime<Utc>, Seq);

/// What is known of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountState {
    /// The handle as last told; `None` while none is known, and when none leads back to the account.
    pub handle: Option<Handle>,
    /// When that was told.
    pub handle_spoken: Option<Spoken>,
    /// Whether its host says that it is active.
    pub active: bool,
    /// Why, or why not.
    pub status: AccountStatus,
    /// When that was told.
    pub status_spoken: Option<Spoken>,
    /// Revision of its latest snapshot.
    pub snapshot: Option<Rev>,
    /// Why its records may not be shown in this environment, if so.
    pub refused: Option<Refusal>,
    /// When that was decided.
    pub standing_at: Option<DateTime<Utc>>,
}

impl Default for AccountState {
    fn default() -> Self {
        AccountState {
            handle: None,
            handle_spoken: None,
            active: true,
            status: AccountStatus::Active,
            status_spoken: None,
            snapshot: None,
            refused: None,
            standing_at: None,
        }
    }
}

impl AccountState {
    /// Whether its records are not shown: its host withholds them, or this environment refuses them.
    pub fn hidden(&self) -> bool {
        self.refused.is_some() || self.withheld()
    }

    /// A host's own troubles (throttled, desynchronized) hide nobody.
    fn withheld(&self) -> bool {
        !self.active && !matches!(self.status, AccountStatus::Throttled | AccountStatus::Desynchronized)
    }

    /// Whether a word about one of its records makes that record live.
    pub fn has_live(&self, word: &Word) -> bool {
        word.cid.is_some() && self.snapshot.is_none_or(|snapshot| word.rev >= snapshot)
    }
}

/// The words about records.
pub type Words = HashMap<RecordKey, Word>;

/// The part of the folded state that a batch of events touches. What is absent was never spoken of.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// By record.
    pub words: Words,
    /// By account.
    pub accounts: HashMap<Did, AccountState>,
}

impl State {
    /// Folds one event in.
    pub fn fold(&mut self, logged: &Logged) {
        let did = &logged.event.did;
        if let Body::List { .. } = logged.event.body {
            // It says who may enter, and shows in what does.
            return;
        }
        let account = self.accounts.entry(did.clone()).or_default();
        // A clock that runs ahead must not hold an account in a state for ever.
        let spoken =
            |time: DateTime<Utc>| (time.min(logged.seen_at + TimeDelta::minutes(5)), logged.seq.unwrap_or_default());
        match &logged.event.body {
            Body::Put { collection, rkey, rev, cid, .. } => {
                let word = Word { rev: *rev, cid: Some(*cid), position: logged.position };
                self.speak(did, collection, rkey, word);
            }
            Body::Delete { collection, rkey, rev } => {
                let word = Word { rev: *rev, cid: None, position: logged.position };
                self.speak(did, collection, rkey, word);
            }
            Body::Snapshot { rev } => account.snapshot = account.snapshot.max(Some(*rev)),
            Body::Account { active, status, time } => {
                let spoken = spoken(*time);
                let before = account.status_spoken.map(|s| (s, account.active, account.status));
                if before < Some((spoken, *active, *status)) {
                    account.status_spoken = Some(spoken);
                    account.active = *active;
                    account.status = *status;
                }
            }
            Body::Identity { handle, time } => {
                let spoken = spoken(*time);
                let Some(told) = handle else { return };
                let handle = Some(told).filter(|handle| handle.as_str() != NO_HANDLE);
                let before = account.handle_spoken.map(|s| (s, account.handle.as_ref()));
                if before < Some((spoken, handle)) {
                    account.handle_spoken = Some(spoken);
                    account.handle = handle.cloned();
                }
            }
            Body::Origin { decision, time } => {
                let refused = decision.standing.refused();
                if account.standing_at.map(|at| (at, account.refused)) < Some((*time, refused)) {
                    account.standing_at = Some(*time);
                    account.refused = refused;
                }
            }
            Body::List { .. } => {}
        }
    }

    fn speak(&mut self, did: &Did, collection: &Nsid, rkey: &Rkey, word: Word) {
        let key = RecordKey { did: did.clone(), collection: collection.clone(), rkey: rkey.clone() };
        let known = self.words.entry(key).or_insert(word);
        if known.rank() < word.rank() {
            *known = word;
        }
    }
}
