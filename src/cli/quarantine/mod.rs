//! `almanac quarantine`: refused records, with their bytes and why.

mod release;
mod show;

use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use chrono::{DateTime, Utc};
use clap::Subcommand;
use indicatif::HumanBytes;
use serde::Serialize;

use super::flags::Global;
use super::table::{print_json, table};
use crate::config::{age_text, parse_age};
use crate::event::Did;
use crate::ingest::quarantine::{self, Counts, Entry, Which};
use crate::ingest::quarantine_reasons;
use crate::service;

#[derive(clap::Args)]
pub(super) struct QuarantineArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// What is in quarantine, the newest first
    List(ListArgs),
    /// One entry: where it came from, what is in it, and what would be decided now
    Show(show::ShowArgs),
    /// Have entries judged again, by all checks and rules as they are now
    Release(release::ReleaseArgs),
    /// Throw entries away
    Purge(PurgeArgs),
}

/// Which entries.
#[derive(clap::Args)]
struct Of {
    /// Only those that were refused for this reason
    #[arg(long, value_name = "REASON", value_parser = reason)]
    reason: Option<String>,
    /// Only those of this account
    #[arg(long, value_name = "DID", value_parser = Did::parse)]
    did: Option<Did>,
}

impl Of {
    fn which(&self) -> Which {
        Which { reason: self.reason.clone(), did: self.did.clone(), ..Which::default() }
    }

    fn is_all(&self) -> bool {
        self.reason.is_none() && self.did.is_none()
    }
}

#[derive(clap::Args)]
struct ListArgs {
    #[command(flatten)]
    of: Of,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=100_000))]
    limit: i64,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct PurgeArgs {
    /// Only those that are here for longer than this, such as 7d or 12h
    #[arg(long, value_name = "AGE", value_parser = parse_age)]
    older_than: Option<chrono::TimeDelta>,
    #[command(flatten)]
    of: Of,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Only tell what would go
    #[arg(long)]
    dry_run: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

fn reason(text: &str) -> Result<String, String> {
    if quarantine_reasons().any(|reason| reason == text) {
        return Ok(text.to_owned());
    }
    let all: Vec<&str> = quarantine_reasons().collect();
    Err(format!("nothing is refused for {text:?}; the reasons are {}", all.join(", ")))
}

pub(super) async fn run(global: &Global, args: QuarantineArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::List(args) => list(global, args).await,
        Command::Show(args) => show::run(global, args).await,
        Command::Release(args) => release::run(global, args).await,
        Command::Purge(args) => purge(global, args).await,
    }
}

#[derive(Serialize)]
struct Listed {
    counts: Counts,
    entries: Vec<Entry>,
}

async fn list(global: &Global, args: ListArgs) -> anyhow::Result<ExitCode> {
    let mut settings = global.settings([])?;
    let db = service::open_to_read(&mut settings).await?;
    let counts = quarantine::counts(db.pool()).await?;
    let entries = quarantine::list(db.pool(), &args.of.which(), args.limit).await?;
    db.close().await;
    if args.json {
        print_json(&Listed { counts, entries })?;
        return Ok(ExitCode::SUCCESS);
    }
    let all: Vec<String> = counts.records.iter().map(|(reason, n)| format!("{n} {reason}")).collect();
    match all.is_empty() {
        true => println!("nothing is in quarantine"),
        false => println!("{} ({})", all.join(", "), HumanBytes(counts.bytes.unsigned_abs())),
    }
    if entries.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let mut table =
        table(&["id", "since", "account", "reason", "rule", "upstream", "seq", "records", "times", "state"]);
    for entry in &entries {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        table.add_row([
            entry.id.to_string(),
            time(entry.quarantined_at),
            entry.did.clone(),
            entry.reason.clone(),
            or_dash(entry.rule.map(|rule| rule.to_string())),
            entry.upstream.clone(),
            or_dash(entry.seq.map(|seq| seq.to_string())),
            or_dash(Some(entry.paths.join(" ")).filter(|paths| !paths.is_empty())),
            entry.times.to_string(),
            state(entry).to_owned(),
        ]);
    }
    println!("{table}");
    if entries.len() as i64 == args.limit {
        eprintln!("the newest {} are shown; --limit N shows more", args.limit);
    }
    Ok(ExitCode::SUCCESS)
}

fn state(entry: &Entry) -> &'static str {
    match (entry.released_at, entry.release_asked_at, &entry.release_outcome) {
        (Some(_), _, _) => "released",
        (None, Some(_), _) => "to be judged again",
        (None, None, Some(_)) => "still refused",
        (None, None, None) => "refused",
    }
}

fn time(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[derive(Serialize)]
struct Purged {
    dry_run: bool,
    #[serde(flatten)]
    cleaned: quarantine::Cleaned,
}

async fn purge(global: &Global, args: PurgeArgs) -> anyhow::Result<ExitCode> {
    let settings = global.settings([])?;
    let db = service::open(&settings, false).await?;
    // What comes from now on is not meant.
    let now: DateTime<Utc> = sqlx::query_scalar("select now()").fetch_one(db.pool()).await?;
    let before = match args.older_than {
        Some(age) => now.checked_sub_signed(age).unwrap_or(DateTime::<Utc>::MIN_UTC),
        None => now,
    };
    let which = Which { before: Some(before), ..args.of.which() };
    let done = async {
        let all = quarantine::purge(db.pool(), &which, true, |_| {}).await?;
        if args.dry_run || all.entries == 0 {
            return anyhow::Ok((all, true));
        }
        let what = format!("{} entries ({})", all.entries, HumanBytes(all.bytes.unsigned_abs()));
        if !args.yes && !agreed(&format!("throw away {what}? what is thrown away cannot be released"))? {
            return Ok((quarantine::Cleaned::default(), false));
        }
        let told = |gone: quarantine::Cleaned| tracing::debug!("{} of {} entries are gone", gone.entries, all.entries);
        Ok((quarantine::purge(db.pool(), &which, false, told).await?, true))
    };
    let done = done.await;
    db.close().await;
    let (cleaned, agreed) = done?;
    if args.json {
        print_json(&Purged { dry_run: args.dry_run, cleaned })?;
    } else {
        println!(
            "{}{} entries ({}){}{}{}",
            if args.dry_run { "would purge " } else { "purged " },
            cleaned.entries,
            HumanBytes(cleaned.bytes.unsigned_abs()),
            args.older_than.map_or(String::new(), |age| format!(" older than {}", age_text(age))),
            args.of.reason.map_or(String::new(), |reason| format!(" refused for {reason}")),
            args.of.did.map_or(String::new(), |did| format!(" of {did}")),
        );
    }
    Ok(if agreed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Asks whoever sits at the terminal.
fn agreed(question: &str) -> anyhow::Result<bool> {
    ensure!(std::io::stdin().is_terminal(), "{question} Nobody is there to be asked: give --yes");
    eprint!("{question} [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("no answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
