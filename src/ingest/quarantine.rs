//! Records that were refused: their bytes, why, and where they came from.
//!
//! A record is put here in the transaction that moves its upstream's cursor, so that nothing in scope vanishes silently. It
//! leaves by age, or when somebody asks for it and it is judged again ([`super::Finding::Released`]).

use bytes::Bytes;
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;

use crate::decode::{self, Kind, Outline, Reject};
use crate::event::{Delivery, Did, OriginRule, Refusal, Seq, Upstream, UpstreamKind};

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
        let ops = outline.ops.iter().map_while(Result::ok);
        let paths: Vec<String> = ops.filter(|op| follows(op.collection())).map(|op| op.path.to_owned()).collect();
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
            detail,
            paths,
            rev,
            commit_cid,
            upstream: delivery.upstream.name.clone(),
            upstream_kind: delivery.upstream.kind,
            declared: delivery.upstream.declared.as_ref().map(|e| e.as_str().to_owned()),
            seq: outline.seq,
            seen_at: delivery.seen_at,
            live: delivery.live,
            pds: pds.map(Into::into),
            frame: Some(delivery.frame.clone()),
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

    fn digest(&self) -> Vec<u8> {
        let mut hash = Sha256::new();
        for part in [self.did.as_str().as_bytes(), self.reason.as_bytes()] {
            hash.update((part.len() as u32).to_be_bytes());
            hash.update(part);
        }
        hash.update(self.frame.as_deref().unwrap_or_default());
        hash.finalize()[..16].to_vec()
    }
}

/// Why a record was refused.
#[derive(Clone, Copy, Debug)]
pub(super) enum Why<'a> {
    /// For whose it is.
    Origin(Refusal, OriginRule),
    /// It does not verify, or cannot be read.
    Reject(&'a Reject),
}

impl Why<'_> {
    fn words(self) -> (&'static str, Option<OriginRule>, String) {
        match self {
            Why::Origin(refusal, rule) => (refusal.as_str(), Some(rule), rule.says().to_owned()),
            Why::Reject(reject) => (reject.reason.as_str(), None, reject.detail.to_string()),
        }
    }
}

/// Writes what a batch refused, and what became of what was judged again.
pub(super) async fn store(
    connection: &mut PgConnection,
    quarantined: &[Quarantined],
    rejudged: &[(i64, Result<(), String>)],
) -> Result<(), sqlx::Error> {
    for refused in quarantined {
        sqlx::query(
            "insert into ingest.quarantine (digest, did, reason, rule, detail, paths, rev, commit_cid, upstream,
                 upstream_kind, declared, seq, seen_at, live, pds, frame)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
             on conflict (digest) do update set times = ingest.quarantine.times + 1",
        )
        .bind(refused.digest())
        .bind(refused.did.as_str())
        .bind(refused.reason)
        .bind(refused.rule.map(|rule| i16::from(rule.number())))
        .bind(&refused.detail)
        .bind(&refused.paths)
        .bind(&refused.rev)
        .bind(&refused.commit_cid)
        .bind(&*refused.upstream)
        .bind(refused.upstream_kind.as_str())
        .bind(&refused.declared)
        .bind(refused.seq)
        .bind(refused.seen_at)
        .bind(refused.live)
        .bind(refused.pds.as_deref())
        .bind(refused.frame.as_deref())
        .execute(&mut *connection)
        .await?;
    }
    for (id, outcome) in rejudged {
        sqlx::query(
            "update ingest.quarantine set release_outcome = $2, release_asked_at = null,
                 released_at = case when $3 then now() end, frame = case when $3 then null else frame end
             where id = $1",
        )
        .bind(id)
        .bind(outcome.as_ref().map_or_else(|why| why.as_str(), |()| "released"))
        .bind(outcome.is_ok())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
