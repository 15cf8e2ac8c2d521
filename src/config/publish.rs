//! The settings under `publish.`.

use std::time::Duration;

use super::age::parse_pause;
use super::layers::{ConfigError, Layers};

/// How wishes are carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishSettings {
    /// How long whoever wishes waits for the PDS before the answer says that it goes on without him.
    pub wait: Duration,
    /// The pause after a first failure; it doubles with each further one.
    pub retry_first: Duration,
    /// The longest pause between attempts.
    pub retry_max: Duration,
    /// From when on an intent that the PDS took and our stream does not show is a matter for the operator.
    pub unseen_after: Duration,
    /// Points that an account may spend in an hour: create 3, put 2, delete 1.
    pub points_per_hour: u32,
    /// The same in a day.
    pub points_per_day: u32,
    /// Writes at once.
    pub workers: usize,
}

/// Reads them.
pub(super) fn settings(layers: &Layers) -> Result<PublishSettings, ConfigError> {
    let pause = |name: &'static str| -> Result<Duration, ConfigError> {
        parse_pause(layers.text(name).unwrap_or_default()).map_err(|e| layers.refuse(name, e))
    };
    let number = |name: &'static str, max: u32| -> Result<u32, ConfigError> {
        let text = layers.text(name).unwrap_or_default();
        let read = text.parse().ok().filter(|number| (1..=max).contains(number));
        read.ok_or_else(|| layers.refuse(name, format!("{text:?} is no whole number from 1 to {max}")))
    };
    Ok(PublishSettings {
        wait: pause("publish.wait")?,
        retry_first: pause("publish.retry_first")?,
        retry_max: pause("publish.retry_max")?,
        unseen_after: pause("publish.unseen_after")?,
        points_per_hour: number("publish.points_per_hour", 1_000_000_000)?,
        points_per_day: number("publish.points_per_day", 1_000_000_000)?,
        workers: number("publish.workers", 1_000)? as usize,
    })
}
