//! `almanac rebuild`.

use std::time::Instant;

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use super::flags::Global;
use super::table::print_json;
use crate::projection::{self, RebuildProgress};
use crate::service;

#[derive(clap::Args)]
pub(super) struct RebuildArgs {
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(global: &Global, args: RebuildArgs) -> anyhow::Result<()> {
    let settings = global.settings([])?;
    let db = service::open(&settings, false).await?;
    let started = Instant::now();
    let bar = ProgressBar::new(0)
        .with_style(ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} events, {per_sec}, {eta} left")?);
    let indexing = ProgressStyle::with_template("{bar:40} {pos}/{len} indices, {elapsed} so far")?;
    let report = projection::rebuild(&db, |progress| match progress {
        RebuildProgress::Folded { events, of } => {
            bar.set_length(of);
            bar.set_position(events);
        }
        RebuildProgress::Indexed { indices, of } => {
            bar.set_style(indexing.clone());
            bar.set_length(of as u64);
            bar.set_position(indices as u64);
        }
    })
    .await;
    bar.finish_and_clear();
    db.close().await;
    let report = report?;
    let seconds = started.elapsed().as_secs_f64();
    if args.json {
        return print_json(&serde_json::json!({
            "events": report.events, "position": report.position, "seconds": seconds,
        }));
    }
    println!(
        "index rebuilt from {} events up to position {} in {seconds:.1} s",
        HumanCount(report.events),
        report.position
    );
    Ok(())
}
