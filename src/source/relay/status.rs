//! What a subscription is doing, for those who watch it, and the word that ends it.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use tokio::sync::watch;

use crate::event::Seq;

/// Where a subscription stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscriptionState {
    /// Dialling.
    Connecting,
    /// Connected; idle or not.
    Connected {
        /// Since when.
        since: DateTime<Utc>,
    },
    /// Waiting before the next attempt.
    Backoff {
        /// Until when.
        until: DateTime<Utc>,
        /// Failures in a row, at least 1.
        attempts: u32,
    },
    /// Ended; it does not come back by itself.
    Stopped {
        /// Why.
        reason: String,
    },
}

/// A message that was larger than the connection takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oversized {
    /// The cursor of the connection it came on: the message's seq is greater than this.
    pub cursor: Option<Seq>,
    /// Its length in bytes, as far as the host announced it.
    pub bytes: usize,
    /// How often in a row a connection with this cursor broke so before any frame came. After the first time the next connection takes
    /// larger messages; from 2 on, resuming at this cursor cannot succeed: see [`SubscriptionStatus::resume_after`].
    pub times: u32,
}

/// What a subscription looks like at one moment.
#[derive(Clone, Debug)]
pub struct SubscriptionSnapshot {
    /// Where it stands.
    pub state: SubscriptionState,
    /// The last thing that went wrong, and when. Stays after a success.
    pub last_error: Option<(DateTime<Utc>, String)>,
    /// The last message that was too large.
    pub oversized: Option<Oversized>,
    /// Connections established.
    pub connects_total: u64,
    /// Frames handed on.
    pub frames_total: u64,
    /// Their bytes.
    pub bytes_total: u64,
    /// Text messages ignored.
    pub ignored_total: u64,
    /// When the last frame was received. The lag of the data is another matter: only its own time tells that.
    pub last_frame_at: Option<DateTime<Utc>>,
}

struct Inner {
    state: SubscriptionState,
    last_error: Option<(DateTime<Utc>, String)>,
    oversized: Option<Oversized>,
}

/// Shared between a running subscription and those who watch it.
pub struct SubscriptionStatus {
    inner: Mutex<Inner>,
    ended: watch::Sender<bool>,
    connects: AtomicU64,
    frames: AtomicU64,
    bytes: AtomicU64,
    ignored: AtomicU64,
    last_frame_at_us: AtomicI64,
    /// Whether the last thing that came was a message too large. A frame after it says that it was got past.
    blocked: AtomicBool,
}

impl Default for SubscriptionStatus {
    fn default() -> Self {
        SubscriptionStatus {
            inner: Mutex::new(Inner { state: SubscriptionState::Connecting, last_error: None, oversized: None }),
            ended: watch::Sender::new(false),
            connects: AtomicU64::new(0),
            frames: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            ignored: AtomicU64::new(0),
            last_frame_at_us: AtomicI64::new(i64::MIN),
            blocked: AtomicBool::new(false),
        }
    }
}

impl SubscriptionStatus {
    /// The status of a subscription that is about to start.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the subscription for good, whatever it is doing: no reconnect follows. For a host that says so, such as
    /// one that calls our cursor a future one. The first reason stays.
    pub fn stop_for_good(&self, reason: impl Into<String>) {
        let reason = reason.into();
        {
            let mut inner = self.lock();
            if !matches!(inner.state, SubscriptionState::Stopped { .. }) {
                inner.last_error = Some((Utc::now(), reason.clone()));
                inner.state = SubscriptionState::Stopped { reason };
            }
        }
        self.ended.send_replace(true);
    }

    /// What it looks like now.
    pub fn snapshot(&self) -> SubscriptionSnapshot {
        let inner = self.lock();
        SubscriptionSnapshot {
            state: inner.state.clone(),
            last_error: inner.last_error.clone(),
            oversized: inner.oversized.clone(),
            connects_total: self.connects.load(Ordering::Relaxed),
            frames_total: self.frames.load(Ordering::Relaxed),
            bytes_total: self.bytes.load(Ordering::Relaxed),
            ignored_total: self.ignored.load(Ordering::Relaxed),
            last_frame_at: DateTime::from_timestamp_micros(self.last_frame_at_us.load(Ordering::Relaxed)),
        }
    }

    /// The cursor to resume at, for a `resume` that knows the last frame handled: that frame's number, or past it,
    /// one number at a time, while the frame behind it is too large for any connection. Nothing else is stepped over,
    /// because the frame that is too large is the first one after the cursor.
    pub fn resume_after(&self, handled: Option<Seq>) -> Option<Seq> {
        let handled = handled?;
        if !self.blocked.load(Ordering::Relaxed) {
            return Some(handled);
        }
        Some(match &self.lock().oversized {
            Some(Oversized { cursor: Some(cursor), times, .. }) if *cursor >= handled => {
                if *times >= 2 {
                    cursor.saturating_add(1)
                } else {
                    *cursor
                }
            }
            _ => handled,
        })
    }

    pub(super) fn ended(&self) -> watch::Receiver<bool> {
        self.ended.subscribe()
    }

    /// `Stopped` is final: a subscription told to end must not appear to be connecting again.
    pub(super) fn set_state(&self, state: SubscriptionState) {
        let mut inner = self.lock();
        if !matches!(inner.state, SubscriptionState::Stopped { .. }) {
            inner.state = state;
        }
    }

    pub(super) fn connected(&self) {
        self.connects.fetch_add(1, Ordering::Relaxed);
        self.set_state(SubscriptionState::Connected { since: Utc::now() });
    }

    pub(super) fn frames(&self, frames: u64, bytes: u64, seen_at: DateTime<Utc>) {
        self.frames.fetch_add(frames, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.last_frame_at_us.store(seen_at.timestamp_micros(), Ordering::Relaxed);
        self.blocked.store(false, Ordering::Relaxed);
    }

    pub(super) fn ignored(&self, messages: u64) {
        self.ignored.fetch_add(messages, Ordering::Relaxed);
    }

    /// Once it is stopped the reason for that stays: a host that says something final closes the connection right after it.
    pub(super) fn failed(&self, message: &str) {
        let mut inner = self.lock();
        if !matches!(inner.state, SubscriptionState::Stopped { .. }) {
            inner.last_error = Some((Utc::now(), message.to_owned()));
        }
    }

    /// `first` says that nothing came before it on that connection, so that it is what stands behind the cursor.
    pub(super) fn oversized(&self, cursor: Option<Seq>, bytes: usize, first: bool) {
        let mut inner = self.lock();
        let times = match &inner.oversized {
            Some(last) if first && last.cursor == cursor => last.times.saturating_add(1),
            _ => 1,
        };
        inner.oversized = Some(Oversized { cursor, bytes, times });
        self.blocked.store(true, Ordering::Relaxed);
    }

    /// Every write under the lock is a whole assignment, so a panic elsewhere leaves nothing half done.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_was_stopped_for_outlasts_the_end_of_its_connection() {
        let status = SubscriptionStatus::new();
        status.failed("closed");
        status.stop_for_good("the cursor is in the host's future");
        status.failed("closed again");
        let (_, error) = status.snapshot().last_error.unwrap();
        assert_eq!(error, "the cursor is in the host's future");
    }
}
