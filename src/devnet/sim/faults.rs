//! What can go wrong, where, and when; and the proof that it did.
//!
//! In: a [`Fault`] armed [`At`] a place for the occasions that [`When`] names. Out: for each occasion the faults that are
//! due, and how often each has fired. Never: changes what a repository holds.

use std::time::Duration;

/// A server of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// The PLC directory.
    Plc,
    /// The relay.
    Relay,
    /// The PDS with this number, from 0.
    Pds(usize),
    /// The web host of all handles: `/.well-known/atproto-did` by the `Host` header.
    Handles,
}

/// The kinds of frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `#commit`.
    Commit,
    /// `#sync`.
    Sync,
    /// `#identity`.
    Identity,
    /// `#account`.
    Account,
}

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A frame is sent after the next one, and numbered as it is sent.
    Reordered,
    /// A frame is sent after the next one, under the earlier number.
    Backwards,
    /// A frame is sent twice under one number.
    Duplicated,
    /// A frame is sent twice under two numbers.
    Repeated,
    /// A frame is not sent.
    Dropped,
    /// A frame's `time` is off by so many seconds.
    TimeOff(i64),
    /// The server forgets its frames and begins with number 1 again; connections are cut.
    SequenceReset,
    /// Connections are cut after a frame.
    Cut,
    /// The server says `ConsumerTooSlow` after a frame and closes.
    TooSlow,
    /// A text of no meaning is sent in a frame's place.
    Garbage,
    /// An outdated or future cursor gets no word, and what there is.
    MuteCursor,
    /// The relay keeps an old word about an account: it does not learn of `#account`, nor passes it on.
    StaleAccount,
    /// A commit's signature is not one.
    BadSignature,
    /// A commit's signature has the high S.
    HighS,
    /// A commit is signed by another key.
    WrongKey,
    /// `prevData` is another.
    LyingPrevData,
    /// `since` is another.
    LyingSince,
    /// The frame's `rev` is not the signed one.
    LyingRev,
    /// The CID of an operation is not that of the tree.
    LyingOpCid,
    /// The block of a record is another under the same CID.
    SwappedRecord,
    /// The block of a record is missing.
    MissingRecord,
    /// The blocks of the tree are missing.
    MissingNodes,
    /// The operations are replaced by a delete of a record that stands, without a proof.
    ForgedDelete,
    /// 201 operations.
    TooManyOps,
    /// Connections end as soon as they are made.
    Down,
    /// Requests are never answered.
    Hang,
    /// Answers come later by so much.
    Slow(Duration),
    /// 429 with so many seconds of `Retry-After`.
    RateLimited(u64),
    /// 500.
    ServerError,
    /// 200 with a page of HTML.
    Html,
    /// The answer ends in its middle, and says that it is whole.
    Truncated,
    /// The connection ends in the middle of the answer.
    CutOff,
    /// A CAR that begins well and never ends.
    Endless,
    /// 302 to this URL.
    Redirect(String),
    /// The directory serves the document before the last change.
    OldDocument,
    /// The directory does not know the DID.
    NoDocument,
}

/// Of which sort a fault is: which occasions it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Frame,
    Cursor,
    Request,
    Document,
}

impl Fault {
    /// Its word, as traces show it.
    pub fn name(&self) -> String {
        let text = format!("{self:?}");
        text.split(['(', ' ']).next().unwrap_or_default().to_owned()
    }

    pub(super) fn sort(&self) -> Sort {
        match self {
            Fault::MuteCursor => Sort::Cursor,
            Fault::OldDocument | Fault::NoDocument => Sort::Document,
            Fault::Down
            | Fault::Hang
            | Fault::Slow(_)
            | Fault::RateLimited(_)
            | Fault::ServerError
            | Fault::Html
            | Fault::Truncated
            | Fault::CutOff
            | Fault::Endless
            | Fault::Redirect(_) => Sort::Request,
            _ => Sort::Frame,
        }
    }

    /// Whether a server with this fault for ever gives nobody what it holds.
    pub(super) fn blocks_all(&self) -> bool {
        self.sort() == Sort::Request && !matches!(self, Fault::Slow(_))
    }
}

/// Where a fault happens: a place, and if given only for this account, this kind of frame, this method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    pub(super) place: Option<Place>,
    pub(super) did: Option<String>,
    pub(super) kind: Option<Kind>,
    pub(super) from_pds: Option<usize>,
    pub(super) method: Option<String>,
}

impl At {
    /// The relay.
    pub fn relay() -> Self {
        Self::place(Place::Relay)
    }

    /// The PLC directory.
    pub fn plc() -> Self {
        Self::place(Place::Plc)
    }

    /// The PDS with this number.
    pub fn pds(number: usize) -> Self {
        Self::place(Place::Pds(number))
    }

    /// Any server.
    pub fn anywhere() -> Self {
        At { place: None, did: None, kind: None, from_pds: None, method: None }
    }

    /// This server.
    pub fn place(place: Place) -> Self {
        At { place: Some(place), ..Self::anywhere() }
    }

    /// Only what is about this account. A request is about the account that its `did` or `repo` names.
    pub fn did(mut self, did: impl Into<String>) -> Self {
        self.did = Some(did.into());
        self
    }

    /// Only frames of this kind.
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Only frames of accounts on this PDS.
    pub fn from_pds(mut self, number: usize) -> Self {
        self.from_pds = Some(number);
        self
    }

    /// Only requests to this method (`com.atproto.sync.getRepo`) or path (`/.well-known/atproto-did`).
    pub fn method(mut self, method: impl Into<String>) -> Self {
        self.method = Some(method.into());
        self
    }
}

/// On which of its occasions a fault fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When {
    /// Occasions that pass well first.
    pub after: u64,
    /// How often it fires then.
    pub times: u64,
}

impl When {
    /// On the next occasion alone.
    pub const NEXT: When = When { after: 0, times: 1 };
    /// On every occasion.
    pub const ALWAYS: When = When { after: 0, times: u64::MAX };

    /// On the next so many occasions.
    pub const fn times(times: u64) -> Self {
        When { after: 0, times }
    }

    /// Once, after so many occasions have passed well.
    pub const fn after(after: u64) -> Self {
        When { after, times: 1 }
    }
}

/// A fault that was armed: ask [`super::Sim::fired`] how often it fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FaultId(pub(super) usize);

/// How a fault stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultReport {
    /// What.
    pub fault: Fault,
    /// Where.
    pub at: At,
    /// How often it fired.
    pub fired: u64,
    /// Whether it can still fire.
    pub armed: bool,
}

/// What happens right now.
#[derive(Clone, Copy, Default)]
pub(super) struct Occasion<'a> {
    pub did: Option<&'a str>,
    pub kind: Option<Kind>,
    pub from_pds: Option<usize>,
    pub method: Option<&'a str>,
}

struct Armed {
    fault: Fault,
    at: At,
    when: When,
    seen: u64,
    fired: u64,
    off: bool,
}

impl Armed {
    fn can_fire(&self) -> bool {
        !self.off && self.fired < self.when.times
    }

    fn is_here(&self, place: Place, now: &Occasion<'_>) -> bool {
        let At { place: at, did, kind, from_pds, method } = &self.at;
        at.is_none_or(|at| at == place)
            && did.as_deref().is_none_or(|did| now.did == Some(did))
            && kind.is_none_or(|kind| now.kind == Some(kind))
            && from_pds.is_none_or(|from| now.from_pds == Some(from))
            && method.as_deref().is_none_or(|method| now.method == Some(method))
    }
}

/// Every fault that was ever armed.
#[derive(Default)]
pub(super) struct Faults(Vec<Armed>);

impl Faults {
    pub fn arm(&mut self, fault: Fault, at: At, when: When) -> FaultId {
        self.0.push(Armed { fault, at, when, seen: 0, fired: 0, off: false });
        FaultId(self.0.len() - 1)
    }

    pub fn disarm(&mut self, id: FaultId) {
        self.0[id.0].off = true;
    }

    pub fn disarm_all(&mut self) {
        self.0.iter_mut().for_each(|armed| armed.off = true);
    }

    pub fn fired(&self, id: FaultId) -> u64 {
        self.0[id.0].fired
    }

    pub fn reports(&self) -> Vec<FaultReport> {
        let report =
            |a: &Armed| FaultReport { fault: a.fault.clone(), at: a.at.clone(), fired: a.fired, armed: a.can_fire() };
        self.0.iter().map(report).collect()
    }

    /// The faults of one sort that fire on this occasion. `fits` tells whether a fault has anything to do here; where
    /// it has not, this is no occasion for it. It is shown the faults that fire already.
    pub fn due(
        &mut self,
        sort: Sort,
        place: Place,
        now: &Occasion<'_>,
        fits: impl Fn(&Fault, &[Fault]) -> bool,
    ) -> Vec<Fault> {
        let mut due = vec![];
        for armed in self.0.iter_mut().filter(|a| a.can_fire() && a.fault.sort() == sort) {
            if armed.is_here(place, now) && fits(&armed.fault, &due) {
                armed.seen += 1;
                if armed.seen > armed.when.after {
                    armed.fired += 1;
                    due.push(armed.fault.clone());
                }
            }
        }
        due
    }

    /// Whether something for ever keeps everybody from what this place holds of the account.
    pub fn is_shut(&self, place: Place, did: &str) -> bool {
        self.0.iter().filter(|a| a.can_fire() && a.when.times == u64::MAX).any(|a| {
            let here = a.at.method.is_none() && a.is_here(place, &Occasion { did: Some(did), ..Occasion::default() });
            here && (a.fault.blocks_all() || a.fault == Fault::NoDocument)
        })
    }
}
