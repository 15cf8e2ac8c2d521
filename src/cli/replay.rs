//! `almanac replay`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::ValueEnum;
use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use serde::Serialize;

use super::flags::{Filter, Global};
use super::table::{print_json, table};
use super::verify::VerifyArgs;
use crate::event::{Environment, Seq};
use crate::service::replay::{DumpRefused, Options, Outcome, Progress, Speed, replay};
use crate::service::{self, stop};

#[derive(clap::Args)]
pub(super) struct ReplayArgs {
    /// Dumps: MCAP as `record` writes it, .frames or .frames.zst; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Skip frames before this seq
    #[arg(long, value_name = "N")]
    from_seq: Option<Seq>,
    /// Skip frames after this seq
    #[arg(long, value_name = "N")]
    to_seq: Option<Seq>,
    /// As fast as it goes, or with the pauses that the frames' own times have
    #[arg(long, value_enum, default_value_t = SpeedArg::Max)]
    speed: SpeedArg,
    #[command(flatten)]
    verify: VerifyArgs,
    /// Take dumps that were recorded in another environment: all of them goes to quarantine
    #[arg(long)]
    as_foreign: bool,
    /// The environment of dumps that do not name it, such as .frames
    #[arg(long, value_name = "NAME", value_parser = Environment::parse)]
    declared_environment: Option<Environment>,
    /// Where events go: the Postgres log, or nowhere (they are only counted)
    #[arg(long, value_enum, default_value_t = LogArg::Postgres)]
    log: LogArg,
    /// Only count what would be kept: the same as --log null
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    filter: Filter,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SpeedArg {
    Max,
    #[value(name = "1x")]
    Recorded,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogArg {
    Postgres,
    Null,
}

#[derive(Serialize)]
struct Summary {
    frames: u64,
    kept: u64,
    set_aside: u64,
    events_appended: u64,
    duplicates: u64,
    dropped: BTreeMap<&'static str, u64>,
    refused: BTreeMap<&'static str, u64>,
    quarantined: u64,
    /// Of these, those for which there was no room (quarantine.bytes_max).
    quarantine_overflow: u64,
    /// Dumps whose environment nobody named.
    undeclared: Vec<String>,
    problems: Vec<String>,
    seconds: f64,
    frames_per_second: f64,
}

pub(super) async fn run(global: &Global, args: ReplayArgs) -> anyhow::Result<ExitCode> {
    let mut flags = args.filter.flags();
    flags.extend(args.verify.flags());
    let settings = global.settings(flags)?;
    let stopped = stop::on_signals()?;
    let to_log = args.log == LogArg::Postgres && !args.dry_run;
    let db = if to_log { Some(service::open(&settings, false).await?) } else { None };
    let range = match (args.from_seq, args.to_seq) {
        (None, None) => None,
        (from, to) => Some(from.unwrap_or(Seq::MIN)..=to.unwrap_or(Seq::MAX)),
    };
    let speed = if args.speed == SpeedArg::Max { Speed::Max } else { Speed::Recorded };
    let lengths = args.files.iter().map(|file| std::fs::metadata(file).ok().filter(|m| m.is_file()).map(|m| m.len()));
    let bar = progress_bar(lengths.sum());
    let progress = Arc::new(Progress::default());
    let drawing = tokio::spawn(draw(bar.clone(), progress.clone()));
    let (as_foreign, declared) = (args.as_foreign, args.declared_environment);
    let options = Options { files: args.files, range, speed, as_foreign, declared };
    let mut told = false;
    let waiting = |why: String| {
        if !told {
            tracing::warn!("{why}");
            told = true;
        }
    };
    let outcome = replay(&settings, db.clone(), options, progress, stopped, waiting).await;
    drawing.abort();
    bar.finish_and_clear();
    if let Some(db) = db {
        db.close().await;
    }
    let outcome = match outcome {
        Err(error) if error.is::<DumpRefused>() => {
            eprintln!("almanac: {error:#}");
            return Ok(ExitCode::from(2));
        }
        other => other?,
    };
    let Some(outcome) = outcome else {
        eprintln!("told to stop before anything was replayed");
        return Ok(ExitCode::FAILURE);
    };
    let summary = summarize(&outcome);
    if args.json {
        print_json(&summary)?;
    } else {
        print_summary(&summary, to_log);
    }
    if outcome.interrupted {
        eprintln!(
            "told to stop before the end; replaying again goes on where this ended, because what is there is skipped"
        );
    }
    // A tail that was never written is how a killed recorder ends; anything else was lost.
    let lost = outcome.problems.iter().any(|(_, problem)| !problem.is_truncation());
    Ok(if lost || outcome.interrupted { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn summarize(outcome: &Outcome) -> Summary {
    let tally = &outcome.report.tally;
    let seconds = outcome.elapsed.as_secs_f64();
    Summary {
        frames: tally.frames,
        kept: tally.kept,
        set_aside: tally.bystanders,
        events_appended: outcome.report.appended,
        duplicates: outcome.report.duplicates,
        dropped: tally.dropped_by_reason().map(|(reason, n)| (reason.as_str(), n)).collect(),
        refused: tally.refused_by_reason().iter().map(|(reason, n)| (reason.as_str(), *n)).collect(),
        quarantined: tally.quarantined,
        quarantine_overflow: outcome.overflow,
        undeclared: outcome.undeclared.iter().map(|file| file.display().to_string()).collect(),
        problems: outcome.problems.iter().map(|(file, problem)| format!("{}: {problem}", file.display())).collect(),
        seconds,
        frames_per_second: if seconds > 0.0 { tally.frames as f64 / seconds } else { 0.0 },
    }
}

fn print_summary(summary: &Summary, to_log: bool) {
    let mut table = table(&["", "count"]);
    let mut row = |name: String, n: u64| {
        table.add_row([name, HumanCount(n).to_string()]);
    };
    row("frames".into(), summary.frames);
    row("kept".into(), summary.kept);
    row("set aside (words of accounts out of scope)".into(), summary.set_aside);
    for (reason, n) in summary.dropped.iter().filter(|(_, n)| **n > 0) {
        row(format!("dropped: {reason}"), *n);
    }
    for (reason, n) in &summary.refused {
        row(format!("refused: {reason}"), *n);
    }
    row("into quarantine".into(), summary.quarantined);
    row(if to_log { "events appended" } else { "events that would be appended" }.into(), summary.events_appended);
    row("events there already".into(), summary.duplicates);
    println!("{table}");
    println!(
        "{} in {} ({} frames/s)",
        if to_log { "replayed" } else { "judged" },
        HumanDuration(Duration::from_secs_f64(summary.seconds)),
        HumanCount(summary.frames_per_second as u64)
    );
    if summary.quarantine_overflow > 0 {
        eprintln!(
            "{} of the refused frames found no room in quarantine (quarantine.bytes_max) and are only counted",
            HumanCount(summary.quarantine_overflow)
        );
    }
    for file in &summary.undeclared {
        eprintln!("{file}: neither it nor --declared-environment says of which environment it is; taken as this one's");
    }
    for problem in &summary.problems {
        eprintln!("{problem}");
    }
}

fn progress_bar(length: Option<u64>) -> ProgressBar {
    let (bar, template) = match length {
        Some(length) => (ProgressBar::new(length), "{bar:40} {bytes}/{total_bytes} {msg}, {eta} left"),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes} {msg}"),
    };
    let style = ProgressStyle::with_template(template).expect("the template is a literal that parses");
    bar.with_style(style)
}

async fn draw(bar: ProgressBar, progress: Arc<Progress>) {
    let started = std::time::Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let frames = progress.frames.load(Ordering::Relaxed);
        let rate = frames as f64 / started.elapsed().as_secs_f64();
        bar.set_position(progress.bytes.load(Ordering::Relaxed));
        bar.set_message(format!("{} frames, {}/s", HumanCount(frames), HumanCount(rate as u64)));
    }
}
