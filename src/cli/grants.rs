//! `almanac grants`: who may write in whose name, and who did.

use std::process::ExitCode;

use anyhow::{Context, bail};
use chrono::{TimeDelta, Utc};
use sqlx::PgPool;

use super::changing::user_at_host;
use super::flags::Global;
use super::table::{minute, print_json, table};
use crate::config::parse_age;
use crate::event::{AtUri, Did};
use crate::identity;
use crate::publisher::audit::{self, AuditQuery, AuditRow};
use crate::publisher::grants::{self, Grant, NewGrant};
use crate::service;

#[derive(clap::Args)]
pub(super) struct GrantsArgs {
    #[command(subcommand)]
    command: GrantsCommand,
}

#[derive(clap::Subcommand)]
enum GrantsCommand {
    /// Let a user write events in another's name
    Create {
        /// Whose events: a user, or the account itself
        #[arg(long, value_name = "USER|DID")]
        owner: String,
        /// Who may write them
        #[arg(long, value_name = "USER")]
        to: String,
        /// This one event [default: all of them, also new ones]
        #[arg(long, value_name = "AT-URI")]
        event: Option<AtUri>,
        /// For how long, such as 30d [default: until it is revoked]
        #[arg(long, value_name = "AGE", value_parser = parse_age)]
        expires: Option<TimeDelta>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show grants, the latest first
    List {
        /// Those of this user or account
        #[arg(long, value_name = "USER|DID")]
        owner: Option<String>,
        /// Those to this user
        #[arg(long, value_name = "USER")]
        to: Option<String>,
        /// How many, 1 to 10000
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a grant back: what still waits under it is not written
    Revoke {
        /// Its number
        #[arg(value_name = "ID")]
        id: i64,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show who wrote, or wanted to write, in another's name; the latest first
    Audit {
        /// In the name of this user or account
        #[arg(long, value_name = "USER|DID")]
        owner: Option<String>,
        /// This record
        #[arg(long, value_name = "AT-URI")]
        uri: Option<AtUri>,
        /// How many, 1 to 10000
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(global: &Global, args: GrantsArgs) -> anyhow::Result<ExitCode> {
    let mut settings = global.settings([])?;
    let changes = matches!(args.command, GrantsCommand::Create { .. } | GrantsCommand::Revoke { .. });
    let db =
        if changes { service::open(&settings, false).await? } else { service::open_to_read(&mut settings).await? };
    let outcome = work(db.pool(), args.command).await;
    db.close().await;
    outcome?;
    Ok(ExitCode::SUCCESS)
}

async fn work(pool: &PgPool, command: GrantsCommand) -> anyhow::Result<()> {
    match command {
        GrantsCommand::Create { owner, to, event, expires, json } => {
            let grantor = account_of(pool, &owner).await?;
            let new = NewGrant {
                grantor: &grantor,
                grantee_user: &to,
                event: event.as_ref(),
                expires_at: expires.map(|lasts| Utc::now() + lasts),
                by: &user_at_host(),
            };
            let grant = grants::create(pool, new).await?;
            if json {
                return print_json(&grant);
            }
            println!("grant {}: {} may write {} in the name of {}", grant.id, to, what(&grant), grant.grantor_did);
        }
        GrantsCommand::List { owner, to, limit, json } => {
            let owner = maybe_account_of(pool, owner.as_deref()).await?;
            let rows = grants::list(pool, owner.as_ref(), to.as_deref(), None, limit).await?;
            if json {
                return print_json(&rows);
            }
            show(&rows);
        }
        GrantsCommand::Revoke { id, json } => {
            let Some(grant) = grants::revoke(pool, id, None, &user_at_host()).await? else {
                bail!("there is no grant {id}; `almanac grants list` shows them");
            };
            if json {
                return print_json(&grant);
            }
            println!("{} may not write {} any more", grant.grantee_user, what(&grant));
        }
        GrantsCommand::Audit { owner, uri, limit, json } => {
            let owner = maybe_account_of(pool, owner.as_deref()).await?;
            let uri = uri.map(|uri| uri.to_string());
            let query = AuditQuery { owner_did: owner.as_ref(), uri: uri.as_deref(), before: None, limit };
            let rows = audit::rows(pool, query).await?;
            if json {
                return print_json(&rows);
            }
            show_audit(&rows);
        }
    }
    Ok(())
}

async fn maybe_account_of(pool: &PgPool, owner: Option<&str>) -> anyhow::Result<Option<Did>> {
    match owner {
        Some(owner) => Ok(Some(account_of(pool, owner).await?)),
        None => Ok(None),
    }
}

/// The account of a user, or the one that is named itself. Only accounts of our users can be written for.
async fn account_of(pool: &PgPool, owner: &str) -> anyhow::Result<Did> {
    let known = match Did::parse(owner) {
        Ok(did) => identity::of_did(pool, &did).await?,
        Err(_) => identity::of_user(pool, owner).await?,
    };
    let account = known.with_context(|| format!("{owner:?} is no user of ours; `almanac identity list` shows them"))?;
    Ok(Did::parse(&account.did)?)
}

fn what(grant: &Grant) -> &str {
    grant.event_uri.as_deref().unwrap_or("all events")
}

fn show(rows: &[Grant]) {
    let mut table = table(&["id", "owner", "to", "what", "state", "expires", "made", "by"]);
    for row in rows {
        let state = match (row.in_force, row.revoked_at) {
            (true, _) => "in force",
            (false, Some(_)) => "revoked",
            (false, None) => "expired",
        };
        table.add_row([
            row.id.to_string(),
            row.grantor_did.clone(),
            row.grantee_user.clone(),
            what(row).to_owned(),
            state.to_owned(),
            row.expires_at.map_or("-".to_owned(), minute),
            minute(row.created_at),
            row.created_by.clone(),
        ]);
    }
    println!("{table}");
    println!("{} grants", rows.len());
}

fn show_audit(rows: &[AuditRow]) {
    let mut table = table(&["when", "who", "did", "record", "grant", "outcome", "changed", "version"]);
    for row in rows {
        table.add_row([
            minute(row.at),
            row.acting_user.clone(),
            row.action.clone(),
            row.uri.clone(),
            row.grant_id.map_or("-".to_owned(), |id| id.to_string()),
            row.outcome.clone(),
            row.changed.join(", "),
            row.cid.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    println!("{table}");
    println!("{} writes in another's name", rows.len());
}
