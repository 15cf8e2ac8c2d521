//! `almanac origin explain`: which rule decides about an account, from which facts, and what would change that; as the process
//! that serves would decide over the same facts.

#[allow(dead_code)] // Parts of these are there for other tests.
mod support {
    pub mod almanac;
    pub mod child;
    pub mod postgres;
}

use almanac::devnet::sim::{Sim, SimOptions};
use serde_json::{Value, json};
use sqlx::PgPool;
use support::almanac as executable;
use support::postgres::TestDb;

const DID: &str = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";
const OTHER: &str = "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb";

/// Three environments: this one (`test`), `dev`, and nobody's.
const SETTINGS: &str = r#"
[origin]
hosts = ["*.test.example=test", "*.dev.example=dev"]
handles = [".dev.example=dev"]
"#;

/// An account as ingest remembers it.
#[derive(Clone, Copy, Default)]
struct Seen {
    pds: Option<&'static str>,
    handle: Option<&'static str>,
    missing: bool,
    /// The verdict of before: its word, whether records are kept, its rule.
    before: Option<(&'static str, bool, i16)>,
}

impl Seen {
    async fn store(self, pool: &PgPool) {
        let at = self.pds.map(|_| "2026-11-22T08:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap());
        sqlx::query(
            "insert into ingest.repo (did, pds, claimed_handle, directory, identity_at, identity_missing, standing,
                 standing_kept, standing_rule, standing_since)
             values ($1, $2, $3, 'https://plc.example', $4, $5, $6, $7, $8, case when $8 is null then null else now() end)",
        )
        .bind(DID)
        .bind(self.pds)
        .bind(self.handle)
        .bind(at)
        .bind(self.missing)
        .bind(self.before.map(|(word, _, _)| word))
        .bind(self.before.map(|(_, kept, _)| kept))
        .bind(self.before.map(|(_, _, rule)| rule))
        .execute(pool)
        .await
        .unwrap();
    }
}

fn seen(pds: &'static str) -> Option<Seen> {
    Some(Seen { pds: Some(pds), ..Seen::default() })
}

/// What is known, what was done before, the flags, and what must come out.
struct Case {
    what: &'static str,
    seen: Option<Seen>,
    before: &'static [&'static str],
    flags: &'static [&'static str],
    standing: &'static str,
    rule: u8,
    kept: bool,
    /// A word of what would change it.
    would_change: &'static str,
}

const NOBODYS: &str = "https://pds.example";
const OURS: &str = "https://pds.test.example";
const FOREIGN: &str = "https://pds.dev.example";

const LINK: &[&str] = &["identity", "link", "anna", DID, "--pds", NOBODYS, "--no-wait"];
const ALLOW: &[&str] = &["origin", "allow", DID, "--why", "a friend", "--no-wait"];
const DENY: &[&str] = &["origin", "deny", DID, "--why", "spam", "--no-wait"];
const ALLOWLIST: &[&str] = &["--dids", "allowlist"];

fn cases() -> Vec<Case> {
    let case = |what, seen, before, flags, standing, rule, would_change| Case {
        what,
        seen,
        before,
        flags,
        standing,
        rule,
        kept: ["own", "network"].contains(&standing) || (standing, flags) == ("own_host_stranger", &[] as &[&str]),
        would_change,
    };
    let with = |pds, handle, missing, before| Some(Seen { pds, handle, missing, before });
    vec![
        case("denied by an entry", seen(NOBODYS), DENY, &[], "denied", 3, "origin forget"),
        case("denied by the settings", seen(NOBODYS), ALLOW, &["--deny", DID], "denied", 3, "filter.deny"),
        case("given up", with(None, None, true, None), ALLOW, &[], "unknown", 4, "directory"),
        case("never seen", None, &[], &[], "held", 5, "--resolve"),
        case("never seen, denied", None, DENY, &[], "denied", 3, "origin forget"),
        case(
            "not read again, decided before",
            with(None, None, false, Some(("not_allowed", false, 12))),
            &[],
            &[],
            "not_allowed",
            12,
            "origin allow",
        ),
        case("on dev's PDS", seen(FOREIGN), ALLOW, &[], "foreign", 6, "declares for dev"),
        case(
            "with dev's handle",
            with(Some(NOBODYS), Some("anna.dev.example"), false, None),
            LINK,
            &[],
            "foreign",
            6,
            "claiming another handle than anna.dev.example",
        ),
        case("our user", seen(NOBODYS), LINK, ALLOWLIST, "own", 7, "identity unlink"),
        case("our user, elsewhere", seen("https://other.example"), LINK, &[], "moved", 8, "confirming"),
        case("a stranger on our PDS", seen(OURS), &[], &[], "own_host_stranger", 9, "identity link"),
        case(
            "the same where only the listed enter",
            seen(OURS),
            &[],
            ALLOWLIST,
            "own_host_stranger",
            9,
            "origin allow",
        ),
        case("allowed", seen(NOBODYS), ALLOW, ALLOWLIST, "network", 10, "origin forget"),
        case("anybody", seen(NOBODYS), &[], &[], "network", 11, "origin deny"),
        case("anybody else", seen(NOBODYS), &[], ALLOWLIST, "not_allowed", 12, "origin allow"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_rule_is_told_with_what_it_was_decided_from() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("almanac.toml");
    std::fs::write(&config, SETTINGS).unwrap();
    let config = ["--config", config.to_str().unwrap()];
    let db = TestDb::fresh().await;
    let url = db.url().expose();
    assert!(executable::run(url, &["migrate"]).status.success());
    for case in cases() {
        let what = case.what;
        for table in ["ingest.repo", "ingest.origin_entry", "identity.account"] {
            sqlx::query(sqlx::AssertSqlSafe(format!("delete from {table}"))).execute(db.pool()).await.unwrap();
        }
        if let Some(seen) = case.seen {
            seen.store(db.pool()).await;
        }
        if !case.before.is_empty() {
            let done = executable::run(url, case.before);
            assert!(done.status.success(), "{what}: {done:?}");
        }
        let args = |more: &[&'static str]| -> Vec<&str> {
            ["origin", "explain", DID].iter().chain(&config).chain(case.flags).chain(more).copied().collect()
        };
        let output = executable::run(url, &args(&["--json"]));
        let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{what}: {e}: {output:?}"));
        assert_eq!(
            (&told["standing"], &told["rule"], &told["kept"]),
            (&json!(case.standing), &json!(case.rule), &json!(case.kept)),
            "{what}: {told}"
        );
        assert_eq!(output.status.code(), Some(if case.kept { 0 } else { 1 }), "{what}");
        let ways = told["would_change"].as_array().unwrap();
        let says = |way: &Value| way.as_str().unwrap().contains(case.would_change);
        assert!(ways.iter().any(says), "{what}: nothing says {:?}: {told}", case.would_change);
        let facts = &told["facts"];
        assert_eq!(facts["pds"], json!(case.seen.and_then(|seen| seen.pds)), "{what}");
        assert_eq!(facts["seen"], json!(case.seen.is_some()), "{what}");
        assert_eq!(facts["link"]["user_id"], if case.before == LINK { json!("anna") } else { json!(null) }, "{what}");
        assert_eq!(
            facts["entry"]["list"],
            match case.before {
                ALLOW => json!("allow"),
                DENY => json!("deny"),
                _ => json!(null),
            }
        );
        // For people the same, in a line.
        let text = executable::run(url, &args(&[]));
        let text = String::from_utf8_lossy(&text.stdout).into_owned();
        assert!(text.contains(&format!("{}: ", case.standing)), "{what}: {text}");
        assert!(text.contains(&format!("(rule {}: ", case.rule)), "{what}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_an_account_never_seen_it_tells_what_is_missing_and_looks_it_up_when_asked() {
    let sim = Sim::start(SimOptions { accounts: 2, ..SimOptions::default() }).await.unwrap();
    let did = sim.dids().remove(0);
    let pds = sim.pds_url(sim.host_of(&did).unwrap());
    let db = TestDb::fresh().await;
    let url = db.url().expose();
    assert!(executable::run(url, &["migrate"]).status.success());
    let explain = |did: &str, more: &[&str]| -> (Option<i32>, Value) {
        let network = ["--plc", sim.plc_url(), "--allow-private", "--host-override", sim.host_override()];
        let args: Vec<&str> =
            ["origin", "explain", "--json", did].iter().chain(&network).chain(more).copied().collect();
        let output = executable::run(url, &args);
        let told = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
        (output.status.code(), told)
    };

    let (code, told) = explain(&did, &[]);
    assert_eq!((code, &told["standing"], &told["rule"]), (Some(1), &json!("held"), &json!(5)), "{told}");
    assert_eq!(told["missing"].as_array().unwrap().len(), 2, "{told}");
    assert_eq!(told["by_lists_alone"]["rule"], 11, "{told}");
    let (_, told) = explain(&did, &["--dids", "allowlist"]);
    assert_eq!(told["by_lists_alone"]["standing"], "not_allowed", "{told}");
    let (_, told) = explain(&did, &["--allow", &did]);
    assert_eq!(told["by_lists_alone"]["rule"], 10, "{told}");
    assert_eq!(told["facts"]["allowed_by"], json!(["settings"]), "{told}");

    let (code, told) = explain(&did, &["--resolve"]);
    assert_eq!((code, &told["standing"], &told["rule"]), (Some(0), &json!("network"), &json!(11)), "{told}");
    assert_eq!(told["facts"]["pds"].as_str().map(|at| at.trim_end_matches('/')), Some(pds.trim_end_matches('/')));
    assert_eq!(told["facts"]["claimed_handle"], json!(sim.handle(&did).unwrap()));
    assert_eq!((&told["facts"]["document"], &told["by_lists_alone"]), (&json!("read"), &json!(null)));
    // Where nobody is asked, the lists decide.
    let (code, told) = explain(&did, &["--verify", "none"]);
    assert_eq!((code, &told["rule"], &told["facts"]["document"]), (Some(0), &json!(11), &json!("not_asked")), "{told}");
    // Nobody has this one.
    let (code, told) = explain(OTHER, &["--resolve"]);
    assert_eq!((code, &told["standing"], &told["rule"]), (Some(1), &json!("unknown"), &json!(4)), "{told}");
    // And nobody can say while the directory is down: what was not decided before is held.
    drop(sim);
    let output = executable::run(
        url,
        &["origin", "explain", "--json", "--resolve", &did, "--plc", "http://127.0.0.1:1", "--allow-private"],
    );
    let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    assert_eq!((&told["standing"], &told["facts"]["document"]), (&json!("held"), &json!("unreachable")), "{told}");
    assert!(told["facts"]["look_up_error"].is_string(), "{told}");
}
