//! `almanac identity list`.

use crate::cli::flags::Global;
use crate::cli::table::{print_json, table};
use crate::identity::{self, Account};
use crate::service;

#[derive(clap::Args)]
pub(super) struct ListArgs {
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(global: &Global, args: ListArgs) -> anyhow::Result<()> {
    let mut settings = global.settings([])?;
    let db = service::open_to_read(&mut settings).await?;
    let accounts = identity::all(db.pool()).await;
    db.close().await;
    let accounts = accounts?;
    if args.json {
        return print_json(&accounts);
    }
    if !accounts.is_empty() {
        println!("{}", links(&accounts));
    }
    println!("{} accounts of our users", accounts.len());
    Ok(())
}

/// Links as a table for people.
pub(in crate::cli) fn links(accounts: &[Account]) -> comfy_table::Table {
    let mut table = table(&["user", "account", "handle", "PDS", "custodial", "changed"]);
    for account in accounts {
        table.add_row([
            account.user_id.clone(),
            account.did.clone(),
            account.handle.clone().unwrap_or_else(|| "-".to_owned()),
            account.pds.clone(),
            if account.custodial { "yes" } else { "no" }.to_owned(),
            account.updated_at.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
        ]);
    }
    table
}
