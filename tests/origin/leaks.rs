//! What dev accounts write is offered to production on every way there is.

use almanac::devnet::sim::Place;
use serde_json::{Map, Value};

use crate::support::child::Running;
use crate::support::serve::eventually;
use crate::two::{LIMIT, NEUTRAL, NEUTRAL_TOO, OWN, Two, event, rsvp};

/// Written on dev's PDS, carried by the relay that production follows: its directory does not know the account.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dev_record_on_the_relay_is_unknown() {
    let two = Two::start(1).await;
    let production = two.production().await;
    let (dev, ours) = (two.dev.create_account(OWN).unwrap(), two.prod.create_account(NEUTRAL).unwrap());
    let leaked = event(&two.dev, &dev);
    production.shows(&event(&two.prod, &ours)).await;
    production.refused(&leaked, "unknown", 4).await;
    let kept = event(&two.prod, &ours);
    production.shows(&kept).await;
    production.told(&kept).await;
    // What comes later is refused without anybody being asked again.
    let later = event(&two.dev, &dev);
    production.refused(&later, "unknown", 4).await;
    production.nothing_held_back(&[&ours]).await;
}

/// The same account is in production's directory too, and lives on dev's PDS by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dev_account_in_our_directory_is_foreign() {
    let two = Two::start(2).await;
    let production = two.production().await;
    let dev = two.dev.create_account(OWN).unwrap();
    two.dev.copy_document(&dev, &two.prod).unwrap();
    let leaked = event(&two.dev, &dev);
    production.refused(&leaked, "foreign", 6).await;
    let later = event(&two.dev, &dev);
    production.refused(&later, "foreign", 6).await;
}

/// What was written before production first listened is found by asking the relay who has such records.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn discovery_fetches_no_dev_account() {
    let two = Two::start(3).await;
    let (unknown, foreign) = (two.dev.create_account(OWN).unwrap(), two.dev.create_account(OWN).unwrap());
    two.dev.copy_document(&foreign, &two.prod).unwrap();
    let ours = two.prod.create_account(NEUTRAL).unwrap();
    event(&two.dev, &unknown);
    event(&two.dev, &foreign);
    let kept = event(&two.prod, &ours);
    let production = two.production().await;
    production.shows(&kept).await;
    production.not_fetched(&unknown, "unknown", 4).await;
    production.not_fetched(&foreign, "foreign", 6).await;
    production.nothing_held_back(&[&ours]).await;
}

/// An operator asks for it by name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backfill_fetches_no_dev_account() {
    let two = Two::start(4).await;
    let production = two.production().await;
    // The relay was asked already when these wrote, and its stream does not tell of what was written before it leaked.
    let (unknown, foreign) = (two.dev.create_account(OWN).unwrap(), two.dev.create_account(OWN).unwrap());
    two.dev.copy_document(&foreign, &two.prod).unwrap();
    for did in [&unknown, &foreign] {
        let done = production.run(&["backfill", "--json", "--did", did], true);
        let told: Value = serde_json::from_slice(&done.stdout)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&done.stderr)));
        let bytes: u64 = told["hosts"].as_array().unwrap().iter().map(|host| host["bytes"].as_u64().unwrap()).sum();
        assert_eq!((&told["counts"]["queued"], bytes), (&0.into(), 0), "{told}");
        assert_eq!(done.status.code(), Some(1), "whoever asked is not told: {told}");
    }
    production.not_fetched(&unknown, "unknown", 4).await;
    production.not_fetched(&foreign, "foreign", 6).await;
}

/// A dump of dev's relay, with the documents of its accounts, into production's log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_of_dev_is_judged_by_the_documents_beside_it() {
    let two = Two::start(5).await;
    let (on_dev, elsewhere) = (two.dev.create_account(OWN).unwrap(), two.dev.create_account(NEUTRAL).unwrap());
    two.dev.set_handle(&elsewhere, "elsa.dev.test").unwrap();
    let leaked = [event(&two.dev, &on_dev), event(&two.dev, &elsewhere)];
    // Of the documents one is missing.
    let nobody = two.dev.create_account(OWN).unwrap();
    let unnamed = event(&two.dev, &nobody);
    let mut production = two.production().await;
    let documents: Map<String, Value> =
        [&on_dev, &elsewhere].map(|did| (did.clone(), two.dev.document(did).unwrap().unwrap())).into_iter().collect();
    let (dump, docs) = (production.file("dev.frames"), production.file("documents.json"));
    std::fs::write(&docs, Value::Object(documents).to_string()).unwrap();
    let mut bytes = Vec::new();
    for frame in two.dev.frames(Place::Relay) {
        bytes.extend((frame.len() as u32).to_le_bytes());
        bytes.extend(&frame[..]);
    }
    std::fs::write(&dump, bytes).unwrap();
    production.stop();
    let done =
        production.run(&["replay", "--json", dump.to_str().unwrap(), "--did-docs", docs.to_str().unwrap()], false);
    assert!(!done.stdout.is_empty(), "{}", String::from_utf8_lossy(&done.stderr));
    for uri in &leaked {
        production.refused(uri, "foreign", 6).await;
    }
    production.refused(&unnamed, "no_key", 0).await;
}

/// A dump that says that it was recorded in dev.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_recorded_in_dev_is_refused_or_goes_to_quarantine_whole() {
    let two = Two::start(12).await;
    let (ours, dev) = (two.prod.create_account(OWN).unwrap(), two.dev.create_account(OWN).unwrap());
    // Recorded there, and none the less ours by every document.
    let (own, leaked) = (event(&two.prod, &ours), event(&two.dev, &dev));
    let mut production = two.production().await;
    let later = [event(&two.prod, &ours), event(&two.dev, &dev)];
    production.shows(&later[0]).await;
    production.refused(&later[1], "unknown", 4).await;
    production.stop();
    let dump = production.file("dev.mcap");
    let dump = dump.to_str().unwrap();
    let frames = two.prod.frames(Place::Relay).len().to_string();
    let mut record = std::process::Command::new(env!("CARGO_BIN_EXE_almanac"));
    // Its first number is the one after this.
    record.args(["record", "--environment", "dev", "--relay", &two.prod.relay_ws_url(), "--cursor", "1000"]);
    let recorded = record.args(["--max-frames", &frames, "--out", dump]).output().unwrap();
    assert!(recorded.status.success(), "{}", String::from_utf8_lossy(&recorded.stderr));
    let replayed = production.run(&["replay", "--json", dump], false);
    let said = String::from_utf8_lossy(&replayed.stderr).into_owned();
    assert_eq!((replayed.status.code(), replayed.stdout.len()), (Some(2), 0), "{said}");
    assert!(said.contains("dev") && said.contains("--as-foreign"), "{said}");
    assert!(production.quarantine(&ours).await.is_empty());
    let replayed = production.run(&["replay", "--json", "--as-foreign", dump], false);
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stderr));
    for uri in [&leaked, &later[1]] {
        production.refused(uri, "foreign", 1).await;
    }
    for uri in [&own, &later[0]] {
        assert_eq!(production.has_in_quarantine(uri, "foreign", 1).await, Ok(()), "{uri}");
        assert!(production.is_shown(uri).await, "{uri}");
    }
}

/// Dev's PDS or directory among production's settings: nothing is asked of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_declared_for_dev_is_not_connected_to() {
    let two = Two::start(13).await;
    let production = two.production().await;
    let (pds, plc) = (two.dev.pds_url(OWN), two.dev.plc_url().to_owned());
    let stream = pds.replacen("http", "ws", 1);
    let before = two.dev.served();
    let declared = format!("{}=dev,{}=dev", pds.trim_start_matches("http://"), plc.trim_start_matches("http://"));
    let commands: [(&[&str], bool); 4] = [
        (&["serve", "--relay", &stream], true),
        (&["serve", "--pds", &stream], true),
        (&["serve", "--plc", &plc], false),
        (&["backfill", "--host", &pds], true),
    ];
    for (number, (args, reaching)) in commands.into_iter().enumerate() {
        let mut command = production.command(args, reaching);
        command.env("ALMANAC_ORIGIN_HOSTS", &declared);
        let mut running = Running::start("almanac", &mut command, &production.file(&format!("{number}.log")));
        let ended = running.end(LIMIT);
        assert!(!ended.success(), "{args:?}: {ended}");
        assert!(running.log().contains("`dev`"), "{args:?}: {}", running.log());
    }
    assert_eq!(two.dev.served(), before);
}

/// Somebody wrote dev's PDS among production's upstreams.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dev_pds_followed_by_mistake_gives_nothing() {
    let two = Two::start(6).await;
    let dev = two.dev.create_account(NEUTRAL).unwrap();
    let known = two.dev.create_account(NEUTRAL).unwrap();
    two.dev.name_pds(&known, NEUTRAL_TOO).unwrap();
    two.dev.copy_document(&known, &two.prod).unwrap();
    let production = two.production_at(&two.dev.pds_url(NEUTRAL)).await;
    // Nobody declared that PDS: what it says of whom our directory does not know is unknown.
    let leaked = event(&two.dev, &dev);
    production.refused(&leaked, "unknown", 4).await;
    // And of whom our directory knows to live elsewhere it may not speak.
    let leaked = event(&two.dev, &known);
    production.quarantined(&leaked, "wrong_host", 2).await;
}

/// A dev PDS that is restored from production's backup has production's accounts, with their keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dev_pds_with_our_backup_speaks_for_nobody() {
    let two = Two::start(7).await;
    let ours = two.prod.create_account(OWN).unwrap();
    let before = event(&two.prod, &ours);
    let production = two.production_at(&two.dev.pds_url(NEUTRAL)).await;
    let fetched = production.run(&["backfill", "--json", "--did", &ours], true);
    assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
    production.shows(&before).await;
    two.prod.restore_on(&ours, &two.dev, NEUTRAL).unwrap();
    let forged = event(&two.dev, &ours);
    production.quarantined(&forged, "wrong_host", 2).await;
    assert!(production.is_shown(&before).await);
}

/// The same copy, behind a relay that does not ask where an account lives: its frames cannot be told from ours. What tells is
/// the account's own host, which has never heard of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_with_our_keys_through_a_careless_relay_is_named() {
    let two = Two::start(15).await;
    let ours = two.prod.create_account(NEUTRAL).unwrap();
    let production = two.production().await;
    production.shows(&event(&two.prod, &ours)).await;
    two.prod.restore_on(&ours, &two.dev, NEUTRAL).unwrap();
    event(&two.dev, &ours);
    eventually("the account is named", LIMIT, async || {
        let state: String = sqlx::query_scalar("select state from ingest.repo where did = $1")
            .bind(&ours)
            .fetch_one(production.pool())
            .await
            .unwrap();
        if state == "rolled_back" { Ok(()) } else { Err(state) }
    })
    .await;
}

/// A PDS nobody declared, on which an account calls itself by a name of dev's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handle_of_dev_is_foreign_wherever_it_lives() {
    let two = Two::start(8).await;
    let production = two.production().await;
    let (dev, ours) = (two.prod.create_account(NEUTRAL).unwrap(), two.prod.create_account(NEUTRAL).unwrap());
    two.prod.set_handle(&dev, "anna.dev.test").unwrap();
    two.prod.set_handle(&ours, "anna.prod.test").unwrap();
    let leaked = event(&two.prod, &dev);
    let kept = event(&two.prod, &ours);
    production.refused(&leaked, "foreign", 6).await;
    production.shows(&kept).await;
    production.nothing_held_back(&[&ours]).await;
    // It takes the name later: what was shown is hidden.
    two.prod.set_handle(&ours, "bela.dev.test").unwrap();
    production.hides(&kept).await;
    production.verdicts(&ours, &["foreign"]).await;
}

/// A did:web needs no directory: whoever serves its document says where it lives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_did_web_of_dev_is_foreign_and_one_that_nobody_serves_unknown() {
    let two = Two::start(9).await;
    let production = two.production().await;
    let (dev, gone) = (two.dev.create_web_account(OWN).unwrap(), two.dev.create_web_account(NEUTRAL).unwrap());
    let ours = two.prod.create_web_account(NEUTRAL).unwrap();
    two.dev.tombstone(&gone).unwrap();
    let leaked = event(&two.dev, &dev);
    let unserved = event(&two.dev, &gone);
    let kept = event(&two.prod, &ours);
    production.refused(&leaked, "foreign", 6).await;
    production.refused(&unserved, "unknown", 4).await;
    production.shows(&kept).await;
    production.nothing_held_back(&[&ours]).await;
}

/// A dev user answers to an event of production: nobody is counted, and nobody is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dev_rsvp_to_our_event_counts_nowhere() {
    let two = Two::start(10).await;
    let production = two.production().await;
    let (host, guest) = (two.prod.create_account(OWN).unwrap(), two.prod.create_account(NEUTRAL).unwrap());
    let stranger = two.dev.create_account(OWN).unwrap();
    let party = event(&two.prod, &host);
    production.shows(&event(&two.prod, &guest)).await;
    let comes = rsvp(&two.prod, &guest, &party, &two.prod);
    let leaked = rsvp(&two.dev, &stranger, &party, &two.prod);
    production.shows(&party).await;
    production.shows(&comes).await;
    production.told(&comes).await;
    production.refused(&leaked, "unknown", 4).await;
    let answers = production.serve.rsvps_to(&party).await;
    assert_eq!(answers.len(), 1, "{answers:?}");
    production.nothing_held_back(&[&host, &guest]).await;
}

/// Whoever belongs is told of from the first record on: its account is looked up, and its past fetched, without that being lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_who_belongs_is_told_of() {
    let two = Two::start(14).await;
    let production = two.production().await;
    let dids: Vec<String> = (0..12).map(|n| two.prod.create_account(1 + n % 2).unwrap()).collect();
    // What the first look at everybody's repositories finds is of the past.
    production.shows(&event(&two.prod, &two.prod.create_account(NEUTRAL).unwrap())).await;
    production.has_looked_around().await;
    let written: Vec<String> = dids.iter().flat_map(|did| [event(&two.prod, did), event(&two.prod, did)]).collect();
    for uri in &written {
        production.shows(uri).await;
        production.told(uri).await;
    }
    production.nothing_held_back(&dids.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

/// The other way round: dev indexes its own users' answers, and nobody else's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_rsvp_to_a_dev_event_counts_nowhere_in_dev() {
    let two = Two::start(11).await;
    let (host, guest) = (two.dev.create_account(OWN).unwrap(), two.dev.create_account(NEUTRAL).unwrap());
    let unlisted = two.dev.create_account(NEUTRAL).unwrap();
    let colleague = two.dev.create_account(OWN).unwrap();
    let known = two.prod.create_account(OWN).unwrap();
    let stranger = two.prod.create_account(OWN).unwrap();
    two.prod.copy_document(&known, &two.dev).unwrap();
    let dev = two.development(&[&host, &guest]).await;
    let party = event(&two.dev, &host);
    dev.shows(&event(&two.dev, &guest)).await;
    let comes = rsvp(&two.dev, &guest, &party, &two.dev);
    let refused = [
        (rsvp(&two.prod, &stranger, &party, &two.dev), "unknown", 4),
        (rsvp(&two.prod, &known, &party, &two.dev), "foreign", 6),
        (rsvp(&two.dev, &colleague, &party, &two.dev), "own_host_stranger", 9),
        (rsvp(&two.dev, &unlisted, &party, &two.dev), "not_allowed", 12),
    ];
    dev.shows(&party).await;
    dev.shows(&comes).await;
    dev.told(&comes).await;
    for (uri, reason, rule) in &refused {
        dev.refused(uri, reason, *rule).await;
    }
    let answers = dev.serve.rsvps_to(&party).await;
    assert_eq!(answers.len(), 1, "{answers:?}");
    dev.nothing_held_back(&[&host, &guest]).await;
}
