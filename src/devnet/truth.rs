//! What the frames of a run say, told by their author: every operation, and the state at the end.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::world::{Happening, Planned};
use super::{Account, Commit, Write};

/// The state of one account and its repository after the last frame.
#[derive(Clone, Debug)]
struct RepoTruth {
    rev: Option<String>,
    data: Option<String>,
    active: bool,
    status: Option<&'static str>,
    handle: Option<String>,
    records: BTreeMap<String, String>,
}

impl Default for RepoTruth {
    fn default() -> Self {
        RepoTruth { rev: None, data: None, active: true, status: None, handle: None, records: BTreeMap::new() }
    }
}

/// The truth about the frames made so far. Of records and operations it keeps those of calendar collections.
#[derive(Default)]
pub struct Truth {
    ops: Vec<Json>,
    repos: BTreeMap<String, RepoTruth>,
    counts: BTreeMap<String, u64>,
    frames: u64,
    bytes: u64,
}

impl Truth {
    /// Frames so far.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Bytes of frames so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How often what happened: frames by kind (`#commit`), operations by action (`op create`), in calendar
    /// collections (`calendar create`).
    pub fn counts(&self) -> &BTreeMap<String, u64> {
        &self.counts
    }

    fn count(&mut self, what: impl Into<String>, by: u64) {
        *self.counts.entry(what.into()).or_default() += by;
    }

    /// Notes the next frame: what it was planned as, and the commit if it became one.
    pub(super) fn note(&mut self, account: &Account, planned: &Planned, commit: Option<&Commit>, bytes: usize) {
        let index = self.frames;
        self.frames += 1;
        self.bytes += bytes as u64;
        let repo = self.repos.entry(account.did.clone()).or_default();
        let kind = match &planned.what {
            Happening::Commit { .. } => "#commit",
            Happening::Sync => "#sync",
            Happening::Identity { handle } => {
                if let Some(handle) = handle {
                    repo.handle = Some(handle.clone());
                }
                "#identity"
            }
            Happening::Account { active, status } => {
                (repo.active, repo.status) = (*active, *status);
                if *status == Some("deleted") {
                    repo.records.clear();
                }
                "#account"
            }
        };
        self.count(kind, 1);
        let (Some(commit), Happening::Commit { writes, .. }) = (commit, &planned.what) else { return };
        self.count("mst nodes", commit.proof.len() as u64);
        self.count("mst node bytes", commit.proof.values().map(|block| block.len() as u64).sum());
        self.count("records", commit.records.len() as u64);
        self.count("record bytes", commit.records.iter().map(|(_, block)| block.len() as u64).sum());
        let repo = self.repos.entry(account.did.clone()).or_default();
        repo.rev = Some(commit.head.rev.to_string());
        repo.data = Some(commit.head.data.to_string());
        let mut counted = vec![];
        for op in &commit.ops {
            counted.push(format!("op {}", op.action));
            let Some((collection, rkey)) = op.path.split_once('/') else { continue };
            if !collection.starts_with("community.lexicon.calendar.") {
                continue;
            }
            counted.push(format!("calendar {}", op.action));
            let cid = op.cid.map(|cid| cid.to_string());
            match &cid {
                Some(cid) => repo.records.insert(op.path.clone(), cid.clone()),
                None => repo.records.remove(&op.path),
            };
            self.ops.push(json!([index, account.did, op.action, collection, rkey, cid]));
        }
        debug_assert_eq!(commit.ops.len(), writes.iter().map(Write::path).count());
        counted.into_iter().for_each(|what| self.count(what, 1));
    }

    /// The whole truth: `{seed, mix, frames, ops: [[frame, did, action, collection, rkey, cid|null]…],
    /// repos: {did: {rev, data, active, status, handle, records: {path: cid}}}, counts}`. `rev`, `data` and `handle` are
    /// null where no frame said them. A deleted account holds no records; a hidden one holds what it held.
    pub fn to_json(&self, seed: u64, mix: &str) -> Json {
        let repos: BTreeMap<&str, Json> = self
            .repos
            .iter()
            .map(|(did, repo)| {
                let told = json!({
                    "rev": repo.rev, "data": repo.data, "active": repo.active, "status": repo.status,
                    "handle": repo.handle, "records": repo.records,
                });
                (did.as_str(), told)
            })
            .collect();
        json!({
            "seed": seed, "mix": mix, "frames": self.frames, "ops": self.ops, "repos": repos, "counts": self.counts,
        })
    }
}
