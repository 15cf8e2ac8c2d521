//! `almanac pds invite`.

use secrecy::ExposeSecret;
use serde::Serialize;

use crate::cli::flags::Global;
use crate::cli::table::{print_json, table};
use crate::network::Network;
use crate::pds::{InviteCode, MINT_MAX};
use crate::service::invites::{codes, mint};

#[derive(clap::Subcommand)]
pub(super) enum InviteCommand {
    /// Mint codes, and print them one a line
    Create {
        /// How many codes
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(MINT_MAX)))]
        count: u32,
        /// For how many accounts each
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(MINT_MAX)))]
        uses: u32,
        /// In whose name: a DID [default: the operator's]
        #[arg(long = "for", value_name = "ACCOUNT")]
        account: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show codes, and what is left of them
    List {
        /// Only those with which accounts can be made still
        #[arg(long)]
        available: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    code: &'a InviteCode,
    left: u64,
}

pub(super) async fn run(global: &Global, command: InviteCommand) -> anyhow::Result<()> {
    let settings = global.settings([])?;
    let network = Network::new(settings.network.clone())?;
    match command {
        InviteCommand::Create { count, uses, account, json } => {
            let minted = mint(&settings, &network, (count, uses), account.as_deref()).await?;
            let minted: Vec<&str> = minted.iter().map(ExposeSecret::expose_secret).collect();
            if json {
                return print_json(&minted);
            }
            minted.iter().for_each(|code| println!("{code}"));
        }
        InviteCommand::List { available, json } => {
            let mut codes = codes(&settings, &network).await?;
            let left: u64 = codes.iter().map(InviteCode::left).sum();
            codes.retain(|code| !available || code.left() > 0);
            if json {
                let shown: Vec<Shown> = codes.iter().map(|code| Shown { code, left: code.left() }).collect();
                return print_json(&shown);
            }
            if !codes.is_empty() {
                let mut table = table(&["code", "left", "of", "for", "made", ""]);
                for code in &codes {
                    let InviteCode { code: text, available, for_account, created_at, disabled, .. } = code;
                    let off = if *disabled { "switched off" } else { "" };
                    table.add_row([
                        text.as_str(),
                        &code.left().to_string(),
                        &available.to_string(),
                        for_account,
                        created_at,
                        off,
                    ]);
                }
                println!("{table}");
            }
            println!("{} codes; accounts that can be made still: {left}", codes.len());
        }
    }
    Ok(())
}
