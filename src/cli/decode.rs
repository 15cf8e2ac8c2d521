//! `almanac decode`: what recorded frames say, in the event shape of Jetstream.
//!
//! <https://github.com/bluesky-social/jetstream#consuming-jetstream>

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use bytes::Bytes;
use clap::ValueEnum;
use serde_json::{Value, json};

use crate::decode::{self, Message, Reject};
use crate::filter::CollectionSet;
use crate::source::dump::DumpReader;

#[derive(clap::Args)]
pub(super) struct DecodeArgs {
    /// A dump: MCAP, .frames or .frames.zst; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only operations on this collection, or prefix (`community.lexicon.*`); may be repeated [default: all]
    #[arg(long = "collection", value_name = "NSID")]
    collections: Vec<String>,
    /// What is checked of commits beyond structure, limits and hashes
    #[arg(long, value_enum, default_value_t = Verify::None)]
    verify: Verify,
}

/// How much of a commit is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Verify {
    /// Structure, limits, and the hashes of the blocks that are used
    None,
}

pub(super) fn run(args: &DecodeArgs) -> anyhow::Result<ExitCode> {
    let Verify::None = args.verify;
    let collections = match args.collections.is_empty() {
        true => None,
        false => Some(CollectionSet::parse(&args.collections)?),
    };
    let wanted = |collection: &str| collections.as_ref().is_none_or(|set| set.contains(collection));
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let mut refused = false;
    let mut index = 0u64;
    for item in DumpReader::open(&args.file)? {
        match item {
            Ok(item) => {
                if let Err((reject, seq, did)) = print_frame(&item.frame, wanted, &mut out)? {
                    out.flush()?;
                    refused = true;
                    eprintln!("{}", refusal(index, seq, did, &reject));
                }
                index += 1;
            }
            Err(problem) => {
                out.flush()?;
                refused = true;
                let reason = if problem.is_truncation() { "truncated" } else { "dump" };
                let line = json!({
                    "frame": index, "seq": null, "did": null, "layer": "decode", "reason": reason,
                    "detail": problem.to_string(),
                });
                eprintln!("{line}");
            }
        }
    }
    out.flush()?;
    Ok(if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Why a frame was refused, with its seq and DID as far as they could be read.
type Refused = (Reject, Option<i64>, Option<String>);

fn print_frame(frame: &Bytes, wanted: impl Fn(&str) -> bool, out: &mut impl Write) -> io::Result<Result<(), Refused>> {
    let outline = match decode::outline(frame) {
        Ok(outline) => outline,
        Err(reject) => return Ok(Err((reject, None, None))),
    };
    let refuse = |reject| {
        let did = Some(outline.did).filter(|did| !did.is_empty()).map(|did| did.chars().take(300).collect());
        (reject, outline.seq, did)
    };
    let lines = match decode::decode(frame, &outline, wanted, &decode::Checks::NONE)
        .and_then(|message| lines(&message, outline.time))
    {
        Ok(lines) => lines,
        Err(reject) => return Ok(Err(refuse(reject))),
    };
    for line in lines {
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")?;
    }
    Ok(Ok(()))
}

/// One line for each operation, identity and account event; none for the other kinds. `time`: as the frame has it.
fn lines(message: &Message, time: &str) -> Result<Vec<Value>, Reject> {
    let micros = |time: &chrono::DateTime<chrono::Utc>| time.timestamp_micros();
    Ok(match message {
        Message::Commit(commit) => {
            let mut lines = Vec::with_capacity(commit.ops.len());
            for op in &commit.ops {
                let mut body = json!({
                    "rev": commit.rev.to_string(),
                    "operation": op.action.as_str(),
                    "collection": op.collection,
                    "rkey": op.rkey,
                });
                if let Some(record) = &op.record {
                    body["record"] = decode::record_json(&record.bytes)?;
                    body["cid"] = json!(record.cid);
                }
                lines.push(json!({
                    "did": commit.did, "time_us": micros(&commit.time), "kind": "commit", "commit": body,
                }));
            }
            lines
        }
        Message::Identity(identity) => {
            let mut body = json!({ "did": identity.did, "seq": identity.seq, "time": time });
            if let Some(handle) = &identity.handle {
                body["handle"] = json!(handle);
            }
            vec![json!({
                "did": identity.did, "time_us": micros(&identity.time), "kind": "identity", "identity": body,
            })]
        }
        Message::Account(account) => {
            let mut body = json!({
                "active": account.active, "did": account.did, "seq": account.seq, "time": time,
            });
            if let Some(status) = &account.status {
                body["status"] = json!(status);
            }
            vec![json!({
                "did": account.did, "time_us": micros(&account.time), "kind": "account", "account": body,
            })]
        }
        Message::Sync(_) | Message::Info(_) | Message::Error(_) | Message::Unknown => Vec::new(),
    })
}

fn refusal(frame: u64, seq: Option<i64>, did: Option<String>, reject: &Reject) -> Value {
    json!({
        "frame": frame, "seq": seq, "did": did, "layer": reject.layer().as_str(), "reason": reject.reason.as_str(),
        "detail": reject.detail,
    })
}
