//! The lines of all upstreams of a process, and where their connections leave word.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use metrics::counter;

use super::line::{Found, Line};
use super::{CursorStep, Gap, Heard, Resume};
use crate::event::{Delivery, Seq, Upstream};
use crate::source::metric::GAPS;

/// Connections noted and not yet taken up, of all upstreams together: more than a process has upstreams and attempts
/// between two frames.
const NOTES_MAX: usize = 1_024;

/// One connection that is being dialled.
struct Note {
    upstream: Arc<Upstream>,
    at: DateTime<Utc>,
    resume: Option<Resume>,
}

/// Where subscriptions leave word of each connection, for whoever judges its frames.
#[derive(Default)]
pub struct Resumes {
    /// Counts notes: looking at it is all that a frame costs.
    turn: AtomicU64,
    notes: Mutex<Vec<Note>>,
}

impl Resumes {
    /// A connection is about to be dialled, to go on after `resume`; `None`: with what comes from now on. To be called
    /// before the first frame of it can be seen.
    pub fn connecting(&self, upstream: &Arc<Upstream>, resume: Option<Resume>) {
        let note = Note { upstream: upstream.clone(), at: Utc::now(), resume };
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if notes.len() == NOTES_MAX {
            // Nobody judges frames: those of the standby that this process is. What it will do begins with a new note.
            notes.remove(0);
        }
        notes.push(note);
        self.turn.fetch_add(1, Ordering::Release);
    }
}

/// Finds gaps in the streams of all upstreams.
pub struct GapWatch {
    resumes: Arc<Resumes>,
    turn: u64,
    lines: Vec<(Arc<Upstream>, Line)>,
}

impl GapWatch {
    /// `resumes`: where the connections of the upstreams are noted.
    pub fn new(resumes: Arc<Resumes>) -> Self {
        GapWatch { resumes, turn: 0, lines: Vec::new() }
    }

    /// What a numbered frame does to its upstream's cursor, and the gap before it if there is one. `time` reads the time
    /// that the frame carries; it is called only when that matters. Replayed frames have no cursor: they always `Follow`.
    #[inline]
    pub fn frame(&mut self, delivery: &Delivery, seq: Seq, time: impl FnOnce() -> Option<DateTime<Utc>>) -> Heard {
        if !delivery.live {
            return Heard { cursor: CursorStep::Follow, gap: None };
        }
        let line = self.line(&delivery.upstream);
        let (cursor, found) = line.frame(seq, delivery.seen_at, time);
        Heard { cursor, gap: found.map(|found| gap(&delivery.upstream, found)) }
    }

    /// The gap that a host's word about its stream tells of, if it does.
    pub fn word(&mut self, delivery: &Delivery, name: &str, message: &str) -> Option<Gap> {
        if !delivery.live {
            return None;
        }
        let found = self.line(&delivery.upstream).word(name, delivery.seen_at, message)?;
        Some(gap(&delivery.upstream, found))
    }

    #[inline]
    fn line(&mut self, upstream: &Arc<Upstream>) -> &mut Line {
        let turn = self.resumes.turn.load(Ordering::Acquire);
        if turn != self.turn {
            self.turn = turn;
            self.take_notes();
        }
        let at = self.lines.iter().position(|(known, _)| Arc::ptr_eq(known, upstream));
        let at = at.unwrap_or_else(|| self.find(upstream));
        &mut self.lines[at].1
    }

    #[cold]
    fn take_notes(&mut self) {
        let notes = std::mem::take(&mut *self.resumes.notes.lock().unwrap_or_else(PoisonError::into_inner));
        for note in notes {
            let at = self.find(&note.upstream);
            self.lines[at].1.connecting(note.at, note.resume);
        }
    }

    /// By name: not everybody who makes deliveries shares the upstream's value.
    #[cold]
    fn find(&mut self, upstream: &Arc<Upstream>) -> usize {
        self.lines.iter().position(|(known, _)| known == upstream).unwrap_or_else(|| {
            self.lines.push((upstream.clone(), Line::new(upstream.kind)));
            self.lines.len() - 1
        })
    }
}

#[cold]
fn gap(upstream: &Arc<Upstream>, found: Found) -> Gap {
    counter!(GAPS, "kind" => found.kind.as_str()).increment(1);
    let Found { kind, seq_before, seq_after, time_before, time_after, detail } = found;
    Gap { upstream: upstream.clone(), kind, seq_before, seq_after, time_before, time_after, detail }
}
