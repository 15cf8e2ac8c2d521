//! The directory is down, or denies whom it knew: nothing unknown is let in, nothing known is held up, and all is settled
//! when it returns.

use almanac::devnet::sim::{At, Fault, FaultId, Sim, When};

use crate::support::serve::eventually;
use crate::two::{Env, LIMIT, NEUTRAL, OWN, Two, event};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_directory_is_down_the_known_go_on_and_the_new_wait() {
    let two = Two::start(40).await;
    let known = two.prod.create_account(NEUTRAL).unwrap();
    let refused = two.dev.create_account(OWN).unwrap();
    two.dev.copy_document(&refused, &two.prod).unwrap();
    let production = two.production().await;
    production.shows(&event(&two.prod, &known)).await;
    production.refused(&event(&two.dev, &refused), "foreign", 6).await;
    let down = two.prod.fault(Fault::Down, At::plc(), When::ALWAYS);

    let (new, dev) = (two.prod.create_account(OWN).unwrap(), two.dev.create_account(OWN).unwrap());
    let (waits, leaked) = (event(&two.prod, &new), event(&two.dev, &dev));
    let wait_too = [event(&two.prod, &new), event(&two.dev, &dev)];
    // Both verdicts that there were stand.
    production.shows(&event(&two.prod, &known)).await;
    production.refused(&event(&two.dev, &refused), "foreign", 6).await;
    is_held(&production, &new).await;
    is_held(&production, &dev).await;
    eventually("the directory was asked, and asked again", LIMIT, async || match two.prod.fired(down) {
        fired if fired > 3 => Ok(()),
        fired => Err(format!("{fired} times")),
    })
    .await;
    for did in [&new, &dev] {
        production.nothing_of(did).await;
        assert_eq!(production.quarantine(did).await, []);
    }

    two.prod.end_fault(down);
    production.shows(&waits).await;
    production.shows(&wait_too[0]).await;
    production.refused(&leaked, "unknown", 4).await;
    production.refused(&wait_too[1], "unknown", 4).await;
    production.nothing_held_back(&[&new, &known]).await;
}

/// What waits is on disk: it is there after a kill, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_the_directory_survives_a_kill() {
    let two = Two::start(41).await;
    let mut production = two.production().await;
    let down = two.prod.fault(Fault::ServerError, At::plc(), When::ALWAYS);
    let (new, dev) = (two.prod.create_account(NEUTRAL).unwrap(), two.dev.create_account(OWN).unwrap());
    let (waits, leaked) = (event(&two.prod, &new), event(&two.dev, &dev));
    is_held(&production, &new).await;
    is_held(&production, &dev).await;
    production.restart().await;
    is_held(&production, &new).await;
    production.nothing_of(&new).await;
    two.prod.end_fault(down);
    production.shows(&waits).await;
    production.refused(&leaked, "unknown", 4).await;
    production.nothing_held_back(&[&new]).await;
}

/// One wrong answer about an account that was known is asked again before it is believed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_denies_an_account_for_a_moment_hides_nobody() {
    let two = Two::start(42).await;
    let did = two.prod.create_account(NEUTRAL).unwrap();
    let production = two.production().await;
    let before = event(&two.prod, &did);
    production.shows(&before).await;
    let denied = two.prod.fault(Fault::NoDocument, At::plc().did(&did), When::NEXT);
    has_fired(&two.prod, denied).await;
    production.is_compared(&did).await;
    let after = event(&two.prod, &did);
    production.shows(&after).await;
    assert!(production.is_shown(&before).await);
    production.verdicts(&did, &[]).await;
    production.nothing_held_back(&[&did]).await;
}

/// One that goes on denying it is believed; when it knows the account again all of it comes back, also what was refused
/// meanwhile, though nobody says a word about it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_the_directory_denied_comes_back_whole() {
    let two = Two::start(43).await;
    let did = two.prod.create_account(NEUTRAL).unwrap();
    let production = two.production().await;
    let before = event(&two.prod, &did);
    production.shows(&before).await;
    let denied = two.prod.fault(Fault::NoDocument, At::plc().did(&did), When::ALWAYS);
    production.hides(&before).await;
    production.verdicts(&did, &["unknown"]).await;
    let meanwhile = event(&two.prod, &did);
    production.quarantined(&meanwhile, "unknown", 4).await;
    two.prod.end_fault(denied);
    production.shows(&before).await;
    production.shows(&meanwhile).await;
    production.verdicts(&did, &["unknown", "network"]).await;
    let after = event(&two.prod, &did);
    production.shows(&after).await;
}

async fn has_fired(sim: &Sim, fault: FaultId) {
    eventually("the directory was asked", LIMIT, async || match sim.fired(fault) {
        0 => Err("never".to_owned()),
        _ => Ok(()),
    })
    .await;
}

async fn is_held(env: &Env, did: &str) {
    eventually(&format!("frames of {did} wait"), LIMIT, async || match env.waiting(did).await {
        0 => Err("none".to_owned()),
        _ => Ok(()),
    })
    .await;
    env.untold(&format!("at://{did}/")).await;
}
