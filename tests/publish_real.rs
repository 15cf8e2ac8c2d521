//! Publishing through `almanac serve` on the official PDS: what an app puts is on the PDS before it is answered, the index
//! shows it through the PDS's own stream, and that confirms it.

// Parts of these are there for other tests.
#[allow(dead_code)]
mod support {
    pub mod app;
    pub mod child;
    pub mod postgres;
    pub mod real_parts;
    pub mod serve;
}

use almanac::event::Environment;
use almanac::identity;
use almanac::identity::credential::{CredentialName, load};
use almanac::identity::vault::{KeyRing, Vault};
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use support::app::{App, KEY, LIMIT, NEXT_KEY, text};
use support::real_parts::{ADMIN_PASSWORD, RealParts};
use support::serve::{Serve, eventually};

const EVENT: &str = "community.lexicon.calendar.event";

fn picnic(name: &str) -> Value {
    json!({
        "name": name, "description": "Bring a blanket 🧺", "startsAt": "2027-06-05T20:00:00+02:00",
        "endsAt": "2027-06-05T22:00:00Z", "mode": "inperson", "status": "scheduled",
        "locations": [{ "$type": "geo", "latitude": 38.2527, "longitude": "-85.7585" }],
    })
}

async fn see_event(serve: &Serve, uri: &str, name: &str) -> Value {
    eventually(&format!("{uri} is called {name}"), LIMIT, async || match serve.event(uri).await {
        Some(event) if event["name"] == name => Ok(event),
        other => Err(format!("{other:?}")),
    })
    .await
}

/// The account's own session on the PDS, beside ours: another client of the same user.
async fn other_client(app: &App, parts: &RealParts, user: &str) -> support::real_parts::Account {
    let account = identity::of_user(app.db.pool(), user).await.unwrap().unwrap();
    let password = secret(app, &account, ("one", KEY), CredentialName::Password).await;
    let mut account = parts.account(&account.did, account.handle.as_deref().unwrap());
    parts.sign_in_with(&mut account, &password).await;
    account
}

/// What the vault holds of a user, opened.
async fn secret(app: &App, account: &identity::Account, (id, key): (&str, &str), name: CredentialName) -> String {
    let key = data_encoding::BASE64.decode(key.as_bytes()).unwrap().try_into().unwrap();
    let vault = Vault::new(Environment::parse("test").unwrap(), KeyRing::new(vec![(id.to_owned(), key)]).unwrap());
    let secret = load(app.db.pool(), &vault, &account.user_id, &account.did, name).await.unwrap();
    secret.unwrap_or_else(|| panic!("no {name:?} of {}", account.user_id)).expose_secret().to_owned()
}

#[tokio::test]
async fn what_an_app_puts_is_on_the_pds_and_comes_back_through_its_stream() {
    let parts = RealParts::start().await;
    let app = App::new(&parts).await;
    let serve = app.serve(&parts);
    let ana = app.create_user("ana");
    let ben = app.create_user("ben");

    // Created: on the PDS before the answer.
    let made = app.put(&serve, "users/ana/events/picnic", &picnic("Picnic")).await;
    let uri = made["uri"].as_str().unwrap().to_owned();
    assert!(uri.starts_with(&format!("at://{ana}/{EVENT}/")), "{made}");
    let held = parts.list_records(&ana, EVENT).await;
    assert_eq!((held.len(), &*held[0].uri, held[0].cid.as_str()), (1, &*uri, made["cid"].as_str().unwrap()));
    assert_eq!(held[0].value["startsAt"], "2027-06-05T18:00:00.000Z");
    assert_eq!(held[0].value["locations"][0]["latitude"], "38.2527");
    // Confirmed by the PDS's own stream, and in the index.
    let confirmed = app.see_state(&serve, "users/ana/events/picnic", "confirmed").await;
    assert_eq!(confirmed["cid"], made["cid"]);
    see_event(&serve, &uri, "Picnic").await;

    // The same again is no second wish, and no second record.
    let again = app.put(&serve, "users/ana/events/picnic", &picnic("Picnic")).await;
    assert_eq!(
        (&again["uri"], &again["cid"], &again["intent"]["id"]),
        (&made["uri"], &made["cid"], &made["intent"]["id"])
    );

    // Answered to.
    let going = json!({ "subject": { "uri": uri }, "status": "going" });
    let answer = app.put(&serve, "users/ben/rsvps/picnic", &going).await;
    app.see_state(&serve, "users/ben/rsvps/picnic", "confirmed").await;
    let rsvp = parts.list_records(&ben, "community.lexicon.calendar.rsvp").await;
    assert_eq!((&*rsvp[0].uri, &rsvp[0].value["subject"]["cid"]), (answer["uri"].as_str().unwrap(), &made["cid"]));
    let event = see_event(&serve, &uri, "Picnic").await;
    assert_eq!(event["rsvpCounts"]["going"], 1);

    // Edited, while another client of the same user adds a field of its own and changes the description.
    let other = other_client(&app, &parts, "ana").await;
    let mut theirs = parts.list_records(&ana, EVENT).await.remove(0).value;
    theirs["com.example.theirs"] = json!({ "kept": [1, null, "ü"] });
    theirs["description"] = "Bring a chair".into();
    let rkey = uri.rsplit('/').next().unwrap();
    let written = parts.put_record(&other, rkey, theirs).await;
    eventually("the other client's edit is seen", LIMIT, async || {
        let (_, value) = app.call(&serve, Method::GET, "users/ana/events/picnic", &[], None).await;
        if value["cid"] == written.cid { Ok(()) } else { Err(value.to_string()) }
    })
    .await;
    app.put(&serve, "users/ana/events/picnic", &picnic("Picnic by the river")).await;
    app.see_state(&serve, "users/ana/events/picnic", "confirmed").await;
    let record = &parts.list_records(&ana, EVENT).await[0].value;
    assert_eq!(record["name"], "Picnic by the river");
    assert_eq!(record["description"], "Bring a chair");
    assert_eq!(record["com.example.theirs"], json!({ "kept": [1, null, "ü"] }));

    // Both change the same: theirs stays, ours is kept and told.
    let mut theirs = record.clone();
    theirs["name"] = "Barbecue".into();
    parts.put_record(&other, rkey, theirs).await;
    let (status, value) =
        app.call(&serve, Method::PUT, "users/ana/events/picnic", &[], Some(&picnic("Garden party"))).await;
    assert_eq!((status.as_u16(), &value["record"]["intent"]["state"]), (409, &json!("conflict")), "{value}");
    assert!(value.to_string().contains("Garden party") && value.to_string().contains("Barbecue"), "{value}");
    assert_eq!(parts.list_records(&ana, EVENT).await[0].value["name"], "Barbecue");
    see_event(&serve, &uri, "Barbecue").await;
    // Seen and meant: the version that the app edits is named.
    let cid = parts.list_records(&ana, EVENT).await[0].cid.clone();
    let (status, value) = app
        .call(&serve, Method::PUT, "users/ana/events/picnic", &[("if-match", &cid)], Some(&picnic("Garden party")))
        .await;
    assert_eq!(status.as_u16(), 200, "{value}");
    see_event(&serve, &uri, "Garden party").await;

    // Deleted.
    let (status, value) = app.call(&serve, Method::DELETE, "users/ana/events/picnic", &[], None).await;
    assert_eq!(status.as_u16(), 200, "{value}");
    app.see_state(&serve, "users/ana/events/picnic", "confirmed").await;
    eventually("it is gone", LIMIT, async || match serve.event(&uri).await {
        None => Ok(()),
        Some(event) => Err(event.to_string()),
    })
    .await;
    assert!(parts.list_records(&ana, EVENT).await.is_empty());
    // An echo makes no write: nothing was written beside what is told above.
    let revs: i64 =
        sqlx::query_scalar("select count(distinct rev) from log.event where did = $1 and kind in ('put', 'delete')")
            .bind(&ana)
            .fetch_one(app.db.pool())
            .await
            .unwrap();
    assert_eq!(revs, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_exchanged_while_users_publish_and_no_secret_is_told() {
    let parts = RealParts::start().await;
    let app = App::new(&parts).await;
    let serve = app.serve(&parts);
    for user in ["ana", "ben", "cem"] {
        app.create_user(user);
        app.put(&serve, &format!("users/{user}/events/first"), &picnic("First")).await;
    }
    drop(serve);
    // Rows that only the old key opens: without it nothing starts.
    app.settings(&parts, &parts.pds_url, &[("two", NEXT_KEY)]);
    let config = app.folder.path().join("almanac.toml");
    let refused = app.run(&["serve", "--json", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    assert!(!refused.status.success(), "{}", config.display());
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(words.contains("one") && words.contains("identity.keys"), "{words}");

    app.settings(&parts, &parts.pds_url, &[("two", NEXT_KEY), ("one", KEY)]);
    let serve = app.serve(&parts);
    let publishing = async {
        for round in 0..6 {
            for user in ["ana", "ben", "cem"] {
                app.put(&serve, &format!("users/{user}/events/{round}"), &picnic(&format!("Round {round}"))).await;
            }
        }
    };
    let dry = app.json(&["identity", "rotate-keys", "--dry-run", "--json"]);
    assert!(dry.to_string().contains("one"), "{dry}");
    let mut rotating = app.command(&["identity", "rotate-keys", "--json"]).spawn().unwrap();
    publishing.await;
    let done = rotating.wait().unwrap();
    assert!(done.success());
    let old: i64 = sqlx::query_scalar("select count(*) from identity.credential where key_id is distinct from 'two'")
        .fetch_one(app.db.pool())
        .await
        .unwrap();
    assert_eq!(old, 0);
    drop(serve);
    // The old key is not needed any more.
    app.settings(&parts, &parts.pds_url, &[("two", NEXT_KEY)]);
    let serve = app.serve(&parts);
    app.put(&serve, "users/ana/events/last", &picnic("Last")).await;
    app.see_state(&serve, "users/ana/events/last", "confirmed").await;
    let (_, metrics) = serve.get(&format!("{}/metrics", serve.admin), &[]).await;
    for user in ["ana", "ben", "cem"] {
        app.json(&["identity", "show", user, "--json"]);
        app.run(&["identity", "show", user]);
    }
    app.run(&["status"]);
    app.run(&["config", "show"]);
    app.run(&["identity", "list"]);
    drop(serve);

    // Nothing secret was told by anything that ran.
    let told = [app.printed(), text(&app.folder.path().join("serve.log")), metrics].concat();
    let mut secrets = vec![KEY.to_owned(), NEXT_KEY.to_owned(), ADMIN_PASSWORD.to_owned(), app.token.clone()];
    for user in ["ana", "ben", "cem"] {
        let account = identity::of_user(app.db.pool(), user).await.unwrap().unwrap();
        for name in [CredentialName::Password, CredentialName::AccessToken, CredentialName::RefreshToken] {
            secrets.push(secret(&app, &account, ("two", NEXT_KEY), name).await);
        }
    }
    assert!(secrets.len() > 10, "{}", secrets.len());
    for secret in secrets {
        assert!(!told.contains(&secret), "a secret was told: {}…", &secret[..6]);
    }
}

/// A development database with production's accounts in it, and their passwords.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_written_to_the_pds_of_another_environment() {
    let parts = RealParts::start().await;
    let app = App::new(&parts).await;
    let ana = app.create_user("ana");
    let before = parts.list_records(&ana, EVENT).await;
    app.declare(parts.pds_url.trim_start_matches("http://"), "production");
    for args in [
        &["publish", "event", "ana", "picnic", "--name", "Picnic"][..],
        &["identity", "create", "ben"],
        &["pds", "invite", "create"],
    ] {
        let output = app.run(args);
        let words = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success() && words.contains("production"), "{args:?}: {:?}: {words}", output.status);
    }
    // With the way through the relay alone, a process that serves writes as little.
    let config = app.folder.path().join("almanac.toml");
    let flags = ["--config", config.to_str().unwrap(), "--plc", &parts.plc_url];
    let serve = Serve::start_with(app.db.url().expose(), "", app.folder.path(), &flags);
    let (status, value) = app.call(&serve, Method::PUT, "users/ana/events/picnic", &[], Some(&picnic("Picnic"))).await;
    assert_eq!((status.as_u16(), &value["error"]), (403, &json!("NotOurs")), "{value}");
    assert_eq!(parts.list_records(&ana, EVENT).await, before);
    assert_eq!(parts.dids().await, [ana]);
}
