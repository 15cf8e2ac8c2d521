//! What the log's words about one record mean for it and for its intents. Pure: the same words in any order, in any portions
//! and any number of times end in the same.

use chrono::{DateTime, TimeDelta, Utc};

use super::super::{Action, IntentState};
use crate::event::{Environment, Position, Rev, Verification};
use crate::event_log::Told;

/// A revision is at most so far ahead of the clock: ingest refuses others. What claims a later time than that after an
/// answer of the PDS was therefore written after it.
const CLOCK_AHEAD_MAX: TimeDelta = TimeDelta::minutes(5);

/// Why a word of the log says nothing about a record of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ignored {
    /// It entered another environment than this one.
    Environment,
    /// Whose it was is not known.
    Origin,
    /// Nothing proves that the account wrote it.
    Unproven,
}

impl Ignored {
    pub(super) const ALL: [Ignored; 3] = [Ignored::Environment, Ignored::Origin, Ignored::Unproven];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Ignored::Environment => "environment",
            Ignored::Origin => "origin",
            Ignored::Unproven => "unproven",
        }
    }
}

/// Whether an event of the log may speak for a record of ours, in a process of this environment.
pub(super) fn counts(told: &Told, environment: &Environment) -> Result<(), Ignored> {
    if told.environment != environment.as_str() {
        return Err(Ignored::Environment);
    }
    if told.origin.is_none() {
        return Err(Ignored::Origin);
    }
    let proven = [Verification::Full, Verification::Signature, Verification::Snapshot];
    if !told.verification.is_some_and(|verification| proven.contains(&verification)) {
        return Err(Ignored::Unproven);
    }
    Ok(())
}

/// A word of the log about a record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Word {
    /// The revision that spoke it. In front, as it orders words.
    pub rev: Rev,
    /// The record's CID; `None`: it was deleted.
    pub cid: Option<String>,
    /// Where in the log it stands.
    pub position: Position,
}

impl Word {
    /// Of an event; `None` of one that cannot be such a word.
    pub fn of(told: &Told) -> Option<Word> {
        let rev = Rev::parse(told.rev.as_deref()?).ok()?;
        Some(Word { rev, cid: told.cid.clone(), position: told.position })
    }

    /// Whether it was certainly written after this answer of a PDS.
    fn is_after(&self, answer: Option<DateTime<Utc>>) -> bool {
        let written = i64::try_from(self.rev.micros()).ok().and_then(DateTime::from_timestamp_micros);
        written.zip(answer).is_some_and(|(written, answer)| written > answer + CLOCK_AHEAD_MAX)
    }
}

/// What the log holds about a record, as far as it counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    /// Puts and deletes.
    pub words: Vec<Word>,
    /// The account's latest snapshot.
    pub snapshot: Option<(Rev, Position)>,
    /// Where the log ends.
    pub head: Position,
}

impl Heard {
    /// The last word: a snapshot that does not hold a record any more speaks of its end. `known` is a revision in which the
    /// record was there, by another source than the log.
    pub fn last(&self, known: Option<Rev>) -> Option<Word> {
        let last = self.words.iter().max().cloned();
        let silent = match (&last, known) {
            (Some(word), _) => Some(word.rev),
            (None, known) => known,
        };
        self.gone().filter(|gone| silent.is_some_and(|silent| silent < gone.rev)).or(last)
    }

    /// What the latest snapshot says of a record that it does not hold.
    fn gone(&self) -> Option<Word> {
        self.snapshot.map(|(rev, position)| Word { rev, cid: None, position })
    }
}

/// What is known of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// The version on the PDS.
    pub cid: Option<String>,
    /// Its revision.
    pub rev: Option<Rev>,
    /// It is not there any more.
    pub deleted: bool,
    /// The last word of the log about it.
    pub seen: Option<Position>,
    /// See [`Verdict::held_back`].
    pub held_back: bool,
}

/// An intent of the record: those that are open or acknowledged, and the last of those that were settled by a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Intent {
    pub id: i64,
    pub action: Action,
    pub state: IntentState,
    pub maybe_written: bool,
    pub cid: Option<String>,
    pub rev: Option<Rev>,
    pub acknowledged_at: Option<DateTime<Utc>>,
    pub confirmed_position: Option<Position>,
}

impl Intent {
    /// The PDS took it.
    fn is_written(&self) -> bool {
        let took = matches!(self.state, IntentState::Acknowledged | IntentState::Confirmed);
        took || (self.state == IntentState::Conflict && self.cid.is_some())
    }

    /// It may be on the PDS without our knowing.
    fn may_be_written(&self) -> bool {
        self.state == IntentState::Attempted || (self.state == IntentState::Wanted && self.maybe_written)
    }

    /// What it made of the record.
    fn content(&self) -> Option<&str> {
        match self.action {
            Action::Put => self.cid.as_deref(),
            Action::Delete => None,
        }
    }
}

/// What follows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Intents that the log confirms, with the place in it.
    pub confirmed: Vec<(i64, Position)>,
    /// What is known now.
    pub known: Known,
    /// Somebody else made the version that is known now: its CID, or `None` for a delete.
    pub elsewhere: Option<Option<String>>,
    /// Where in the log that version stands.
    pub place: Option<Position>,
}

/// Judges one record. `intents` in the order in which they were wished.
pub(super) fn judge(known: &Known, intents: &[Intent], heard: &Heard) -> Verdict {
    let confirmed = confirmed(intents, heard);
    let mut verdict = Verdict { confirmed, known: known.clone(), elsewhere: None, place: None };
    verdict.known.held_back = false;
    let newest = intents.iter().rfind(|intent| intent.is_written());
    // Of a record of which neither log nor answer named a revision, a snapshot long after the answer still tells that it is gone.
    let silent = || heard.gone().filter(|gone| newest.is_some_and(|newest| gone.is_after(newest.acknowledged_at)));
    let Some(last) = heard.last(known.rev).or_else(silent) else { return verdict };
    let is_new = known.rev.is_none_or(|rev| last.rev > rev);
    let is_known = known.cid == last.cid && known.deleted == last.cid.is_none();
    // A later version that says what we wrote last is a snapshot's row, or somebody's return to it: no edit either way.
    let is_ours = newest.is_some_and(|newest| newest.content() == last.cid.as_deref());
    if is_new && !is_known && !is_ours {
        if intents.iter().any(Intent::may_be_written) {
            // It may be the write whose answer we never heard, or hear in a moment.
            verdict.known.held_back = true;
            return verdict;
        }
        if newest.is_some_and(|newest| !is_ordered(newest, &last, &verdict.confirmed)) {
            return verdict;
        }
        // What was there before we knew anything was edited by nobody.
        if known.rev.is_some() || newest.is_some() {
            (verdict.elsewhere, verdict.place) = (Some(last.cid.clone()), Some(last.position));
        }
    }
    if is_new {
        verdict.known.rev = Some(last.rev);
        verdict.known.deleted = last.cid.is_none();
        verdict.known.cid = last.cid.clone();
    }
    let seen = heard.words.iter().map(|word| word.position).chain([last.position]).max();
    verdict.known.seen = seen.max(known.seen);
    verdict
}

/// Whether it is known that `last` came after what `newest` wrote. An answer without a revision (nothing had to be written,
/// or it was found written) has its place only once the log shows its version.
fn is_ordered(newest: &Intent, last: &Word, confirmed: &[(i64, Position)]) -> bool {
    match newest.rev {
        Some(rev) => last.rev > rev,
        None => newest.state != IntentState::Acknowledged || confirmed.iter().any(|(id, _)| *id == newest.id),
    }
}

/// The intents that the log confirms. From the last to the first: whatever was written before a confirmed one was passed by.
fn confirmed(intents: &[Intent], heard: &Heard) -> Vec<(i64, Position)> {
    let mut confirmed = vec![];
    let mut later: Option<Position> = None;
    for (intent, place) in intents.iter().zip(places(intents, heard)).rev() {
        if intent.state == IntentState::Confirmed {
            later = later.or(Some(heard.head));
        }
        if intent.state != IntentState::Acknowledged {
            continue;
        }
        if let Some(position) = place.or(later) {
            confirmed.push((intent.id, position));
            later = Some(position);
        }
    }
    confirmed.reverse();
    confirmed
}

/// Where the log shows what each intent wrote, or something later; in their order.
fn places(intents: &[Intent], heard: &Heard) -> Vec<Option<Position>> {
    // The same content may have been written before, with something else in between: what an answer without a revision
    // stands for is not older than what was written before it. `None`: the log does not show that yet, so nothing can be said.
    let mut floor = Some(Rev::ZERO);
    let (mut waits, mut before) = (false, None);
    let mut place = |intent: &Intent| {
        if !intent.is_written() {
            return None;
        }
        let waiting = intent.state == IntentState::Acknowledged;
        let own = |word: &&Word| match intent.confirmed_position {
            Some(position) => word.position == position,
            None => floor.is_some_and(|floor| word.rev >= floor) && word.cid.as_deref() == intent.content(),
        };
        let own = heard.words.iter().filter(own).min();
        let (found, place) = match (intent.rev, own) {
            (Some(rev), _) => (Some(rev), by_rev(rev, heard)),
            // A delete without a put before it to undo wrote nothing: a later one's word is not its own.
            (None, Some(word)) if intent.action == Action::Put || before == Some(Action::Put) || !waiting => {
                (Some(word.rev), Some(word.position))
            }
            (None, Some(word)) => (floor, Some(word.position)),
            (None, None) => (None, by_time(intent, heard).or_else(|| by_silence(intent, waits, heard))),
        };
        // What is confirmed without a word of its own wrote nothing, or was passed by.
        floor = found.or(floor.filter(|_| place.is_some() || !waiting));
        waits |= waiting;
        before = Some(intent.action);
        place
    };
    intents.iter().map(&mut place).collect()
}

/// The word of that revision, else the first of those that came after; a snapshot that does not show the record is one of them.
fn by_rev(rev: Rev, heard: &Heard) -> Option<Position> {
    let word = heard.words.iter().filter(|word| word.rev >= rev).min();
    let snapshot = heard.snapshot.filter(|(taken, _)| *taken >= rev);
    word.map(|word| word.position).or(snapshot.map(|(_, position)| position))
}

/// The first word that was certainly written after the answer.
fn by_time(intent: &Intent, heard: &Heard) -> Option<Position> {
    let gone = heard.gone();
    let later = heard.words.iter().chain(&gone).filter(|word| word.is_after(intent.acknowledged_at)).min();
    later.map(|word| word.position)
}

/// There was nothing to delete, and the log agrees, once it shows all that we wrote before.
fn by_silence(intent: &Intent, waits: bool, heard: &Heard) -> Option<Position> {
    match heard.last(None) {
        _ if waits || intent.action == Action::Put => None,
        None => Some(heard.head),
        Some(last) => last.cid.is_none().then_some(last.position),
    }
}

#[cfg(test)]
mod tests;
