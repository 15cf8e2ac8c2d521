//! Why an attempt ended without the PDS having done it.

use std::time::Duration;

use serde_json::Value;

use super::hosts::Seen;
use super::retry::{Trouble, Verdict};
use crate::identity::ActError;
use crate::network::{HostError, HostErrorKind};

/// People are told so much, in characters.
const DETAIL_MAX: usize = 500;

/// What went wrong.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub trouble: Trouble,
    /// In words. Text of strangers in it is short and printable.
    pub detail: String,
    /// At least so long is waited.
    pub told: Duration,
    /// Of a conflict: the fields.
    pub conflict: Option<Value>,
    /// What was found out about the PDS.
    pub seen: Seen,
    /// What was asked may have been done all the same.
    pub unknown: bool,
    /// The PDS certainly got nothing.
    pub never_sent: bool,
}

/// Why an attempt is over.
#[derive(Debug)]
pub(super) enum Stop {
    /// It failed.
    Failed(Box<Failure>),
    /// Somebody else settled the intent.
    Gone,
    /// Our database did not do it.
    Database(sqlx::Error),
}

impl Failure {
    /// One of our own finding, without asking the PDS.
    pub fn new(trouble: Trouble, detail: String) -> Self {
        let detail = detail.chars().take(DETAIL_MAX).collect();
        let (told, conflict, seen) = (Duration::ZERO, None, Seen::Nothing);
        Failure { trouble, detail, told, conflict, seen, unknown: false, never_sent: true }
    }

    /// The PDS holds something else than we knew.
    pub fn conflict(trouble: Trouble, detail: String, fields: Vec<super::Conflict>) -> Self {
        let fields = serde_json::to_value(fields).unwrap_or_default();
        Failure { conflict: Some(fields), seen: Seen::Up, ..Failure::new(trouble, detail) }
    }

    /// Whether it counts as an attempt.
    pub fn is_an_attempt(&self) -> bool {
        !matches!(self.trouble.verdict(), Verdict::Wait)
    }

    /// Whether everything else of the account would find the same.
    pub fn is_of_the_account(&self) -> bool {
        matches!(
            self.trouble,
            Trouble::Budget
                | Trouble::NoAccount
                | Trouble::NoRights
                | Trouble::Dead
                | Trouble::NotOurs
                | Trouble::Deactivated
                | Trouble::TakenDown
                | Trouble::RepoNotFound
                | Trouble::Guard
        )
    }

    fn of_host(error: &HostError) -> Self {
        let trouble = Trouble::of_host(error);
        let gateway = matches!(error.kind, HostErrorKind::Status { code: 502..=504, .. });
        let seen = match trouble {
            Trouble::RateLimited => Seen::Pause(error.pause()),
            Trouble::Guard => Seen::Nothing,
            _ if trouble.is_of_the_host() || gateway => Seen::Down,
            _ => Seen::Up,
        };
        // What a host refuses in so many words it has not done.
        let refused = matches!(error.kind, HostErrorKind::Status { code: 300..=407 | 409..=499, .. })
            || trouble == Trouble::RateLimited;
        Failure {
            told: error.pause(),
            seen,
            unknown: !error.never_sent && !refused,
            never_sent: error.never_sent,
            ..Failure::new(trouble, error.to_string())
        }
    }
}

impl From<&ActError> for Failure {
    fn from(error: &ActError) -> Self {
        match error {
            ActError::Host(error) => Failure::of_host(error),
            // Where in the call it failed is not told.
            ActError::Ours(_) => {
                Failure { unknown: true, never_sent: false, ..Failure::new(Trouble::of_act(error), error.to_string()) }
            }
            _ => Failure::new(Trouble::of_act(error), error.to_string()),
        }
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Stop::Failed(Box::new(failure))
    }
}

impl From<sqlx::Error> for Stop {
    fn from(error: sqlx::Error) -> Self {
        Stop::Database(error)
    }
}
