//! `almanac identity rotate-keys`.

use std::process::ExitCode;
use std::time::Instant;

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::cli::flags::Global;
use crate::cli::table::{print_json, table};
use crate::db::Db;
use crate::identity::rotate::{self, Proof, Rotation, Unopened};
use crate::identity::vault::Vault;
use crate::service;
use crate::service::vault::vault_needed;

#[derive(clap::Args)]
pub(super) struct RotateArgs {
    /// Change nothing: count secrets by key, and prove that every one opens
    #[arg(long)]
    dry_run: bool,
    /// Secrets sealed in one transaction
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch: u32,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(global: &Global, args: RotateArgs) -> anyhow::Result<ExitCode> {
    let mut settings = global.settings([])?;
    let db = match args.dry_run {
        true => service::open_to_read(&mut settings).await?,
        false => service::open(&settings, false).await?,
    };
    let done = match vault_needed(&settings) {
        Err(error) => Err(error),
        Ok(vault) if args.dry_run => prove(&db, &vault, &args).await,
        Ok(vault) => seal(&db, &vault, &args).await,
    };
    db.close().await;
    done
}

fn bar(length: u64) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} secrets, {per_sec}, {eta} left")?;
    Ok(ProgressBar::new(length).with_style(style))
}

async fn prove(db: &Db, vault: &Vault, args: &RotateArgs) -> anyhow::Result<ExitCode> {
    #[derive(Serialize)]
    struct Outcome<'a> {
        dry_run: bool,
        sealing_key: &'a str,
        #[serde(flatten)]
        proof: &'a Proof,
    }
    let uses = crate::identity::credential::key_use(db.pool()).await?;
    let bar = bar(uses.iter().map(|each| each.secrets.unsigned_abs()).sum())?;
    let proof = rotate::prove(db.pool(), vault, args.batch, |done| bar.set_position(done)).await;
    bar.finish_and_clear();
    let proof = proof?;
    let sealing_key = vault.ring().sealing();
    if args.json {
        print_json(&Outcome { dry_run: true, sealing_key, proof: &proof })?;
        return Ok(code(proof.unopened == 0));
    }
    if !proof.keys.is_empty() {
        let mut table = table(&["key", "secrets", "open", ""]);
        for (id, of_key) in &proof.keys {
            let word = match id.as_str() {
                "" => "older form, names no key",
                id if id == sealing_key => "seals",
                id if vault.ring().ids().any(|known| known == id) => "opens",
                _ => "MISSING in the settings",
            };
            let id = if id.is_empty() { "-" } else { id };
            table.add_row([id.to_owned(), of_key.secrets.to_string(), of_key.open.to_string(), word.to_owned()]);
        }
        println!("{table}");
    }
    println!("would seal {} secrets with key {sealing_key}", HumanCount(proof.to_seal));
    print_unopened(proof.unopened, &proof.unopened_rows);
    Ok(code(proof.unopened == 0))
}

async fn seal(db: &Db, vault: &Vault, args: &RotateArgs) -> anyhow::Result<ExitCode> {
    #[derive(Serialize)]
    struct Outcome<'a> {
        dry_run: bool,
        sealing_key: &'a str,
        seconds: f64,
        #[serde(flatten)]
        rotation: &'a Rotation,
    }
    let started = Instant::now();
    let bar = bar(rotate::to_seal(db.pool(), vault).await?)?;
    let rotation = rotate::rotate(db.pool(), vault, args.batch, |done| bar.set_position(done)).await;
    bar.finish_and_clear();
    let rotation = rotation?;
    let (sealing_key, seconds) = (vault.ring().sealing(), started.elapsed().as_secs_f64());
    let whole = rotation.unopened == 0 && rotation.busy == 0;
    if args.json {
        print_json(&Outcome { dry_run: false, sealing_key, seconds, rotation: &rotation })?;
        return Ok(code(whole));
    }
    println!("{} secrets sealed with key {sealing_key} in {seconds:.1} s", HumanCount(rotation.sealed));
    if rotation.busy > 0 {
        println!("{} secrets were held by other transactions all the time; run it again", HumanCount(rotation.busy));
    }
    print_unopened(rotation.unopened, &rotation.unopened_rows);
    if whole {
        println!("nothing needs another key any more");
    }
    Ok(code(whole))
}

fn code(whole: bool) -> ExitCode {
    if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print_unopened(count: u64, rows: &[Unopened]) {
    if count == 0 {
        return;
    }
    let mut table = table(&["user", "account", "secret", "key", "why"]);
    for row in rows {
        let key = row.key_id.clone().unwrap_or_else(|| "-".to_owned());
        table.add_row([row.user_id.clone(), row.did.clone(), row.name.clone(), key, row.why.clone()]);
    }
    println!("{table}");
    println!("{} secrets do not open; they are as they were", HumanCount(count));
}
