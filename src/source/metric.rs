//! The metrics of this room: names, descriptions, and handles that the hot path keeps.

use metrics::{Counter, Gauge, counter, gauge};

use super::gap::GapKind;
use super::relay::DisconnectReason;
use crate::event::Upstream;
use crate::telemetry::{register_counter, register_gauge};

const FRAMES: &str = "almanac_source_frames_total";
const BYTES: &str = "almanac_source_bytes_total";
const IGNORED: &str = "almanac_source_ignored_messages_total";
const CONNECTS: &str = "almanac_source_connects_total";
const DISCONNECTS: &str = "almanac_source_disconnects_total";
/// Counted where gaps are found.
pub(super) const GAPS: &str = "almanac_source_gaps_total";
const QUEUE_FRAMES: &str = "almanac_source_queue_frames";
const QUEUE_BYTES: &str = "almanac_source_queue_bytes";

/// Describes every metric of this room and puts the series without an upstream label at zero. Call it once, after the
/// recorder is installed and before the first queue or subscription is made: handles bind to the recorder then.
/// The series of an upstream appear at zero when its subscription starts.
pub fn describe_metrics() {
    let reasons: Vec<_> = DisconnectReason::ALL.iter().map(|reason| reason.as_str()).collect();
    let upstreams: (&str, &[&str]) = ("upstream", &[]);
    register_counter(FRAMES, "Frames received and handed on, by upstream.", &[upstreams]);
    register_counter(BYTES, "Bytes of frames received and handed on, by upstream.", &[upstreams]);
    register_counter(IGNORED, "Text messages received and ignored, by upstream.", &[upstreams]);
    register_counter(CONNECTS, "Websocket connections established.", &[]);
    register_counter(DISCONNECTS, "Connections lost and attempts failed, by reason.", &[("reason", &reasons)]);
    let kinds: Vec<_> = GapKind::ALL.iter().map(|kind| kind.as_str()).collect();
    register_counter(GAPS, "Places found where an upstream's frames may be missing, by kind.", &[("kind", &kinds)]);
    register_gauge(QUEUE_FRAMES, "Frames handed on by sources and not yet finished by ingest.", &[]);
    register_gauge(QUEUE_BYTES, "Bytes of frames handed on by sources and not yet finished by ingest.", &[]);
}

/// The handles of one subscription.
pub(super) struct RelayMetrics {
    pub frames: Counter,
    pub bytes: Counter,
    pub ignored: Counter,
    pub connects: Counter,
}

impl RelayMetrics {
    pub fn new(upstream: &Upstream) -> Self {
        let at_zero = |name| {
            let counter = counter!(name, "upstream" => upstream.name.to_string());
            counter.increment(0);
            counter
        };
        RelayMetrics {
            frames: at_zero(FRAMES),
            bytes: at_zero(BYTES),
            ignored: at_zero(IGNORED),
            connects: counter!(CONNECTS),
        }
    }

    pub fn disconnected(&self, reason: DisconnectReason) {
        counter!(DISCONNECTS, "reason" => reason.as_str()).increment(1);
    }
}

/// The gauges of one queue. Several queues add up.
pub(super) struct QueueGauges {
    pub frames: Gauge,
    pub bytes: Gauge,
}

impl QueueGauges {
    pub fn new() -> Self {
        QueueGauges { frames: gauge!(QUEUE_FRAMES), bytes: gauge!(QUEUE_BYTES) }
    }
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::RelayMetrics;
    use crate::event::{Upstream, UpstreamKind};

    #[test]
    fn every_series_is_there_at_zero() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            super::describe_metrics();
            RelayMetrics::new(&Upstream::new(UpstreamKind::Relay, "relay.example"));
        });
        let rendered = handle.render();
        for series in [
            "almanac_source_frames_total{upstream=\"relay.example\"} 0",
            "almanac_source_bytes_total{upstream=\"relay.example\"} 0",
            "almanac_source_ignored_messages_total{upstream=\"relay.example\"} 0",
            "almanac_source_connects_total 0",
            "almanac_source_disconnects_total{reason=\"dead\"} 0",
            "almanac_source_disconnects_total{reason=\"too_large\"} 0",
            "almanac_source_gaps_total{kind=\"jump\"} 0",
            "almanac_source_gaps_total{kind=\"future_cursor\"} 0",
            "almanac_source_queue_frames 0",
            "almanac_source_queue_bytes 0",
        ] {
            assert!(rendered.lines().any(|line| line == series), "{series} in:\n{rendered}");
        }
    }
}
