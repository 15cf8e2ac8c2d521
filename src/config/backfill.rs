//! The settings under `backfill.`.

use std::time::Duration;

use super::layers::{ConfigError, Layers};
use crate::source::backfill::{Pauses, Strategy};

/// How repositories are compared and fetched.
#[derive(Clone, Debug, PartialEq)]
pub struct BackfillSettings {
    /// Whether `serve` compares and fetches by itself.
    pub enabled: bool,
    /// How a repository is fetched when nobody says.
    pub strategy: Strategy,
    /// Jobs at once.
    pub workers: usize,
    /// Jobs at once for one host.
    pub per_host: usize,
    /// How often every account is compared with its host; `None`: never.
    pub coverage_every: Option<Duration>,
    /// Repositories above this are not fetched whole.
    pub repo_bytes_max: u64,
    /// How long failing hosts are left alone.
    pub pauses: Pauses,
}

/// Reads them.
pub(super) fn settings(layers: &Layers) -> Result<BackfillSettings, ConfigError> {
    let number = |name: &'static str, range: std::ops::RangeInclusive<u64>| -> Result<u64, ConfigError> {
        let text = layers.text(name).unwrap_or_default();
        text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
            layers.refuse(name, format!("{text:?} is no whole number from {} to {}", range.start(), range.end()))
        })
    };
    let enabled = match layers.text("backfill.mode") {
        Some("auto") => true,
        Some("off") => false,
        other => {
            let other = other.unwrap_or_default();
            return Err(layers.refuse("backfill.mode", format!("{other:?} is neither `auto` nor `off`")));
        }
    };
    let every = layers.text("backfill.coverage_every").unwrap_or("off");
    let strategy = layers.text("backfill.strategy").unwrap_or("auto");
    let first = layers.text("backfill.host_pause").unwrap_or_default();
    Ok(BackfillSettings {
        enabled,
        strategy: strategy.parse().map_err(|e| layers.refuse("backfill.strategy", e))?,
        workers: usize::try_from(number("backfill.workers", 1..=1_000)?).expect("at most a thousand"),
        per_host: usize::try_from(number("backfill.per_host", 1..=100)?).expect("at most a hundred"),
        coverage_every: match every {
            "off" => None,
            text => Some(duration(text).map_err(|e| layers.refuse("backfill.coverage_every", e))?),
        },
        repo_bytes_max: number("backfill.repo_bytes_max", 1_000..=1_000_000_000_000)?,
        pauses: Pauses {
            first: duration(first).map_err(|e| layers.refuse("backfill.host_pause", e))?,
            ..Pauses::default()
        },
    })
}

/// `30s`, `15m`, `6h`, `7d`, `500ms`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => 0,
    };
    let total = number.parse::<u64>().ok().and_then(|number| number.checked_mul(millis)).filter(|total| *total > 0);
    total.map(Duration::from_millis).ok_or_else(|| format!("{text:?} is no time; write it like 30s, 15m, 6h or 7d"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        assert_eq!(duration("6h"), Ok(Duration::from_secs(21_600)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        for bad in ["6", "h", "0s", "-1h", "6 h", "99999999999999999999d", ""] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
