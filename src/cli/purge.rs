//! `almanac purge`: the records of accounts that were deleted long enough ago leave the log.

use serde::Serialize;

use super::flags::Global;
use super::table::{print_json, table};
use crate::service::{self, purge};

#[derive(clap::Args)]
pub(super) struct PurgeArgs {
    /// Only tell what would go
    #[arg(long)]
    dry_run: bool,
    /// Accounts deleted longer ago than this, such as 30d or 12h [default: the setting accounts.purge_after]
    #[arg(long, value_name = "AGE")]
    older_than: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Summary {
    dry_run: bool,
    older_than_seconds: i64,
    #[serde(flatten)]
    report: purge::PurgeReport,
    accounts_purged: Vec<Account>,
}

#[derive(Serialize)]
struct Account {
    did: String,
    records: u64,
    bytes: u64,
}

/// Accounts that are named one by one; all are counted.
const NAMED_MAX: usize = 10_000;

pub(super) async fn run(global: &Global, args: PurgeArgs) -> anyhow::Result<()> {
    let settings = global.settings(args.older_than.map(|age| ("accounts.purge_after", "older-than", vec![age])))?;
    let db = service::open(&settings, false).await?;
    let mut accounts = Vec::new();
    let report = purge::purge(&db, settings.purge_after, args.dry_run, |did, purged| {
        if accounts.len() < NAMED_MAX {
            accounts.push(Account { did: did.to_string(), records: purged.records, bytes: purged.bytes });
        }
        if !args.json {
            eprintln!("{did}: {} records, {} bytes", purged.records, purged.bytes);
        }
    })
    .await;
    db.close().await;
    let report = report?;
    if args.json {
        return print_json(&Summary {
            dry_run: args.dry_run,
            older_than_seconds: settings.purge_after.num_seconds(),
            report,
            accounts_purged: accounts,
        });
    }
    if !accounts.is_empty() {
        let mut table = table(&["account", "records", "bytes"]);
        for account in &accounts {
            table.add_row([account.did.clone(), account.records.to_string(), account.bytes.to_string()]);
        }
        println!("{table}");
    }
    println!(
        "{}{} records ({} bytes) of {} accounts deleted more than {} ago",
        if args.dry_run { "would purge " } else { "purged " },
        report.records,
        report.bytes,
        report.accounts,
        crate::config::age_text(settings.purge_after),
    );
    Ok(())
}
