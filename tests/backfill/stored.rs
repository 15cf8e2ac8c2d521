//! A look at a repository is over when ingest has all of it, and not before: what is noted as done is never looked at again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use almanac::event::{Did, Environment};
use almanac::filter::{CollectionSet, DidRule, Policy};
use almanac::ingest::resync::Resync;
use almanac::ingest::{Finding, inlet};
use almanac::network::{HostOverride, Network, NetworkOptions, ServiceUrl};
use almanac::source::backfill::{Outcome, Reason, Strategy};
use arc_swap::ArcSwap;

use crate::{EVENT, Index, network};

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_look_is_over_when_its_findings_are_stored() {
    let sim = network(31, 1, 1).await;
    let index = Index::new().await;
    let options = NetworkOptions {
        plc: ServiceUrl::parse(sim.plc_url()).unwrap(),
        allow_private: true,
        host_overrides: vec![HostOverride::parse(sim.host_override()).unwrap()],
        ..NetworkOptions::default()
    };
    let environment = Environment::parse("test").unwrap();
    let policy = Policy::new(environment, CollectionSet::parse([EVENT]).unwrap(), DidRule::Network);
    let (inlet, mut findings) = inlet();
    let resync = Resync {
        pool: index.db.pool().clone(),
        network: Network::new(options).unwrap(),
        inlet,
        policy: Arc::new(ArcSwap::from_pointee(policy)),
        spool_dir: PathBuf::from(index.folder.path()),
        repo_bytes_max: 1_000_000,
        document_age_max: LIMIT,
    };
    for strategy in [Strategy::Sparse, Strategy::Car, Strategy::List] {
        let did = Did::parse(&sim.dids()[0]).unwrap();
        let target = resync.locate(&did, Reason::Asked).await.unwrap();
        let mut look = tokio::spawn({
            let resync = resync.clone();
            async move { resync.run(target, Reason::Asked, strategy).await }
        });
        let stored = loop {
            let found = tokio::time::timeout(LIMIT, findings.recv()).await.expect("it goes on");
            if let Finding::Complete { stored, .. } = found.expect("it is there") {
                break stored;
            }
        };
        // A right answer waits for as long as it takes; a wrong one comes at once.
        let early = tokio::time::timeout(Duration::from_millis(300), &mut look).await;
        assert!(early.is_err(), "{strategy}: over before it was stored: {early:?}");
        stored.send(()).unwrap();
        let report = tokio::time::timeout(LIMIT, look).await.unwrap().unwrap().unwrap();
        let fetched = match strategy {
            Strategy::Car => Outcome::FetchedCar,
            Strategy::List => Outcome::FetchedList,
            Strategy::Sparse | Strategy::Auto => Outcome::FetchedSparse,
        };
        assert_eq!(report.outcome, fetched);
    }
}
