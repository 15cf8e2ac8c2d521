//! `almanac trace`: the life of one record.

use std::process::ExitCode;

use chrono::{DateTime, Utc};

use super::flags::Global;
use super::table::{print_json, table};
use crate::effects::Explained;
use crate::event::AtUri;
use crate::projection::TraceWord;
use crate::publisher::Published;
use crate::service;
use crate::service::overview::AccountOverview;
use crate::service::trace::{Life, life};

#[derive(clap::Args)]
pub(super) struct TraceArgs {
    /// The record: at://DID/COLLECTION/RKEY
    #[arg(value_name = "AT-URI")]
    uri: AtUri,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(global: &Global, args: TraceArgs) -> anyhow::Result<ExitCode> {
    let mut settings = global.settings([])?;
    let db = service::open_to_read(&mut settings).await?;
    let life = life(db.pool(), &settings, &args.uri).await?;
    db.close().await;
    if args.json {
        print_json(&life)?;
    } else {
        print_life(&life);
    }
    Ok(if life.is_known() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_life(life: &Life) {
    let trace = &life.trace;
    println!("{}", trace.uri);
    println!("{}: {}", if trace.shown { "shown" } else { "not shown" }, trace.reason);
    if let Some(view) = &life.standing {
        let handle = view.claimed_handle.as_deref().map_or(String::new(), |handle| format!(", calls itself {handle}"));
        let directory = view.directory.as_deref().map_or(String::new(), |place| format!(", document from {place}"));
        let verdict = if view.kept { "kept as" } else { "refused as" };
        println!("account {verdict} {} since {}{handle}{directory}", view.standing, minute(view.since));
        println!("  rule {}: {}", view.rule, view.says);
    }
    print_account(&life.account);
    if !trace.log.is_empty() {
        println!("in the log, folded up to position {}:", trace.projection_position);
        println!("{}", log_table(&trace.log));
    }
    if !life.sightings.is_empty() {
        let mut table = table(&["carried too by", "", "seq", "rev", "seen"]);
        for seen in &life.sightings {
            let seq = seen.seq.map_or(String::new(), |seq| seq.to_string());
            let (rev, at) = (seen.rev.clone(), moment(seen.seen_at, seen.live));
            table.add_row([seen.upstream.clone(), seen.upstream_kind.clone(), seq, rev, at]);
        }
        println!("{table}");
    }
    if !life.quarantine.is_empty() {
        let mut table =
            table(&["quarantine", "reason", "rule", "upstream", "seq", "rev", "seen", "times", "judged again"]);
        for refused in &life.quarantine {
            table.add_row([
                refused.id.to_string(),
                refused.reason.clone(),
                refused.rule.map_or(String::new(), |rule| rule.to_string()),
                refused.upstream.clone(),
                refused.seq.map_or(String::new(), |seq| seq.to_string()),
                refused.rev.clone().unwrap_or_default(),
                refused.seen_at.format("%Y-%m-%d %H:%M:%S").to_string(),
                refused.times.to_string(),
                refused.release_outcome.clone().unwrap_or_default(),
            ]);
        }
        println!("{table}");
    }
    print_effects(&life.effects);
    if let Some(published) = &life.publishing {
        print_publishing(published);
    }
}

fn print_publishing(published: &Published) {
    let record = &published.record;
    let key = record.client_key.as_deref().map_or("found on its PDS".to_owned(), |key| format!("client key {key}"));
    let version = match (&record.cid, record.deleted) {
        (_, true) => "deleted".to_owned(),
        (Some(cid), false) => format!("at {cid}"),
        (None, false) => "no version known".to_owned(),
    };
    let rev = record.rev.as_deref().map_or(String::new(), |rev| format!(", rev {rev}"));
    println!("published for user {} ({key}), {version}{rev}", record.user_id);
    if let Some(at) = record.edited_elsewhere_at {
        let what =
            record.edited_elsewhere_cid.as_deref().map_or("deleted".to_owned(), |cid| format!("edited to {cid}"));
        println!("  {what} otherwise than through us, seen {}", minute(at));
    }
    if record.held_back {
        println!(
            "  the log shows a version that an attempt without an answer may have made; it waits for that to be settled"
        );
    }
    if !published.intents.is_empty() {
        let mut table =
            table(&["intent", "what", "state", "wished", "by", "attempts", "cid", "rev", "confirmed at", "trouble"]);
        for intent in &published.intents {
            let maybe = if intent.maybe_written { " (maybe written)" } else { "" };
            let trouble = [&intent.trouble, &intent.trouble_detail].into_iter().flatten().cloned().collect::<Vec<_>>();
            let conflict = intent.conflict.as_ref().map(|conflict| format!(" {conflict}")).unwrap_or_default();
            table.add_row([
                intent.id.to_string(),
                intent.action.clone(),
                intent.state.clone() + maybe,
                intent.created_at.format("%Y-%m-%d %H:%M:%S").to_string(),
                intent.acting_user.clone().unwrap_or_default(),
                intent.attempts.to_string(),
                intent.cid.clone().unwrap_or_default(),
                intent.rev.clone().unwrap_or_default(),
                intent.confirmed_position.map_or(String::new(), |position| format!("position {position}")),
                trouble.join(": ") + &conflict,
            ]);
        }
        println!("{table}");
    }
    if !published.audit.is_empty() {
        let mut table = table(&["in its owner's name", "by", "what", "grant", "intent", "changed", "outcome", "cid"]);
        for entry in &published.audit {
            table.add_row([
                entry.at.format("%Y-%m-%d %H:%M:%S").to_string(),
                entry.acting_user.clone(),
                entry.action.clone(),
                entry.grant_id.map_or(String::new(), |id| id.to_string()),
                entry.intent_id.map_or(String::new(), |id| id.to_string()),
                entry.changed.join(", "),
                entry.outcome.clone(),
                entry.cid.clone().unwrap_or_default(),
            ]);
        }
        println!("{table}");
    }
}

fn print_effects(effects: &Explained) {
    if !effects.deliveries.is_empty() {
        let mut table = table(&["webhook", "position", "state", "attempts", "id", "last answer"]);
        for told in &effects.deliveries {
            let status = told.last_status.map(|status| status.to_string());
            table.add_row([
                told.subscription.clone(),
                told.position.to_string(),
                told.state.clone(),
                told.attempts.to_string(),
                told.id.clone(),
                told.last_error.clone().or(status).unwrap_or_default(),
            ]);
        }
        println!("{table}");
    }
    for untold in &effects.untold {
        println!("{} was not told of position {}: {}", untold.subscription, untold.position, untold.says);
    }
}

fn log_table(log: &[TraceWord]) -> comfy_table::Table {
    let mut table = table(&[
        "position",
        "what",
        "rev",
        "cid / state",
        "commit",
        "upstream",
        "seq",
        "seen",
        "environment",
        "origin",
        "rule",
        "pds",
        "proven",
    ]);
    for word in log {
        let purged = if word.purged { " (purged)" } else { "" };
        let state = word.cid.clone().or_else(|| word.status.clone()).or_else(|| word.handle.clone());
        table.add_row([
            word.position.to_string(),
            word.kind.clone(),
            word.rev.clone().unwrap_or_default(),
            state.unwrap_or_default() + purged,
            word.commit_cid.clone().unwrap_or_default(),
            word.upstream.clone(),
            word.seq.map_or(String::new(), |seq| seq.to_string()),
            moment(word.seen_at, word.live),
            word.environment.clone(),
            word.origin.clone(),
            word.origin_rule.map_or(String::new(), |rule| rule.to_string()),
            word.pds.clone().unwrap_or_default(),
            word.verification.clone(),
        ]);
    }
    table
}

fn moment(time: DateTime<Utc>, live: bool) -> String {
    format!("{}{}", time.format("%Y-%m-%d %H:%M:%S"), if live { "" } else { " (replay)" })
}

fn minute(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M UTC").to_string()
}

fn print_account(account: &AccountOverview) {
    if let Some(repository) = &account.repository {
        let rev = repository.rev.as_deref().map_or(String::new(), |rev| format!(", at rev {rev}"));
        let gap = repository.gap_rev.as_deref().map_or(String::new(), |rev| format!(", complete from rev {rev} on"));
        let pds = repository.pds.as_deref().map_or(String::new(), |pds| format!(", on {pds}"));
        println!("repository {} since {}{rev}{gap}{pds}", repository.state, minute(repository.state_since));
    }
    if let Some(job) = &account.job {
        let outcome = job.outcome.as_deref().map_or(String::new(), |outcome| format!(": {outcome}"));
        let error = job.error.as_deref().map_or(String::new(), |error| format!(" ({error})"));
        println!(
            "job ({}) {} since {}{outcome}{error}",
            job.reason,
            job.state,
            minute(job.finished_at.unwrap_or(job.queued_at))
        );
    }
    for purge in &account.purges {
        println!("purged {}: {} records, {} bytes", minute(purge.purged_at), purge.records, purge.bytes);
    }
}
