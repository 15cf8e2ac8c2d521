//! Everything that a run found, and the same for machines: `--json FILE`.

use std::path::Path;

use serde_json::{Value, json};

use crate::contest::Outcome;
use crate::fixture::{SEED, Scale};
use crate::lists::Memory;
use crate::targets::{LIST_BYTES, LIVE_CPU, LIVE_P50, LIVE_P99, LIVE_RSS, Measured, TARGETS};
use crate::{backfill, live, machine, publish};

/// What a run found. What was not chosen is not there.
pub struct Results {
    /// How much was done.
    pub scale: Scale,
    /// The contests.
    pub outcomes: Vec<Outcome>,
    /// What lists of accounts take.
    pub memory: Option<Memory>,
    /// A whole network fetched.
    pub backfilled: Option<backfill::Report>,
    /// Wishes made records.
    pub published: Option<publish::Report>,
    /// The serving process.
    pub live: Option<live::Report>,
    /// How cost grows.
    pub growth: Option<live::growth::Report>,
}

impl Results {
    /// Nothing yet.
    pub fn new(scale: Scale) -> Self {
        Results {
            scale,
            outcomes: Vec::new(),
            memory: None,
            backfilled: None,
            published: None,
            live: None,
            growth: None,
        }
    }

    /// The figures that are no contest's, as targets name them.
    pub fn measured(&self) -> Measured {
        let mut all = Vec::new();
        all.extend(self.memory.as_ref().map(|memory| (LIST_BYTES, memory.grown.unwrap_or(memory.told))));
        if let Some(live) = &self.live {
            all.extend([(LIVE_P50, live.latency.millis(0.5)), (LIVE_P99, live.latency.millis(0.99))]);
            all.push((LIVE_CPU, live.stretches[1].cpu_percent));
            all.extend(live.memory_peak.map(|bytes| (LIVE_RSS, bytes as f64 / 1e6)));
        }
        all
    }

    /// Writes it all to `path`.
    ///
    /// # Panics
    /// When the file cannot be written: the run was for its sake.
    pub fn write(&self, path: &Path, words: &[String]) {
        let others = self.measured();
        let targets: Vec<Value> = TARGETS.iter().map(|target| target.to_json(&self.outcomes, &others)).collect();
        let value = json!({
            "schema": 1,
            "at": chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            "machine": machine::to_json(), "load": machine::load(), "commit": machine::commit(),
            "seed": SEED, "scale": self.scale.name(), "words": words,
            "targets": targets,
            "contests": self.outcomes.iter().map(contest).collect::<Vec<_>>(),
            "lists": self.memory.as_ref().map(|memory| json!({
                "dids": memory.dids, "bytes_told": memory.told, "bytes_grown": memory.grown,
            })),
            "backfill": self.backfilled.as_ref().map(backfilled),
            "publish": self.published.as_ref().map(published),
            "live": self.live.as_ref().map(live::Report::to_json),
            "growth": self.growth.as_ref().map(live::growth::Report::to_json),
        });
        let text = serde_json::to_string_pretty(&value).expect("what was found is JSON");
        if let Err(error) = std::fs::write(path, text + "\n") {
            panic!("cannot write {}: {error}; give --json a file in a folder that is there", path.display());
        }
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

fn backfilled(report: &backfill::Report) -> Value {
    let round = |round: &backfill::Round| {
        json!({
            "complete_seconds": round.complete.as_secs_f64(), "ended_seconds": round.ended.as_secs_f64(),
            "requests": round.served.values().map(|served| served.requests).sum::<u64>(),
            "bytes": round.served.values().map(|served| served.bytes).sum::<u64>(),
            "memory_bytes": round.rss, "cpu_seconds": round.cpu.as_secs_f64(),
            "server_cpu_seconds": round.server_cpu.as_secs_f64(),
        })
    };
    let found = report.found.iter().map(
        |found| json!({ "strategy": found.strategy, "rounds": found.rounds.iter().map(round).collect::<Vec<_>>() }),
    );
    json!({
        "input": report.input, "accounts": report.reachable, "records": report.records,
        "found": found.collect::<Vec<_>>(),
    })
}

fn published(report: &publish::Report) -> Value {
    let rows = report
        .rows
        .iter()
        .map(|(name, count, took)| json!({ "name": name, "records": count, "seconds": took.as_secs_f64() }));
    Value::Array(rows.collect())
}
