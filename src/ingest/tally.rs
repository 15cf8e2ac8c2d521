//! Counting what became of every frame, in this process's own report and in the metrics.

use std::collections::BTreeMap;

use metrics::{Counter, counter, describe_counter};

use crate::decode::Reason;
use crate::event::Refusal;
use crate::filter::DropReason;
use crate::telemetry::{register_gauge, register_histogram};

/// The names under which hosts' notices are counted; all others are `other`.
const NOTICES: &[&str] = &["OutdatedCursor", "FutureCursor", "ConsumerTooSlow", "other"];

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
    /// Frames that had to wait for their account's key.
    pub held: u64,
    /// Frames of followed records that were refused and are kept in quarantine.
    pub quarantined: u64,
    dropped: [u64; DropReason::ALL.len()],
    refused: BTreeMap<Reason, u64>,
    frames_counter: Lagging,
    kept_counter: Lagging,
    bystanders_counter: Lagging,
    held_counter: Lagging,
    dropped_counters: [Lagging; DropReason::ALL.len()],
}

/// A metric that is told once for many frames: an atomic addition for each would cost more than dropping one.
struct Lagging {
    counter: Counter,
    told: u64,
}

impl Lagging {
    fn new(counter: Counter) -> Self {
        Lagging { counter, told: 0 }
    }

    fn catch_up(&mut self, count: u64) {
        if count > self.told {
            self.counter.increment(count - self.told);
            self.told = count;
        }
    }
}

impl Default for Tally {
    fn default() -> Self {
        let lagging = |name| Lagging::new(counter!(name));
        let dropped = |at: usize| {
            let reason = DropReason::ALL[at].as_str();
            Lagging::new(counter!("almanac_ingest_dropped_frames_total", "reason" => reason))
        };
        Tally {
            frames: 0,
            bytes: 0,
            kept: 0,
            bystanders: 0,
            held: 0,
            quarantined: 0,
            dropped: [0; DropReason::ALL.len()],
            refused: BTreeMap::new(),
            frames_counter: lagging("almanac_ingest_frames_total"),
            kept_counter: lagging("almanac_ingest_kept_frames_total"),
            bystanders_counter: lagging("almanac_ingest_bystander_frames_total"),
            held_counter: lagging("almanac_ingest_held_frames_total"),
            dropped_counters: std::array::from_fn(dropped),
        }
    }
}

impl Tally {
    /// Brings the metrics up to what is counted here. What happens often is counted here alone until then; what is rare goes
    /// into the metrics at once.
    pub(super) fn publish(&mut self) {
        self.frames_counter.catch_up(self.frames);
        self.kept_counter.catch_up(self.kept);
        self.bystanders_counter.catch_up(self.bystanders);
        self.held_counter.catch_up(self.held);
        for (counter, count) in self.dropped_counters.iter_mut().zip(self.dropped) {
            counter.catch_up(count);
        }
    }

    pub(super) fn frame(&mut self, bytes: usize) {
        self.frames += 1;
        self.bytes += bytes as u64;
    }

    pub(super) fn kept(&mut self) {
        self.kept += 1;
    }

    pub(super) fn bystander(&mut self) {
        self.bystanders += 1;
    }

    pub(super) fn held(&mut self) {
        self.held += 1;
    }

    pub(super) fn dropped(&mut self, reason: DropReason) {
        self.dropped[reason as usize] += 1;
    }

    pub(super) fn refused(&mut self, reason: Reason) {
        *self.refused.entry(reason).or_default() += 1;
        counter!("almanac_ingest_refused_frames_total", "layer" => reason.layer().as_str(), "reason" => reason.as_str())
            .increment(1);
    }

    pub(super) fn quarantined(&mut self, reason: &'static str) {
        self.quarantined += 1;
        counter!("almanac_ingest_quarantined_records_total", "reason" => reason).increment(1);
    }

    pub(super) fn notice(&mut self, name: &str) {
        let name = NOTICES.iter().find(|known| **known == name).unwrap_or(&"other");
        counter!("almanac_ingest_host_notices_total", "name" => *name).increment(1);
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

/// Every reason for which a frame is in quarantine. `wrong_host` is one of either kind.
pub fn quarantine_reasons() -> impl Iterator<Item = &'static str> {
    let of_origin = Refusal::ALL.into_iter().map(Refusal::as_str);
    let others = Reason::ALL.iter().map(|reason| reason.as_str());
    of_origin.chain(others.filter(|word| Refusal::from_word(word).is_none()))
}

/// Describes this room's metrics and makes every series exist at zero.
pub fn register_metrics() {
    use crate::telemetry::register_counter as count;
    count("almanac_ingest_frames_total", "Frames judged", &[]);
    count("almanac_ingest_kept_frames_total", "Frames kept, or that moved a repository in scope", &[]);
    count("almanac_ingest_bystander_frames_total", "Account and identity words of accounts out of scope", &[]);
    count("almanac_ingest_held_frames_total", "Frames that had to wait for their account's key", &[]);
    register_gauge("almanac_ingest_waiting_frames", "Frames that wait for their account's key now", &[]);
    register_gauge("almanac_ingest_waiting_bytes", "Bytes of the frames that wait now", &[]);
    let reasons: Vec<&'static str> = DropReason::ALL.iter().map(|reason| reason.as_str()).collect();
    count("almanac_ingest_dropped_frames_total", "Frames that the filter dropped, by reason", &[("reason", &reasons)]);
    describe_counter!("almanac_ingest_refused_frames_total", "Frames that broke a rule, by layer and reason");
    for reason in Reason::ALL {
        let (layer, reason) = (reason.layer().as_str(), reason.as_str());
        counter!("almanac_ingest_refused_frames_total", "layer" => layer, "reason" => reason).increment(0);
    }
    describe_counter!("almanac_ingest_quarantined_records_total", "Refused frames put into quarantine, by reason");
    for reason in quarantine_reasons() {
        counter!("almanac_ingest_quarantined_records_total", "reason" => reason).increment(0);
    }
    let reasons: Vec<&'static str> = quarantine_reasons().collect();
    register_gauge(
        "almanac_ingest_quarantine_records",
        "Refused frames in quarantine now, by reason",
        &[("reason", &reasons)],
    );
    register_gauge("almanac_ingest_quarantine_bytes", "What quarantine takes of the disk now, about", &[]);
    let help = "Refused frames for which quarantine had no room";
    count("almanac_ingest_quarantine_overflow_total", help, &[]);
    let help = "Infos and errors from hosts about the stream, by name";
    count("almanac_ingest_host_notices_total", help, &[("name", NOTICES)]);
    count("almanac_event_log_appended_events_total", "Events new in the log", &[]);
    count("almanac_event_log_duplicate_events_total", "Events that the log had already", &[]);
    count(
        "almanac_event_log_failed_appends_total",
        "Transactions that the database did not do, to be tried again",
        &[],
    );
    register_gauge("almanac_event_log_position_events", "The log's last position", &[]);
    register_histogram("almanac_event_log_batch_events", "Events in one transaction", &[]);
    register_histogram("almanac_event_log_append_seconds", "Duration of one transaction", &[]);
}
