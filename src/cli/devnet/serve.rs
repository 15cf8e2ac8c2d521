//! `almanac devnet serve`: the simulated network until Ctrl-C.

use anyhow::Context;
use clap::Args;
use serde_json::json;

use crate::devnet::sim::{CalendarSize, Sim, SimOptions};
use crate::service::stop;

/// Frames that a host keeps: a few hours of the busiest traffic, and some 100 MB.
const WINDOW: usize = 20_000;

#[derive(Args, Debug)]
pub(super) struct ServeArgs {
    /// The same seed gives the same accounts, keys and records
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Accounts at the start
    #[arg(long, default_value_t = 20, conflicts_with = "calendar_size")]
    accounts: usize,
    /// PDSes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=2000), conflicts_with = "calendar_size")]
    hosts: u16,
    /// Happenings a second: records, RSVPs, accounts that come, move, hide and go
    #[arg(long, value_name = "PER_SECOND", default_value_t = 2.0)]
    traffic: f64,
    /// As many accounts, hosts, events and RSVPs as the calendar network of today, with its latencies and failing hosts
    #[arg(long)]
    calendar_size: bool,
    /// Print one JSON line on stdout once it answers: {"ready":true,"plc":URL,"relay":URL,"pdses":[URL],"serve":COMMAND}
    #[arg(long)]
    json: bool,
    /// Tell each happening on stderr
    #[arg(long)]
    trace: bool,
}

pub(super) async fn run(args: &ServeArgs) -> anyhow::Result<()> {
    anyhow::ensure!(
        args.traffic >= 0.0 && args.traffic.is_finite(),
        "--traffic {}: a number of happenings a second, 0 or more",
        args.traffic
    );
    let stopped = stop::on_signals()?;
    let options = SimOptions {
        seed: args.seed,
        hosts: usize::from(args.hosts),
        accounts: args.accounts,
        window: WINDOW,
        // Records of the present, so that an index has something upcoming to show.
        records_at_micros: chrono::Utc::now().timestamp_micros() - 3_600_000_000,
    };
    let sim = match args.calendar_size {
        true => Sim::populated(&options, CalendarSize::TODAY).await,
        false => Sim::start(options).await,
    }
    .context("no free ports on loopback")?;
    announce(&sim, args.json);
    let told = |line: &str| {
        if args.trace {
            eprintln!("{line}");
        }
    };
    let busy = async {
        match args.traffic > 0.0 {
            true => sim.keep_busy(args.seed, args.traffic, told).await,
            false => std::future::pending().await,
        }
    };
    tokio::select! {
        () = busy => {}
        () = stop::wait(stopped) => {}
    }
    Ok(())
}

fn announce(sim: &Sim, as_json: bool) {
    let (plc, relay, pdses) = (sim.plc_url(), sim.relay_ws_url(), sim.pds_urls());
    let command =
        format!("almanac serve --relay {relay} --plc {plc} --allow-private --host-override '{}'", sim.host_override());
    if as_json {
        let line = json!({
            "ready": true, "plc": plc, "relay": relay, "pdses": pdses, "host_override": sim.host_override(),
            "serve": command,
        });
        println!("{line}");
        return;
    }
    println!("plc    {plc}");
    println!("relay  {relay}");
    pdses.iter().take(8).for_each(|pds| println!("pds    {pds}"));
    if pdses.len() > 8 {
        println!("       and {} more", pdses.len() - 8);
    }
    println!("\nIn another terminal:\n  {command}\n\nCtrl-C ends it.");
}
