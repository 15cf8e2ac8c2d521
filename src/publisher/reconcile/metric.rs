//! The metrics of reconciliation.

use metrics::{counter, gauge};

use super::judge::Ignored;
use crate::publisher::unseen::Unseen;
use crate::telemetry::{register_counter, register_gauge};

const FOUND: &str = "almanac_publisher_reconciled_findings_total";
const IGNORED: &str = "almanac_publisher_reconcile_ignored_events_total";
const LAG: &str = "almanac_publisher_reconcile_lag_events";
const UNSEEN: &str = "almanac_publisher_unseen_intents";
const OLDEST: &str = "almanac_publisher_unseen_oldest_seconds";

/// What was found in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Intents that it confirms.
    pub confirmed: u64,
    /// Records that somebody else edited.
    pub edited: u64,
    /// Records that somebody else deleted.
    pub deleted: u64,
    /// Records of our users that we did not know.
    pub adopted: u64,
}

impl std::ops::AddAssign for Found {
    fn add_assign(&mut self, more: Found) {
        self.confirmed += more.confirmed;
        self.edited += more.edited;
        self.deleted += more.deleted;
        self.adopted += more.adopted;
    }
}

/// Describes these metrics and puts every series at zero.
pub fn register_metrics() {
    let ignored: Vec<_> = Ignored::ALL.iter().map(|reason| reason.as_str()).collect();
    register_counter(
        FOUND,
        "What the log said of our records: intents confirmed, records edited elsewhere, deleted elsewhere, adopted",
        &[("finding", &["confirmed", "edited_elsewhere", "deleted_elsewhere", "adopted"])],
    );
    register_counter(
        IGNORED,
        "Events about records of our users that say nothing about them, by reason",
        &[("reason", &ignored)],
    );
    register_gauge(LAG, "Events of the log that were not looked at for our records yet", &[]);
    register_gauge(UNSEEN, "Intents that a PDS took and that our stream has not shown for too long", &[]);
    register_gauge(OLDEST, "How long ago the PDS took the oldest of them", &[]);
}

pub(super) fn found(found: Found) {
    for (what, many) in [
        ("confirmed", found.confirmed),
        ("edited_elsewhere", found.edited),
        ("deleted_elsewhere", found.deleted),
        ("adopted", found.adopted),
    ] {
        counter!(FOUND, "finding" => what).increment(many);
    }
}

pub(super) fn ignored(reason: Ignored) {
    counter!(IGNORED, "reason" => reason.as_str()).increment(1);
}

pub(super) fn lag(events: i64) {
    gauge!(LAG).set(events as f64);
}

pub(super) fn unseen(unseen: &Unseen) {
    gauge!(UNSEEN).set(unseen.intents as f64);
    gauge!(OLDEST).set(unseen.oldest_seconds as f64);
}
