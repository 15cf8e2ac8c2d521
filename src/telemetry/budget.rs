//! Hostile input may move counters, not fill disks: a budget of log lines per reason and minute.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(60);

/// How many lines each reason may write per minute. A reason is `&'static str`, so that nobody outside can invent one.
///
/// ```
/// use almanac::telemetry::LogBudget;
/// static REFUSED: std::sync::LazyLock<LogBudget> = std::sync::LazyLock::new(|| LogBudget::new(5));
/// if let Some(permit) = REFUSED.take("bad_header") {
///     tracing::warn!(reason = "bad_header", suppressed = permit.suppressed, "a frame was refused");
/// }
/// ```
#[derive(Debug)]
pub struct LogBudget {
    lines_per_minute: u32,
    reasons: Mutex<HashMap<&'static str, Minute>>,
}

#[derive(Debug)]
struct Minute {
    began: Instant,
    lines: u32,
    suppressed: u64,
}

/// Leave to write one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permit {
    /// How many lines of this reason were not written since the last one that was. A line that gets through says so.
    pub suppressed: u64,
}

impl LogBudget {
    /// A budget of `lines_per_minute` for every reason.
    pub fn new(lines_per_minute: u32) -> Self {
        LogBudget { lines_per_minute, reasons: Mutex::default() }
    }

    /// Asks to write one line now.
    pub fn take(&self, reason: &'static str) -> Option<Permit> {
        self.take_at(reason, Instant::now())
    }

    fn take_at(&self, reason: &'static str, now: Instant) -> Option<Permit> {
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = reasons.entry(reason).or_insert(Minute { began: now, lines: 0, suppressed: 0 });
        if now.saturating_duration_since(minute.began) >= WINDOW {
            minute.began = now;
            minute.lines = 0;
        }
        if minute.lines >= self.lines_per_minute {
            minute.suppressed += 1;
            return None;
        }
        minute.lines += 1;
        Some(Permit { suppressed: std::mem::take(&mut minute.suppressed) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_per_reason_and_minute_and_the_rest_is_counted() {
        let budget = LogBudget::new(2);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let lines = (0..50).filter(|s| budget.take_at("a", at(*s)).is_some()).count();
        assert_eq!(lines, 2);
        assert_eq!(budget.take_at("b", at(50)), Some(Permit { suppressed: 0 }), "another reason has its own budget");
        assert_eq!(budget.take_at("a", at(60)), Some(Permit { suppressed: 48 }));
        assert_eq!(budget.take_at("a", at(61)), Some(Permit { suppressed: 0 }));
        assert_eq!(budget.take_at("a", at(62)), None);
    }
}
