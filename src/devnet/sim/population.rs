//! A network of today's size, there at once: its accounts were born long before the first subscriber came.

use std::io;
use std::time::Duration;

use super::faults::{At, Fault, Place, When};
use super::state::State;
use super::{Sim, SimOptions, filler};
use crate::devnet::mst::Mst;
use crate::devnet::{Tid, calendar, calendar_records, cbor};

/// How large a network is, and how slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CalendarSize {
    /// Accounts with calendar records.
    pub accounts: usize,
    /// PDSes.
    pub hosts: usize,
    /// Event records in all.
    pub events: usize,
    /// Accounts with events.
    pub event_authors: usize,
    /// RSVP records in all.
    pub rsvps: usize,
    /// Accounts with RSVPs.
    pub rsvp_authors: usize,
    /// Most likes, posts, reposts and follows in one repository. The lightest have a 64th of that.
    pub fillers_max: usize,
    /// Of 1,000 hosts so many answer nothing but 500 or are down, at least one if not 0.
    pub failing_hosts_permille: usize,
    /// Latencies of hosts: from, to.
    pub latency: (Duration, Duration),
}

impl CalendarSize {
    /// The calendar network of today.
    pub const TODAY: CalendarSize = CalendarSize {
        accounts: 1_633,
        hosts: 120,
        events: 14_600,
        event_authors: 318,
        rsvps: 6_300,
        rsvp_authors: 1_430,
        fillers_max: 6_400,
        failing_hosts_permille: 40,
        latency: (Duration::from_millis(20), Duration::from_millis(200)),
    };
}

/// Different pasts that the repositories grow out of.
const PASTS: usize = 16;

impl Sim {
    /// A network of today's calendar network's size: see [`CalendarSize::TODAY`].
    ///
    /// # Errors
    /// When loopback has no free ports.
    pub async fn calendar_sized(seed: u64) -> io::Result<Sim> {
        Self::populated(&SimOptions { seed, ..SimOptions::default() }, CalendarSize::TODAY).await
    }

    /// A network of a given size. Hosts and accounts are those of `size`.
    ///
    /// # Errors
    /// When loopback has no free ports.
    pub async fn populated(options: &SimOptions, size: CalendarSize) -> io::Result<Sim> {
        let options = SimOptions { hosts: size.hosts, ..options.clone() };
        let sim = Self::start_empty(&options).await?;
        sim.shared.lock().populate(size);
        Ok(sim)
    }
}

impl State {
    fn populate(&mut self, size: CalendarSize) {
        let now = self.world.now();
        let pasts: Vec<Mst> = (0..PASTS)
            .map(|past| filler::tree(&mut self.world.dice, now, (size.fillers_max >> (6 * past / PASTS)).max(1)))
            .collect();
        let people: Vec<usize> = (0..size.accounts).map(|_| self.world.add_person(None)).collect();
        let mut records: Vec<Vec<(String, Vec<u8>)>> = vec![vec![]; size.accounts];
        // Authors of events stand first, those of RSVPs last, so that the two groups overlap as little as they can.
        let event_authors = &people[..size.event_authors.clamp(1, size.accounts)];
        let rsvp_authors = &people[size.accounts - size.rsvp_authors.clamp(1, size.accounts)..];
        for n in 0..size.events {
            let who = share(&mut self.world.dice, event_authors, n);
            let record = {
                let rkey = self.world.rkey(who);
                let now = self.world.now();
                let record = calendar_records::event(&mut self.world.dice, now);
                self.world.note_event(who, rkey.clone(), &record);
                (format!("{}/{rkey}", calendar::EVENT), record)
            };
            records[who].push(record);
        }
        for n in 0..size.rsvps {
            let who = share(&mut self.world.dice, rsvp_authors, n);
            let Some(event) = self.world.pick_event() else { break };
            let (rkey, uri, pin) = (self.world.rkey(who), self.world.event_uri(event), self.world.events[event].cid);
            let now = self.world.now();
            let record = calendar_records::rsvp(&mut self.world.dice, now, &uri, pin);
            records[who].push((format!("{}/{rkey}", calendar::RSVP), record));
        }
        // An hour ago, so that whatever happens now is newer.
        let rev_micros = (self.now() - 3_600_000_000).unsigned_abs();
        for (who, records) in records.into_iter().enumerate() {
            let mut tree = pasts[self.world.dice.below(PASTS)].clone();
            for (path, record) in &records {
                tree.insert(path, cbor::cid_of(record)).expect("the tree is whole");
            }
            let rev = Tid::new(rev_micros + who as u64, self.world.people[who].clock);
            // A few hosts hold most accounts.
            let host = self.world.dice.below_leaning(self.hosts.len());
            self.enter(who, host, Some((tree, rev)));
            let actor = &mut self.actors[who];
            actor.collections.extend(records.iter().filter_map(|(path, _)| Some(path.split_once('/')?.0.to_owned())));
            actor.collections.extend(["app.bsky.feed.like".to_owned(), "app.bsky.feed.post".to_owned()]);
            actor.records.extend(records.into_iter().map(|(path, record)| (path, record.into())));
            self.introduce(who);
        }
        self.slow_down(size);
    }

    fn slow_down(&mut self, size: CalendarSize) {
        let (from, to) = size.latency;
        for host in 0..self.hosts.len() {
            let spread = (to.saturating_sub(from).as_micros() as usize).max(1);
            self.hosts[host].latency = from + Duration::from_micros(self.world.dice.below(spread) as u64);
        }
        let failing = match size.failing_hosts_permille {
            0 => 0,
            permille => (size.hosts * permille / 1000).max(1),
        };
        for n in 0..failing {
            // Spread over the hosts, none of them the largest.
            let host = (n * self.hosts.len() / failing + self.hosts.len() / (2 * failing)) % self.hosts.len();
            let fault = if n % 2 == 0 { Fault::Down } else { Fault::ServerError };
            self.faults.arm(fault, At::place(Place::Pds(host)), When::ALWAYS);
        }
    }
}

/// Everybody gets one; what is left goes to the first of them more than to the last.
fn share(dice: &mut crate::devnet::dice::Dice, authors: &[usize], n: usize) -> usize {
    if n < authors.len() { authors[n] } else { authors[dice.below_leaning(authors.len())] }
}
