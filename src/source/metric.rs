//! The metrics of this room: names, descriptions, and handles that the hot path keeps.

use metrics::{Counter, Unit, counter, describe_counter, describe_gauge, gauge};

use super::relay::DisconnectReason;
use crate::event::Upstream;

const FRAMES: &str = "almanac_source_frames_total";
const BYTES: &str = "almanac_source_bytes_total";
const IGNORED: &str = "almanac_source_ignored_messages_total";
const CONNECTS: &str = "almanac_source_connects_total";
const DISCONNECTS: &str = "almanac_source_disconnects_total";
const QUEUE_FRAMES: &str = "almanac_source_queue_frames";
const QUEUE_BYTES: &str = "almanac_source_queue_bytes";

/// Describes every metric of this room and puts the series without an upstream label at zero. Call it once, after the
/// recorder is installed and before the first queue or subscription is made: handles bind to the recorder then.
/// The series of an upstream appear at zero when its subscription starts.
pub fn describe_metrics() {
    describe_counter!(FRAMES, Unit::Count, "Frames received and handed on, by upstream.");
    describe_counter!(BYTES, Unit::Bytes, "Bytes of frames received and handed on, by upstream.");
    describe_counter!(IGNORED, Unit::Count, "Text messages received and ignored, by upstream.");
    describe_counter!(CONNECTS, Unit::Count, "Websocket connections established.");
    describe_counter!(DISCONNECTS, Unit::Count, "Connections lost and attempts failed, by reason.");
    describe_gauge!(QUEUE_FRAMES, Unit::Count, "Frames handed on by sources and not yet finished by ingest.");
    describe_gauge!(QUEUE_BYTES, Unit::Bytes, "Bytes of frames handed on by sources and not yet finished by ingest.");
    counter!(CONNECTS).absolute(0);
    for reason in DisconnectReason::ALL {
        counter!(DISCONNECTS, "reason" => reason.as_str()).absolute(0);
    }
    gauge!(QUEUE_FRAMES).set(0.0);
    gauge!(QUEUE_BYTES).set(0.0);
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
        let name = || upstream.name.to_string();
        RelayMetrics {
            frames: counter!(FRAMES, "upstream" => name()),
            bytes: counter!(BYTES, "upstream" => name()),
            ignored: counter!(IGNORED, "upstream" => name()),
            connects: counter!(CONNECTS),
        }
    }

    pub fn disconnected(&self, reason: DisconnectReason) {
        counter!(DISCONNECTS, "reason" => reason.as_str()).increment(1);
    }
}

/// The gauges of one queue. Several queues add up.
pub(super) struct QueueGauges {
    pub frames: metrics::Gauge,
    pub bytes: metrics::Gauge,
}

impl QueueGauges {
    pub fn new() -> Self {
        QueueGauges { frames: gauge!(QUEUE_FRAMES), bytes: gauge!(QUEUE_BYTES) }
    }
}
