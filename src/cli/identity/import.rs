//! `almanac identity import`.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::cli::changing::Changing;
use crate::cli::flags::Global;
use crate::cli::table::print_json;
use crate::config::Settings;
use crate::db::Db;
use crate::identity::import::{Format, Remark, read};
use crate::identity::vault::{KeyRing, Vault};
use crate::service::import::{Import, Imported, REMARKS_MAX};
use crate::service::{self, vault};

#[derive(clap::Args)]
pub(super) struct ImportArgs {
    /// CSV whose first line names the columns, or what `pg_dump --data-only` writes
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// csv or sql [default: what the file is called]
    #[arg(long, value_name = "FORMAT", value_parser = ["csv", "sql"])]
    format: Option<String>,
    /// Of an SQL file, only the table of this schema
    #[arg(long, value_name = "NAME")]
    schema: Option<String>,
    /// The key with which the app sealed its credentials: 32 bytes as base64 or hexadecimal; may be repeated [default: the
    /// keys of the settings are tried]
    #[arg(long = "legacy-key-file", value_name = "FILE")]
    legacy_key_files: Vec<PathBuf>,
    /// Change nothing: tell what would be done, and which lines would be refused
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    changing: Changing,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Outcome<'a> {
    dry_run: bool,
    #[serde(flatten)]
    imported: &'a Imported,
    in_log: bool,
}

pub(super) async fn run(global: &Global, args: ImportArgs) -> anyhow::Result<ExitCode> {
    let mut settings = global.settings([])?;
    let format = format(&args)?;
    let file = File::open(&args.file).with_context(|| format!("{} cannot be opened", args.file.display()))?;
    let db = match args.dry_run {
        true => service::open_to_read(&mut settings).await?,
        false => service::open(&settings, false).await?,
    };
    let done = import(&db, &settings, &args, format, file).await;
    db.close().await;
    done
}

async fn import(
    db: &Db,
    settings: &Settings,
    args: &ImportArgs,
    format: Format,
    file: File,
) -> anyhow::Result<ExitCode> {
    let vault = vault::vault(settings)?;
    let older = older(settings, &args.legacy_key_files)?;
    let bar = ProgressBar::new(file.metadata().map_or(0, |data| data.len()))
        .with_style(ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes}, {eta} left")?);
    let items = read(BufReader::new(bar.wrap_read(file)), format, args.schema.as_deref());
    let import = Import {
        vault: vault.as_deref(),
        older: older.as_ref(),
        dry_run: args.dry_run,
        who: &args.changing.who(),
        why: "imported",
    };
    let imported = import.run(db.pool(), items).await;
    bar.finish_and_clear();
    let imported = imported.with_context(|| args.file.display().to_string())?;
    let waits = imported.last_change.filter(|_| !args.dry_run);
    let in_log = waits.is_some() && args.changing.settled(db.pool(), waits.as_slice()).await?;
    match args.json {
        true => print_json(&Outcome { dry_run: args.dry_run, imported: &imported, in_log })?,
        false => print(&imported, args, in_log),
    }
    let whole = imported.refused == 0 && imported.broken_off.is_none();
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn format(args: &ImportArgs) -> anyhow::Result<Format> {
    let said = args.format.as_deref().or_else(|| args.file.extension()?.to_str());
    match said {
        Some("csv") if args.schema.is_some() => bail!("--schema is for SQL files"),
        Some("csv") => Ok(Format::Csv),
        Some("sql") => Ok(Format::Sql),
        _ => bail!("{} is called neither .csv nor .sql; say which it is with --format", args.file.display()),
    }
}

/// The keys of the app that made the file.
fn older(settings: &Settings, files: &[PathBuf]) -> anyhow::Result<Option<Vault>> {
    let key = |path: &Path| -> anyhow::Result<secrecy::SecretString> {
        let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
        // Each by itself first, so that an error names its file.
        let key = secrecy::SecretString::from(text);
        KeyRing::read([("legacy", key.clone())]).with_context(|| path.display().to_string())?;
        Ok(key)
    };
    if files.is_empty() {
        return Ok(None);
    }
    let ids: Vec<String> = (1..=files.len()).map(|n| format!("legacy-{n}")).collect();
    let keys = files.iter().map(|path| key(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let ring = KeyRing::read(ids.iter().map(String::as_str).zip(keys)).context("--legacy-key-file")?;
    Ok(Some(Vault::new(settings.environment.clone(), ring)))
}

fn print(imported: &Imported, args: &ImportArgs, in_log: bool) {
    let list = |what: &str, remarks: &[Remark]| {
        remarks.iter().for_each(|remark| println!("{what}{remark}"));
        if remarks.len() == REMARKS_MAX {
            println!("… and perhaps more; the first {REMARKS_MAX} are shown");
        }
    };
    list("", &imported.notes);
    list("refused: ", &imported.refusals);
    println!(
        "{}{} lines: {} links made, {} known already, {} passwords sealed, {} lines refused",
        if args.dry_run { "dry run, nothing is changed. " } else { "" },
        HumanCount(imported.lines),
        HumanCount(imported.linked),
        HumanCount(imported.known),
        HumanCount(imported.sealed),
        HumanCount(imported.refused),
    );
    if let Some(why) = &imported.broken_off {
        println!("the file could not be read to its end: {why}");
    }
    if imported.linked > 0 && !args.dry_run {
        println!("{}", args.changing.told(in_log));
    }
    if imported.refused > 0 {
        println!("what was refused can be imported again when it is put right; what was taken is not taken twice");
    }
}
