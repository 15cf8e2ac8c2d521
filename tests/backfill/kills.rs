//! Killed at any point, and run again: the same end.

use crate::{EVENT, Index, network};

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_anywhere_is_made_good_by_the_next_run() {
    for point in ["resync between rows", "resync before complete", "resync stored before job done"] {
        let sim = network(21, 1, 3).await;
        let index = Index::new().await;
        // A past, so that there is something to lose.
        index.backfill(&sim, &[]).await;
        let did = sim.dids().pop().unwrap();
        let path = sim.truth().accounts[&did].records.keys().find(|path| path.starts_with(EVENT)).unwrap().clone();
        sim.delete_record(&did, &path).unwrap();
        for did in sim.dids() {
            sim.create_event(&did).unwrap();
        }
        let mut command = index.command(&sim, &[]);
        command.env("ALMANAC_CRASH_AT", format!("{point}:2"));
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code().is_none() && words.contains("crash point"), "{point}: {}: {words}", output.status);
        let running = index.count("select count(*) from source.backfill_job where state = 'running'").await;
        assert!(running > 0, "{point}: nothing was under way");
        let (code, fetched) = index.backfill(&sim, &[]).await;
        assert_eq!(code, 0, "{point}: {fetched:#}");
        index.assert_true(&sim).await;
        let left = index.count("select count(*) from source.backfill_job where state <> 'done'").await;
        assert_eq!(left, 0, "{point}");
    }
}
