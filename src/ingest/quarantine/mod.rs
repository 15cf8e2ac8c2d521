//! Records that were refused: their bytes, why, and where they came from.
//!
//! In: commits with followed records that may not enter, for whose they are or because they do not verify. Out: rows with
//! their bytes, for people; and back through the one write path, when somebody asks for that
//! ([`super::Finding::Released`]). Always true: a row is written in the transaction that moves its upstream's cursor, so that
//! nothing in scope vanishes silently; one frame refused for one reason is one row, however often it comes; what a flood may
//! take of the disk is bounded ([`Space`]), and what finds no place is counted. Never: a frame whose DID cannot be read, of
//! which nobody can say that it is in scope: it is only counted.

mod clean;
mod entries;
mod space;
mod store;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

pub use clean::{Cleaned, clean, purge};
pub use entries::{Counts, Entry, Outcome, Which, ask_release, asked, counts, delivery, entry, frame, list, outcomes};
pub use space::Space;
pub(super) use store::store;

use crate::decode::{self, Kind, Outline, Reject};
use crate::event::{Delivery, Did, OriginRule, Refusal, Seq, Upstream, UpstreamKind};

/// The longest text of a stranger's that is kept beside the frame, in characters.
const TEXT_MAX: usize = 300;

/// What became of an entry that was judged again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejudged {
    /// It went the way of every record that enters. The text says where it is, when it is not in the log already.
    Released(&'static str),
    /// It is still refused, and why.
    Refused(String),
    /// Whose it is has to be looked up first; it is judged again once that is done.
    Waits(String),
}

impl Rejudged {
    /// In words, as stored and shown.
    pub fn words(&self) -> &str {
        match self {
            Rejudged::Released(where_to) => where_to,
            Rejudged::Refused(why) | Rejudged::Waits(why) => why,
        }
    }
}

/// One refused frame, or one account that was offered and not fetched.
#[derive(Clone, Debug)]
pub(super) struct Quarantined {
    pub did: Did,
    pub reason: &'static str,
    pub rule: Option<OriginRule>,
    pub detail: String,
    /// COLLECTION/RKEY of each followed record in it.
    pub paths: Vec<String>,
    pub rev: Option<String>,
    pub commit_cid: Option<String>,
    pub upstream: Box<str>,
    pub upstream_kind: UpstreamKind,
    pub declared: Option<String>,
    pub seq: Option<Seq>,
    pub seen_at: DateTime<Utc>,
    pub live: bool,
    pub pds: Option<Box<str>>,
    pub frame: Option<Bytes>,
}

impl Quarantined {
    /// A commit that was refused for whose it is, or because it does not verify; `None` when it has no followed record.
    pub fn frame(
        delivery: &Delivery,
        outline: &Outline<'_>,
        follows: impl Fn(&str) -> bool,
        pds: Option<&str>,
        why: Why<'_>,
    ) -> Option<Self> {
        if outline.kind != Kind::Commit {
            return None;
        }
        let collection = |path: &str| path.split('/').next().unwrap_or_default().to_owned();
        let paths: Vec<String> = outline.ops.paths().filter(|path| follows(&collection(path))).map(plain).collect();
        let did = Did::parse(outline.did).ok()?;
        if paths.is_empty() {
            return None;
        }
        // Unproven, as everything here: what the frame says of itself.
        let (rev, commit_cid) = decode::claims(&delivery.frame, outline);
        let (reason, rule, detail) = why.words();
        Some(Quarantined {
            did,
            reason,
            rule,
            detail: plain(&detail),
            paths,
            rev: rev.as_deref().map(plain),
            commit_cid,
            upstream: delivery.upstream.name.clone(),
            upstream_kind: delivery.upstream.kind,
            declared: delivery.upstream.declared.as_ref().map(|e| e.as_str().to_owned()),
            seq: outline.seq,
            seen_at: delivery.seen_at,
            live: delivery.live,
            pds: pds.map(|pds| plain(pds).into()),
            // A copy: the frame is a piece of the buffer that hundreds were read into, and all of it would wait for the log.
            frame: Some(Bytes::copy_from_slice(&delivery.frame)),
        })
    }

    /// An account that a host offered and that was not fetched for whose it is.
    pub fn account(
        did: &Did,
        refusal: Refusal,
        rule: OriginRule,
        upstream: &Upstream,
        pds: Option<Box<str>>,
        now: DateTime<Utc>,
    ) -> Self {
        Quarantined {
            did: did.clone(),
            reason: refusal.as_str(),
            rule: Some(rule),
            detail: format!("its repository was not fetched: {}", rule.says()),
            paths: Vec::new(),
            rev: None,
            commit_cid: None,
            upstream: upstream.name.clone(),
            upstream_kind: upstream.kind,
            declared: upstream.declared.as_ref().map(|e| e.as_str().to_owned()),
            seq: None,
            seen_at: now,
            live: false,
            pds,
            frame: None,
        }
    }

    fn digest(&self) -> [u8; 16] {
        let mut hash = Sha256::new();
        for part in [self.did.as_str().as_bytes(), self.reason.as_bytes()] {
            hash.update((part.len() as u32).to_be_bytes());
            hash.update(part);
        }
        hash.update(self.frame.as_deref().unwrap_or_default());
        let mut digest = [0; 16];
        digest.copy_from_slice(&hash.finalize()[..16]);
        digest
    }
}

/// A stranger's text as the database takes it, and people can read it: in one line, without control characters, not long.
fn plain(text: &str) -> String {
    text.chars().take(TEXT_MAX).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Why a record was refused.
#[derive(Clone, Copy, Debug)]
pub(super) enum Why<'a> {
    /// For whose it is.
    Origin(Refusal, OriginRule),
    /// It was let go although nobody can say yet whose it is.
    Undecided(&'a Reject, OriginRule),
    /// It does not verify, or cannot be read.
    Reject(&'a Reject),
}

impl Why<'_> {
    fn words(self) -> (&'static str, Option<OriginRule>, String) {
        match self {
            Why::Origin(refusal, rule) => (refusal.as_str(), Some(rule), rule.says().to_owned()),
            Why::Undecided(reject, rule) => (reject.reason.as_str(), Some(rule), reject.detail.to_string()),
            Why::Reject(reject) => (reject.reason.as_str(), None, reject.detail.to_string()),
        }
    }
}
