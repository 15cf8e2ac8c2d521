//! `almanac status`: how far log and index are, from the database itself; a `serve` need not run.

use std::collections::BTreeMap;

use serde::Serialize;

use super::flags::Global;
use super::table::{print_json, table};
use crate::projection::{checksum, query};
use crate::publisher::Publishing;
use crate::service::{self, overview};

#[derive(clap::Args)]
pub(super) struct StatusArgs {
    /// Also a hash of each table over what apps see: equal hashes, equal contents
    #[arg(long)]
    checksum: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Status {
    environment: String,
    database: String,
    events: i64,
    rsvps: i64,
    log_position: i64,
    projection_position: i64,
    upstreams: Vec<UpstreamStatus>,
    #[serde(flatten)]
    overview: overview::Overview,
    #[serde(skip_serializing_if = "Option::is_none")]
    checksum: Option<BTreeMap<&'static str, String>>,
}

#[derive(Serialize)]
struct UpstreamStatus {
    host: String,
    kind: String,
    cursor: i64,
    lag_seconds: Option<i64>,
    last_event_time: Option<chrono::DateTime<chrono::Utc>>,
}

pub(super) async fn run(global: &Global, args: StatusArgs) -> anyhow::Result<()> {
    let mut settings = global.settings([])?;
    let db = service::open_to_read(&mut settings).await?;
    let index = query::status(db.pool()).await?;
    let upstream = |cursor: query::CursorView| UpstreamStatus {
        host: cursor.upstream,
        kind: cursor.kind,
        cursor: cursor.seq,
        lag_seconds: cursor.lag_seconds,
        last_event_time: cursor.event_time,
    };
    let status = Status {
        environment: settings.environment.to_string(),
        database: db.describe(),
        events: index.events,
        rsvps: index.rsvps,
        log_position: index.log_position,
        projection_position: index.projection_position,
        overview: overview::overview(db.pool(), settings.publish.unseen_after).await?,
        upstreams: index.cursors.into_iter().map(upstream).collect(),
        checksum: if args.checksum { Some(checksum(db.pool()).await?) } else { None },
    };
    db.close().await;
    if args.json {
        return print_json(&status);
    }
    println!("environment  {}", status.environment);
    println!("database     {}", status.database);
    println!("log          {} events", status.log_position);
    let behind = status.log_position - status.projection_position;
    println!("index        {} events and {} RSVPs shown, {behind} log events behind", status.events, status.rsvps);
    if !status.upstreams.is_empty() {
        let mut table = table(&["upstream", "kind", "cursor", "last event", "lag"]);
        for u in &status.upstreams {
            let time = u.last_event_time.map_or("-".to_owned(), |t| t.format("%Y-%m-%d %H:%M:%S UTC").to_string());
            let lag = u.lag_seconds.map_or("-".to_owned(), |s| format!("{s} s"));
            table.add_row([&u.host, &u.kind, &u.cursor.to_string(), &time, &lag]);
        }
        println!("{table}");
    }
    print_overview(&status.overview);
    for (name, hash) in status.checksum.iter().flatten() {
        println!("{name:<16} {hash}");
    }
    Ok(())
}

fn print_overview(overview: &overview::Overview) {
    let counts = |counts: &BTreeMap<String, i64>| {
        let all: Vec<String> = counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
        if all.is_empty() { "none".to_owned() } else { all.join(", ") }
    };
    println!("repositories {}", counts(&overview.repositories));
    println!("jobs         {}", counts(&overview.jobs));
    if overview.held_frames > 0 {
        println!("held         {} frames wait for their account's key", overview.held_frames);
    }
    if !overview.quarantine.records.is_empty() {
        let bytes = indicatif::HumanBytes(overview.quarantine.bytes.unsigned_abs());
        println!("quarantine   {} ({bytes})", counts(&overview.quarantine.records));
    }
    print_publishing(&overview.publishing);
    let time = |time: chrono::DateTime<chrono::Utc>| time.format("%Y-%m-%d %H:%M:%S UTC").to_string();
    if !overview.gaps.is_empty() {
        let mut table = table(&["gap", "upstream", "noted", "from", "to", "queued", "why"]);
        let seq = |seq: Option<i64>| seq.map_or("-".to_owned(), |seq| seq.to_string());
        for gap in &overview.gaps {
            let (from, to, queued) = (seq(gap.seq_before), seq(gap.seq_after), gap.accounts_queued.to_string());
            table.add_row([&gap.kind, &gap.upstream, &time(gap.noted_at), &from, &to, &queued, &gap.detail]);
        }
        println!("{table}");
    }
    if !overview.parked_hosts.is_empty() {
        let mut table = table(&["host left alone", "until", "failures", "last error"]);
        for host in &overview.parked_hosts {
            table.add_row([&host.host, &time(host.parked_until), &host.failures.to_string(), &host.last_error]);
        }
        println!("{table}");
    }
}

/// Nothing where nothing is published.
fn print_publishing(publishing: &Publishing) {
    if publishing.records == 0 && publishing.intents.is_empty() {
        return;
    }
    let intents: Vec<String> = publishing.intents.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let (intents, lag) = (intents.join(", "), publishing.reconcile_lag);
    let intents = if intents.is_empty() { "no intents".to_owned() } else { format!("intents: {intents}") };
    println!("publishing   {} records; {intents}; {lag} log events behind", publishing.records);
    let unseen = &publishing.unseen;
    if let Some(oldest) = &unseen.oldest {
        println!(
            "unseen       {} that PDSes took, the oldest {} s ago: {oldest}",
            unseen.intents, unseen.oldest_seconds
        );
        println!(
            "             Look for a relay that is dead or late, an account that may not enter (`origin explain`),"
        );
        println!(
            "             a PDS, relay or PLC directory of another environment (`doctor`), or `trace` the record."
        );
    }
}
