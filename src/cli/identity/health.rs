//! `almanac identity health`.

use std::process::ExitCode;

use crate::cli::flags::Global;
use crate::cli::table::{print_json, table};
use crate::identity::Health;
use crate::identity::health::{counts, list, of};
use crate::service::origin::said;
use crate::{identity, service};

#[derive(clap::Args)]
pub(super) struct HealthArgs {
    /// Only this user's account
    #[arg(value_name = "USER", value_parser = said)]
    user: Option<String>,
    /// How many accounts, those in trouble first
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=100_000))]
    limit: i64,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Ends with 1 when an account among those shown is dead: somebody has to do something.
pub(super) async fn run(global: &Global, args: HealthArgs) -> anyhow::Result<ExitCode> {
    let mut settings = global.settings([])?;
    let db = service::open_to_read(&mut settings).await?;
    let pool = db.pool();
    let read = async {
        let shown: Vec<Health> = match &args.user {
            Some(user) => match identity::of_user(pool, user).await? {
                Some(account) => of(pool, &account.did).await?.into_iter().collect(),
                None => anyhow::bail!("user {user} has no account here; `almanac identity list` names those that are"),
            },
            None => list(pool, args.limit).await?,
        };
        anyhow::Ok((shown, counts(pool).await?))
    };
    let read = read.await;
    db.close().await;
    let (shown, counts) = read?;
    let dead = shown.iter().any(|health| health.health == "dead");
    let code = if dead { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    if args.json {
        print_json(&shown)?;
        return Ok(code);
    }
    if !shown.is_empty() {
        let mut table = table(&["user", "account", "PDS", "health", "since", "token until"]);
        let time = |at: Option<chrono::DateTime<chrono::Utc>>| {
            at.map_or_else(|| "-".to_owned(), |at| at.format("%Y-%m-%d %H:%M:%S UTC").to_string())
        };
        for health in &shown {
            let Health { user_id, did, pds, health: word, health_at, access_until, .. } = health;
            table.add_row([user_id, did, pds, word, &time(*health_at), &time(*access_until)]);
        }
        println!("{table}");
        for health in &shown {
            if let Some(detail) = &health.detail {
                println!("{}: {detail}", health.user_id);
            }
        }
    }
    let counts: Vec<String> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
    println!("custodial accounts: {}", counts.join(", "));
    Ok(code)
}
