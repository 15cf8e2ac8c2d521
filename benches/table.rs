//! Contests as a Markdown table, and on what they were held.

use crate::contest::{Outcome, Row};
use crate::fixture::{SEED, Scale};
use crate::machine::{commit, cores, cpu_model, load};

/// Prints the machine, the code and the input.
pub fn heading(scale: Scale) {
    println!("- machine: {}, {} cores, load before the report {}", cpu_model(), cores(), load());
    println!("- commit: {}", commit());
    println!("- fixture: made by `almanac::devnet` from seed {SEED}, {} run", scale.name());
}

/// Prints all contenders of all contests; nothing if there was none.
pub fn contests(outcomes: &[Outcome]) {
    if outcomes.is_empty() {
        return;
    }
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
pub fn thousands(n: f64) -> String {
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
