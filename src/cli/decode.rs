//! `almanac decode`: what recorded frames say, in the event shape of Jetstream.
//!
//! <https://github.com/bluesky-social/jetstream#consuming-jetstream>

use std::collections::HashMap;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use bytes::Bytes;
use chrono::Utc;
use serde_json::{Value, json};

use super::verify::VerifyArgs;
use crate::config::DidDocs;
use crate::decode::{self, Chain, Checks, Commit, Head, Level, Message, Outline, Reason, Reject, Sync};
use crate::event::Did;
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
    #[command(flatten)]
    verify: VerifyArgs,
}

pub(super) fn run(args: &DecodeArgs) -> anyhow::Result<ExitCode> {
    let collections = match args.collections.is_empty() {
        true => None,
        false => Some(CollectionSet::parse(&args.collections)?),
    };
    let wanted = |collection: &str| collections.as_ref().is_none_or(|set| set.contains(collection));
    let mut judge = Judge { level: args.verify.level(), docs: args.verify.did_docs()?, heads: HashMap::new() };
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let mut refused = false;
    let mut index = 0u64;
    for item in DumpReader::open(&args.file)? {
        match item {
            Ok(item) => {
                if let Err((reject, seq, did)) = print_frame(&item.frame, wanted, &mut judge, &mut out)? {
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

/// What frames are checked against: the keys, and where each repository stood in the frames before.
struct Judge {
    level: Level,
    docs: DidDocs,
    heads: HashMap<Did, Head>,
}

impl Judge {
    /// The frame's meaning, or nothing for a commit that was here before.
    fn judge(
        &mut self,
        frame: &Bytes,
        outline: &Outline<'_>,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Option<Message>, Reject> {
        if self.level == Level::None {
            return decode::decode(frame, outline, wanted, &Checks::NONE).map(Some);
        }
        let key = self.docs.key(outline.did);
        let checks = Checks { level: self.level, key: key.as_ref().ok().copied(), now: Some(Utc::now()) };
        let message = decode::decode(frame, outline, wanted, &checks).map_err(|reject| match key {
            // The documents know better why there is none.
            Err(why) if reject.reason == Reason::NoKey => why,
            _ => reject,
        })?;
        let is_new = match &message {
            Message::Commit(commit) => self.commit(commit)?,
            Message::Sync(sync) => self.sync(sync)?,
            _ => true,
        };
        Ok(is_new.then_some(message))
    }

    /// Whether the commit was not here before.
    fn commit(&mut self, commit: &Commit) -> Result<bool, Reject> {
        let last = self.heads.get(&commit.did);
        let chain = decode::chain(last, commit);
        let reject = decode::chain_reject(chain, last, commit);
        match chain {
            Chain::Duplicate => return Ok(false),
            Chain::Old => {}
            // After a gap the chain begins anew, so that one gap is one refusal.
            Chain::Anchor | Chain::Follows | Chain::Gap { .. } => {
                self.heads.insert(commit.did.clone(), commit.into());
            }
        }
        match (chain, reject) {
            // What is signed alone need not state what came before.
            (Chain::Gap { .. }, _) if self.level < Level::Full => Ok(true),
            (_, Some(reject)) => Err(reject),
            (_, None) => Ok(true),
        }
    }

    /// A sync says where the repository stands now, whatever came before.
    fn sync(&mut self, sync: &Sync) -> Result<bool, Reject> {
        let head = Head::from(sync);
        if let Some(last) = self.heads.get(&sync.did)
            && (head.rev < last.rev || head.rev == last.rev && head.data != last.data)
        {
            let detail = format!("sync to rev {} after {}", head.rev, last.rev);
            return Err(Reject::new(Reason::RevNotNewer, detail));
        }
        self.heads.insert(sync.did.clone(), head);
        Ok(true)
    }
}

/// Why a frame was refused, with its seq and DID as far as they could be read.
type Refused = (Reject, Option<i64>, Option<String>);

fn print_frame(
    frame: &Bytes,
    wanted: impl Fn(&str) -> bool,
    judge: &mut Judge,
    out: &mut impl Write,
) -> io::Result<Result<(), Refused>> {
    let outline = match decode::outline(frame) {
        Ok(outline) => outline,
        Err(reject) => return Ok(Err((reject, None, None))),
    };
    let refuse = |reject| {
        let did = Some(outline.did).filter(|did| !did.is_empty()).map(|did| did.chars().take(300).collect());
        (reject, outline.seq, did)
    };
    let judged = judge.judge(frame, &outline, wanted);
    let lines = judged.and_then(|message| message.map_or(Ok(vec![]), |message| lines(&message, outline.time)));
    let lines = match lines {
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
