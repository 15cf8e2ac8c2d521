//! The state of the upstreams, as `service` knows it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;

/// One upstream, as it is right now in this process.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamView {
    /// `host[:port]`.
    pub host: String,
    /// `relay`, `pds` or `dump`.
    pub kind: String,
    /// A word for what it does: `connecting`, `live`, `waiting`, `stopped`.
    pub state: String,
    /// Everything up to this frame is handled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<i64>,
    /// How far it is behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_seconds: Option<i64>,
    /// The time that the last frame carried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_event_time: Option<DateTime<Utc>>,
    /// What went wrong last. Shown to the operator only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// Asks for the upstreams' state. Called for every request that shows it: it must be quick and must not wait.
pub type Upstreams = Arc<dyn Fn() -> Vec<UpstreamView> + Send + Sync>;
