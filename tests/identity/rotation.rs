//! Keys change while secrets are used.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use almanac::identity::credential::CredentialName;
use serde_json::json;

use crate::support::child::Running;
use crate::world::*;

const LIMIT: Duration = Duration::from_secs(60);

fn rotate(more: &[&str]) -> Vec<&'static str> {
    let mut args = vec!["identity", "rotate-keys", "--json"];
    args.extend(more.iter().map(|arg| -> &'static str { (*arg).to_owned().leak() }));
    args
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_secret_moves_under_the_first_key() {
    let (db, made) = (database().await, made_by_node());
    accounts(&db, &vault(&["april"]), 40).await;
    older_row(&db, 3, made["older"][1]["envelope"].as_str().unwrap()).await;
    for n in 50..60 {
        pending_row(&db, &vault(&["april"]), n, &format!("{MARK}-{n}")).await;
    }
    let run = |more: &[&str], ids: &[&str]| {
        let mut command = command(&db, ids, &rotate(more));
        command.env("ALMANAC_IDENTITY_KEYS", keys_with_node(&made, ids));
        run(command)
    };
    let dry = run(&["--dry-run", "--batch", "7"], &["may", "april"]);
    assert_eq!(dry.code, Some(0), "{dry:?}");
    let dry = dry.json();
    assert_eq!(
        dry["keys"],
        json!({ "": { "secrets": 1, "open": 1 }, "april": { "secrets": 129, "open": 129 } }),
        "{dry}"
    );
    assert_eq!((&dry["to_seal"], &dry["sealing_key"]), (&json!(130), &json!("may")));
    assert_eq!(key_use(&db).await, [(String::new(), 1), ("april".to_owned(), 129)], "a dry run changed something");

    let done = run(&["--batch", "7"], &["may", "april"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!((&done.json()["sealed"], &done.json()["unopened"]), (&json!(130), &json!(0)));
    assert_eq!(key_use(&db).await, [("may".to_owned(), 130)]);
    // The old keys are not needed any more.
    let after = vault(&["may"]);
    for n in 0..40 {
        for name in CredentialName::ALL {
            let older = n == 3 && name == CredentialName::Password;
            let want = if older { made["older"][1]["secret"].as_str().unwrap().to_owned() } else { secret(n, name, 0) };
            assert_eq!(load(&db, &after, n, name).await, Ok(Some(want)), "{n} {name:?}");
        }
    }
    for n in 50..60 {
        assert_eq!(load_pending(&db, &after, n).await, Ok(format!("{MARK}-{n}")));
    }
    let again = run(&[], &["may", "april"]);
    assert_eq!((again.code, &again.json()["sealed"]), (Some(0), &json!(0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_rotation_leaves_what_others_write_meanwhile_as_it_is() {
    let db = Arc::new(database().await);
    accounts(&db, &vault(&["april"]), 60).await;
    // As a process that serves: one account after another gets new tokens, in transactions that last.
    let ended = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (db, ended) = (db.clone(), ended.clone());
        async move {
            let vault = vault(&["may", "april"]);
            let mut version = 0;
            while !ended.load(Ordering::SeqCst) {
                version += 1;
                for n in 0..10 {
                    let mut tx = db.pool().begin().await.unwrap();
                    // The other way round than rows are sealed anew: whoever waits here for the other waits for ever.
                    for name in [CredentialName::RefreshToken, CredentialName::AccessToken] {
                        let new = secret(n, name, version).into();
                        almanac::identity::credential::store(&mut tx, &vault, &user(n), &did(n), name, &new)
                            .await
                            .unwrap_or_else(|e| panic!("a session lost its token: {e}"));
                        tokio::task::yield_now().await;
                    }
                    tx.commit().await.unwrap();
                }
            }
            version
        }
    });
    // One that somebody holds until everything else is done.
    let mut holder = db.pool().begin().await.unwrap();
    let held = (20, CredentialName::RefreshToken);
    let newer = secret(held.0, held.1, 7).into();
    let before = vault(&["april"]);
    almanac::identity::credential::store(&mut holder, &before, &user(held.0), &did(held.0), held.1, &newer)
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut rotation = Running::start(
        "rotate-keys",
        &mut command(&db, &["may", "april"], &rotate(&["--batch", "5"])),
        &folder.path().join("log"),
    );
    let deadline = std::time::Instant::now() + LIMIT;
    while key_use(&db).await != [("april".to_owned(), 1), ("may".to_owned(), 179)] {
        assert!(std::time::Instant::now() < deadline, "{:?}", key_use(&db).await);
        tokio::task::yield_now().await;
    }
    assert!(rotation.runs(), "it did not wait for the row that was held: {}", rotation.log());
    holder.commit().await.unwrap();
    let status = rotation.end(LIMIT);
    ended.store(true, Ordering::SeqCst);
    let last = writer.await.unwrap();
    assert!(status.success(), "{}", rotation.log());
    assert!(last > 1, "nobody wrote while keys changed");
    assert_eq!(key_use(&db).await, [("may".to_owned(), 180)]);
    let after = vault(&["may"]);
    for n in 0..60 {
        for name in CredentialName::ALL {
            let version = match name {
                CredentialName::Password => 0,
                _ if n < 10 => last,
                name if (n, name) == held => 7,
                _ => 0,
            };
            assert_eq!(load(&db, &after, n, name).await, Ok(Some(secret(n, name, version))), "{n} {name:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_that_was_killed_goes_on_where_it_was() {
    let db = database().await;
    accounts(&db, &vault(&["april"]), 20).await;
    for (place, moved) in [("rotate before commit:3", 20), ("rotate between batches:2", 40)] {
        let mut killed = command(&db, &["may", "april"], &rotate(&["--batch", "10"]));
        killed.env("ALMANAC_CRASH_AT", place);
        let said = run(killed);
        assert!(said.code.is_none() && said.stderr.contains("crash point"), "{place} was not reached: {said:?}");
        let there = key_use(&db).await;
        assert_eq!(there, [("april".to_owned(), 60 - moved), ("may".to_owned(), moved)], "{place}");
    }
    let done = run(command(&db, &["may", "april"], &rotate(&["--batch", "10"])));
    assert_eq!((done.code, &done.json()["sealed"]), (Some(0), &json!(20)), "{done:?}");
    let after = vault(&["may"]);
    for n in 0..20 {
        for name in CredentialName::ALL {
            assert_eq!(load(&db, &after, n, name).await, Ok(Some(secret(n, name, 0))));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_open_is_named_and_the_rest_is_done() {
    let (db, made) = (database().await, made_by_node());
    accounts(&db, &vault(&["april"]), 4).await;
    store(&db, &vault(&["june"]), 0, CredentialName::Password, 0).await;
    // Another row's, one of the older form whose key nobody has, and one that is the secret itself.
    sqlx::query(
        "update identity.credential set envelope = (select envelope from identity.credential where did = $2 and name = 'password')
         where did = $1 and name = 'password'",
    )
    .bind(did(1))
    .bind(did(3))
    .execute(db.pool())
    .await
    .unwrap();
    older_row(&db, 2, made["older"][0]["envelope"].as_str().unwrap()).await;
    sqlx::query("update identity.credential set envelope = $2 where did = $1 and name = 'access_token'")
        .bind(did(2))
        .bind(secret(2, CredentialName::AccessToken, 0))
        .execute(db.pool())
        .await
        .unwrap();
    let before: Vec<(String, String, String)> = unopened_rows(&db).await;
    let expected = [
        (0, "password", json!("june"), "identity.key_files"),
        (1, "password", json!("april"), "another row"),
        (2, "access_token", json!("april"), "no envelope"),
        (2, "password", json!(null), "older form"),
    ];
    for dry in [true, false] {
        let said = run(command(&db, &["may", "april"], &rotate(if dry { &["--dry-run"] } else { &[] })));
        assert_eq!(said.code, Some(1), "{said:?}");
        let told = said.json();
        assert_eq!(told["unopened"], 4, "{told}");
        for (row, (n, name, key, why)) in told["unopened_rows"].as_array().unwrap().iter().zip(&expected) {
            assert_eq!((&row["did"], &row["user_id"]), (&json!(did(*n)), &json!(user(*n))), "{told}");
            assert_eq!((&row["name"], &row["key_id"]), (&json!(name), key), "{told}");
            assert!(row["why"].as_str().unwrap().contains(why), "{told}");
        }
        let people = run(command(&db, &["may", "april"], &["identity", "rotate-keys", "--dry-run"]));
        assert_eq!(people.code, Some(1));
        assert!(people.stdout.contains("4 secrets do not open") && people.stdout.contains("MISSING"), "{people:?}");
        if !dry {
            assert_eq!(told["sealed"], 8, "{told}");
        }
    }
    assert_eq!(unopened_rows(&db).await, before, "a row that does not open was changed");
    assert_eq!(
        key_use(&db).await,
        [(String::new(), 1), ("april".to_owned(), 2), ("june".to_owned(), 1), ("may".to_owned(), 8)]
    );
}

async fn unopened_rows(db: &crate::support::postgres::TestDb) -> Vec<(String, String, String)> {
    sqlx::query_as(
        "select did, name, envelope from identity.credential
         where did < $1 and name = 'password' or did = $1 and name in ('password', 'access_token') order by did, name",
    )
    .bind(did(2))
    .fetch_all(db.pool())
    .await
    .unwrap()
}
