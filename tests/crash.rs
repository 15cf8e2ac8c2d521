//! Crash windows: `almanac` killed at every named place, started again, and the index is the truth all the same; nothing
//! stands in the log twice, nothing was passed over, and no position is left out.
//!
//! The names are collected from the sources, so a place that no window here visits fails this test. Nothing but the restart
//! may put things right: accounts are compared with their hosts once an hour only, so never here.

#[allow(dead_code)] // Parts of these are there for other tests.
mod support {
    pub mod almanac;
    pub mod child;
    pub mod postgres;
    pub mod serve;
    pub mod sim;
}

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use almanac::devnet::Write;
use almanac::devnet::cbor::Value;
use almanac::devnet::sim::{At, Fault, Place, Script, Sim, SimOptions, When};
use support::child::Running;
use support::postgres::TestDb;
use support::serve::Serve;
use support::{almanac as executable, sim};
use tempfile::TempDir;

/// Far more than anything here takes, also on a machine that compiles at the same time.
const LIMIT: Duration = Duration::from_secs(60);
const EVENT: &str = "community.lexicon.calendar.event";
const SETTINGS: &str = "
[backfill]
coverage_every = '1h'
host_pause = '200ms'
";

/// What happens while nobody listens; the process that listens next is killed on the way through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scene {
    /// The very first start, on a network with a past.
    FirstStart,
    /// An account that is known writes an event. Nothing else happens, so the log and the cursor move together or not.
    Event,
    /// Somebody new writes an event.
    Newcomer,
    /// Frames of an account with 900 records are lost on the way, then one arrives.
    Lost,
    /// Frames that were not read are no longer kept.
    Outdated,
    /// `almanac purge`, when an account with 900 records was deleted.
    Purge,
    /// `almanac rebuild`.
    Rebuild,
}

/// Every place, and what leads there. `NAME:2` is its second visit.
const FOLLOWING: &[(&str, Scene)] = &[
    ("discovery page stored", Scene::FirstStart),
    ("after append before cursor", Scene::Event),
    ("after cursor before commit", Scene::Event),
    ("after commit", Scene::Event),
    ("projection before checkpoint", Scene::Event),
    ("projection after checkpoint", Scene::Event),
    ("projection after commit", Scene::Event),
    ("frame held before ask", Scene::Newcomer),
    ("identity found before told", Scene::Newcomer),
    ("identity told before held frames", Scene::Newcomer),
    ("held frames released before commit", Scene::Newcomer),
    ("job claimed", Scene::Newcomer),
];
const REPAIRING: &[(&str, Scene)] = &[
    ("discovery page stored:2", Scene::FirstStart),
    ("resync between rows", Scene::Lost),
    ("resync before complete", Scene::Lost),
    ("resync stored before job done", Scene::Lost),
    ("gap recorded before commit", Scene::Outdated),
    ("gap recorded after commit", Scene::Outdated),
    ("purge before commit", Scene::Purge),
    ("purge between batches", Scene::Purge),
    ("rebuild before exchange", Scene::Rebuild),
    ("rebuild after exchange", Scene::Rebuild),
];

/// One network and one database, on which windows are visited one after the other.
struct Stand {
    sim: Sim,
    db: TestDb,
    folder: TempDir,
    settings: PathBuf,
}

impl Stand {
    async fn new(seed: u64) -> Self {
        let sim = Sim::start(SimOptions { seed, hosts: 2, accounts: 6, ..SimOptions::default() }).await.unwrap();
        Script::random(seed, 40, []).play(&sim).await;
        let folder = tempfile::tempdir().unwrap();
        let settings = folder.path().join("almanac.toml");
        std::fs::write(&settings, SETTINGS).unwrap();
        Stand { sim, db: TestDb::fresh().await, folder, settings }
    }

    fn url(&self) -> &str {
        self.db.url().expose()
    }

    fn serve(&self) -> Serve {
        let flags = sim::flags(&self.sim, &self.settings);
        Serve::start_with(self.url(), &self.sim.relay_ws_url(), self.folder.path(), &flags)
    }

    fn command(&self, scene: Scene) -> Command {
        match scene {
            Scene::Purge => executable::command(self.url(), &["purge", "--older-than", "0s"]),
            Scene::Rebuild => executable::command(self.url(), &["rebuild"]),
            _ => {
                let flags = sim::flags(&self.sim, &self.settings);
                Serve::command(self.url(), &self.sim.relay_ws_url(), self.folder.path(), &flags)
            }
        }
    }

    /// Runs until it is killed at this place by itself.
    fn crash(&self, at: &str, scene: Scene) {
        let (name, visit) = split(at);
        let log = self.folder.path().join(format!("{}.log", at.replace(' ', "-")));
        let mut running =
            Running::start("almanac", self.command(scene).env("ALMANAC_CRASH_AT", format!("{name}:{visit}")), &log);
        let status = running.end(LIMIT);
        let said = running.log();
        assert_eq!(status.signal(), Some(9), "{at}: ended with {status:?}:\n{said}");
        assert!(said.contains(&format!("crash point {name:?}, visit {visit}")), "{at}: killed elsewhere:\n{said}");
    }

    async fn settle(&self, what: &str) {
        sim::settle(self.db.pool(), &self.sim, LIMIT, || what.to_owned()).await;
        self.no_frame_waits(what).await;
    }

    /// Log position and cursor.
    async fn heights(&self) -> (i64, Option<i64>) {
        sqlx::query_as("select position, (select max(seq) from log.cursor) from log.head")
            .fetch_one(self.db.pool())
            .await
            .unwrap()
    }

    async fn count(&self, what: &'static str) -> i64 {
        sqlx::query_scalar(what).fetch_one(self.db.pool()).await.unwrap()
    }

    async fn no_frame_waits(&self, what: &str) {
        let open = "select concat_ws(' ', 'held', did, n) from ingest.held
             union all select concat_ws(' ', 'identity due', did) from ingest.repo where identity_due
             union all select concat_ws(' ', 'job', did, reason, state, attempts, outcome, error, not_before - now())
                 from source.backfill_job where state in ('queued', 'running')";
        let wait = async || match sqlx::query_scalar::<_, String>(open).fetch_all(self.db.pool()).await.unwrap() {
            open if open.is_empty() => Ok(()),
            open => Err(format!("{what}: {open:?}")),
        };
        support::serve::eventually("nothing waits", LIMIT, wait).await;
    }

    /// What must hold of every log, whatever was killed while writing it.
    async fn log_is_sound(&self, at: &str) {
        let gaps = "select count(*) from (select position, row_number() over (order by position) as n from log.event) e
             where position <> n";
        assert_eq!(self.count(gaps).await, 0, "{at}: positions are left out");
        let beyond = "select abs((select position from log.head) - (select count(*) from log.event))";
        assert_eq!(self.count(beyond).await, 0, "{at}: the head is not the last position");
        let twice = "select count(*) from (select from log.event where kind in ('put', 'delete', 'snapshot')
             group by kind, did, collection, rkey, rev, cid having count(*) > 1) e";
        assert_eq!(self.count(twice).await, 0, "{at}: an event stands in the log twice");
        let ahead = "select greatest(0, (select position from calendar.checkpoint) - (select position from log.head))";
        assert_eq!(self.count(ahead).await, 0, "{at}: the index is ahead of the log");
    }

    /// Somebody writes until a cursor is stored: without one a stream is heard only from where it is connected, and what
    /// is killed then has nothing to go on from.
    async fn heard(&self, at: &str) {
        let heard = async || {
            self.sim.create_event(&writer(&self.sim)).unwrap();
            let cursors = self.count("select count(*) from log.cursor").await;
            if cursors > 0 { Ok(()) } else { Err(format!("{at}: no cursor is stored")) }
        };
        support::serve::eventually("the relay is heard", LIMIT, heard).await;
    }

    /// How often somebody noticed that a frame was missing.
    async fn losses(&self) -> i64 {
        self.count(
            "select (select count(*) from source.gap)
                 + (select count(*) from source.backfill_job where reason in ('desynchronized', 'gap'))",
        )
        .await
    }
}

fn split(at: &str) -> (&str, &str) {
    at.split_once(':').unwrap_or((at, "1"))
}

/// 180 more events of an account, in one commit.
fn write_many(sim: &Sim, did: &str, round: usize) {
    let create = |n: usize| {
        let name = format!("event {round} {n}");
        let record = Value::map([
            ("$type", Value::text(EVENT)),
            ("name", Value::text(&*name)),
            ("createdAt", Value::text("2026-06-01T00:00:00Z")),
            ("startsAt", Value::text("2026-06-02T00:00:00Z")),
        ]);
        Write::Create { path: format!("{EVENT}/many-{round}-{n}"), record: record.encode() }
    };
    sim.write(did, &(0..180).map(create).collect::<Vec<_>>()).unwrap();
}

/// Somebody who is known and may write.
fn writer(sim: &Sim) -> String {
    let truth = sim.truth();
    let fits = |did: &String| {
        let account = &truth.accounts[did];
        account.active && account.status.is_none() && account.unreachable.is_none() && !account.records.is_empty()
    };
    sim.dids().into_iter().find(fits).expect("somebody is active")
}

impl Stand {
    /// What happens before the process that is killed. Whom it concerns.
    async fn provoke(&self, scene: Scene) -> Option<String> {
        let sim = &self.sim;
        match scene {
            Scene::FirstStart => {
                for _ in 0..2 {
                    let did = sim.create_account(0).unwrap();
                    sim.create_event(&did).unwrap();
                }
            }
            Scene::Event => drop(sim.create_event(&writer(sim)).unwrap()),
            Scene::Newcomer => {
                let did = sim.create_account(1).unwrap();
                sim.create_event(&did).unwrap();
                return Some(did);
            }
            Scene::Lost => {
                let did = sim.create_account(0).unwrap();
                sim.create_event(&did).unwrap();
                let lost = sim.fault(Fault::Dropped, At::relay().did(&*did), When::ALWAYS);
                (0..5).for_each(|round| write_many(sim, &did, round));
                assert_eq!(sim.fired(lost), 5);
                sim.end_fault(lost);
                sim.create_event(&did).unwrap();
                return Some(did);
            }
            Scene::Outdated => {
                let did = writer(sim);
                sim.create_event(&did).unwrap();
                sim.create_event(&did).unwrap();
                sim.shrink_window(Place::Relay, 1);
            }
            Scene::Purge => {
                let did = sim.create_account(0).unwrap();
                (0..5).for_each(|round| write_many(sim, &did, round));
                let serve = self.serve();
                self.settle("before the account is deleted").await;
                sim.set_status(&did, Some("deleted")).unwrap();
                self.settle("after the account was deleted").await;
                serve.kill();
                return Some(did);
            }
            Scene::Rebuild => {}
        }
        None
    }

    /// What only this scene promises, once its command has run to its end.
    async fn promised(&self, at: &str, scene: Scene, did: Option<&str>) {
        let of = async |statement: &'static str| -> i64 {
            sqlx::query_scalar(statement).bind(did.expect("the scene has one")).fetch_one(self.db.pool()).await.unwrap()
        };
        match scene {
            Scene::Purge => {
                let left = of("select count(*) from log.event where did = $1 and record is not null").await;
                let noted = of("select sum(records)::bigint from log.purge where did = $1").await;
                let puts = of("select count(*) from log.event where did = $1 and kind = 'put'").await;
                assert!(puts >= 900, "{at}: {puts} records of 900");
                assert_eq!((left, noted), (0, puts), "{at}: records left, and noted as purged");
            }
            Scene::Rebuild => {
                let left = "select count(*) from pg_namespace where nspname in ('calendar_next', 'calendar_old')";
                assert_eq!(self.count(left).await, 0, "{at}: a rebuild leaves nothing behind");
            }
            Scene::Outdated => {
                assert_eq!(
                    self.count("select count(*) from source.gap where kind = 'outdated_cursor'").await,
                    1,
                    "{at}"
                );
                sqlx::query("delete from source.gap").execute(self.db.pool()).await.unwrap();
            }
            Scene::Lost => {
                let snapshots = of("select count(*) from log.event where did = $1 and kind = 'snapshot'").await;
                assert_eq!(snapshots, 1, "{at}: what was lost was not fetched, or in the log once more");
            }
            _ => {}
        }
    }

    /// One window: killed there, started again, and all is well.
    async fn visit(&self, at: &str, scene: Scene) {
        let losses = self.losses().await;
        let did = self.provoke(scene).await;
        let before = self.heights().await;
        self.crash(at, scene);
        let after = self.heights().await;
        if scene == Scene::Event {
            let moved = (after.0 > before.0, after.1 > before.1);
            let stored = !matches!(at, "after append before cursor" | "after cursor before commit");
            assert_eq!(moved, (stored, stored), "{at}: log and cursor moved from {before:?} to {after:?}");
        }
        if scene == Scene::Newcomer && at != "job claimed" {
            // The cursor is past the frame, which is not in the log.
            let held: i64 = sqlx::query_scalar("select count(*) from ingest.held where did = $1")
                .bind(did.as_deref())
                .fetch_one(self.db.pool())
                .await
                .unwrap();
            assert!(held > 0, "{at}: no frame waits");
        }
        self.log_is_sound(at).await;
        if matches!(scene, Scene::Purge | Scene::Rebuild) {
            let again = self.command(scene).output().unwrap();
            assert!(again.status.success(), "{at}: again: {}", String::from_utf8_lossy(&again.stderr));
        }
        let serve = self.serve();
        self.settle(at).await;
        self.promised(at, scene, did.as_deref()).await;
        if scene == Scene::FirstStart {
            self.heard(at).await;
        }
        // Life goes on.
        Script::random(self.sim.last_seq(Place::Relay).unsigned_abs(), 6, []).play(&self.sim).await;
        self.settle(&format!("{at}, later")).await;
        serve.kill();
        self.log_is_sound(at).await;
        if !matches!(scene, Scene::FirstStart | Scene::Lost | Scene::Outdated) {
            assert!(self.losses().await <= losses, "{at}: a frame was passed over and had to be fetched");
        }
    }
}

/// The names of all crash points in the sources below `folder`.
fn named(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            named(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            for (_, rest) in text.match_indices("crash_point(").map(|(at, call)| text.split_at(at + call.len())) {
                match rest.split_once('"') {
                    Some(("", rest)) => drop(names.insert(rest.split_once('"').unwrap().0.to_owned())),
                    // The function itself.
                    _ => assert!(
                        rest.starts_with("name: &str"),
                        "{}: a crash point without a literal name",
                        path.display()
                    ),
                }
            }
        }
    }
}

/// The sources of the other tests, as one text.
fn other_tests(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            other_tests(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests/crash.rs") {
            text.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_crash_point_is_visited() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut names, mut others) = (BTreeSet::new(), String::new());
    named(&root.join("src"), &mut names);
    other_tests(&root.join("tests"), &mut others);
    let visited: BTreeSet<String> = FOLLOWING.iter().chain(REPAIRING).map(|(at, _)| split(at).0.to_owned()).collect();
    // What is not on the way in is visited where it is tested.
    names.retain(|name| visited.contains(name) || !others.contains(&format!("\"{name}")));
    assert_eq!(visited, names);
}

async fn visit_all(seed: u64, windows: &[(&str, Scene)]) {
    let stand = Stand::new(seed).await;
    for (at, scene) in windows {
        let begun = std::time::Instant::now();
        stand.visit(at, *scene).await;
        eprintln!("{:5.1} s  {at}", begun.elapsed().as_secs_f64());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn following_the_stream() {
    visit_all(1, FOLLOWING).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repairing() {
    visit_all(2, REPAIRING).await;
}
