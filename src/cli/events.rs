//! `almanac events`: upcoming events for people.

use chrono::Utc;

use super::flags::Global;
use super::table::{print_json, table};
use crate::projection::query::{self, EventQuery, EventView, Limit, SearchText};
use crate::service;

#[derive(clap::Args)]
pub(super) struct EventsArgs {
    /// How many, 1 to 100
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=100))]
    limit: u64,
    /// Only events with these words in name or description
    #[arg(long, value_name = "WORDS")]
    text: Option<String>,
    /// Past events too
    #[arg(long)]
    all: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(global: &Global, args: EventsArgs) -> anyhow::Result<()> {
    let mut settings = global.settings([])?;
    let query = EventQuery {
        ends_after: if args.all { None } else { Some(Utc::now()) },
        text: args.text.as_deref().map(SearchText::parse).transpose()?,
        limit: Limit::new(args.limit).expect("the flag's range is the limit's"),
        ..EventQuery::default()
    };
    let db = service::open_to_read(&mut settings).await?;
    let page = query::list_events(db.pool(), &query).await;
    db.close().await;
    let page = page?;
    if args.json {
        return print_json(&page.rows);
    }
    println!("{}", upcoming(&page.rows));
    let more = if page.cursor.is_some() { "; more with --limit" } else { "" };
    println!("{} events, times in UTC{more}", page.rows.len());
    Ok(())
}

/// Events as a table for people.
pub(super) fn upcoming(events: &[EventView]) -> comfy_table::Table {
    let mut table = table(&["starts", "event", "where", "going", "by"]);
    for event in events {
        let starts = event.starts_at.map_or("-".to_owned(), |t| t.format("%a %Y-%m-%d %H:%M").to_string());
        let by = event.author.handle.clone().unwrap_or_else(|| event.author.did.clone());
        table.add_row([
            starts,
            event.name.clone().unwrap_or_else(|| "(no name)".to_owned()),
            place(event),
            event.rsvp_counts.going.to_string(),
            by,
        ]);
    }
    table
}

fn place(event: &EventView) -> String {
    let mode = event.mode.rsplit('#').next().unwrap_or_default().to_owned();
    let place = event.locations.iter().find_map(|l| {
        let parts: Vec<&str> = [&l.name, &l.locality].into_iter().filter_map(|p| p.as_deref()).collect();
        if parts.is_empty() { None } else { Some(parts.join(", ")) }
    });
    place.unwrap_or(mode)
}
