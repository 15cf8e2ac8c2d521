//! What a record shall be: from a file, or from flags.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::api::v1::{EventInput, RsvpInput, SubjectInput};
use crate::calendar::{Draft, DraftKind};
use crate::event::{AtUri, Cid};

/// The largest file, in bytes.
const FILE_MAX_BYTES: u64 = 256_000;

#[derive(clap::Args)]
pub(super) struct EventFlags {
    /// The event as JSON, as `almanac openapi` describes it; `-`: from stdin
    #[arg(long, value_name = "FILE", required_unless_present = "name",
        conflicts_with_all = ["name", "description", "starts", "ends", "mode", "status"])]
    file: Option<PathBuf>,
    /// What it is called
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// What it is about
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// When it starts, such as 2026-12-01T18:00:00Z
    #[arg(long, value_name = "TIME")]
    starts: Option<DateTime<Utc>>,
    /// When it ends
    #[arg(long, value_name = "TIME")]
    ends: Option<DateTime<Utc>>,
    /// inperson, virtual or hybrid
    #[arg(long, value_name = "WORD")]
    mode: Option<String>,
    /// scheduled, planned, rescheduled, postponed or cancelled
    #[arg(long, value_name = "WORD")]
    status: Option<String>,
}

#[derive(clap::Args)]
pub(super) struct RsvpFlags {
    /// The RSVP as JSON, as `almanac openapi` describes it; `-`: from stdin
    #[arg(long, value_name = "FILE", conflicts_with_all = ["event", "cid", "status"])]
    file: Option<PathBuf>,
    /// The event that it answers to
    #[arg(long, value_name = "AT-URI", required_unless_present = "file")]
    event: Option<AtUri>,
    /// The version of the event that was seen [default: the one that there is now]
    #[arg(long, value_name = "CID")]
    cid: Option<Cid>,
    /// going, interested or notgoing
    #[arg(long, value_name = "WORD", required_unless_present = "file")]
    status: Option<String>,
}

impl EventFlags {
    /// The draft, checked.
    pub fn read(self) -> anyhow::Result<Draft> {
        let input = match &self.file {
            Some(file) => json(file)?,
            None => serde_json::to_value(EventInput {
                name: self.name.unwrap_or_default(),
                description: self.description,
                starts_at: self.starts,
                ends_at: self.ends,
                mode: self.mode,
                status: self.status,
                ..EventInput::default()
            })?,
        };
        checked(DraftKind::Event, &input)
    }
}

impl RsvpFlags {
    /// The draft, checked.
    pub fn read(self) -> anyhow::Result<Draft> {
        let input = match &self.file {
            Some(file) => json(file)?,
            None => {
                let uri = self.event.map(|uri| uri.to_string()).unwrap_or_default();
                let cid = self.cid.map(|cid| cid.to_string());
                serde_json::to_value(RsvpInput {
                    subject: SubjectInput { uri, cid, ..SubjectInput::default() },
                    status: self.status.unwrap_or_default(),
                    ..RsvpInput::default()
                })?
            }
        };
        checked(DraftKind::Rsvp, &input)
    }
}

fn json(file: &Path) -> anyhow::Result<Value> {
    let from = if file == Path::new("-") { "stdin".to_owned() } else { file.display().to_string() };
    let source: Box<dyn Read> = match from.as_str() {
        "stdin" => Box::new(std::io::stdin().lock()),
        _ => Box::new(std::fs::File::open(file).with_context(|| format!("{from} cannot be read"))?),
    };
    let mut text = Vec::new();
    source.take(FILE_MAX_BYTES + 1).read_to_end(&mut text).with_context(|| format!("{from} cannot be read"))?;
    anyhow::ensure!(text.len() as u64 <= FILE_MAX_BYTES, "{from} has more than {FILE_MAX_BYTES} bytes");
    serde_json::from_slice(&text).with_context(|| format!("{from} is no JSON"))
}

fn checked(kind: DraftKind, input: &Value) -> anyhow::Result<Draft> {
    match Draft::read(kind, input) {
        Ok(draft) => Ok(draft),
        Err(faults) => {
            let lines: String = faults.iter().map(|fault| format!("\n  {fault}")).collect();
            bail!("it cannot be published:{lines}");
        }
    }
}
