//! What the paths are to reach, in one place: which figure of which contest, and how much of it.

use serde_json::{Value, json};

use crate::contest::{Outcome, Row};

/// A bound on one figure.
pub struct Target {
    /// The path, as the reports call it.
    pub path: &'static str,
    /// What the figure counts: `frames/CPU-s`, `× the serde envelope`, `ms`.
    pub unit: &'static str,
    /// How much of it.
    pub bound: Bound,
    /// Where it is read.
    pub from: Figure,
}

/// Which way a figure is good.
#[derive(Clone, Copy)]
pub enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// A figure of a contest, which is found by a part of its name, or of what the end-to-end runs found.
#[derive(Clone, Copy)]
pub enum Figure {
    /// Almanac's units a second of CPU time.
    PerCpuSecond(&'static str),
    /// Almanac's units a second of wall time.
    PerWallSecond(&'static str),
    /// Milliseconds of CPU time that one unit takes the contender whose name has the second part.
    CpuMillis(&'static str, &'static str),
    /// How many times the CPU time of Almanac the contender takes whose name has the second part.
    Times(&'static str, &'static str),
    /// A figure that is no contest, by its name: see [`Measured`].
    Named(&'static str),
}

/// Figures that are no contest's: name and value.
pub type Measured = Vec<(&'static str, f64)>;

use Bound::{AtLeast, AtMost};
use Figure::{CpuMillis, Named, PerCpuSecond, PerWallSecond, Times};

/// All of them, in the order in which data flows.
pub const TARGETS: &[Target] = &[
    target("outline and filter", "frames/CPU-s", AtLeast(8e6), PerCpuSecond("outline and filter")),
    target("outline and filter", "× the serde envelope", AtLeast(12.0), Times("outline and filter", "whole envelope")),
    target("full decode", "frames/CPU-s", AtLeast(200e3), PerCpuSecond("full decode, network")),
    target("full verification", "commits/CPU-s", AtLeast(22e3), PerCpuSecond("full verification, network")),
    target("websocket to verdict", "frames/CPU-s", AtLeast(450e3), PerCpuSecond("websocket")),
    target("replay to nothing", "× reading the container", AtLeast(0.8), Times("replay to nothing", "doing nothing")),
    target("replay to Postgres", "records/s", AtLeast(12e3), PerWallSecond("replay to Postgres")),
    target("rebuild of the index", "events/s", AtLeast(40e3), PerWallSecond("rebuild")),
    target(
        "a repository of 5.2 MB, all of it hashed",
        "ms CPU",
        AtMost(12.0),
        CpuMillis("CAR", "Almanac, the whole tree"),
    ),
    target("frame to visible row, p50", "ms", AtMost(15.0), Named(LIVE_P50)),
    target("frame to visible row, p99", "ms", AtMost(60.0), Named(LIVE_P99)),
    target("memory while live", "MB", AtMost(60.0), Named(LIVE_RSS)),
    target("CPU while live", "% of a core", AtMost(1.0), Named(LIVE_CPU)),
    target("lists of accounts", "bytes/DID", AtMost(64.0), Named(LIST_BYTES)),
];

/// Milliseconds from a frame sent to its row seen, the middle one.
pub const LIVE_P50: &str = "live p50";
/// The same, all but one in a hundred.
pub const LIVE_P99: &str = "live p99";
/// Megabytes of the serving process at most.
pub const LIVE_RSS: &str = "live memory";
/// Hundredths of a core that the serving process takes.
pub const LIVE_CPU: &str = "live CPU";
/// Bytes that a DID of a list takes.
pub const LIST_BYTES: &str = "bytes a DID";

const fn target(path: &'static str, unit: &'static str, bound: Bound, from: Figure) -> Target {
    Target { path, unit, bound, from }
}

impl Target {
    /// The figure, if this run has it.
    pub fn measured(&self, outcomes: &[Outcome], others: &Measured) -> Option<f64> {
        let contest = |part: &str| outcomes.iter().find(|outcome| outcome.name.contains(part));
        let almanac = |part: &str| contest(part)?.rows.first();
        let row_of = |part: &str, who: &str| contest(part)?.rows.iter().find(|row: &&Row| row.name.contains(who));
        match self.from {
            PerCpuSecond(name) => almanac(name).map(|row| row.per_cpu_second),
            PerWallSecond(name) => almanac(name).map(|row| row.per_wall_second),
            CpuMillis(name, who) => row_of(name, who).map(|row| 1e3 / row.per_cpu_second),
            Times(name, other) => row_of(name, other).map(|row| row.almanac_is.0),
            Named(name) => others.iter().find(|(known, _)| *known == name).map(|(_, value)| *value),
        }
    }

    /// Whether that is enough.
    pub fn met(&self, measured: f64) -> bool {
        match self.bound {
            AtLeast(bound) => measured >= bound,
            AtMost(bound) => measured <= bound,
        }
    }

    /// For machines.
    pub fn to_json(&self, outcomes: &[Outcome], others: &Measured) -> Value {
        let (direction, bound) = match self.bound {
            AtLeast(bound) => ("at_least", bound),
            AtMost(bound) => ("at_most", bound),
        };
        let measured = self.measured(outcomes, others);
        let (figure, contest) = match self.from {
            PerCpuSecond(name) => ("per_cpu_second", Some(name)),
            PerWallSecond(name) => ("per_wall_second", Some(name)),
            CpuMillis(name, _) => ("cpu_millis", Some(name)),
            Times(name, _) => ("times", Some(name)),
            Named(_) => ("named", None),
        };
        let contest = contest.and_then(|part| outcomes.iter().find(|outcome| outcome.name.contains(part)));
        json!({
            "path": self.path, "unit": self.unit, "bound": direction, "target": bound, "measured": measured,
            "met": measured.map(|measured| self.met(measured)), "figure": figure,
            "contest": contest.map(|outcome| outcome.name),
        })
    }
}
