//! `almanac backfill` of a whole simulated network into an empty, durable Postgres: how long, how many bytes and requests,
//! how much memory.
//!
//! Three processes, so that each is counted alone: the network, the server, and `almanac` itself, which starts anew for
//! every round. A round counts only when afterwards the index is what the reachable repositories hold, and everybody else
//! has a named state.

pub mod network;

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use almanac::db::embedded::Server;
use nix::sys::resource::{UsageWho, getrusage};
use sqlx::PgConnection;

use self::network::{Network, SERVICE_LATENCY, Served};
use crate::child::end_with_this_thread;
use crate::clock::server_cpu_used;
use crate::fixture::Scale;
use crate::replay::{admin, run_sql, start_server};

/// How often the database is looked at while a round runs.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// One way to fetch, and its rounds.
pub struct Found {
    /// The strategy's word.
    pub strategy: &'static str,
    /// In the order they ran.
    pub rounds: Vec<Round>,
}

/// What was looked at, and what it took.
pub struct Report {
    /// For people.
    pub input: String,
    /// Accounts on hosts that answer.
    pub reachable: u64,
    /// What those hold.
    pub records: u64,
    /// Each strategy.
    pub found: Vec<Found>,
}

/// One run of `almanac backfill`.
pub struct Round {
    /// From the start of the process until all accounts on hosts that answer were complete and in the index.
    pub complete: Duration,
    /// Until the process ended, with everybody else given up for now.
    pub ended: Duration,
    /// What hosts, directory and relay answered.
    pub served: BTreeMap<String, Served>,
    /// Most memory of the process, in bytes. Only Linux tells.
    pub rss: Option<u64>,
    /// CPU time of the process.
    pub cpu: Duration,
    /// CPU time of the server.
    pub server_cpu: Duration,
}

/// Runs it, if it is chosen.
pub fn run(scale: Scale, chosen: &dyn Fn(&str) -> bool) -> Option<Report> {
    if !chosen("backfill") {
        return None;
    }
    let rounds = if scale == Scale::Test { 1 } else { 3 };
    let mut network = Network::start(scale);
    let size = network::size(scale);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("the runtime starts");
    let (_folder, server) = runtime.block_on(start_server());
    let mut found: Vec<Found> = ["auto", "car"].map(|strategy| Found { strategy, rounds: Vec::new() }).into();
    for round in 1..=rounds {
        for one in &mut found {
            eprintln!("backfill, {}: round {round} of {rounds}", one.strategy);
            let measured = runtime.block_on(backfill(&mut network, &server, scale, one.strategy, round));
            let (complete, ended) = (measured.complete.as_secs_f64(), measured.ended.as_secs_f64());
            eprintln!("  complete after {complete:.1} s, at the end after {ended:.1} s");
            for (method, Served { requests, bytes }) in &measured.served {
                eprintln!("  {requests:>8} {method}, {bytes} bytes");
            }
            one.rounds.push(measured);
        }
    }
    runtime.block_on(server.stop());
    let (from, to) = size.latency;
    let input = format!(
        "{} accounts on {} hosts that answer after {} to {} ms (directory, handles and relay after {} ms), {} events, {} \
         RSVPs, {} accounts on failing hosts",
        network.accounts,
        size.hosts,
        from.as_millis(),
        to.as_millis(),
        SERVICE_LATENCY.as_millis(),
        size.events,
        size.rsvps,
        network.accounts - network.reachable,
    );
    Some(Report { input, reachable: network.reachable, records: network.records, found })
}

async fn backfill(network: &mut Network, server: &Server, scale: Scale, strategy: &str, round: u32) -> Round {
    let name = format!("backfill_{}_{strategy}_{round}", std::process::id());
    let mut database = server.connect_or_create(&name).await.expect("a database can be made");
    let url = server.url(&name);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let words = std::fs::File::create(folder.path().join("words")).expect("a temporary folder can be written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_almanac"));
    command.args(["backfill", "--json", "--strategy", strategy, "--relay", &network.relay, "--plc", &network.plc]);
    command.args(["--allow-private", "--host-override", &network.host_override, "--database-url", url.expose()]);
    command.arg("--data-dir").arg(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(words);
    if scale != Scale::Full {
        // Waiting for hosts that never answer is nothing to see in a short run.
        command.env("ALMANAC_HOST_PAUSE", "50ms");
    }
    end_with_this_thread(&mut command);
    let before = network.served();
    let (cpu, server_cpu) = (children_cpu(), server.process_id().map(server_cpu_used));
    let started = (Instant::now(), SystemTime::now());
    let mut child = command.spawn().expect("almanac starts");
    let (mut rss, mut complete) = (None, None);
    let status = loop {
        // What it had at most is gone with it, so it is asked as long as it is there.
        rss = memory(&child).max(rss);
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            break status;
        }
        if complete.is_none() && is_complete(&mut database, network.reachable).await {
            complete = Some(started.0.elapsed());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    let ended = started.0.elapsed();
    let server_cpu =
        server.process_id().map(server_cpu_used).unwrap_or_default().saturating_sub(server_cpu.unwrap_or_default());
    let cpu = children_cpu().saturating_sub(cpu);
    let words = || std::fs::read_to_string(folder.path().join("words")).unwrap_or_default();
    let whole = network.accounts == network.reachable;
    assert!(status.success() == whole, "almanac backfill: {status}\n{}", words());
    let differences = network.differences(url.expose());
    assert!(
        differences.is_empty(),
        "the index is not what the repositories hold:\n{}\n{}",
        differences[..differences.len().min(20)].join("\n"),
        words()
    );
    let served = network.served().into_iter().map(|(method, served)| {
        let before = before.get(&method).copied().unwrap_or_default();
        let (requests, bytes) = (served.requests - before.requests, served.bytes - before.bytes);
        (method, Served { requests, bytes })
    });
    let served = served.filter(|(_, served)| served.requests > 0).collect();
    // Faster than the database was looked at: then the last job's own note of its end.
    let complete = match complete {
        Some(complete) => complete,
        None => last_done(&mut database, started.1).await,
    };
    drop(database);
    run_sql(&mut admin(server).await, format!("drop database {name} with (force)")).await;
    Round { complete, ended, served, rss, cpu, server_cpu }
}

/// Whether so many jobs ended well, and the index has all that the log had when that was seen.
async fn is_complete(database: &mut PgConnection, accounts: u64) -> bool {
    // Before the first tables are there nothing is.
    let looked: Result<(i64, bool), _> = sqlx::query_as(
        "select (select count(*) from source.backfill_job where state = 'done'),
             (select position from calendar.checkpoint) >= (select position from log.head)",
    )
    .fetch_one(database)
    .await;
    looked.is_ok_and(|(done, folded)| done.unsigned_abs() >= accounts && folded)
}

async fn last_done(database: &mut PgConnection, started: SystemTime) -> Duration {
    let last: f64 = sqlx::query_scalar(
        "select extract(epoch from max(finished_at))::float8 from source.backfill_job where state = 'done'",
    )
    .fetch_one(database)
    .await
    .expect("the jobs are there");
    let started = started.duration_since(UNIX_EPOCH).expect("the clock is set");
    Duration::from_secs_f64((last - started.as_secs_f64()).max(0.0))
}

/// CPU time of all children that were waited for.
fn children_cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("every system counts");
    let time = |time: nix::sys::time::TimeVal| {
        Duration::new(time.tv_sec().unsigned_abs(), u32::try_from(time.tv_usec() * 1_000).expect("below a second"))
    };
    time(usage.user_time()) + time(usage.system_time())
}

/// Most memory that a process had so far.
fn memory(child: &Child) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
