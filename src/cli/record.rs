//! `almanac record`: what hosts send, kept in a dump for replays.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use indicatif::{HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::decode::{self, Kind, Message};
use crate::event::{Delivery, Environment, Seq, Upstream, UpstreamKind};
use crate::source::dump::DumpWriter;
use crate::source::relay::{
    self, ExtraCa, RelayOptions, RelayUrl, Subscription, SubscriptionState, SubscriptionStatus,
};
use crate::source::{DeliveryReceiver, QueueLimits, delivery_queue};

/// Records what relays and PDSes send into a dump.
#[derive(Clone, Debug, clap::Args)]
pub struct RecordArgs {
    /// The dump to write, in MCAP. It must not exist.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// A relay or PDS: a host, or ws://HOST:PORT. Several may be named. Without one, those of the configuration.
    #[arg(long = "relay", value_name = "URL")]
    pub relays: Vec<RelayUrl>,
    /// Begin after this sequence number; 0 is the oldest that the host still has. Without it, now.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    pub cursor: Option<Seq>,
    /// Stop after this many frames.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_frames: Option<u64>,
    /// Stop after this long, such as 30s, 10m, 2h or 1d.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// A PEM file of certificate authorities to trust beside the web's.
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Print the summary as JSON.
    #[arg(long)]
    pub json: bool,
}

/// What one upstream gave.
#[derive(Debug, Default, serde::Serialize)]
struct Recorded {
    frames: u64,
    bytes: u64,
    seq_first: Option<Seq>,
    seq_last: Option<Seq>,
    connects: u64,
    last_error: Option<String>,
}

/// A subscription while it runs.
struct Line {
    upstream: Arc<Upstream>,
    status: Arc<SubscriptionStatus>,
    /// The last sequence number written; -1 for none.
    written: Arc<AtomicI64>,
}

/// Why recording ended.
enum End {
    MaxFrames,
    Duration,
    Signal(&'static str),
    HostsGone,
}

/// Records until it has enough, is told to stop, or every host has ended its stream for good. `environment` is written
/// into the dump; `configured` is used where no relay is named.
pub async fn run(args: RecordArgs, environment: Option<Environment>, configured: &[RelayUrl]) -> anyhow::Result<()> {
    let mut relays = if args.relays.is_empty() { configured.to_vec() } else { args.relays.clone() };
    let mut names = std::collections::HashSet::new();
    relays.retain(|url| names.insert(url.name()));
    match (relays.len(), args.cursor) {
        (0, _) => bail!("no upstream is configured; name one with --relay HOST"),
        (2.., Some(_)) => bail!("a cursor belongs to one host; record one --relay at a time with --cursor"),
        _ => {}
    }
    let extra_ca = args.ca_file.as_deref().map(ExtraCa::load).transpose()?;
    let options = RelayOptions { extra_ca, ..RelayOptions::default() };
    let mut writer = DumpWriter::create(&args.out, environment.as_ref())?;

    let (sender, mut received) = delivery_queue(QueueLimits::default());
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let mut lines = HashMap::new();
    for url in relays {
        let upstream = Arc::new(url.upstream(UpstreamKind::Relay));
        writer.add_upstream(&upstream, &url.to_string())?;
        let status = Arc::new(SubscriptionStatus::new());
        let written = Arc::new(AtomicI64::new(args.cursor.unwrap_or(-1)));
        let resume = {
            let (status, written) = (status.clone(), written.clone());
            move || status.resume_after(Some(written.load(Ordering::Relaxed)).filter(|seq| *seq >= 0))
        };
        let sub = Subscription { upstream: upstream.clone(), url, options: options.clone() };
        tasks.spawn(relay::run(sub, resume, sender.clone(), status.clone(), stopped.clone()));
        lines.insert(upstream.name.clone(), Line { upstream, status, written });
    }
    // The queue ends when the last subscription does.
    drop((sender, stopped));

    let started = Instant::now();
    let mut recorded = HashMap::new();
    let (writer, end) = record(&args, writer, &mut received, &lines, &mut recorded).await?;
    stop.send_replace(true);
    drop(received);
    while tasks.join_next().await.is_some() {}
    let frames = writer.frames();
    let file_bytes = tokio::task::spawn_blocking(move || writer.finish()).await.context("the recorder broke")??;

    for line in lines.values() {
        let snapshot = line.status.snapshot();
        let entry: &mut Recorded = recorded.entry(line.upstream.name.clone()).or_default();
        entry.connects = snapshot.connects_total;
        entry.last_error = snapshot.last_error.map(|(_, text)| text);
    }
    print_summary(&args, &recorded, &end, frames, file_bytes, started.elapsed())?;
    match end {
        End::HostsGone => bail!("every host ended its stream; {} holds what came before", args.out.display()),
        _ => Ok(()),
    }
}

/// Moves deliveries from the queue into the file.
async fn record(
    args: &RecordArgs,
    mut writer: DumpWriter,
    received: &mut DeliveryReceiver,
    lines: &HashMap<Box<str>, Line>,
    recorded: &mut HashMap<Box<str>, Recorded>,
) -> anyhow::Result<(DumpWriter, End)> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut over = std::pin::pin!(tokio::time::sleep(args.duration.unwrap_or(Duration::MAX)));
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut progress = Progress::new(args);
    let mut batch: Vec<Delivery> = Vec::new();
    loop {
        let room = args.max_frames.map_or(u64::MAX, |max| max - writer.frames());
        tokio::select! {
            biased;
            _ = interrupt.recv() => return Ok((writer, End::Signal("Ctrl-C"))),
            _ = terminate.recv() => return Ok((writer, End::Signal("SIGTERM"))),
            () = &mut over => return Ok((writer, End::Duration)),
            _ = ticks.tick() => {
                progress.show(&writer, lines);
                writer = blocking(move || { writer.flush_if_due()?; Ok(writer) }).await?;
            }
            count = received.recv_batch(&mut batch, room.min(1024) as usize) => {
                if count == 0 {
                    return Ok((writer, End::HostsGone));
                }
                (writer, batch) = blocking(move || {
                    for delivery in &batch {
                        writer.write(delivery)?;
                    }
                    Ok((writer, batch))
                })
                .await?;
                // Only what is in the file moves the cursor.
                for delivery in batch.drain(..) {
                    note(&delivery, lines, recorded);
                }
                if args.max_frames == Some(writer.frames()) {
                    return Ok((writer, End::MaxFrames));
                }
            }
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> anyhow::Result<T> + Send + 'static) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await.context("the recorder broke")?
}

/// Reads a written frame's number, and ends the subscription when the frame says that trying again is no use.
fn note(delivery: &Delivery, lines: &HashMap<Box<str>, Line>, recorded: &mut HashMap<Box<str>, Recorded>) {
    let entry = recorded.entry(delivery.upstream.name.clone()).or_default();
    entry.frames += 1;
    entry.bytes += delivery.frame.len() as u64;
    // A frame that decode refuses is recorded all the same: it is what somebody will want to look at.
    let Ok(outline) = decode::outline(&delivery.frame) else { return };
    let Some(line) = lines.get(&delivery.upstream.name) else { return };
    if let Some(seq) = outline.seq {
        entry.seq_first.get_or_insert(seq);
        entry.seq_last = Some(seq);
        line.written.store(seq.max(0), Ordering::Relaxed);
    }
    if outline.kind == Kind::Error
        && let Ok(Message::Error(notice)) = decode::decode(&delivery.frame, &outline, |_| false, &decode::Checks::NONE)
        && &*notice.name == "FutureCursor"
    {
        line.status.stop_for_good(format!("FutureCursor: {}", notice.message));
    }
}

/// A line on a terminal that is rewritten, else a log line now and then.
struct Progress {
    bar: ProgressBar,
    logged_at: Instant,
    rate_at: Instant,
    rate_frames: u64,
    rate: f64,
}

impl Progress {
    fn new(args: &RecordArgs) -> Self {
        let bar = args.max_frames.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        let template = if args.max_frames.is_some() {
            "{elapsed_precise} {wide_bar} {msg}"
        } else {
            "{spinner} {elapsed_precise} {msg}"
        };
        bar.set_style(ProgressStyle::with_template(template).expect("the template is one of the two above"));
        Progress { bar, logged_at: Instant::now(), rate_at: Instant::now(), rate_frames: 0, rate: 0.0 }
    }

    fn show(&mut self, writer: &DumpWriter, lines: &HashMap<Box<str>, Line>) {
        let window = self.rate_at.elapsed();
        if window >= Duration::from_secs(1) {
            self.rate = (writer.frames() - self.rate_frames) as f64 / window.as_secs_f64();
            (self.rate_at, self.rate_frames) = (Instant::now(), writer.frames());
        }
        let connected = |line: &&Line| matches!(line.status.snapshot().state, SubscriptionState::Connected { .. });
        let line = format!(
            "{} frames, {:.0}/s, {} received, {} in the file, {} of {} hosts connected",
            HumanCount(writer.frames()),
            self.rate,
            HumanBytes(writer.frame_bytes()),
            HumanBytes(writer.file_bytes()),
            lines.values().filter(connected).count(),
            lines.len(),
        );
        if !self.bar.is_hidden() {
            self.bar.set_position(writer.frames());
            self.bar.set_message(line);
        } else if self.logged_at.elapsed() >= Duration::from_secs(10) {
            self.logged_at = Instant::now();
            tracing::info!("recording: {line}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn print_summary(
    args: &RecordArgs,
    recorded: &HashMap<Box<str>, Recorded>,
    end: &End,
    frames: u64,
    file_bytes: u64,
    took: Duration,
) -> anyhow::Result<()> {
    let ended = match end {
        End::MaxFrames => "enough frames",
        End::Duration => "the time was over",
        End::Signal(name) => name,
        End::HostsGone => "every host ended its stream",
    };
    let mut upstreams: Vec<_> = recorded.iter().collect();
    upstreams.sort_by_key(|(name, _)| *name);
    if args.json {
        let upstreams: Vec<_> = upstreams
            .into_iter()
            .map(|(name, recorded)| serde_json::json!({ "host": name, "recorded": recorded }))
            .collect();
        let summary = serde_json::json!({
            "out": args.out, "frames": frames, "file_bytes": file_bytes, "seconds": took.as_secs_f64(), "ended": ended,
            "upstreams": upstreams,
        });
        println!("{}", serde_json::to_string_pretty(&summary)?);
        return Ok(());
    }
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["upstream", "frames", "bytes", "first seq", "last seq", "connections", "last trouble"]);
    for (name, recorded) in upstreams {
        let seq = |seq: Option<Seq>| seq.map_or_else(|| "-".to_owned(), |seq| seq.to_string());
        table.add_row([
            name.to_string(),
            HumanCount(recorded.frames).to_string(),
            HumanBytes(recorded.bytes).to_string(),
            seq(recorded.seq_first),
            seq(recorded.seq_last),
            recorded.connects.to_string(),
            recorded.last_error.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    println!("{table}");
    println!(
        "{} frames in {}, {} on disk, in {}; ended: {ended}",
        HumanCount(frames),
        args.out.display(),
        HumanBytes(file_bytes),
        HumanDuration(took),
    );
    Ok(())
}

/// Reads `90`, `90s`, `10m`, `2h`, `1d`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let refuse = || format!("{text:?} is no length of time; write a whole number and s, m, h or d, such as 10m");
    let (number, seconds) = match text.trim().strip_suffix(['s', 'm', 'h', 'd']) {
        Some(number) if text.trim().ends_with('s') => (number, 1),
        Some(number) if text.trim().ends_with('m') => (number, 60),
        Some(number) if text.trim().ends_with('h') => (number, 3600),
        Some(number) => (number, 86_400),
        None => (text.trim(), 1),
    };
    let number: u64 = number.parse().map_err(|_| refuse())?;
    // Ten years: more is a slip of the hand, and clocks can still add it.
    match number.checked_mul(seconds) {
        Some(seconds) if (1..=315_360_000).contains(&seconds) => Ok(Duration::from_secs(seconds)),
        _ => Err(refuse()),
    }
}

#[cfg(test)]
mod tests;
