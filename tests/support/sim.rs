//! `almanac serve` on a simulated network, and what its index shows, for the oracle.

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use almanac::devnet::sim::{Difference, Shown, ShownAccount, Sim};
use sqlx::PgPool;
use tempfile::TempDir;

use super::postgres::TestDb;
use super::serve::Serve;

const COLLECTIONS: [&str; 2] = ["community.lexicon.calendar.event", "community.lexicon.calendar.rsvp"];

/// Everything quick, so that a test sees what an operator sees in days.
const SETTINGS: &str = "
[backfill]
coverage_every = '2s'
host_pause = '200ms'
";

/// Differences that a failure shows.
const SHOWN_MAX: usize = 40;

/// A network that is followed.
pub struct Watched {
    pub db: TestDb,
    pub serve: Serve,
    _folder: TempDir,
    // After `serve`, whose log is shown first.
    last_words: LastWords,
}

/// What is most worth knowing of a failure: shown below everything else, where whoever keeps only the end keeps it.
#[derive(Default)]
struct LastWords(Mutex<String>);

impl Drop for LastWords {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0.get_mut().unwrap());
        }
    }
}

impl Watched {
    /// Follows the network's relay, and one of its PDSes directly if one is named.
    pub async fn start(sim: &Sim, own: Option<usize>) -> Self {
        let db = TestDb::fresh().await;
        let folder = tempfile::tempdir().unwrap();
        let settings = folder.path().join("almanac.toml");
        std::fs::write(&settings, SETTINGS).unwrap();
        let own = own.map(|number| sim.pds_url(number).replacen("http", "ws", 1));
        let mut flags = flags(sim, &settings);
        flags.extend(own.iter().flat_map(|url| ["--pds", url.as_str()]));
        let serve = Serve::start_with(db.url().expose(), &sim.relay_ws_url(), folder.path(), &flags);
        Watched { db, serve, _folder: folder, last_words: LastWords::default() }
    }

    /// Waits a moment, in which jobs ask hosts.
    pub async fn look_around(&self) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    /// Waits until the index is the truth. Panics with what differs, and with `what`.
    pub async fn settle(&self, sim: &Sim, limit: Duration, what: impl Fn() -> String) {
        if let Err(differences) = settled(self.db.pool(), sim, limit).await {
            let what = what();
            let first = what.lines().next().unwrap_or_default();
            *self.last_words.0.lock().unwrap() =
                format!("--- what differs after {limit:?} ({first}) ---\n{differences}");
            panic!("{what}\nnot the truth after {limit:?}; what differs is told at the end");
        }
    }

    /// How the index differs from the truth now.
    pub async fn differences(&self, sim: &Sim) -> Vec<Difference> {
        differences(self.db.pool(), sim).await
    }
}

/// What makes `almanac serve` ask this network and no other.
pub fn flags<'a>(sim: &'a Sim, settings: &'a Path) -> Vec<&'a str> {
    let settings = settings.to_str().unwrap();
    let network = ["--plc", sim.plc_url(), "--allow-private", "--host-override", sim.host_override()];
    ["--config", settings].into_iter().chain(network).collect()
}

/// Waits until the index in this database is the truth. Panics with what differs, and with `what`.
pub async fn settle(pool: &PgPool, sim: &Sim, limit: Duration, what: impl Fn() -> String) {
    if let Err(differences) = settled(pool, sim, limit).await {
        panic!("{}\nnot the truth after {limit:?}:\n{differences}", what());
    }
}

/// Waits until the index is the truth. An error tells what differs, and what is known of each account.
async fn settled(pool: &PgPool, sim: &Sim, limit: Duration) -> Result<(), String> {
    let deadline = Instant::now() + limit;
    loop {
        let differences = differences(pool, sim).await;
        if differences.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            let list: Vec<String> = differences.iter().take(SHOWN_MAX).map(Difference::to_string).collect();
            let more = differences.len() - list.len();
            return Err(format!("{}\nand {more} more\n{}", list.join("\n"), states(pool).await.join("\n")));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// How the index in this database differs from the truth now.
pub async fn differences(pool: &PgPool, sim: &Sim) -> Vec<Difference> {
    sim.truth().compare(&shown(pool).await, &COLLECTIONS)
}

/// What the index shows.
pub async fn shown(pool: &PgPool) -> Shown {
    let records: Vec<(String, String)> =
        sqlx::query_as("select uri, cid from calendar.events union all select uri, cid from calendar.rsvps")
            .fetch_all(pool)
            .await
            .unwrap();
    type Text = Option<String>;
    type Row = (String, Option<bool>, Text, Text, Text, Text, Text);
    let accounts: Vec<Row> = sqlx::query_as(
        "select did, a.active, a.status, a.handle, r.rev, r.data,
             case
                 when job.outcome not in ('unchanged', 'inactive', 'fetched_sparse', 'fetched_car', 'fetched_list')
                     then job.outcome
                 when r.state <> 'synced' then r.state
             end
         from ingest.repo r full join source.backfill_job job using (did) left join calendar.accounts a using (did)",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let account = |(did, active, status, handle, rev, data, trouble): Row| {
        // Nothing is said of the handle of an account of which nothing is shown.
        let handle = active.map(|_| handle);
        (did, ShownAccount { active, status, handle, rev, data, trouble })
    };
    Shown { records: records.into_iter().collect(), accounts: accounts.into_iter().map(account).collect() }
}

/// Repositories and jobs, for messages.
async fn states(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar(
        "select concat_ws(' ', did, r.state, 'standing', r.standing, case when r.identity_missing then 'missing' end, r.rev,
             'gap', coalesce(r.gap_rev, '-'), 'pds', r.pds, 'hosting', r.hosting_status, 'handle', r.handle,
             'job', j.state, j.reason, j.outcome, j.attempts, j.error, j.not_before - now())
         from ingest.repo r left join source.backfill_job j using (did) order by did",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}
