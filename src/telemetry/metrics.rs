//! Metrics: the recorder, the rule for names, and series that exist from the start.

use std::time::Duration;

use metrics::{Label, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// The rooms and things that metrics may be about: what follows `almanac_` in a name.
const AREAS: &[&str] = &[
    "process",
    "source",
    "decode",
    "filter",
    "ingest",
    "event_log",
    "projection",
    "effects",
    "network",
    "identity",
    "publisher",
    "api",
    "pds",
    "db",
];

/// Upper bounds for times: from a fold of one row to a question that ran into its limit.
const SECONDS: &[f64] = &[0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];
/// Upper bounds for sizes: up to the largest frame of the protocol.
const BYTES: &[f64] = &[256.0, 1e3, 4e3, 16e3, 64e3, 256e3, 1e6, 2e6, 5e6];
/// Upper bounds for numbers of things in a batch.
const COUNTS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1e3, 2.5e3, 5e3, 10e3];

/// What a metric does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises. Its name ends in `_total`.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Sorts what it sees into buckets, by the unit its name ends in: seconds, bytes, else a number of things.
    Histogram,
}

/// Whether `name` follows the rule `almanac_<area>_<thing>_<unit>[_total]`: a known area, at least one more word, lower
/// case, and `_total` at the end of counters and of nothing else.
pub fn metric_name_is_valid(kind: Kind, name: &str) -> bool {
    let Some(rest) = name.strip_prefix("almanac_") else { return false };
    let Some(thing) = AREAS.iter().find_map(|area| rest.strip_prefix(area)?.strip_prefix('_')) else { return false };
    let (thing, total) = match thing.strip_suffix("_total") {
        Some(thing) => (thing, true),
        None => (thing, false),
    };
    total == (kind == Kind::Counter)
        && thing.split('_').all(|word| {
            word.starts_with(|c: char| c.is_ascii_lowercase())
                && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        })
}

/// Makes the process count, and gives the handle that renders what it counted. Once per process, before the first
/// metric is touched: what is counted earlier is lost.
///
/// # Errors
/// The process already has a recorder.
pub fn install_metrics() -> Result<PrometheusHandle, String> {
    let buckets = |builder: PrometheusBuilder, matcher, bounds: &[f64]| {
        builder.set_buckets_for_metric(matcher, bounds).expect("the lists of bounds are not empty")
    };
    let mut builder = PrometheusBuilder::new().set_buckets(COUNTS).expect("the lists of bounds are not empty");
    builder = buckets(builder, Matcher::Suffix("_seconds".to_owned()), SECONDS);
    builder = buckets(builder, Matcher::Suffix("_bytes".to_owned()), BYTES);
    builder.install_recorder().map_err(|e| format!("metrics cannot be set up: {e}"))
}

/// Keeps the memory of histograms bounded while nobody scrapes. Runs for ever: spawn it beside the process's other
/// tasks.
pub async fn upkeep(handle: PrometheusHandle) {
    let mut ticks = tokio::time::interval(Duration::from_secs(5));
    loop {
        ticks.tick().await;
        handle.run_upkeep();
    }
}

/// Describes a counter and creates one series at zero for every combination of the labels' values.
///
/// ```
/// use almanac::telemetry::register_counter;
/// let reasons = ["truncated", "bad_header"];
/// register_counter("almanac_decode_frames_refused_total", "Frames refused, by reason.", &[("reason", &reasons)]);
/// ```
///
/// # Panics
/// When the name breaks the rule of [`metric_name_is_valid`]: a mistake in this program.
pub fn register_counter(name: &'static str, help: &'static str, labels: &[(&'static str, &[&'static str])]) {
    check(Kind::Counter, name);
    metrics::describe_counter!(name, help);
    for labels in combinations(labels) {
        metrics::counter!(name, labels).increment(0);
    }
}

/// Describes a gauge and creates its series at zero. Where zero would be a lie (a lag that is not known), set it to
/// NaN at once.
///
/// # Panics
/// As [`register_counter`].
pub fn register_gauge(name: &'static str, help: &'static str, labels: &[(&'static str, &[&'static str])]) {
    check(Kind::Gauge, name);
    match unit(name) {
        Some(unit) => metrics::describe_gauge!(name, unit, help),
        None => metrics::describe_gauge!(name, help),
    }
    for labels in combinations(labels) {
        metrics::gauge!(name, labels).increment(0.0);
    }
}

/// Describes a histogram and creates its series, empty.
///
/// # Panics
/// As [`register_counter`].
pub fn register_histogram(name: &'static str, help: &'static str, labels: &[(&'static str, &[&'static str])]) {
    check(Kind::Histogram, name);
    match unit(name) {
        Some(unit) => metrics::describe_histogram!(name, unit, help),
        None => metrics::describe_histogram!(name, help),
    }
    for labels in combinations(labels) {
        let _created = metrics::histogram!(name, labels);
    }
}

fn check(kind: Kind, name: &str) {
    assert!(metric_name_is_valid(kind, name), "{name:?} is not a name for a {kind:?} here");
}

fn unit(name: &str) -> Option<Unit> {
    match name.rsplit('_').next() {
        Some("seconds") => Some(Unit::Seconds),
        Some("bytes") => Some(Unit::Bytes),
        _ => None,
    }
}

fn combinations(labels: &[(&'static str, &[&'static str])]) -> Vec<Vec<Label>> {
    labels.iter().fold(vec![Vec::new()], |made, (key, values)| {
        made.iter()
            .flat_map(|before| {
                values.iter().map(move |value| {
                    let label = Label::from_static_parts(key, value);
                    before.iter().cloned().chain([label]).collect()
                })
            })
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule() {
        for (kind, good) in [
            (Kind::Counter, "almanac_decode_frames_refused_total"),
            (Kind::Gauge, "almanac_event_log_position"),
            (Kind::Gauge, "almanac_source_lag_seconds"),
            (Kind::Histogram, "almanac_api_request_seconds"),
        ] {
            assert!(metric_name_is_valid(kind, good), "{good}");
        }
        for (kind, bad) in [
            (Kind::Counter, "almanac_decode_frames_refused"),
            (Kind::Gauge, "almanac_source_lag_total"),
            (Kind::Gauge, "almanac_kitchen_lag_seconds"),
            (Kind::Gauge, "almanac_source"),
            (Kind::Gauge, "almanac_source_"),
            (Kind::Counter, "almanac_source_total"),
            (Kind::Gauge, "almanac_source__lag"),
            (Kind::Gauge, "almanac_source_Lag"),
            (Kind::Gauge, "source_lag_seconds"),
        ] {
            assert!(!metric_name_is_valid(kind, bad), "{bad}");
        }
    }

    #[test]
    fn every_combination_of_closed_labels_is_there_at_zero() {
        let recorder = PrometheusBuilder::new().set_buckets(COUNTS).unwrap().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            let (a, b) = (["x", "y"], ["1", "2"]);
            register_counter("almanac_ingest_frames_total", "Frames.", &[("a", &a), ("b", &b)]);
            register_gauge("almanac_ingest_queue_frames", "Queue.", &[]);
            register_histogram("almanac_ingest_batch_events", "Batch.", &[]);
        });
        let text = handle.render();
        for line in [
            "almanac_ingest_frames_total{a=\"x\",b=\"2\"} 0",
            "almanac_ingest_frames_total{a=\"y\",b=\"1\"} 0",
            "almanac_ingest_queue_frames 0",
            "almanac_ingest_batch_events_count 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
    }
}
