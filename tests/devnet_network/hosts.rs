//! What PDSes, the relay and the directory answer fits together.

use std::collections::BTreeMap;

use almanac::devnet::sim::{CalendarSize, Place, Sim, SimOptions};
use almanac::event::Cid;

use crate::client::{Subscriber, get, get_json, xrpc};
use crate::judge::{decode, get as field, link, read_car, text};

async fn small(seed: u64) -> Sim {
    Sim::start(SimOptions { seed, hosts: 2, accounts: 4, ..SimOptions::default() }).await.unwrap()
}

fn value(record: &[u8]) -> ciborium::Value {
    decode(record)
}

/// Every record of a repository, by a reader who knows nothing but the CAR.
fn walk(blocks: &BTreeMap<Cid, Vec<u8>>, node: Cid, out: &mut BTreeMap<String, Cid>) {
    let node = value(&blocks[&node]);
    if let Some(left) = field(&node, "l").and_then(link) {
        walk(blocks, left, out);
    }
    let mut key: Vec<u8> = vec![];
    for entry in field(&node, "e").unwrap().as_array().unwrap() {
        key.truncate(crate::judge::int(entry, "p").unwrap() as usize);
        key.extend(field(entry, "k").unwrap().as_bytes().unwrap());
        out.insert(String::from_utf8(key.clone()).unwrap(), link(field(entry, "v").unwrap()).unwrap());
        if let Some(right) = field(entry, "t").and_then(link) {
            walk(blocks, right, out);
        }
    }
}

#[tokio::test]
async fn a_repository_is_the_same_by_every_method() {
    let sim = small(3).await;
    for (did, at) in sim.dids().iter().zip(0..) {
        let mut paths = vec![];
        for _ in 0..20 + at {
            paths.push(sim.create_event(did).unwrap().0);
        }
        sim.delete_record(did, &paths[0]).unwrap();
        sim.update_event(did, &paths[1]).unwrap();
        let truth = sim.truth().accounts[did].clone();
        assert_eq!(truth.records.len(), 19 + at);

        let (status, car) = get(&xrpc(&sim, did, "com.atproto.sync.getRepo", "")).await;
        assert_eq!(status, 200);
        let (blocks, root) = read_car(&car);
        let blocks: BTreeMap<Cid, Vec<u8>> = blocks.into_iter().collect();
        let commit = value(&blocks[&root]);
        assert_eq!(text(&commit, "rev"), truth.rev.as_deref());
        assert_eq!(field(&commit, "data").and_then(link), truth.data);
        let mut found = BTreeMap::new();
        walk(&blocks, truth.data.unwrap(), &mut found);
        assert_eq!(found, truth.records);
        assert!(found.values().all(|cid| blocks.contains_key(cid)));

        let (_, latest) = get_json(&xrpc(&sim, did, "com.atproto.sync.getLatestCommit", "")).await;
        assert_eq!(latest["cid"], root.to_string());
        assert_eq!(latest["rev"].as_str(), truth.rev.as_deref());

        let cids: String = [root, truth.data.unwrap(), *truth.records.values().next().unwrap()]
            .iter()
            .map(|cid| format!("&cids={cid}"))
            .collect();
        let (status, car) = get(&xrpc(&sim, did, "com.atproto.sync.getBlocks", &cids)).await;
        assert_eq!(status, 200);
        assert_eq!(car_blocks_without_root(&car).len(), 3);
        let gone = "&cids=bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpn";
        let (status, error) = get_json(&xrpc(&sim, did, "com.atproto.sync.getBlocks", gone)).await;
        assert_eq!((status, error["error"].as_str()), (400, Some("InvalidRequest")));

        let mut listed = BTreeMap::new();
        let mut cursor = String::new();
        loop {
            let host = sim.pds_url(sim.host_of(did).unwrap());
            let url = format!(
                "{host}/xrpc/com.atproto.repo.listRecords?repo={did}&collection=community.lexicon.calendar.event&limit=7{cursor}"
            );
            let (_, page) = get_json(&url).await;
            for row in page["records"].as_array().unwrap() {
                let path = row["uri"].as_str().unwrap().strip_prefix(&format!("at://{did}/")).unwrap();
                assert_eq!(row["value"]["$type"], "community.lexicon.calendar.event");
                listed.insert(path.to_owned(), row["cid"].as_str().unwrap().parse::<Cid>().unwrap());
            }
            match page["cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(listed, truth.records);

        let (_, document) = get_json(&format!("{}/{did}", sim.plc_url())).await;
        assert_eq!(document["id"], did.as_str());
        assert_eq!(document["service"][0]["serviceEndpoint"], truth.pds);
    }
    let (_, page) = get_json(&format!(
        "{}/xrpc/com.atproto.sync.listReposByCollection?collection=community.lexicon.calendar.event",
        sim.relay_url()
    ))
    .await;
    assert_eq!(page["repos"].as_array().unwrap().len(), 4);
}

/// The blocks of a CAR that names no root.
fn car_blocks_without_root(car: &[u8]) -> Vec<Vec<u8>> {
    let head = car[0] as usize;
    let mut rest = &car[1 + head..];
    let mut out = vec![];
    while !rest.is_empty() {
        let (mut len, mut shift) = (0usize, 0);
        loop {
            let byte = rest[0];
            rest = &rest[1..];
            len |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        out.push(rest[36..len].to_vec());
        rest = &rest[len..];
    }
    out
}

#[tokio::test]
async fn hosts_word_their_refusals_as_the_reference_pds_does() {
    let sim = small(4).await;
    let dids = sim.dids();
    for (did, status, error) in [
        (&dids[0], "deactivated", "RepoDeactivated"),
        (&dids[1], "takendown", "RepoTakendown"),
        (&dids[2], "suspended", "RepoSuspended"),
        (&dids[3], "deleted", "RepoNotFound"),
    ] {
        sim.set_status(did, Some(status)).unwrap();
        for method in ["getRepo", "getLatestCommit"] {
            let (code, body) = get_json(&xrpc(&sim, did, &format!("com.atproto.sync.{method}"), "")).await;
            assert_eq!((code, body["error"].as_str()), (400, Some(error)));
        }
        let (code, body) = get_json(&xrpc(&sim, did, "com.atproto.sync.getRepoStatus", "")).await;
        match status {
            "deleted" => assert_eq!((code, body["error"].as_str()), (400, Some("RepoNotFound"))),
            _ => assert_eq!((code, &body["active"], &body["status"]), (200, &false.into(), &status.into())),
        }
        let relay = format!("{}/xrpc/com.atproto.sync.getRepoStatus?did={did}", sim.relay_url());
        assert_eq!(get_json(&relay).await.1["status"], status);
    }
    sim.tombstone(&dids[0]).unwrap();
    assert_eq!(get(&format!("{}/{}", sim.plc_url(), dids[0])).await.0, 410);
    assert_eq!(get(&format!("{}/did:plc:nobody", sim.plc_url())).await.0, 404);
}

#[tokio::test]
async fn handles_lead_back_to_their_accounts() {
    let sim = small(5).await;
    let dids = sim.dids();
    let resolve = async |handle: &str| {
        let url = format!("{}/xrpc/com.atproto.identity.resolveHandle?handle={handle}", sim.pds_url(0));
        get_json(&url).await.1["did"].as_str().map(str::to_owned)
    };
    let handle = sim.handle(&dids[0]).unwrap();
    assert_eq!(resolve(&handle).await.as_ref(), Some(&dids[0]));
    let request = crate::client::client().get(format!("{}/.well-known/atproto-did", sim.pds_url(0)));
    let told = request.header("host", &handle).send().await.unwrap().text().await.unwrap();
    assert_eq!(told, dids[0]);
    // A document that claims somebody else's handle.
    sim.set_handle(&dids[1], &handle).unwrap();
    assert_eq!(resolve(&handle).await.as_ref(), Some(&dids[0]));
    let truth = sim.truth();
    assert_eq!(truth.accounts[&dids[1]].handle, None);
    assert_eq!(truth.accounts[&dids[0]].handle, Some(handle));
    let (_, document) = get_json(&format!("{}/{}", sim.plc_url(), dids[1])).await;
    assert_eq!(document["alsoKnownAs"][0], format!("at://{}", sim.handle(&dids[0]).unwrap()));
}

#[tokio::test]
async fn a_migrated_account_lives_on_the_new_host_alone() {
    let sim = small(6).await;
    let did = &sim.dids()[0];
    sim.create_event(did).unwrap();
    let before = sim.truth().accounts[did].clone();
    let (_, old_document) = get_json(&format!("{}/{did}", sim.plc_url())).await;
    let seq = sim.last_seq(Place::Relay);
    sim.migrate(did, 1).unwrap();
    let mut relay = Subscriber::new(sim.relay_url(), Some(seq)).await;
    let told: Vec<String> = relay.take(3).await.into_iter().map(|frame| frame.kind).collect();
    assert_eq!(told, ["#identity", "#account", "#sync"], "the old host's farewell is not the account's");
    let after = sim.truth().accounts[did].clone();
    assert_eq!((before.host, after.host, &before.records), (0, 1, &after.records));
    assert!(before.rev < after.rev);
    let (_, document) = get_json(&format!("{}/{did}", sim.plc_url())).await;
    assert_ne!(document["verificationMethod"], old_document["verificationMethod"]);
    let old = format!("{}/xrpc/com.atproto.sync.getRepoStatus?did={did}", sim.pds_url(0));
    assert_eq!(get_json(&old).await.1["status"], "deactivated");
    let relay = format!("{}/xrpc/com.atproto.sync.getRepoStatus?did={did}", sim.relay_url());
    assert_eq!(get_json(&relay).await.1["active"], true);
    assert_eq!(get(&xrpc(&sim, did, "com.atproto.sync.getRepo", "")).await.0, 200);
    let (_, log) = get_json(&format!("{}/{did}/log/audit", sim.plc_url())).await;
    assert_eq!(log.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_seed_decides_accounts_and_records() {
    let make = async |seed| {
        let sim = small(seed).await;
        for did in sim.dids() {
            sim.create_event(&did).unwrap();
        }
        let records = |(did, truth): (String, almanac::devnet::sim::AccountTruth)| (did, truth.records, truth.handle);
        sim.truth().accounts.into_iter().map(records).collect::<Vec<_>>()
    };
    assert_eq!(make(8).await, make(8).await);
    assert_ne!(make(8).await, make(9).await);
}

#[tokio::test]
async fn a_network_of_todays_size_is_there_at_once() {
    let sim = Sim::calendar_sized(1).await.unwrap();
    let truth = sim.truth();
    assert_eq!((truth.accounts.len(), sim.pds_urls().len()), (1_633, 120));
    let count = |collection: &str| {
        let with = |records: &BTreeMap<String, Cid>| records.keys().filter(|p| p.starts_with(collection)).count();
        let counts: Vec<usize> = truth.accounts.values().map(|account| with(&account.records)).collect();
        (counts.iter().sum::<usize>(), counts.iter().filter(|count| **count > 0).count())
    };
    assert_eq!(count("community.lexicon.calendar.event/"), (14_600, 318));
    assert_eq!(count("community.lexicon.calendar.rsvp/"), (6_300, 1_430));
    assert_eq!(sim.faults().len(), 4, "4 % of the hosts fail");
    let size = CalendarSize::TODAY;
    let (did, account) = truth.accounts.iter().find(|(_, account)| account.unreachable.is_none()).unwrap();
    let (status, car) = get(&xrpc(&sim, did, "com.atproto.sync.getRepo", "")).await;
    assert_eq!(status, 200);
    let (blocks, _) = read_car(&car);
    assert!(blocks.len() > size.fillers_max / 64, "{} blocks beside {} records", blocks.len(), account.records.len());
}

#[tokio::test]
async fn a_did_web_is_served_by_its_host() {
    let sim = small(7).await;
    let did = sim.create_web_account(1).unwrap();
    sim.create_event(&did).unwrap();
    assert_eq!(did.replace("%3A", ":"), format!("did:web:{}", sim.pds_url(1).replace("http://127.0.0.1", "localhost")));
    let (status, document) = get_json(&format!("{}/.well-known/did.json", sim.pds_url(1))).await;
    assert_eq!((status, document["id"].as_str()), (200, Some(&*did)));
    assert_eq!(get(&format!("{}/.well-known/did.json", sim.pds_url(0))).await.0, 404);
    assert_eq!(get(&format!("{}/{did}", sim.plc_url())).await.0, 404, "the directory knows no did:web");
    let url = format!("{}/xrpc/com.atproto.sync.getRepo?did={}", sim.pds_url(1), did.replace('%', "%25"));
    assert_eq!(get(&url).await.0, 200);
    assert_eq!(sim.truth().accounts[&did].unreachable, None);
}

#[tokio::test]
async fn what_is_out_of_reach_is_said_to_be() {
    use almanac::devnet::sim::{At, Fault, When};
    let sim = small(8).await;
    let dids = sim.dids();
    sim.write_ahead(&dids[0], &[], std::time::Duration::from_secs(600)).unwrap();
    sim.tombstone(&dids[1]).unwrap();
    let for_ever = sim.fault(Fault::ServerError, At::pds(0).did(&dids[2]), When::ALWAYS);
    sim.fault(Fault::ServerError, At::pds(1).did(&dids[3]), When::NEXT);
    let unreachable = |at: usize| sim.truth().accounts[&dids[at]].unreachable;
    assert_eq!(unreachable(0), Some("its revisions are in the future"));
    assert_eq!(unreachable(1), Some("its DID is tombstoned"));
    assert_eq!(unreachable(2), Some("its PDS does not answer"));
    assert_eq!(unreachable(3), None, "what fails once can be asked again");
    sim.end_fault(for_ever);
    assert_eq!(unreachable(2), None);
}

#[tokio::test]
async fn large_repositories_are_made_of_their_paths() {
    let sim = small(9).await;
    let old = sim.create_old_account(0, 2_000).unwrap();
    let heavy = sim.create_heavy_account(1, 300, 30_000).unwrap();
    for (did, at_least, records) in [(&old, 300_000, 2_000), (&heavy, 9_000_000, 300)] {
        sim.create_event(did).unwrap();
        let (status, car) = get(&xrpc(&sim, did, "com.atproto.sync.getRepo", "")).await;
        assert!(status == 200 && car.len() > at_least, "{}", car.len());
        // The reader checks every hash.
        let (blocks, root) = read_car(&car);
        let blocks: BTreeMap<Cid, Vec<u8>> = blocks.into_iter().collect();
        let mut found = BTreeMap::new();
        walk(&blocks, field(&value(&blocks[&root]), "data").and_then(link).unwrap(), &mut found);
        assert_eq!(found.len(), records + 1);
        assert!(found.values().all(|cid| blocks.contains_key(cid)));
        let since = sim.truth().accounts[did].rev.clone().unwrap();
        sim.create_event(did).unwrap();
        let (_, part) = get(&xrpc(&sim, did, "com.atproto.sync.getRepo", &format!("&since={since}"))).await;
        assert!(part.len() < car.len() / 20, "{} of {}", part.len(), car.len());
    }
}
