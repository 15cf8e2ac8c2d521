//! `almanac quarantine show`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use super::super::flags::{Filter, Global, Verifying};
use super::super::table::print_json;
use super::{state, time};
use crate::config::Settings;
use crate::db::Db;
use crate::decode::{self, Checks, Message, Reject};
use crate::event::Did;
use crate::filter::CollectionSet;
use crate::ingest::foresee;
use crate::ingest::quarantine::{self, Entry, Rejudged};
use crate::service;
use crate::service::policy::Policies;

#[derive(clap::Args)]
pub(super) struct ShowArgs {
    /// Its number
    #[arg(value_name = "ID")]
    id: i64,
    /// Write the frame, exactly as it came, to this file, which must not exist
    #[arg(long, value_name = "FILE")]
    frame: Option<PathBuf>,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    verifying: Verifying,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    entry: Entry,
    /// Followed records in the frame, taken at their word: nothing here is verified.
    records: Vec<Value>,
    /// Why they cannot be read.
    unreadable: Option<String>,
    /// What would become of it if it were judged again now.
    now: Now,
}

#[derive(Serialize)]
struct Now {
    /// released, refused or waits; `none` when it was released before.
    verdict: &'static str,
    words: String,
}

pub(super) async fn run(global: &Global, args: ShowArgs) -> anyhow::Result<ExitCode> {
    let mut flags = args.filter.flags();
    flags.extend(args.verifying.flags());
    let mut settings = global.settings(flags)?;
    let db = service::open_to_read(&mut settings).await?;
    let shown = look(&settings, &db, args.id).await;
    db.close().await;
    let (shown, frame) = shown?;
    if let Some(path) = &args.frame {
        let Some(frame) = &frame else { bail!("entry {} has no frame to write", args.id) };
        let write = || {
            let mut file = std::fs::File::options().write(true).create_new(true).open(path)?;
            std::io::Write::write_all(&mut file, frame)
        };
        write().with_context(|| format!("{} cannot be written", path.display()))?;
        eprintln!("{} bytes written to {}", frame.len(), path.display());
    }
    match args.json {
        true => print_json(&shown)?,
        false => print(&shown)?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn look(settings: &Settings, db: &Db, id: i64) -> anyhow::Result<(Shown, Option<Bytes>)> {
    let pool = db.pool();
    let entry = quarantine::entry(pool, id).await?.with_context(|| {
        format!("there is no entry {id}: it was never there, was purged, or is too old; see `almanac quarantine list`")
    })?;
    let frame = quarantine::frame(pool, id).await?;
    let policies = Policies::load(settings, Some(pool)).await?;
    let policy = policies.current().load_full();
    let (records, unreadable) = match &frame {
        None => (Vec::new(), None),
        Some(frame) => match records(frame, &policy.collections) {
            Ok(records) => (records, None),
            Err(reject) => (Vec::new(), Some(reject.to_string())),
        },
    };
    let now = match quarantine::delivery(pool, id).await? {
        None => Now { verdict: "none", words: "it was released".to_owned() },
        Some((did, delivery)) => {
            let trust = service::trust(settings, true)?;
            let foreseen = foresee(pool, &policy, trust, &did, delivery.as_ref()).await?;
            let verdict = match foreseen {
                Rejudged::Released(_) => "released",
                Rejudged::Refused(_) => "refused",
                Rejudged::Waits(_) => "waits",
            };
            Now { verdict, words: foreseen.words().to_owned() }
        }
    };
    Ok((Shown { entry, records, unreadable, now }, frame))
}

/// What the frame says, unverified.
fn records(frame: &Bytes, followed: &CollectionSet) -> Result<Vec<Value>, Reject> {
    let outline = decode::outline(frame)?;
    let message = decode::decode(frame, &outline, |collection| followed.contains(collection), &Checks::NONE)?;
    let Message::Commit(commit) = message else { return Ok(Vec::new()) };
    let mut records = Vec::with_capacity(commit.ops.len());
    for op in &commit.ops {
        let (mut record, mut cid) = (Value::Null, Value::Null);
        if let Some(written) = &op.record {
            (record, cid) = (decode::record_json(&written.bytes)?, json!(written.cid));
        }
        let uri = uri(&commit.did, &format!("{}/{}", op.collection, op.rkey));
        records.push(json!({ "uri": uri, "operation": op.action.as_str(), "cid": cid, "record": record }));
    }
    Ok(records)
}

fn uri(did: &Did, path: &str) -> String {
    format!("at://{did}/{path}")
}

fn print(shown: &Shown) -> anyhow::Result<()> {
    let entry = &shown.entry;
    let line = |name: &str, value: &str| println!("{name:<14} {value}");
    let maybe = |name: &str, value: &Option<String>| {
        if let Some(value) = value {
            line(name, value);
        }
    };
    line("entry", &format!("{}, {}", entry.id, state(entry)));
    line("account", &entry.did);
    let rule = entry.rule.map_or(String::new(), |rule| format!(" (rule {rule})"));
    line("refused for", &format!("{}{rule}: {}", entry.reason, entry.detail));
    line("since", &format!("{}, came {} times", time(entry.quarantined_at), entry.times));
    let how = if entry.live { "live" } else { "not live" };
    line("upstream", &format!("{} ({}, {how})", entry.upstream, entry.upstream_kind));
    maybe("declared for", &entry.declared);
    maybe("seq", &entry.seq.map(|seq| seq.to_string()));
    line("seen", &time(entry.seen_at));
    maybe("pds then", &entry.pds);
    maybe("rev (claimed)", &entry.rev);
    maybe("commit (cl.)", &entry.commit_cid);
    maybe("frame", &entry.frame_bytes.map(|bytes| format!("{bytes} bytes")));
    if let Some(at) = entry.release_asked_at {
        line("asked for", &format!("{} by {}", time(at), entry.release_asked_by.as_deref().unwrap_or("somebody")));
    }
    maybe("last judged", &entry.release_outcome);
    maybe("released", &entry.released_at.map(time));
    line("now", &format!("{}: {}", shown.now.verdict, shown.now.words));
    for path in &entry.paths {
        line("about", &format!("at://{}/{path}", entry.did));
    }
    if let Some(why) = &shown.unreadable {
        println!("what is in it cannot be read: {why}");
    }
    if !shown.records.is_empty() {
        println!("what it says, unverified:");
        for record in &shown.records {
            println!("{}", serde_json::to_string_pretty(record)?);
        }
    }
    Ok(())
}
