//! What one transaction will write.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::decode::parse_time;
use crate::event::{Body, Delivery, Did, Observed, Seq, Upstream};
use crate::event_log::CursorMark;
use crate::source::backfill::Reason as JobReason;
use crate::source::gap::Gap;

use super::known::Known;
use super::quarantine::{Quarantined, Rejudged};
use super::sighting::Sighting;

/// Above this the judge waits for the appender, so that memory stays bounded.
const FULL_EVENTS: usize = 4_000;
/// The same in bytes of the frames that kept records belong to.
const FULL_BYTES: usize = 32_000_000;

/// Events, repository states and cursors that belong together.
#[derive(Default)]
pub struct Batch {
    /// Events for the log, in order of arrival.
    pub(super) events: Vec<Observed>,
    /// Account and identity words of accounts that were out of scope when they came.
    pub(super) bystanders: Vec<Observed>,
    /// Accounts whose records may enter from now on.
    pub(super) entered: Vec<Did>,
    /// What is remembered of accounts that it touched, as of the last touch.
    pub(super) repos: HashMap<Did, Known>,
    /// Frames that wait from now on, each with its number.
    pub(super) held: Vec<(i64, Did, Delivery)>,
    /// Up to which number the frames of an account no longer wait.
    pub(super) released: HashMap<Did, i64>,
    /// Accounts to be compared with what their host holds, and why.
    pub(super) jobs: Vec<(Did, JobReason)>,
    /// Accounts whose document is to be looked up once this is written.
    pub(super) asks: Vec<Did>,
    /// Places where frames of an upstream may be missing.
    pub(super) gaps: Vec<Gap>,
    /// Records that were refused.
    pub(super) quarantined: Vec<Quarantined>,
    /// Refused records that somebody asked to have judged again, and what became of each.
    pub(super) rejudged: Vec<(i64, Rejudged)>,
    /// Commits of followed records that came again, each with the upstream that carried it.
    pub(super) sightings: Vec<Sighting>,
    /// Up to which number the changes of lists are in the log.
    pub(super) changes: Vec<i64>,
    /// Who waits for this to be written.
    pub(super) acks: Vec<oneshot::Sender<()>>,
    /// The last frame handled, per upstream that has a cursor: as many as there are upstreams, so that looking through them
    /// costs less than hashing a name.
    marks: Vec<Mark>,
    bytes: usize,
}

impl Batch {
    /// Whether there is something that readers wait for.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
            || !self.bystanders.is_empty()
            || !self.held.is_empty()
            || !self.released.is_empty()
            || !self.jobs.is_empty()
            || !self.asks.is_empty()
            || !self.gaps.is_empty()
            || !self.quarantined.is_empty()
            || !self.rejudged.is_empty()
            || !self.changes.is_empty()
            || !self.acks.is_empty()
    }

    /// Whether there is anything to write at all, be it only a cursor.
    pub fn is_empty(&self) -> bool {
        !self.has_events() && self.marks.is_empty() && self.repos.is_empty() && self.sightings.is_empty()
    }

    /// Whether it has grown as large as it may.
    pub fn is_full(&self) -> bool {
        self.events.len() + self.bystanders.len() + self.held.len() + self.quarantined.len() >= FULL_EVENTS
            || self.bytes >= FULL_BYTES
    }

    /// Notes that a frame is handled. A replay moves no cursor: its frames say nothing about how far the live stream of
    /// the same host is handled, and replaying again is how a replay is resumed.
    pub(super) fn handled(&mut self, delivery: &Delivery, seq: Seq, time: &str) {
        if !delivery.live {
            return;
        }
        let upstream = &delivery.upstream;
        let known = self.marks.iter().position(|mark| Arc::ptr_eq(&mark.upstream, upstream));
        // By value as well: not everybody who makes deliveries shares the upstream's value.
        let known = known.or_else(|| self.marks.iter().position(|mark| mark.upstream == *upstream));
        match known {
            Some(at) => (self.marks[at].seq, self.marks[at].time) = (seq, TimeText::of(time)),
            None => self.marks.push(Mark { upstream: upstream.clone(), seq, time: TimeText::of(time) }),
        }
    }

    /// Notes an event for the log.
    pub(super) fn keep(&mut self, observed: Observed) {
        self.bytes += weight(&observed);
        self.events.push(observed);
    }

    /// Notes a frame that waits.
    pub(super) fn hold(&mut self, n: i64, did: Did, delivery: Delivery) {
        self.bytes += delivery.frame.len();
        self.held.push((n, did, delivery));
    }

    /// Notes a record that was refused.
    pub(super) fn quarantine(&mut self, quarantined: Quarantined) {
        self.bytes += quarantined.frame.as_ref().map_or(0, Bytes::len);
        self.quarantined.push(quarantined);
    }

    /// Notes what is now remembered of an account.
    pub(super) fn touched(&mut self, did: &Did, known: &Known) {
        match self.repos.get_mut(did) {
            Some(noted) => known.clone_into(noted),
            None => {
                self.repos.insert(did.clone(), known.clone());
            }
        }
    }

    /// Which cursors this batch moves, and how far.
    pub(super) fn cursor_marks(&self) -> Vec<CursorMark> {
        let mark = |mark: &Mark| CursorMark {
            upstream: mark.upstream.clone(),
            seq: mark.seq,
            event_time: mark.time.read().and_then(parse_time),
        };
        self.marks.iter().map(mark).collect()
    }
}

/// How far an upstream is handled.
struct Mark {
    upstream: Arc<Upstream>,
    seq: Seq,
    time: TimeText,
}

/// The time that a frame carries, unread: of all frames that move a cursor, only the last one's is ever looked at.
struct TimeText {
    length: u8,
    bytes: [u8; TimeText::MAX],
}

impl TimeText {
    /// A datetime has at most this many characters (<https://atproto.com/specs/lexicon#datetime>).
    const MAX: usize = 64;

    /// What is longer counts as none.
    fn of(text: &str) -> Self {
        let mut time = TimeText { length: 0, bytes: [0; Self::MAX] };
        if let Some(bytes) = time.bytes.get_mut(..text.len()) {
            bytes.copy_from_slice(text.as_bytes());
            time.length = u8::try_from(text.len()).expect("it fits into the bytes");
        }
        time
    }

    fn read(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).ok()
    }
}

fn weight(observed: &Observed) -> usize {
    match &observed.event.body {
        Body::Put { record, .. } => record.len() + 500,
        _ => 500,
    }
}
