//! When what failed is tried again.

use std::time::Duration;

/// The pauses after the first, second, … failure, for a first pause of five seconds.
const PAUSES: [u64; 9] = [5, 30, 2 * 60, 10 * 60, 30 * 60, 2 * 3_600, 5 * 3_600, 10 * 3_600, 10 * 3_600];

/// How often, and how long it is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The first pause; the later ones grow with it. More than zero.
    pub first: Duration,
    /// Attempts in all, 1 to 10.
    pub attempts_max: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Retry { first: Duration::from_secs(PAUSES[0]), attempts_max: Retry::ATTEMPTS }
    }
}

impl Retry {
    /// The most attempts: with the default first pause a little more than a day.
    pub const ATTEMPTS: u32 = PAUSES.len() as u32 + 1;

    /// The pause after so many attempts failed; `None` when that was the last. `chance`, from 0 to 1, moves it by up to a fifth
    /// in both directions, so that what failed together does not come back together.
    pub fn pause(&self, failed: u32, chance: f64) -> Option<Duration> {
        if failed >= self.attempts_max {
            return None;
        }
        let pause = PAUSES.get(failed.checked_sub(1)? as usize)?;
        let scaled = self.first.mul_f64(*pause as f64 / PAUSES[0] as f64);
        Some(scaled.mul_f64(0.8 + 0.4 * chance.clamp(0.0, 1.0)))
    }

    /// A delivery that is older is not sent any more: all pauses at their longest, twice. What waits behind another one of its
    /// account, or for a receiver that is paused, is not told days late.
    pub fn lifetime(&self) -> Duration {
        let all: u64 = PAUSES.iter().sum();
        self.first.mul_f64(all as f64 / PAUSES[0] as f64 * 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_about_a_day_and_end() {
        let retry = Retry::default();
        let seconds = |failed, chance| retry.pause(failed, chance).map(|pause| pause.as_secs());
        let pauses: Vec<_> = (1..=10).map(|failed| seconds(failed, 0.5)).collect();
        let wanted = [5, 30, 120, 600, 1_800, 7_200, 18_000, 36_000, 36_000];
        assert_eq!(pauses[..9], wanted.map(Some));
        assert_eq!((pauses[9], seconds(0, 0.5)), (None, None));
        assert_eq!((seconds(1, 0.0), seconds(1, 1.0)), (Some(4), Some(6)), "by chance");
        let all: u64 = wanted.iter().sum();
        assert!((24..30).contains(&(all / 3_600)), "{all} s");
        assert_eq!(retry.lifetime().as_secs(), 2 * all);
    }

    #[test]
    fn pauses_follow_the_first_one_and_attempts_are_counted() {
        let retry = Retry { first: Duration::from_millis(5), attempts_max: 3 };
        assert_eq!(retry.pause(2, 0.5), Some(Duration::from_millis(30)));
        assert_eq!(retry.pause(3, 0.5), None);
    }
}
