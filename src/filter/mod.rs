//! Keep or drop, and why.
//!
//! In: a frame's outline, a [`Policy`], and whether the account is in scope. Out: a [`Verdict`]; and, of facts about an
//! account, whether its records may enter ([`decide`]). Always true: the same facts give the same verdict, and every way to
//! drop has a [`DropReason`] of its own. Never: IO, a clock, state.
//!
//! Account, identity, sync and chain events carry no collection, so a filter by collection alone would lose the
//! deletion of a calendar user. They are kept for accounts in scope; the account and identity words of all others are set
//! aside ([`Verdict::Bystander`]), because an account may come into scope after its word arrived.

mod did_set;
mod origin;
mod places;
mod policy;
mod publish;

pub use did_set::DidSet;
pub use origin::{Facts, Identity, decide};
pub use places::{Places, PlacesError, same_host};
pub use policy::{CollectionSet, DidRule, Policy, PolicyError};
pub use publish::PublishRefusal;

use crate::decode::{Kind, Outline, Reject};
use crate::event::Refusal;

/// Why a frame goes no further. A closed set: every one is a metric series from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DropReason {
    /// A commit without an operation in a followed collection, of an account out of scope.
    Collection,
    /// A sync of an account out of scope.
    OutOfScope,
    /// The account is not on the allowlist.
    NotAllowed,
    /// The account is on the deny list.
    Denied,
    /// The account, or what it came through, belongs to another environment of ours.
    Foreign,
    /// A PDS spoke for an account that lives elsewhere.
    WrongHost,
    /// This environment's directory does not know the account.
    Unknown,
    /// The account lives on a PDS of ours, is none of our users, and only listed accounts may enter.
    OwnHostStranger,
    /// A kind of frame that this version does not know.
    UnknownKind,
    /// A word from the host about the stream, not about an account.
    Notice,
    /// Outside the range of seq that a replay was asked for.
    SeqRange,
    /// A revision that is not newer than the last one of its repository.
    Duplicate,
    /// More frames wait for their account's key than may wait; its repository is fetched instead.
    HeldFull,
}

impl DropReason {
    /// Every reason there is.
    pub const ALL: &'static [DropReason] = &[
        DropReason::Collection,
        DropReason::OutOfScope,
        DropReason::NotAllowed,
        DropReason::Denied,
        DropReason::Foreign,
        DropReason::WrongHost,
        DropReason::Unknown,
        DropReason::OwnHostStranger,
        DropReason::UnknownKind,
        DropReason::Notice,
        DropReason::SeqRange,
        DropReason::Duplicate,
        DropReason::HeldFull,
    ];

    /// The name in reports and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            DropReason::Collection => "collection",
            DropReason::OutOfScope => "out_of_scope",
            DropReason::NotAllowed => "not_allowed",
            DropReason::Denied => "denied",
            DropReason::Foreign => "foreign",
            DropReason::WrongHost => "wrong_host",
            DropReason::Unknown => "unknown",
            DropReason::OwnHostStranger => "own_host_stranger",
            DropReason::UnknownKind => "unknown_kind",
            DropReason::Notice => "notice",
            DropReason::SeqRange => "seq_range",
            DropReason::Duplicate => "duplicate",
            DropReason::HeldFull => "held_full",
        }
    }
}

impl From<Refusal> for DropReason {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Foreign => DropReason::Foreign,
            Refusal::WrongHost => DropReason::WrongHost,
            Refusal::Denied => DropReason::Denied,
            Refusal::Unknown => DropReason::Unknown,
            Refusal::OwnHostStranger => DropReason::OwnHostStranger,
            Refusal::NotAllowed => DropReason::NotAllowed,
        }
    }
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is to be decoded and its events kept.
    Keep,
    /// A commit of an account in scope without a followed record: only its revision matters.
    Chain,
    /// An account or identity word of an account that is not in scope.
    Bystander,
    /// The host speaks about the stream: an info or an error.
    HostNotice,
    /// It goes no further.
    Drop(DropReason),
}

/// Judges a frame by its outline. Whether a commit's account may enter is not asked here: that is [`decide`]'s, and what it
/// refuses is kept in quarantine.
///
/// # Errors
/// A commit whose operations cannot be read.
pub fn judge(outline: &Outline<'_>, policy: &Policy, in_scope: impl FnOnce(&str) -> bool) -> Result<Verdict, Reject> {
    Ok(match outline.kind {
        Kind::Commit => {
            let followed = outline.ops.any_path(|path| policy.collections.covers(path))?;
            if !followed && !in_scope(outline.did) {
                return Ok(Verdict::Drop(DropReason::Collection));
            }
            if followed { Verdict::Keep } else { Verdict::Chain }
        }
        Kind::Sync | Kind::Identity | Kind::Account => match policy.refuses(outline.did) {
            Some(reason) => Verdict::Drop(reason),
            None if in_scope(outline.did) || policy.names(outline.did) => Verdict::Keep,
            None if outline.kind == Kind::Sync => Verdict::Drop(DropReason::OutOfScope),
            None => Verdict::Bystander,
        },
        Kind::Info | Kind::Error => Verdict::HostNotice,
        Kind::Unknown => Verdict::Drop(DropReason::UnknownKind),
    })
}

#[cfg(test)]
mod tests;
