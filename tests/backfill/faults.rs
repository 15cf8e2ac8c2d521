//! Hosts that do not do as they should: another strategy, or a name for what is wrong; and nobody else waits.

use almanac::devnet::sim::{At, Fault, When};

use crate::{Index, network, sum};

const BLOCKS: &str = "com.atproto.sync.getBlocks";
const REPO: &str = "com.atproto.sync.getRepo";

#[tokio::test(flavor = "multi_thread")]
async fn what_one_way_does_not_give_another_does() {
    let sim = network(11, 2, 4).await;
    let html = sim.fault(Fault::Html, At::pds(0).method(BLOCKS), When::ALWAYS);
    let error = sim.fault(Fault::ServerError, At::pds(1).method(BLOCKS), When::ALWAYS);
    let cut = sim.fault(Fault::Truncated, At::pds(1).method(REPO), When::ALWAYS);
    let index = Index::new().await;
    let (code, fetched) = index.backfill(&sim, &[]).await;
    assert_eq!((code, sum(&fetched, "car"), sum(&fetched, "list")), (0, 2, 2), "{fetched:#}");
    for fault in [html, error, cut] {
        assert!(sim.fired(fault) > 0);
    }
    index.assert_true(&sim).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_down_is_named_and_holds_up_nobody() {
    let sim = network(12, 3, 9).await;
    let down = sim.fault(Fault::Down, At::pds(1), When::ALWAYS);
    let index = Index::new().await;
    let (code, fetched) = index.backfill(&sim, &[]).await;
    assert_eq!((code, sum(&fetched, "sparse"), sum(&fetched, "failed")), (1, 6, 3), "{fetched:#}");
    assert!(sim.fired(down) > 0);
    for failure in fetched["failures"].as_array().unwrap() {
        assert_eq!(failure["outcome"], "host_unreachable", "{failure}");
    }
    assert_eq!(fetched["troubled"].as_array().unwrap().len(), 1, "{fetched:#}");
    // It comes back.
    sim.end_faults();
    let (code, fetched) = index.backfill(&sim, &[]).await;
    assert_eq!((code, sum(&fetched, "failed")), (0, 0), "{fetched:#}");
    index.assert_true(&sim).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_without_an_end_ends_at_the_limit() {
    let sim = network(13, 1, 1).await;
    let endless = sim.fault(Fault::Endless, At::pds(0).method(REPO), When::ALWAYS);
    let index = Index::new().await;
    let mut command = index.command(&sim, &["--strategy", "car"]);
    command.env("ALMANAC_REPO_BYTES_MAX", "3000000");
    let (code, fetched) = crate::run(command).await;
    assert_eq!((code, fetched["failures"][0]["outcome"].as_str()), (1, Some("refused")), "{fetched:#}");
    assert!(sim.fired(endless) > 0);
    assert_eq!(index.count("select count(*) from log.event").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_withheld_is_hidden_and_keeps_what_is_there() {
    let sim = network(14, 1, 3).await;
    let index = Index::new().await;
    index.backfill(&sim, &[]).await;
    let dids = sim.dids();
    sim.set_status(&dids[0], Some("deactivated")).unwrap();
    sim.set_status(&dids[1], Some("takendown")).unwrap();
    let args = ["--did", &dids[0], "--did", &dids[1], "--did", &dids[2]];
    let (code, fetched) = index.backfill(&sim, &args).await;
    assert_eq!((code, sum(&fetched, "inactive"), sum(&fetched, "unchanged")), (0, 2, 1), "{fetched:#}");
    index.assert_true(&sim).await;
    assert_eq!(index.count("select count(*) from log.event where kind in ('delete')").await, 0);
    // They come back, whole.
    sim.set_status(&dids[0], None).unwrap();
    sim.set_status(&dids[1], None).unwrap();
    let (code, _) = index.backfill(&sim, &args).await;
    assert_eq!(code, 0);
    index.assert_true(&sim).await;
    assert_eq!(index.count("select count(*) from calendar.events").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_fails_for_a_while_is_asked_again() {
    let sim = network(15, 2, 6).await;
    let error = sim.fault(Fault::ServerError, At::plc(), When::times(2));
    let slow = sim.fault(Fault::RateLimited(1), At::pds(0), When::times(1));
    let index = Index::new().await;
    let (code, fetched) = index.backfill(&sim, &[]).await;
    assert_eq!((code, sum(&fetched, "sparse")), (0, 6), "{fetched:#}");
    assert!(sim.fired(error) > 0 && sim.fired(slow) > 0);
    index.assert_true(&sim).await;
}
