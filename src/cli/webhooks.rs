//! `almanac webhooks`: how receivers stand, what nobody took, and tests.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Context;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::flags::Global;
use super::table::{minute, print_json, table};
use crate::config::Settings;
use crate::effects::{self, Standing, Tested};
use crate::network::Network;
use crate::service;

#[derive(clap::Args)]
pub(super) struct WebhooksArgs {
    #[command(subcommand)]
    command: WebhooksCommand,
}

#[derive(clap::Subcommand)]
enum WebhooksCommand {
    /// Tell how every receiver stands
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the deliveries that nobody took, the latest first
    Dead {
        /// Only those to this receiver
        #[arg(long, value_name = "NAME")]
        webhook: Option<String>,
        /// How many, 1 to 10000
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Queue dead letters again; whether they may be told is asked again
    Retry {
        /// Their ids, as `almanac webhooks dead` shows them
        #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
        ids: Vec<String>,
        /// All of them
        #[arg(long)]
        all: bool,
    },
    /// End the pause of a receiver that said it was gone
    Resume {
        /// The receiver
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Send a `ping` to a receiver now, once, and show its answer; needs no database
    Test {
        /// The receiver
        #[arg(value_name = "NAME")]
        name: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(global: &Global, args: WebhooksArgs) -> anyhow::Result<ExitCode> {
    let settings = global.settings([])?;
    match args.command {
        WebhooksCommand::List { json } => list(settings, json).await?,
        WebhooksCommand::Dead { webhook, limit, json } => dead(settings, webhook.as_deref(), limit, json).await?,
        WebhooksCommand::Retry { ids, all } => return retry(&settings, &ids, all).await,
        WebhooksCommand::Resume { name } => {
            let db = service::open(&settings, false).await?;
            let known = effects::resume(db.pool(), &name).await;
            db.close().await;
            anyhow::ensure!(known?, "no webhook {name:?} was ever served here; `almanac webhooks list` names them");
            eprintln!("{name} is served again");
        }
        WebhooksCommand::Test { name, json } => return test(settings, &name, json).await,
    }
    Ok(ExitCode::SUCCESS)
}

/// One receiver, by the settings and by the database.
#[derive(Serialize)]
struct Row {
    name: String,
    /// `None`: it is in the settings no more.
    url: Option<String>,
    /// serving | paused | not begun | removed.
    state: &'static str,
    /// What the database knows; `None` until a `serve` has begun with it.
    #[serde(flatten)]
    standing: Option<Standing>,
}

#[derive(Serialize)]
struct List {
    /// Events of the log that were not looked at yet.
    lag_events: i64,
    webhooks: Vec<Row>,
}

async fn list(mut settings: Settings, json: bool) -> anyhow::Result<()> {
    let db = service::open_to_read(&mut settings).await?;
    let read = effects::standings(db.pool()).await;
    db.close().await;
    let (lag_events, standings) = read?;
    let mut standings: BTreeMap<String, Standing> = standings.into_iter().map(|s| (s.name.clone(), s)).collect();
    let configured = settings.effects.webhooks.iter().map(|webhook| {
        let standing = standings.remove(&*webhook.name);
        let paused = standing.as_ref().is_some_and(|standing| standing.paused_until.is_some());
        let state = match standing {
            None => "not begun",
            Some(_) if paused => "paused",
            Some(_) => "serving",
        };
        Row { name: webhook.name.to_string(), url: Some(webhook.url.shown()), state, standing }
    });
    let mut webhooks: Vec<Row> = configured.collect();
    webhooks.extend(standings.into_iter().map(|(name, standing)| Row {
        name,
        url: None,
        state: "removed",
        standing: Some(standing),
    }));
    if json {
        return print_json(&List { lag_events, webhooks });
    }
    let mut table =
        table(&["webhook", "to", "state", "pending", "delivered", "dead", "oldest waits since", "last delivered"]);
    for row in &webhooks {
        let standing = row.standing.as_ref();
        let count = |of: fn(&Standing) -> i64| standing.map_or("-".to_owned(), |standing| of(standing).to_string());
        let time = |of: fn(&Standing) -> Option<DateTime<Utc>>| standing.and_then(of).map_or("-".to_owned(), minute);
        let why = standing.and_then(|standing| standing.pause_reason.as_deref());
        table.add_row([
            row.name.clone(),
            row.url.clone().unwrap_or_else(|| "-".to_owned()),
            why.map_or(row.state.to_owned(), |why| format!("{}: {why}", row.state)),
            count(|standing| standing.pending),
            count(|standing| standing.delivered),
            count(|standing| standing.dead),
            time(|standing| standing.oldest_pending_at),
            time(|standing| standing.last_delivered_at),
        ]);
    }
    println!("{table}");
    println!("{lag_events} events of the log were not looked at yet");
    Ok(())
}

async fn dead(mut settings: Settings, webhook: Option<&str>, limit: i64, json: bool) -> anyhow::Result<()> {
    let db = service::open_to_read(&mut settings).await?;
    let letters = effects::dead_letters(db.pool(), webhook, limit).await;
    db.close().await;
    let letters = letters?;
    if json {
        return print_json(&letters);
    }
    let mut table = table(&["id", "webhook", "record", "queued", "attempts", "why"]);
    for letter in &letters {
        table.add_row([
            letter.id.clone(),
            letter.subscription.clone(),
            letter.uri.clone().unwrap_or_default(),
            minute(letter.created_at),
            letter.attempts.to_string(),
            letter.last_error.clone().unwrap_or_default(),
        ]);
    }
    println!("{table}");
    println!("{} dead letters; `almanac webhooks retry ID…` queues them again", letters.len());
    Ok(())
}

async fn retry(settings: &Settings, ids: &[String], all: bool) -> anyhow::Result<ExitCode> {
    let db = service::open(settings, false).await?;
    let queued = effects::requeue(db.pool(), if all { None } else { Some(ids) }).await;
    db.close().await;
    let queued = queued?;
    println!("{} queued again", queued.len());
    let mut code = ExitCode::SUCCESS;
    for id in ids.iter().filter(|id| !queued.contains(id)) {
        eprintln!("{id} is no dead letter here");
        code = ExitCode::FAILURE;
    }
    Ok(code)
}

async fn test(settings: Settings, name: &str, json: bool) -> anyhow::Result<ExitCode> {
    let webhooks = &settings.effects.webhooks;
    let webhook = webhooks.iter().find(|webhook| &*webhook.name == name).with_context(|| {
        let names: Vec<&str> = webhooks.iter().map(|webhook| &*webhook.name).collect();
        let known =
            if names.is_empty() { "there are none".to_owned() } else { format!("there are: {}", names.join(", ")) };
        format!("no [webhooks.{name}] in the settings; {known}")
    })?;
    let network = Network::new(settings.network.clone())?;
    let Tested { id, answer } = effects::test(&network, &settings.environment, webhook).await;
    let taken = answer.as_ref().is_ok_and(|answer| answer.is_taken());
    let (status, words) = match answer {
        Ok(answer) => (Some(answer.status), answer.words),
        Err(error) => (None, format!("no answer: {error}")),
    };
    if json {
        let (url, environment) = (webhook.url.shown(), settings.environment.as_str());
        print_json(&serde_json::json!({
            "id": id, "url": url, "environment": environment, "taken": taken, "status": status, "answer": words,
        }))?;
    } else {
        let status = status.map_or(String::new(), |status| format!("HTTP {status} "));
        println!("{}: {status}{words}", webhook.url.shown());
        println!("{} {id}", if taken { "taken" } else { "not taken" });
    }
    Ok(if taken { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
