//! `almanac verify-coverage`.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use super::backfill::Sources;
use super::flags::Global;
use super::table::{print_json, table};
use crate::ingest::inlet;
use crate::network::Network;
use crate::service::backfill::{Coverage, Runner, compare};
use crate::service::policy::Policies;
use crate::service::{self};
use crate::source::backfill::{JobRequest, Reason, enqueue};

/// Asks relays who has followed records, and every account's host for its revision. What differs is queued, for a running
/// `almanac serve` or the next `almanac backfill` to fetch.
#[derive(clap::Args)]
pub(super) struct CoverageArgs {
    /// Queue nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    sources: Sources,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(global: &Global, args: CoverageArgs) -> anyhow::Result<ExitCode> {
    let mut settings = args.sources.settings(global, None)?;
    let db = service::open_to_read(&mut settings).await?;
    let policies = Policies::load(&settings, Some(db.pool())).await?;
    let network = Network::new(settings.network.clone())?;
    let runner = Runner::new(&settings, &db, &network, &inlet().0, policies.current());
    let (done, total) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let style =
        ProgressStyle::with_template("{bar:30} {pos}/{len} accounts, {eta} left").expect("a literal that parses");
    let bar = ProgressBar::new(0).with_style(style);
    let drawing = tokio::spawn({
        let (bar, done, total) = (bar.clone(), done.clone(), total.clone());
        async move {
            loop {
                tokio::time::sleep(Duration::from_millis(200)).await;
                bar.set_length(total.load(Ordering::Relaxed));
                bar.set_position(done.load(Ordering::Relaxed));
            }
        }
    });
    let coverage = compare(&runner, &done, &total).await;
    drawing.abort();
    bar.finish_and_clear();
    let coverage = coverage?;
    if !args.dry_run {
        let request = |did: &crate::event::Did| JobRequest::new(did.clone(), Reason::Coverage);
        let requests: Vec<_> = coverage.differences.iter().map(|difference| request(&difference.did)).collect();
        enqueue(&mut *db.pool().acquire().await?, &requests).await?;
    }
    match args.json {
        true => print_json(&coverage)?,
        false => print(&coverage, !args.dry_run),
    }
    db.close().await;
    let same = coverage.differences.is_empty() && coverage.unlisted.is_empty();
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(coverage: &Coverage, queued: bool) {
    if !coverage.differences.is_empty() {
        let mut table = table(&["account", "what", "host", "ours", "theirs", ""]);
        for difference in &coverage.differences {
            let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
            table.add_row([
                difference.did.to_string(),
                difference.kind.to_owned(),
                difference.host.as_deref().unwrap_or("-").to_owned(),
                or_dash(&difference.ours),
                or_dash(&difference.theirs),
                difference.detail.clone().unwrap_or_default(),
            ]);
        }
        println!("{table}");
    }
    println!(
        "{} accounts: {} as their hosts show them, {} withheld by their hosts, {} different",
        HumanCount(coverage.checked),
        HumanCount(coverage.same),
        HumanCount(coverage.inactive),
        HumanCount(coverage.differences.len() as u64)
    );
    for (place, why) in &coverage.unlisted {
        eprintln!("{place} did not tell whose repositories there are: {why}");
    }
    match (coverage.differences.is_empty(), queued) {
        (true, _) => {}
        (false, true) => println!("queued; `almanac serve` fetches them, or run `almanac backfill`"),
        (false, false) => println!("nothing is queued: that is what --dry-run asks for"),
    }
}
