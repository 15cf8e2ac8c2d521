//! `almanac trace`: the life of one record.

use std::process::ExitCode;

use super::flags::Global;
use super::table::{print_json, table};
use crate::event::AtUri;
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

pub(super) async fn run(global: &Global, args: TraceArgs) -> anyhow::Result<ExitCode> {
    let mut settings = global.settings([])?;
    let db = service::open_to_read(&mut settings).await?;
    let trace = projection::trace(db.pool(), &args.uri).await?;
    db.close().await;
    let known = trace.log.iter().any(|word| word.rev.is_some() && word.kind != "snapshot");
    if args.json {
        print_json(&trace)?;
    } else {
        println!("{}", trace.uri);
        println!("{}: {}", if trace.shown { "shown" } else { "not shown" }, trace.reason);
        if !trace.log.is_empty() {
            let mut table =
                table(&["position", "what", "rev", "cid / state", "upstream", "seq", "seen", "environment", "origin"]);
            for word in &trace.log {
                let state = word.cid.clone().or_else(|| word.status.clone()).or_else(|| word.handle.clone());
                table.add_row([
                    word.position.to_string(),
                    word.kind.clone(),
                    word.rev.clone().unwrap_or_default(),
                    state.unwrap_or_default(),
                    word.upstream.clone(),
                    word.seq.map_or(String::new(), |seq| seq.to_string()),
                    format!("{}{}", word.seen_at.format("%Y-%m-%d %H:%M:%S"), if word.live { "" } else { " (replay)" }),
                    word.environment.clone(),
                    word.origin.clone(),
                ]);
            }
            println!("{table}");
        }
    }
    Ok(if known { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
