//! `almanac quarantine release`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::ensure;
use chrono::TimeDelta;
use serde::Serialize;

use super::super::flags::{Filter, Global, Reaching, Verifying};
use super::super::table::{print_json, table};
use super::{Of, agreed};
use crate::config::parse_age;
use crate::ingest::quarantine::{Outcome, Which, list};
use crate::service::quarantine::release;
use crate::service::{self, stop};

/// What is still refused stays. What is released is in the log as any other record is, and no effect follows from it.
#[derive(clap::Args)]
pub(super) struct ReleaseArgs {
    /// These entries
    #[arg(value_name = "ID", conflicts_with_all = ["reason", "did"])]
    ids: Vec<i64>,
    #[command(flatten)]
    of: Of,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Who asks, for the record [default: the name of the system's user]
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
    /// How long to wait while nothing happens
    #[arg(long, value_name = "AGE", default_value = "30s", value_parser = parse_age)]
    wait: TimeDelta,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    verifying: Verifying,
    #[command(flatten)]
    reaching: Reaching,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Summary {
    released: usize,
    refused: usize,
    waits: usize,
    /// Entries that were asked for and are not there, or were released before.
    gone: Vec<i64>,
    #[serde(flatten)]
    done: service::quarantine::Released,
}

pub(super) async fn run(global: &Global, args: ReleaseArgs) -> anyhow::Result<ExitCode> {
    ensure!(
        !args.ids.is_empty() || !args.of.is_all(),
        "nothing is asked for: give numbers of entries, --reason or --did"
    );
    let mut flags = args.filter.flags();
    flags.extend(args.verifying.flags());
    flags.extend(args.reaching.flags());
    let settings = global.settings(flags)?;
    let stopped = stop::on_signals()?;
    let db = service::open(&settings, false).await?;
    let which = Which { ids: (!args.ids.is_empty()).then(|| args.ids.clone()), ..args.of.which() };
    let done = async {
        if args.ids.is_empty() && !args.yes {
            let found = list(db.pool(), &which, 1_001).await?.len();
            let many = if found > 1_000 { "more than 1000".to_owned() } else { found.to_string() };
            if found > 0 && !agreed(&format!("have {many} entries judged again?"))? {
                return anyhow::Ok(None);
            }
        }
        let who = args.who.clone().unwrap_or_else(user);
        let patience = args.wait.to_std().unwrap_or(Duration::ZERO);
        let told = |done: usize, of: usize| tracing::debug!("{done} of {of} entries were judged again");
        release(&settings, &db, (&which, &who), patience, stopped, told).await.map(Some)
    };
    let done = done.await;
    db.close().await;
    let Some(done) = done? else { return Ok(ExitCode::FAILURE) };
    let entries = &done.entries;
    let released = entries.iter().filter(|entry| entry.released).count();
    let waits = entries.iter().filter(|entry| entry.waits).count();
    let gone = args.ids.iter().copied().filter(|id| entries.iter().all(|entry| entry.id != *id)).collect();
    let summary = Summary { released, waits, refused: entries.len() - released - waits, gone, done };
    let whole = summary.refused == 0 && waits == 0 && summary.gone.is_empty();
    match args.json {
        true => print_json(&summary)?,
        false => print(&summary),
    }
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(summary: &Summary) {
    let mut table = table(&["id", "account", "", "why"]);
    for Outcome { id, did, released, waits, outcome } in &summary.done.entries {
        let word = match (released, waits) {
            (true, _) => "released",
            (false, true) => "waits",
            (false, false) => "still refused",
        };
        let why = outcome.as_deref().unwrap_or("nobody judged it yet: whoever appends next does");
        table.add_row([id.to_string().as_str(), did, word, if why == word { "" } else { why }]);
    }
    if !summary.done.entries.is_empty() {
        println!("{table}");
    }
    for id in &summary.gone {
        eprintln!("{id}: there is no such entry, or it was released before");
    }
    println!("{} released, {} still refused, {} wait", summary.released, summary.refused, summary.waits);
    if summary.waits > 0 {
        eprintln!("what waits is still asked for: `almanac serve` goes on with it");
    }
}

/// Who sits there, as far as the system says.
fn user() -> String {
    let named = |name: &str| std::env::var(name).ok().filter(|user| !user.is_empty());
    named("SUDO_USER").or_else(|| named("USER")).or_else(|| named("LOGNAME")).unwrap_or_else(|| "unknown".to_owned())
}
