//! Figures for machines: `--json FILE`, which `benches/chart` reads.

use std::path::Path;

use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::contest::Outcome;
use crate::fixture::SEED;
use crate::machine;

/// What every run tells: on what it ran, what was asked for, and the contests. The list of targets is empty.
pub fn of_run(arguments: &Arguments, outcomes: &[Outcome]) -> Value {
    json!({
        "schema": 1,
        "at": chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        "machine": machine::to_json(), "load": machine::load(), "commit": machine::commit(),
        "seed": SEED, "scale": arguments.scale.name(), "words": arguments.words,
        "targets": [],
        "contests": outcomes.iter().map(contest).collect::<Vec<_>>(),
    })
}

/// Writes it to `path`.
///
/// # Panics
/// When the file cannot be written: the run was for its sake.
pub fn write(value: &Value, path: &Path) {
    let text = serde_json::to_string_pretty(value).expect("what was found is JSON");
    if let Err(error) = std::fs::write(path, text + "\n") {
        panic!("cannot write {}: {error}; give --json a file in a folder that is there", path.display());
    }
}

fn contest(outcome: &Outcome) -> Value {
    let rows = outcome.rows.iter().map(|row| {
        let (best, lowest, highest) = row.almanac_is;
        json!({
            "name": row.name, "per_cpu_second": row.per_cpu_second, "per_wall_second": row.per_wall_second,
            "almanac_is": { "best": best, "lowest": lowest, "highest": highest },
        })
    });
    json!({
        "name": outcome.name, "input": outcome.input, "unit": outcome.unit, "rounds": outcome.rounds,
        "contenders": rows.collect::<Vec<_>>(),
    })
}
