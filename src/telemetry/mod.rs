//! How a running Almanac is seen: its log lines and its metrics.
//!
//! In: what the rooms say. Out: lines on stderr, and numbers for whoever scrapes.
//! Always true: a metric is named `almanac_<area>_<thing>_<unit>[_total]`; its labels are closed sets, and every
//! series of such a set is there from the start, at zero, so that an alert on it works before the first mishap; what
//! strangers send may move counters, but the lines that it writes are bounded per reason and minute.
//! Never: a line on stdout, which belongs to results; a label whose values strangers choose; a network connection.

mod budget;
mod crash;
mod logging;
mod metrics;

pub use self::metrics::{
    Kind, install_metrics, metric_name_is_valid, register_counter, register_gauge, register_histogram, upkeep,
};
pub use budget::{LogBudget, Permit};
pub use crash::crash_point;
pub use logging::{LogFormat, init_logging};
