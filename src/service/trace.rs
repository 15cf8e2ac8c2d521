//! The whole life of one record, out of every room that knows a part of it: who carried it, what was proven, whose it is and
//! which rule said so, where it stands in the log, what the index shows, what was refused, what followed in the world, and,
//! of a record of ours, what was wanted of it and how far that is.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgPool;

use super::overview::{self, AccountOverview};
use crate::config::Settings;
use crate::effects::{self, Explained};
use crate::event::{AtUri, OriginRule};
use crate::projection::{self, Trace};
use crate::publisher::{self, Published};

/// The most entries of quarantine that are shown.
const QUARANTINED_MAX: i64 = 100;

/// The life of one record.
#[derive(Clone, Debug, Serialize)]
pub struct Life {
    /// What log and index know of it.
    #[serde(flatten)]
    pub trace: Trace,
    /// What is known of its account.
    #[serde(flatten)]
    pub account: AccountOverview,
    /// Whose the account is; `None` while nobody decided that.
    pub standing: Option<StandingView>,
    /// Every other upstream that carried one of its commits in the last 30 days, in order.
    pub sightings: Vec<SightingView>,
    /// What was refused of it, and of its account where no record was read; the latest first, at most 100.
    pub quarantine: Vec<QuarantineView>,
    /// Whom it was told to, and why not to others.
    pub effects: Explained,
    /// What we wanted of it; `None` when it is none of ours.
    pub publishing: Option<Published>,
}

impl Life {
    /// Whether anybody ever heard of it.
    pub fn is_known(&self) -> bool {
        self.trace.log.iter().any(|word| word.rev.is_some() && word.kind != "snapshot")
            || !self.quarantine.is_empty()
            || self.publishing.is_some()
    }
}

/// Whose an account is.
#[derive(Clone, Debug, Serialize)]
pub struct StandingView {
    /// own, own_host_stranger or network when it is kept; else why it is not.
    pub standing: String,
    /// Whether its records enter.
    pub kept: bool,
    /// Number of the rule that decided.
    pub rule: i16,
    /// What that rule says.
    pub says: &'static str,
    /// Since when.
    pub since: DateTime<Utc>,
    /// The handle that its document claims.
    pub claimed_handle: Option<String>,
    /// Where its document was read.
    pub directory: Option<String>,
    /// Whether the directory does not know it any more.
    pub identity_missing: bool,
}

/// One upstream carried one commit.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct SightingView {
    /// The revision.
    pub rev: String,
    /// Its name.
    pub upstream: String,
    /// relay, pds or dump.
    pub upstream_kind: String,
    /// Its number for the frame.
    pub seq: Option<i64>,
    /// When it was seen there first.
    pub seen_at: DateTime<Utc>,
    /// Whether that stream ran then.
    pub live: bool,
}

/// One refused frame or account.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct QuarantineView {
    /// Its number.
    pub id: i64,
    /// Why.
    pub reason: String,
    /// Number of the rule, when it was refused for whose it is.
    pub rule: Option<i16>,
    /// For people.
    pub detail: String,
    /// The revision that it claims.
    pub rev: Option<String>,
    /// The commit that it claims.
    pub commit_cid: Option<String>,
    /// Who brought it.
    pub upstream: String,
    /// The environment that that was declared for.
    pub declared: Option<String>,
    /// Its number for the frame.
    pub seq: Option<i64>,
    /// When it was seen first.
    pub seen_at: DateTime<Utc>,
    /// How often it came.
    pub times: i64,
    /// What became of it when it was judged again.
    pub release_outcome: Option<String>,
}

type StandingRow = (String, bool, i16, DateTime<Utc>, Option<String>, Option<String>, bool);

/// Tells the life of one record. Of the settings the environment counts, and the subscriptions.
///
/// # Errors
/// The database does not answer.
pub async fn life(pool: &PgPool, settings: &Settings, uri: &AtUri) -> Result<Life, sqlx::Error> {
    let mut trace = projection::trace(pool, uri).await?;
    let account = overview::account(pool, &uri.did).await?;
    let standing: Option<StandingRow> = sqlx::query_as(
        "select standing, standing_kept, standing_rule, standing_since, claimed_handle, directory, identity_missing
         from ingest.repo where did = $1 and standing is not null",
    )
    .bind(uri.did.as_str())
    .fetch_optional(pool)
    .await?;
    let says = |rule: i16| u8::try_from(rule).ok().and_then(OriginRule::from_number).map_or("", OriginRule::says);
    let standing = standing.map(|(standing, kept, rule, since, claimed_handle, directory, identity_missing)| {
        StandingView { standing, kept, rule, says: says(rule), since, claimed_handle, directory, identity_missing }
    });
    let revs: Vec<&str> = trace.log.iter().filter_map(|word| word.rev.as_deref()).collect();
    let sightings = sqlx::query_as(
        "select rev, upstream, upstream_kind, seq, seen_at, live from ingest.sighting
         where did = $1 and rev = any($2) order by rev, seen_at, upstream",
    )
    .bind(uri.did.as_str())
    .bind(revs)
    .fetch_all(pool)
    .await?;
    let quarantine: Vec<QuarantineView> = sqlx::query_as(
        "select id, reason, rule, detail, rev, commit_cid, upstream, declared, seq, seen_at, times, release_outcome
         from ingest.quarantine where did = $1 and (paths = '{}' or $2 = any(paths)) order by id desc limit $3",
    )
    .bind(uri.did.as_str())
    .bind(format!("{}/{}", uri.collection.as_str(), uri.rkey.as_str()))
    .bind(QUARANTINED_MAX)
    .fetch_all(pool)
    .await?;
    if let Some(refused) = quarantine.first().filter(|_| !trace.shown && !trace.log.iter().any(|w| w.rev.is_some())) {
        trace.reason =
            format!("refused: {} ({}); it is in quarantine under {}", refused.reason, refused.detail, refused.id);
    }
    let effects = effects::explain(pool, &settings.environment, &settings.effects.webhooks, uri).await?;
    let publishing = publisher::published(pool, uri).await?;
    Ok(Life { trace, account, standing, sightings, quarantine, effects, publishing })
}
