//! From a seed to frames: the traffic of a made-up network, its truth and its DID documents.
//!
//! Chance and order are decided by one planner; hashing and signing is then shared out by repository. So the bytes do
//! not depend on the number of threads. Memory: the trees of the accounts, which share what they have in common, and
//! one batch of frames.

use std::collections::BTreeMap;

use super::frames::{self, Stamp};
use super::truth::Truth;
use super::world::{Happening, Planned, World};
use super::{Commit, Repo, calendar, social};

/// What kind of network it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// The whole network as a relay sends it: large repositories, likes and posts, one calendar commit in 10,000.
    Network,
    /// The calendar network alone, with everything that happens there and every oddity of its records.
    Calendar,
}

impl Mix {
    /// `network` or `calendar`.
    pub fn name(self) -> &'static str {
        match self {
            Mix::Network => "network",
            Mix::Calendar => "calendar",
        }
    }
}

/// How large the network mix is before its first frame.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Accounts.
    pub accounts: usize,
    /// Different pasts that their repositories grew out of, at least 1.
    pub pasts: usize,
    /// Records in the largest past.
    pub records: usize,
}

impl Size {
    /// The size that gives frames of the real network's shape.
    pub const REAL: Size = Size { accounts: 1000, pasts: 32, records: 50_000 };
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its number.
    pub seq: i64,
    /// One binary websocket message.
    pub bytes: Vec<u8>,
}

/// A running network.
pub struct Traffic {
    seed: u64,
    mix: Mix,
    world: World,
    /// Repository `n` is in shard `n % shards.len()`, at `n / shards.len()`.
    shards: Vec<Vec<Repo>>,
    truth: Truth,
}

impl Traffic {
    /// A network of the real size that works on as many threads as the machine has.
    pub fn new(seed: u64, mix: Mix) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(16));
        Self::with_size(seed, mix, Size::REAL, threads)
    }

    /// A network of another size. `threads` (at least 1) changes the speed and nothing else.
    pub fn with_size(seed: u64, mix: Mix, size: Size, threads: usize) -> Self {
        let world = match mix {
            Mix::Network => {
                let mut world = World::new(seed, 7_000_000_000, 2_083);
                social::populate(&mut world, size.accounts, size.pasts.max(1), size.records.max(1));
                world
            }
            Mix::Calendar => World::new(seed, 0, 2_000_000),
        };
        Traffic { seed, mix, world, shards: vec![vec![]; threads.max(1)], truth: Truth::default() }
    }

    /// The next `count` frames.
    pub fn next_frames(&mut self, count: usize) -> Vec<Frame> {
        while self.world.queue.len() < count {
            match self.mix {
                Mix::Network => social::step(&mut self.world),
                Mix::Calendar => calendar::step(&mut self.world),
            }
        }
        let planned: Vec<Planned> = self.world.queue.drain(..count).collect();
        self.open_repos();
        let made = self.make(&planned);
        let note = |(planned, (bytes, commit)): (&Planned, (Vec<u8>, Option<Commit>))| {
            let account = &self.world.people[planned.who].account;
            self.truth.note(account, planned, commit.as_ref(), bytes.len());
            Frame { seq: planned.seq, bytes }
        };
        planned.iter().zip(made).map(note).collect()
    }

    /// Gives a repository to every account that has none.
    fn open_repos(&mut self) {
        let shards = self.shards.len();
        let have: usize = self.shards.iter().map(Vec::len).sum();
        for (number, person) in self.world.people.iter().enumerate().skip(have) {
            let (did, key) = (&*person.account.did, person.account.key.clone());
            let repo = match person.past {
                Some(past) => {
                    let past = &self.world.pasts[past];
                    Repo::with_past(did, key, past.tree.clone(), past.rev)
                }
                None => Repo::new(did, key),
            };
            self.shards[number % shards].push(repo);
        }
    }

    /// Makes the frames, each shard its own, and puts them in order.
    fn make(&mut self, planned: &[Planned]) -> Vec<(Vec<u8>, Option<Commit>)> {
        let shards = self.shards.len();
        let mut parts: Vec<_> = std::thread::scope(|scope| {
            let work: Vec<_> = self
                .shards
                .iter_mut()
                .enumerate()
                .map(|(shard, repos)| {
                    let own = planned.iter().filter(move |planned| planned.who % shards == shard);
                    scope.spawn(move || own.map(|p| make_one(&mut repos[p.who / shards], p)).collect::<Vec<_>>())
                })
                .collect();
            work.into_iter().map(|part| part.join().expect("making a frame does not panic").into_iter()).collect()
        });
        let next = |p: &Planned| parts[p.who % shards].next().expect("each shard made a frame for each of its plans");
        planned.iter().map(next).collect()
    }

    /// The truth of the frames made so far.
    pub fn truth(&self) -> &Truth {
        &self.truth
    }

    /// The truth as a document: see [`Truth::to_json`].
    pub fn truth_json(&self) -> serde_json::Value {
        self.truth.to_json(self.seed, self.mix.name())
    }

    /// The DID documents of all accounts, by DID. Keys never change, so they fit every frame.
    pub fn did_documents(&self) -> BTreeMap<&str, serde_json::Value> {
        self.world.people.iter().map(|p| (&*p.account.did, p.account.did_document())).collect()
    }

    /// The repository of a DID as it stands, for judges.
    pub fn repo(&self, did: &str) -> Option<&Repo> {
        self.shards.iter().flatten().find(|repo| repo.did() == did)
    }
}

fn make_one(repo: &mut Repo, planned: &Planned) -> (Vec<u8>, Option<Commit>) {
    let did = repo.did().to_string();
    let stamp = Stamp { seq: planned.seq, did: &did, micros: planned.micros };
    match &planned.what {
        Happening::Commit { rev, writes } => {
            let commit = repo.apply(writes, *rev).expect("what is planned fits the repository");
            (frames::commit(stamp, &commit), Some(commit))
        }
        Happening::Sync => {
            let head = repo.head().expect("a repository is committed before it is synced");
            (frames::sync(stamp, head), None)
        }
        Happening::Identity { handle } => (frames::identity(stamp, handle.as_deref()), None),
        Happening::Account { active, status } => (frames::account(stamp, *active, *status), None),
    }
}
