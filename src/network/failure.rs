//! What may go wrong with a host, whether it passes, and what to do about it: the one table of this room.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};

/// Why a host gave no usable answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostErrorKind {
    /// The host limits us, or we hold back because it did.
    RateLimited {
        /// When it may be asked again.
        until: DateTime<Utc>,
    },
    /// We do not ask such an address: the URL, the address behind its name, or where it redirects to.
    Guard,
    /// Its name has no address.
    NoSuchHost,
    /// No connection, or one that broke before the answer began.
    Unreachable,
    /// No answer in time, or a pause within one that was too long.
    Timeout,
    /// An HTTP status other than 200.
    Status {
        /// The status.
        code: u16,
        /// The name of the XRPC error, such as `RepoNotFound`.
        name: Option<Box<str>>,
        /// What the host says beside it.
        message: Option<Box<str>>,
    },
    /// Something else than the method answers with, such as a web page.
    NotXrpc,
    /// More bytes than are taken.
    TooLarge,
    /// The answer ended in its middle.
    CutOff,
    /// The right sort of answer with content that cannot be read.
    Malformed,
}

/// What a caller does about a repository that its host does not serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepoProblem {
    /// `RepoNotFound`: the host has no such repository.
    NotFound,
    /// `RepoTakendown`: taken down by the host.
    Takendown,
    /// `RepoSuspended`: suspended by the host.
    Suspended,
    /// `RepoDeactivated`: switched off by its owner.
    Deactivated,
}

/// A host that gave no usable answer: which, why, and in what words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostError {
    /// Why.
    pub kind: HostErrorKind,
    /// `host` or `host:port`, as [`authority`](super::authority) writes it: the key of per-host limits.
    pub host: Box<str>,
    /// One line for people. Text of strangers in it is short and printable.
    pub detail: Box<str>,
    /// Set when we did not ask at all because the host failed often or asked for a pause: it is not asked before.
    pub not_before: Option<DateTime<Utc>>,
    /// Whether the host certainly got nothing of the request. `false` where that is not known: what it was asked to change
    /// may be changed.
    pub never_sent: bool,
}

impl HostError {
    pub(super) fn new(kind: HostErrorKind, host: impl Into<Box<str>>, detail: impl Into<Box<str>>) -> Self {
        HostError { kind, host: host.into(), detail: detail.into(), not_before: None, never_sent: false }
    }

    /// Whether the same call may succeed later without anybody doing something about it. `false` for what is true of
    /// the answer itself: asking again yields the same.
    pub fn passes(&self) -> bool {
        match &self.kind {
            HostErrorKind::RateLimited { .. }
            | HostErrorKind::NoSuchHost
            | HostErrorKind::Unreachable
            | HostErrorKind::Timeout
            | HostErrorKind::CutOff
            // A web page in place of an answer is what a proxy shows while the host behind it is away.
            | HostErrorKind::NotXrpc => true,
            // 408 and 425 ask for a repetition; 401, 403 and 404 are told by hosts that are being set up, but as a rule stay.
            HostErrorKind::Status { code, .. } => *code >= 500 || matches!(code, 408 | 425 | 429),
            HostErrorKind::Guard | HostErrorKind::TooLarge | HostErrorKind::Malformed => false,
        }
    }

    /// What an operator may do about it, in one line.
    pub fn advice(&self) -> &'static str {
        match &self.kind {
            HostErrorKind::RateLimited { .. } => "wait; lower network.host_requests_per_second if it happens often",
            HostErrorKind::Guard => {
                "if this host is one of your own, name it in the settings or set network.allow_private"
            }
            HostErrorKind::NoSuchHost => "the account's document names a host that does not exist; nothing to do here",
            HostErrorKind::Unreachable => "see that the host is up, its certificate is valid and we may connect to it",
            HostErrorKind::Timeout => "the host is slow or silent; it is asked again later",
            HostErrorKind::Status { code: 500.., .. } => "the host has trouble of its own; it is asked again later",
            HostErrorKind::Status { .. } => "the host refuses; its words say why",
            HostErrorKind::NotXrpc => {
                "see that the address is an AT Protocol host and not a web page or a proxy's notice"
            }
            HostErrorKind::TooLarge => "the answer is larger than is taken; another strategy may do with less",
            HostErrorKind::CutOff => "the host or a proxy ends its answers early; it is asked again later",
            HostErrorKind::Malformed => {
                "the host's software answers what the protocol does not allow; tell its operator"
            }
        }
    }

    /// A closed set of words, for metric labels and stored reasons.
    pub fn as_str(&self) -> &'static str {
        match &self.kind {
            HostErrorKind::RateLimited { .. } => "rate_limited",
            HostErrorKind::Guard => "guard",
            HostErrorKind::NoSuchHost => "no_such_host",
            HostErrorKind::Unreachable => "unreachable",
            HostErrorKind::Timeout => "timeout",
            HostErrorKind::Status { code: 500.., .. } => "server_error",
            HostErrorKind::Status { .. } => "refused",
            HostErrorKind::NotXrpc => "not_xrpc",
            HostErrorKind::TooLarge => "too_large",
            HostErrorKind::CutOff => "cut_off",
            HostErrorKind::Malformed => "malformed",
        }
    }

    /// Every word of [`as_str`](Self::as_str).
    pub const WORDS: &'static [&'static str] = &[
        "rate_limited",
        "guard",
        "no_such_host",
        "unreachable",
        "timeout",
        "server_error",
        "refused",
        "not_xrpc",
        "too_large",
        "cut_off",
        "malformed",
    ];

    /// The name of the XRPC error, if the host told one.
    pub fn xrpc_name(&self) -> Option<&str> {
        match &self.kind {
            HostErrorKind::Status { name, .. } => name.as_deref(),
            _ => None,
        }
    }

    /// What the host says of the repository that it does not serve, if it is about that. Read it after calls that name
    /// a DID.
    pub fn repo_problem(&self) -> Option<RepoProblem> {
        match self.xrpc_name()? {
            "RepoNotFound" => Some(RepoProblem::NotFound),
            "RepoTakendown" | "AccountTakedown" => Some(RepoProblem::Takendown),
            "RepoSuspended" => Some(RepoProblem::Suspended),
            "RepoDeactivated" | "AccountDeactivated" => Some(RepoProblem::Deactivated),
            _ => None,
        }
    }

    /// How long to leave the host alone at least, from now. Zero when it may be asked at once.
    pub fn pause(&self) -> Duration {
        let until = match &self.kind {
            HostErrorKind::RateLimited { until } => Some(*until),
            _ => self.not_before,
        };
        until.and_then(|until| (until - Utc::now()).to_std().ok()).unwrap_or_default()
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.host, self.detail)
    }
}

impl std::error::Error for HostError {}

/// Why there is no document of a DID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Nobody has such a DID: the directory or the did:web host says so.
    #[error("there is no such DID")]
    NotFound,
    /// It existed and was given up for good.
    #[error("the DID is tombstoned")]
    Tombstoned,
    /// Nobody can say now.
    #[error("the DID cannot be resolved now: {0}")]
    Unreachable(HostError),
    /// There is an answer, but not one that can be used.
    #[error("the DID cannot be used: {0}")]
    Malformed(Box<str>),
    /// Neither `did:plc` nor a `did:web` that the protocol allows.
    #[error("a DID of this kind is not supported: {0}")]
    Unsupported(Box<str>),
}

impl IdentityError {
    /// Whether asking again later may help without anybody doing something about it.
    pub fn passes(&self) -> bool {
        match self {
            IdentityError::Unreachable(error) => error.passes(),
            // The directory answers thus for a DID that was made a moment ago, too; a minute later it is known.
            IdentityError::NotFound => false,
            IdentityError::Tombstoned | IdentityError::Malformed(_) | IdentityError::Unsupported(_) => false,
        }
    }

    /// A closed set of words, for metric labels and stored reasons.
    pub fn as_str(&self) -> &'static str {
        match self {
            IdentityError::NotFound => "not_found",
            IdentityError::Tombstoned => "tombstoned",
            IdentityError::Unreachable(_) => "unreachable",
            IdentityError::Malformed(_) => "malformed",
            IdentityError::Unsupported(_) => "unsupported",
        }
    }
}

/// A stranger's text made fit for a log line: one line, no control characters, at most 200 characters.
pub(super) fn plain(text: &str) -> String {
    let cleaned = text.chars().take(2_000).map(|c| if c.is_whitespace() || c.is_control() { ' ' } else { c });
    let cleaned: String = cleaned.collect();
    cleaned.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ").chars().take(200).collect()
}
