//! What is published, and how far it is.

use std::process::ExitCode;

use anyhow::bail;

use super::kind;
use crate::cli::flags::Global;
use crate::cli::table::{minute, print_json, table};
use crate::publisher::{self, RecordView};
use crate::service;

#[derive(clap::Args)]
pub(super) struct ListArgs {
    /// Whose
    #[arg(value_name = "USER")]
    user: String,
    /// RSVPs in place of events
    #[arg(long)]
    rsvp: bool,
    /// How many, 1 to 10000
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(super) struct ShowArgs {
    /// Whose
    #[arg(value_name = "USER")]
    user: String,
    /// The app's name for the record
    #[arg(value_name = "CLIENT_KEY")]
    client_key: String,
    /// It is an RSVP
    #[arg(long)]
    rsvp: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(super) struct RetryArgs {
    /// Its number, as `almanac publish show` tells it
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    id: Option<i64>,
    /// All that wait
    #[arg(long)]
    all: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn list(global: &Global, args: ListArgs) -> anyhow::Result<ExitCode> {
    let db = service::open_to_read(&mut global.settings([])?).await?;
    let records = publisher::list(db.pool(), &args.user, kind(args.rsvp), None, args.limit).await;
    db.close().await;
    let records = records?;
    if args.json {
        print_json(&records)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = table(&["client key", "record", "state", "since", "intent", "why"]);
    for record in &records {
        let intent = record.intent.as_ref();
        table.add_row([
            record.client_key.clone().unwrap_or_else(|| "-".to_owned()),
            record.uri.to_string(),
            state(record),
            intent.map_or("-".to_owned(), |intent| minute(intent.created_at)),
            intent.map_or("-".to_owned(), |intent| intent.id.to_string()),
            intent.and_then(|intent| intent.detail.clone()).unwrap_or_default(),
        ]);
    }
    println!("{table}");
    println!("{} records", records.len());
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn show(global: &Global, args: ShowArgs) -> anyhow::Result<ExitCode> {
    let db = service::open_to_read(&mut global.settings([])?).await?;
    let record = publisher::record(db.pool(), &args.user, kind(args.rsvp), &args.client_key).await;
    db.close().await;
    let Some(record) = record? else {
        bail!("nothing of user {:?} was published under {:?}", args.user, args.client_key);
    };
    if args.json {
        print_json(&record)?;
    } else {
        println!("{}", line(&record));
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn retry(global: &Global, args: RetryArgs) -> anyhow::Result<ExitCode> {
    let db = service::open(&global.settings([])?, false).await?;
    let due = publisher::due_now(db.pool(), args.id).await;
    db.close().await;
    let due = due?;
    if let (Some(id), 0) = (args.id, due) {
        bail!("intent {id} does not wait: there is none, or it has ended");
    }
    if args.json {
        print_json(&serde_json::json!({ "due": due }))?;
    } else {
        println!("{due} are due now: a running `almanac serve` tries them");
    }
    Ok(ExitCode::SUCCESS)
}

fn state(record: &RecordView) -> String {
    let word = record.intent.as_ref().map_or("found", |intent| intent.state.as_str());
    if record.deleted { format!("{word}, deleted") } else { word.to_owned() }
}

/// A record in some lines for people.
pub(super) fn line(record: &RecordView) -> String {
    let mut text = format!("{}: {}", record.uri, state(record));
    if let Some(cid) = &record.cid {
        text += &format!("\nversion {cid}");
    }
    if let Some(intent) = &record.intent {
        text += &format!("\nintent {}, {} attempts", intent.id, intent.attempts);
        for words in [&intent.detail, &intent.advice].into_iter().flatten() {
            text += &format!("\n{words}");
        }
        if let Some(next) = intent.next_at {
            text += &format!("\nnext attempt {}", next.format("%Y-%m-%d %H:%M:%S UTC"));
        }
        if let Some(conflict) = &intent.conflict {
            text += &format!("\nboth sides changed: {conflict}");
        }
    }
    text
}
