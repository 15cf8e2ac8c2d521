//! The table.

use std::process::Command;

use crate::contest::{Outcome, Row};
use crate::fixture::{SEED, Scale};

/// Prints everything that was found, and on what.
pub fn print(scale: Scale, outcomes: &[Outcome]) {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    println!("- machine: {}, {cores} cores, load before the report {}", cpu_model(), load());
    println!("- commit: {}", commit());
    println!("- fixture: made by `almanac::devnet` from seed {SEED}, {} run", scale.name());
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
