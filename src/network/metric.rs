//! The metrics of this room. A host is never a label: hosts are chosen by strangers.

use super::Call;
use super::failure::HostError;
use crate::telemetry::register_counter;

const REQUESTS: &str = "almanac_network_requests_total";

/// Describes every metric of this room and puts every series at zero. Once, after the recorder is installed.
pub fn register_metrics() {
    let calls: Vec<_> = Call::ALL.iter().map(|call| call.as_str()).collect();
    let outcomes: Vec<_> = ["ok"].iter().chain(HostError::WORDS).copied().collect();
    register_counter(
        REQUESTS,
        "Requests to other hosts, by call and outcome.",
        &[("call", &calls), ("outcome", &outcomes)],
    );
}
