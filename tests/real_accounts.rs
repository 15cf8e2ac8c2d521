//! What becomes of accounts on the official PDS, several of them at once: moves to another host with another key in
//! mid-stream, the administrator's switch, and deletion up to the purge of the log.

// Parts of these are there for other tests.
#[allow(dead_code)]
mod support {
    pub mod almanac;
    pub mod child;
    pub mod postgres;
    pub mod real_parts;
    pub mod serve;
}

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use support::almanac as executable;
use support::postgres::TestDb;
use support::real_parts::{Account, RealParts};
use support::serve::{Serve, eventually};

const EVENT: &str = "community.lexicon.calendar.event";
const RSVP: &str = "community.lexicon.calendar.rsvp";
/// Far more than any step takes, also on a machine that compiles at the same time.
const LIMIT: Duration = Duration::from_secs(60);

fn event(name: &str) -> Value {
    json!({ "$type": EVENT, "name": name, "createdAt": "2026-11-22T08:00:00.000Z", "startsAt": "2027-06-05T18:00:00.000Z" })
}

fn going(subject: &Value) -> Value {
    json!({ "$type": RSVP, "subject": subject, "status": format!("{RSVP}#going"), "createdAt": "2026-11-22T08:00:00.000Z" })
}

/// URI → CID of everything in both tables.
async fn shown(db: &TestDb) -> BTreeMap<String, String> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("select uri, cid from calendar.events union all select uri, cid from calendar.rsvps")
            .fetch_all(db.pool())
            .await
            .unwrap();
    rows.into_iter().collect()
}

/// Waits until exactly what these hosts list of these accounts is shown.
async fn see_exactly(db: &TestDb, what: &str, accounts: &[(&RealParts, &Account)]) {
    let mut truth = BTreeMap::new();
    for (parts, account) in accounts {
        for collection in [EVENT, RSVP] {
            let held = parts.list_records(&account.did, collection).await;
            truth.extend(held.into_iter().map(|record| (record.uri, record.cid)));
        }
    }
    eventually(what, LIMIT, async || {
        let have = shown(db).await;
        let only = |a: &BTreeMap<String, String>, b: &BTreeMap<String, String>| {
            a.iter().filter(|(uri, cid)| b.get(*uri) != Some(*cid)).map(|(uri, _)| uri.clone()).collect::<Vec<_>>()
        };
        match (only(&have, &truth), only(&truth, &have)) {
            (extra, missing) if extra.is_empty() && missing.is_empty() => Ok(()),
            (extra, missing) => Err(format!("shown but not held {extra:?}, held but not shown {missing:?}")),
        }
    })
    .await;
}

/// Waits until the daemon has nothing more to do. What apps see then.
async fn settled(serve: &Serve, db: &TestDb) -> Value {
    eventually("all jobs are done and all of the log is shown", LIMIT, async || {
        let jobs: Vec<(String, Option<String>)> =
            sqlx::query_as("select did, error from source.backfill_job where state in ('queued', 'running')")
                .fetch_all(db.pool())
                .await
                .unwrap();
        let status = serve.query("getStatus", &[]).await;
        let same = status["logPosition"] == status["projectionPosition"];
        if jobs.is_empty() && same { Ok(()) } else { Err(format!("{jobs:?} {status}")) }
    })
    .await;
    executable::checksum(db.url().expose())
}

/// Waits until a record that this account writes now is shown: all that its host said before is judged by then.
async fn see_all_of(serve: &Serve, parts: &RealParts, account: &Account) {
    let last = parts.create_record(account, None, event("up to here")).await;
    eventually("the latest event", LIMIT, async || serve.event(&last.uri).await.map(drop).ok_or(format!("{last:?}")))
        .await;
}

/// PDS, signing key and state, as remembered of an account in scope.
async fn remembered(db: &TestDb, account: &Account) -> (Option<String>, Option<String>, String) {
    sqlx::query_as("select pds, signing_key, state from ingest.repo where did = $1")
        .bind(&account.did)
        .fetch_optional(db.pool())
        .await
        .unwrap()
        .unwrap_or((None, None, "not in scope".to_owned()))
}

/// Waits until an account is known to live on this host, as a whole. Its key.
async fn see_home(db: &TestDb, parts: &RealParts, account: &Account) -> String {
    let port = parts.pds_url.rsplit(':').next().unwrap().to_owned();
    eventually("its host is known, and all of it is here", LIMIT, async || {
        let (pds, key, state) = remembered(db, account).await;
        let home = pds.as_deref().is_some_and(|pds| pds.ends_with(&format!(":{port}")));
        let whole = home && state == "synced";
        key.clone().filter(|_| whole).ok_or(format!("{pds:?} {key:?} {state}"))
    })
    .await
}

fn flags<'a>(firehoses: &'a [String], plc: &'a str, handles: &'a [String]) -> Vec<&'a str> {
    let mut flags = vec!["--plc", plc, "--allow-private"];
    flags.extend(firehoses.iter().flat_map(|url| ["--pds", url]));
    flags.extend(handles.iter().flat_map(|handles| ["--host-override", handles]));
    flags
}

#[tokio::test]
async fn accounts_move_to_another_host_in_mid_stream() {
    let old = RealParts::start().await;
    let new = old.start_another(".second.test").await;
    let (db, folder) = (TestDb::fresh().await, tempfile::tempdir().unwrap());
    let firehoses = [old.firehose(), new.firehose()];
    // The longer suffix first.
    let handles = [new.handles(), old.handles()];
    let serve = Serve::start_with(db.url().expose(), "", folder.path(), &flags(&firehoses, &old.plc_url, &handles));

    let ana = old.create_account("ana").await;
    let ben = old.create_account("ben").await;
    let cem = old.create_account("cem").await;
    let dia = old.create_account("dia").await;
    let eve = new.create_account("eve").await;
    let party = old.create_record(&ana, None, event("Party")).await;
    for (parts, guest) in [(&old, &ben), (&old, &cem), (&new, &eve)] {
        parts.create_record(guest, None, going(&party.reference())).await;
    }
    old.create_record(&cem, None, event("Concert")).await;
    // Has nothing to do with calendars for the time being.
    old.create_record(
        &dia,
        None,
        json!({ "$type": "app.bsky.feed.post", "text": "Hi", "createdAt": "2026-11-22T08:00:00.000Z" }),
    )
    .await;
    see_exactly(&db, "before anybody moves", &[(&old, &ana), (&old, &ben), (&old, &cem), (&new, &eve)]).await;
    let keys_before = [see_home(&db, &old, &ana).await, see_home(&db, &old, &cem).await];

    // Ana moves by the book: the old host hears of it last. Others write on both hosts all the time.
    let ana_new = new.copy_from(&old, &ana, "ana").await;
    old.create_record(&ben, None, event("Meanwhile on the old host")).await;
    new.create_record(&eve, None, event("Meanwhile on the new host")).await;
    new.take_over(&old, &ana_new).await;
    new.activate(&ana_new).await;
    let first_here = new.create_record(&ana_new, None, event("From the new host")).await;
    let key = see_home(&db, &new, &ana).await;
    assert_ne!(key, keys_before[0], "the new host signs with a key of its own");
    let before = shown(&db).await;
    old.deactivate(&ana).await;
    see_all_of(&serve, &old, &ben).await;
    let after = shown(&db).await;
    assert_eq!(before.keys().filter(|uri| !after.contains_key(*uri)).collect::<Vec<_>>(), Vec::<&String>::new());
    let everybody = [(&new, &ana_new), (&old, &ben), (&old, &cem), (&new, &eve)];
    see_exactly(&db, "after the old host said that the account is off", &everybody).await;
    let shown = serve.event(&first_here.uri).await.unwrap();
    assert_eq!(shown["author"]["handle"], "ana.second.test", "{shown}");

    // Cem's tool switches the old account off first, and nothing is written after the move.
    let cem_new = new.copy_from(&old, &cem, "cem").await;
    old.deactivate(&cem).await;
    new.take_over(&old, &cem_new).await;
    new.activate(&cem_new).await;
    see_all_of(&serve, &old, &ben).await;
    see_all_of(&serve, &new, &eve).await;
    assert_ne!(see_home(&db, &new, &cem).await, keys_before[1]);
    let everybody = [(&new, &ana_new), (&old, &ben), (&new, &cem_new), (&new, &eve)];
    see_exactly(&db, "switched off before the move", &everybody).await;
    // The last commit is signed with the old host's key until there is another; it was proven when that key counted.
    eventually("the repository is compared with the new host", LIMIT, async || {
        let job: Option<(String, Option<String>, Option<String>)> =
            sqlx::query_as("select state, outcome, host from source.backfill_job where did = $1")
                .bind(&cem.did)
                .fetch_optional(db.pool())
                .await
                .unwrap();
        let at = format!("localhost:{}", new.pds_url.rsplit(':').next().unwrap());
        match &job {
            Some((state, Some(outcome), Some(host)))
                if state == "done" && outcome == "fetched_sparse" && *host == at =>
            {
                Ok(())
            }
            _ => Err(format!("{job:?}")),
        }
    })
    .await;

    // Dia was nobody here before she moved.
    let dia_new = new.copy_from(&old, &dia, "dia").await;
    new.take_over(&old, &dia_new).await;
    new.activate(&dia_new).await;
    see_all_of(&serve, &new, &eve).await;
    old.deactivate(&dia).await;
    see_all_of(&serve, &old, &ben).await;
    new.create_record(&dia_new, None, event("Her first")).await;
    see_home(&db, &new, &dia).await;
    let everybody = [(&new, &ana_new), (&old, &ben), (&new, &cem_new), (&new, &dia_new), (&new, &eve)];
    see_exactly(&db, "a first event on the new host", &everybody).await;

    // Life goes on there: changes of what came along, and of what is new.
    new.put_record(&ana_new, party.rkey(), event("Party, on another day")).await;
    new.delete_record(&ana_new, EVENT, first_here.rkey()).await;
    new.create_record(&cem_new, None, going(&party.reference())).await;
    see_exactly(&db, "changes on the new host", &everybody).await;
    for account in [&ana, &cem, &dia] {
        see_home(&db, &new, account).await;
    }

    // Its new host may switch it off.
    new.deactivate(&ana_new).await;
    see_exactly(&db, "off on the new host", &everybody[1..]).await;
    new.activate(&ana_new).await;
    see_exactly(&db, "on again", &everybody).await;

    let by_new: i64 = sqlx::query_scalar(
        "select count(*) from log.event where did = $1 and kind in ('put', 'delete') and verification = 'full' and upstream = $2",
    )
    .bind(&ana.did)
    .bind(new.pds_url.trim_start_matches("http://"))
    .fetch_one(db.pool())
    .await
    .unwrap();
    assert_eq!(by_new, 3, "what it wrote on the new host was verified with the new key as it came");
    let sums = settled(&serve, &db).await;
    serve.kill();
    executable::json(db.url().expose(), &["rebuild", "--json", "--data-dir", folder.path().to_str().unwrap()]);
    assert_eq!(executable::checksum(db.url().expose()), sums);
}

#[tokio::test]
async fn a_deleted_account_leaves_the_log() {
    let parts = RealParts::start().await;
    let (db, folder) = (TestDb::fresh().await, tempfile::tempdir().unwrap());
    let (firehoses, handles) = ([parts.firehose()], [parts.handles()]);
    let flags = flags(&firehoses, &parts.plc_url, &handles);
    let serve = Serve::start_with(db.url().expose(), "", folder.path(), &flags);
    let (url, dir) = (db.url().expose(), folder.path().to_str().unwrap());

    let ana = parts.create_account("ana").await;
    let ben = parts.create_account("ben").await;
    let party = parts.create_record(&ana, None, event("Party")).await;
    parts.put_record(&ana, party.rkey(), event("Party at night")).await;
    let concert = parts.create_record(&ben, None, event("Concert")).await;
    parts.create_record(&ana, None, going(&concert.reference())).await;
    parts.create_record(&ben, None, going(&party.reference())).await;
    see_exactly(&db, "everything", &[(&parts, &ana), (&parts, &ben)]).await;
    see_home(&db, &parts, &ana).await;
    see_home(&db, &parts, &ben).await;

    // The administrator's switch hides like the owner's.
    parts.switch(&ana, false).await;
    see_exactly(&db, "switched off by the administrator", &[(&parts, &ben)]).await;
    parts.switch(&ana, true).await;
    see_exactly(&db, "switched on again", &[(&parts, &ana), (&parts, &ben)]).await;

    let bytes = async |account: &Account| -> (i64, i64) {
        sqlx::query_as(
            "select count(*), coalesce(sum(octet_length(record)), 0)::bigint from log.event where did = $1 and record is not null",
        )
        .bind(&account.did)
        .fetch_one(db.pool())
        .await
        .unwrap()
    };
    let (of_ana, of_ben) = (bytes(&ana).await, bytes(&ben).await);
    assert!(of_ana.0 >= 3 && of_ben.0 >= 2, "{of_ana:?} {of_ben:?}");
    // Switched off is not deleted.
    parts.switch(&ana, false).await;
    see_exactly(&db, "off once more", &[(&parts, &ben)]).await;
    let purge = ["purge", "--older-than", "0s", "--json", "--data-dir", dir];
    assert_eq!(executable::json(url, &purge)["accounts"], 0);
    parts.switch(&ana, true).await;
    see_exactly(&db, "on once more", &[(&parts, &ana), (&parts, &ben)]).await;

    parts.delete_account(&ana).await;
    see_exactly(&db, "deleted", &[(&parts, &ben)]).await;
    see_all_of(&serve, &parts, &ben).await;
    let counts = serve.event(&concert.uri).await.unwrap()["rsvpCounts"].clone();
    assert_eq!(counts["going"], 0, "{counts}");
    let sums = settled(&serve, &db).await;
    // Not yet old enough.
    let report = executable::json(url, &["purge", "--older-than", "1h", "--json", "--data-dir", dir]);
    assert_eq!((&report["accounts"], bytes(&ana).await), (&json!(0), of_ana), "{report}");
    let of_ben = bytes(&ben).await;

    let report = executable::json(url, &purge);
    let purged = (report["records"].as_i64().unwrap(), report["bytes"].as_i64().unwrap());
    assert_eq!((&report["accounts"], purged), (&json!(1), of_ana), "{report}");
    assert_eq!((bytes(&ana).await, bytes(&ben).await), ((0, 0), of_ben));
    assert_eq!(executable::checksum(url), sums, "after the purge");
    executable::json(url, &["rebuild", "--json", "--data-dir", dir]);
    assert_eq!(executable::checksum(url), sums, "after a rebuild");

    // The daemon goes on over all this.
    see_all_of(&serve, &parts, &ben).await;
    see_exactly(&db, "afterwards", &[(&parts, &ben)]).await;
}
