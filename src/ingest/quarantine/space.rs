//! How much quarantine may take of the disk.

use std::sync::atomic::{AtomicU64, Ordering};

use metrics::counter;

/// What a row takes beside its frame, about.
pub(super) const ROW_BYTES: u64 = 600;

/// How many bytes quarantine takes, and how many it may. Counted by whoever writes rows, and set right by whoever looks at the
/// table, which is also who takes the oldest away beyond the limit. Between two such looks a flood may go a quarter beyond it.
#[derive(Debug)]
pub struct Space {
    bytes_max: u64,
    bytes: AtomicU64,
    overflow: AtomicU64,
}

impl Default for Space {
    /// Without a limit.
    fn default() -> Self {
        Space::new(u64::MAX)
    }
}

impl Space {
    /// Room for this many bytes, of which none are taken as far as is known.
    pub fn new(bytes_max: u64) -> Self {
        Space { bytes_max, bytes: AtomicU64::new(0), overflow: AtomicU64::new(0) }
    }

    /// What the limit is.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Sets right how many bytes are taken.
    pub fn measured(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// For how many frames there was no room so far.
    pub fn overflow(&self) -> u64 {
        self.overflow.load(Ordering::Relaxed)
    }

    /// Rows of so many bytes were written, and for so many frames there was no room.
    pub(in crate::ingest) fn took(&self, bytes: u64, overflow: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.overflow.fetch_add(overflow, Ordering::Relaxed);
        counter!("almanac_ingest_quarantine_overflow_total").increment(overflow);
    }

    /// How many bytes more may be written before somebody looks.
    pub(super) fn left(&self) -> u64 {
        self.bytes_max.saturating_add(self.bytes_max / 4).saturating_sub(self.bytes.load(Ordering::Relaxed))
    }
}
