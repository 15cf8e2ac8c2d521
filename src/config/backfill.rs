//! The settings under `backfill.`.

use std::time::Duration;

use super::age::parse_pause;
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
            text => Some(parse_pause(text).map_err(|e| layers.refuse("backfill.coverage_every", e))?),
        },
        repo_bytes_max: number("backfill.repo_bytes_max", 1_000..=1_000_000_000_000)?,
        pauses: Pauses {
            first: parse_pause(first).map_err(|e| layers.refuse("backfill.host_pause", e))?,
            ..Pauses::default()
        },
    })
}
