//! From what happened to what servers send: the host's own stream, then the relay's, each with its faults.
//!
//! Always true: a fault changes what one server sends, never what happened.

use std::sync::Arc;

use super::damage;
use super::faults::{Fault, Kind, Occasion, Place, Sort};
use super::state::{RelayView, State};
use super::stream::Ending;
use crate::devnet::frames::{self, Stamp};
use crate::devnet::{Commit, Head};
use crate::event::Cid;

/// What a host has to tell.
#[derive(Clone)]
pub(super) enum News {
    Commit(Arc<Commit>),
    Sync(Head),
    Identity(Option<String>),
    Account(Option<&'static str>),
}

impl News {
    fn kind(&self) -> Kind {
        match self {
            News::Commit(_) => Kind::Commit,
            News::Sync(_) => Kind::Sync,
            News::Identity(_) => Kind::Identity,
            News::Account(_) => Kind::Account,
        }
    }
}

/// One happening on one host.
#[derive(Clone)]
pub(super) struct Notice {
    pub who: usize,
    pub host: usize,
    pub micros: i64,
    pub news: News,
}

/// A frame that waits for the next one to go first; with its number if it keeps it.
pub(super) struct Held {
    notice: Notice,
    seq: Option<i64>,
}

impl State {
    /// The host tells its news, and the relay passes on what it takes.
    pub fn emit(&mut self, who: usize, host: usize, news: News) {
        let notice = Notice { who, host, micros: self.now(), news };
        self.send(Place::Pds(host), notice.clone());
        // Relays take an account's words from the host that its DID document names.
        let home = self.actors[who].host == host;
        if home || matches!(notice.news, News::Identity(_)) {
            self.relay_takes(notice);
        }
    }

    fn relay_takes(&mut self, notice: Notice) {
        let did = self.account(notice.who).did.clone();
        for carrier in &self.carriers {
            carrier.lock().carry(&did, &notice);
        }
        let now =
            Occasion { did: Some(&did), kind: Some(notice.news.kind()), from_pds: Some(notice.host), method: None };
        if let News::Account(_) = notice.news
            && !self.faults.due(Sort::Frame, Place::Relay, &now, |f, _| *f == Fault::StaleAccount).is_empty()
        {
            return;
        }
        if !self.relay.views.entry(notice.who).or_default().takes(&notice.news) {
            return;
        }
        if self.send(Place::Relay, notice.clone()) {
            self.relay.views.get_mut(&notice.who).expect("entered above").passed(&notice.news);
        }
    }

    /// The relay passes on what an account of another network does, under its own numbers.
    fn carry(&mut self, did: &str, notice: &Notice) {
        let view = self.relay.guest(did);
        if !view.takes(&notice.news) {
            return;
        }
        view.passed(&notice.news);
        let stream = &mut self.relay.stream;
        let seq = stream.next_seq();
        stream.push(seq, Some(did), frame(Stamp { seq, did, micros: notice.micros }, &notice.news));
    }

    /// Puts a frame into a server's stream with the faults that are due. False when it was dropped.
    fn send(&mut self, place: Place, mut notice: Notice) -> bool {
        let did = self.account(notice.who).did.clone();
        let now =
            Occasion { did: Some(&did), kind: Some(notice.news.kind()), from_pds: Some(notice.host), method: None };
        let standing = self.standing(&notice);
        let due = {
            // One lie at a time: a second would be told of what the first left.
            let fits = |fault: &Fault, due: &[Fault]| match &notice.news {
                _ if is_plain(fault) => true,
                News::Commit(commit) => due.iter().all(is_plain) && damage::fits(fault, commit, standing.as_ref()),
                _ => false,
            };
            self.faults.due(Sort::Frame, place, &now, fits)
        };
        if due.contains(&Fault::SequenceReset)
            && let Some(stream) = self.stream(place)
        {
            stream.reset();
        }
        if due.contains(&Fault::Dropped) {
            // A number is lost with it.
            self.stream(place).map(|stream| stream.next_seq());
            return false;
        }
        let curve = self.account(notice.who).key.curve();
        for fault in &due {
            match fault {
                Fault::TimeOff(seconds) => notice.micros += seconds * 1_000_000,
                other => {
                    if let News::Commit(commit) = &notice.news
                        && !is_plain(other)
                    {
                        let lie = damage::damaged(other, &did, curve, commit, standing.as_ref());
                        notice.news = News::Commit(Arc::new(lie));
                    }
                }
            }
        }
        let held = self.held(place).take();
        if due.contains(&Fault::Reordered) {
            *self.held(place) = Some(Held { notice, seq: None });
        } else if due.contains(&Fault::Backwards) {
            let seq = self.stream(place).map(|stream| stream.next_seq());
            *self.held(place) = Some(Held { notice, seq });
        } else {
            let seq = if due.contains(&Fault::Garbage) {
                self.write_frame(place, None, None, |_| b"\xa2this is no frame".to_vec())
            } else {
                self.write_notice(place, None, &notice)
            };
            if due.contains(&Fault::Duplicated) {
                self.write_notice(place, Some(seq), &notice);
            }
            if due.contains(&Fault::Repeated) {
                self.write_notice(place, None, &notice);
            }
        }
        if let Some(held) = held {
            self.write_notice(place, held.seq, &held.notice);
        }
        for (fault, ending) in [(Fault::Cut, Ending::Cut), (Fault::TooSlow, Ending::TooSlow)] {
            if due.contains(&fault)
                && let Some(stream) = self.stream(place)
            {
                stream.end_here(ending);
            }
        }
        true
    }

    fn held(&mut self, place: Place) -> &mut Option<Held> {
        match place {
            Place::Pds(host) => &mut self.hosts[host].held,
            Place::Relay | Place::Plc | Place::Handles => &mut self.relay.held,
        }
    }

    /// Sends what waits for a next frame.
    pub fn flush(&mut self) {
        let places: Vec<Place> = (0..self.hosts.len()).map(Place::Pds).chain([Place::Relay]).collect();
        for place in places {
            if let Some(held) = self.held(place).take() {
                self.write_notice(place, held.seq, &held.notice);
            }
        }
    }

    fn write_notice(&mut self, place: Place, seq: Option<i64>, notice: &Notice) -> i64 {
        let did = self.account(notice.who).did.clone();
        self.write_frame(place, seq, Some(&did), |seq| {
            frame(Stamp { seq, did: &did, micros: notice.micros }, &notice.news)
        })
    }

    fn write_frame(
        &mut self,
        place: Place,
        seq: Option<i64>,
        did: Option<&str>,
        frame: impl FnOnce(i64) -> Vec<u8>,
    ) -> i64 {
        let Some(stream) = self.stream(place) else { return 0 };
        let seq = seq.unwrap_or_else(|| stream.next_seq());
        stream.push(seq, did, frame(seq));
        seq
    }

    /// A calendar record that stands in the repository and that these news do not touch.
    fn standing(&self, notice: &Notice) -> Option<(String, Cid)> {
        let News::Commit(commit) = &notice.news else { return None };
        let actor = &self.actors[notice.who];
        let path = actor.records.keys().find(|path| commit.ops.iter().all(|op| op.path != **path))?;
        Some((path.clone(), actor.repo.tree().get(path).ok()??))
    }
}

impl RelayView {
    /// What the relay learns of the account's state by this, and whether it passes it on.
    fn takes(&mut self, news: &News) -> bool {
        if let News::Account(status) = news {
            (self.active, self.status) = (status.is_none(), *status);
            return true;
        }
        self.active || matches!(news, News::Identity(_))
    }

    /// What it knows of the repository once this has passed.
    fn passed(&mut self, news: &News) {
        match news {
            News::Commit(commit) => {
                self.head = Some((commit.head.cid, commit.head.rev));
                let written = commit.ops.iter().filter_map(|op| op.path.split_once('/'));
                self.collections.extend(written.map(|(collection, _)| collection.to_owned()));
            }
            News::Sync(head) => self.head = Some((head.cid, head.rev)),
            News::Identity(_) | News::Account(_) => {}
        }
    }
}

fn frame(stamp: Stamp<'_>, news: &News) -> Vec<u8> {
    match news {
        News::Commit(commit) => frames::commit(stamp, commit),
        News::Sync(head) => frames::sync(stamp, head),
        News::Identity(handle) => frames::identity(stamp, handle.as_deref()),
        News::Account(status) => frames::account(stamp, status.is_none(), *status),
    }
}

/// Whether a fault needs no commit to damage.
fn is_plain(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Reordered
            | Fault::Backwards
            | Fault::Duplicated
            | Fault::Repeated
            | Fault::Dropped
            | Fault::TimeOff(_)
            | Fault::SequenceReset
            | Fault::Cut
            | Fault::TooSlow
            | Fault::Garbage
    )
}
