//! Another app's table becomes ours.

use std::path::{Path, PathBuf};

use almanac::identity::credential::CredentialName;
use futures_util::TryStreamExt;
use serde_json::{Value, json};
use sqlx::Executor;

use crate::support::postgres::TestDb;
use crate::world::*;

/// The app's table, as its migrations make it, with rows of which one is not custodial; the files that Postgres itself makes
/// of it.
async fn files(db: &TestDb, folder: &Path, made: &Value) -> [PathBuf; 2] {
    db.pool()
        .execute(
            "create schema tenant_x;
             create table tenant_x.\"userAtprotoIdentities\" (id serial primary key, \"userUlid\" char(26) not null,
                 did varchar(255) not null, handle varchar(255), \"pdsUrl\" varchar(255) not null, \"pdsCredentials\" jsonb,
                 \"isCustodial\" boolean not null default true, \"createdAt\" timestamp not null default now(),
                 \"updatedAt\" timestamp not null default now());",
        )
        .await
        .unwrap();
    let insert = "insert into tenant_x.\"userAtprotoIdentities\"
         (\"userUlid\", did, handle, \"pdsUrl\", \"pdsCredentials\", \"isCustodial\", \"createdAt\")
         values ($1, $2, $3, $4, $5, $6, '2025-12-24 18:30:00.5')";
    for n in 0..6 {
        let envelope = made["older"][if n % 2 == 0 { 0 } else { 3 }]["envelope"].as_str().unwrap();
        let custodial = n != 5;
        let envelope = match n {
            5 => None,
            // As a text that was put into a jsonb column.
            4 => Some(Value::String(envelope.to_owned())),
            _ => Some(serde_json::from_str(envelope).unwrap()),
        };
        sqlx::query(insert)
            .bind(user(n))
            .bind(did(n))
            .bind((n != 2).then(|| format!("user-{n}.example.org")))
            .bind(PDS)
            .bind(envelope)
            .bind(custodial)
            .execute(db.pool())
            .await
            .unwrap();
    }
    let columns = "(id, \"userUlid\", did, handle, \"pdsUrl\", \"pdsCredentials\", \"isCustodial\", \"createdAt\", \"updatedAt\")";
    let table = "tenant_x.\"userAtprotoIdentities\"";
    let copy = async |statement: String| -> String {
        let mut connection = db.pool().acquire().await.unwrap();
        let stream = connection.copy_out_raw(&statement).await.unwrap();
        let chunks: Vec<_> = stream.try_collect().await.unwrap();
        String::from_utf8(chunks.concat()).unwrap()
    };
    let csv = copy(format!("copy {table} {columns} to stdout with (format csv, header)")).await;
    let data = copy(format!("copy {table} {columns} to stdout")).await;
    let sql = format!("SET standard_conforming_strings = on;\n\nCOPY {table} {columns} FROM stdin;\n{data}\\.\n\n");
    let paths = [folder.join("identities.csv"), folder.join("identities.sql")];
    std::fs::write(&paths[0], csv).unwrap();
    std::fs::write(&paths[1], sql).unwrap();
    paths
}

/// The app's two keys, each in a file.
fn key_files(folder: &Path, made: &Value) -> Vec<String> {
    let keys = made["keys"].as_object().unwrap();
    let file = |(id, key): (&String, &Value)| {
        let path = folder.join(format!("{id}.key"));
        std::fs::write(&path, format!("{}\n", key.as_str().unwrap())).unwrap();
        path.display().to_string()
    };
    keys.iter().map(file).flat_map(|file| ["--legacy-key-file".to_owned(), file]).collect()
}

fn import(db: &TestDb, ids: &[&str], file: &Path, more: &[String]) -> Said {
    let mut args = vec!["identity", "import", file.to_str().unwrap(), "--json", "--no-wait"];
    args.extend(more.iter().map(String::as_str));
    let said = run(command(db, ids, &args));
    for secret in ["correct horse", "Zürich"] {
        assert!(!format!("{said:?}").contains(secret), "{said:?}");
    }
    said
}

type Link = (String, String, Option<String>, String, bool, String);

async fn links(db: &TestDb) -> Vec<Link> {
    sqlx::query_as(
        "select user_id, did, handle, pds, custodial, to_char(created_at at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS.MS')
         from identity.account order by did",
    )
    .fetch_all(db.pool())
    .await
    .unwrap()
}

async fn changes(db: &TestDb) -> i64 {
    sqlx::query_scalar("select count(*) from ingest.origin_change where change = 'link'")
        .fetch_one(db.pool())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_is_taken_over_once_from_either_file() {
    for which in [0, 1] {
        let (db, folder, made) = (database().await, tempfile::tempdir().unwrap(), made_by_node());
        let file = files(&db, folder.path(), &made).await[which].clone();
        let mut keys = key_files(folder.path(), &made);

        let without = import(&db, &["may"], &file, &["--dry-run".to_owned()]);
        assert_eq!((without.code, &without.json()["refused"]), (Some(1), &json!(5)), "{without:?}");
        keys.push("--dry-run".to_owned());
        let dry = import(&db, &["may"], &file, &keys);
        keys.pop();
        assert_eq!(dry.code, Some(0), "{dry:?}");
        assert_eq!((links(&db).await, changes(&db).await), (vec![], 0), "a dry run changed something");
        let done = import(&db, &["may"], &file, &keys);
        assert_eq!(done.code, Some(0), "{done:?}");
        for told in [dry.json(), done.json()] {
            let numbers = ["lines", "linked", "known", "sealed", "refused"].map(|name| told[name].as_u64().unwrap());
            assert_eq!(numbers, [6, 6, 0, 5, 0], "{told}");
        }
        let expected: Vec<Link> = (0..6)
            .map(|n| {
                let handle = (n != 2).then(|| format!("user-{n}.example.org"));
                (user(n), did(n), handle, PDS.to_owned(), n != 5, "2025-12-24 18:30:00.500".to_owned())
            })
            .collect();
        assert_eq!(links(&db).await, expected);
        assert_eq!(changes(&db).await, 6);
        let vault = vault(&["may"]);
        for n in 0..5 {
            let secret = made["older"][if n % 2 == 0 { 0 } else { 3 }]["secret"].as_str().unwrap().to_owned();
            assert_eq!(load(&db, &vault, n, CredentialName::Password).await, Ok(Some(secret)), "{n}");
        }
        assert_eq!(key_use(&db).await, [("may".to_owned(), 5)]);

        // Again, after one of the passwords was changed here and one account found a new home.
        store(&db, &vault, 0, CredentialName::Password, 1).await;
        sqlx::query("update identity.account set pds = 'https://other.example.org' where did = $1")
            .bind(did(1))
            .execute(db.pool())
            .await
            .unwrap();
        let again = import(&db, &["may"], &file, &keys);
        assert_eq!(again.code, Some(0), "{again:?}");
        let told = again.json();
        let numbers = ["lines", "linked", "known", "sealed", "refused"].map(|name| told[name].as_u64().unwrap());
        assert_eq!(numbers, [6, 0, 6, 0, 0], "{told}");
        assert_eq!(told["notes"].as_array().unwrap().len(), 2, "{told}");
        assert_eq!(changes(&db).await, 6);
        assert_eq!(
            load(&db, &vault, 0, CredentialName::Password).await,
            Ok(Some(secret(0, CredentialName::Password, 1)))
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_that_cannot_be_taken_are_told_and_overwrite_nothing() {
    let (db, folder, made) = (database().await, tempfile::tempdir().unwrap(), made_by_node());
    // User 0 has another account here, account 3 another user, and account 4 was released.
    for n in [0, 3, 4] {
        link(&db, n).await;
    }
    sqlx::query("update identity.account set custodial = false where did = $1")
        .bind(did(4))
        .execute(db.pool())
        .await
        .unwrap();
    let before = links(&db).await;
    let envelope = made["older"][0]["envelope"].as_str().unwrap().replace('"', "\"\"");
    let broken = envelope.replace("1SWc", "2SWc");
    let row = |user: &str, did: &str, credentials: &str, custodial: bool| {
        format!("{user},{did},{PDS},\"{credentials}\",{custodial}\n")
    };
    let text = [
        "user_ulid,did,pds_url,pds_credentials,is_custodial\n".to_owned(),
        row(&user(0), &did(1), &envelope, true),
        row(&user(2), &did(3), &envelope, true),
        row(&user(4), &did(4), &envelope, true),
        row(&user(5), "no did", &envelope, true),
        row(&user(6), &did(6), &broken, true),
        row(&user(7), &did(7), MARK, true),
        row(&user(8), &did(8), &envelope, true),
        row(&user(9), &did(8), &envelope, true),
        row(&user(10), &did(10), &envelope, false),
        row(&user(11), &did(11), "", true),
    ];
    let file = folder.path().join("identities");
    std::fs::write(&file, text.concat()).unwrap();
    let unnamed = import(&db, &["may"], &file, &[]);
    assert!(unnamed.code == Some(1) && unnamed.stderr.contains("--format"), "{unnamed:?}");
    let mut more = key_files(folder.path(), &made);
    more.extend(["--format".to_owned(), "csv".to_owned()]);
    let dry = import(&db, &["may"], &file, &[&more[..], &["--dry-run".to_owned()]].concat());
    assert_eq!(links(&db).await, before);
    let done = import(&db, &["may"], &file, &more);
    assert_eq!((dry.code, done.code), (Some(1), Some(1)), "{done:?}");
    for told in [dry.json(), done.json()] {
        let refused: Vec<(u64, &str)> = told["refusals"]
            .as_array()
            .unwrap()
            .iter()
            .map(|refusal| (refusal["first"].as_u64().unwrap(), refusal["what"].as_str().unwrap()))
            .collect();
        let expected = [
            (2, format!("user {} is linked with {}", user(0), did(0))),
            (3, format!("user {} is linked with {}", user(3), did(3))),
            (4, "its owner's own here and custodial in the file".to_owned()),
            (5, "did is no DID".to_owned()),
            (6, "no key of the ring opens this envelope".to_owned()),
            (7, "it is no envelope".to_owned()),
            (9, format!("user {} is linked with {}", user(8), did(8))),
        ];
        assert_eq!(refused.len(), expected.len(), "{told}");
        for ((line, what), (want_line, want)) in refused.iter().zip(&expected) {
            assert!(line == want_line && what.contains(want), "line {line}: {what}; not line {want_line}: {want}");
        }
        assert_eq!((&told["linked"], &told["sealed"], &told["lines"]), (&json!(3), &json!(1), &json!(10)), "{told}");
        assert_eq!(told["notes"].as_array().unwrap().len(), 2, "{told}");
    }
    let after = links(&db).await;
    assert_eq!(after.len(), before.len() + 3);
    assert!(before.iter().all(|link| after.contains(link)), "{after:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_cut_off_is_taken_as_far_as_it_goes() {
    let (db, folder, made) = (database().await, tempfile::tempdir().unwrap(), made_by_node());
    let file = files(&db, folder.path(), &made).await[1].clone();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, &text[..text.len() - 5]).unwrap();
    let mut command = command(&db, &[], &["identity", "import", file.to_str().unwrap(), "--json", "--no-wait"]);
    // The keys of the settings open as well.
    command.env("ALMANAC_IDENTITY_KEYS", keys_with_node(&made, &["may"]));
    let said = run(command);
    assert_eq!(said.code, Some(1), "{said:?}");
    let told = said.json();
    assert!(told["broken_off"].as_str().unwrap().contains("is the file cut off?"), "{told}");
    assert_eq!((&told["linked"], &told["sealed"]), (&json!(6), &json!(5)), "{told}");
    assert_eq!(links(&db).await.len(), 6);
}
