//! The metrics of this room. A subscription is no label: a series each would be there only once it is configured.

use metrics::{counter, gauge};

use super::gate::Suppressed;
use super::queue::Totals;
use crate::network::HostError;
use crate::telemetry::{register_counter, register_gauge};

const SUPPRESSED: &str = "almanac_effects_suppressed_events_total";
const QUEUED: &str = "almanac_effects_queued_deliveries_total";
const DELIVERED: &str = "almanac_effects_delivered_deliveries_total";
const FAILED: &str = "almanac_effects_failed_attempts_total";
const DIED: &str = "almanac_effects_died_deliveries_total";
const PENDING: &str = "almanac_effects_pending_deliveries";
const DEAD: &str = "almanac_effects_dead_deliveries";
const OLDEST: &str = "almanac_effects_oldest_pending_seconds";
const LAG: &str = "almanac_effects_lag_events";

/// An answer with a status that is no success.
const STATUS: &str = "status";

/// Describes every metric of this room and puts every series at zero.
pub fn register_metrics() {
    let reasons: Vec<_> = Suppressed::ALL.iter().map(|reason| reason.as_str()).collect();
    let failures: Vec<_> = [STATUS].iter().chain(HostError::WORDS).copied().collect();
    let suppressed = "Events that were not told to a subscription, by reason; once for each subscription";
    register_counter(SUPPRESSED, suppressed, &[("reason", &reasons)]);
    register_counter(QUEUED, "Deliveries that were queued.", &[]);
    register_counter(DELIVERED, "Deliveries that their receiver took.", &[]);
    register_counter(FAILED, "Attempts that failed, by reason.", &[("reason", &failures)]);
    register_counter(DIED, "Deliveries that became dead letters.", &[]);
    register_gauge(PENDING, "Deliveries that wait to be taken.", &[]);
    register_gauge(DEAD, "Dead letters.", &[]);
    register_gauge(OLDEST, "How long the oldest delivery that waits has waited.", &[]);
    register_gauge(LAG, "Events of the log that were not looked at for effects yet.", &[]);
}

pub(super) fn suppressed(reason: Suppressed, events: u64) {
    counter!(SUPPRESSED, "reason" => reason.as_str()).increment(events);
}

pub(super) fn queued(deliveries: u64) {
    counter!(QUEUED).increment(deliveries);
}

pub(super) fn delivered() {
    counter!(DELIVERED).increment(1);
}

/// An attempt without an answer, or, with `None`, with one that is no success.
pub(super) fn failed(error: Option<&HostError>) {
    counter!(FAILED, "reason" => error.map_or(STATUS, HostError::as_str)).increment(1);
}

pub(super) fn died(deliveries: u64) {
    counter!(DIED).increment(deliveries);
}

pub(super) fn lag(events: i64) {
    gauge!(LAG).set(events.max(0) as f64);
}

pub(super) fn totals(totals: Totals) {
    gauge!(PENDING).set(totals.pending as f64);
    gauge!(DEAD).set(totals.dead as f64);
    gauge!(OLDEST).set(totals.oldest_seconds);
}
