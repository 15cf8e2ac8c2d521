//! `almanac pds`: what an operator does with the PDS beside us.

mod invite;

use super::flags::Global;

#[derive(clap::Args)]
pub(super) struct PdsArgs {
    #[command(subcommand)]
    command: PdsCommand,
}

#[derive(clap::Subcommand)]
enum PdsCommand {
    /// Invite codes of our own PDS (pds.url), with its admin password
    Invite {
        #[command(subcommand)]
        command: invite::InviteCommand,
    },
}

pub(super) async fn run(global: &Global, args: PdsArgs) -> anyhow::Result<()> {
    match args.command {
        PdsCommand::Invite { command } => invite::run(global, command).await,
    }
}
