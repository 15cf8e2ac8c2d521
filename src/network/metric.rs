//! The metrics of this room. A host is never a label: hosts are chosen by strangers.

use metrics::{counter, histogram};
use tokio::time::Instant;

use super::Call;
use super::failure::HostError;
use crate::telemetry::{register_counter, register_histogram};

const REQUESTS: &str = "almanac_network_requests_total";
const BYTES: &str = "almanac_network_bytes_total";
const SECONDS: &str = "almanac_network_request_seconds";
const DOCUMENTS: &str = "almanac_network_documents_total";

const OK: &str = "ok";
/// Nobody wanted the answer any more before it was whole.
const ABANDONED: &str = "abandoned";

/// Where the answer to a question for a DID document came from.
#[derive(Clone, Copy)]
pub(super) enum DocumentFrom {
    Cache,
    /// From a request made for this question or for another one at the same time.
    Host,
    /// No longer fresh, but nobody can say now.
    Stale,
}

impl DocumentFrom {
    const ALL: [DocumentFrom; 3] = [DocumentFrom::Cache, DocumentFrom::Host, DocumentFrom::Stale];

    fn as_str(self) -> &'static str {
        match self {
            DocumentFrom::Cache => "cache",
            DocumentFrom::Host => "host",
            DocumentFrom::Stale => "stale",
        }
    }
}

/// Describes every metric of this room and puts every series at zero. Once, after the recorder is installed.
pub fn register_metrics() {
    let calls: Vec<_> = Call::ALL.iter().map(|call| call.as_str()).collect();
    let outcomes: Vec<_> = [OK, ABANDONED].iter().chain(HostError::WORDS).copied().collect();
    let from: Vec<_> = DocumentFrom::ALL.into_iter().map(DocumentFrom::as_str).collect();
    let labels: &[(&str, &[&str])] = &[("call", &calls), ("outcome", &outcomes)];
    register_counter(REQUESTS, "Requests to other hosts, by call and outcome.", labels);
    register_counter(BYTES, "Bytes of answers taken, after decompression, by call.", &[("call", &calls)]);
    register_histogram(SECONDS, "Duration of requests, waiting for their turn included.", &[("call", &calls)]);
    register_counter(DOCUMENTS, "DID documents asked for, by where the answer came from.", &[("from", &from)]);
}

/// Counts bytes of an answer.
pub(super) fn bytes(call: Call, bytes: usize) {
    counter!(BYTES, "call" => call.as_str()).increment(bytes as u64);
}

/// Counts a question for a document.
pub(super) fn document(from: DocumentFrom) {
    counter!(DOCUMENTS, "from" => from.as_str()).increment(1);
}

/// One request, counted when it ends: by [`end`](Watch::end), or by being dropped.
pub(super) struct Watch {
    call: Call,
    start: Instant,
    outcome: &'static str,
}

impl Watch {
    pub fn start(call: Call) -> Self {
        Watch { call, start: Instant::now(), outcome: ABANDONED }
    }

    pub fn end(mut self, error: Option<&HostError>) {
        self.outcome = error.map_or(OK, HostError::as_str);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        counter!(REQUESTS, "call" => self.call.as_str(), "outcome" => self.outcome).increment(1);
        histogram!(SECONDS, "call" => self.call.as_str()).record(self.start.elapsed().as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;
    use crate::network::HostErrorKind;

    #[test]
    fn every_series_is_there_at_zero_and_no_other_comes() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            register_metrics();
            let series = || handle.render().lines().filter(|line| line.contains("_total")).count();
            let before = series();
            for line in [
                "almanac_network_requests_total{call=\"repo\",outcome=\"cut_off\"} 0",
                "almanac_network_requests_total{call=\"plc_document\",outcome=\"ok\"} 0",
                "almanac_network_bytes_total{call=\"blocks\"} 0",
                "almanac_network_documents_total{from=\"stale\"} 0",
            ] {
                assert!(handle.render().lines().any(|l| l == line), "{line}");
            }
            let status = |code| HostErrorKind::Status { code, name: None, message: None };
            for kind in [
                HostErrorKind::RateLimited { until: Default::default() },
                HostErrorKind::Guard,
                HostErrorKind::NoSuchHost,
                HostErrorKind::Unreachable,
                HostErrorKind::Timeout,
                status(404),
                status(500),
                HostErrorKind::NotXrpc,
                HostErrorKind::TooLarge,
                HostErrorKind::CutOff,
                HostErrorKind::Malformed,
            ] {
                Watch::start(Call::Repo).end(Some(&HostError::new(kind, "a.example", "")));
            }
            Watch::start(Call::Blocks).end(None);
            drop(Watch::start(Call::Blocks));
            assert_eq!(series(), before);
            assert!(handle.render().contains("{call=\"blocks\",outcome=\"abandoned\"} 1"));
        });
    }
}
