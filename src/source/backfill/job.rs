//! The words for jobs.

use std::fmt;
use std::str::FromStr;

use crate::event::Did;

/// Text that is no word of the named list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {kind}; it is one of {}", known.join(", "))]
pub struct UnknownWord {
    kind: &'static str,
    text: String,
    known: Vec<&'static str>,
}

/// Declares a closed list of words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $kind:literal, { $($(#[$each:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$each])* $variant,)*
        }

        impl $name {
            /// Every one there is.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            /// The word as stored and shown.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)*
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                $name::ALL.iter().copied().find(|word| word.as_str() == text).ok_or_else(|| UnknownWord {
                    kind: $kind,
                    text: text.chars().take(60).collect(),
                    known: $name::ALL.iter().map(|word| word.as_str()).collect(),
                })
            }
        }
    };
}

words!(
    /// Why an account is looked at.
    Reason, "reason", {
        /// Found by discovery on a new database.
        FirstStart = "first_start",
        /// It came into scope.
        NewAccount = "new_account",
        /// A frame did not chain to what we hold.
        Desynchronized = "desynchronized",
        /// An upstream lost frames that may have been about it.
        Gap = "gap",
        /// It is compared with its host every so often.
        Coverage = "coverage",
        /// It came back after its content was thrown away.
        Reactivated = "reactivated",
        /// It may enter again, or somebody listed it.
        Origin = "origin",
        /// Somebody asked for it.
        Asked = "asked",
    }
);

impl Reason {
    /// How urgent that is; larger goes first. A known gap goes before what may be one.
    pub fn priority(self) -> i32 {
        match self {
            Reason::Asked => 60,
            Reason::Desynchronized => 50,
            Reason::Origin => 45,
            Reason::Reactivated => 40,
            Reason::NewAccount => 30,
            Reason::Gap => 20,
            Reason::FirstStart => 10,
            Reason::Coverage => 0,
        }
    }
}

words!(
    /// How a repository is fetched.
    Strategy, "strategy", {
        /// The cheapest that the host can do: sparse, else car, else list.
        Auto = "auto",
        /// Only the part of the signed tree that leads to followed records.
        Sparse = "sparse",
        /// The whole signed repository.
        Car = "car",
        /// The records as the host lists them, without a proof.
        List = "list",
    }
);

words!(
    /// Where a job stands.
    JobState, "state of a job", {
        /// Waits for its turn.
        Queued = "queued",
        /// Under way.
        Running = "running",
        /// Ended well.
        Done = "done",
        /// Given up for now, under a named outcome.
        Failed = "failed",
    }
);

words!(
    /// How a job ended.
    Outcome, "outcome", {
        /// The host shows what we hold.
        Unchanged = "unchanged",
        /// Fetched by [`Strategy::Sparse`].
        FetchedSparse = "fetched_sparse",
        /// Fetched by [`Strategy::Car`].
        FetchedCar = "fetched_car",
        /// Fetched by [`Strategy::List`].
        FetchedList = "fetched_list",
        /// The host withholds the repository: deactivated, suspended, taken down or deleted.
        Inactive = "inactive",
        /// The host that the DID document names has no such repository.
        NotFound = "not_found",
        /// The directory says that the DID was given up.
        Tombstoned = "tombstoned",
        /// The host shows an older revision than we hold.
        RolledBack = "rolled_back",
        /// What the host sent breaks the protocol: a wrong signature, lying blocks, another account.
        Refused = "refused",
        /// The host answers, but not with what was asked for.
        HostError = "host_error",
        /// The host asks to be asked less.
        RateLimited = "rate_limited",
        /// The host does not answer, or may not be asked.
        HostUnreachable = "host_unreachable",
        /// The DID document cannot be got, or names no host or key.
        IdentityUnresolved = "identity_unresolved",
        /// The policy does not take this account.
        NotAllowed = "not_allowed",
    }
);

impl Outcome {
    /// Whether the account is as its host shows it, or its host says why there is nothing to show.
    pub fn is_good(self) -> bool {
        matches!(
            self,
            Outcome::Unchanged
                | Outcome::FetchedSparse
                | Outcome::FetchedCar
                | Outcome::FetchedList
                | Outcome::Inactive
                | Outcome::NotAllowed
                | Outcome::Tombstoned
        )
    }
}

/// An account to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRequest {
    /// Which one.
    pub did: Did,
    /// Why.
    pub reason: Reason,
    /// How to fetch it, if it must be fetched.
    pub strategy: Strategy,
    /// Larger goes first.
    pub priority: i32,
}

impl JobRequest {
    /// With the reason's own priority, by whichever strategy fits.
    pub fn new(did: Did, reason: Reason) -> Self {
        JobRequest { did, reason, strategy: Strategy::Auto, priority: reason.priority() }
    }
}

/// A job that was claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Which account.
    pub did: Did,
    /// Why.
    pub reason: Reason,
    /// How to fetch it.
    pub strategy: Strategy,
    /// How often it has been tried since it was asked for; this time included.
    pub attempts: i32,
    /// The host that was asked the last time.
    pub host: Option<Box<str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written() {
        for reason in Reason::ALL {
            assert_eq!(reason.as_str().parse(), Ok(*reason));
        }
        let error = "fast".parse::<Strategy>().unwrap_err().to_string();
        assert!(error.contains("\"fast\"") && error.contains("sparse"), "{error}");
    }
}
