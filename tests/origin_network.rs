//! Who may enter is changed on a network where every account is looked up: whoever comes back is fetched, with what it wrote
//! while it was refused, and what is explained is what is stored.

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
use serde_json::{Value, json};
use support::almanac as executable;
use support::serve::eventually;
use support::sim::Watched;

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_back_is_there_with_all_that_was_missed() {
    let sim = Sim::start(SimOptions { accounts: 3, ..SimOptions::default() }).await.unwrap();
    let watched = Watched::start(&sim, None).await;
    let (url, pool) = (watched.db.url().expose(), watched.db.pool());
    eventually("the relay is followed", LIMIT, async || match watched.serve.ready().await.0 {
        status if status == 200 => Ok(()),
        status => Err(status.to_string()),
    })
    .await;
    let dids = sim.dids();
    for did in &dids {
        sim.create_event(did).unwrap();
    }
    watched.settle(&sim, LIMIT, || "before anybody is denied".to_owned()).await;

    let explain = |did: &str| -> Value {
        let network = ["--plc", sim.plc_url(), "--allow-private", "--host-override", sim.host_override()];
        let args: Vec<&str> = ["origin", "explain", "--json", did].iter().chain(&network).copied().collect();
        serde_json::from_slice(&executable::run(url, &args).stdout).unwrap()
    };
    let agrees = |did: &str, standing: &str| {
        let told = explain(did);
        let stored = &told["facts"]["stored"];
        assert_eq!((&told["standing"], &stored["standing"]), (&json!(standing), &json!(standing)), "{told}");
        assert_eq!(told["rule"], stored["rule"], "{told}");
    };
    dids.iter().for_each(|did| agrees(did, "network"));

    let denied = dids[0].as_str();
    let made = executable::json(url, &["origin", "deny", denied, "--why", "spam", "--json"]);
    assert_eq!((&made["in_log"], &made["changes"][0]["now"]["rule"]), (&json!(true), &json!(3)), "{made}");
    let count = async || -> i64 {
        sqlx::query_scalar("select count(*) from calendar.events where did = $1")
            .bind(denied)
            .fetch_one(pool)
            .await
            .unwrap()
    };
    eventually("nothing of it shows", LIMIT, async || match count().await {
        0 => Ok(()),
        shown => Err(shown.to_string()),
    })
    .await;
    agrees(denied, "denied");
    agrees(&dids[1], "network");
    sim.create_event(denied).unwrap();
    sim.create_event(&dids[1]).unwrap();
    eventually("what it writes is in quarantine, and the others' is here", LIMIT, async || {
        // Its repository may be there as well, without a frame: a fetch that was still under way when it was denied.
        let refused: i64 = sqlx::query_scalar(
            "select count(*) from ingest.quarantine where did = $1 and rule = 3 and frame is not null",
        )
        .bind(denied)
        .fetch_one(pool)
        .await
        .unwrap();
        let other: i64 = sqlx::query_scalar("select count(*) from calendar.events where did = $1")
            .bind(&dids[1])
            .fetch_one(pool)
            .await
            .unwrap();
        if (refused, other) == (1, 2) { Ok(()) } else { Err(format!("{refused} {other}")) }
    })
    .await;
    assert_eq!(count().await, 0);

    executable::json(url, &["origin", "forget", denied, "--json"]);
    watched.settle(&sim, LIMIT, || "after it may enter again".to_owned()).await;
    agrees(denied, "network");
}
