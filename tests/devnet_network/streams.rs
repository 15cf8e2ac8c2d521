//! What subscribers get.

use almanac::devnet::sim::{Place, Sim, SimOptions};
use almanac::event::Cid;

use crate::client::Subscriber;
use crate::judge::{get, link, read_car, text};

async fn start(accounts: usize) -> Sim {
    Sim::start(SimOptions { seed: 11, hosts: 2, accounts, ..SimOptions::default() }).await.unwrap()
}

#[tokio::test]
async fn the_relay_passes_on_what_every_host_says() {
    let sim = start(2).await;
    let dids = sim.dids();
    let (path, cid) = sim.create_event(&dids[1]).unwrap();
    let mut relay = Subscriber::new(sim.relay_url(), Some(1_000)).await;
    let frames = relay.take(9).await;
    let kinds: Vec<&str> = frames.iter().map(|frame| &*frame.kind).collect();
    let birth = ["#identity", "#account", "#commit", "#sync"];
    assert_eq!(kinds, [&birth[..], &birth, &["#commit"]].concat());
    assert!(frames.iter().map(|frame| frame.seq).eq(1_001..1_010));
    let commit = &frames[8];
    assert_eq!(commit.did, dids[1]);
    let op = &get(&commit.body, "ops").unwrap().as_array().unwrap()[0];
    assert_eq!((text(op, "path"), get(op, "cid").and_then(link)), (Some(&*path), Some(cid)));
    let (blocks, root) = read_car(get(&commit.body, "blocks").unwrap().as_bytes().unwrap());
    assert!(blocks.iter().any(|(block, _)| *block == cid));
    assert_eq!(Some(root), get(&commit.body, "commit").and_then(link));
    // The host numbers for itself.
    let mut host = Subscriber::new(&sim.pds_url(1), Some(0)).await;
    let own = host.take(5).await;
    assert!(own.iter().map(|frame| frame.seq).eq(1..6));
    assert_eq!(own[4].did, dids[1]);
}

#[tokio::test]
async fn revisions_are_of_the_present_and_chain() {
    let sim = start(1).await;
    let did = &sim.dids()[0];
    for _ in 0..5 {
        sim.create_event(did).unwrap();
    }
    let mut relay = Subscriber::new(sim.relay_url(), Some(1_000)).await;
    let mut before: Option<(String, Option<Cid>)> = None;
    for frame in relay.take(9).await.iter().filter(|frame| frame.kind == "#commit") {
        let rev = text(&frame.body, "rev").unwrap().to_owned();
        let age = chrono::Utc::now().timestamp_micros() - almanac::event::Rev::parse(&rev).unwrap().micros() as i64;
        assert!((0..60_000_000).contains(&age), "{age} µs");
        let (blocks, root) = read_car(get(&frame.body, "blocks").unwrap().as_bytes().unwrap());
        let commit = crate::judge::decode(&blocks.iter().find(|(cid, _)| *cid == root).unwrap().1);
        if let Some((since, data)) = before {
            assert_eq!(text(&frame.body, "since"), Some(&*since));
            assert_eq!(get(&frame.body, "prevData").and_then(link), data);
        }
        before = Some((rev, get(&commit, "data").and_then(link)));
    }
}

#[tokio::test]
async fn cursors_lead_where_they_should() {
    let sim = start(1).await;
    let did = &sim.dids()[0];
    sim.create_event(did).unwrap();
    let last = sim.last_seq(Place::Relay);
    let mut live = Subscriber::new(sim.relay_url(), None).await;
    let mut resumed = Subscriber::new(sim.relay_url(), Some(last - 1)).await;
    assert_eq!(resumed.next().await.unwrap().seq, last);
    let mut future = Subscriber::new(sim.relay_url(), Some(last + 50)).await;
    let refused = future.next().await.unwrap();
    assert_eq!((&*refused.kind, text(&refused.body, "error")), ("error", Some("FutureCursor")));
    assert!(future.next().await.is_none());
    sim.shrink_window(Place::Relay, 1);
    let mut old = Subscriber::new(sim.relay_url(), Some(1_000)).await;
    let info = old.next().await.unwrap();
    assert_eq!((&*info.kind, text(&info.body, "name")), ("#info", Some("OutdatedCursor")));
    assert_eq!(old.next().await.unwrap().seq, last);
    sim.create_event(did).unwrap();
    for subscriber in [&mut live, &mut resumed, &mut old] {
        assert_eq!(subscriber.next().await.unwrap().seq, last + 1);
    }
    sim.reset_sequence(Place::Relay);
    assert!(live.next().await.is_none(), "a reset cuts connections");
    sim.create_event(did).unwrap();
    let mut begun = Subscriber::new(sim.relay_url(), Some(0)).await;
    assert_eq!(begun.next().await.unwrap().seq, 1);
}
