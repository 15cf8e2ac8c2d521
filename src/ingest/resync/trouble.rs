//! Why a repository could not be compared or fetched: what it is called, whose fault it is, and what to do about it.

use crate::event::{Decision, Rev};
use crate::network::{HostError, HostErrorKind, IdentityError};
use crate::source::backfill::{Outcome, Strategy};

/// Why a look at a repository ended without its content.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// No DID document.
    #[error("{0}")]
    Identity(#[from] IdentityError),
    /// The document lacks what is needed.
    #[error("the DID document names no {0}")]
    Incomplete(&'static str),
    /// The host gave no usable answer.
    #[error("{0}")]
    Host(#[from] HostError),
    /// The host gave less than a few kilobytes a second for minutes.
    #[error("the host sends too slowly: {bytes} bytes in {seconds} s")]
    TooSlow {
        /// What came.
        bytes: u64,
        /// In which time.
        seconds: u64,
    },
    /// The repository ends in its middle.
    #[error("the repository ends in its middle, after {bytes} bytes")]
    CutShort {
        /// What came.
        bytes: u64,
    },
    /// What the host sent breaks the protocol.
    #[error("{0}")]
    Refused(String),
    /// The account lives on another host by now.
    #[error("the account lives on another host by now")]
    Elsewhere,
    /// Its records may not enter, or not before more is known.
    #[error("{}: {}", .0.standing.as_str(), .0.rule.says())]
    ShutOut(Decision),
    /// The repository was written to while it was read.
    #[error("the repository changes faster than it can be read")]
    MovedOn,
    /// Blocks that the signed tree names are not to be had from this host this way.
    #[error("the host holds back {0} of the blocks that its tree names")]
    Missing(usize),
    /// The host shows an older revision than we hold.
    #[error("the host shows revision {theirs}, older than {ours} that we hold: it was put back to an earlier state")]
    RolledBack {
        /// The host's.
        theirs: Rev,
        /// Ours.
        ours: Rev,
    },
    /// The file that holds a repository for a moment cannot be written or read.
    #[error("the spool file: {0}")]
    Spool(#[from] std::io::Error),
    /// Nobody takes what is found.
    #[error("ingest has ended")]
    IngestEnded,
    /// Ingest did not take what was found.
    #[error("ingest did not take what was found")]
    NotTaken,
    /// The database did not answer.
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
}

/// What becomes of the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposal {
    /// The host is away: its other jobs wait too.
    HostFailed,
    /// The host asks for a pause.
    HostLimited,
    /// Only this account has trouble that may pass: it is tried again, a few times soon, then seldom.
    Retry,
    /// The directory does not know the account. That may be true for ever, or for a moment: one in scope is asked about
    /// again after short pauses at first, and seldom in the end.
    Denied,
    /// Trying again soon yields the same.
    GiveUp,
    /// Our own process or database is in the way; the job goes back as it was.
    Ours,
}

impl Trouble {
    /// The name of the outcome when the job is given up over this.
    pub fn outcome(&self) -> Outcome {
        match self {
            Trouble::Identity(IdentityError::Tombstoned) => Outcome::Tombstoned,
            Trouble::Identity(_) | Trouble::Incomplete(_) => Outcome::IdentityUnresolved,
            Trouble::ShutOut(decision) if decision.standing.refused().is_some() => Outcome::NotAllowed,
            Trouble::ShutOut(_) => Outcome::IdentityUnresolved,
            Trouble::Host(error) if error.repo_problem().is_some() => Outcome::NotFound,
            Trouble::Host(error) => match &error.kind {
                HostErrorKind::RateLimited { .. } => Outcome::RateLimited,
                HostErrorKind::Guard
                | HostErrorKind::NoSuchHost
                | HostErrorKind::Unreachable
                | HostErrorKind::Timeout
                | HostErrorKind::NotXrpc
                | HostErrorKind::Status { code: 502..=504, .. } => Outcome::HostUnreachable,
                HostErrorKind::TooLarge | HostErrorKind::Malformed => Outcome::Refused,
                HostErrorKind::Status { .. } | HostErrorKind::CutOff => Outcome::HostError,
            },
            Trouble::Refused(_) => Outcome::Refused,
            Trouble::RolledBack { .. } => Outcome::RolledBack,
            Trouble::TooSlow { .. }
            | Trouble::CutShort { .. }
            | Trouble::Elsewhere
            | Trouble::MovedOn
            | Trouble::Missing(_) => Outcome::HostError,
            Trouble::Spool(_) | Trouble::IngestEnded | Trouble::NotTaken | Trouble::Database(_) => Outcome::HostError,
        }
    }

    /// What becomes of the job.
    pub fn disposal(&self) -> Disposal {
        let by_host = |error: &HostError| match &error.kind {
            HostErrorKind::RateLimited { .. } => Disposal::HostLimited,
            // Not asked at all, because it failed often a moment ago.
            _ if error.not_before.is_some() => Disposal::HostFailed,
            HostErrorKind::NoSuchHost
            | HostErrorKind::Unreachable
            | HostErrorKind::Timeout
            | HostErrorKind::NotXrpc
            | HostErrorKind::Status { code: 502..=504, .. } => Disposal::HostFailed,
            // A host that answers others well may fail over one repository.
            _ if error.passes() => Disposal::Retry,
            _ => Disposal::GiveUp,
        };
        match self {
            Trouble::Identity(IdentityError::Unreachable(error)) | Trouble::Host(error) => by_host(error),
            Trouble::TooSlow { .. }
            | Trouble::CutShort { .. }
            | Trouble::Elsewhere
            | Trouble::MovedOn
            | Trouble::Missing(_)
            | Trouble::ShutOut(_)
            | Trouble::NotTaken => Disposal::Retry,
            Trouble::Identity(IdentityError::NotFound) => Disposal::Denied,
            Trouble::Identity(_) | Trouble::Incomplete(_) | Trouble::Refused(_) | Trouble::RolledBack { .. } => {
                Disposal::GiveUp
            }
            Trouble::Spool(_) | Trouble::IngestEnded | Trouble::Database(_) => Disposal::Ours,
        }
    }

    /// The host that it is about.
    pub fn host(&self) -> Option<&str> {
        match self {
            Trouble::Identity(IdentityError::Unreachable(error)) | Trouble::Host(error) => Some(&error.host),
            _ => None,
        }
    }

    /// Whether another strategy may get what this one did not. A host that is away, that asks for a pause or whose
    /// signature is wrong is the same to all of them.
    pub(super) fn falls_back(&self, from: Strategy) -> bool {
        match self {
            Trouble::MovedOn | Trouble::Missing(_) | Trouble::TooSlow { .. } | Trouble::CutShort { .. } => true,
            Trouble::Host(error) => {
                error.repo_problem().is_none()
                    && match &error.kind {
                        // Not implemented, or refused: 400 is how hosts say that they hold no such block.
                        HostErrorKind::Status { code: 400 | 403 | 404 | 405 | 413 | 414 | 500 | 501, .. } => true,
                        HostErrorKind::TooLarge | HostErrorKind::Malformed | HostErrorKind::CutOff => true,
                        HostErrorKind::NotXrpc => from != Strategy::List,
                        _ => false,
                    }
            }
            _ => false,
        }
    }
}

/// The strategies to try, in order. An explicit one is the only one.
pub(super) fn plan(asked: Strategy) -> &'static [Strategy] {
    match asked {
        Strategy::Auto => &[Strategy::Sparse, Strategy::Car, Strategy::List],
        Strategy::Sparse => &[Strategy::Sparse],
        Strategy::Car => &[Strategy::Car],
        Strategy::List => &[Strategy::List],
    }
}
