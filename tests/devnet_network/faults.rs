//! Each fault fires when it is due, changes what a server says, and leaves the truth as it is.

use std::time::{Duration, Instant};

use almanac::decode::Reason;
use almanac::devnet::sim::{At, Fault, Kind, Place, Sim, SimOptions, When};

use crate::client::{Seen, Subscriber, client, get, get_json, xrpc};
use crate::verdict::Reader;

const LAST_OF_BIRTH: i64 = 1_004;

/// A network with one account that has two events.
async fn start() -> (Sim, String) {
    let sim = Sim::start(SimOptions { seed: 21, hosts: 2, accounts: 1, ..SimOptions::default() }).await.unwrap();
    let did = sim.dids().remove(0);
    sim.create_event(&did).unwrap();
    sim.create_event(&did).unwrap();
    (sim, did)
}

/// The relay's frames for one commit under a fault and a sound one after it, and what the PDS itself sent.
async fn under(fault: Fault) -> (Sim, Vec<Seen>, Vec<Seen>) {
    let (sim, did) = start().await;
    let (relay_last, pds_last) = (sim.last_seq(Place::Relay), sim.last_seq(Place::Pds(0)));
    let id = sim.fault(fault.clone(), At::relay().did(&did).kind(Kind::Commit), When::NEXT);
    let mut relay = Subscriber::new(sim.relay_url(), Some(relay_last)).await;
    let mut pds = Subscriber::new(&sim.pds_url(0), Some(pds_last)).await;
    let path = sim.create_event(&did).unwrap().0;
    assert_eq!(sim.fired(id), 1, "{fault:?}");
    sim.update_event(&did, &path).unwrap();
    assert_eq!(sim.fired(id), 1, "{fault:?} fires once");
    let expected = match fault {
        Fault::Dropped => 1,
        Fault::Duplicated | Fault::Repeated => 3,
        _ => 2,
    };
    assert_eq!(sim.truth().accounts[&did].records.len(), 3, "{fault:?} leaves the truth");
    let (from_relay, from_pds) = (relay.take(expected).await, pds.take(2).await);
    (sim, from_relay, from_pds)
}

fn seqs(frames: &[Seen]) -> Vec<i64> {
    frames.iter().map(|frame| frame.seq).collect()
}

fn revs(frames: &[Seen]) -> Vec<&str> {
    frames.iter().filter_map(|frame| crate::judge::text(&frame.body, "rev")).collect()
}

#[tokio::test]
async fn frames_are_moved_doubled_and_lost() {
    let (first, second) = (LAST_OF_BIRTH + 3, LAST_OF_BIRTH + 4);
    for (fault, numbers, order) in [
        (Fault::Reordered, vec![first, second], vec![1, 0]),
        (Fault::Backwards, vec![second, first], vec![1, 0]),
        (Fault::Duplicated, vec![first, first, second], vec![0, 0, 1]),
        (Fault::Repeated, vec![first, second, second + 1], vec![0, 0, 1]),
        (Fault::Dropped, vec![second], vec![1]),
        (Fault::TimeOff(-900), vec![first, second], vec![0, 1]),
    ] {
        let (_sim, relay, pds) = under(fault.clone()).await;
        assert_eq!(seqs(&relay), numbers, "{fault:?}");
        let true_revs = revs(&pds);
        assert_eq!(revs(&relay), order.iter().map(|at| true_revs[*at]).collect::<Vec<_>>(), "{fault:?}");
        let time = |frame: &Seen| crate::judge::text(&frame.body, "time").unwrap().to_owned();
        let off = matches!(fault, Fault::TimeOff(_));
        assert_eq!(time(&relay[0]) == time(&pds[order[0]]), !off, "{fault:?}");
    }
}

#[tokio::test]
async fn damaged_commits_are_refused_for_what_they_are() {
    for (fault, reason) in [
        (Fault::BadSignature, Reason::BadSignature),
        (Fault::HighS, Reason::HighS),
        (Fault::WrongKey, Reason::BadSignature),
        (Fault::LyingPrevData, Reason::PrevDataMismatch),
        (Fault::LyingSince, Reason::ChainBroken),
        (Fault::LyingRev, Reason::RevMismatch),
        (Fault::LyingOpCid, Reason::LeafMismatch),
        (Fault::SwappedRecord, Reason::HashMismatch),
        (Fault::MissingRecord, Reason::MissingBlock),
        (Fault::MissingNodes, Reason::MissingNode),
        (Fault::ForgedDelete, Reason::MissingNode),
        (Fault::TooManyOps, Reason::TooManyOps),
        (Fault::Garbage, Reason::Truncated),
    ] {
        let (sim, did) = start().await;
        let id = sim.fault(fault.clone(), At::relay().kind(Kind::Commit), When::NEXT);
        let start = sim.last_seq(Place::Relay);
        let mut relay = Subscriber::new(sim.relay_url(), Some(1_000)).await;
        let mut reader = Reader::new(&sim, &did).await;
        for _ in 1_000..start {
            reader.judge(&relay.next_bytes().await.unwrap()).unwrap();
        }
        sim.create_event(&did).unwrap();
        assert_eq!(sim.fired(id), 1);
        assert_eq!(reader.judge(&relay.next_bytes().await.unwrap()).unwrap_err(), reason, "{fault:?}");
        // The PDS itself says it right.
        let mut pds = Subscriber::new(&sim.pds_url(0), Some(0)).await;
        let mut reader = Reader::new(&sim, &did).await;
        for _ in 0..sim.last_seq(Place::Pds(0)) {
            reader.judge(&pds.next_bytes().await.unwrap()).unwrap();
        }
    }
}

#[tokio::test]
async fn connections_end_and_numbers_begin_again() {
    let (sim, did) = start().await;
    let last = sim.last_seq(Place::Relay);
    for (fault, told) in [(Fault::Cut, false), (Fault::TooSlow, true)] {
        let id = sim.fault(fault, At::relay(), When::NEXT);
        let mut relay = Subscriber::new(sim.relay_url(), None).await;
        sim.create_event(&did).unwrap();
        sim.create_event(&did).unwrap();
        let seq = relay.next().await.unwrap().seq;
        if told {
            let error = relay.next().await.unwrap();
            assert_eq!(crate::judge::text(&error.body, "error"), Some("ConsumerTooSlow"));
        }
        assert!(relay.next().await.is_none());
        assert_eq!(sim.fired(id), 1);
        let mut again = Subscriber::new(sim.relay_url(), Some(seq)).await;
        assert_eq!(again.next().await.unwrap().seq, seq + 1, "nothing is lost");
    }
    let id = sim.fault(Fault::SequenceReset, At::relay(), When::NEXT);
    let mut relay = Subscriber::new(sim.relay_url(), None).await;
    sim.create_event(&did).unwrap();
    assert!(relay.next().await.is_none());
    assert_eq!((sim.fired(id), sim.last_seq(Place::Relay)), (1, 1));
    let mute = sim.fault(Fault::MuteCursor, At::relay(), When::NEXT);
    let mut muted = Subscriber::new(sim.relay_url(), Some(last)).await;
    sim.create_event(&did).unwrap();
    assert_eq!(muted.next().await.unwrap().seq, 2, "a future cursor gets what comes");
    assert_eq!(sim.fired(mute), 1);
}

#[tokio::test]
async fn a_relay_can_hold_an_old_word_about_an_account() {
    let (sim, did) = start().await;
    let id = sim.fault(Fault::StaleAccount, At::relay().did(&did), When::ALWAYS);
    sim.set_status(&did, Some("takendown")).unwrap();
    assert_eq!(sim.fired(id), 1);
    let url = format!("{}/xrpc/com.atproto.sync.getRepoStatus?did={did}", sim.relay_url());
    assert_eq!(get_json(&url).await.1["active"], true);
    assert_eq!(get_json(&xrpc(&sim, &did, "com.atproto.sync.getRepoStatus", "")).await.1["status"], "takendown");
    assert_eq!(sim.truth().accounts[&did].status, Some("takendown"));
}

#[tokio::test]
async fn requests_fail_in_every_way() {
    let (sim, did) = start().await;
    let url = xrpc(&sim, &did, "com.atproto.sync.getRepo", "");
    let whole = get(&url).await.1;
    let ask = async |fault: Fault| {
        let id = sim.fault(fault, At::pds(0).method("com.atproto.sync.getRepo").did(&did), When::NEXT);
        let answer = client().get(&url).send().await;
        assert_eq!(sim.fired(id), 1);
        answer
    };
    assert!(ask(Fault::Down).await.is_err());
    let limited = ask(Fault::RateLimited(7)).await.unwrap();
    assert_eq!((limited.status().as_u16(), &limited.headers()["retry-after"]), (429, &"7".parse().unwrap()));
    assert_eq!(ask(Fault::ServerError).await.unwrap().status(), 500);
    let html = ask(Fault::Html).await.unwrap();
    assert!(html.status() == 200 && html.text().await.unwrap().starts_with("<!doctype html>"));
    let redirect = ask(Fault::Redirect("http://10.0.0.1/x".into())).await.unwrap();
    assert_eq!(
        (redirect.status().as_u16(), &redirect.headers()["location"]),
        (302, &"http://10.0.0.1/x".parse().unwrap())
    );
    let truncated = ask(Fault::Truncated).await.unwrap().bytes().await.unwrap();
    assert_eq!(truncated, whole[..whole.len() / 2]);
    assert!(ask(Fault::CutOff).await.unwrap().bytes().await.is_err());
    let mut endless = ask(Fault::Endless).await.unwrap();
    let mut read = 0;
    while read < 5_000_000 {
        read += endless.chunk().await.unwrap().expect("it never ends").len();
    }
    drop(endless);
    let begun = Instant::now();
    let slow = ask(Fault::Slow(Duration::from_millis(150))).await.unwrap().bytes().await.unwrap();
    assert!(slow == whole && begun.elapsed() >= Duration::from_millis(150));
    let hang = sim.fault(Fault::Hang, At::pds(0), When::NEXT);
    let waited = tokio::time::timeout(Duration::from_millis(200), client().get(&url).send()).await;
    assert!(waited.is_err() && sim.fired(hang) == 1);
    assert_eq!(get(&url).await.1, whole, "and well again");
}

#[tokio::test]
async fn the_directory_can_be_behind() {
    let (sim, did) = start().await;
    let url = format!("{}/{did}", sim.plc_url());
    let before = get_json(&url).await.1;
    let old = sim.fault(Fault::OldDocument, At::plc().did(&did), When::times(2));
    assert_eq!(get_json(&url).await.1, before);
    assert_eq!(sim.fired(old), 0, "there is no older document yet");
    sim.rotate_key(&did).unwrap();
    assert_eq!(get_json(&url).await.1, before);
    assert_eq!(get_json(&url).await.1, before);
    let after = get_json(&url).await.1;
    assert_ne!(after["verificationMethod"], before["verificationMethod"]);
    assert_eq!(sim.fired(old), 2);
    let gone = sim.fault(Fault::NoDocument, At::plc(), When::NEXT);
    assert_eq!((get(&url).await.0, sim.fired(gone)), (404, 1));
}

#[tokio::test]
async fn a_fault_waits_for_its_moment() {
    let (sim, did) = start().await;
    let id = sim.fault(Fault::Dropped, At::relay().from_pds(0).kind(Kind::Commit), When { after: 2, times: 2 });
    let mut relay = Subscriber::new(sim.relay_url(), None).await;
    for _ in 0..6 {
        sim.create_event(&did).unwrap();
    }
    sim.sync(&did).unwrap();
    let seqs = seqs(&relay.take(5).await);
    let first = seqs[0];
    assert_eq!(seqs, [first, first + 1, first + 4, first + 5, first + 6]);
    assert_eq!(sim.fired(id), 2);
    assert!(sim.faults().iter().all(|fault| !fault.armed));
}
