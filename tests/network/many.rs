//! Thousands of DIDs that nobody asked for before.

use std::time::{Duration, Instant};

use almanac::network::{Freshness, Network, NetworkOptions};
use futures_util::{StreamExt, stream};

use crate::support::{Host, Seen, document, json_answer, options, plc};

const DIDS: usize = 3_000;

async fn directory() -> Host {
    Host::start(|seen: Seen| async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        json_answer(200, document(seen.path.trim_start_matches('/'), "anna.test", "https://pds.example"))
    })
    .await
}

/// Asks for each DID twice at the same time, and gives how many answers were whole.
async fn ask_for_all(network: &Network) -> usize {
    let asked = stream::iter((0..DIDS).flat_map(|n| [n, n])).map(|n| async move {
        let did = plc(n);
        network.did_document(&did, Freshness::Cached).await.is_ok_and(|document| document.did == did)
    });
    asked.buffer_unordered(2_000).filter(|whole| std::future::ready(*whole)).count().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn are_resolved_with_few_requests_at_once_and_each_once() {
    let directory = directory().await;
    let mut options = options(&[&directory]);
    options.directory.requests_per_second = 1e6;
    options.directory.burst = 1e6;
    let concurrency = options.directory.concurrency;
    let network = Network::new(options).unwrap();
    let start = Instant::now();
    assert_eq!(ask_for_all(&network).await, 2 * DIDS);
    let cold = start.elapsed();
    assert_eq!(directory.requests().len(), DIDS, "each once");
    assert!(directory.peak() <= concurrency, "{} at once", directory.peak());
    // With 20 ms each it cannot be faster than this, and a place that is given back late shows.
    let ideal = Duration::from_millis(20) * u32::try_from(DIDS / concurrency).unwrap();
    assert!(cold >= ideal && cold < crate::support::PATIENCE, "{cold:?}");
    assert_eq!(ask_for_all(&network).await, 2 * DIDS);
    assert_eq!(directory.requests().len(), DIDS, "and never again");
    eprintln!("{DIDS} DIDs, 20 ms each, {concurrency} at once: {cold:?} (at best {ideal:?})");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn do_not_fill_the_memory() {
    let directory = directory().await;
    let mut options = NetworkOptions { cache_bytes_max: 200_000, ..options(&[&directory]) };
    options.directory.requests_per_second = 1e6;
    options.directory.burst = 1e6;
    options.directory.concurrency = 200;
    let network = Network::new(options).unwrap();
    ask_for_all(&network).await;
    let before = directory.requests().len();
    // 200 kB hold less than 300 documents: most must be asked for anew.
    for n in 0..DIDS / 10 {
        network.did_document(&plc(n), Freshness::Cached).await.unwrap();
    }
    let anew = directory.requests().len() - before;
    assert!(anew > DIDS / 10 / 2, "only {anew} of {} were forgotten", DIDS / 10);
}
