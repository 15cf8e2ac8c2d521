//! How cost grows: the same figures on top of an index of a thousand events, and of up to a million; and how long it takes
//! to be level again after an absence.

use std::time::{Duration, Instant};

use almanac::config::{Layers, Settings};
use almanac::db::embedded::Server;
use almanac::db::{self, Target};
use almanac::devnet::Mix;
use chrono::{TimeDelta, Utc};

use super::fill::fill;
use super::process::memory_peak;
use super::relay::Pace;
use super::{NETWORK, Spread, Stand, TOLD, settle};
use crate::clock::Stopwatch;
use crate::fixture::{Frames, Scale};
use crate::replay::{replayed, run_sql, start_server};
use crate::serve::Serve;

/// As `almanac serve` is started here.
const ENVIRONMENT: &str = "test";

/// One size of index.
pub struct Size {
    /// Calendar events in it at first; with half as many RSVPs.
    pub events: usize,
    /// Bytes of the database then.
    pub bytes: i64,
    /// Records a second, and a second of CPU time, that a replay on top of them makes: decoded, logged, folded.
    pub replay_per_second: f64,
    pub replay_per_cpu_second: f64,
    /// Frame sent to row visible.
    pub latency: Spread,
    /// `listEvents` over HTTP: two words; a week.
    pub text: Spread,
    pub week: Spread,
    /// Bytes that the serving process had at most.
    pub memory: Option<u64>,
}

/// One absence.
pub struct Lag {
    /// Upstream-seconds that were missed.
    pub seconds: f64,
    /// From the start of the process until the last of them was visible.
    pub level: Duration,
    /// Frames that waited between the socket and ingest at most.
    pub queue_frames: f64,
    /// Bytes that the process had at most.
    pub memory: Option<u64>,
}

/// What was found.
pub struct Report {
    /// By size.
    pub sizes: Vec<Size>,
    /// By absence.
    pub lags: Vec<Lag>,
}

/// Runs it, if it is chosen.
pub fn run(scale: Scale, chosen: &dyn Fn(&str) -> bool) -> Option<Report> {
    if !chosen("growth") {
        return None;
    }
    let (sizes, lags): (&[usize], &[f64]) = match scale {
        Scale::Test => (&[100], &[0.1]),
        Scale::Small => (&[1_000, 10_000], &[1.0, 10.0]),
        Scale::Full => (&[1_000, 10_000, 100_000, 1_000_000], &[1.0, 10.0, 100.0]),
    };
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let calendar = Frames::make(Mix::Calendar, scale);
    let dump = calendar.dump(folder.path());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    Some(runtime.expect("the runtime starts").block_on(async {
        let (_folder, server) = start_server().await;
        let mut report = Report { sizes: Vec::new(), lags: Vec::new() };
        for &events in sizes {
            report.sizes.push(grown(scale, &server, events, &dump).await);
        }
        report.lags = behind(scale, &server, lags).await;
        server.stop().await;
        report
    }))
}

async fn grown(scale: Scale, server: &Server, events: usize, dump: &std::path::Path) -> Size {
    let name = format!("growth_{events}");
    let mut database = server.connect_or_create(&name).await.expect("a database can be made");
    let url = server.url(&name);
    fill(&url, ENVIRONMENT, events).await;
    let bytes: i64 = sqlx::query_scalar("select pg_database_size(current_database())")
        .fetch_one(&mut database)
        .await
        .expect("the database is there");

    eprintln!("growth: replay on top of {events} events");
    let variables = [("ALMANAC_ENVIRONMENT".to_owned(), ENVIRONMENT.to_owned())];
    let layers = Layers::read(None, variables, []).expect("a name is a setting");
    let settings = Settings::check(&layers).expect("defaults are settings");
    let db = db::open(&Target::Url(url), 10).await.expect("the database opens");
    let watch = Stopwatch::start(server.process_id());
    let (_, appended) = replayed(&settings, Some(db.clone()), dump).await;
    let cost = watch.cost();
    db.close().await;

    let frames = if scale == Scale::Test { 60 } else { 2_000 };
    let (stand, relay) = Stand::new(server, &name, scale, frames).await;
    // Comparing every account with a host that is not there is no cost of size.
    let stand = stand.without_backfill();
    let (serve, seen) = stand.serve(&relay).await;
    eprintln!("growth: live on top of {events} events");
    relay.set(Pace { mixed: NETWORK, told: TOLD });
    let seconds = if scale == Scale::Test { 1 } else { 12 };
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    relay.set(Pace::default());
    settle(&seen).await;
    let latency = Spread::new(seen.take());
    let questions = if scale == Scale::Test { 5 } else { 200 };
    let (text, week) = (texts(&serve, questions).await, weeks(&serve, questions).await);
    let memory = memory_peak(serve.running.pid());
    drop((serve, relay, database));
    run_sql(&mut crate::replay::admin(server).await, format!("drop database {name} with (force)")).await;
    Size {
        events,
        bytes,
        replay_per_second: appended as f64 / cost.wall.as_secs_f64(),
        replay_per_cpu_second: appended as f64 / cost.cpu.as_secs_f64(),
        latency,
        text,
        week,
        memory,
    }
}

/// Two words, from common to rare ones.
async fn texts(serve: &Serve, count: usize) -> Spread {
    let mut times = Vec::new();
    for n in 0..count {
        let words = format!("{} {}", ["jazz0", "choir3", "garden12", "moon40"][n % 4], ["walk1", "film2"][n % 2]);
        let began = Instant::now();
        serve.query("listEvents", &[("q", &words)]).await;
        times.push(began.elapsed());
    }
    Spread::new(times)
}

/// A week of the last year.
async fn weeks(serve: &Serve, count: usize) -> Spread {
    let mut times = Vec::new();
    for n in 0..count {
        let from = Utc::now() - TimeDelta::days(300 - n as i64);
        let (from, to) = (from.to_rfc3339(), (from + TimeDelta::days(7)).to_rfc3339());
        let began = Instant::now();
        serve.query("listEvents", &[("startsAfter", &from), ("startsBefore", &to)]).await;
        times.push(began.elapsed());
    }
    Spread::new(times)
}

/// Ends the process, lets so much pass by, and starts it again.
async fn behind(scale: Scale, server: &Server, lags: &[f64]) -> Vec<Lag> {
    let frames = if scale == Scale::Test { 60 } else { 4_000 };
    let (stand, relay) = Stand::new(server, "lag", scale, frames).await;
    let (mut serve, seen) = stand.serve(&relay).await;
    let pace = Pace { mixed: NETWORK, told: TOLD };
    let mut found = Vec::new();
    for &seconds in lags {
        serve.running.terminate();
        serve.running.end(Duration::from_secs(30));
        relay.set_behind(seconds, pace);
        // The stream goes on while it catches up.
        relay.set(Pace { mixed: NETWORK, told: 0.0 });
        eprintln!("growth: {seconds} s behind");
        let began = Instant::now();
        serve = stand.start(&relay);
        let pid = serve.running.pid();
        let expected = (seconds * TOLD).ceil() as usize + 1;
        let mut queue_frames: f64 = 0.0;
        while seen.count().0 < expected {
            assert!(began.elapsed() < super::PATIENCE, "{seconds} s behind, and still not level");
            queue_frames = queue_frames.max(serve.metric("almanac_source_queue_frames").await.unwrap_or_default());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let level = seen.count().1.expect("some were seen") - began;
        found.push(Lag { seconds, level, queue_frames, memory: memory_peak(pid) });
        relay.set(Pace::default());
        settle(&seen).await;
        seen.take();
    }
    found
}
