//! `almanac demo`: the whole path on a bare machine without a network.
//!
//! A recorded hour of a real PDS is served by a websocket host on loopback; Almanac follows it as it would follow a relay,
//! verifies every commit with the keys of the accounts' bundled documents, into a private Postgres of the demo's own, and
//! answers over HTTP.

use std::io::{IsTerminal, Read};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

use super::events::upcoming;
use super::flags::Global;
use crate::config::Settings;
use crate::decode;
use crate::devnet::Host;
use crate::projection::query::{self, EventQuery, IndexStatus, Limit};
use crate::service::serve::{Addresses, serve};
use crate::service::{self, stop};
use crate::telemetry::install_metrics;

/// The real network has about 480 events a second: this is what it looks like.
const FRAMES_PER_SECOND: u32 = 480;

/// 3,788 frames of a real PDS with fifty accounts.
const CAPTURE: &[u8] = include_bytes!("../../replay-fixtures/captures/pds-05-fifty-accounts/live.frames.zst");

/// The DID documents of those accounts: whose key signed what.
const DOCUMENTS: &[u8] = include_bytes!("../../replay-fixtures/captures/pds-05-fifty-accounts/did-docs.json");

#[derive(clap::Args)]
pub(super) struct DemoArgs {
    /// End once everything is shown, instead of serving on until Ctrl-C
    #[arg(long)]
    once: bool,
    /// Frames a second
    #[arg(long, value_name = "N", default_value_t = FRAMES_PER_SECOND, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Address of the XRPC queries [default: 127.0.0.1:8600, or a free port when that is taken]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
}

pub(super) async fn run(global: &Global, args: DemoArgs) -> anyhow::Result<()> {
    let frames = capture()?;
    let total = frames.len() as u64;
    let last_seq = frames.last().map_or(0, |(seq, _)| *seq);
    let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port on loopback")?;
    let name = listener.local_addr()?.to_string();
    let host = format!("ws://{name}");
    let settings = demo_settings(global, &host, args.listen)?;

    let metrics = install_metrics().map_err(anyhow::Error::msg)?;
    service::register_metrics();
    let signalled = stop::on_signals()?;
    let db = service::open(&settings, true).await?;
    eprintln!("{}", db.describe());
    eprintln!("following {host}, which plays {} frames of a real PDS", HumanCount(total));
    let hosting = tokio::spawn(Host { frames: frames.into(), per_second: args.rate }.serve(listener));

    // Ends with the signal, or by itself with --once.
    let (end, ended) = watch::channel(false);
    let (tell, told) = oneshot::channel();
    let serving = tokio::spawn(serve(settings, db.clone(), metrics, ended, move |addresses| {
        // Nobody listens only when the demo is ending already.
        let _ending = tell.send(addresses);
    }));
    let outcome = match told.await {
        Ok(addresses) => tokio::select! {
            shown = show(db.pool(), addresses, &name, total, last_seq) => match shown {
                Ok(()) if !args.once => {
                    eprintln!("\nServing on. Ctrl-C ends the demo.");
                    stop::wait(signalled).await;
                    Ok(())
                }
                other => other,
            },
            () = stop::wait(signalled.clone()) => Ok(()),
        },
        // It ended before it listened: its own error tells why.
        Err(_) => Ok(()),
    };
    end.send_replace(true);
    let served = serving.await.context("the server panicked")?;
    hosting.abort();
    db.close().await;
    served.and(outcome)
}

/// The demo's own environment and data directory, so that it never touches a database that somebody works with.
fn demo_settings(global: &Global, host: &str, listen: Option<String>) -> anyhow::Result<Settings> {
    let one = |value: String| vec![value];
    let public = match listen {
        Some(address) => address,
        None => free_or_any("127.0.0.1:8600"),
    };
    let data_dir = Settings::check(&global.layers([])?)?.data_dir.join("demo");
    let documents = data_dir.join("did-docs.json");
    let written = std::fs::create_dir_all(&data_dir).and_then(|()| std::fs::write(&documents, DOCUMENTS));
    written.with_context(|| format!("cannot write {}; choose another folder with --data-dir", documents.display()))?;
    global.settings([
        ("environment", "environment", one("demo".to_owned())),
        ("data_dir", "data-dir", one(data_dir.display().to_string())),
        ("source.relays", "relay", one(host.to_owned())),
        ("source.pdses", "pds", vec![]),
        ("verify.did_docs", "did-docs", one(documents.display().to_string())),
        ("listen.public", "listen", one(public)),
        ("listen.admin", "admin-listen", one(free_or_any("127.0.0.1:8601"))),
    ])
}

fn free_or_any(address: &str) -> String {
    match std::net::TcpListener::bind(address) {
        Ok(_) => address.to_owned(),
        Err(_) => SocketAddr::from(([127, 0, 0, 1], 0)).to_string(),
    }
}

fn capture() -> anyhow::Result<Vec<(i64, Bytes)>> {
    let mut bytes = Vec::new();
    zstd::Decoder::new(CAPTURE)?.read_to_end(&mut bytes).context("the bundled capture")?;
    let bytes = Bytes::from(bytes);
    let mut frames = Vec::new();
    let mut at = 0;
    while let Some(head) = bytes.get(at..at + 4) {
        let len = u32::from_le_bytes(head.try_into().expect("four bytes were asked for")) as usize;
        let frame = bytes.slice(at + 4..at + 4 + len);
        at += 4 + len;
        if let Some(seq) = decode::outline(&frame).ok().and_then(|outline| outline.seq) {
            frames.push((seq, frame));
        }
    }
    Ok(frames)
}

/// A live summary until everything is in the index, then what is in it and where to look.
async fn show(pool: &PgPool, addresses: Addresses, upstream: &str, total: u64, last_seq: i64) -> anyhow::Result<()> {
    let live = std::io::stderr().is_terminal();
    let bar = if live { ProgressBar::new(total) } else { ProgressBar::hidden() };
    bar.set_style(ProgressStyle::with_template("{bar:30} {human_pos}/{human_len} frames, {per_sec}  {msg}")?);
    let status = loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let status = query::status(pool).await?;
        let seq = status.cursors.iter().find(|c| c.upstream == upstream).map_or(0, |cursor| cursor.seq);
        bar.set_position(seq.unsigned_abs().min(total));
        bar.set_message(summary(&status));
        if seq >= last_seq && status.projection_position == status.log_position {
            break status;
        }
    };
    bar.finish_and_clear();
    println!("{}\n", summary(&status));
    let query = EventQuery {
        ends_after: Some(chrono::Utc::now()),
        limit: Limit::new(8).expect("eight is within the limit"),
        ..EventQuery::default()
    };
    println!("{}\n", upcoming(&query::list_events(pool, &query).await?.rows));
    let (public, admin) = (addresses.public, addresses.admin);
    println!("Open or curl:");
    println!("  http://{public}/                                             what is here");
    println!("  http://{public}/xrpc/events.almanac.listEvents?q=jazz        events by words, time, author, …");
    println!("  http://{public}/xrpc/events.almanac.getStatus                how far log and index are");
    println!("  http://{admin}/health/ready                                  whether it works, and why not");
    println!("  http://{admin}/metrics                                       numbers for Prometheus");
    Ok(())
}

fn summary(status: &IndexStatus) -> String {
    format!("log {} events, index {} events and {} RSVPs", status.log_position, status.events, status.rsvps)
}
