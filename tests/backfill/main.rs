//! `almanac backfill` against a simulated network over real HTTP: every strategy, hosts that fail, kills, memory. What it
//! puts into the index is compared with what the repositories hold.

#[allow(dead_code)] // Parts of these are there for other tests.
#[path = "../support"]
mod support {
    pub mod almanac;
    pub mod child;
    pub mod postgres;
}
mod faults;
mod kills;
mod large;
mod stored;
mod strategies;

use std::process::Command;

use almanac::devnet::Write;
use almanac::devnet::cbor::Value as Cbor;
use almanac::devnet::sim::{Shown, Sim, SimOptions};
use serde_json::Value;
use support::almanac as executable;
use support::postgres::TestDb;

pub const EVENT: &str = "community.lexicon.calendar.event";
pub const RSVP: &str = "community.lexicon.calendar.rsvp";

/// A network of so many accounts, each with an event and an RSVP to it, shared out over the hosts.
pub async fn network(seed: u64, hosts: usize, accounts: usize) -> Sim {
    let sim = Sim::start(SimOptions { seed, hosts, accounts, ..SimOptions::default() }).await.unwrap();
    for did in sim.dids() {
        let (path, cid) = sim.create_event(&did).unwrap();
        sim.create_rsvp(&did, &format!("at://{did}/{path}"), cid).unwrap();
    }
    sim
}

/// So many posts in commits of 100.
pub fn write_posts(sim: &Sim, did: &str, from: usize, posts: usize) {
    let post = |n: usize| {
        let text = format!("Post number {n} says something that takes the room that posts take. ").repeat(3);
        let record = Cbor::map([("$type", Cbor::text("app.bsky.feed.post")), ("text", Cbor::text(text))]).encode();
        Write::Create { path: format!("app.bsky.feed.post/post{n:08}"), record }
    };
    let posts: Vec<Write> = (from..from + posts).map(post).collect();
    for some in posts.chunks(100) {
        sim.write(did, some).unwrap();
    }
}

/// A database and the folder of its processes.
pub struct Index {
    pub db: TestDb,
    pub folder: tempfile::TempDir,
}

impl Index {
    pub async fn new() -> Self {
        Index { db: TestDb::fresh().await, folder: tempfile::tempdir().unwrap() }
    }

    /// `almanac backfill ARGS --json` against this network.
    pub fn command(&self, sim: &Sim, args: &[&str]) -> Command {
        let mut command = executable::command(self.db.url().expose(), &["backfill", "--json"]);
        command.args(args).args(["--plc", sim.plc_url(), "--allow-private", "--host-override", sim.host_override()]);
        command.args(["--relay", &sim.relay_ws_url(), "--data-dir"]).arg(self.folder.path());
        command.env("ALMANAC_HOST_PAUSE", "50ms").env("ALMANAC_HOST_REQUESTS_PER_SECOND", "10000");
        command
    }

    /// Runs it. Its exit code and what it printed.
    pub async fn backfill(&self, sim: &Sim, args: &[&str]) -> (i32, Value) {
        run(self.command(sim, args)).await
    }

    /// What the index shows.
    pub async fn shown(&self) -> Shown {
        let rows: Vec<(String, String)> =
            sqlx::query_as("select uri, cid from calendar.events union all select uri, cid from calendar.rsvps")
                .fetch_all(self.db.pool())
                .await
                .unwrap();
        Shown { records: rows.into_iter().collect(), accounts: Default::default() }
    }

    /// Fails unless the index shows what the repositories hold.
    pub async fn assert_true(&self, sim: &Sim) {
        let differences = sim.truth().compare(&self.shown().await, &[EVENT, RSVP]);
        assert!(differences.is_empty(), "{differences:#?}");
    }

    /// A number out of the database.
    pub async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(self.db.pool()).await.unwrap()
    }
}

/// Runs a command that prints JSON. Its exit code and that.
pub async fn run(mut command: Command) -> (i32, Value) {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    let printed =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("no JSON ({e}), {}: {words}", output.status));
    (output.status.code().unwrap_or(-1), printed)
}

/// The sum of a column of the summary over all hosts.
pub fn sum(fetched: &Value, column: &str) -> i64 {
    fetched["hosts"].as_array().unwrap().iter().map(|host| host[column].as_i64().unwrap()).sum()
}
