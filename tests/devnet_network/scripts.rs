//! Scripts: random lives of a network, judged by a careful reader and by the oracle.

use almanac::decode::Message;
use almanac::devnet::sim::{At, Difference, Fault, Place, Script, Shown, Sim, SimOptions, When};

use crate::client::{Subscriber, get, xrpc};
use crate::judge::read_car;
use crate::verdict::Reader;

const CALENDAR: &[&str] = &["community.lexicon.calendar.event", "community.lexicon.calendar.rsvp"];

async fn start(seed: u64) -> Sim {
    Sim::start(SimOptions { seed, hosts: 3, accounts: 6, ..SimOptions::default() }).await.unwrap()
}

#[tokio::test]
async fn a_script_without_faults_is_sound_to_a_careful_reader() {
    let sim = start(31).await;
    let mut relay = Subscriber::new(sim.relay_url(), Some(1_000)).await;
    let mut reader = Reader::new(&sim, &sim.dids()[0]).await;
    for seed in 0..40 {
        // Few steps at a time: keys are looked up as they are now.
        Script::random(seed, 3, []).play(&sim).await;
        for did in sim.dids() {
            reader.look_up(&sim, &did).await;
        }
        let last = sim.last_seq(Place::Relay);
        while let Some(bytes) = relay.next_bytes().await {
            let outline = almanac::decode::outline(&bytes).unwrap();
            let (seq, did) = (outline.seq.unwrap(), outline.did.to_owned());
            match reader.judge(&bytes) {
                Ok(Message::Unknown) => panic!("an unknown kind"),
                Ok(_) => {}
                // A key that was changed within these steps: its earlier frames are signed by the one before.
                Err(almanac::decode::Reason::BadSignature) if rotated(&sim, &did).await => {
                    reader.judge_unsigned(&bytes).unwrap();
                }
                Err(reason) => panic!("seed {seed}, frame {seq} of {did}: {reason:?}"),
            }
            if seq == last {
                break;
            }
        }
    }
    // What stands at the end is what the hosts serve.
    for (did, truth) in sim.truth().accounts.iter().filter(|(_, truth)| truth.active) {
        let (status, car) = get(&xrpc(&sim, did, "com.atproto.sync.getRepo", "")).await;
        assert_eq!(status, 200);
        let (blocks, _) = read_car(&car);
        assert!(truth.records.values().all(|cid| blocks.iter().any(|(block, _)| block == cid)));
    }
}

async fn rotated(sim: &Sim, did: &str) -> bool {
    let (_, log) = crate::client::get_json(&format!("{}/{did}/log/audit", sim.plc_url())).await;
    log.as_array().unwrap().len() > 1
}

#[tokio::test]
async fn a_seed_runs_again_exactly() {
    let run = async |seed| {
        let sim = start(41).await;
        let trace = Script::random(seed, 120, Script::all_faults()).play(&sim).await;
        let fired: Vec<u64> = trace.faults.iter().map(|(id, _)| sim.fired(*id)).collect();
        let records =
            |(did, truth): (String, almanac::devnet::sim::AccountTruth)| (did, truth.status, truth.host, truth.records);
        (trace.lines, fired, sim.truth().accounts.into_iter().map(records).collect::<Vec<_>>())
    };
    let first = run(7).await;
    assert_eq!(first, run(7).await);
    assert_ne!(first.0, run(8).await.0);
}

#[tokio::test]
async fn every_fault_of_a_relay_fires_in_some_script() {
    for fault in Script::relay_faults() {
        let mut fired = 0;
        for seed in 0..20 {
            let sim = start(51).await;
            let trace = Script::random(seed, 60, [fault.clone()]).play(&sim).await;
            fired += trace.faults.iter().map(|(id, _)| sim.fired(*id)).sum::<u64>();
            if fired > 0 {
                break;
            }
        }
        assert!(fired > 0, "{fault:?}");
    }
}

#[tokio::test]
async fn the_oracle_sees_every_difference() {
    let sim = start(61).await;
    Script::random(3, 150, []).play(&sim).await;
    let dids = sim.dids();
    let (did, other) = (sim.create_account(0).unwrap(), sim.create_account(1).unwrap());
    let (path, _) = sim.create_event(&did).unwrap();
    sim.create_event(&other).unwrap();
    let right = sim.truth().shown(CALENDAR);
    assert_eq!(sim.truth().compare(&right, CALENDAR), []);
    assert!(dids.len() >= 6 && right.records.len() > 20);

    let uri = format!("at://{did}/{path}");
    let spoilt = |spoil: &dyn Fn(&mut Shown)| {
        let mut shown = right.clone();
        spoil(&mut shown);
        let found = sim.truth().compare(&shown, CALENDAR);
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].clone()
    };
    assert!(matches!(spoilt(&|shown| drop(shown.records.remove(&uri))), Difference::Missing { .. }));
    let stale = spoilt(&|shown| drop(shown.records.insert(uri.clone(), "bafyreiold".into())));
    assert!(matches!(&stale, Difference::Stale { .. }), "{stale}");
    let extra = spoilt(&|shown| drop(shown.records.insert(format!("at://{did}/{}/x", CALENDAR[0]), "c".into())));
    assert!(extra.to_string().ends_with("there is no such record"), "{extra}");
    let status = spoilt(&|shown| shown.accounts.get_mut(&did).unwrap().status = Some("deleted".into()));
    assert!(matches!(status, Difference::Account { field: "status", .. }));
    let handle = spoilt(&|shown| shown.accounts.get_mut(&did).unwrap().handle = Some(None));
    assert!(matches!(handle, Difference::Account { field: "handle", .. }));
    let rev = spoilt(&|shown| shown.accounts.get_mut(&did).unwrap().rev = Some("2222222222222".into()));
    assert!(matches!(rev, Difference::Account { field: "rev", .. }));

    // Hidden: nothing of it may be shown.
    sim.set_status(&did, Some("takendown")).unwrap();
    let found = sim.truth().compare(&Shown { accounts: Default::default(), ..right.clone() }, CALENDAR);
    assert!(matches!(&found[..], [Difference::Extra { .. }]), "{found:?}");
    sim.set_status(&did, None).unwrap();

    // Out of reach: what was read may stay, and there must be a named state.
    sim.fault(Fault::Down, At::place(Place::Pds(1)), When::ALWAYS);
    let unnamed = |shown: &Shown| {
        let found = sim.truth().compare(shown, CALENDAR);
        found.iter().filter(|d| matches!(d, Difference::Unnamed { did, .. } if *did == other)).count()
    };
    assert_eq!(unnamed(&right), 1);
    let mut named = right.clone();
    named.accounts.get_mut(&other).unwrap().trouble = Some("unreachable".into());
    assert_eq!(unnamed(&named), 0);
}
