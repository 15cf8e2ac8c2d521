//! What dev accounts write is offered to production on every way there is.

use almanac::devnet::sim::Place;
use serde_json::{Map, Value};

use crate::two::{NEUTRAL, NEUTRAL_TOO, OWN, Two, event, rsvp};

/// Written on dev's PDS, carried by the relay that production follows: its directory does not know the account.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dev_record_on_the_relay_is_unknown() {
    let two = Two::start(1).await;
    let production = two.production().await;
    let (dev, ours) = (two.dev.create_account(OWN).unwrap(), two.prod.create_account(OWN).unwrap());
    let leaked = event(&two.dev, &dev);
    let kept = event(&two.prod, &ours);
    production.shows(&kept).await;
    production.refused(&leaked, "unknown", 4).await;
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
    let comes = rsvp(&two.prod, &guest, &party, &two.prod);
    let leaked = rsvp(&two.dev, &stranger, &party, &two.prod);
    production.shows(&party).await;
    production.shows(&comes).await;
    production.refused(&leaked, "unknown", 4).await;
    let answers = production.serve.rsvps_to(&party).await;
    assert_eq!(answers.len(), 1, "{answers:?}");
    production.nothing_held_back(&[&host, &guest]).await;
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
    let comes = rsvp(&two.dev, &guest, &party, &two.dev);
    let refused = [
        (rsvp(&two.prod, &stranger, &party, &two.dev), "unknown", 4),
        (rsvp(&two.prod, &known, &party, &two.dev), "foreign", 6),
        (rsvp(&two.dev, &colleague, &party, &two.dev), "own_host_stranger", 9),
        (rsvp(&two.dev, &unlisted, &party, &two.dev), "not_allowed", 12),
    ];
    dev.shows(&party).await;
    dev.shows(&comes).await;
    for (uri, reason, rule) in &refused {
        dev.refused(uri, reason, *rule).await;
    }
    let answers = dev.serve.rsvps_to(&party).await;
    assert_eq!(answers.len(), 1, "{answers:?}");
    dev.nothing_held_back(&[&host, &guest]).await;
}
