//! `almanac postgres`: the private server, for people.

use std::{path::Path, process::Stdio};

use anyhow::{Context, bail};

use crate::db::{
    self, Target,
    embedded::{self, Search},
    install,
};

/// The private PostgreSQL server in the data directory.
#[derive(Debug, clap::Args)]
pub struct PostgresArgs {
    #[command(subcommand)]
    command: PostgresCommand,
}

#[derive(Debug, clap::Subcommand)]
enum PostgresCommand {
    /// Put PostgreSQL into the data directory, on a machine that has none (needs Python's pip)
    Install,
    /// Tell which PostgreSQL would be used, and whether the private server runs
    Status {
        /// One JSON object instead of lines for people
        #[arg(long)]
        json: bool,
    },
    /// Print the address of the private database, for psql and other programs on this machine; valid while it runs
    PsqlUrl,
    /// Open the private database in psql, starting the server if it does not run
    Psql {
        /// Passed on to psql, for example `-c 'select count(*) from calendar.events'`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

/// Runs the subcommand on the private server of `data_dir`. Results go to stdout, everything else to stderr.
///
/// # Errors
/// What the room `db` refuses, with its advice; `psql` when it ends with an error.
pub async fn run(args: PostgresArgs, data_dir: &Path) -> anyhow::Result<()> {
    match args.command {
        PostgresCommand::Install => {
            let bin = install::install(data_dir, &mut |sentence: &str| eprintln!("{sentence}")).await?;
            println!("{}", bin.display());
            Ok(())
        }
        PostgresCommand::Status { json } => status(data_dir, json),
        PostgresCommand::PsqlUrl => {
            let found = embedded::look(data_dir)?;
            if found.running.is_none() {
                eprintln!("the private server does not run at the moment: `almanac serve` starts it");
            }
            println!("{}", found.url.expose());
            Ok(())
        }
        PostgresCommand::Psql { args } => psql(data_dir, &args).await,
    }
}

fn status(data_dir: &Path, json: bool) -> anyhow::Result<()> {
    let found = embedded::look(data_dir)?;
    let binaries = embedded::find_binaries(data_dir, &Search::default());
    if json {
        let binaries = binaries.as_ref().ok();
        let status = serde_json::json!({
            "data_dir": data_dir,
            "binaries": binaries.map(|binaries| &binaries.dir),
            "version": binaries.map(|binaries| &binaries.version),
            "files_version": found.files,
            "running_pid": found.running,
            "log": found.log,
        });
        println!("{status}");
        return Ok(());
    }
    match binaries {
        Ok(binaries) => println!("binaries  PostgreSQL {} in {}", binaries.version, binaries.dir.display()),
        Err(error) => println!("binaries  {error}"),
    }
    match found.files {
        Some(version) => println!("database  made by PostgreSQL {version}, in {}", data_dir.display()),
        None => println!("database  none yet in {}", data_dir.display()),
    }
    match found.running {
        Some(pid) => println!("server    runs as process {pid}"),
        None => println!("server    does not run"),
    }
    println!("log       {}", found.log.display());
    Ok(())
}

async fn psql(data_dir: &Path, args: &[String]) -> anyhow::Result<()> {
    let db = db::open(&Target::Embedded { data_dir: data_dir.to_path_buf() }, 1).await?;
    let found = embedded::look(data_dir)?;
    let beside = embedded::find_binaries(data_dir, &Search::default())?.dir.join("psql");
    let program = if beside.is_file() { beside } else { "psql".into() };
    let exit = tokio::process::Command::new(&program)
        .args(args)
        .arg("--dbname")
        .arg(found.url.expose())
        .stdin(Stdio::inherit())
        .status()
        .await
        .with_context(|| format!("cannot run {} (Debian's package: postgresql-client)", program.display()));
    // Also after a failure: the server is ours to stop.
    db.close().await;
    let exit = exit?;
    if !exit.success() {
        bail!("psql ended with {exit}");
    }
    Ok(())
}
