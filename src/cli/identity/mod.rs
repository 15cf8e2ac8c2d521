//! `almanac identity`: which network accounts are our users', and what they entrust to us.

mod link;
mod list;

use std::process::ExitCode;

pub(super) use list::links;

use super::flags::Global;

#[derive(clap::Args)]
pub(super) struct IdentityArgs {
    #[command(subcommand)]
    command: IdentityCommand,
}

#[derive(clap::Subcommand)]
enum IdentityCommand {
    /// Link a user of the app with a network account, or say anew where it lives
    Link(link::LinkArgs),
    /// Take a link away
    Unlink(link::UnlinkArgs),
    /// Show every link
    List(list::ListArgs),
}

pub(super) async fn run(global: &Global, args: IdentityArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        IdentityCommand::Link(args) => link::link(global, args).await?,
        IdentityCommand::Unlink(args) => link::unlink(global, args).await?,
        IdentityCommand::List(args) => list::run(global, args).await?,
    }
    Ok(ExitCode::SUCCESS)
}
