//! Everything that a run found, and the same for machines.

use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::contest::Outcome;
use crate::fixture::Scale;
use crate::lists::Memory;
use crate::targets::{LIST_BYTES, LIVE_CPU, LIVE_P50, LIVE_P99, LIVE_RSS, Measured, TARGETS};
use crate::{backfill, json, live, publish};

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

    /// All of it, for machines.
    pub fn to_json(&self, arguments: &Arguments) -> Value {
        let others = self.measured();
        let mut value = json::of_run(arguments, &self.outcomes);
        value["targets"] = TARGETS.iter().map(|target| target.to_json(&self.outcomes, &others)).collect();
        value["lists"] = json!(self.memory.as_ref().map(|memory| json!({
            "dids": memory.dids, "bytes_told": memory.told, "bytes_grown": memory.grown,
        })));
        value["backfill"] = json!(self.backfilled.as_ref().map(backfilled));
        value["publish"] = json!(self.published.as_ref().map(published));
        value["live"] = json!(self.live.as_ref().map(live::Report::to_json));
        value["growth"] = json!(self.growth.as_ref().map(live::growth::Report::to_json));
        value
    }
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
