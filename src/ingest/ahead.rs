//! Verifying frames before their turn, on every core.
//!
//! What proving a commit costs is hashes, curve and tree: a function of the frame and the account's key, whatever was judged
//! before it. So the frames that were taken together are proven side by side, and then judged one after the other, in the
//! order they came. What was proven with another key than the account has when its turn comes, or under another verdict,
//! counts for nothing and is done again.

use std::collections::VecDeque;
use std::sync::Arc;

use super::judge::{Judge, Key};
use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::decode::{self, Checks, Kind, Level, Message, Outline, PublicKey, Reject};
use crate::filter::{self, Policy, Verdict};
use crate::source::Parcel;

/// Fewer than this among the frames taken together are verified in their turn: so it is with a whole network's stream, and
/// looking at its frames twice would cost more than it brings.
const WORTH: usize = 32;

/// A frame that was verified before its turn.
pub(super) struct Proven {
    key: Arc<PublicKey>,
    verdict: Verdict,
    message: Result<Message, Reject>,
}

/// Frames verified before their turn, of those that were taken together.
pub(super) struct Ahead {
    /// Asked for once: the answer is put together from files of the system.
    cores: usize,
    /// One for each delivery whose turn is still to come; empty when nothing was looked at.
    proven: VecDeque<Option<Proven>>,
    /// Of the delivery whose turn it is.
    current: Option<Proven>,
    /// Frames whose turn came with a key to verify them.
    keyed: usize,
}

impl Default for Ahead {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        Ahead { cores, proven: VecDeque::new(), current: None, keyed: 0 }
    }
}

impl Ahead {
    /// The next delivery's turn begins.
    pub fn turn(&mut self) {
        self.current = self.proven.pop_front().flatten();
    }

    /// Whether anything was looked at.
    #[cfg(all(test, feature = "devnet"))]
    pub fn is_ahead(&self) -> bool {
        !self.proven.is_empty()
    }

    /// Has the next look be taken.
    #[cfg(all(test, feature = "devnet"))]
    pub fn worth_it(&mut self) {
        self.keyed = WORTH;
    }

    /// What was proven of the delivery whose turn it is, with this key and under this verdict.
    pub fn take(&mut self, key: &Arc<PublicKey>, verdict: Verdict) -> Option<Result<Message, Reject>> {
        self.keyed += 1;
        let proven = self.current.take()?;
        (Arc::ptr_eq(&proven.key, key) && proven.verdict == verdict).then_some(proven.message)
    }
}

impl Judge {
    /// Verifies what of these frames will have to be, if there is likely to be much of it. They must be judged next, all of
    /// them, in this order and under this policy.
    pub(super) fn look_ahead(&mut self, policy: &Policy, parcels: &[Parcel]) {
        let often = std::mem::take(&mut self.ahead.keyed) >= WORTH;
        self.ahead.proven.clear();
        if !often || self.ahead.cores < 2 {
            return;
        }
        let level = self.trust.level();
        let count = parcels.iter().map(Parcel::len).sum();
        let mut todo: Vec<(usize, Todo<'_>)> = Vec::with_capacity(count);
        for (place, (frame, seen_at)) in parcels.iter().flat_map(Parcel::frames).enumerate() {
            let Ok(outline) = decode::outline(frame) else { continue };
            if !matches!(outline.kind, Kind::Commit | Kind::Sync) || !self.is_asked_for(outline.seq) {
                continue;
            }
            let Ok(verdict @ (Verdict::Keep | Verdict::Chain)) =
                filter::judge(&outline, policy, |did| self.known.contains_key(did))
            else {
                continue;
            };
            let Ok(Key::This(key)) = self.key(outline.did) else { continue };
            todo.push((place, Todo { frame, seen_at, outline, key, verdict }));
        }
        let mut proven: Vec<Option<Proven>> = Vec::new();
        proven.resize_with(count, || None);
        std::thread::scope(|scope| {
            let share = todo.len().div_ceil(self.ahead.cores).max(1);
            let mut shares = todo.chunks(share).map(|share| {
                move || share.iter().map(|(place, todo)| (*place, todo.prove(policy, level))).collect::<Vec<_>>()
            });
            // One share is this thread's own.
            let own = shares.next();
            let others: Vec<_> = shares.map(|prove| scope.spawn(prove)).collect();
            let own = own.map(|prove| prove()).unwrap_or_default();
            let others = others.into_iter().flat_map(|other| other.join().expect("decoding does not panic"));
            for (place, done) in own.into_iter().chain(others) {
                proven[place] = Some(done);
            }
        });
        self.ahead.proven = proven.into();
    }
}

struct Todo<'a> {
    frame: &'a Bytes,
    seen_at: DateTime<Utc>,
    outline: Outline<'a>,
    key: Arc<PublicKey>,
    verdict: Verdict,
}

impl Todo<'_> {
    fn prove(&self, policy: &Policy, level: Level) -> Proven {
        let wanted = |collection: &str| self.verdict == Verdict::Keep && policy.collections.contains(collection);
        let checks = Checks { level, key: Some(&self.key), now: Some(self.seen_at) };
        let message = decode::decode(self.frame, &self.outline, wanted, &checks);
        Proven { key: self.key.clone(), verdict: self.verdict, message }
    }
}
