//! `almanac config`: whether the settings can be used, and what they are.

use super::flags::Global;
use super::table::{print_json, table};
use crate::config::Settings;
use crate::service::{self, isolation};

#[derive(clap::Args)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(clap::Subcommand)]
enum ConfigCommand {
    /// Check every setting and the list files; exit code 2 when one cannot be used
    Check,
    /// Show every setting, its value and where it comes from; secrets are withheld
    Show {
        /// As JSON
        #[arg(long)]
        json: bool,
        /// What other environments may know of this one, as a settings file (TOML) for their `doctor isolation --other`: no
        /// secret, only fingerprints
        #[arg(long, conflicts_with = "json")]
        public: bool,
    },
}

pub(super) fn run(global: &Global, args: ConfigArgs) -> anyhow::Result<()> {
    let layers = global.layers([])?;
    match args.command {
        ConfigCommand::Check => {
            let settings = Settings::check(&layers)?;
            let policy = settings.policy()?;
            // What is in files of its own is read when it is needed; here, so that it is found out before.
            settings.admin_token()?;
            service::vault::vault(&settings)?;
            eprintln!(
                "settings are in order: environment {}, {} collections, {} allowed and {} denied accounts",
                policy.environment,
                policy.collections.names().len(),
                policy.allowed.len(),
                policy.denied.len()
            );
        }
        ConfigCommand::Show { public: true, .. } => {
            let facts = isolation::own(&Settings::check(&layers)?, &layers)?;
            for name in &facts.too_short {
                eprintln!(
                    "no fingerprint of {name}: it has fewer than {} characters and could be found by trying",
                    isolation::FINGERPRINT_FROM
                );
            }
            print!("{}", isolation::public(&facts)?);
        }
        ConfigCommand::Show { json, public: false } => {
            // Shown even when a value cannot be used: that is when people look.
            let wrong = Settings::check(&layers).err();
            let shown = layers.shown();
            if json {
                print_json(&shown)?;
            } else {
                let mut table = table(&["setting", "value", "from", "for"]);
                for row in shown {
                    table.add_row([&*row.key, row.value.as_deref().unwrap_or("-"), &row.source, row.help]);
                }
                println!("{table}");
            }
            if let Some(error) = wrong {
                return Err(error.into());
            }
        }
    }
    Ok(())
}
