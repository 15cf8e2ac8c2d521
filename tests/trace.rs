//! `almanac trace` tells a record's whole life: every carrier, what was proven, whose it is and which rule said so, and what
//! was refused and why.

#[allow(dead_code)] // Parts of these are there for other tests.
mod support {
    pub mod almanac;
    pub mod child;
    pub mod postgres;
    pub mod serve;
    pub mod sim;
}

use std::time::Duration;

use almanac::devnet::sim::{Sim, SimOptions};
use serde_json::Value as Json;
use support::almanac as executable;
use support::postgres::TestDb;
use support::serve::{Serve, eventually};

const LIMIT: Duration = Duration::from_secs(60);

async fn life(db: &TestDb, uri: &str, what: &str, is: impl Fn(&Json) -> bool) -> Json {
    eventually(what, LIMIT, async || {
        let output = executable::command(db.url().expose(), &["trace", "--json", uri]).output().unwrap();
        let said = || String::from_utf8_lossy(&output.stderr).into_owned();
        let life: Json = serde_json::from_slice(&output.stdout).map_err(|_| said())?;
        if is(&life) { Ok(life) } else { Err(life.to_string()) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_is_told_from_its_carriers_to_the_index() {
    let sim = Sim::start(SimOptions { seed: 5, hosts: 1, accounts: 2, ..SimOptions::default() }).await.unwrap();
    let (anna, bela) = (sim.dids()[0].clone(), sim.dids()[1].clone());
    let (db, folder) = (TestDb::fresh().await, tempfile::tempdir().unwrap());
    let settings = folder.path().join("almanac.toml");
    // Nothing is fetched: all that is there came through a stream.
    std::fs::write(&settings, "[backfill]\nmode = 'off'\n").unwrap();
    let pds = sim.pds_url(0).replacen("http", "ws", 1);
    let mut flags = support::sim::flags(&sim, &settings);
    flags.extend(["--pds", &pds, "--deny", &bela]);
    let serve = Serve::start_with(db.url().expose(), &sim.relay_ws_url(), folder.path(), &flags);
    eventually("both are connected", LIMIT, async || match serve.metric("almanac_source_connected_upstreams").await {
        Some(2.0) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    // What is written before both hosts know their subscriber reaches neither.
    let (heard, _) = eventually("somebody is heard through both", LIMIT, async || {
        let (path, cid) = sim.create_event(&anna).unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let sightings: i64 =
            sqlx::query_scalar("select count(*) from ingest.sighting").fetch_one(db.pool()).await.unwrap();
        if sightings > 0 { Ok((format!("at://{anna}/{path}"), cid)) } else { Err("no".to_owned()) }
    })
    .await;
    let told = life(&db, &heard, "the record and both its carriers", |life| {
        life["shown"] == true && life["sightings"].as_array().is_some_and(|all| all.len() == 1)
    })
    .await;
    let put = told["log"].as_array().unwrap().iter().find(|word| word["kind"] == "put").unwrap();
    assert_eq!((&put["origin"], &put["origin_rule"]), (&Json::from("network"), &Json::from(11)), "{told}");
    assert_eq!(put["verification"], "full");
    assert!(put["commit_cid"].as_str().unwrap().starts_with("bafyrei"), "{put}");
    assert_eq!(put["pds"], told["repository"]["pds"]);
    assert_ne!(put["upstream"], told["sightings"][0]["upstream"], "one carrier stands in the log, the other beside it");
    assert!(put["seq"].is_i64() && told["sightings"][0]["seq"].is_i64());
    let standing = &told["standing"];
    assert_eq!((&standing["standing"], &standing["kept"]), (&Json::from("network"), &Json::from(true)));
    assert!(sim.plc_url().starts_with(standing["directory"].as_str().unwrap().trim_end_matches('/')), "{standing}");
    assert!(standing["claimed_handle"].is_string());

    let refused = format!("at://{bela}/{}", sim.create_event(&bela).unwrap().0);
    let told = life(&db, &refused, "the refused record through both", |life| {
        life["quarantine"]
            .as_array()
            .is_some_and(|all| all.iter().map(|q| q["times"].as_i64().unwrap()).sum::<i64>() == 2)
    })
    .await;
    assert_eq!(told["shown"], false);
    assert_eq!((&told["quarantine"][0]["reason"], &told["quarantine"][0]["rule"]), (&"denied".into(), &3.into()));
    assert!(told["quarantine"][0]["commit_cid"].is_string() && told["quarantine"][0]["rev"].is_string());
    assert!(told["reason"].as_str().unwrap().contains("denied"), "{told}");
    assert_eq!(told["log"], Json::Array(vec![]), "nothing of a denied account is in the log");
}
