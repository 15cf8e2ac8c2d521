//! What jobs did, in numbers.

use metrics::{counter, gauge};

use super::job::{Outcome, Strategy};
use super::summary::QueueCounts;
use crate::telemetry::{register_counter, register_gauge};

const JOBS: &str = "almanac_source_backfill_jobs";
const ENDED: &str = "almanac_source_backfill_ended_jobs_total";
const BYTES: &str = "almanac_source_backfill_fetched_bytes_total";
const RECORDS: &str = "almanac_source_backfill_found_records_total";
const PARKED: &str = "almanac_source_backfill_parked_hosts";
const CHECKED: &str = "almanac_source_coverage_checked_accounts";
const MISSING: &str = "almanac_source_coverage_missing_accounts";
const BEHIND: &str = "almanac_source_coverage_behind_accounts";
const UNREACHABLE: &str = "almanac_source_coverage_unreachable_accounts";
const LAST_RUN: &str = "almanac_source_coverage_last_run_timestamp_seconds";

/// Describes the metrics of jobs and puts every series at zero.
pub fn register_metrics() {
    register_gauge(
        JOBS,
        "Jobs that compare and fetch repositories, by where they stand",
        &[("state", &["queued", "running", "failed"])],
    );
    let outcomes: Vec<_> = Outcome::ALL.iter().map(|outcome| outcome.as_str()).collect();
    register_counter(ENDED, "Jobs that ended, by how", &[("outcome", &outcomes)]);
    let strategies = ["sparse", "car", "list"];
    register_counter(BYTES, "Bytes of repositories fetched, by strategy", &[("strategy", &strategies)]);
    register_counter(RECORDS, "Followed records found in repositories, by strategy", &[("strategy", &strategies)]);
    register_gauge(PARKED, "Hosts that failed and are left alone for a while", &[]);
    register_gauge(CHECKED, "Accounts that the last comparison with the network looked at", &[]);
    register_gauge(MISSING, "Accounts with followed records that the last comparison found missing", &[]);
    register_gauge(BEHIND, "Accounts whose host was ahead of us at the last comparison", &[]);
    register_gauge(UNREACHABLE, "Accounts that the last comparison could not look at", &[]);
    register_gauge(LAST_RUN, "When the last comparison with the network ended, in Unix seconds; 0: never", &[]);
}

/// A job ended.
pub fn count_outcome(outcome: Outcome) {
    counter!(ENDED, "outcome" => outcome.as_str()).increment(1);
}

/// Something was fetched.
pub fn record_fetch(strategy: Strategy, bytes: u64, records: u64) {
    counter!(BYTES, "strategy" => strategy.as_str()).increment(bytes);
    counter!(RECORDS, "strategy" => strategy.as_str()).increment(records);
}

/// Brings the gauges of the queue up to date.
pub fn show_queue(counts: &QueueCounts, parked_hosts: usize) {
    for (state, n) in [("queued", counts.queued), ("running", counts.running), ("failed", counts.failed)] {
        gauge!(JOBS, "state" => state).set(n as f64);
    }
    gauge!(PARKED).set(parked_hosts as f64);
}

/// Brings the gauges of the comparison up to date.
pub fn show_coverage(checked: u64, missing: u64, behind: u64, unreachable: u64, at: chrono::DateTime<chrono::Utc>) {
    gauge!(CHECKED).set(checked as f64);
    gauge!(MISSING).set(missing as f64);
    gauge!(BEHIND).set(behind as f64);
    gauge!(UNREACHABLE).set(unreachable as f64);
    gauge!(LAST_RUN).set(at.timestamp() as f64);
}
