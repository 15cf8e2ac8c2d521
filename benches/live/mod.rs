//! `almanac serve` as an operator runs it, beside a relay on loopback: how soon a record is visible, and what the process
//! takes meanwhile, at the network's own pace and when nothing comes.
//!
//! The relay sends 500 frames a second of the network mix, evenly spaced. Of those one in 10,000 is about a calendar: in a
//! minute, three. So that there is something to time, calendar records are sent on top of them; memory and CPU time are
//! then measured apart, without them. Commits are durable, frames are really signed and fully verified, and what the
//! database takes is counted apart.

mod directory;
mod fill;
pub mod growth;
mod network;
mod process;
mod relay;
mod report;
mod watcher;

use std::time::{Duration, Instant};

use almanac::db::embedded::Server;
use tempfile::TempDir;
use tokio::sync::mpsc;

use self::directory::Directory;
use self::network::{Network, WRITERS};
use self::process::{Usage, memory_now, memory_peak, usage};
use self::relay::{Pace, Relay};
use self::watcher::Seen;
use crate::clock::server_cpu_used;
use crate::fixture::Scale;
use crate::replay::start_server;
use crate::serve::Serve;

/// As busy as the whole network.
const NETWORK: f64 = 500.0;
/// Calendar records a second on top, where they are timed: 200 times the network's own.
const TOLD: f64 = 10.0;
/// How long anything may take that should be there at once.
const PATIENCE: Duration = Duration::from_secs(120);

/// Times, in order.
pub struct Spread(Vec<Duration>);

impl Spread {
    fn new(mut times: Vec<Duration>) -> Self {
        times.sort();
        Spread(times)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The time in milliseconds that this share of all do not exceed.
    pub fn millis(&self, share: f64) -> f64 {
        let at = ((self.0.len() as f64 * share).ceil() as usize).clamp(1, self.0.len().max(1)) - 1;
        self.0.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    }
}

/// A stretch of time, and what was taken in it.
pub struct Stretch {
    /// How long.
    pub seconds: f64,
    /// Frames that the relay sent a second.
    pub pace: Pace,
    /// Hundredths of a core: the process.
    pub cpu_percent: f64,
    /// The same of the server and its children.
    pub server_cpu_percent: f64,
    /// How often a second a thread of the process waited for something.
    pub waits: f64,
    /// Bytes at its end.
    pub memory: Option<u64>,
}

/// What was found.
pub struct Report {
    /// For people.
    pub input: String,
    /// Frame sent to row visible.
    pub latency: Spread,
    /// Of that, as the process tells it: milliseconds of one transaction of the log, and of one of the index, in the middle
    /// of all.
    pub append_millis: f64,
    pub fold_millis: f64,
    /// With calendar records, at the network's own pace, without a frame.
    pub stretches: [Stretch; 3],
    /// Bytes that the process had at most.
    pub memory_peak: Option<u64>,
}

/// Runs it, if it is chosen.
pub fn run(scale: Scale, chosen: &dyn Fn(&str) -> bool) -> Option<Report> {
    if !chosen("live") {
        return None;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    Some(runtime.expect("the runtime starts").block_on(live(scale)))
}

async fn live(scale: Scale) -> Report {
    let (frames, timed, each) = match scale {
        Scale::Test => (60, 2, 1),
        Scale::Small => (4_000, 20, 15),
        Scale::Full => (60_000, 120, 60),
    };
    let (timed, each) = (Duration::from_secs(timed), Duration::from_secs(each));
    let (_folder, server) = start_server().await;
    let (stand, relay) = Stand::new(&server, "live", scale, frames).await;
    let input = stand.input.clone();
    let (serve, seen) = stand.serve(&relay).await;
    let pid = serve.running.pid();

    eprintln!("live: {timed:?} with {TOLD} calendar records a second");
    let before = Inside::of(&serve).await;
    let busy = stretch(&relay, &server, pid, timed, Pace { mixed: NETWORK, told: TOLD }).await;
    settle(&seen).await;
    let after = Inside::of(&serve).await;
    let latency = Spread::new(seen.take());
    eprintln!("live: {each:?} of the network mix alone");
    let usual = stretch(&relay, &server, pid, each, Pace { mixed: NETWORK, told: 0.0 }).await;
    eprintln!("live: {each:?} of silence");
    let idle = stretch(&relay, &server, pid, each, Pace::default()).await;
    let report = Report {
        input,
        latency,
        append_millis: after.append.since(before.append),
        fold_millis: after.fold.since(before.fold),
        stretches: [busy, usual, idle],
        memory_peak: memory_peak(pid),
    };
    drop(serve);
    server.stop().await;
    report
}

/// What is around a serving process.
pub struct Stand {
    url: String,
    folder: TempDir,
    directory: Directory,
    backfill: &'static str,
    sent: std::sync::Mutex<Option<mpsc::UnboundedReceiver<relay::Sent>>>,
    /// For people.
    pub input: String,
}

impl Stand {
    /// A database called `name`, and a network with a directory and a silent relay.
    pub async fn new(server: &Server, name: &str, scale: Scale, frames: usize) -> (Self, Relay) {
        drop(server.connect_or_create(name).await.expect("a database can be made"));
        let url = server.url(name).expose().to_owned();
        let (network, documents) = Network::make(scale, frames);
        let input = network.describe();
        let directory = Directory::start(documents).await;
        let (sender, sent) = mpsc::unbounded_channel();
        let relay = Relay::start(network, sender).await;
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        (Stand { url, folder, directory, backfill: "auto", sent: std::sync::Mutex::new(Some(sent)), input }, relay)
    }

    /// Nobody is compared with their host.
    pub fn without_backfill(self) -> Self {
        Stand { backfill: "off", ..self }
    }

    /// Starts `almanac serve`.
    pub fn start(&self, relay: &Relay) -> Serve {
        let at = &self.directory.authority;
        let (plc, hosts, handles) = (format!("http://{at}"), format!("*.net={at}"), format!("*.com={at}"));
        let flags = ["--plc", &plc, "--allow-private", "--host-override", &hosts, "--host-override", &handles];
        let settings = self.folder.path().join("settings.toml");
        std::fs::write(&settings, format!("[backfill]\nmode = \"{}\"\n", self.backfill)).expect("the folder is there");
        let settings = settings.display().to_string();
        let flags = [&flags[..], &["--config", &settings]].concat();
        Serve::start_with(&self.url, &relay.url, self.folder.path(), &flags)
    }

    /// Starts it, and waits until every account that will write is known to it.
    pub async fn serve(&self, relay: &Relay) -> (Serve, Seen) {
        let serve = self.start(relay);
        let sent = self.sent.lock().expect("nobody panicked with it").take().expect("one watcher is enough");
        let seen = watcher::watch(self.url.clone(), sent);
        relay.set(Pace { mixed: 0.0, told: 50.0 });
        wait("every account's first record", || seen.count().0 > WRITERS + 10).await;
        relay.set(Pace::default());
        settle(&seen).await;
        seen.take();
        (serve, seen)
    }
}

/// Waits until `done`.
///
/// # Panics
/// When that takes too long.
pub async fn wait(what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "{what}: not there after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until everything that was sent is visible.
pub async fn settle(seen: &Seen) {
    // What was just sent is told to the watcher in less.
    tokio::time::sleep(Duration::from_millis(200)).await;
    wait("the last records", || seen.waiting() == 0).await;
}

/// Lets the relay send for so long, and counts what that takes.
async fn stretch(relay: &Relay, server: &Server, pid: u32, length: Duration, pace: Pace) -> Stretch {
    let server_cpu = || server.process_id().map(server_cpu_used).unwrap_or_default();
    relay.set(pace);
    // Not the moment of change.
    tokio::time::sleep(length / 10).await;
    let (began, before, server_before) = (Instant::now(), usage(pid), server_cpu());
    tokio::time::sleep(length).await;
    let (after, server_after, seconds) = (usage(pid), server_cpu(), began.elapsed().as_secs_f64());
    let memory = memory_now(pid);
    relay.set(Pace::default());
    let Usage { cpu, waits } = after;
    let percent = |time: Duration| time.as_secs_f64() / seconds * 100.0;
    Stretch {
        seconds,
        pace,
        cpu_percent: percent(cpu.saturating_sub(before.cpu)),
        server_cpu_percent: percent(server_after.saturating_sub(server_before)),
        waits: waits.saturating_sub(before.waits) as f64 / seconds,
        memory,
    }
}

/// What the process tells of its own steps.
struct Inside {
    append: Total,
    fold: Total,
}

#[derive(Clone, Copy)]
struct Total {
    seconds: f64,
    count: f64,
}

impl Total {
    /// Milliseconds of one, in the mean.
    fn since(self, before: Total) -> f64 {
        (self.seconds - before.seconds) / (self.count - before.count).max(1.0) * 1e3
    }
}

impl Inside {
    async fn of(serve: &Serve) -> Self {
        let total = async |name: &str| Total {
            seconds: serve.metric(&format!("{name}_sum")).await.unwrap_or_default(),
            count: serve.metric(&format!("{name}_count")).await.unwrap_or_default(),
        };
        Inside {
            append: total("almanac_event_log_append_seconds").await,
            fold: total("almanac_projection_fold_seconds").await,
        }
    }
}
