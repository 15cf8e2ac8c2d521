//! `almanac origin list`.

use std::process::ExitCode;

use crate::cli::flags::Global;
use crate::cli::table::{print_json, table};
use crate::event::Did;
use crate::service::{self, origin};

#[derive(clap::Args)]
pub(super) struct ListArgs {
    /// Only what is about this account; may be repeated
    #[arg(long = "did", value_name = "DID")]
    dids: Vec<Did>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(global: &Global, args: ListArgs) -> anyhow::Result<ExitCode> {
    let mut settings = global.settings([])?;
    let db = service::open_to_read(&mut settings).await?;
    let lists = origin::view(db.pool(), &args.dids.into_iter().collect()).await;
    db.close().await;
    let lists = lists?;
    if args.json {
        print_json(&lists)?;
        return Ok(ExitCode::SUCCESS);
    }
    let time = |time: chrono::DateTime<chrono::Utc>| time.format("%Y-%m-%d %H:%M:%S UTC").to_string();
    println!("{} accounts entered at run time", lists.entries_total);
    if !lists.entries.is_empty() {
        let mut table = table(&["account", "list", "since", "by", "why"]);
        for entry in &lists.entries {
            table.add_row([&entry.did, &entry.list, &time(entry.at), &entry.who, &entry.why]);
        }
        println!("{table}");
    }
    if !lists.files.is_empty() {
        let mut table = table(&["file", "accounts", "read", "path", "sha256"]);
        for file in &lists.files {
            table.add_row([&file.list, &file.dids.to_string(), &time(file.read_at), &file.path, &file.sha256]);
        }
        println!("{table}");
    }
    println!("{} accounts of our users", lists.links_total);
    if !lists.links.is_empty() {
        println!("{}", crate::cli::identity::links(&lists.links));
    }
    if lists.changes_waiting > 0 {
        println!("{} changes are not in the log yet: they count when a process appends", lists.changes_waiting);
    }
    Ok(ExitCode::SUCCESS)
}
