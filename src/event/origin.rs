//! Whose an event is, seen from this environment, and which rule said so.

/// Whose a record that is kept is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// One of our own users.
    Own,
    /// Somebody who lives on a PDS of ours and is none of our users.
    OwnHostStranger,
    /// Anybody on this environment's network.
    Network,
}

impl Origin {
    /// Every origin there is.
    pub const ALL: [Origin; 3] = [Origin::Own, Origin::OwnHostStranger, Origin::Network];

    /// The word as stored in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Origin::Own => "own",
            Origin::OwnHostStranger => "own_host_stranger",
            Origin::Network => "network",
        }
    }

    /// Reads a stored word.
    pub fn from_word(word: &str) -> Option<Self> {
        Origin::ALL.into_iter().find(|origin| origin.as_str() == word)
    }
}

/// Why nothing of an account may enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// It belongs to another environment of ours, or came through one.
    Foreign,
    /// A PDS spoke for an account that lives elsewhere.
    WrongHost,
    /// It is on the deny list.
    Denied,
    /// Nobody in this environment's directory knows it.
    Unknown,
    /// It lives on a PDS of ours, is none of our users, and only listed accounts may enter.
    OwnHostStranger,
    /// Only listed accounts may enter, and it is not listed.
    NotAllowed,
}

impl Refusal {
    /// Every refusal there is.
    pub const ALL: [Refusal; 6] = [
        Refusal::Foreign,
        Refusal::WrongHost,
        Refusal::Denied,
        Refusal::Unknown,
        Refusal::OwnHostStranger,
        Refusal::NotAllowed,
    ];

    /// The word as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::Foreign => "foreign",
            Refusal::WrongHost => "wrong_host",
            Refusal::Denied => "denied",
            Refusal::Unknown => "unknown",
            Refusal::OwnHostStranger => "own_host_stranger",
            Refusal::NotAllowed => "not_allowed",
        }
    }

    /// Reads a stored word.
    pub fn from_word(word: &str) -> Option<Self> {
        Refusal::ALL.into_iter().find(|refusal| refusal.as_str() == word)
    }
}

/// What an account's records may do here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// They enter.
    Kept(Origin),
    /// Nobody can say now: they wait. What is here already stays as it is.
    Held,
    /// One of our users, on a host that is not the one we know: they wait until that is verified.
    Moved,
    /// They go to quarantine, and what is here already is hidden.
    Refused(Refusal),
}

impl Standing {
    /// The origin under which records enter, if they do.
    pub fn kept(self) -> Option<Origin> {
        match self {
            Standing::Kept(origin) => Some(origin),
            _ => None,
        }
    }

    /// Why nothing enters, if so.
    pub fn refused(self) -> Option<Refusal> {
        match self {
            Standing::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Whether it is a verdict, and not only the lack of one.
    pub fn is_decided(self) -> bool {
        matches!(self, Standing::Kept(_) | Standing::Refused(_))
    }

    /// What `as_str` leaves out: whether a word that stands for both means that records are kept.
    pub fn is_kept(self) -> bool {
        self.kept().is_some()
    }

    /// The word as shown, and, beside [`Standing::is_kept`], as stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Standing::Kept(origin) => origin.as_str(),
            Standing::Held => "held",
            Standing::Moved => "moved",
            Standing::Refused(refusal) => refusal.as_str(),
        }
    }

    /// Reads what was stored.
    pub fn from_words(kept: bool, word: &str) -> Option<Self> {
        match (kept, word) {
            (true, word) => Origin::from_word(word).map(Standing::Kept),
            (false, "held") => Some(Standing::Held),
            (false, "moved") => Some(Standing::Moved),
            (false, word) => Refusal::from_word(word).map(Standing::Refused),
        }
    }
}

/// Which rule decided, numbered as in the manual. The first one whose facts hold decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum OriginRule {
    /// What it came through is declared for another environment.
    DeclaredElsewhere = 1,
    /// A PDS that is followed directly spoke for an account that lives elsewhere.
    WrongHost = 2,
    /// The account is on the deny list.
    DenyList = 3,
    /// This environment's directory does not know the DID, or says that it was given up.
    NoIdentity = 4,
    /// The directory, or the host of a did:web, cannot be reached.
    Unreachable = 5,
    /// Its PDS or its handle belongs to another environment of ours.
    ForeignPlace = 6,
    /// One of our users, where we know them to be.
    OwnAccount = 7,
    /// One of our users, elsewhere.
    OwnMoved = 8,
    /// On a PDS of ours, and none of our users.
    OwnHostStranger = 9,
    /// The account is on the allowlist.
    AllowList = 10,
    /// Everybody is kept.
    NetworkMode = 11,
    /// Only listed accounts are kept.
    AllowlistMode = 12,
}

impl OriginRule {
    /// Every rule, in order.
    pub const ALL: [OriginRule; 12] = [
        OriginRule::DeclaredElsewhere,
        OriginRule::WrongHost,
        OriginRule::DenyList,
        OriginRule::NoIdentity,
        OriginRule::Unreachable,
        OriginRule::ForeignPlace,
        OriginRule::OwnAccount,
        OriginRule::OwnMoved,
        OriginRule::OwnHostStranger,
        OriginRule::AllowList,
        OriginRule::NetworkMode,
        OriginRule::AllowlistMode,
    ];

    /// 1 to 12.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The rule of that number.
    pub fn from_number(number: u8) -> Option<Self> {
        OriginRule::ALL.into_iter().find(|rule| rule.number() == number)
    }

    /// What the rule says, in a line.
    pub fn says(self) -> &'static str {
        match self {
            OriginRule::DeclaredElsewhere => "it came through something that is declared for another environment",
            OriginRule::WrongHost => "it came from a PDS on which the account does not live",
            OriginRule::DenyList => "the account is on the deny list",
            OriginRule::NoIdentity => "this environment's directory does not know the account, or its host gave it up",
            OriginRule::Unreachable => "who the account is cannot be found out now",
            OriginRule::ForeignPlace => "its PDS or its handle belongs to another of our environments",
            OriginRule::OwnAccount => "one of our users, on the PDS where we know them to be",
            OriginRule::OwnMoved => "one of our users, on a PDS where we do not know them to be",
            OriginRule::OwnHostStranger => "it lives on a PDS of ours, and is none of our users",
            OriginRule::AllowList => "the account is on the allowlist",
            OriginRule::NetworkMode => "everybody on the network is kept (filter.dids = network)",
            OriginRule::AllowlistMode => "only listed accounts are kept (filter.dids = allowlist)",
        }
    }
}

/// The verdict about an account, and the rule that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decision {
    /// What its records may do.
    pub standing: Standing,
    /// Why.
    pub rule: OriginRule,
}

/// A change of the lists that decide who may enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ListChange {
    /// The account was put on the allowlist.
    Allow,
    /// The account was put on the deny list.
    Deny,
    /// What was entered about the account at run time was taken back.
    Forget,
    /// The file of the allowlist was read and differs from what was read before.
    AllowFile,
    /// The file of the deny list was read and differs from what was read before.
    DenyFile,
    /// The account was linked with one of our users, or that link was changed.
    Link,
    /// The account is none of our users any more.
    Unlink,
}

impl ListChange {
    /// Every change there is.
    pub const ALL: [ListChange; 7] = [
        ListChange::Allow,
        ListChange::Deny,
        ListChange::Forget,
        ListChange::AllowFile,
        ListChange::DenyFile,
        ListChange::Link,
        ListChange::Unlink,
    ];

    /// The word as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            ListChange::Allow => "allow",
            ListChange::Deny => "deny",
            ListChange::Forget => "forget",
            ListChange::AllowFile => "allow_file",
            ListChange::DenyFile => "deny_file",
            ListChange::Link => "link",
            ListChange::Unlink => "unlink",
        }
    }

    /// Reads a stored word.
    pub fn from_word(word: &str) -> Option<Self> {
        ListChange::ALL.into_iter().find(|change| change.as_str() == word)
    }
}
