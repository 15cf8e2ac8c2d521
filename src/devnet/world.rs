//! The made-up network as its author knows it: who there is, what they wrote, what time it is.
//!
//! In: wishes ("this account writes that"). Out: a queue of [`Planned`] happenings, each with its moment and number.
//! Always true: time and seq rise; nobody writes while hidden; what is planned fits what the repository will hold.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::cbor::cid_of;
use super::dice::Dice;
use super::keys::{Curve, KeyForm, SigningKey};
use super::mst::Mst;
use super::{Account, Tid, Write};
use crate::event::Cid;

/// 2025-06-01T00:00:00Z: the virtual clock starts here, in the past of whoever reads the frames.
const EPOCH_MICROS: i64 = 1_748_736_000_000_000;

/// Something that will become one frame.
pub(super) struct Planned {
    pub seq: i64,
    pub micros: i64,
    pub who: usize,
    pub what: Happening,
}

pub(super) enum Happening {
    Commit { rev: Tid, writes: Vec<Write> },
    Sync,
    Identity { handle: Option<String> },
    Account { active: bool, status: Option<&'static str> },
}

/// A tree that repositories of the network mix start from, and its keys but the profile's.
pub(super) struct Past {
    pub tree: Mst,
    pub keys: Vec<Arc<str>>,
    pub rev: Tid,
}

/// An event that somebody published.
pub(super) struct KnownEvent {
    pub author: usize,
    pub rkey: String,
    pub cid: Cid,
    pub alive: bool,
}

/// An RSVP that stands in its author's repository.
pub(super) struct Rsvp {
    pub rkey: String,
    pub event: usize,
}

pub(super) struct Person {
    pub account: Account,
    pub clock: u16,
    /// `None` while active; `deleted` is for ever.
    pub hidden: Option<&'static str>,
    /// What the repository held before the first frame.
    pub past: Option<usize>,
    /// Keys of the past that are gone by now.
    pub gone: HashSet<u32>,
    /// The last records outside the calendar, newest last.
    pub recent: VecDeque<String>,
    pub events: Vec<usize>,
    pub rsvps: Vec<Rsvp>,
}

pub(super) struct World {
    pub dice: Dice,
    pub people: Vec<Person>,
    pub pasts: Vec<Past>,
    pub events: Vec<KnownEvent>,
    pub queue: VecDeque<Planned>,
    /// How many happenings were ever planned.
    pub planned: u64,
    /// The network mix plans its next calendar commit after so many happenings.
    pub calendar_due: u64,
    /// How many of those there were.
    pub turn: u64,
    /// Whether some accounts are `did:web`.
    pub web: bool,
    /// Below which domains handles are.
    pub domains: [&'static str; 2],
    micros: i64,
    seq: i64,
    gap_micros_mean: usize,
}

impl World {
    pub fn new(seed: u64, seq: i64, gap_micros_mean: usize) -> Self {
        let mut dice = Dice::new(seed);
        let micros = EPOCH_MICROS + dice.below(86_400_000_000) as i64;
        World {
            dice,
            people: vec![],
            pasts: vec![],
            events: vec![],
            queue: VecDeque::new(),
            planned: 0,
            calendar_due: 0,
            turn: 0,
            web: true,
            domains: ["example.com", "example.org"],
            micros,
            seq,
            gap_micros_mean,
        }
    }

    pub fn now(&self) -> i64 {
        self.micros
    }

    /// Sets the virtual clock.
    #[cfg(feature = "runtime")]
    pub fn set_now(&mut self, micros: i64) {
        self.micros = micros;
    }

    /// A fresh record key of this account, from a moment ago or now.
    pub fn rkey(&mut self, who: usize) -> String {
        self.micros += 1 + self.dice.below(40) as i64;
        Tid::new(self.micros as u64, self.people[who].clock).to_string()
    }

    /// Puts one happening behind those already planned.
    pub fn plan(&mut self, who: usize, what: impl FnOnce(&mut Self, i64) -> Happening) {
        self.micros += 100 + self.dice.below(2 * self.gap_micros_mean.saturating_sub(100)) as i64;
        // Hosts leave gaps: what they numbered and did not send.
        self.seq += if self.dice.permille(4) { 2 + self.dice.below(5) as i64 } else { 1 };
        let micros = self.micros;
        let what = what(self, micros);
        self.planned += 1;
        self.queue.push_back(Planned { seq: self.seq, micros, who, what });
    }

    pub fn plan_commit(&mut self, who: usize, writes: Vec<Write>) {
        self.plan(who, |world, micros| {
            let rev = Tid::new(micros as u64, world.people[who].clock);
            Happening::Commit { rev, writes }
        });
    }

    pub fn plan_account(&mut self, who: usize, hidden: Option<&'static str>) {
        self.people[who].hidden = hidden;
        self.plan(who, |_, _| Happening::Account { active: hidden.is_none(), status: hidden });
    }

    pub fn plan_identity(&mut self, who: usize) {
        self.plan(who, |world, _| Happening::Identity { handle: Some(world.people[who].account.handle.clone()) });
    }

    /// An account nobody has heard of, without a frame. One in eight signs with P-256, one in five shows its key in
    /// the old form, one in forty is a `did:web`.
    pub fn add_person(&mut self, past: Option<usize>) -> usize {
        let dice = &mut self.dice;
        let name = format!("{}-{}", dice.pick(NAMES), dice.base32(6));
        let (web, domain) = (self.web, self.domains[0]);
        // The dice fall alike with and without `did:web`.
        let did = if dice.permille(25) && web {
            format!("did:web:{name}.example.com")
        } else {
            format!("did:plc:{}", dice.base32(24))
        };
        let curve = if dice.permille(125) { Curve::P256 } else { Curve::K256 };
        let account = Account {
            did,
            handle: format!("{name}.{domain}"),
            pds: format!("https://pds{}.example.net", 1 + dice.below(5)),
            key: SigningKey::from_entropy(curve, dice.bytes()),
            key_form: if dice.permille(200) { KeyForm::Legacy } else { KeyForm::Multikey },
        };
        let clock = dice.below(1024) as u16;
        self.people.push(Person {
            account,
            clock,
            hidden: None,
            past,
            gone: HashSet::new(),
            recent: VecDeque::new(),
            events: vec![],
            rsvps: vec![],
        });
        self.people.len() - 1
    }

    /// An account is born as on the reference PDS: identity, account, a commit of nothing, sync.
    pub fn plan_birth(&mut self) -> usize {
        let who = self.add_person(None);
        self.plan_identity(who);
        self.plan_account(who, None);
        self.plan_commit(who, vec![]);
        self.plan(who, |_, _| Happening::Sync);
        who
    }

    /// An active account, the earlier ones more often; `None` when a few tries found none.
    pub fn pick_active(&mut self) -> Option<usize> {
        (0..20).find_map(|_| {
            let who = self.dice.below_leaning(self.people.len());
            self.people.get(who).filter(|person| person.hidden.is_none()).map(|_| who)
        })
    }

    /// A hidden account that can come back.
    pub fn pick_hidden(&mut self) -> Option<usize> {
        let hidden: Vec<usize> =
            (0..self.people.len()).filter(|&who| self.people[who].hidden.is_some_and(|s| s != "deleted")).collect();
        hidden.get(self.dice.below(hidden.len())).copied()
    }

    /// A known event: mostly one of the newest, now and then any at all, deleted ones among them.
    pub fn pick_event(&mut self) -> Option<usize> {
        let count = self.events.len();
        let newest_first =
            if self.dice.permille(850) { self.dice.below_leaning(count.min(60)) } else { self.dice.below(count) };
        (count > 0).then(|| count - 1 - newest_first)
    }

    /// Enters an event into the books and returns its number.
    pub fn note_event(&mut self, author: usize, rkey: String, record: &[u8]) -> usize {
        self.events.push(KnownEvent { author, rkey, cid: cid_of(record), alive: true });
        let number = self.events.len() - 1;
        self.people[author].events.push(number);
        number
    }

    pub fn event_uri(&self, event: usize) -> String {
        let known = &self.events[event];
        format!("at://{}/{}/{}", self.people[known.author].account.did, super::calendar::EVENT, known.rkey)
    }
}

const NAMES: &[&str] = &[
    "anna", "bela", "chidi", "dora", "emeka", "farah", "goro", "hana", "ines", "jonas", "kofi", "lena", "mira", "noor",
    "otto", "priya", "quentin", "rosa", "sora", "tariq", "uma", "viktor", "wren", "xenia", "yusuf", "zoe",
];
