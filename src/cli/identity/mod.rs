//! `almanac identity`: which network accounts are our users', and what they entrust to us.

mod create;
mod health;
mod import;
mod key;
mod link;
mod list;
mod release;
mod rotate;
mod show;

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
    /// Make a network account for a user on our own PDS (pds.url), and keep its password
    Create(create::CreateArgs),
    /// Show how acting for the accounts whose password we keep goes
    Health(health::HealthArgs),
    /// Link a user of the app with a network account, or say anew where it lives
    Link(link::LinkArgs),
    /// Take a link away
    Unlink(link::UnlinkArgs),
    /// Show every link
    List(list::ListArgs),
    /// Show one account: its link, which secrets we hold of it under which keys, and how acting for it goes
    Show(show::ShowArgs),
    /// Take over links and passwords from another app's table userAtprotoIdentities; exit code 1 when lines were refused
    Import(import::ImportArgs),
    /// Forget everything that lets us act for an account, because its user takes it over
    Release(release::ReleaseArgs),
    /// Keys that seal what our users' accounts entrust to us
    Key(key::KeyArgs),
    /// Seal every secret with the first key of the settings; exit code 1 when some do not open
    ///
    /// To change keys: give the new one behind the old in the settings of every process and restart them; then put it first
    /// and restart them again; then run this, also while they serve. When it says that all is done, the old key can go.
    RotateKeys(rotate::RotateArgs),
}

pub(super) async fn run(global: &Global, args: IdentityArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        IdentityCommand::Create(args) => create::run(global, args).await?,
        IdentityCommand::Health(args) => return health::run(global, args).await,
        IdentityCommand::Link(args) => link::link(global, args).await?,
        IdentityCommand::Unlink(args) => link::unlink(global, args).await?,
        IdentityCommand::List(args) => list::run(global, args).await?,
        IdentityCommand::Show(args) => show::run(global, args).await?,
        IdentityCommand::Import(args) => return import::run(global, args).await,
        IdentityCommand::Release(args) => return release::run(global, args).await,
        IdentityCommand::Key(args) => key::run(args)?,
        IdentityCommand::RotateKeys(args) => return rotate::run(global, args).await,
    }
    Ok(ExitCode::SUCCESS)
}
