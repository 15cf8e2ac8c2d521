//! `almanac origin`: who may enter, changed while a process serves.

mod explain;
mod list;

use std::collections::BTreeSet;
use std::process::ExitCode;

use serde::Serialize;

use super::changing::Changing;
use super::flags::Global;
use super::table::print_json;
use crate::event::{Did, ListChange};
use crate::service::origin::{FORGET_WHY, Made, Ruling, change, said, stored};
use crate::service::{self};

#[derive(clap::Args)]
pub(super) struct OriginArgs {
    #[command(subcommand)]
    command: OriginCommand,
}

#[derive(clap::Subcommand)]
enum OriginCommand {
    /// Let accounts in, beside the allowlist of settings and file
    Allow(EnterArgs),
    /// Keep accounts out, whatever else is known of them, and hide what is here of them
    Deny(EnterArgs),
    /// Take back what was entered about accounts
    Forget(ForgetArgs),
    /// Show what was entered, the list files, and our users' accounts
    List(list::ListArgs),
    /// Tell whether an account's records may enter, why, and what would change it; exit code 1 when they may not
    Explain(explain::ExplainArgs),
}

#[derive(clap::Args)]
struct EnterArgs {
    /// The accounts
    #[arg(value_name = "DID", required = true)]
    dids: Vec<Did>,
    /// Why, for the log
    #[arg(long, value_name = "TEXT", value_parser = said)]
    why: String,
    #[command(flatten)]
    changing: Changing,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct ForgetArgs {
    /// The accounts
    #[arg(value_name = "DID", required = true)]
    dids: Vec<Did>,
    /// Why, for the log
    #[arg(long, value_name = "TEXT", value_parser = said, default_value = FORGET_WHY)]
    why: String,
    #[command(flatten)]
    changing: Changing,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(global: &Global, args: OriginArgs) -> anyhow::Result<ExitCode> {
    let enter = |EnterArgs { dids, why, changing, json }, what| Wish { dids, why, changing, json, what };
    match args.command {
        OriginCommand::Allow(args) => enter(args, ListChange::Allow).run(global).await,
        OriginCommand::Deny(args) => enter(args, ListChange::Deny).run(global).await,
        OriginCommand::Forget(ForgetArgs { dids, why, changing, json }) => {
            Wish { dids, why, changing, json, what: ListChange::Forget }.run(global).await
        }
        OriginCommand::List(args) => list::run(global, args).await,
        OriginCommand::Explain(args) => explain::run(global, args).await,
    }
}

struct Wish {
    dids: Vec<Did>,
    why: String,
    changing: Changing,
    json: bool,
    what: ListChange,
}

/// Accounts whose standing is told; the others' is in `almanac origin explain`.
const TOLD_MAX: usize = 100;

#[derive(Serialize)]
struct Outcome {
    changes: Vec<Change>,
    in_log: bool,
}

#[derive(Serialize)]
struct Change {
    #[serde(flatten)]
    made: Made,
    /// How the account stands since: another list may outweigh this one. Unknown while the change does not count yet, and of
    /// accounts of which nothing was ever seen.
    now: Option<Ruling>,
}

impl Wish {
    async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        let settings = global.settings([])?;
        let db = service::open(&settings, false).await?;
        let dids: BTreeSet<Did> = self.dids.into_iter().collect();
        let made = change(db.pool(), &dids, self.what, &self.changing.who(), &self.why).await?;
        let numbers: Vec<i64> = made.iter().filter_map(|made| made.number).collect();
        let in_log = self.changing.settled(db.pool(), &numbers).await;
        let mut changes = Vec::with_capacity(made.len());
        for made in made {
            let tells = made.number.is_some() && matches!(in_log, Ok(true)) && changes.len() < TOLD_MAX;
            let now = if tells { stored(db.pool(), &Did::parse(&made.did)?).await? } else { None };
            changes.push(Change { made, now });
        }
        db.close().await;
        let in_log = in_log?;
        let code = if numbers.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        if self.json {
            print_json(&Outcome { changes, in_log })?;
            return Ok(code);
        }
        for Change { made, now } in &changes {
            let now = now.as_ref().map_or(String::new(), |now| {
                let may = if now.kept { "its records enter" } else { "its records do not enter" };
                format!("; {may}: {} (rule {})", now.standing, now.rule)
            });
            let did = &made.did;
            match (made.number, self.what) {
                (None, _) => println!("{did}: nothing was entered about it"),
                (Some(_), ListChange::Allow) => println!("{did}: allowed{now}"),
                (Some(_), ListChange::Deny) => println!("{did}: denied{now}"),
                (Some(_), _) => println!("{did}: forgotten{now}"),
            }
        }
        if !numbers.is_empty() {
            println!("{}", self.changing.told(in_log));
        }
        Ok(code)
    }
}
