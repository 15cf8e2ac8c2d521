//! `almanac identity release`.

use std::process::ExitCode;

use anyhow::{Context, bail};
use serde::Serialize;

use super::show::named;
use crate::cli::changing::Changing;
use crate::cli::flags::Global;
use crate::cli::table::print_json;
use crate::identity::{self, Standing};
use crate::service::origin::said;
use crate::service::{self, release};

#[derive(clap::Args)]
pub(super) struct ReleaseArgs {
    /// The app's name for the user, or the network account
    #[arg(value_name = "USER|DID")]
    whose: String,
    /// Do it; without this flag only what would be lost is shown
    #[arg(long)]
    yes: bool,
    /// Why, for the log
    #[arg(long, value_name = "TEXT", value_parser = said)]
    why: Option<String>,
    #[command(flatten)]
    changing: Changing,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Outcome<'a> {
    released: bool,
    user_id: &'a str,
    did: &'a str,
    pds: &'a str,
    secrets: Vec<&'a str>,
    in_log: bool,
}

pub(super) async fn run(global: &Global, args: ReleaseArgs) -> anyhow::Result<ExitCode> {
    let db = service::open(&global.settings([])?, false).await?;
    let done = release_account(db.pool(), &args).await;
    db.close().await;
    done
}

async fn release_account(pool: &sqlx::PgPool, args: &ReleaseArgs) -> anyhow::Result<ExitCode> {
    let account = named(pool, &args.whose).await?;
    let standing = identity::standing(pool, account).await.context("what is held of the account cannot be read")?;
    if !standing.account.custodial {
        bail!("{} is not custodial: it is its owner's own already", standing.account.did);
    }
    let mut outcome = Outcome {
        released: false,
        user_id: &standing.account.user_id,
        did: &standing.account.did,
        pds: &standing.account.pds,
        secrets: standing.held.iter().map(|held| held.name.as_str()).collect(),
        in_log: false,
    };
    if !args.yes {
        match args.json {
            true => print_json(&outcome)?,
            false => warn(&standing),
        }
        return Ok(ExitCode::FAILURE);
    }
    let Some(done) = release::release(pool, &standing.account, &args.changing.who(), args.why.as_deref()).await? else {
        bail!("{} was released by somebody else meanwhile", outcome.did);
    };
    outcome.released = true;
    outcome.in_log = args.changing.settled(pool, &[done.number]).await?;
    if args.json {
        print_json(&outcome)?;
        return Ok(ExitCode::SUCCESS);
    }
    println!("{} is user {}'s own now: {} secrets forgotten", outcome.did, outcome.user_id, done.secrets);
    println!("{}", args.changing.told(outcome.in_log));
    println!("{}", to_do(&standing));
    Ok(ExitCode::SUCCESS)
}

fn warn(standing: &Standing) {
    let held: Vec<&str> = standing.held.iter().map(|held| held.name.as_str()).collect();
    println!("nothing is done without --yes");
    println!(
        "what would be forgotten of {} (user {}), for ever: {}",
        standing.account.did,
        standing.account.user_id,
        if held.is_empty() { "nothing, no secret is held".to_owned() } else { held.join(", ") }
    );
    println!("from then on nothing is published in this account's name; what is published stays, and so does the link");
    println!("{}", to_do(standing));
}

fn to_do(standing: &Standing) -> String {
    let Standing { account, .. } = standing;
    format!(
        "for the user to do: ask {} for a new password (\"forgot password\" in any AT Protocol app, or \
         com.atproto.server.requestPasswordReset). The PDS mails a code to the address that it has of {}; make sure that this \
         is the user's own before releasing, because without it nobody can open the account any more. A new password also ends \
         the sessions that were begun with the old one",
        account.pds,
        account.handle.as_deref().unwrap_or(&account.did)
    )
}
