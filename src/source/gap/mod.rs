//! Places where an upstream's frames may be missing: how they are found, kept, and what is looked at because of them.
//!
//! In: where each connection was asked to continue, the number and time of each frame, the host's words. Out: what the
//! cursor does, and named gaps, each of which queues the accounts that it may concern. Always true: a cursor never moves
//! back because frames came again, and follows a host whose numbers started anew; a gap is stored in the transaction that
//! moves the cursor past it. Never: looks into a frame; holds anybody's frames back.

mod line;
mod store;
mod watch;

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::event::{Seq, Upstream};

pub use store::{NotedGap, note, recent, record, sweep};
pub use watch::{GapWatch, Resumes};

/// What sort of gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GapKind {
    /// The host says that our cursor is older than what it keeps.
    OutdatedCursor,
    /// Our cursor is older than what such a host keeps, and the first frame does not follow on it.
    Window,
    /// The first frame is far later than our cursor, in time and in number, or in number alone beyond what any host speaks.
    Jump,
    /// The host sends old frames from before our cursor instead of going on after it.
    SeqBackwards,
    /// The host's numbers started anew: new frames under numbers below our cursor.
    SequenceReset,
    /// The host says that our cursor is in its future. Its upstream is stopped.
    FutureCursor,
    /// The upstream is heard from where it was connected, the first time or again. What an account did between its first
    /// look-up and that is not known.
    NoCursor,
}

impl GapKind {
    /// Every kind there is.
    pub const ALL: &'static [GapKind] = &[
        GapKind::OutdatedCursor,
        GapKind::Window,
        GapKind::Jump,
        GapKind::SeqBackwards,
        GapKind::SequenceReset,
        GapKind::FutureCursor,
        GapKind::NoCursor,
    ];

    /// The word as stored, shown and counted.
    pub fn as_str(self) -> &'static str {
        match self {
            GapKind::OutdatedCursor => "outdated_cursor",
            GapKind::Window => "window",
            GapKind::Jump => "jump",
            GapKind::SeqBackwards => "seq_backwards",
            GapKind::SequenceReset => "sequence_reset",
            GapKind::FutureCursor => "future_cursor",
            GapKind::NoCursor => "no_cursor",
        }
    }

    /// Whether the accounts that it may concern are to be compared with their hosts. After [`GapKind::FutureCursor`] they
    /// are when the upstream is heard again, which is a [`GapKind::NoCursor`].
    pub fn sweeps(self) -> bool {
        self != GapKind::FutureCursor
    }
}

/// A place where frames of one upstream may be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Which upstream.
    pub upstream: Arc<Upstream>,
    /// What sort.
    pub kind: GapKind,
    /// The last frame handled before.
    pub seq_before: Option<Seq>,
    /// The first frame after.
    pub seq_after: Option<Seq>,
    /// The time that the frame before carries.
    pub time_before: Option<DateTime<Utc>>,
    /// The time that the frame after carries.
    pub time_after: Option<DateTime<Utc>>,
    /// For people.
    pub detail: String,
}

/// What a frame does to its upstream's cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CursorStep {
    /// It goes to this frame, also when that is a smaller number: then the host's numbers started anew.
    Follow,
    /// It stays: the frame came again.
    Stay,
}

/// What is to be done about one frame, beside judging it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Heard {
    /// What the cursor does.
    pub cursor: CursorStep,
    /// A gap to be stored with it.
    pub gap: Option<Gap>,
}

/// The frame that a connection was asked to continue after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    /// Its number.
    pub seq: Seq,
    /// The time that it carries.
    pub event_time: Option<DateTime<Utc>>,
    /// When it was judged, by our clock.
    pub judged_at: DateTime<Utc>,
}

impl Resume {
    /// When it was spoken. Its own word, unless that is ahead of when it was here: then its author's clock ran fast.
    pub fn spoken_at(&self) -> DateTime<Utc> {
        self.event_time.map_or(self.judged_at, |time| time.min(self.judged_at))
    }
}
