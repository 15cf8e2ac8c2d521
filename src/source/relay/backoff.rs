//! Pauses between attempts.

use std::time::Duration;

/// A host may ask for a longer pause than our own longest, but not for the whole day.
const ASKED_MAX: Duration = Duration::from_secs(300);

/// Exponential with full jitter: the pause is drawn from a range that doubles with each failure in a row, so that a
/// thousand clients of a restarted host do not come back in one moment.
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    attempts: u32,
}

impl Backoff {
    pub fn new(min: Duration, max: Duration) -> Self {
        Backoff { min, max: max.max(min), attempts: 0 }
    }

    /// Failures in a row.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    pub fn reset(&mut self) {
        self.attempts = 0;
    }

    /// Counts a failure and draws the pause after it: at least `min`, and at least what the host asked for.
    pub fn next(&mut self, asked: Option<Duration>) -> Duration {
        self.attempts = self.attempts.saturating_add(1);
        let top = self.min.saturating_mul(1 << self.attempts.min(20)).min(self.max);
        let drawn = self.min + (top - self.min).mul_f64(rand::random::<f64>());
        drawn.max(asked.unwrap_or_default().min(ASKED_MAX))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Backoff;

    #[test]
    fn pauses_grow_to_a_limit_and_start_anew() {
        let (min, max) = (Duration::from_millis(100), Duration::from_secs(2));
        let mut backoff = Backoff::new(min, max);
        for attempt in 1..100u32 {
            let pause = backoff.next(None);
            assert!(pause >= min && pause <= max && pause <= min * (1 << attempt.min(10)), "{attempt}: {pause:?}");
        }
        assert_eq!(backoff.attempts(), 99);
        backoff.reset();
        assert!(backoff.next(None) <= min * 2);
    }

    #[test]
    fn pauses_differ() {
        let mut backoff = Backoff { min: Duration::from_millis(1), max: Duration::from_secs(60), attempts: 30 };
        let first = backoff.next(None);
        assert!((0..20).any(|_| backoff.next(None) != first));
    }

    #[test]
    fn a_host_may_ask_for_more_within_reason() {
        let mut backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(2));
        assert_eq!(backoff.next(Some(Duration::from_secs(9))), Duration::from_secs(9));
        assert_eq!(backoff.next(Some(Duration::from_secs(86_400))), Duration::from_secs(300));
    }
}
