//! `almanac identity show`.

use anyhow::Context;
use chrono::{DateTime, Utc};

use crate::cli::flags::Global;
use crate::cli::table::{print_json, table};
use crate::identity::{self, Account, Standing};
use crate::service;

#[derive(clap::Args)]
pub(super) struct ShowArgs {
    /// The app's name for the user, or the network account
    #[arg(value_name = "USER|DID")]
    whose: String,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// The account of whoever was named.
pub(super) async fn named(pool: &sqlx::PgPool, whose: &str) -> anyhow::Result<Account> {
    let account = identity::find(pool, whose).await.context("our users' accounts cannot be read")?;
    account.with_context(|| {
        format!("{whose:?} is neither a user nor an account of one; `almanac identity list` shows who is")
    })
}

pub(super) async fn run(global: &Global, args: ShowArgs) -> anyhow::Result<()> {
    let mut settings = global.settings([])?;
    let db = service::open_to_read(&mut settings).await?;
    let look = async {
        let account = named(db.pool(), &args.whose).await?;
        identity::standing(db.pool(), account).await.context("what is held of the account cannot be read")
    };
    let standing = look.await;
    db.close().await;
    let standing = standing?;
    if args.json {
        return print_json(&standing);
    }
    print(&standing);
    Ok(())
}

fn print(standing: &Standing) {
    let Standing { account, held, session } = standing;
    println!("user       {}", account.user_id);
    println!("account    {}", account.did);
    println!("handle     {}", account.handle.as_deref().unwrap_or("-"));
    println!("PDS        {}", account.pds);
    println!("custodial  {}", if account.custodial { "yes: we keep the account" } else { "no: it is its owner's own" });
    println!("linked     {}, changed {}", moment(account.created_at), moment(account.updated_at));
    match session {
        Some(session) => {
            let at = session.health_at.map_or(String::new(), |at| format!(" ({})", moment(at)));
            println!("session    {}{at}", session.health);
            if let Some(detail) = &session.health_detail {
                println!("           {detail}");
            }
            if let Some(until) = session.access_until {
                println!("           the access token ends {}", moment(until));
            }
        }
        None => println!("session    never tried"),
    }
    if held.is_empty() {
        println!("no secret of it is held");
        return;
    }
    let mut table = table(&["secret held", "key", "since"]);
    for each in held {
        let key = each.key_id.as_deref().unwrap_or("(older form, names none)");
        table.add_row([each.name.clone(), key.to_owned(), moment(each.updated_at)]);
    }
    println!("{table}");
}

fn moment(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}
