//! The settings under `network.`.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use super::layers::{ConfigError, Layers};
use crate::network::{HostLimits, HostOverride, NetworkOptions, ServiceUrl};

/// How many seconds' worth of the pace may come at once: with the default pace what the reference PDS allows.
const BURST_SECONDS: f64 = 200.0;

/// Reads them. Who is named and trusted beside them, the caller adds.
pub(super) fn options(layers: &Layers) -> Result<NetworkOptions, ConfigError> {
    let defaults = NetworkOptions::default();
    let plc = layers.text("network.plc").ok_or_else(|| layers.refuse("network.plc", "empty"))?;
    let allow_private = match layers.text("network.allow_private") {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => {
            return Err(layers.refuse("network.allow_private", format!("{other:?} is neither `true` nor `false`")));
        }
    };
    let per_second: f64 = number(layers, "network.host_requests_per_second", 0.01..=10_000.0)?;
    let hours: f64 = number(layers, "network.did_document_hours", 0.0..=720.0)?;
    Ok(NetworkOptions {
        plc: ServiceUrl::parse(plc).map_err(|e| layers.refuse("network.plc", e))?,
        allow_private,
        host_overrides: every(layers, "network.host_overrides", |text| {
            HostOverride::parse(text).map_err(|e| e.to_string())
        })?,
        dns: every(layers, "network.dns", name_server)?,
        host: HostLimits {
            concurrency: number(layers, "network.host_concurrency", 1..=1_000)?,
            requests_per_second: per_second,
            burst: (per_second * BURST_SECONDS).max(1.0),
        },
        document_fresh: Duration::from_secs_f64(hours * 3_600.0),
        ..defaults
    })
}

fn every<T>(layers: &Layers, name: &'static str, read: fn(&str) -> Result<T, String>) -> Result<Vec<T>, ConfigError> {
    layers.list(name).iter().map(|text| read(text).map_err(|why| layers.refuse(name, why))).collect()
}

fn name_server(text: &str) -> Result<SocketAddr, String> {
    let bare = || text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
    text.parse()
        .or_else(|_| bare())
        .map_err(|_| format!("{text:?} is no name server; write it like 1.1.1.1 or [::1]:53"))
}

fn number<T: FromStr + PartialOrd + std::fmt::Display>(
    layers: &Layers,
    name: &'static str,
    range: std::ops::RangeInclusive<T>,
) -> Result<T, ConfigError> {
    let text = layers.text(name).unwrap_or_default();
    let number = text.parse().ok().filter(|number| range.contains(number));
    number
        .ok_or_else(|| layers.refuse(name, format!("{text:?} is no number from {} to {}", range.start(), range.end())))
}
