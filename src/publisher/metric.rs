//! Counts of this room.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

use super::WishError;
use super::retry::Trouble;
use crate::telemetry::{register_counter, register_gauge, register_histogram};

const WISHES: &str = "almanac_publisher_wishes_total";
const ATTEMPTS: &str = "almanac_publisher_attempts_total";
const BATCHES: &str = "almanac_publisher_batches_total";
const INTENTS: &str = "almanac_publisher_intents";
const OLDEST: &str = "almanac_publisher_oldest_open_seconds";
const DOWN: &str = "almanac_publisher_hosts_down";
const ACKNOWLEDGED: &str = "almanac_publisher_acknowledge_seconds";

const STORED: &str = "stored";
const REFUSALS: [&str; 8] =
    ["no_account", "client_key", "draft", "no_record", "not_theirs", "taken", "other_account", "database"];
const DONE: &str = "acknowledged";
const STATES: [&str; 3] = ["wanted", "attempted", "acknowledged"];

/// Makes every metric of this room exist at zero.
pub fn register_metrics() {
    let outcomes: Vec<&'static str> = [STORED].into_iter().chain(REFUSALS).collect();
    register_counter(WISHES, "Wishes, by what became of them at the desk.", &[("outcome", &outcomes)]);
    let outcomes: Vec<&'static str> = [DONE].into_iter().chain(Trouble::WORDS.iter().copied()).collect();
    register_counter(ATTEMPTS, "Intents that were attempted, by outcome.", &[("outcome", &outcomes)]);
    register_counter(BATCHES, "Commits that took several records at once.", &[("outcome", &[DONE, "failed"])]);
    register_gauge(
        INTENTS,
        "Intents that are not settled: acknowledged ones wait for our own stream.",
        &[("state", &STATES)],
    );
    register_gauge(OLDEST, "How long the oldest intent that the PDS has not taken waits.", &[]);
    register_gauge(DOWN, "PDSes that this process finds away.", &[]);
    register_histogram(ACKNOWLEDGED, "From a wish until the PDS took it.", &[]);
}

pub(super) fn wished(refusal: Option<&WishError>) {
    counter!(WISHES, "outcome" => refusal.map_or(STORED, WishError::as_str)).increment(1);
}

pub(super) fn acknowledged(seconds: f64) {
    counter!(ATTEMPTS, "outcome" => DONE).increment(1);
    histogram!(ACKNOWLEDGED).record(Duration::from_secs_f64(seconds.max(0.0)));
}

pub(super) fn failed(trouble: Trouble) {
    counter!(ATTEMPTS, "outcome" => trouble.as_str()).increment(1);
}

pub(super) fn batch(done: bool) {
    counter!(BATCHES, "outcome" => if done { DONE } else { "failed" }).increment(1);
}

pub(super) fn hosts_down(hosts: usize) {
    gauge!(DOWN).set(hosts as f64);
}

/// `intents` in the order of [`STATES`].
pub(super) fn intents(intents: [i64; 3], oldest_seconds: f64) {
    for (state, intents) in STATES.into_iter().zip(intents) {
        gauge!(INTENTS, "state" => state).set(intents as f64);
    }
    gauge!(OLDEST).set(oldest_seconds);
}
