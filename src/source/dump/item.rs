//! What a dump holds: frames, and what it says of itself.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::format::DumpFormat;
use crate::event::{Delivery, Environment, Upstream};

/// One recorded frame.
#[derive(Clone, Debug)]
pub struct DumpFrame {
    /// Through which upstream it came, as recorded; for a plain dump, the dump itself under its file's stem.
    pub upstream: Arc<Upstream>,
    /// When it was seen, if the format records that.
    pub seen_at: Option<DateTime<Utc>>,
    /// The frame, exactly as received.
    pub frame: Bytes,
}

impl DumpFrame {
    /// As a delivery that is not live. `now` stands in where the dump does not say when the frame was seen.
    pub fn into_delivery(self, now: DateTime<Utc>) -> Delivery {
        Delivery { upstream: self.upstream, seen_at: self.seen_at.unwrap_or(now), live: false, frame: self.frame }
    }
}

/// What a dump says of itself.
#[derive(Clone, Debug)]
pub struct DumpInfo {
    /// Its format.
    pub format: DumpFormat,
    /// Its file's stem; `stdin` for standard input.
    pub name: String,
    /// The environment it was recorded in.
    pub environment: Option<Environment>,
    /// The program that wrote it.
    pub tool: Option<String>,
    /// When recording began.
    pub created_at: Option<DateTime<Utc>>,
    /// The upstreams known so far. More may appear while reading.
    pub upstreams: Vec<Arc<Upstream>>,
    /// The file's length in bytes; unknown for standard input.
    pub byte_length: Option<u64>,
}
