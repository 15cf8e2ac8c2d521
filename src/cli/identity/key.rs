//! `almanac identity key`.

use chrono::Utc;
use secrecy::ExposeSecret;

use crate::identity::vault::{KeyRing, fresh_key};

#[derive(clap::Args)]
pub(super) struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(clap::Subcommand)]
enum KeyCommand {
    /// Print a fresh key as ID=BASE64, for the setting identity.keys
    New(NewArgs),
}

#[derive(clap::Args)]
struct NewArgs {
    /// Its id: letters, digits, `-`, `_` and `.` [default: today's date]
    #[arg(long, value_name = "ID")]
    id: Option<String>,
}

pub(super) fn run(args: KeyArgs) -> anyhow::Result<()> {
    let KeyCommand::New(NewArgs { id }) = args.command;
    let id = id.unwrap_or_else(|| Utc::now().format("%Y-%m-%d").to_string());
    let key = fresh_key()?;
    KeyRing::read([(id.as_str(), key.clone())])?;
    println!("{id}={}", key.expose_secret());
    eprintln!(
        "without this key what it sealed is lost: keep a copy apart from the database's backups\n\
         in a file (identity.key_files, ID=FILE) only what follows the first `=` is the key"
    );
    Ok(())
}
