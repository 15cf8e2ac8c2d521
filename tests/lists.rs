//! The file of allowed accounts is changed while `serve` runs, and whoever is taken off it is hidden until he is on it again;
//! and what is dropped is counted, by reasons that are all there from the start.

#[allow(dead_code)] // Parts of these are there for other tests.
mod support {
    pub mod child;
    pub mod frames;
    pub mod postgres;
    pub mod relay;
    pub mod serve;
    pub mod writer;
}

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use almanac::decode::Reason;
use almanac::devnet::Frame;
use almanac::filter::DropReason;
use support::postgres::TestDb;
use support::relay::Relay;
use support::serve::{Serve, eventually};
use support::writer::{EVENT, Writer};

const LIMIT: Duration = Duration::from_secs(60);

const ANNA: &str = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";
const BELA: &str = "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb";

fn write_list(path: &Path, lines: &[&str]) {
    // As an editor does it: whole, or not at all.
    let new = path.with_extension("new");
    std::fs::write(&new, lines.join("\n")).unwrap();
    std::fs::rename(new, path).unwrap();
}

async fn shown(serve: &Serve) -> BTreeSet<String> {
    let events = serve.all("listEvents", "events", &[]).await;
    let address = |event: &serde_json::Value| event["uri"].as_str().unwrap().replace(&format!("/{EVENT}/"), " ");
    events.iter().map(address).collect()
}

fn series(reason: DropReason) -> String {
    format!("almanac_ingest_dropped_frames_total{{reason=\"{}\"}}", reason.as_str())
}

/// The list, what the process says about it, and who is let in from then on.
type Round<'a> = (Option<&'a [&'a str]>, &'a str, &'a [&'a str]);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_list_takes_effect_on_the_running_process() {
    let (db, folder) = (TestDb::fresh().await, tempfile::tempdir().unwrap());
    let (mut anna, mut bela) = (Writer::new(ANNA, 1), Writer::new(BELA, 2));
    let mut frames = Vec::new();
    for round in ["e1", "e2", "e3", "e4"] {
        for writer in [&mut anna, &mut bela] {
            let seq = frames.len() as i64 + 1;
            frames.push(writer.event(seq, round));
        }
    }
    let relay = Relay::start(&frames).await;
    let list = folder.path().join("allowed.txt");
    write_list(&list, &["# who may", ANNA]);
    let flags = ["--allow-file", list.to_str().unwrap()];
    let serve = Serve::start_with(db.url().expose(), &relay.url, folder.path(), &flags);
    eventually("connected", LIMIT, async || match serve.ready().await.0 {
        status if status == 200 && relay.connections() == 1 => Ok(()),
        status => Err(status.to_string()),
    })
    .await;

    // What each account wrote while it was let in. What it wrote meanwhile is in quarantine.
    let mut written: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut refused: BTreeMap<&str, i64> = [(ANNA, 0), (BELA, 0)].into();
    let mut dropped = 0.0;
    let rounds: [Round; 4] = [
        (None, "", &[ANNA]),
        (Some(&[BELA, "", "# the other one"]), "lists read again", &[BELA]),
        (Some(&[ANNA, BELA, "did:plc"]), "the lists as they were stay in force", &[BELA]),
        (Some(&[ANNA, BELA]), "lists read again", &[ANNA, BELA]),
    ];
    for (round, (lines, word, let_in)) in rounds.into_iter().enumerate() {
        if let Some(lines) = lines {
            let heard = |serve: &Serve| serve.running.log().matches(word).count();
            let before = heard(&serve);
            write_list(&list, lines);
            eventually(word, LIMIT, async || if heard(&serve) > before { Ok(()) } else { Err(String::new()) }).await;
        }
        for did in [ANNA, BELA] {
            match let_in.contains(&did) {
                true => drop(written.entry(did).or_default().insert(format!("at://{did} e{}", round + 1))),
                false => *refused.get_mut(did).unwrap() += 1,
            }
        }
        // Whoever is not on the list shows with nothing, also not with what was there before.
        let want: BTreeSet<String> = let_in.iter().flat_map(|did| written[did].clone()).collect();
        dropped += (2 - let_in.len()) as f64;
        let seq = 2 * (round + 1);
        relay.release(seq);
        eventually("the round is handled", LIMIT, async || {
            let cursor: Option<i64> =
                sqlx::query_scalar("select seq from log.cursor").fetch_optional(db.pool()).await.unwrap();
            if cursor == Some(seq as i64) { Ok(()) } else { Err(format!("{cursor:?} of {seq}")) }
        })
        .await;
        eventually("the round shows", LIMIT, async || match shown(&serve).await {
            rows if rows == want => Ok(()),
            rows => Err(format!("round {}: {rows:?}, not {want:?}", round + 1)),
        })
        .await;
        assert_eq!(serve.metric(&series(DropReason::NotAllowed)).await, Some(dropped), "round {}", round + 1);
        let quarantined = "almanac_ingest_quarantined_records_total{reason=\"not_allowed\"}";
        assert_eq!(serve.metric(quarantined).await, Some(dropped), "round {}", round + 1);
        for (did, want) in &refused {
            let there: i64 = sqlx::query_scalar(
                "select count(*) from ingest.quarantine
                 where did = $1 and reason = 'not_allowed' and rule = 12 and frame is not null",
            )
            .bind(did)
            .fetch_one(db.pool())
            .await
            .unwrap();
            assert_eq!(there, *want, "{did}, round {}", round + 1);
        }
    }
    assert_eq!(relay.connections(), 1, "the stream was interrupted");
    assert!(serve.running.log().contains("line 3"), "the broken line is not named");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_reason_is_counted_from_the_start() {
    let (db, folder) = (TestDb::fresh().await, tempfile::tempdir().unwrap());
    let mut anna = Writer::new(ANNA, 1);
    let mut bytes = anna.event(2, "e2").bytes;
    bytes.truncate(bytes.len() - 1);
    let frames = [Writer::new(BELA, 2).event(1, "e1"), Frame { seq: 2, bytes }];
    let relay = Relay::start(&frames).await;
    let flags = ["--deny", BELA];
    let serve = Serve::start_with(db.url().expose(), &relay.url, folder.path(), &flags);
    for reason in DropReason::ALL {
        assert_eq!(serve.metric(&series(*reason)).await, Some(0.0), "{reason:?}");
    }
    let refused = |reason: Reason| {
        let (layer, reason) = (reason.layer().as_str(), reason.as_str());
        format!("almanac_ingest_refused_frames_total{{layer=\"{layer}\",reason=\"{reason}\"}}")
    };
    let mut all = 0.0;
    for reason in Reason::ALL {
        assert_eq!(serve.metric(&refused(*reason)).await, Some(0.0), "{reason:?}");
    }
    eventually("connected", LIMIT, async || if relay.connections() == 1 { Ok(()) } else { Err(String::new()) }).await;
    relay.release(2);
    eventually("both are counted", LIMIT, async || match serve.metric("almanac_ingest_frames_total").await {
        Some(2.0) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert_eq!(serve.metric(&series(DropReason::Denied)).await, Some(1.0));
    for reason in Reason::ALL {
        all += serve.metric(&refused(*reason)).await.unwrap();
    }
    assert_eq!(all, 1.0, "what cannot be read is counted once");
    assert!(shown(&serve).await.is_empty());
}
