//! The tables.

use crate::backfill::{Report, Round};
use crate::lists::Memory;
use crate::publish;
use crate::results::Results;
use crate::table::{self, thousands};
use crate::targets::{Bound, TARGETS};

/// Prints everything that was found, and on what.
pub fn print(found: &Results) {
    table::heading(found.scale);
    targets(found);
    table::contests(&found.outcomes);
    if let Some(memory) = &found.memory {
        lists(memory);
    }
    if let Some(report) = &found.backfilled {
        backfills(report);
    }
    if let Some(report) = &found.published {
        publishing(report);
    }
    if let Some(report) = &found.live {
        report.print();
    }
    if let Some(report) = &found.growth {
        report.print();
    }
}

/// What this run measured of what is to be reached.
fn targets(found: &Results) {
    let others = found.measured();
    let measured = |target: &'static crate::targets::Target| Some((target, target.measured(&found.outcomes, &others)?));
    let measured: Vec<_> = TARGETS.iter().filter_map(measured).collect();
    if measured.is_empty() {
        return;
    }
    println!();
    println!("| target | to reach | measured | |");
    println!("|---|--:|--:|---|");
    for (target, value) in measured {
        let bound = match target.bound {
            Bound::AtLeast(bound) => format!("≥ {}", number(bound)),
            Bound::AtMost(bound) => format!("≤ {}", number(bound)),
        };
        let met = if target.met(value) { "met" } else { "missed" };
        println!("| {} | {bound} {} | {} | {met} |", target.path, target.unit, number(value));
    }
}

/// Three digits at least.
fn number(n: f64) -> String {
    match n.abs() {
        100.0.. => thousands(n),
        10.0.. => format!("{n:.1}"),
        _ => format!("{n:.2}"),
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
