//! What apps see is a function of the set of frames: any order, doubled, split over two upstreams that number
//! differently, live and replayed mixed, cut into batches and processes anywhere. The log then holds the same records.

#[allow(dead_code)] // Parts of these are there for other tests.
mod support {
    pub mod frames;
    pub mod log;
    pub mod postgres;
}

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use almanac::db::Db;
use almanac::decode;
use almanac::devnet::{Frame, Mix, Traffic};
use almanac::event::{Delivery, Environment, Upstream, UpstreamKind};
use almanac::event_log::Appender;
use almanac::filter::{CollectionSet, DidRule, Policy};
use almanac::ingest::{Cursors, Ingest, Inquiries, Judge, Sink, Trust, load_cursors, load_known};
use almanac::projection::{Projector, checksum, rebuild};
use almanac::source::{QueueLimits, delivery_queue};
use arc_swap::ArcSwap;
use bytes::Bytes;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use sqlx::PgPool;
use support::log::{self, Contents};
use support::postgres::TestDb;

const FRAMES: usize = 600;

type Sums = BTreeMap<&'static str, String>;

/// What apps see, and what the log holds.
type Outcome = (Sums, Contents);

/// One network, what it says in the end, and the hashes of its frames taken in as they came.
struct Network {
    relay: Vec<Frame>,
    /// The same happenings as another host tells them: its numbers are others.
    pds: Vec<Frame>,
    want: Outcome,
}

static NETWORK: LazyLock<Network> = LazyLock::new(|| {
    let mut traffic = Traffic::new(1, Mix::Calendar);
    let relay = traffic.next_frames(FRAMES);
    let pds: Vec<Frame> = relay.iter().map(renumbered).collect();
    let truth = traffic.truth_json();
    assert_all_of_it_happens(&truth);
    let want = runtime().block_on(async {
        let db = TestDb::fresh().await;
        take_in(db.db(), relay.iter().map(|frame| delivery(frame, "relay.test", true)).collect()).await;
        assert_eq!(shown(db.pool()).await, visible(&truth), "the index does not show what the network holds");
        outcome(db.pool()).await
    });
    Network { relay, pds, want }
});

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// A network in which nobody leaves or comes back would show nothing.
fn assert_all_of_it_happens(truth: &serde_json::Value) {
    for what in ["#account", "#identity", "#sync", "calendar update", "calendar delete"] {
        assert!(truth["counts"][what].as_i64().unwrap_or(0) > 3, "too little of {what}: {}", truth["counts"]);
    }
    let hidden = truth["repos"].as_object().unwrap().values().filter(|repo| repo["active"] == false).count();
    assert!(hidden > 1, "nobody is hidden in the end");
}

/// The frame with another number: `seq` is an integer of its map, wherever it stands.
fn renumbered(frame: &Frame) -> Frame {
    let seq = frame.seq + 5_000_000;
    let at = frame.bytes.windows(4).position(|window| window == b"cseq").unwrap() + 4;
    let length = match frame.bytes[at] {
        0x00..0x18 => 1,
        0x18 => 2,
        0x19 => 3,
        0x1a => 5,
        other => panic!("{other:#x} begins no such number"),
    };
    let mut bytes = frame.bytes[..at].to_vec();
    bytes.push(0x1a);
    bytes.extend((seq as u32).to_be_bytes());
    bytes.extend(&frame.bytes[at + length..]);
    assert_eq!(decode::outline(&bytes).unwrap().seq, Some(seq));
    Frame { seq, bytes }
}

fn delivery(frame: &Frame, host: &str, live: bool) -> Delivery {
    Delivery {
        upstream: Arc::new(Upstream::new(UpstreamKind::Relay, host)),
        seen_at: chrono::Utc::now(),
        live,
        frame: Bytes::copy_from_slice(&frame.bytes),
    }
}

/// (address, CID) of everything that the active accounts hold.
fn visible(truth: &serde_json::Value) -> BTreeSet<(String, String)> {
    let active = truth["repos"].as_object().unwrap().iter().filter(|(_, repo)| repo["active"] == true);
    active
        .flat_map(|(did, repo)| {
            let records = repo["records"].as_object().unwrap();
            records.iter().map(move |(path, cid)| (format!("at://{did}/{path}"), cid.as_str().unwrap().to_owned()))
        })
        .collect()
}

async fn outcome(pool: &PgPool) -> Outcome {
    (checksum(pool).await.unwrap(), log::contents(pool).await)
}

async fn shown(pool: &PgPool) -> BTreeSet<(String, String)> {
    let rows = "select uri, cid from calendar.events union all select uri, cid from calendar.rsvps";
    sqlx::query_as(rows).fetch_all(pool).await.unwrap().into_iter().collect()
}

/// One life of a process: takes deliveries in, folds them, and ends.
async fn take_in(db: &Db, deliveries: Vec<Delivery>) {
    let policy = Policy::new(
        Environment::parse("test").unwrap(),
        CollectionSet::parse(["community.lexicon.calendar.*"]).unwrap(),
        DidRule::Network,
    );
    let name = format!("{:016x}", rand::random::<u64>());
    // The session of the life before may still be ending.
    let appender = loop {
        match Appender::try_lead(db.connect().await.unwrap(), &name).await.unwrap() {
            Some(appender) => break Box::new(appender),
            None => tokio::task::yield_now().await,
        }
    };
    let cursors = Arc::new(Cursors::default());
    cursors.reset(load_cursors(db.pool()).await.unwrap());
    let (position, head) = tokio::sync::watch::channel(0);
    let ingest = Ingest {
        judge: Judge::new(load_known(db.pool()).await.unwrap(), Trust::Unverified, Default::default(), None),
        inquiries: Inquiries::none(),
        policy: Arc::new(ArcSwap::from_pointee(policy)),
        cursors,
        position,
        health: Box::new(|_| {}),
        on_host_word: Box::new(|_| {}),
    };
    let (out, queue) = delivery_queue(QueueLimits::default());
    let frames = deliveries.len() as u64;
    let sending = tokio::spawn(async move {
        for delivery in deliveries {
            out.send(delivery).await.unwrap();
            // Batches end wherever the appender happens to be free.
            tokio::task::yield_now().await;
        }
    });
    let projecting = tokio::spawn(Projector { db: db.clone(), rebuild_from: None, health: Box::new(|_| {}) }.run(head));
    let report = ingest.run(queue, Sink::Log { db: db.clone(), appender, name }).await.unwrap();
    sending.await.unwrap();
    projecting.await.unwrap().unwrap();
    assert_eq!(report.tally.frames, frames);
    assert!(report.tally.refused_by_reason().is_empty(), "{:?}", report.tally.refused_by_reason());
}

/// Everything about one case follows from its seed.
async fn outcomes_of(seed: u64) -> (Outcome, Outcome) {
    let network = &*NETWORK;
    let mut dice = StdRng::seed_from_u64(seed);
    let mut deliveries = Vec::new();
    for at in 0..FRAMES {
        let (relay, pds) = (&network.relay[at], &network.pds[at]);
        // Over one host or the other or both, and now and then twice.
        let over = dice.random_range(0..8);
        if over != 0 {
            deliveries.push(delivery(relay, "relay.test", dice.random()));
        }
        if over < 5 {
            deliveries.push(delivery(pds, "pds.test", dice.random()));
        }
        if over == 2 {
            deliveries.push(delivery(relay, "relay.test", dice.random()));
        }
    }
    deliveries.shuffle(&mut dice);
    let db = TestDb::fresh().await;
    while !deliveries.is_empty() {
        let life = dice.random_range(1..=deliveries.len().min(FRAMES));
        take_in(db.db(), deliveries.drain(..life).collect()).await;
    }
    let live = outcome(db.pool()).await;
    rebuild(db.db(), |_| {}).await.unwrap();
    (live, outcome(db.pool()).await)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_any_carrier_any_batches(seed: u64) {
        let want = &NETWORK.want;
        let (folded, rebuilt) = runtime().block_on(outcomes_of(seed));
        prop_assert_eq!(&folded, want, "folded as it came, seed {}", seed);
        prop_assert_eq!(&rebuilt, want, "rebuilt, seed {}", seed);
    }
}
