//! The decision about one upstream: numbers and times in, gaps out. No clock, no IO.
//!
//! A frame whose number follows on the largest so far costs two comparisons. Everything else is rare and is thought about.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

use super::{CursorStep, GapKind, Resume};
use crate::event::{Seq, UpstreamKind};

/// How long relays keep frames.
const WINDOW_RELAY: TimeDelta = TimeDelta::hours(72);
/// How long PDSes keep frames.
const WINDOW_PDS: TimeDelta = TimeDelta::hours(24);
/// A first frame less than this after the cursor is the stream going on: hosts' clocks differ by minutes, and a relay
/// passes on frames that were some minutes under way.
const JUMP_TIME: TimeDelta = TimeDelta::minutes(10);
/// Numbers may be left out: a host drops an account's frames with the account, and one that is idle for a day goes on with
/// the next number. So silence is a gap only if more numbers than this passed in it. What that overlooks is small, and is
/// found by the accounts' own chains and by coverage.
const JUMP_SEQ: Seq = 100;
/// More frames than any host sends in a second. A first frame further on than that is no continuation, however short we
/// were away: another host answers under the same name, or its numbers were pushed up after a restore.
const SEQ_PER_SECOND_MAX: i64 = 20_000;
/// A difference in time below this tells nothing about how many numbers may have passed.
const RATE_SECONDS_MIN: i64 = 5;
/// Old frames from before the cursor that are let pass: some hosts send the cursor's own frame again, or some before it.
const BEFORE_CURSOR_MAX: u32 = 100;
/// How much newer than the cursor one frame below it must be to prove by itself that numbers started anew. Clocks are
/// trusted to that.
const SKEW: TimeDelta = TimeDelta::minutes(5);
/// Frames in a row below the cursor and newer than it that prove it together. One alone may be of an author whose clock
/// runs ahead; frames that come again do not all look newer than the one that they came before.
const NEWER_MAX: u32 = 3;
/// Connections that are noted before a frame of them is judged. Attempts that fail are noted too.
const PENDING_MAX: usize = 8;

/// A gap, but for whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub kind: GapKind,
    pub seq_before: Option<Seq>,
    pub seq_after: Option<Seq>,
    pub time_before: Option<DateTime<Utc>>,
    pub time_after: Option<DateTime<Utc>>,
    pub detail: String,
}

/// One upstream.
#[derive(Debug)]
pub(super) struct Line {
    kind: UpstreamKind,
    /// Connections whose frames have not been reached: when each was dialled, and where it was asked to go on.
    pending: VecDeque<(DateTime<Utc>, Option<Resume>)>,
    /// Where the connection in work was asked to go on, and when.
    asked: Option<(DateTime<Utc>, Resume)>,
    /// Whether its first frame after the cursor is still to come.
    fresh: bool,
    /// Whether a gap was found on it: one says it all.
    told: bool,
    /// The largest number, since the numbers started anew.
    high: Seq,
    high_seen_at: DateTime<Utc>,
    newer: u32,
    older: u32,
}

impl Line {
    pub fn new(kind: UpstreamKind) -> Self {
        Line {
            kind,
            pending: VecDeque::new(),
            asked: None,
            fresh: false,
            told: false,
            high: Seq::MIN,
            high_seen_at: DateTime::<Utc>::MIN_UTC,
            newer: 0,
            older: 0,
        }
    }

    /// A connection is dialled at `at`, to go on after `resume`. Frames seen from then on are of that connection; those
    /// seen before and judged later are of the one before.
    pub fn connecting(&mut self, at: DateTime<Utc>, resume: Option<Resume>) {
        if self.pending.len() == PENDING_MAX {
            // Attempts that brought no frame. Should they have, the one before stands for them.
            self.pending.pop_back();
        }
        self.pending.push_back((at, resume));
    }

    /// A numbered frame. `time` is asked for only when it matters.
    #[inline]
    pub fn frame(
        &mut self,
        seq: Seq,
        seen_at: DateTime<Utc>,
        time: impl FnOnce() -> Option<DateTime<Utc>>,
    ) -> (CursorStep, Option<Found>) {
        self.begin(seen_at);
        if seq > self.high && !self.fresh {
            self.high = seq;
            self.high_seen_at = seen_at;
            self.newer = 0;
            return (CursorStep::Follow, None);
        }
        self.think(seq, seen_at, time())
    }

    /// A word of the host about the stream.
    pub fn word(&mut self, name: &str, seen_at: DateTime<Utc>, message: &str) -> Option<Found> {
        self.begin(seen_at);
        let kind = match name {
            "OutdatedCursor" if !self.told => GapKind::OutdatedCursor,
            "FutureCursor" => GapKind::FutureCursor,
            _ => return None,
        };
        self.told = true;
        Some(Found {
            kind,
            seq_before: self.asked.as_ref().map(|(_, asked)| asked.seq),
            seq_after: None,
            time_before: self.asked.as_ref().and_then(|(_, asked)| asked.event_time),
            time_after: None,
            detail: format!("the host says: {message}"),
        })
    }

    /// Turns to the connection that frames seen at `seen_at` belong to.
    #[inline]
    fn begin(&mut self, seen_at: DateTime<Utc>) {
        while self.pending.front().is_some_and(|(at, _)| *at <= seen_at) {
            let (at, resume) = self.pending.pop_front().expect("there is a front");
            self.asked = resume.map(|resume| (at, resume));
            self.fresh = true;
            (self.told, self.newer, self.older) = (false, 0, 0);
            if let Some(resume) = resume.filter(|resume| resume.seq > self.high) {
                self.high = resume.seq;
                self.high_seen_at = resume.judged_at;
            }
        }
    }

    #[cold]
    fn think(&mut self, seq: Seq, seen_at: DateTime<Utc>, time: Option<DateTime<Utc>>) -> (CursorStep, Option<Found>) {
        let mut found = None;
        if self.fresh && self.asked.is_none() {
            self.fresh = false;
            found = Some(Found {
                kind: GapKind::NoCursor,
                seq_before: None,
                seq_after: Some(seq),
                time_before: None,
                time_after: time,
                detail: "heard from here on: no cursor says what came before".to_owned(),
            });
            self.told = true;
        }
        if let (true, Some((at, asked))) = (self.fresh, &self.asked)
            && seq > asked.seq
        {
            self.fresh = false;
            if !self.told {
                found = self.first(*at, asked, seq, time);
                self.told = found.is_some();
            }
        }
        if seq > self.high {
            self.high = seq;
            self.high_seen_at = seen_at;
            self.newer = 0;
            return (CursorStep::Follow, found);
        }
        if found.is_some() {
            return (CursorStep::Stay, found);
        }
        self.backwards(seq, seen_at, time)
    }

    /// The first frame after the cursor of a connection.
    fn first(
        &self,
        connected_at: DateTime<Utc>,
        asked: &Resume,
        seq: Seq,
        time: Option<DateTime<Utc>>,
    ) -> Option<Found> {
        let passed = seq.saturating_sub(asked.seq);
        if passed == 1 {
            // Nothing lies between, however long the silence was.
            return None;
        }
        let found = |kind, detail| Found {
            kind,
            seq_before: Some(asked.seq),
            seq_after: Some(seq),
            time_before: asked.event_time,
            time_after: time,
            detail,
        };
        let window = match self.kind {
            UpstreamKind::Relay => WINDOW_RELAY,
            UpstreamKind::Pds => WINDOW_PDS,
            UpstreamKind::Dump | UpstreamKind::Directory => TimeDelta::MAX,
        };
        let age = connected_at - asked.spoken_at();
        if age > window {
            let detail = format!("the cursor was {} h old, such hosts keep {} h", age.num_hours(), window.num_hours());
            return Some(found(GapKind::Window, detail));
        }
        let silence = time.map_or(TimeDelta::zero(), |time| time - asked.spoken_at());
        if time.is_some_and(|time| counts_time(seq, time)) {
            // Its numbers are the time, so they say no more than that.
            return None;
        }
        let possible = silence.num_seconds().max(RATE_SECONDS_MIN).saturating_mul(SEQ_PER_SECOND_MAX);
        if (silence > JUMP_TIME && passed > JUMP_SEQ) || passed > possible {
            let detail = format!("the stream goes on {passed} numbers and {} s later", silence.num_seconds());
            return Some(found(GapKind::Jump, detail));
        }
        None
    }

    /// A number that is not larger than all before it.
    fn backwards(
        &mut self,
        seq: Seq,
        seen_at: DateTime<Utc>,
        time: Option<DateTime<Utc>>,
    ) -> (CursorStep, Option<Found>) {
        let asked = self.asked.map(|(_, asked)| asked).filter(|asked| seq <= asked.seq);
        if asked.is_some_and(|asked| asked.seq == seq) {
            return (CursorStep::Stay, None);
        }
        // A host that was asked to go on after its cursor's frame has no business below it: whatever is newer than that frame
        // there is new. Between that and the largest number frames come again that were judged while it was dialled, and
        // only our own clock tells how old the largest is.
        let known_at = asked.map_or(self.high_seen_at + SKEW, |asked| asked.spoken_at());
        if time.is_none_or(|time| time <= known_at) {
            self.newer = 0;
            if asked.is_some() {
                self.older = self.older.saturating_add(1);
            }
            if self.older == BEFORE_CURSOR_MAX + 1 && !self.told {
                self.told = true;
                let detail = format!("{} old frames came from before the cursor", self.older);
                return (CursorStep::Stay, Some(self.below(GapKind::SeqBackwards, seq, time, detail)));
            }
            return (CursorStep::Stay, None);
        }
        self.newer += 1;
        // A relay carries many clocks, of which some run ahead. A PDS has one.
        let one_is_enough = self.kind == UpstreamKind::Pds && time.is_some_and(|time| time > known_at + SKEW);
        if !one_is_enough && self.newer < NEWER_MAX {
            return (CursorStep::Stay, None);
        }
        let detail = "new frames come under numbers below the cursor: the host's numbers started anew".to_owned();
        let found = self.below(GapKind::SequenceReset, seq, time, detail);
        self.high = seq;
        self.high_seen_at = seen_at;
        self.asked = None;
        (self.fresh, self.newer, self.older) = (false, 0, 0);
        (CursorStep::Follow, Some(found))
    }

    fn below(&self, kind: GapKind, seq: Seq, time: Option<DateTime<Utc>>, detail: String) -> Found {
        Found {
            kind,
            seq_before: Some(self.high),
            seq_after: Some(seq),
            time_before: self.asked.and_then(|(_, asked)| asked.event_time),
            time_after: time,
            detail,
        }
    }
}

/// Whether a host's numbers are its clock: micro-, milli- or nanoseconds since 1970, within a day of the frame's time.
fn counts_time(seq: Seq, time: DateTime<Utc>) -> bool {
    let day = 86_400;
    let seconds = time.timestamp();
    [1_000, 1_000_000, 1_000_000_000].iter().any(|unit| (seq / unit - seconds).abs() < day)
}

#[cfg(test)]
mod tests;
