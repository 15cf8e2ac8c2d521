//! What may go wrong with an intent, whether it is tried again, and what to do about it: the one table of this room.

use std::time::Duration;

use crate::identity::ActError;
use crate::network::{HostError, HostErrorKind};

/// What happens to an intent after a trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passes: tried again, after a pause that grows with every failure.
    Retry,
    /// It passes at a moment that is known or guessed: tried again then, and no attempt is counted.
    Wait,
    /// Somebody must do something, and then it goes on by itself: tried again after the longest pause.
    Ask(Who),
    /// The same again would fail again for ever: it ends as refused, and whoever wants it wishes anew.
    GiveUp,
    /// The PDS holds something else than we knew: it ends as conflict, and the app decides.
    Conflict,
}

/// Who can do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Whoever runs this service.
    Operator,
    /// Whose account it is.
    User,
}

/// Declares the table: the name, its word, what follows, and what to do about it.
macro_rules! troubles {
    ($($(#[$doc:meta])* $name:ident $word:literal $verdict:expr, $advice:literal;)*) => {
        /// Why an intent is not done.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Trouble {
            $($(#[$doc])* $name,)*
        }

        impl Trouble {
            /// Every trouble.
            pub const ALL: &'static [Trouble] = &[$(Trouble::$name),*];
            /// The word of each, in the same order: a closed set, stored, shown, and the value of a metric's label.
            pub const WORDS: &'static [&'static str] = &[$($word),*];

            /// The word as stored and shown.
            pub fn as_str(self) -> &'static str {
                match self { $(Trouble::$name => $word,)* }
            }

            /// What follows.
            pub fn verdict(self) -> Verdict {
                match self { $(Trouble::$name => $verdict,)* }
            }

            /// What to do about it, in one line.
            pub fn advice(self) -> &'static str {
                match self { $(Trouble::$name => $advice,)* }
            }
        }
    };
}

troubles! {
    /// No connection, or one that broke before the answer began.
    Unreachable "unreachable" Verdict::Retry, "the PDS is down or cannot be reached; it goes on by itself when it is back";
    /// No answer in time.
    Timeout "timeout" Verdict::Retry, "the PDS is slow or silent; it goes on by itself";
    /// The PDS's name has no address.
    NoSuchHost "no_such_host" Verdict::Retry, "the PDS's name has no address; see that its DNS entry is there, or that the account's PDS is right (`almanac identity show`)";
    /// HTTP 5xx.
    ServerError "server_error" Verdict::Retry, "the PDS has trouble of its own; if it stays, look into the PDS's log";
    /// A web page in place of an answer.
    NotXrpc "not_xrpc" Verdict::Retry, "something that is no PDS answers at the PDS's address; see that the proxy before it leads to it";
    /// The answer ended in its middle.
    CutOff "cut_off" Verdict::Retry, "the PDS or a proxy ends its answers early; it goes on by itself";
    /// The answer cannot be read.
    Malformed "malformed" Verdict::Ask(Who::Operator), "the PDS answers what the protocol does not allow; see which software runs there";
    /// The answer is larger than is taken.
    TooLarge "too_large" Verdict::Ask(Who::Operator), "the PDS answers more than is taken; see which software runs there";
    /// HTTP 429.
    RateLimited "rate_limited" Verdict::Wait, "the PDS limits us; it goes on when the PDS allows it. Lower publish.points_per_hour if it happens often";
    /// An address that we do not ask.
    Guard "guard" Verdict::Ask(Who::Operator), "the PDS's address is one that we do not ask; if it is your own, name it in pds.url or set network.allow_private";
    /// The PDS is not this environment's.
    NotOurs "not_ours" Verdict::Ask(Who::Operator), "declare the PDS for this environment in origin.hosts if its accounts are to be written to";
    /// Our own budget for the account is spent.
    Budget "budget" Verdict::Wait, "the account's budget of writes is spent; it goes on when the hour or the day allows it";
    /// The event that an RSVP answers to is not known by its version.
    SubjectUnknown "subject_unknown" Verdict::Retry, "the event that it answers to is not there or cannot be asked for; it goes on when it is, or name its version in subject.cid";
    /// Others write the same record faster than we do.
    Contended "contended" Verdict::Retry, "somebody else writes the same record at the same time; it goes on by itself";
    /// The access token is not taken.
    Token "token" Verdict::Retry, "the PDS did not take our token; a new one is asked for by itself";
    /// HTTP 401 or 403 for another reason.
    NotAllowed "not_allowed" Verdict::Ask(Who::User), "the PDS does not let us write for this account; its words say why";
    /// The account is switched off.
    Deactivated "deactivated" Verdict::Ask(Who::User), "the account is switched off; it goes on when its owner switches it on";
    /// The account is taken down.
    TakenDown "taken_down" Verdict::Ask(Who::Operator), "the PDS took the account down; whoever runs the PDS can restore it";
    /// The PDS has no such account.
    RepoNotFound "repo_not_found" Verdict::Ask(Who::Operator), "the PDS has no such account; if it moved, link it anew (`almanac identity link`)";
    /// The PDS does not take what we send.
    Invalid "invalid" Verdict::GiveUp, "the PDS does not take this record; change what its words name, and publish it again";
    /// More bytes than the PDS takes.
    PayloadTooLarge "payload_too_large" Verdict::GiveUp, "the record is larger than the PDS takes; shorten it, and publish it again";
    /// Another refusal.
    Refused "refused" Verdict::Ask(Who::Operator), "the PDS refuses; its words say why";
    /// The user has no account, or another one than the record's.
    NoAccount "no_account" Verdict::Ask(Who::Operator), "the user is not linked with the account that has this record; link them again (`almanac identity link`)";
    /// We hold nothing that lets us act for the account.
    NoRights "no_rights" Verdict::Ask(Who::User), "we may not act for this account; its owner has to allow it";
    /// What we hold does not open the account any more.
    Dead "dead" Verdict::Ask(Who::User), "what we hold does not open the account any more; its owner has to sign in again, or `almanac identity import` brings its password";
    /// The grant under which somebody else asked is over.
    NoGrant "no_grant" Verdict::GiveUp, "the owner of the record took the grant back, or it ended; he can give a new one, and the wish can be repeated";
    /// Our own database or vault.
    Ours "ours" Verdict::Retry, "our own database or key ring did not answer; see this service's log";
    /// Both sides changed the same fields.
    Conflicting "conflict" Verdict::Conflict, "both sides changed the same fields, and the PDS's version stays; edit that version and publish again with its CID in if_match";
    /// The record was deleted by somebody else.
    DeletedElsewhere "deleted_elsewhere" Verdict::Conflict, "the record was deleted elsewhere; publish it again to make it anew";
}

impl Trouble {
    /// Reads a stored word.
    pub fn from_word(word: &str) -> Option<Self> {
        Trouble::ALL.iter().copied().find(|trouble| trouble.as_str() == word)
    }

    /// Of a call that a host did not do.
    pub fn of_host(error: &HostError) -> Self {
        match &error.kind {
            HostErrorKind::RateLimited { .. } => Trouble::RateLimited,
            HostErrorKind::Guard => Trouble::Guard,
            HostErrorKind::NoSuchHost => Trouble::NoSuchHost,
            HostErrorKind::Unreachable => Trouble::Unreachable,
            HostErrorKind::Timeout => Trouble::Timeout,
            HostErrorKind::NotXrpc => Trouble::NotXrpc,
            HostErrorKind::TooLarge => Trouble::TooLarge,
            HostErrorKind::CutOff => Trouble::CutOff,
            HostErrorKind::Malformed => Trouble::Malformed,
            HostErrorKind::Status { code, name, .. } => Trouble::of_status(*code, name.as_deref().unwrap_or_default()),
        }
    }

    /// Of an HTTP status and the name of the XRPC error. A name that we know counts more than the status, but for those of
    /// the host's own trouble.
    fn of_status(code: u16, name: &str) -> Self {
        match (code, name) {
            (500.., _) => Trouble::ServerError,
            (429, _) | (_, "RateLimitExceeded") => Trouble::RateLimited,
            (408 | 425, _) => Trouble::Timeout,
            (413, _) | (_, "PayloadTooLarge") => Trouble::PayloadTooLarge,
            (_, "InvalidSwap") => Trouble::Contended,
            (_, "ExpiredToken" | "InvalidToken") => Trouble::Token,
            (_, "AccountDeactivated" | "RepoDeactivated") => Trouble::Deactivated,
            (_, "AccountTakedown" | "RepoTakendown" | "AccountSuspended" | "RepoSuspended") => Trouble::TakenDown,
            (_, "RepoNotFound" | "AccountNotFound") => Trouble::RepoNotFound,
            (400, "InvalidRequest" | "InvalidRecord") => Trouble::Invalid,
            (401 | 403, _) => Trouble::NotAllowed,
            _ => Trouble::Refused,
        }
    }

    /// Of acting for an account.
    pub fn of_act(error: &ActError) -> Self {
        match error {
            ActError::NoAccount(_) => Trouble::NoAccount,
            ActError::NoRights { .. } => Trouble::NoRights,
            ActError::Dead { .. } => Trouble::Dead,
            ActError::Host(error) => Trouble::of_host(error),
            ActError::Ours(_) => Trouble::Ours,
        }
    }

    /// Whether it says that the PDS as a whole is away, so that others need not find out each for himself.
    pub(super) fn is_of_the_host(self) -> bool {
        matches!(
            self,
            Trouble::Unreachable | Trouble::Timeout | Trouble::NoSuchHost | Trouble::NotXrpc | Trouble::CutOff
        )
    }

    /// The pause before the next attempt, after so many failed ones (from 1 on). `told` is what the PDS or the budget asks for
    /// at least; `chance`, from 0 to 1, moves it by up to a fifth, so that what failed together does not come back together.
    /// `None`: there is no next attempt.
    pub(super) fn pause(self, failed: u32, limits: Pauses, told: Duration, chance: f64) -> Option<Duration> {
        let doubled =
            limits.first.saturating_mul(1u32.checked_shl(failed.saturating_sub(1).min(30)).unwrap_or(u32::MAX));
        let pause = match self.verdict() {
            Verdict::Retry => doubled.min(limits.max),
            Verdict::Wait => limits.first,
            Verdict::Ask(_) => limits.max,
            Verdict::GiveUp | Verdict::Conflict => return None,
        };
        let chance = chance.clamp(0.0, 1.0);
        // A pause that is told is never cut short.
        Some(pause.mul_f64(0.8 + 0.4 * chance).max(told + limits.first.mul_f64(0.5 * chance).min(told)))
    }
}

/// How long pauses are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pauses {
    /// After a first failure.
    pub first: Duration,
    /// The longest.
    pub max: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Did;

    fn status(code: u16, name: &str) -> HostError {
        let name = (!name.is_empty()).then(|| name.into());
        let kind = HostErrorKind::Status { code, name, message: None };
        HostError { kind, host: "pds.test".into(), detail: "".into(), not_before: None, never_sent: false }
    }

    fn host(kind: HostErrorKind) -> HostError {
        HostError { kind, ..status(0, "") }
    }

    /// Each row once, as what leads there and what follows.
    #[test]
    fn every_row_of_the_table() {
        use Trouble as T;
        use Verdict::{Ask, Conflict, GiveUp, Retry, Wait};
        use Who::{Operator, User};
        let did = Did::parse("did:plc:abc").unwrap();
        let of = |error: HostError| Some(Trouble::of_act(&ActError::Host(error)));
        let limited = HostErrorKind::RateLimited { until: chrono::DateTime::UNIX_EPOCH };
        let rows: Vec<(Option<Trouble>, Trouble, Verdict)> = vec![
            (of(host(HostErrorKind::Unreachable)), T::Unreachable, Retry),
            (of(host(HostErrorKind::Timeout)), T::Timeout, Retry),
            (of(status(408, "")), T::Timeout, Retry),
            (of(host(HostErrorKind::NoSuchHost)), T::NoSuchHost, Retry),
            (of(status(500, "InternalServerError")), T::ServerError, Retry),
            (of(status(502, "RepoNotFound")), T::ServerError, Retry),
            (of(host(HostErrorKind::NotXrpc)), T::NotXrpc, Retry),
            (of(host(HostErrorKind::CutOff)), T::CutOff, Retry),
            (of(host(HostErrorKind::Malformed)), T::Malformed, Ask(Operator)),
            (of(host(HostErrorKind::TooLarge)), T::TooLarge, Ask(Operator)),
            (of(host(limited)), T::RateLimited, Wait),
            (of(status(429, "")), T::RateLimited, Wait),
            (of(status(400, "RateLimitExceeded")), T::RateLimited, Wait),
            (of(host(HostErrorKind::Guard)), T::Guard, Ask(Operator)),
            (None, T::NotOurs, Ask(Operator)),
            (None, T::Budget, Wait),
            (None, T::SubjectUnknown, Retry),
            (of(status(400, "InvalidSwap")), T::Contended, Retry),
            (of(status(400, "InvalidToken")), T::Token, Retry),
            (of(status(400, "ExpiredToken")), T::Token, Retry),
            (of(status(401, "AuthenticationRequired")), T::NotAllowed, Ask(User)),
            (of(status(403, "ScopeMissingError")), T::NotAllowed, Ask(User)),
            (of(status(401, "AccountDeactivated")), T::Deactivated, Ask(User)),
            (of(status(400, "RepoDeactivated")), T::Deactivated, Ask(User)),
            (of(status(401, "AccountTakedown")), T::TakenDown, Ask(Operator)),
            (of(status(400, "RepoSuspended")), T::TakenDown, Ask(Operator)),
            (of(status(400, "RepoNotFound")), T::RepoNotFound, Ask(Operator)),
            (of(status(400, "InvalidRequest")), T::Invalid, GiveUp),
            (of(status(400, "InvalidRecord")), T::Invalid, GiveUp),
            (of(status(413, "")), T::PayloadTooLarge, GiveUp),
            (of(status(400, "PayloadTooLarge")), T::PayloadTooLarge, GiveUp),
            (of(status(404, "")), T::Refused, Ask(Operator)),
            (of(status(400, "SomethingElse")), T::Refused, Ask(Operator)),
            (Some(Trouble::of_act(&ActError::NoAccount("u".into()))), T::NoAccount, Ask(Operator)),
            (
                Some(Trouble::of_act(&ActError::NoRights { did: did.clone(), why: String::new() })),
                T::NoRights,
                Ask(User),
            ),
            (Some(Trouble::of_act(&ActError::Dead { did, why: String::new() })), T::Dead, Ask(User)),
            (Some(Trouble::of_act(&ActError::Ours(String::new()))), T::Ours, Retry),
            (None, T::NoGrant, GiveUp),
            (None, T::Conflicting, Conflict),
            (None, T::DeletedElsewhere, Conflict),
        ];
        for (found, wanted, verdict) in &rows {
            assert_eq!(found.unwrap_or(*wanted), *wanted);
            assert_eq!(wanted.verdict(), *verdict, "{wanted:?}");
        }
        for (trouble, word) in Trouble::ALL.iter().zip(Trouble::WORDS) {
            assert!(rows.iter().any(|(_, wanted, _)| wanted == trouble), "{trouble:?} has no row here");
            assert_eq!((trouble.as_str(), Trouble::from_word(word)), (*word, Some(*trouble)));
            assert!(!trouble.advice().is_empty());
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_what_is_told_is_kept() {
        let limits = Pauses { first: Duration::from_secs(1), max: Duration::from_secs(60) };
        let pause = |trouble: Trouble, failed, told| {
            trouble.pause(failed, limits, Duration::from_secs(told), 0.5).map(|pause| pause.as_millis())
        };
        let doubling: Vec<_> = [1, 2, 3, 7, 100].map(|failed| pause(Trouble::Timeout, failed, 0)).into();
        assert_eq!(doubling, [1_000, 2_000, 4_000, 60_000, 60_000].map(Some));
        assert_eq!(pause(Trouble::Deactivated, 1, 0), Some(60_000), "somebody has to do something first");
        assert_eq!(pause(Trouble::Invalid, 1, 0), None);
        assert_eq!(pause(Trouble::Conflicting, 1, 0), None);
        assert!(pause(Trouble::RateLimited, 1, 600) >= Some(600_000), "Retry-After is longer than the longest pause");
        assert!(pause(Trouble::Timeout, 1, 600) >= Some(600_000));
        let by_chance = |chance| Trouble::Timeout.pause(1, limits, Duration::ZERO, chance).unwrap().as_millis();
        assert_eq!((by_chance(0.0), by_chance(1.0)), (800, 1_200));
        let told = |chance| Trouble::Budget.pause(1, limits, Duration::from_secs(9), chance).unwrap().as_millis();
        assert_eq!((told(0.0), told(1.0)), (9_000, 9_500), "never earlier than told, and not all at once");
    }
}
