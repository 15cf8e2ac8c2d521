//! Keys that are missing, custody that ends, and what is shown of it.

use std::process::Command;
use std::time::Duration;

use almanac::identity::credential::CredentialName;
use serde_json::json;

use crate::support::child::{Running, end_with_this_thread};
use crate::support::postgres::TestDb;
use crate::world::*;

fn serve(db: &TestDb, ids: &[&str], folder: &std::path::Path) -> Command {
    let mut command =
        command(db, ids, &["serve", "--json", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    command.args(["--verify", "none", "--data-dir"]).arg(folder);
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serve_refuses_to_begin_without_a_key_that_secrets_name() {
    let (db, folder) = (database().await, tempfile::tempdir().unwrap());
    accounts(&db, &vault(&["april"]), 2).await;
    store(&db, &vault(&["june"]), 0, CredentialName::Password, 0).await;
    pending_row(&db, &vault(&["june"]), 9, MARK).await;
    for (ids, told) in [
        (&["may", "june"] as &[&str], &["\"april\" (5 secrets)"] as &[&str]),
        (&["may"], &["\"april\" (5 secrets)", "\"june\" (2 secrets)"]),
        (&[], &["\"april\" (5 secrets)", "\"june\" (2 secrets)"]),
    ] {
        let log = folder.path().join(format!("refused-{}", ids.len()));
        let mut running = Running::start("serve", &mut serve(&db, ids, folder.path()), &log);
        assert_eq!(running.end(Duration::from_secs(60)).code(), Some(1), "{ids:?}: {}", running.log());
        let said = running.log();
        holds_no_secret(&said);
        for word in told.iter().chain(&["identity.keys", "identity.key_files"]) {
            assert!(said.contains(word), "{word} is not in {said}");
        }
        assert_eq!(said.contains("june"), told.len() > 1, "{said}");
    }
    // Whoever publishes from the command line refuses just so.
    let said = run(command(&db, &["may", "june"], &["publish", "delete", &user(0), "an-event"]));
    assert!(said.code == Some(1) && said.stderr.contains("\"april\" (5 secrets)"), "{said:?}");
    let log = folder.path().join("log");
    let mut running = Running::start("serve", &mut serve(&db, &["may", "june", "april"], folder.path()), &log);
    running.json_line_with("ready", Duration::from_secs(60));
    running.terminate();
    assert!(running.end(Duration::from_secs(60)).success(), "{}", running.log());
    holds_no_secret(&running.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_are_none_are_told_by_id_alone() {
    let (db, folder) = (database().await, tempfile::tempdir().unwrap());
    let file = folder.path().join("key");
    std::fs::write(&file, format!("{MARK}\n")).unwrap();
    let zero = "A".repeat(43);
    let cases = [
        ("ALMANAC_IDENTITY_KEYS", format!("april={MARK}"), "\"april\" is neither base64 nor"),
        ("ALMANAC_IDENTITY_KEYS", "april=aGk=".to_owned(), "\"april\" has 2 bytes"),
        ("ALMANAC_IDENTITY_KEYS", format!("april={zero}"), "key new"),
        ("ALMANAC_IDENTITY_KEYS", format!("{},august={}", keys(&["april"]), &keys(&["april"])[6..]), "the same key"),
        ("ALMANAC_IDENTITY_KEY_FILES", format!("april={}", file.display()), "\"april\" is neither base64 nor"),
        ("ALMANAC_IDENTITY_KEY_FILES", "april=nowhere".to_owned(), "nowhere"),
    ];
    for (variable, value, told) in cases {
        let mut command = serve(&db, &[], folder.path());
        command.env(variable, value);
        let said = run(command);
        assert_eq!(said.code, Some(2), "{told}: {said:?}");
        assert!(said.stderr.contains(told), "{told} is not in {}", said.stderr);
    }
    // And one in a file that is as it should be.
    std::fs::write(&file, format!("{}\n", &keys(&["april"])[6..])).unwrap();
    accounts(&db, &vault(&["april"]), 1).await;
    let mut command = command(&db, &[], &["identity", "rotate-keys", "--dry-run", "--json"]);
    command.env("ALMANAC_IDENTITY_KEY_FILES", format!("april={}", file.display()));
    let said = run(command);
    assert_eq!((said.code, &said.json()["to_seal"]), (Some(0), &json!(0)), "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_key_is_printed_as_the_setting_takes_it() {
    let db = database().await;
    accounts(&db, &vault(&["april"]), 1).await;
    let mut new = Command::new(env!("CARGO_BIN_EXE_almanac"));
    new.args(["identity", "key", "new", "--id", "2026.05"]);
    end_with_this_thread(&mut new);
    let said = run(new);
    let line = said.stdout.trim_end();
    assert!(said.code == Some(0) && line.starts_with("2026.05=") && !line.contains('\n'), "{said:?}");
    let mut command = command(&db, &[], &["identity", "rotate-keys", "--json"]);
    command.env("ALMANAC_IDENTITY_KEYS", format!("{line},{}", keys(&["april"])));
    assert_eq!(run(command).json()["sealed"], 3);
    assert_eq!(key_use(&db).await, [("2026.05".to_owned(), 3)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn custody_ends_when_somebody_means_it() {
    let db = database().await;
    accounts(&db, &vault(&["april"]), 2).await;
    sqlx::query(
        "insert into identity.session (did, health, health_detail) values ($1, 'dead', 'the password is wrong')",
    )
    .bind(did(0))
    .execute(db.pool())
    .await
    .unwrap();
    let identity = |args: &[&str]| run(command(&db, &["april"], &[&["identity"], args].concat()));
    let shown = identity(&["show", &user(0), "--json"]).json();
    assert_eq!((&shown["did"], &shown["custodial"]), (&json!(did(0)), &json!(true)));
    assert_eq!((&shown["held"][1]["name"], &shown["held"][1]["key_id"]), (&json!("password"), &json!("april")));
    assert_eq!(shown["session"]["health"], "dead");
    let people = identity(&["show", &did(0)]);
    for word in ["april", "refresh_token", "dead", "the password is wrong", PDS] {
        assert!(people.stdout.contains(word), "{word} is not in {}", people.stdout);
    }

    // Whoever only says anew where it lives does not end it.
    let linked = identity(&["link", &user(0), &did(0), "--pds", PDS, "--no-wait"]);
    assert_eq!(linked.code, Some(0), "{linked:?}");
    assert_eq!(identity(&["show", &user(0), "--json"]).json()["custodial"], true);

    let asked = identity(&["release", &user(0)]);
    assert_eq!(asked.code, Some(1), "{asked:?}");
    assert!(
        asked.stdout.contains("--yes") && asked.stdout.contains("access_token, password, refresh_token"),
        "{asked:?}"
    );
    assert_eq!(key_use(&db).await, [("april".to_owned(), 6)], "it was released without --yes");

    let done = identity(&["release", &did(0), "--yes", "--no-wait", "--why", "her wish", "--who", "anna"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stdout.contains("requestPasswordReset"), "{done:?}");
    assert_eq!(key_use(&db).await, [("april".to_owned(), 3)], "not what was released was forgotten");
    let shown = identity(&["show", &did(0), "--json"]).json();
    assert_eq!((&shown["custodial"], &shown["held"], &shown["session"]), (&json!(false), &json!([]), &json!(null)));
    let noted: Vec<(String, String, String, String)> =
        sqlx::query_as("select did, change, who, why from ingest.origin_change order by n")
            .fetch_all(db.pool())
            .await
            .unwrap();
    let [_, (noted_did, change, who, why)] = &noted[..] else { panic!("{noted:?}") };
    assert_eq!((noted_did, change.as_str(), who.as_str()), (&did(0), "link", "anna"));
    assert!(why.contains("her wish") && why.contains("released"), "{why}");

    let again = identity(&["release", &did(0), "--yes"]);
    assert!(again.code == Some(1) && again.stderr.contains("not custodial"), "{again:?}");
    let nobody = identity(&["show", "nobody"]);
    assert!(nobody.code == Some(1) && nobody.stderr.contains("identity list"), "{nobody:?}");
}
