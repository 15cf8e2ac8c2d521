//! What was found, for people and for machines.

use serde_json::{Value, json};

use super::{Report, Spread, Stretch, growth};

impl Report {
    /// As tables.
    pub fn print(&self) {
        println!();
        println!("**live**: {}; calendar records on top where they are timed; durable commits", self.input);
        println!();
        println!(
            "| frame sent to row visible | records | p50 | p90 | p99 | longest | of it the log's transaction | the index's |"
        );
        println!("|---|--:|--:|--:|--:|--:|--:|--:|");
        let told = self.stretches[0].pace;
        println!(
            "| {} frames/s and {} records/s | {} | {} | {:.1} ms | {:.1} ms |",
            told.mixed,
            told.told,
            self.latency.len(),
            spread(&self.latency),
            self.append_millis,
            self.fold_millis
        );
        println!();
        println!("| `almanac serve` | CPU, of a core | CPU of Postgres | waits a second | memory |");
        println!("|---|--:|--:|--:|--:|");
        for stretch in &self.stretches {
            println!(
                "| {} frames/s, {} records/s, {:.0} s | {:.2} % | {:.2} % | {:.0} | {} |",
                stretch.pace.mixed,
                stretch.pace.told,
                stretch.seconds,
                stretch.cpu_percent,
                stretch.server_cpu_percent,
                stretch.waits,
                megabytes(stretch.memory)
            );
        }
        println!();
        println!("Memory at most: {}, without Postgres.", megabytes(self.memory_peak));
    }

    /// For `--json`.
    pub fn to_json(&self) -> Value {
        json!({
            "input": self.input, "latency": self.latency.to_json(),
            "append_millis": self.append_millis, "fold_millis": self.fold_millis,
            "stretches": self.stretches.iter().map(Stretch::to_json).collect::<Vec<_>>(),
            "memory_peak_bytes": self.memory_peak,
        })
    }
}

impl Spread {
    /// For `--json`.
    pub fn to_json(&self) -> Value {
        json!({
            "count": self.len(), "p50_millis": self.millis(0.5), "p90_millis": self.millis(0.9),
            "p99_millis": self.millis(0.99), "max_millis": self.millis(1.0),
        })
    }
}

impl Stretch {
    fn to_json(&self) -> Value {
        json!({
            "seconds": self.seconds, "frames_per_second": self.pace.mixed, "records_per_second": self.pace.told,
            "cpu_percent": self.cpu_percent, "server_cpu_percent": self.server_cpu_percent,
            "waits_per_second": self.waits, "memory_bytes": self.memory,
        })
    }
}

/// p50, p90, p99 and the longest, as cells of a table.
pub fn spread(times: &Spread) -> String {
    let cell = |share: f64| format!("{:.1} ms", times.millis(share));
    [0.5, 0.9, 0.99, 1.0].map(cell).join(" | ")
}

/// For people.
pub fn megabytes(bytes: Option<u64>) -> String {
    bytes.map_or("not told".to_owned(), |bytes| format!("{:.1} MB", bytes as f64 / 1e6))
}

impl growth::Report {
    /// As tables.
    pub fn print(&self) {
        println!();
        println!("**growth**: with so many events and half as many RSVPs in the index");
        println!();
        println!(
            "| events | database | replay on top, records a second | a CPU-second | frame to row, p50 | p99 | two words, p50 | p99 | a week, p50 | p99 | memory |"
        );
        println!("|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
        for size in &self.sizes {
            let pair = |times: &Spread| format!("{:.1} ms | {:.1} ms", times.millis(0.5), times.millis(0.99));
            println!(
                "| {} | {:.0} MB | {:.0} | {:.0} | {} | {} | {} | {} |",
                size.events,
                size.bytes as f64 / 1e6,
                size.replay_per_second,
                size.replay_per_cpu_second,
                pair(&size.latency),
                pair(&size.text),
                pair(&size.week),
                megabytes(size.memory)
            );
        }
        println!();
        println!("| behind, upstream-seconds | level after | frames in the queue at most | memory at most |");
        println!("|--:|--:|--:|--:|");
        for lag in &self.lags {
            let (level, memory) = (lag.level.as_secs_f64(), megabytes(lag.memory));
            println!("| {} s | {level:.2} s | {:.0} | {memory} |", lag.seconds, lag.queue_frames);
        }
    }

    /// For `--json`.
    pub fn to_json(&self) -> Value {
        let size = |size: &growth::Size| {
            json!({
                "events": size.events, "database_bytes": size.bytes, "replay_per_second": size.replay_per_second,
                "replay_per_cpu_second": size.replay_per_cpu_second, "latency": size.latency.to_json(),
                "query_text": size.text.to_json(), "query_week": size.week.to_json(), "memory_peak_bytes": size.memory,
            })
        };
        let lag = |lag: &growth::Lag| {
            json!({
                "seconds": lag.seconds, "level_seconds": lag.level.as_secs_f64(), "queue_frames": lag.queue_frames,
                "memory_peak_bytes": lag.memory,
            })
        };
        json!({
            "sizes": self.sizes.iter().map(size).collect::<Vec<_>>(),
            "lags": self.lags.iter().map(lag).collect::<Vec<_>>(),
        })
    }
}
