//! `almanac tokens`: who may ask and publish over HTTP.

use std::process::ExitCode;

use anyhow::bail;
use chrono::TimeDelta;
use serde::Serialize;

use super::changing::user_at_host;
use super::flags::Global;
use super::table::{minute, print_json, table};
use crate::api::token::{self, Scope, TokenRow};
use crate::config::parse_age;
use crate::service;

#[derive(clap::Args)]
pub(super) struct TokensArgs {
    #[command(subcommand)]
    command: TokensCommand,
}

#[derive(clap::Subcommand)]
enum TokensCommand {
    /// Make a token and print it, once: only its hash is kept
    Create {
        /// What it is called; never used twice
        #[arg(value_name = "NAME")]
        name: String,
        /// What it allows: read, publish, grants
        #[arg(long, value_name = "SCOPE,…", value_delimiter = ',', required = true)]
        scope: Vec<Scope>,
        /// How long it lets anybody in, such as 90d [default: until it is revoked]
        #[arg(long, value_name = "AGE", value_parser = parse_age)]
        expires: Option<TimeDelta>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show every token, without its text
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a token back: it lets nobody in from now on
    Revoke {
        /// Its name or number
        #[arg(value_name = "NAME|ID")]
        token: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Serialize)]
struct Created<'a> {
    token: &'a str,
    #[serde(flatten)]
    row: &'a TokenRow,
}

pub(super) async fn run(global: &Global, args: TokensArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        TokensCommand::Create { name, scope, expires, json } => {
            let db = service::open(&global.settings([])?, false).await?;
            let made = token::create(db.pool(), &name, &scope, expires, &user_at_host()).await;
            db.close().await;
            let (row, text) = made?;
            if json {
                print_json(&Created { token: text.reveal(), row: &row })?;
            } else {
                println!("{}", text.reveal());
            }
            eprintln!("keep it now: only its hash is stored, and it is not shown again");
        }
        TokensCommand::List { json } => {
            let db = service::open_to_read(&mut global.settings([])?).await?;
            let rows = token::list(db.pool()).await;
            db.close().await;
            let rows = rows?;
            if json {
                print_json(&rows)?;
            } else {
                show(&rows);
            }
        }
        TokensCommand::Revoke { token, json } => {
            let db = service::open(&global.settings([])?, false).await?;
            let row = token::revoke(db.pool(), &token).await;
            db.close().await;
            let Some(row) = row? else { bail!("there is no token {token:?}; `almanac tokens list` names them") };
            if json {
                print_json(&row)?;
            } else {
                println!("{} lets nobody in any more", row.name);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(rows: &[TokenRow]) {
    let mut table = table(&["id", "name", "scopes", "state", "expires", "last used", "made", "by"]);
    for row in rows {
        let time = |time: Option<_>| time.map_or("-".to_owned(), minute);
        let state = match (row.in_force, row.revoked_at) {
            (true, _) => "in force",
            (false, Some(_)) => "revoked",
            (false, None) => "expired",
        };
        table.add_row([
            row.id.to_string(),
            row.name.clone(),
            row.scopes.join(", "),
            state.to_owned(),
            time(row.expires_at),
            time(row.last_used_at),
            minute(row.created_at),
            row.created_by.clone(),
        ]);
    }
    println!("{table}");
    println!("{} tokens", rows.len());
}
