//! Records on their way from a repository to ingest, in pieces of bounded size.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;

use super::trouble::Trouble;
use crate::decode::check_record;
use crate::event::{Cid, DidDocument, Nsid, Rev, Rkey, Upstream, Verification};
use crate::ingest::inlet::{Finding, FoundRecord, Inlet};
use crate::telemetry::crash_point;

/// A piece is sent when it has this many records…
const PIECE_RECORDS: usize = 800;
/// …or this many bytes. With one more record of the largest size it stays near four million.
const PIECE_BYTES: usize = 3_000_000;

/// Collects what a repository holds at one revision.
pub(super) struct Rows<'a> {
    inlet: &'a Inlet,
    document: &'a Arc<DidDocument>,
    upstream: &'a Arc<Upstream>,
    rev: Rev,
    verification: Verification,
    waiting: Vec<FoundRecord>,
    waiting_bytes: usize,
    /// `collection/rkey` of everything told.
    held: HashSet<Box<str>>,
    /// Records that are signed for but are none: too large, not canonical, under a name that is none.
    unusable: u64,
}

impl<'a> Rows<'a> {
    pub fn new(
        inlet: &'a Inlet,
        document: &'a Arc<DidDocument>,
        upstream: &'a Arc<Upstream>,
        rev: Rev,
        verification: Verification,
    ) -> Self {
        Rows {
            inlet,
            document,
            upstream,
            rev,
            verification,
            waiting: Vec::new(),
            waiting_bytes: 0,
            held: HashSet::new(),
            unusable: 0,
        }
    }

    /// Takes a record whose bytes have the hash that `cid` says. Waits while ingest is busy.
    pub async fn add(&mut self, path: &str, cid: Cid, record: Bytes) -> Result<(), Trouble> {
        let names = path.split_once('/').and_then(|(c, k)| Some((Nsid::parse(c).ok()?, Rkey::parse(k).ok()?)));
        let why = match (names, check_record(&record)) {
            (Some((collection, rkey)), Ok(())) => {
                if self.held.insert(path.into()) {
                    self.waiting_bytes += record.len();
                    self.waiting.push(FoundRecord { collection, rkey, cid, record });
                }
                if self.waiting.len() >= PIECE_RECORDS || self.waiting_bytes >= PIECE_BYTES {
                    self.flush().await?;
                }
                return Ok(());
            }
            (None, _) => "its name is none that a record can have".to_owned(),
            (_, Err(reject)) => reject.to_string(),
        };
        self.unusable += 1;
        if self.unusable == 1 {
            tracing::warn!(did = %self.document.did, path, "a record of the repository cannot be used and is left out: {why}");
        }
        Ok(())
    }

    /// Sends what waits.
    pub async fn flush(&mut self) -> Result<(), Trouble> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.waiting_bytes = 0;
        let piece = Finding::Records {
            document: self.document.clone(),
            rev: self.rev,
            upstream: self.upstream.clone(),
            verification: self.verification,
            records: std::mem::take(&mut self.waiting),
        };
        self.inlet.send(piece).await.map_err(|_| Trouble::IngestEnded)?;
        crash_point("resync between rows");
        Ok(())
    }

    /// How many records were told.
    pub fn records(&self) -> u64 {
        self.held.len() as u64
    }

    /// Signed for, but no records.
    pub fn unusable(&self) -> u64 {
        self.unusable
    }

    /// Whether this record was told.
    pub fn holds(&self, collection: &str, rkey: &str) -> bool {
        let mut path = String::with_capacity(collection.len() + rkey.len() + 1);
        path.push_str(collection);
        path.push('/');
        path.push_str(rkey);
        self.held.contains(path.as_str())
    }
}
