//! How much of a commit is checked, and against what. All that a check needs beside the frame is in [`Checks`]: no clock,
//! no directory.

use chrono::{DateTime, TimeDelta, Utc};

use super::{PublicKey, Reason, Reject, SignedCommit};
use crate::event::{Rev, Verification};

/// A rev may be at most this far ahead of the clock.
pub const MAX_REV_AHEAD: TimeDelta = TimeDelta::minutes(5);

/// How much of a commit or sync is checked beyond structure, limits and the hashes of what is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Nothing.
    #[default]
    None,
    /// The account's key signed the commit, and the signed tree holds each record that the operations write and none that
    /// they remove. Whether they are all that changed is not looked at.
    Signature,
    /// Signed, and undoing the operations leads from the signed tree to exactly the tree that `prevData` names.
    Full,
}

impl Level {
    /// The word in settings.
    pub fn as_str(self) -> &'static str {
        self.verification().as_str()
    }

    /// Reads a setting.
    pub fn from_word(word: &str) -> Option<Self> {
        [Level::None, Level::Signature, Level::Full].into_iter().find(|level| level.as_str() == word)
    }

    /// What may be said of an event that passed this level.
    pub fn verification(self) -> Verification {
        match self {
            Level::None => Verification::None,
            Level::Signature => Verification::Signature,
            Level::Full => Verification::Full,
        }
    }
}

/// What a commit or sync is checked against.
#[derive(Clone, Copy, Debug, Default)]
pub struct Checks<'k> {
    /// How much is checked.
    pub level: Level,
    /// The account's signing key. Above [`Level::None`] its absence refuses the frame: [`Reason::NoKey`].
    pub key: Option<&'k PublicKey>,
    /// The time, to refuse revs from the future; without it they pass.
    pub now: Option<DateTime<Utc>>,
}

impl Checks<'_> {
    /// Structure, limits, hashes, and nothing else.
    pub const NONE: Checks<'static> = Checks { level: Level::None, key: None, now: None };

    pub(super) fn rev(&self, rev: Rev) -> Result<(), Reject> {
        let Some(now) = self.now else { return Ok(()) };
        let latest = now + MAX_REV_AHEAD;
        match i64::try_from(rev.micros()).is_ok_and(|micros| micros <= latest.timestamp_micros()) {
            true => Ok(()),
            false => Err(Reject::new(Reason::FutureRev, format!("{rev} is later than {}", latest.to_rfc3339()))),
        }
    }

    pub(super) fn signature(&self, signed: &SignedCommit<'_>) -> Result<(), Reject> {
        match (self.level, self.key) {
            (Level::None, _) => Ok(()),
            (_, Some(key)) => signed.verify(key),
            (_, None) => Err(Reject::new(Reason::NoKey, format!("no signing key of {} is known", signed.did))),
        }
    }
}
