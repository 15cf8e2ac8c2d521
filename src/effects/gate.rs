//! The gate: whether an event may be told. Pure, over plain facts; the first reason against it is the one that is given.

use super::subscription::{Kind, Subscription};
use crate::event::{Environment, Origin, Position, Verification};
use crate::event_log::Told;

/// How an account stands now, as far as that forbids to speak of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Its records are refused in this environment.
    pub refused: bool,
    /// Its host, or its owner, withholds it.
    pub hidden: bool,
}

/// What is known of an event when it is to be decided whether it is told.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Its place in the log.
    pub position: Position,
    /// The environment that it entered.
    pub environment: &'a str,
    /// What it does to a record; `None` when it is about none.
    pub kind: Option<Kind>,
    /// Whose it was; `None` when that cannot be read.
    pub origin: Option<Origin>,
    /// Whether it came from a stream that ran then.
    pub live: bool,
    /// What was proven of it; `None` when that cannot be read.
    pub verification: Option<Verification>,
    /// How its account stands now.
    pub account: Account,
    /// Whose account.
    pub did: &'a str,
    /// The record's collection.
    pub collection: &'a str,
}

impl<'a> Facts<'a> {
    /// The facts about an event of the log.
    pub fn of(told: &'a Told, account: Account) -> Self {
        Facts {
            position: told.position,
            environment: &told.environment,
            kind: Kind::from_word(&told.kind).filter(|_| told.collection.is_some() && told.rkey.is_some()),
            origin: told.origin,
            live: told.live,
            verification: told.verification,
            account,
            did: told.did.as_str(),
            collection: told.collection.as_ref().map_or("", |collection| collection.as_str()),
        }
    }
}

/// Why an event is not told. A closed set: every one is a metric series from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suppressed {
    /// It entered another environment than this process's.
    Environment,
    /// It is no put and no delete of a record.
    NoRecord,
    /// It did not come from a stream that ran then: it was fetched, replayed, or released.
    NotLive,
    /// Nothing proves that the account wrote it.
    Unverified,
    /// The account is refused in this environment now.
    AccountRefused,
    /// The account is withheld by its host or its owner now.
    AccountHidden,
    /// The subscription does not want this origin.
    Origin,
    /// It entered before the subscription began.
    BeforeSubscription,
    /// The subscription does not want this collection.
    Collection,
    /// The subscription does not want puts, or deletes.
    Kind,
    /// The subscription does not want this account.
    Did,
}

impl Suppressed {
    /// Every reason there is.
    pub const ALL: [Suppressed; 11] = [
        Suppressed::Environment,
        Suppressed::NoRecord,
        Suppressed::NotLive,
        Suppressed::Unverified,
        Suppressed::AccountRefused,
        Suppressed::AccountHidden,
        Suppressed::Origin,
        Suppressed::BeforeSubscription,
        Suppressed::Collection,
        Suppressed::Kind,
        Suppressed::Did,
    ];

    /// The word in metric labels and as shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Suppressed::Environment => "environment",
            Suppressed::NoRecord => "no_record",
            Suppressed::NotLive => "not_live",
            Suppressed::Unverified => "unverified",
            Suppressed::AccountRefused => "account_refused",
            Suppressed::AccountHidden => "account_hidden",
            Suppressed::Origin => "origin",
            Suppressed::BeforeSubscription => "before_subscription",
            Suppressed::Collection => "collection",
            Suppressed::Kind => "kind",
            Suppressed::Did => "did",
        }
    }

    /// What it means, in a line.
    pub fn says(self) -> &'static str {
        match self {
            Suppressed::Environment => "it entered another environment than this one",
            Suppressed::NoRecord => "it neither puts nor deletes a record",
            Suppressed::NotLive => "it was fetched or replayed, and did not enter live",
            Suppressed::Unverified => "nothing proves that the account wrote it",
            Suppressed::AccountRefused => "the account is refused in this environment",
            Suppressed::AccountHidden => "the account is withheld by its host or its owner",
            Suppressed::Origin => "the subscription does not want this origin",
            Suppressed::BeforeSubscription => "it entered before the subscription began",
            Suppressed::Collection => "the subscription does not want this collection",
            Suppressed::Kind => "the subscription does not want this kind of change",
            Suppressed::Did => "the subscription does not want this account",
        }
    }
}

/// Whether the event of these facts may be told to `subscription`, which began after position `since`, by a process of
/// `environment`.
///
/// # Errors
/// The first reason why not. What is not known counts as a reason.
pub fn judge(
    facts: &Facts<'_>,
    environment: &Environment,
    subscription: &Subscription,
    since: Position,
) -> Result<Kind, Suppressed> {
    if facts.environment != environment.as_str() {
        return Err(Suppressed::Environment);
    }
    let Some(kind) = facts.kind else { return Err(Suppressed::NoRecord) };
    if !facts.live {
        return Err(Suppressed::NotLive);
    }
    let proven = [Verification::Full, Verification::Signature, Verification::Snapshot];
    if !facts.verification.is_some_and(|verification| proven.contains(&verification)) {
        return Err(Suppressed::Unverified);
    }
    if facts.account.refused {
        return Err(Suppressed::AccountRefused);
    }
    if facts.account.hidden {
        return Err(Suppressed::AccountHidden);
    }
    let wanted = &subscription.wanted;
    if !facts.origin.is_some_and(|origin| wanted.origins.contains(&origin)) {
        return Err(Suppressed::Origin);
    }
    if facts.position <= since {
        return Err(Suppressed::BeforeSubscription);
    }
    if !wanted.has_collection(facts.collection) {
        return Err(Suppressed::Collection);
    }
    if !wanted.kinds.contains(&kind) {
        return Err(Suppressed::Kind);
    }
    if !wanted.dids.is_empty() && !wanted.dids.iter().any(|did| did.as_str() == facts.did) {
        return Err(Suppressed::Did);
    }
    Ok(kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effects::{Secret, Wanted};
    use crate::event::Did;
    use crate::network::PostUrl;

    const EVENT: &str = "community.lexicon.calendar.event";
    const ANNA: &str = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";

    fn subscription(wanted: Wanted) -> Subscription {
        let secret = Secret::parse("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
        let url = PostUrl::parse("https://app.example.org/hook").unwrap();
        Subscription { name: "app".into(), url, secrets: vec![secret], wanted }
    }

    /// An event to which nothing can be said against.
    const GOOD: Facts<'_> = Facts {
        position: 11,
        environment: "prod",
        kind: Some(Kind::Put),
        origin: Some(Origin::Network),
        live: true,
        verification: Some(Verification::Full),
        account: Account { refused: false, hidden: false },
        did: ANNA,
        collection: EVENT,
    };

    fn decide(facts: Facts<'_>, wanted: Wanted) -> Result<Kind, Suppressed> {
        judge(&facts, &Environment::parse("prod").unwrap(), &subscription(wanted), 10)
    }

    #[test]
    fn each_condition_alone_suppresses() {
        assert_eq!(decide(GOOD, Wanted::default()), Ok(Kind::Put));
        assert_eq!(decide(Facts { kind: Some(Kind::Delete), ..GOOD }, Wanted::default()), Ok(Kind::Delete));
        let refused = Account { refused: true, hidden: false };
        let hidden = Account { refused: false, hidden: true };
        for (facts, reason) in [
            (Facts { environment: "dev", ..GOOD }, Suppressed::Environment),
            (Facts { environment: "", ..GOOD }, Suppressed::Environment),
            (Facts { kind: None, ..GOOD }, Suppressed::NoRecord),
            (Facts { live: false, ..GOOD }, Suppressed::NotLive),
            (Facts { verification: Some(Verification::None), ..GOOD }, Suppressed::Unverified),
            (Facts { verification: Some(Verification::Listed), ..GOOD }, Suppressed::Unverified),
            (Facts { verification: None, ..GOOD }, Suppressed::Unverified),
            (Facts { account: refused, ..GOOD }, Suppressed::AccountRefused),
            (Facts { account: hidden, ..GOOD }, Suppressed::AccountHidden),
            (Facts { origin: Some(Origin::OwnHostStranger), ..GOOD }, Suppressed::Origin),
            (Facts { origin: None, ..GOOD }, Suppressed::Origin),
            (Facts { position: 10, ..GOOD }, Suppressed::BeforeSubscription),
        ] {
            assert_eq!(decide(facts, Wanted::default()), Err(reason), "{facts:?}");
        }
        for (verification, told) in [(Verification::Signature, true), (Verification::Snapshot, true)] {
            let facts = Facts { verification: Some(verification), ..GOOD };
            assert_eq!(decide(facts, Wanted::default()).is_ok(), told, "{verification:?}");
        }
    }

    #[test]
    fn a_subscription_hears_what_it_wants() {
        let own = || Wanted { origins: vec![Origin::Own], ..Wanted::default() };
        assert_eq!(decide(GOOD, own()), Err(Suppressed::Origin));
        assert_eq!(decide(Facts { origin: Some(Origin::Own), ..GOOD }, own()), Ok(Kind::Put));
        let deletes = || Wanted { kinds: vec![Kind::Delete], ..Wanted::default() };
        assert_eq!(decide(GOOD, deletes()), Err(Suppressed::Kind));
        assert_eq!(decide(Facts { kind: Some(Kind::Delete), ..GOOD }, deletes()), Ok(Kind::Delete));
        for (collections, told) in [
            (&[EVENT][..], true),
            (&["a.b.c", "community.lexicon.calendar.*"], true),
            (&["community.lexicon.calendar.rsvp"], false),
            (&["community.lexicon.calendar.event.*"], false),
            (&["community.lexicon.cal*"], false),
            (&[], true),
        ] {
            let collections = collections.iter().map(|name| (*name).into()).collect();
            let told = if told { Ok(Kind::Put) } else { Err(Suppressed::Collection) };
            assert_eq!(decide(GOOD, Wanted { collections, ..Wanted::default() }), told);
        }
        for (did, told) in [(ANNA, Ok(Kind::Put)), ("did:plc:bbbbbbbbbbbbbbbbbbbbbbbb", Err(Suppressed::Did))] {
            let dids = vec![Did::parse(did).unwrap()];
            assert_eq!(decide(GOOD, Wanted { dids, ..Wanted::default() }), told);
        }
    }

    #[test]
    fn every_reason_has_a_word_of_its_own() {
        let words: std::collections::BTreeSet<&str> = Suppressed::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(words.len(), Suppressed::ALL.len());
    }
}
