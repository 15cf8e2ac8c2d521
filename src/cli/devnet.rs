//! `almanac devnet`: frames from a seed, or a whole network on loopback, for tests, benches and trying things out.

mod serve;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use crate::devnet::{Mix, Traffic};

/// Frames made, noted and written at a time.
const BATCH: usize = 1024;

/// A made-up network with really signed frames.
#[derive(Args, Debug)]
pub struct DevnetArgs {
    #[command(subcommand)]
    command: DevnetCommand,
}

#[derive(Subcommand, Debug)]
enum DevnetCommand {
    /// Writes firehose frames from a seed, and beside them their ground truth and DID documents.
    Frames(FramesArgs),
    /// Serves a PLC directory, PDSes and a relay on loopback until Ctrl-C
    Serve(serve::ServeArgs),
}

#[derive(Args, Debug)]
struct FramesArgs {
    /// The same seed gives the same bytes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many frames.
    #[arg(long, default_value_t = 10_000)]
    frames: u64,
    /// What kind of network.
    #[arg(long, value_enum, default_value_t = MixArg::Network)]
    mix: MixArg,
    /// Where to: repeated {length as 4 bytes little-endian, frame}, compressed when the name ends in `.zst`. Beside it
    /// FILE.truth.json and FILE.did-docs.json are written.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum MixArg {
    /// Everything a relay sends; one commit in 10,000 touches a calendar.
    Network,
    /// Calendar events and RSVPs, and all that happens to their accounts.
    Calendar,
}

/// Runs `almanac devnet …`.
///
/// # Errors
/// When a file cannot be written, or loopback has no free ports.
pub async fn run(args: DevnetArgs) -> anyhow::Result<()> {
    match args.command {
        DevnetCommand::Frames(args) => frames(&args),
        DevnetCommand::Serve(args) => serve::run(&args).await,
    }
}

fn frames(args: &FramesArgs) -> anyhow::Result<()> {
    let mix = match args.mix {
        MixArg::Network => Mix::Network,
        MixArg::Calendar => Mix::Calendar,
    };
    let create = || format!("cannot write {}: does the folder exist and is it yours?", args.out.display());
    let file = BufWriter::new(File::create(&args.out).with_context(create)?);
    let bar = ProgressBar::new(args.frames).with_style(
        ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} frames, {per_sec}, {eta} left {msg}")
            .context("the progress bar's template")?,
    );
    bar.set_message("(growing repositories)");
    bar.tick();
    let mut traffic = Traffic::new(args.seed, mix);
    bar.set_message("");
    let written = || format!("writing {}", args.out.display());
    if args.out.extension().is_some_and(|extension| extension == "zst") {
        let mut out = zstd::Encoder::new(file, 3).with_context(written)?;
        write_frames(&mut traffic, args.frames, &mut out, &bar).with_context(written)?;
        out.finish().and_then(|mut file| file.flush()).with_context(written)?;
    } else {
        let mut out = file;
        write_frames(&mut traffic, args.frames, &mut out, &bar).and_then(|()| out.flush()).with_context(written)?;
    }
    bar.finish_and_clear();
    write_json(&beside(&args.out, "truth.json"), &traffic.truth_json())?;
    write_json(&beside(&args.out, "did-docs.json"), &traffic.did_documents())?;

    let truth = traffic.truth();
    let mean = truth.bytes() as f64 / truth.frames().max(1) as f64;
    eprintln!("{} frames, {} bytes, {mean:.0} bytes a frame -> {}", truth.frames(), truth.bytes(), args.out.display());
    for (what, count) in truth.counts() {
        eprintln!("  {what:<18} {count:>12}");
    }
    Ok(())
}

fn write_frames(traffic: &mut Traffic, frames: u64, out: &mut impl Write, bar: &ProgressBar) -> std::io::Result<()> {
    let mut left = frames;
    while left > 0 {
        let batch = traffic.next_frames(left.min(BATCH as u64) as usize);
        for frame in &batch {
            out.write_all(&(frame.bytes.len() as u32).to_le_bytes())?;
            out.write_all(&frame.bytes)?;
        }
        left -= batch.len() as u64;
        bar.inc(batch.len() as u64);
    }
    Ok(())
}

/// `F.frames` and `truth.json` make `F.frames.truth.json`.
fn beside(out: &Path, suffix: &str) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

fn write_json(path: &Path, value: &impl serde::Serialize) -> anyhow::Result<()> {
    let written = || format!("writing {}", path.display());
    let mut out = BufWriter::new(File::create(path).with_context(written)?);
    serde_json::to_writer(&mut out, value).with_context(written)?;
    out.flush().with_context(written)
}
