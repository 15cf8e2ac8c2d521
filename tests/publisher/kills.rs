//! Processes that are killed at every named place between a wish and its acknowledgement; afterwards a `serve` puts it right.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use almanac::event::Environment;
use almanac::identity::credential::{self, CredentialName};
use almanac::identity::vault::{KeyRing, Vault};

use crate::stand::{LIMIT, Stand, named, options};
use crate::support::almanac as executable;
use crate::support::child::Running;
use crate::support::null_pds::NullPds;
use crate::support::serve::Serve;

const ALICE: &str = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";
const PLACES: [&str; 4] = ["publish.intent_stored", "publish.attempted", "publish.answered", "publish.acknowledged"];

#[tokio::test]
async fn a_process_killed_anywhere_leaves_one_record_of_each_wish() {
    let pds = NullPds::start().await;
    let stand = Stand::new(options()).await;
    stand.link("alice", ALICE, &pds.url).await;
    let vault = Vault::new(Environment::parse("test").unwrap(), KeyRing::new(vec![("k".to_owned(), [7; 32])]).unwrap());
    let mut connection = stand.pool().acquire().await.unwrap();
    for name in CredentialName::ALL {
        credential::store(&mut connection, &vault, "alice", ALICE, name, &"a secret".to_owned().into()).await.unwrap();
    }
    drop(connection);
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("almanac.toml");
    let host = pds.url.trim_start_matches("http://");
    let key = data_encoding::BASE64.encode(&[7; 32]);
    let text = format!(
        "[identity]\nkeys = ['k={key}']\n[origin]\nhosts = ['{host}=test']\n[network]\nallow_private = true\n\
         [publish]\nretry_first = '50ms'\nretry_max = '400ms'\n"
    );
    std::fs::write(&settings, text).unwrap();
    let (url, config) = (stand.db.url().expose(), settings.to_str().unwrap());

    for place in PLACES {
        let args = ["publish", "event", "alice", place, "--name", place, "--config", config];
        crash(executable::command(url, &args), place, folder.path());
    }
    // The same of one that drains what another left.
    stand.store_only(&stand.publisher(), [named("alice", "drained", "drained")]).await;
    let flags = ["--config", config];
    crash(Serve::command(url, "", folder.path(), &flags), "publish.answered", folder.path());

    let _serve = Serve::start_with(url, "", folder.path(), &flags);
    stand.settled().await;
    let names: Vec<String> =
        pds.records(ALICE).into_values().map(|held| held.value["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!((names.len(), pds.written().len()), (5, 5), "each was made once: {names:?}, {:?}", pds.written());
    assert!(PLACES.iter().all(|place| names.iter().any(|name| name == place)), "{names:?}");
    let unlike: i64 = sqlx::query_scalar(
        "select count(*) from publish.record r join publish.intent i on i.record_id = r.id
         where i.state not in ('acknowledged', 'confirmed') or i.cid is null or i.cid is distinct from r.cid or r.base is null",
    )
    .fetch_one(stand.pool())
    .await
    .unwrap();
    assert_eq!(unlike, 0, "{:#?}", stand.intents().await);
}

/// Runs until it is killed at this place by itself.
fn crash(mut command: std::process::Command, place: &str, folder: &Path) {
    let log = folder.join(format!("{place}.log"));
    let mut running = Running::start("almanac", command.env("ALMANAC_CRASH_AT", place), &log);
    let status = running.end(LIMIT);
    let said = running.log();
    assert_eq!(status.signal(), Some(9), "{place}: ended with {status:?}:\n{said}");
    assert!(said.contains(&format!("crash point {place:?}")), "{place}: killed elsewhere:\n{said}");
}
