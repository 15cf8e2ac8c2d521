//! The table.

use std::process::Command;

use crate::backfill::{Report, Round};
use crate::contest::{Outcome, Row};
use crate::fixture::{SEED, Scale};
use crate::lists::Memory;
use crate::publish;

/// Prints everything that was found, and on what.
pub fn print(
    scale: Scale,
    outcomes: &[Outcome],
    memory: Option<&Memory>,
    backfilled: Option<&Report>,
    published: Option<&publish::Report>,
) {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    println!("- machine: {}, {cores} cores, load before the report {}", cpu_model(), load());
    println!("- commit: {}", commit());
    println!("- fixture: made by `almanac::devnet` from seed {SEED}, {} run", scale.name());
    if !outcomes.is_empty() {
        contests(outcomes);
    }
    if let Some(memory) = memory {
        lists(memory);
    }
    if let Some(report) = backfilled {
        backfills(report);
    }
    if let Some(report) = published {
        publishing(report);
    }
}

fn publishing(report: &publish::Report) {
    println!();
    println!("| publish | records | wall time | per second |");
    println!("|---|--:|--:|--:|");
    for (name, count, took) in &report.rows {
        let (seconds, count) = (took.as_secs_f64(), *count as f64);
        println!("| {name} | {} | {seconds:.1} s | {} |", thousands(count), thousands(count / seconds));
    }
}

fn contests(outcomes: &[Outcome]) {
    println!();
    println!("| path | who | per CPU-second | per second of wall time | Almanac is, in CPU time |");
    println!("|---|---|--:|--:|--:|");
    for outcome in outcomes {
        for (at, row) in outcome.rows.iter().enumerate() {
            let path = match at {
                0 => format!("**{}**: {}, {} rounds", outcome.name, outcome.input, outcome.rounds),
                _ => String::new(),
            };
            let rate = |n: f64| format!("{} {}", thousands(n), outcome.unit);
            let (cpu, wall) = (rate(row.per_cpu_second), rate(row.per_wall_second));
            println!("| {path} | {} | {cpu} | {wall} | {} |", row.name, ratio(at, row));
        }
    }
    println!();
    println!(
        "Each row shows its best round. The ratio is that of the best rounds; in brackets the lowest and highest of"
    );
    println!("single rounds. Where a database takes part its CPU time counts too.");
}

fn lists(memory: &Memory) {
    println!();
    println!(
        "**lists of accounts**: two lists of {} accounts each, read as from a file",
        thousands(memory.dids as f64)
    );
    println!();
    println!("| bytes a DID, as the set tells it | bytes a DID, by what the process grew |");
    println!("|--:|--:|");
    println!("| {:.1} | {} |", memory.told, memory.grown.map_or("not seen".to_owned(), |grown| format!("{grown:.1}")));
}

fn backfills(report: &Report) {
    println!();
    println!("**backfill**: {}", report.input);
    println!();
    println!(
        "| strategy | {} accounts and {} records complete | to the end | per second | answers | requests per account | peak memory | CPU Almanac | CPU Postgres |",
        thousands(report.reachable as f64),
        thousands(report.records as f64)
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|");
    for found in &report.found {
        let span = |of: &dyn Fn(&Round) -> f64, decimals: usize| {
            let all = || found.rounds.iter().map(of);
            let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(0.0, f64::max));
            let mut sorted: Vec<f64> = all().collect();
            sorted.sort_by(f64::total_cmp);
            let middle = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
            match found.rounds.len() {
                1 => format!("{middle:.decimals$}"),
                _ => format!("{middle:.decimals$} ({low:.decimals$}–{high:.decimals$})"),
            }
        };
        let requests = |round: &Round| round.served.values().map(|served| served.requests).sum::<u64>() as f64;
        let bytes = |round: &Round| round.served.values().map(|served| served.bytes).sum::<u64>() as f64;
        println!(
            "| {} | {} s | {} s | {} records | {} MB | {} | {} MB | {} s | {} s |",
            found.strategy,
            span(&|round| round.complete.as_secs_f64(), 1),
            span(&|round| round.ended.as_secs_f64(), 1),
            span(&|round| report.records as f64 / round.complete.as_secs_f64(), 0),
            span(&|round| bytes(round) / 1e6, 1),
            span(&|round| requests(round) / report.reachable as f64, 1),
            span(&|round| round.rss.unwrap_or_default() as f64 / 1e6, 0),
            span(&|round| round.cpu.as_secs_f64(), 1),
            span(&|round| round.server_cpu.as_secs_f64(), 1),
        );
    }
    println!();
    println!(
        "The round in the middle; in brackets the lowest and highest. Answers are bodies alone. After every round the index"
    );
    println!("was what the repositories hold, by the simulated network's own account.");
}

fn ratio(at: usize, row: &Row) -> String {
    let (best, low, high) = row.almanac_is;
    if at == 0 { String::new() } else { format!("{best:.2} × as fast ({low:.2}–{high:.2})") }
}

/// `1234567.8` as `1,234,568`.
fn thousands(n: f64) -> String {
    let digits = format!("{n:.0}");
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn cpu_model() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
    model.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, model)| model.to_owned())
}

fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().filter(|word| !word.is_empty()).unwrap_or("unknown").to_owned()
}

fn commit() -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    let changed = git(&["status", "--porcelain", "--untracked-files=no", "--", "src", "benches", "Cargo.lock"]);
    if changed.is_some_and(|changed| changed.is_empty()) { commit } else { format!("{commit} and changes after it") }
}
