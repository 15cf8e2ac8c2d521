//! Every strategy brings the same, and the cheap one is cheap.

use almanac::devnet::sim::{At, Fault, When};

use crate::support::almanac as executable;
use crate::{EVENT, Index, network, run, sum, write_posts};

#[tokio::test(flavor = "multi_thread")]
async fn every_strategy_brings_what_the_repositories_hold() {
    let sim = network(3, 3, 12).await;
    for strategy in ["sparse", "car", "list", "auto"] {
        let index = Index::new().await;
        let (code, fetched) = index.backfill(&sim, &["--strategy", strategy]).await;
        assert_eq!(code, 0, "{strategy}: {fetched:#}");
        let column = if strategy == "auto" { "sparse" } else { strategy };
        assert_eq!((sum(&fetched, column), sum(&fetched, "records")), (12, 24), "{fetched:#}");
        index.assert_true(&sim).await;
        let proven = if strategy == "list" { 0 } else { 24 };
        let snapshots = "select count(*) from log.event where kind = 'put' and verification = 'snapshot'";
        assert_eq!(index.count(snapshots).await, proven, "{strategy}");
        if strategy == "list" {
            continue;
        }
        let handles = "select count(*) from ingest.repo where state = 'synced' and handle is not null and signing_key is not null";
        assert_eq!(index.count(handles).await, 12, "{strategy}");
        // Once more: nothing is fetched, nothing is written.
        let before = index.count("select position from log.head").await;
        let (code, again) = index.backfill(&sim, &["--strategy", strategy]).await;
        assert_eq!((code, sum(&again, "unchanged"), sum(&again, "bytes")), (0, 12, 0), "{again:#}");
        assert_eq!(index.count("select position from log.head").await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_meanwhile_is_caught_up_with_and_deletes_are_told() {
    let sim = network(4, 2, 4).await;
    let index = Index::new().await;
    index.backfill(&sim, &[]).await;
    let dids = sim.dids();
    let truth = sim.truth();
    let event = |did: &str| truth.accounts[did].records.keys().find(|path| path.starts_with(EVENT)).unwrap().clone();
    sim.delete_record(&dids[0], &event(&dids[0])).unwrap();
    sim.update_event(&dids[1], &event(&dids[1])).unwrap();
    sim.create_event(&dids[2]).unwrap();
    // The fourth changed its key and moved; nothing else of it.
    let to = 1 - sim.host_of(&dids[3]).unwrap();
    sim.rotate_key(&dids[3]).unwrap();
    sim.migrate(&dids[3], to).unwrap();
    let (code, compared) = {
        let mut command = executable::command(index.db.url().expose(), &["verify-coverage", "--json"]);
        // What it queues would be done before the summary below begins to count.
        command.args(["--dry-run", "--plc", sim.plc_url(), "--allow-private", "--relay", &sim.relay_ws_url()]);
        run(command).await
    };
    assert_eq!((code, compared["differences"].as_array().unwrap().len()), (1, 4), "{compared:#}");
    let (code, fetched) = index.backfill(&sim, &[]).await;
    // The one that moved may be compared once more because of that.
    assert_eq!((code, sum(&fetched, "sparse") + sum(&fetched, "unchanged")), (0, 4), "{fetched:#}");
    assert!(sum(&fetched, "sparse") >= 3, "{fetched:#}");
    index.assert_true(&sim).await;
    assert_eq!(index.count("select count(*) from log.event where kind = 'delete'").await, 1);
    let at = format!("select count(*) from ingest.repo where pds = '{}'", sim.pds_url(to));
    let there: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(at)).fetch_one(index.db.pool()).await.unwrap();
    assert_eq!(there, dids.iter().filter(|did| sim.host_of(did).unwrap() == to).count() as i64);
}

#[tokio::test(flavor = "multi_thread")]
async fn sparse_moves_less_than_a_tenth_of_a_repository_of_posts() {
    let sim = network(5, 1, 1).await;
    let did = sim.dids().pop().unwrap();
    write_posts(&sim, &did, 0, 5_000);
    for _ in 0..19 {
        sim.create_event(&did).unwrap();
    }
    let mut bytes = vec![];
    for strategy in ["sparse", "car"] {
        let index = Index::new().await;
        let (code, fetched) = index.backfill(&sim, &["--did", &did, "--strategy", strategy]).await;
        assert_eq!((code, sum(&fetched, "records")), (0, 21), "{fetched:#}");
        index.assert_true(&sim).await;
        bytes.push(sum(&fetched, "bytes"));
    }
    println!("sparse {} bytes, car {} bytes", bytes[0], bytes[1]);
    assert!(bytes[1] > 1_000_000 && bytes[0] > 1_000 && bytes[0] * 10 < bytes[1], "{bytes:?}");
}

/// A tree of thousands of records is seven levels deep; the way down comes with the proofs of its edges.
#[tokio::test(flavor = "multi_thread")]
async fn sparse_asks_few_times_and_needs_no_proofs_of_absence() {
    let sim = network(6, 1, 1).await;
    let did = sim.dids().pop().unwrap();
    write_posts(&sim, &did, 0, 5_000);
    for _ in 0..19 {
        sim.create_event(&did).unwrap();
    }
    let mut blocks = vec![];
    for refuses in [false, true] {
        if refuses {
            sim.fault(Fault::Html, At::pds(0).method("com.atproto.sync.getRecord"), When::ALWAYS);
        }
        let requests = || sim.served().get("com.atproto.sync.getBlocks").map_or(0, |served| served.requests);
        let (index, before) = (Index::new().await, requests());
        let (code, fetched) = index.backfill(&sim, &["--did", &did, "--strategy", "sparse"]).await;
        assert_eq!((code, sum(&fetched, "sparse"), sum(&fetched, "records")), (0, 1, 21), "{fetched:#}");
        index.assert_true(&sim).await;
        blocks.push(requests() - before);
    }
    assert!(blocks[0] <= 5 && blocks[1] > blocks[0] + 3, "{blocks:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_and_changes_nothing() {
    let sim = network(6, 2, 3).await;
    let index = Index::new().await;
    let (code, told) = index.backfill(&sim, &["--dry-run"]).await;
    assert_eq!((code, told["accounts"].as_array().unwrap().len()), (0, 3), "{told:#}");
    assert_eq!(index.count("select count(*) from source.backfill_job").await, 0);
    // A lone PDS keeps no list by collection: its repositories are asked one by one.
    let idle = sim.create_account(0).unwrap();
    let (_, told) = index.backfill(&sim, &["--dry-run", "--host", &sim.pds_url(0)]).await;
    let on_host = sim.dids().iter().filter(|did| sim.host_of(did).unwrap() == 0 && **did != idle).count();
    assert_eq!(told["accounts"].as_array().unwrap().len(), on_host, "{told:#}");
}
