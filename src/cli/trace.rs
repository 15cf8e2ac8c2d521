//! `almanac trace`: the life of one record.

use std::process::ExitCode;

use serde::Serialize;

use super::flags::Global;
use super::table::{print_json, table};
use crate::event::AtUri;
use crate::projection::Trace;
use crate::service::overview::{self, AccountOverview};
use crate::{projection, service};

#[derive(clap::Args)]
pub(super) struct TraceArgs {
    /// The record: at://DID/COLLECTION/RKEY
    #[arg(value_name = "AT-URI")]
    uri: AtUri,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Life {
    #[serde(flatten)]
    trace: Trace,
    #[serde(flatten)]
    account: AccountOverview,
}

pub(super) async fn run(global: &Global, args: TraceArgs) -> anyhow::Result<ExitCode> {
    let mut settings = global.settings([])?;
    let db = service::open_to_read(&mut settings).await?;
    let trace = projection::trace(db.pool(), &args.uri).await?;
    let account = overview::account(db.pool(), &args.uri.did).await?;
    db.close().await;
    let known = trace.log.iter().any(|word| word.rev.is_some() && word.kind != "snapshot");
    if args.json {
        print_json(&Life { trace, account })?;
    } else {
        println!("{}", trace.uri);
        println!("{}: {}", if trace.shown { "shown" } else { "not shown" }, trace.reason);
        print_account(&account);
        if !trace.log.is_empty() {
            let mut table = table(&[
                "position",
                "what",
                "rev",
                "cid / state",
                "upstream",
                "seq",
                "seen",
                "environment",
                "origin",
                "proven",
            ]);
            for word in &trace.log {
                let purged = if word.purged { " (purged)" } else { "" };
                let state = word.cid.clone().or_else(|| word.status.clone()).or_else(|| word.handle.clone());
                table.add_row([
                    word.position.to_string(),
                    word.kind.clone(),
                    word.rev.clone().unwrap_or_default(),
                    state.unwrap_or_default() + purged,
                    word.upstream.clone(),
                    word.seq.map_or(String::new(), |seq| seq.to_string()),
                    format!("{}{}", word.seen_at.format("%Y-%m-%d %H:%M:%S"), if word.live { "" } else { " (replay)" }),
                    word.environment.clone(),
                    word.origin.clone(),
                    word.verification.clone(),
                ]);
            }
            println!("{table}");
        }
    }
    Ok(if known { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_account(account: &AccountOverview) {
    let minute = |time: chrono::DateTime<chrono::Utc>| time.format("%Y-%m-%d %H:%M UTC").to_string();
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
