//! One DID in both directories, with a key in each: whose record it is, only the signature says.

use crate::support::serve::eventually;
use crate::two::{LIMIT, NEUTRAL, OWN, Two, event};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_did_of_both_directories_is_believed_by_its_key_here() {
    let two = Two::start(20).await;
    let did = two.prod.create_account(OWN).unwrap();
    let production = two.production().await;
    let development = two.development(&[&did]).await;
    let kept = event(&two.prod, &did);
    production.shows(&kept).await;
    two.dev.create_namesake(&did, OWN).unwrap();
    let leaked = event(&two.dev, &did);
    production.quarantined(&leaked, "bad_signature", 0).await;
    let later = event(&two.prod, &did);
    production.shows(&later).await;
    // In dev the same frames are the other way round.
    development.shows(&leaked).await;
    development.quarantined(&later, "bad_signature", 0).await;
    assert!(!development.is_shown(&kept).await);
}

/// What a host says of an account's state is not signed. The namesake's host hides ours, and ours is asked and shows it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namesake_that_is_switched_off_hides_nobody_for_long() {
    let two = Two::start(21).await;
    let did = two.prod.create_account(NEUTRAL).unwrap();
    let production = two.production().await;
    let kept = event(&two.prod, &did);
    production.shows(&kept).await;
    two.dev.create_namesake(&did, OWN).unwrap();
    two.dev.set_status(&did, Some("deactivated")).unwrap();
    eventually("the word was heard", LIMIT, async || {
        let words: i64 =
            sqlx::query_scalar("select count(*) from log.event where did = $1 and kind = 'account' and not active")
                .bind(&did)
                .fetch_one(production.pool())
                .await
                .unwrap();
        if words > 0 { Ok(()) } else { Err("no word".to_owned()) }
    })
    .await;
    production.shows(&kept).await;
}
