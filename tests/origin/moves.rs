//! Accounts that move between the environments, and users of ours who move: the verdict is taken again, and what it changes
//! is told by the log.

use almanac::devnet::sim::{At, Fault, When};
use almanac::event::Did;
use almanac::identity;

use crate::support::serve::eventually;
use crate::two::{Env, LIMIT, NEUTRAL, OWN, Two, did_of, event, no_effects};

/// By an operation that both directories have, an account of production moves to dev's PDS, and back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_moves_to_dev_is_hidden_and_comes_back_whole() {
    let two = Two::start(30).await;
    let did = two.prod.create_account(NEUTRAL).unwrap();
    let production = two.production().await;
    let development = two.development(&[]).await;
    let before = event(&two.prod, &did);
    production.shows(&before).await;
    two.prod.move_to(&did, &two.dev, OWN).unwrap();
    production.hides(&before).await;
    production.verdicts(&did, &["foreign"]).await;
    let meanwhile = event(&two.dev, &did);
    production.quarantined(&meanwhile, "foreign", 6).await;
    development.refused(&meanwhile, "own_host_stranger", 9).await;
    two.dev.move_to(&did, &two.prod, NEUTRAL).unwrap();
    production.shows(&before).await;
    // It was refused when it came, and belongs here now: its repository is fetched.
    production.shows(&meanwhile).await;
    production.verdicts(&did, &["foreign", "network"]).await;
    let after = event(&two.prod, &did);
    production.shows(&after).await;
}

/// An account of dev moves to production's PDS, and back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_moves_here_from_dev_enters_and_leaves_dev() {
    let two = Two::start(31).await;
    let did = two.dev.create_account(OWN).unwrap();
    let production = two.production().await;
    let development = two.development(&[&did]).await;
    let before = event(&two.dev, &did);
    development.shows(&before).await;
    production.refused(&before, "unknown", 4).await;
    two.dev.move_to(&did, &two.prod, OWN).unwrap();
    production.shows(&before).await;
    development.hides(&before).await;
    development.verdicts(&did, &["foreign"]).await;
    let meanwhile = event(&two.prod, &did);
    production.shows(&meanwhile).await;
    development.quarantined(&meanwhile, "foreign", 6).await;
    two.prod.move_to(&did, &two.dev, OWN).unwrap();
    production.hides(&before).await;
    production.hides(&meanwhile).await;
    development.shows(&before).await;
    development.shows(&meanwhile).await;
    development.verdicts(&did, &["foreign", "network"]).await;
}

/// The directory alone says that it moved: an operation, without a word of any host.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_that_moves_an_account_is_noticed_without_a_word() {
    let two = Two::start(32).await;
    let (did, at_dev) = (two.prod.create_account(NEUTRAL).unwrap(), two.dev.create_account(OWN).unwrap());
    let production = two.production().await;
    let before = event(&two.prod, &did);
    production.shows(&before).await;
    // The document of an account of this DID on dev's PDS.
    two.dev.create_namesake(&did, OWN).unwrap();
    two.dev.copy_document(&did, &two.prod).unwrap();
    // The next commit does not fit the key that was known: the document is read again.
    let leaked = event(&two.dev, &did);
    production.quarantined(&leaked, "foreign", 6).await;
    production.hides(&before).await;
    production.verdicts(&did, &["foreign"]).await;
    let never = event(&two.dev, &at_dev);
    production.refused(&never, "unknown", 4).await;
}

/// One of our users moves to a PDS that confirms it: frames wait until then, and enter as our user's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_user_who_moves_waits_until_the_new_host_confirms() {
    let two = Two::start(33).await;
    let did = two.prod.create_account(OWN).unwrap();
    let production = two.production().await;
    production.link("anna", &did, &two.prod.pds_url(OWN)).await;
    let before = event(&two.prod, &did);
    production.shows(&before).await;
    assert_eq!(origin_of(&production, &before).await, ("own".to_owned(), Some(7)));
    let silent = two.prod.fault(
        Fault::ServerError,
        At::pds(NEUTRAL).method("com.atproto.sync.getRepoStatus").did(&did),
        When::ALWAYS,
    );
    two.prod.migrate(&did, NEUTRAL).unwrap();
    let meanwhile = event(&two.prod, &did);
    eventually("the new host was asked", LIMIT, async || {
        if two.prod.fired(silent) > 1 { Ok(()) } else { Err("not asked".to_owned()) }
    })
    .await;
    assert!(production.waiting(&did).await > 0, "{:?}", production.quarantine(&did).await);
    assert!(!production.is_shown(&meanwhile).await);
    two.prod.end_fault(silent);
    production.shows(&meanwhile).await;
    production.shows(&before).await;
    assert_eq!(origin_of(&production, &meanwhile).await, ("own".to_owned(), Some(7)));
    let known = identity::of_did(production.pool(), &Did::parse(&did).unwrap()).await.unwrap().unwrap();
    assert_eq!(known.pds, two.prod.pds_url(NEUTRAL));
    production.nothing_held_back(&[&did]).await;
}

/// The PDS that the document names does not know the account: nothing enters, and nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_user_whose_new_host_denies_it_stays_outside() {
    let two = Two::start(34).await;
    let did = two.prod.create_account(OWN).unwrap();
    let production = two.production().await;
    production.link("anna", &did, &two.prod.pds_url(OWN)).await;
    let before = event(&two.prod, &did);
    production.shows(&before).await;
    two.prod.name_pds(&did, NEUTRAL).unwrap();
    let denied = async |times: usize| {
        eventually("the host that is named says no", LIMIT, async || {
            match production.serve.running.log().matches("does not confirm that").count() {
                said if said >= times => Ok(()),
                said => Err(format!("{said} times")),
            }
        })
        .await;
    };
    denied(1).await;
    // Its own host, which signs, goes on as if nothing were.
    let meanwhile = event(&two.prod, &did);
    denied(3).await;
    assert!(production.waiting(&did).await > 0, "{:?}", production.quarantine(&did).await);
    assert!(!production.is_shown(&meanwhile).await);
    assert!(production.is_shown(&before).await, "what is here already stays as it is");
    no_effects(&production.db).await;
    two.prod.name_pds(&did, OWN).unwrap();
    production.shows(&meanwhile).await;
    assert_eq!(origin_of(&production, &meanwhile).await, ("own".to_owned(), Some(7)));
}

async fn origin_of(env: &Env, uri: &str) -> (String, Option<i16>) {
    let (did, rkey) = (did_of(uri), uri.rsplit('/').next().unwrap());
    sqlx::query_as("select origin, origin_rule from log.event where did = $1 and rkey = $2 and kind = 'put' order by position desc limit 1")
        .bind(did)
        .bind(rkey)
        .fetch_one(env.pool())
        .await
        .unwrap()
}
