//! A simulated network with faults, `almanac serve` following it, and an oracle: after the dust has settled the index shows
//! exactly what the accounts' own repositories hold, and a named state for every account that nobody can read.
//!
//! Bounded by default; `SIM_SEEDS=200 cargo test --test simulation` runs more, `SIM_SEED=N` runs one again exactly.

#[allow(dead_code)] // Parts of these are there for other tests.
mod support {
    pub mod child;
    pub mod postgres;
    pub mod serve;
    pub mod sim;
}

use std::collections::BTreeSet;
use std::time::Duration;

use almanac::devnet::sim::{At, Fault, Place, Script, Sim, SimOptions, When};
use futures_util::future::join_all;
use support::sim::Watched;

/// Far more than any settling takes, also on a machine that compiles at the same time.
const LIMIT: Duration = Duration::from_secs(120);
/// Seeds in a bounded run.
const SEEDS: u64 = 8;
const STEPS: usize = 120;
/// Seeds at once: most of the time is spent waiting for rounds of coverage.
const AT_ONCE: usize = 4;

fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    match number("SIM_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("SIM_SEEDS").unwrap_or(SEEDS)).collect(),
    }
}

async fn network(seed: u64) -> Sim {
    Sim::start(SimOptions { seed, hosts: 3, accounts: 8, ..SimOptions::default() }).await.unwrap()
}

/// Every seed: things happen and go wrong, the faults end, the dust settles.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_the_index_becomes_the_truth() {
    let mut fired = BTreeSet::new();
    for seeds in seeds().chunks(AT_ONCE) {
        for names in join_all(seeds.iter().map(|seed| play(*seed))).await {
            fired.extend(names);
        }
    }
    eprintln!("{} kinds of fault fired: {fired:?}", fired.len());
}

/// The kinds of fault that fired.
async fn play(seed: u64) -> Vec<String> {
    let sim = network(seed).await;
    // Even seeds also follow one of the PDSes directly, as an app follows its own.
    let own = seed.is_multiple_of(2).then_some(0);
    let watched = Watched::start(&sim, own).await;
    let script = Script::random(seed, STEPS, Script::all_faults()).pause(Duration::from_millis(15));
    let trace = script.play(&sim).await;
    sim.end_faults();
    watched.settle(&sim, LIMIT, || format!("SIM_SEED={seed}\n{}", trace.lines.join("\n"))).await;
    let fired = trace.faults.iter().filter(|(id, _)| sim.fired(*id) > 0);
    fired.map(|(_, line)| line.split(' ').nth(1).expect("arm NAME …").to_owned()).collect()
}

/// One after the other: each fault is armed, made to fire, and proven to have fired.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_fires_and_leaves_no_trace() {
    for (number, faults) in Script::all_faults().chunks(6).enumerate() {
        let seed = 1_000 + number as u64;
        let sim = network(seed).await;
        let watched = Watched::start(&sim, None).await;
        for fault in faults {
            let ids: Vec<_> = match fault {
                Fault::OldDocument | Fault::NoDocument => vec![sim.fault(fault.clone(), At::plc(), When::NEXT)],
                _ if Script::relay_faults().contains(fault) => {
                    vec![sim.fault(fault.clone(), At::relay(), When::NEXT)]
                }
                _ => (0..3).map(|host| sim.fault(fault.clone(), At::pds(host), When::NEXT)).collect(),
            };
            let mut tries = 0;
            while ids.iter().all(|id| sim.fired(*id) == 0) {
                tries += 1;
                assert!(tries < 200, "{fault:?} does not fire");
                let script = Script::random(seed * 1_000 + tries, 5, []).pause(Duration::from_millis(10));
                script.play(&sim).await;
                watched.look_around().await;
            }
            // Something happens after it, so that the stream goes on.
            Script::random(seed, 5, []).play(&sim).await;
        }
        sim.end_faults();
        watched.settle(&sim, LIMIT, || format!("faults {faults:?}")).await;
    }
}

/// What cannot be read has a name, and what was read before stays as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_out_of_reach_has_a_named_state() {
    let sim = network(77).await;
    let watched = Watched::start(&sim, None).await;
    Script::random(77, 60, []).pause(Duration::from_millis(5)).play(&sim).await;
    watched.settle(&sim, LIMIT, || "before".to_owned()).await;
    sim.fault(Fault::Down, At::place(Place::Pds(1)), When::ALWAYS);
    // Somebody heard of: what a relay never passed on has no name anywhere.
    let truth = sim.truth();
    let heard = truth.accounts.iter().filter(|(_, account)| account.active && !account.records.is_empty());
    let (gone, _) =
        heard.clone().find(|(_, account)| account.host == 2).unwrap_or_else(|| heard.clone().next().unwrap());
    sim.tombstone(gone).unwrap();
    // Frames that would have closed the gap are lost on the way.
    sim.fault(Fault::Dropped, At::relay().from_pds(1), When::times(3));
    Script::random(78, 60, []).pause(Duration::from_millis(5)).play(&sim).await;
    watched.settle(&sim, LIMIT, || "PDS 1 is down".to_owned()).await;
    sim.end_faults();
    watched.settle(&sim, LIMIT, || "PDS 1 is back".to_owned()).await;
}
