//! Counting what became of every frame, in this process's own report and in the metrics.

use std::collections::BTreeMap;

use metrics::{Counter, counter, describe_counter, describe_gauge, describe_histogram, gauge};

use crate::decode::Reason;
use crate::filter::DropReason;

/// What became of the frames so far.
pub struct Tally {
    /// Frames judged.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames whose content was kept, or that moved a repository in scope.
    pub kept: u64,
    /// Account and identity words set aside.
    pub bystanders: u64,
    dropped: [u64; DropReason::ALL.len()],
    refused: BTreeMap<Reason, u64>,
    counters: Counters,
}

struct Counters {
    frames: Counter,
    kept: Counter,
    bystanders: Counter,
    dropped: Vec<Counter>,
}

impl Default for Tally {
    fn default() -> Self {
        let dropped = |reason: &DropReason| counter!("almanac_ingest_dropped_frames_total", "reason" => reason.as_str());
        Tally {
            frames: 0,
            bytes: 0,
            kept: 0,
            bystanders: 0,
            dropped: [0; DropReason::ALL.len()],
            refused: BTreeMap::new(),
            counters: Counters {
                frames: counter!("almanac_ingest_frames_total"),
                kept: counter!("almanac_ingest_kept_frames_total"),
                bystanders: counter!("almanac_ingest_bystander_frames_total"),
                dropped: DropReason::ALL.iter().map(dropped).collect(),
            },
        }
    }
}

impl Tally {
    pub(super) fn frame(&mut self, bytes: usize) {
        self.frames += 1;
        self.bytes += bytes as u64;
        self.counters.frames.increment(1);
    }

    pub(super) fn kept(&mut self) {
        self.kept += 1;
        self.counters.kept.increment(1);
    }

    pub(super) fn bystander(&mut self) {
        self.bystanders += 1;
        self.counters.bystanders.increment(1);
    }

    pub(super) fn dropped(&mut self, reason: DropReason) {
        self.dropped[reason as usize] += 1;
        self.counters.dropped[reason as usize].increment(1);
    }

    pub(super) fn refused(&mut self, reason: Reason) {
        *self.refused.entry(reason).or_default() += 1;
        counter!("almanac_ingest_refused_frames_total", "layer" => reason.layer().as_str(), "reason" => reason.as_str())
            .increment(1);
    }

    /// Frames dropped, by every reason there is.
    pub fn dropped_by_reason(&self) -> impl Iterator<Item = (DropReason, u64)> {
        DropReason::ALL.iter().map(|reason| (*reason, self.dropped[*reason as usize]))
    }

    /// Frames refused, by the reasons that occurred.
    pub fn refused_by_reason(&self) -> &BTreeMap<Reason, u64> {
        &self.refused
    }
}

/// Describes this room's metrics and makes every series exist at zero.
pub fn describe_metrics() {
    describe_counter!("almanac_ingest_frames_total", "Frames judged");
    describe_counter!("almanac_ingest_kept_frames_total", "Frames kept, or that moved a repository in scope");
    describe_counter!("almanac_ingest_bystander_frames_total", "Account and identity words of accounts out of scope");
    describe_counter!("almanac_ingest_dropped_frames_total", "Frames that the filter dropped, by reason");
    describe_counter!("almanac_ingest_refused_frames_total", "Frames that broke a rule, by layer and reason");
    describe_counter!("almanac_ingest_host_notices_total", "Infos and errors from hosts about the stream, by name");
    describe_counter!("almanac_log_appended_events_total", "Events new in the log");
    describe_counter!("almanac_log_duplicate_events_total", "Events that the log had already");
    describe_counter!("almanac_log_failed_appends_total", "Transactions that the database did not do, to be tried again");
    describe_gauge!("almanac_log_position_events", "The log's last position");
    describe_histogram!("almanac_log_batch_events", "Events in one transaction");
    describe_histogram!("almanac_log_append_seconds", "Duration of one transaction");
    drop(Tally::default());
    for reason in Reason::ALL {
        let (layer, reason) = (reason.layer().as_str(), reason.as_str());
        counter!("almanac_ingest_refused_frames_total", "layer" => layer, "reason" => reason).increment(0);
    }
    for name in super::pipeline::NOTICES {
        counter!("almanac_ingest_host_notices_total", "name" => *name).increment(0);
    }
    counter!("almanac_log_appended_events_total").increment(0);
    counter!("almanac_log_duplicate_events_total").increment(0);
    counter!("almanac_log_failed_appends_total").increment(0);
    gauge!("almanac_log_position_events").set(0.0);
}
